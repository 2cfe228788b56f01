"""The two teachers: one that sees the depth image, one that sees a height scan."""

from __future__ import annotations

import math
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from rsl_rl.models import MLPModel
from rsl_rl.modules import MLP, HiddenState
from tensordict import TensorDict
from torch import Tensor, nn

from legged_gym_ext.models.actor import FlatInput, ParkourActor

FRAMES = "frames"
"""Key of the non-tensor observation that holds :class:`Frames` in a mini-batch."""


@dataclass(frozen=True)
class Frames:
    """Images that several samples share."""

    images: Tensor
    """(number of images, pixels)."""
    index: Tensor | None
    """Which image each sample saw, (batch,); None = sample i saw image i."""


class _Input(NamedTuple):
    """Input of an :class:`ImageLinear`."""

    vectors: Tensor
    frames: Frames


class ImageLinear(nn.Module):
    """A linear layer over ``cat[proprio, image, others]`` that multiplies each image once, however many samples saw it.

    With a 4096-pixel image that comes every fifth step this layer is most of PPO's cost. It makes the image's columns,
    and nothing else, a matrix product of their own, in bfloat16 if so told. As the same arithmetic serves the rollout
    and the update, the probability ratio stays exact, which autocast in the update alone would spoil.

    Adam moves every weight by about the learning rate, so thousands of correlated pixels move the output far more than
    the other inputs do, and an adaptive learning rate falls to its floor. Two remedies leave it a linear layer over all
    pixels: a factor on the image, and weights that the pixels of a block have in common.

    Args:
        linear: The layer whose weights it takes over, with one image column for each block of pixels.
        first_column: Of those that read the image.
        image_shape: Rows and columns of the image.
        dtype: To multiply the image in.
        image_gain: Factor on the image.
        block: Side of the square blocks of pixels that share a weight, by way of their mean.
    """

    def __init__(
        self,
        linear: nn.Linear,
        first_column: int,
        image_shape: Sequence[int],
        dtype: torch.dtype,
        image_gain: float,
        block: int,
    ) -> None:
        super().__init__()
        self.image_shape = tuple(image_shape)
        self.blocks = num_blocks(image_shape, block)
        self.in_features = linear.in_features - self.blocks + math.prod(image_shape)
        self.out_features = linear.out_features
        self.weight, self.bias = linear.weight, linear.bias
        self.first_column = first_column
        self.dtype = dtype
        self.image_gain = image_gain
        self.block = block

    def plain(self) -> nn.Linear:
        """Return an ordinary layer that computes the same, in float32, from ``cat[proprio, image, others]``."""
        linear = nn.Linear(self.in_features, self.out_features, device=self.weight.device)
        before, image, behind = self._parts()
        rows, columns = self.image_shape
        per_block = image.unflatten(1, (rows // self.block, columns // self.block)) * (self.image_gain / self.block**2)
        per_pixel = per_block.repeat_interleave(self.block, dim=1).repeat_interleave(self.block, dim=2).flatten(1)
        linear.load_state_dict({"weight": torch.cat([before, per_pixel, behind], dim=1), "bias": self.bias})
        return linear

    def forward(self, input: _Input) -> Tensor:
        """Return (batch, out_features) for vectors ``cat[proprio, others]`` (batch, ...) and the frames they saw."""
        vectors, images, index = input.vectors, input.frames.images, input.frames.index
        before, image, behind = self._parts()
        images = images.to(self.dtype)  # first of all: so they are stored, and the update has no others
        if self.block > 1:
            images = F.avg_pool2d(images.view(-1, 1, *self.image_shape), self.block).flatten(1)
        seen = F.linear(images, image.to(self.dtype)).to(vectors.dtype) * self.image_gain
        if index is not None:
            seen = F.embedding(index, seen)  # seen[index] with a backward five times as fast
        return F.linear(vectors, torch.cat([before, behind], dim=1), self.bias) + seen

    def _parts(self) -> Sequence[Tensor]:
        """Return the weight's columns for proprioception, for the image's blocks and for the others."""
        others = self.weight.shape[1] - self.first_column - self.blocks
        return self.weight.split([self.first_column, self.blocks, others], dim=1)  # slices have a slow backward


def num_blocks(image_shape: Sequence[int], block: int) -> int:
    """Return how many square blocks with that side an image of these rows and columns consists of."""
    return math.prod(size // block for size in image_shape)


class DepthTeacher(ParkourActor):
    """Teacher on proprioception and the flattened depth image (4139 -> 512 -> 256 -> 128 -> 10 by default).

    Args:
        obs: Observations by group, each (num_envs, size).
        obs_groups: Observation sets; this actor's is ``[proprio, depth, *others]``.
        obs_set: Name of the set.
        output_dim: Number of actions.
        mixed_precision: Multiply the image in bfloat16.
        image_shape: Rows and columns of the depth image; None = all pixels in one row.
        depth_gain: Factor on the depth image, see :class:`ImageLinear`.
        depth_block: Side of the square blocks of pixels that share their weights, see there. With both 1 it is the
            specification's network.
        mlp: The remaining arguments of rsl_rl's MLPModel.
    """

    def __init__(
        self,
        obs: TensorDict,
        obs_groups: dict[str, list[str]],
        obs_set: str,
        output_dim: int,
        mixed_precision: bool = False,
        image_shape: Sequence[int] | None = None,
        depth_gain: float = 1.0,
        depth_block: int = 1,
        **mlp: Any,
    ) -> None:
        pixels = obs[obs_groups[obs_set][1]].shape[-1]
        image_shape = image_shape or (1, pixels)
        self._blocks = num_blocks(image_shape, depth_block)
        super().__init__(obs, obs_groups, obs_set, output_dim, terrain_dim=pixels, **mlp)
        first = self.mlp[0]
        assert isinstance(first, nn.Linear)
        dtype = torch.bfloat16 if mixed_precision else torch.float32
        self.mlp[0] = ImageLinear(first, self.num_proprio, image_shape, dtype, depth_gain, depth_block)

    def begin_as(self, guide: ScandotsTeacher) -> None:
        """Take over the weights of a guide, but for those that read its height scan: the pixels' are new."""
        self.mlp.load_state_dict(mlp_with_terrain(guide, self._blocks).state_dict())
        if self.distribution is not None and guide.distribution is not None:
            self.distribution.load_state_dict(guide.distribution.state_dict())
        if self.obs_normalization:
            self.obs_normalizer.load_state_dict(guide.obs_normalizer.state_dict())

    def get_latent(  # type: ignore[override]  # the first layer takes the input in two parts
        self, obs: TensorDict, masks: Tensor | None = None, hidden_state: HiddenState = None
    ) -> _Input:
        """Return the first layer's input, with the depth images as they are or each of them once (``frames``)."""
        frames = obs[FRAMES] if FRAMES in obs.keys() else Frames(obs[self.terrain_group], None)  # noqa: SIM118
        return _Input(self.vectors(obs), frames)

    def _get_latent_dim(self) -> int:
        return self.obs_dim + self._blocks

    def as_jit(self) -> nn.Module:
        """Return a TorchScript-friendly module: ``cat[proprio, depth, others]`` (batch, ...) to actions."""
        return ExportedTeacher(self, nn.Identity(), self.terrain_dim)

    def as_onnx(self, verbose: bool = False) -> nn.Module:
        """Return a module for ONNX export, from the same input."""
        return self.as_jit()


class ScandotsTeacher(ParkourActor):
    """Teacher on proprioception and the latent of a height scan, whose MLP has the shape of the student's.

    Args:
        obs: Observations by group, each (num_envs, size).
        obs_groups: Observation sets; this actor's is ``[proprio, scan, *others]``.
        obs_set: Name of the set.
        output_dim: Number of actions.
        latent_dim: Size of the scan's latent.
        scan_encoder_dims: Hidden layers of the scan encoder, which ends in a Tanh as the depth encoder does.
        activation: Activation of the MLP and of the scan encoder.
        mlp: The remaining arguments of rsl_rl's MLPModel.
    """

    def __init__(
        self,
        obs: TensorDict,
        obs_groups: dict[str, list[str]],
        obs_set: str,
        output_dim: int,
        latent_dim: int = 32,
        scan_encoder_dims: Sequence[int] = (128, 64),
        activation: str = "elu",
        **mlp: Any,
    ) -> None:
        super().__init__(obs, obs_groups, obs_set, output_dim, terrain_dim=latent_dim, activation=activation, **mlp)
        self.scan_size = obs[self.terrain_group].shape[-1]
        self.scan_encoder = MLP(self.scan_size, latent_dim, list(scan_encoder_dims), activation, last_activation="tanh")

    def scan_latent(self, obs: TensorDict) -> Tensor:
        """Return the scan's latent (batch, latent_dim), which the student's depth latent may follow."""
        return self.scan_encoder(obs[self.terrain_group])

    def get_latent(self, obs: TensorDict, masks: Tensor | None = None, hidden_state: HiddenState = None) -> Tensor:
        """Return the MLP's input ``cat[proprio, scan latent, others]`` (batch, ...)."""
        return self.join(self.vectors(obs), self.scan_latent(obs))

    def as_jit(self) -> nn.Module:
        """Return a TorchScript-friendly module: ``cat[proprio, scan, others]`` (batch, ...) to actions."""
        return ExportedTeacher(self, self.scan_encoder, self.scan_size)

    def as_onnx(self, verbose: bool = False) -> nn.Module:
        """Return a module for ONNX export, from the same input."""
        return self.as_jit()


class ExportedTeacher(nn.Module):
    """A teacher without training code: ``cat[proprio, depth or scan, others]`` (batch, ...) to mean actions."""

    is_recurrent = False
    input_names = ["obs"]
    output_names = ["actions"]

    def __init__(self, teacher: ParkourActor, terrain_encoder: nn.Module, terrain_size: int) -> None:
        super().__init__()
        self.input = FlatInput(teacher.num_proprio, terrain_size, teacher.obs_dim - teacher.num_proprio)
        self.num_proprio = teacher.num_proprio
        self.obs_normalizer = deepcopy(teacher.obs_normalizer)
        self.terrain_encoder = deepcopy(terrain_encoder)
        self.mlp = plain_mlp(teacher)

    def forward(self, x: Tensor) -> Tensor:
        """Return the actions (batch, num_actions)."""
        vectors, terrain = self.input(x)
        vectors = self.obs_normalizer(vectors)
        proprio, others = vectors[:, : self.num_proprio], vectors[:, self.num_proprio :]
        return self.mlp(torch.cat([proprio, self.terrain_encoder(terrain), others], dim=-1))

    @torch.jit.export
    def reset(self) -> None:
        """Do nothing: a teacher has no memory."""

    @torch.jit.unused
    def get_dummy_inputs(self) -> tuple[Tensor]:
        """Return an input to trace the module with."""
        return (torch.zeros(1, sum(self.input.sizes)),)


def plain_mlp(actor: MLPModel) -> nn.Sequential:
    """Return a copy of the actor's MLP whose first layer is an ordinary one."""
    mlp = deepcopy(actor.mlp)
    first = mlp[0]
    if isinstance(first, ImageLinear):
        mlp[0] = first.plain()
    return mlp


def mlp_with_terrain(actor: ParkourActor, width: int) -> nn.Sequential:
    """Return a copy of the actor's MLP in which what reads the terrain, ``width`` inputs, is newly initialized."""
    mlp = plain_mlp(actor)
    old, terrain = mlp[0], actor.terrain_columns
    assert isinstance(old, nn.Linear)
    new = nn.Linear(actor.obs_dim + width, old.out_features).to(old.weight.device)
    begins = new.weight[:, terrain.start : terrain.start + width]
    weight = torch.cat([old.weight[:, : terrain.start], begins, old.weight[:, terrain.stop :]], dim=1)
    new.load_state_dict({"weight": weight, "bias": old.bias})
    mlp[0] = new
    return mlp

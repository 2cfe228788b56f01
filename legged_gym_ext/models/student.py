"""The student: depth encoder and actor, and how the actor is made from the teacher's."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from typing import Any

import torch
from rsl_rl.modules import HiddenState
from rsl_rl.utils import unpad_trajectories
from tensordict import TensorDict
from torch import Tensor, nn

from legged_gym_ext.groups import NEW_FRAME
from legged_gym_ext.models.actor import FlatInput, ParkourActor
from legged_gym_ext.models.encoders import EncoderOptions, make_encoder
from legged_gym_ext.models.encoders.base import EncoderStep
from legged_gym_ext.models.teacher import mlp_with_terrain, plain_mlp


class Student(ParkourActor):
    """Policy on proprioception and a 32-D depth latent (75 -> 512 -> 256 -> 128 -> 10 by default).

    It is recurrent in rsl_rl's sense where its encoder has a memory.

    Args:
        obs: Observations by group, each (num_envs, size).
        obs_groups: Observation sets; this actor's is ``[proprio, depth, *others]``.
        obs_set: Name of the set.
        output_dim: Number of actions.
        image_shape: Rows and columns of the depth image.
        latent_dim: Size of the depth latent.
        encoder: Options of the depth encoder, which say its kind, too.
        mlp: The remaining arguments of rsl_rl's MLPModel.
    """

    def __init__(
        self,
        obs: TensorDict,
        obs_groups: dict[str, list[str]],
        obs_set: str,
        output_dim: int,
        image_shape: Sequence[int],
        latent_dim: int,
        encoder: EncoderOptions,
        **mlp: Any,
    ) -> None:
        super().__init__(obs, obs_groups, obs_set, output_dim, terrain_dim=latent_dim, **mlp)
        self.encoder = make_encoder(encoder, self.num_proprio, image_shape, latent_dim)
        self.is_recurrent = self.encoder.memory_size > 0

    def get_latent(self, obs: TensorDict, masks: Tensor | None = None, hidden_state: HiddenState = None) -> Tensor:
        """Return the actor's input ``cat[proprio, depth latent, others]`` (batch, ...).

        Without ``masks`` this is one step from the encoder's own memory. With them, ``obs`` (steps, trajectories, ...)
        are rsl_rl's padded trajectories that begin at ``hidden_state``; or, where the student is not recurrent, the
        steps (steps, num_envs, ...) that rsl_rl has made of them.
        """
        vectors, depth = self.vectors(obs), obs[self.terrain_group]
        proprio = vectors[..., : self.num_proprio]
        if masks is None:
            new_frame = obs[NEW_FRAME].squeeze(-1) > 0 if NEW_FRAME in obs.keys() else None  # noqa: SIM118
            return self.join(vectors, self.encoder(depth, proprio, new_frame))
        if not self.is_recurrent:
            hidden_state = self.encoder.initial_memory(depth.shape[1])
        assert isinstance(hidden_state, Tensor)
        features = self.encoder.encode_image(depth.flatten(0, 1)).unflatten(0, depth.shape[:2])
        latent, _ = self.encoder.forward_sequence(features, proprio, hidden_state)
        joined = self.join(vectors, latent)
        return unpad_trajectories(joined, masks) if self.is_recurrent else joined

    def forward_sequence(
        self, obs: TensorDict, images: Tensor, index: Tensor, memory: Tensor, dones: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Run over a stored sequence, encoding each camera frame once.

        Args:
            obs: Proprioception and other observations by group, (steps, batch, ...).
            images: Camera frames (frames, pixels).
            index: Which of the frames each step saw, (steps, batch).
            memory: The encoder's memory before the first step, (layers, batch, size).
            dones: Whether an episode ended with the step, (steps, batch).

        Returns:
            Actions (steps, batch, num_actions), depth latents (steps, batch, latent_dim) and the memory to go on
            from.
        """
        vectors = self.vectors(obs)
        features = self.encoder.encode_image(images).index_select(0, index.flatten()).unflatten(0, index.shape)
        latent, memory = self.encoder.forward_sequence(features, vectors[..., : self.num_proprio], memory, dones)
        return self.mlp(self.join(vectors, latent.to(vectors.dtype))), latent, memory

    def reset(self, dones: Tensor | None = None, hidden_state: HiddenState = None) -> None:
        """Zero the memory where ``dones`` (batch,); without it, replace all of the memory by ``hidden_state``."""
        self.encoder.reset(dones)
        if dones is None and hidden_state is not None:
            assert isinstance(hidden_state, Tensor)
            self.encoder.memory = hidden_state

    def get_hidden_state(self) -> HiddenState:
        """Return the encoder's memory (layers, batch, size), None before the first step and where it has none."""
        return self.encoder.memory if self.is_recurrent else None

    def detach_hidden_state(self, dones: Tensor | None = None) -> None:
        """Cut the memory from the graph that made it."""
        self.encoder.detach_memory()

    def init_from_teacher(self, teacher: ParkourActor, how: str) -> None:
        """Give the actor the teacher's weights as :func:`create_depth_actor_from_teacher` says, and its statistics."""
        actor = create_depth_actor_from_teacher(teacher, self.terrain_dim, how)
        self.mlp.load_state_dict(actor.state_dict())
        if self.obs_normalization:
            self.obs_normalizer.load_state_dict(teacher.obs_normalizer.state_dict())

    def export(self) -> ExportedStudent:
        """Return copies of all layers as a module without state, which takes one step."""
        return ExportedStudent(self)

    def as_jit(self) -> nn.Module:
        """Return a TorchScript-friendly module for one robot, with its memory inside and ``reset()``."""
        return _JitStudent(self) if self.is_recurrent else _StudentWithoutMemory(self)

    def as_onnx(self, verbose: bool = False) -> nn.Module:
        """Return a module for ONNX export whose memory, if there is one, goes in and out."""
        return _OnnxStudent(self) if self.is_recurrent else _StudentWithoutMemory(self)


def create_depth_actor_from_teacher(teacher: ParkourActor, latent_dim: int, how: str = "columns") -> nn.Sequential:
    """Make the student's actor from the teacher's: the same MLP with the terrain's input ``latent_dim`` wide.

    Args:
        teacher: A teacher; one whose terrain input is ``latent_dim`` wide already is copied whole.
        latent_dim: Size of the depth latent.
        how: ``columns``: hidden layers and the first layer's columns for proprioception and other observations are
            copied, and the latent's are newly initialized. ``spec``: the first layer keeps its first columns, whatever
            they read, which for a depth teacher are weights of pixels where the latent is. ``none``: all new.

    Returns:
        The MLP, ``cat[proprio, latent, others]`` to actions.
    """
    if how == "columns" and teacher.terrain_dim != latent_dim:
        return mlp_with_terrain(teacher, latent_dim)
    actor = plain_mlp(teacher)
    old = actor[0]
    assert isinstance(old, nn.Linear)
    new = nn.Linear(teacher.obs_dim + latent_dim, old.out_features).to(old.weight.device)
    if how == "none":
        for layer in actor:
            if isinstance(layer, nn.Linear):
                layer.reset_parameters()
    else:
        new.load_state_dict({"weight": old.weight[:, : new.in_features], "bias": old.bias})
    actor[0] = new
    return actor


class ExportedStudent(nn.Module):
    """A student without training code: one step from and to an explicit memory."""

    def __init__(self, student: Student) -> None:
        super().__init__()
        rows, columns = student.encoder.image_shape
        self.num_proprio = student.num_proprio
        self.input = FlatInput(student.num_proprio, rows * columns, student.obs_dim - student.num_proprio)
        self.obs_normalizer = deepcopy(student.obs_normalizer)
        self.encoder: EncoderStep = student.encoder.export()
        self.mlp = plain_mlp(student)

    def forward(self, obs: Tensor, h_in: Tensor) -> tuple[Tensor, Tensor]:
        """Return actions (1, num_actions) and memory of ``cat[proprio, depth, others]`` (1, ...) and memory."""
        vectors, depth = self.input(obs)
        return self.act(vectors, self.encoder.encode_image(depth), h_in)

    def act(self, vectors: Tensor, features: Tensor, h_in: Tensor) -> tuple[Tensor, Tensor]:
        """Return the same of ``cat[proprio, others]`` (1, ...), features of the newest image (1, size) and memory."""
        vectors = self.obs_normalizer(vectors)
        proprio, others = vectors[:, : self.num_proprio], vectors[:, self.num_proprio :]
        latent, h_out = self.encoder(features, proprio, h_in)
        return self.mlp(torch.cat([proprio, latent, others], dim=-1)), h_out


class _InTwoParts(nn.Module):
    """Exportable student for TorchScript: ``cat[proprio, depth, others]`` (1, ...) to actions (1, num_actions).

    The same in two parts, for images that come more seldom than actions: ``encode_image`` (1, pixels) to features for
    each camera frame, and ``act``, ``cat[proprio, others]`` (1, ...) and the newest features to actions, each step.
    """

    def __init__(self, student: Student) -> None:
        super().__init__()
        self.step = ExportedStudent(student)

    def forward(self, x: Tensor) -> Tensor:
        vectors, depth = self.step.input(x)
        return self.act(vectors, self.encode_image(depth))

    @torch.jit.export
    def encode_image(self, depth: Tensor) -> Tensor:
        return self.step.encoder.encode_image(depth)

    @torch.jit.export
    def act(self, vectors: Tensor, features: Tensor) -> Tensor:
        raise NotImplementedError

    @torch.jit.export
    def reset(self) -> None:
        raise NotImplementedError


class _JitStudent(_InTwoParts):
    """A student with a memory, inside."""

    def __init__(self, student: Student) -> None:
        super().__init__(student)
        self.hidden_state: Tensor
        self.hidden_state = nn.Buffer(student.encoder.initial_memory(1))

    @torch.jit.export
    def act(self, vectors: Tensor, features: Tensor) -> Tensor:
        actions, hidden = self.step.act(vectors, features, self.hidden_state)
        self.hidden_state[:] = hidden
        return actions

    @torch.jit.export
    def reset(self) -> None:
        """Forget the past episode."""
        self.hidden_state[:] = 0.0


class _OnnxStudent(ExportedStudent):
    """Exportable student for ONNX, with the input and output names of rsl_rl's recurrent models."""

    is_recurrent = True
    input_names = ["obs", "h_in"]
    output_names = ["actions", "h_out"]

    def __init__(self, student: Student) -> None:
        super().__init__(student)
        self.memory_shape = student.encoder.initial_memory(1).shape

    def get_dummy_inputs(self) -> tuple[Tensor, Tensor]:
        """Return inputs to trace the module with."""
        return torch.zeros(1, sum(self.input.sizes)), torch.zeros(self.memory_shape)


class _StudentWithoutMemory(_InTwoParts):
    """A student without a memory, for any batch size, and for ONNX, too."""

    is_recurrent = False
    input_names = ["obs"]
    output_names = ["actions"]

    def __init__(self, student: Student) -> None:
        super().__init__(student)
        self.memory = nn.Buffer(student.encoder.initial_memory(1), persistent=False)

    @torch.jit.export
    def act(self, vectors: Tensor, features: Tensor) -> Tensor:
        actions, _ = self.step.act(vectors, features, self.memory)
        return actions

    @torch.jit.export
    def reset(self) -> None:
        """Do nothing: there is nothing to forget."""

    @torch.jit.unused
    def get_dummy_inputs(self) -> tuple[Tensor]:
        """Return an input to trace the module with."""
        return (torch.zeros(1, sum(self.step.input.sizes)),)

"""What the teachers and the student have in common: an MLP over ``cat[proprio, terrain, others]``."""

from __future__ import annotations

from typing import Any

import torch
from rsl_rl.models import MLPModel
from tensordict import TensorDict
from torch import Tensor, nn


class ParkourActor(MLPModel):
    """An MLP actor whose input is proprioception, what it knows of the terrain, and other observations, in that order.

    The second observation group of its set is the one that shows the terrain; a subclass says what becomes of it. The
    normalizer, where it is on, covers proprioception and the other observations: depth comes normalized from the
    camera, and latents are bounded by their Tanh.

    Args:
        obs: Observations by group, each (num_envs, size).
        obs_groups: Observation sets; this actor's is ``[proprio, terrain group, *others]``.
        obs_set: Name of the set.
        output_dim: Number of actions.
        terrain_dim: Size of the terrain's part of the input.
        mlp: The remaining arguments of rsl_rl's MLPModel.
    """

    def __init__(
        self,
        obs: TensorDict,
        obs_groups: dict[str, list[str]],
        obs_set: str,
        output_dim: int,
        terrain_dim: int,
        **mlp: Any,
    ) -> None:
        self.terrain_dim = terrain_dim
        self.num_proprio = obs[obs_groups[obs_set][0]].shape[-1]
        self.terrain_group = obs_groups[obs_set][1]
        super().__init__(obs, obs_groups, obs_set, output_dim, **mlp)

    @property
    def terrain_columns(self) -> slice:
        """Return which columns of the first layer read the terrain."""
        return slice(self.num_proprio, self.num_proprio + self.terrain_dim)

    def vectors(self, obs: TensorDict) -> Tensor:
        """Return the normalized proprioception and other observations, (..., obs_dim)."""
        return self.obs_normalizer(torch.cat([obs[group] for group in self.obs_groups], dim=-1))

    def join(self, vectors: Tensor, terrain: Tensor) -> Tensor:
        """Put the terrain's part (..., terrain_dim) between the proprioception and the others of ``vectors``."""
        return torch.cat([vectors[..., : self.num_proprio], terrain, vectors[..., self.num_proprio :]], dim=-1)

    def _get_obs_dim(self, obs: TensorDict, obs_groups: dict[str, list[str]], obs_set: str) -> tuple[list[str], int]:
        proprio, _, *others = obs_groups[obs_set]
        return super()._get_obs_dim(obs, {obs_set: [proprio, *others]}, obs_set)

    def _get_latent_dim(self) -> int:
        return self.obs_dim + self.terrain_dim


class FlatInput(nn.Module):
    """Takes the flat vector that exported policies read, ``cat[proprio, terrain, others]``, apart."""

    def __init__(self, num_proprio: int, terrain_size: int, num_others: int) -> None:
        super().__init__()
        self.sizes = [num_proprio, terrain_size, num_others]

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return vectors ``cat[proprio, others]`` (batch, ...) and the terrain's part (batch, terrain_size)."""
        proprio, terrain, others = torch.split(x, self.sizes, dim=-1)
        return torch.cat([proprio, others], dim=-1), terrain

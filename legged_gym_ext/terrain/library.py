"""Every tile that an environment can be given, as tensors: kinds x levels x random variants."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from legged_gym_ext.terrain.boxes import ABSENT, MAX_BOXES
from legged_gym_ext.terrain.config import TerrainConfig
from legged_gym_ext.terrain.kinds import KINDS
from legged_gym_ext.terrain.tiles import make


@dataclass
class TerrainLibrary:
    """All tiles, built once; T = kinds x levels x variants."""

    boxes: Tensor
    """(T, MAX_BOXES, BOX_DIM) float32, see boxes.py; the rows that are no box come last."""
    waypoints: Tensor
    """(T, W, 3) float32, in the order in which they are passed."""
    kinds: tuple[str, ...]
    """Names; a kind's number is its place here. Those with proportion 0 are left out."""
    proportions: tuple[float, ...]
    """Of the kinds, in the same order; they add up to 1."""
    levels: int
    variants: int
    length: float
    """Of the course, from the start line to the last waypoint."""
    width: float

    def tile_index(self, kind: Tensor, level: Tensor, variant: Tensor) -> Tensor:
        """Return the rows of ``boxes`` and ``waypoints`` of the given kinds, levels and variants, all (N,) long."""
        return (kind * self.levels + level) * self.variants + variant

    def assign_kinds(self, num_envs: int) -> Tensor:
        """Deal the kinds to environments in their proportions; returns (num_envs,) long.

        This is the Huntington-Hill apportionment: the a-th environment of a kind with proportion p has priority
        p / sqrt(a (a - 1)). So every kind is present if there are enough environments, and environment i has the same
        kind however many come after it.
        """
        share = np.array(self.proportions)
        place = np.arange(1, num_envs + 1)
        with np.errstate(divide="ignore"):
            priority = share[:, None] / np.sqrt(place * (place - 1.0))
        kind = np.repeat(np.arange(len(share)), num_envs)
        order = np.lexsort((kind, -share[kind], -priority.ravel()))
        return torch.from_numpy(kind[order][:num_envs]).to(self.boxes.device)


def build_library(config: TerrainConfig, device: torch.device | str = "cpu") -> TerrainLibrary:
    """Build every tile. The same configuration gives the same tiles, and those of a kind do not depend on the others.

    Raises UserError where a checked configuration (rules.py) leaves no room for an obstacle or a waypoint.
    """
    proportions = {kind: getattr(config, kind).proportion for kind in KINDS}
    kinds = tuple(kind for kind, share in proportions.items() if share > 0)
    tiles = [
        make(config, kind, level, variant)
        for kind in kinds
        for level in range(config.levels)
        for variant in range(config.variants)
    ]
    boxes = np.tile(np.array(ABSENT), (len(tiles), MAX_BOXES, 1))
    for padded, tile in zip(boxes, tiles, strict=True):
        padded[: len(tile.boxes)] = tile.boxes
    total = sum(proportions.values())
    return TerrainLibrary(
        boxes=torch.tensor(boxes, dtype=torch.float32, device=device),
        waypoints=torch.tensor(np.stack([t.waypoints for t in tiles]), dtype=torch.float32, device=device),
        kinds=kinds,
        proportions=tuple(proportions[kind] / total for kind in kinds),
        levels=config.levels,
        variants=config.variants,
        length=config.length,
        width=config.width,
    )

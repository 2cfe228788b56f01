"""Every tile that an environment can be given, as tensors: kinds x levels x random variants."""

from __future__ import annotations

import dataclasses
import math
import zlib
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from legged_gym_ext.config import TerrainConfig
from legged_gym_ext.errors import UserError
from legged_gym_ext.terrain.boxes import ABSENT, MAX_BOXES
from legged_gym_ext.terrain.tiles import KINDS, Tile

_POSITIVE = {"length", "thickness", "spacing", "run", "size", "width"}  # ranges that exclude 0, except gaps.width


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

    Raises UserError for a configuration of which no course can be made.
    """
    _check(config)
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


def make(config: TerrainConfig, kind: str, level: int, variant: int) -> Tile:
    """Make one tile of a checked configuration. Its difficulty is 0 at level 0 and 1 at the top level."""
    difficulty = level / max(config.levels - 1, 1)
    rng = np.random.default_rng([config.seed, zlib.crc32(kind.encode()), level, variant])
    try:
        return KINDS[kind](difficulty, rng, getattr(config, kind), config)
    except UserError as error:
        raise UserError(f"terrain.{kind} at level {level}: {error}") from error


def _check(config: TerrainConfig) -> None:
    for name, least in (("levels", 1), ("variants", 1), ("waypoints", 3), ("seed", 0)):
        if getattr(config, name) < least:
            raise UserError(f"terrain.{name} = {getattr(config, name)}; allowed: {least} or more")
    for name in ("length", "width"):
        if not 1.0 <= getattr(config, name) < math.inf:
            raise UserError(f"terrain.{name} = {getattr(config, name)}; allowed: 1 m or more")
    for kind in KINDS:
        _check_section(kind, getattr(config, kind))
    if not any(getattr(config, kind).proportion > 0 for kind in KINDS):
        raise UserError(f"terrain.*.proportion are all 0; allowed: more than 0 for one of {', '.join(KINDS)}")
    most = (MAX_BOXES - 2) // 2
    if not 1 <= config.stepping_stones.count <= most:
        raise UserError(f"terrain.stepping_stones.count = {config.stepping_stones.count}; allowed: 1 to {most}")
    if max(config.ramps.tilt_degrees) > 60:
        raise UserError(f"terrain.ramps.tilt_degrees = {config.ramps.tilt_degrees}; allowed: up to 60")


def _check_section(kind: str, section: object) -> None:
    for field in dataclasses.fields(section):  # pyright: ignore[reportArgumentType]
        value, name = getattr(section, field.name), f"terrain.{kind}.{field.name}"
        if field.name == "proportion" and not 0 <= value < math.inf:
            raise UserError(f"{name} = {value}; allowed: 0 or more")
        if field.name == "proportion" or not isinstance(value, (list, tuple)):
            continue
        positive = field.name in _POSITIVE and name != "terrain.gaps.width"
        if len(value) != 2 or not all(0 <= v < math.inf and (v > 0 or not positive) for v in value):
            allowed = "more than 0" if positive else "0 or more"
            raise UserError(f"{name} = {list(value)}; allowed: two numbers, {allowed}")

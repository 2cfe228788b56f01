"""Bars across the course."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.random import Generator

from legged_gym_ext.config.fields import POSITIVE, at_difficulties, not_negative
from legged_gym_ext.terrain.boxes import MAX_BOXES
from legged_gym_ext.terrain.course import Tile, at, how_many, lateral, lay_out, make_tile, stands_on_ground, vary
from legged_gym_ext.terrain.solids import across, slab

if TYPE_CHECKING:
    from legged_gym_ext.terrain.config import TerrainConfig


@dataclass
class HurdlesConfig:
    """Bars to climb over."""

    proportion: float = not_negative(1.0)
    height: list[float] = at_difficulties(0.015, 0.4)  # of a hurdle
    thickness: list[float] = at_difficulties(0.3, 0.12, POSITIVE)  # of it, along the course
    spacing: list[float] = at_difficulties(1.8, 1.4, POSITIVE)  # free ground between two bars, at least


def hurdles(difficulty: float, rng: Generator, config: HurdlesConfig, terrain: TerrainConfig) -> Tile:
    """Bars across the course."""
    thickness, rest = at(config.thickness, difficulty), at(config.spacing, difficulty)
    count = how_many(terrain, thickness, rest, MAX_BOXES - 1)
    layout = lay_out(rng, terrain, np.full(count, thickness), rest)
    heights = vary(rng, at(config.height, difficulty), count)
    bars = [across(x0, x1, terrain, height) for (x0, x1), height in zip(layout.obstacles, heights, strict=True)]
    stands = stands_on_ground(layout, terrain, lateral(rng, terrain, count + 1))
    return make_tile([slab(terrain), *bars], stands, terrain)

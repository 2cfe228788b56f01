"""Platforms up and down: hills of one or two layers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.random import Generator

from legged_gym_ext.config.fields import POSITIVE, at_difficulties, not_negative
from legged_gym_ext.terrain.boxes import MAX_BOXES
from legged_gym_ext.terrain.course import Tile, at, how_many, lay_out, vary
from legged_gym_ext.terrain.solids import hills

if TYPE_CHECKING:
    from legged_gym_ext.terrain.config import TerrainConfig


@dataclass
class StepsConfig:
    """Platforms up and down, one or two on top of each other."""

    proportion: float = not_negative(1.0)
    height: list[float] = at_difficulties(0.015, 0.45)  # of one step
    length: list[float] = at_difficulties(1.4, 0.9, POSITIVE)  # of a platform, and of the ground between two


def steps(difficulty: float, rng: Generator, config: StepsConfig, terrain: TerrainConfig) -> Tile:
    """Platforms up and down: hills of one or two layers."""
    tread = at(config.length, difficulty)
    count = how_many(terrain, tread, tread, MAX_BOXES - 1)  # a hill of two layers takes the room of two hills of one
    layers: list[int] = []
    while sum(layers) < count:
        layers.append(min(int(rng.integers(1, 3)), count - sum(layers)))
    rises = np.split(vary(rng, at(config.height, difficulty), count), np.cumsum(layers)[:-1])
    layout = lay_out(rng, terrain, (2.0 * np.array(layers) - 1) * tread, tread)
    return hills(layout, rng, tread, rises, terrain)

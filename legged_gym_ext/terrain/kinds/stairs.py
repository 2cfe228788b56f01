"""Two flights of stairs up, each with a landing and down again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.random import Generator

from legged_gym_ext.config.fields import POSITIVE, at_difficulties, not_negative
from legged_gym_ext.terrain.boxes import MAX_BOXES
from legged_gym_ext.terrain.course import AHEAD, BEFORE_END, REST, Tile, at, how_many, lay_out, vary
from legged_gym_ext.terrain.solids import hills

if TYPE_CHECKING:
    from legged_gym_ext.terrain.config import TerrainConfig


@dataclass
class StairsConfig:
    """Flights of stairs, up and down again."""

    proportion: float = not_negative(1.0)
    rise: list[float] = at_difficulties(0.01, 0.2)  # height of a step
    run: list[float] = at_difficulties(0.5, 0.3, POSITIVE)  # and how far it is to the next


def stairs(difficulty: float, rng: Generator, config: StairsConfig, terrain: TerrainConfig) -> Tile:
    """Two flights of stairs up, each with a landing and down again."""
    run = at(config.run, difficulty)
    flights = how_many(terrain, REST, REST, 2)
    room = (terrain.length - AHEAD - BEFORE_END - REST * (2 * flights - 1)) / flights
    most = min(1 + int(room / (2 * run)), (MAX_BOXES - 1) // flights)
    layers = rng.integers(max(most - 2, 1), most + 1, flights)
    rises = [np.full(n, rise) for n, rise in zip(layers, vary(rng, at(config.rise, difficulty), flights), strict=True)]
    layout = lay_out(rng, terrain, 2.0 * (layers - 1) * run + REST, REST)
    return hills(layout, rng, run, rises, terrain)

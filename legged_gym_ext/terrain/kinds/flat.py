"""Level ground with low bumps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from numpy.random import Generator

from legged_gym_ext.config.fields import at_difficulties, not_negative
from legged_gym_ext.terrain.course import Tile, at, how_many, lateral, lay_out, make_tile, stands_on_ground, vary
from legged_gym_ext.terrain.solids import block, slab

if TYPE_CHECKING:
    from legged_gym_ext.terrain.config import TerrainConfig


@dataclass
class FlatConfig:
    """Level ground with bumps of the given height."""

    proportion: float = not_negative(1.0)
    height: list[float] = at_difficulties(0.01, 0.05)


def flat(difficulty: float, rng: Generator, config: FlatConfig, terrain: TerrainConfig) -> Tile:
    """Level ground with low bumps."""
    count = how_many(terrain, 0.9, 0.3, 12)
    layout = lay_out(rng, terrain, rng.uniform(0.4, 0.9, count), 0.3)
    heights = vary(rng, at(config.height, difficulty), count)
    middle, half = rng.uniform(-0.2, 0.2, count) * terrain.width, rng.uniform(0.1, 0.3, count) * terrain.width
    boxes = [slab(terrain)]
    for (x0, x1), y, w, height in zip(layout.obstacles, middle, half, heights, strict=True):
        boxes.append(block(x0, x1, y - w, y + w, height))
    return make_tile(boxes, stands_on_ground(layout, terrain, lateral(rng, terrain, count + 1)), terrain)

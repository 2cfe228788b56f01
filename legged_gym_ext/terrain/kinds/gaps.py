"""Platforms with nothing between them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from numpy.random import Generator

from legged_gym_ext.config.fields import POSITIVE, at_difficulties, not_negative
from legged_gym_ext.terrain.boxes import MAX_BOXES
from legged_gym_ext.terrain.course import Tile, at, how_many, lateral, lay_out, make_tile, stands_on_ground, vary
from legged_gym_ext.terrain.solids import across

if TYPE_CHECKING:
    from legged_gym_ext.terrain.config import TerrainConfig


@dataclass
class GapsConfig:
    """Gaps between platforms."""

    proportion: float = not_negative(1.0)
    width: list[float] = at_difficulties(0.02, 0.8)  # of a gap
    length: list[float] = at_difficulties(1.4, 1.0, POSITIVE)  # of a platform, at least


def gaps(difficulty: float, rng: Generator, config: GapsConfig, terrain: TerrainConfig) -> Tile:
    """Platforms with nothing between them."""
    width, rest = at(config.width, difficulty), at(config.length, difficulty)
    widths = vary(rng, width, how_many(terrain, width, rest, MAX_BOXES - 1))
    layout = lay_out(rng, terrain, widths, rest)
    boxes = [across(x0, x1, terrain) for x0, x1 in layout.ground]
    return make_tile(boxes, stands_on_ground(layout, terrain, lateral(rng, terrain, len(boxes))), terrain)

"""Narrow paths; waypoints right before and behind each, so that the line to follow stays on it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.random import Generator

from legged_gym_ext.config.fields import POSITIVE, at_difficulties, not_negative
from legged_gym_ext.terrain.boxes import MAX_BOXES
from legged_gym_ext.terrain.course import MARGIN, Stand, Tile, at, how_many, lateral, lay_out, make_tile
from legged_gym_ext.terrain.solids import across, block

if TYPE_CHECKING:
    from legged_gym_ext.terrain.config import TerrainConfig


@dataclass
class BeamsConfig:
    """Narrow paths between platforms."""

    proportion: float = not_negative(1.0)
    width: list[float] = at_difficulties(4.0, 0.3, POSITIVE)  # of a beam
    length: list[float] = at_difficulties(1.5, 2.0, POSITIVE)  # and its length


def beams(difficulty: float, rng: Generator, config: BeamsConfig, terrain: TerrainConfig) -> Tile:
    """Narrow paths; waypoints right before and behind each, so that the line to follow stays on it."""
    width, length = min(at(config.width, difficulty), terrain.width), at(config.length, difficulty)
    lead = 0.3  # of those waypoints
    rest = 1.0 + 2 * lead
    count = how_many(terrain, length, rest, min((MAX_BOXES - 1) // 2, (terrain.waypoints - 1) // 2))
    layout = lay_out(rng, terrain, np.full(count, length), rest)
    boxes = [across(x0, x1, terrain) for x0, x1 in layout.ground]
    ys = np.clip(lateral(rng, terrain, count), -(terrain.width - width) / 2, (terrain.width - width) / 2)
    stands = []
    for (x0, x1), y in zip(layout.obstacles, ys, strict=True):
        boxes.append(block(x0, x1, y - width / 2, y + width / 2))
        stands += [
            Stand(x0 - lead, x0 - lead, y, 0.0, required=True),
            Stand(x0, x1, y, 0.0),
            Stand(x1 + lead, x1 + lead, y, 0.0, required=True),
        ]
    finish = Stand(layout.ground[-1][0] + lead, terrain.length + MARGIN, float(lateral(rng, terrain, 1)[0]), 0.0)
    return make_tile(boxes, [*stands, finish], terrain)

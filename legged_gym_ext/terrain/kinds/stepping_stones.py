"""Fields of stones, a row for either foot; the second row is behind the first by up to half a stone and gap."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.random import Generator

from legged_gym_ext.config.fields import POSITIVE, at_difficulties, count, not_negative
from legged_gym_ext.terrain.boxes import MAX_BOXES
from legged_gym_ext.terrain.course import REST, Stand, Tile, at, how_many, lay_out, make_tile, stands_on_ground
from legged_gym_ext.terrain.solids import across, block

if TYPE_CHECKING:
    from legged_gym_ext.terrain.config import TerrainConfig


@dataclass
class SteppingStonesConfig:
    """Fields of stones in two rows, left and right, staggered the more the harder; platforms between the fields."""

    proportion: float = not_negative(1.0)
    # Stones in a row of a field; two rows, and the platforms before and after them, are a tile's boxes at most.
    count: int = count(3, at_most=(MAX_BOXES - 2) // 2)
    size: list[float] = at_difficulties(0.8, 0.32, POSITIVE)  # of a stone along the course
    width: list[float] = at_difficulties(2.0, 0.32, POSITIVE)  # and across it
    gap: list[float] = at_difficulties(0.02, 0.3)  # between two stones of a row
    offset: list[float] = at_difficulties(0.0, 0.12)  # of a stone outward, and of its top from the ground, +-; at most


def stepping_stones(difficulty: float, rng: Generator, config: SteppingStonesConfig, terrain: TerrainConfig) -> Tile:
    """Fields of stones, a row for either foot; the second row is behind the first by up to half a stone and gap."""
    size, width, gap = (at(values, difficulty) for values in (config.size, config.width, config.gap))
    width = min(width, terrain.width / 2)
    pitch = size + gap
    stagger = difficulty * pitch / 2
    length = config.count * pitch + gap + stagger
    fields = how_many(terrain, length, REST, (MAX_BOXES - 1) // (2 * config.count + 1))
    layout = lay_out(rng, terrain, np.full(fields, length), REST)
    boxes = [across(x0, x1, terrain) for x0, x1 in layout.ground]
    stands = stands_on_ground(layout, terrain, np.zeros(fields + 1))
    inner = min(width / 2, 0.2)  # distance of the waypoints from the stones' inner edges
    offset = at(config.offset, difficulty)
    outward = min(offset, terrain.width / 2 - width)  # stones of the two rows never overlap
    stones = []
    for x0, _ in layout.obstacles:
        first = rng.choice([-1, 1])
        for side, start in ((first, x0 + gap), (-first, x0 + gap + stagger)):
            for x in start + pitch * np.arange(config.count):
                edge, top = rng.uniform(0.0, outward), rng.uniform(-offset, offset)
                y = side * (edge + width / 2)
                boxes.append(block(x, x + size, y - width / 2, y + width / 2, top))
                stones.append(Stand(x + size / 2, x + size / 2, side * (edge + inner), top))
    return make_tile(boxes, [*stones, *stands], terrain)

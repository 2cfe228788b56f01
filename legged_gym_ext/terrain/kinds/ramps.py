"""Pairs of plates, in turns: one tilted to the left and one to the right; one up and one down."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.random import Generator

from legged_gym_ext.config.fields import POSITIVE, Number, at_difficulties, not_negative
from legged_gym_ext.terrain.boxes import MAX_BOXES
from legged_gym_ext.terrain.course import (
    REST,
    Stand,
    Tile,
    at,
    how_many,
    lateral,
    lay_out,
    make_tile,
    stands_on_ground,
    vary,
)
from legged_gym_ext.terrain.solids import across, plate

if TYPE_CHECKING:
    from legged_gym_ext.terrain.config import TerrainConfig


@dataclass
class RampsConfig:
    """Pairs of plates: tilted to the left and to the right, or up and down again."""

    proportion: float = not_negative(1.0)
    tilt_degrees: list[float] = at_difficulties(0.25, 22.0, Number(at_least=0, at_most=60))
    length: list[float] = at_difficulties(1.0, 0.8, POSITIVE)  # of a plate
    gap: list[float] = at_difficulties(0.0, 0.3)  # before and after a pair, and between plates that tilt sideways


def ramps(difficulty: float, rng: Generator, config: RampsConfig, terrain: TerrainConfig) -> Tile:
    """Pairs of plates, in turns: one tilted to the left and one to the right; one up and one down."""
    length, gap = at(config.length, difficulty), at(config.gap, difficulty)
    count = how_many(terrain, 2 * length + 3 * gap, REST, (MAX_BOXES - 1) // 3)
    sideways = (np.arange(count) + rng.integers(2)) % 2 == 0
    layout = lay_out(rng, terrain, 2 * length + np.where(sideways, 3, 2) * gap, REST)
    boxes = [across(x0, x1, terrain) for x0, x1 in layout.ground]
    stands = stands_on_ground(layout, terrain, lateral(rng, terrain, count + 1))
    plates = []
    tilts = np.radians(vary(rng, at(config.tilt_degrees, difficulty), count))
    for (x0, x1), is_sideways, tilt, y in zip(
        layout.obstacles, sideways, tilts, lateral(rng, terrain, count), strict=True
    ):
        first, second = (x0 + gap, x0 + gap + length), (x1 - gap - length, x1 - gap)
        if is_sideways:
            tilt *= rng.choice([-1, 1])
            boxes += [plate(*first, terrain, roll=tilt), plate(*second, terrain, roll=-tilt)]
            middle = y * math.tan(tilt)
            plates += [Stand(*first, y, middle), Stand(*second, y, -middle)]
        else:
            middle = length / 2 * math.tan(tilt)
            boxes += [plate(*first, terrain, middle, pitch=-tilt), plate(*second, terrain, middle, pitch=tilt)]
            plates += [Stand(sum(x) / 2, sum(x) / 2, y, middle) for x in (first, second)]
    return make_tile(boxes, [*plates, *stands], terrain)

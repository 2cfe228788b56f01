"""The boxes that obstacles are made of, and the places to stand on them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from numpy.random import Generator

from legged_gym_ext.terrain.boxes import BOX_DIM, CENTER, HALF, QUAT
from legged_gym_ext.terrain.course import BEHIND, BEYOND, Layout, Stand, Tile, lateral, make_tile, stands_on_ground

if TYPE_CHECKING:
    from legged_gym_ext.terrain.config import TerrainConfig

THICKNESS = 1.0  # of every box: feet do not tunnel, and a gap shows the camera a wall, not a sheet


def block(x0: float, x1: float, y0: float, y1: float, top: float = 0.0) -> np.ndarray:
    """Return an upright box that ends at height ``top``."""
    box = np.zeros(BOX_DIM)
    box[CENTER] = (x0 + x1) / 2, (y0 + y1) / 2, top - THICKNESS / 2
    box[QUAT] = 1.0, 0.0, 0.0, 0.0
    box[HALF] = (x1 - x0) / 2, (y1 - y0) / 2, THICKNESS / 2
    return box


def across(x0: float, x1: float, terrain: TerrainConfig, top: float = 0.0) -> np.ndarray:
    """Return an upright box as wide as the tile."""
    return block(x0, x1, -terrain.width / 2, terrain.width / 2, top)


def slab(terrain: TerrainConfig) -> np.ndarray:
    """Return the ground of a course without gaps: one box, so that no seam can catch a foot."""
    return across(-BEHIND, terrain.length + BEYOND, terrain)


def plate(
    x0: float, x1: float, terrain: TerrainConfig, z: float = 0.0, roll: float = 0.0, pitch: float = 0.0
) -> np.ndarray:
    """Return a box as wide as the tile, its top tilted about the top's centre, which is at height ``z``.

    Tilt (radians) is about x *or* y; seen from above the top then covers x0 .. x1 and the tile's width.
    """
    # The box's own upward axis, along which its middle is half a thickness below that of its top.
    up = np.array([math.sin(pitch), -math.sin(roll), math.cos(roll) * math.cos(pitch)])
    box = np.zeros(BOX_DIM)
    box[CENTER] = np.array([(x0 + x1) / 2, 0.0, z]) - THICKNESS / 2 * up
    box[QUAT] = math.cos(roll / 2) * math.cos(pitch / 2), math.sin(roll / 2), math.sin(pitch / 2), 0.0
    box[HALF] = (x1 - x0) / 2 / math.cos(pitch), terrain.width / 2 / math.cos(roll), THICKNESS / 2
    return box


def pyramid(
    x0: float, x1: float, tread: float, rises: np.ndarray, y: float, terrain: TerrainConfig
) -> tuple[list[np.ndarray], list[Stand]]:
    """Return the boxes and the stands of stairs up from ``x0`` and down to ``x1``: a layer, one box, is a step of both.

    ``rises`` (n,) are the heights of the layers; all but the last show a ``tread`` on either side.
    """
    tops = np.cumsum(rises)
    inset = tread * np.arange(len(rises))
    boxes = [across(x0 + i, x1 - i, terrain, top) for i, top in zip(inset, tops, strict=True)]
    below = list(zip(inset[:-1], tops[:-1], strict=True))
    up = [Stand(x0 + i, x0 + i + tread, y, top) for i, top in below]
    down = [Stand(x1 - i - tread, x1 - i, y, top) for i, top in reversed(below)]
    return boxes, [*up, Stand(x0 + inset[-1], x1 - inset[-1], y, tops[-1]), *down]


def hills(layout: Layout, rng: Generator, tread: float, rises: list[np.ndarray], terrain: TerrainConfig) -> Tile:
    """Return a slab with a pyramid, of layers of the given heights, on each place of the layout."""
    boxes = [slab(terrain)]
    stands = stands_on_ground(layout, terrain, lateral(rng, terrain, len(rises) + 1))
    ys = lateral(rng, terrain, len(rises))
    hills = []
    for (x0, x1), rise, y in zip(layout.obstacles, rises, ys, strict=True):
        layers, places = pyramid(x0, x1, tread, rise, y, terrain)
        boxes += layers
        hills += places
    return make_tile(boxes, [*hills, *stands], terrain)

"""What all obstacle courses have in common: where along the course things are, and its waypoints.

Every course starts and ends on ground at z = 0: a start platform from ``BEHIND`` behind the start line, a finish
platform until ``BEYOND`` beyond the last waypoint. Between them lie obstacles, with room to stand before each.
Positions are in the tile frame, in metres. The sizes at difficulties 0 and 1 are configuration; in every tile one
obstacle at least has the full size of its difficulty, the others down to ``SMALLEST`` of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.random import Generator

from legged_gym_ext.errors import UserError
from legged_gym_ext.terrain.boxes import MAX_BOXES

if TYPE_CHECKING:
    from legged_gym_ext.terrain.config import TerrainConfig

BEHIND = 2.0  # ground behind the start line
AHEAD = 1.2  # ground ahead of it, at least
BEFORE_END = 0.8  # ground before the last waypoint, at least
BEYOND = 1.5  # ground beyond it
REST = 1.0  # room to stand between obstacles, for the kinds that configure no length of it
SMALLEST = 0.8
MARGIN = 0.25  # of a waypoint to the edge of what it stands on, where there is room for it
LATERAL = 0.4  # waypoints are off the middle of the tile by at most this, so that there is a heading to follow


@dataclass
class Tile:
    """A course."""

    boxes: np.ndarray
    """(n <= MAX_BOXES, BOX_DIM), see boxes.py."""
    waypoints: np.ndarray
    """(W, 3): x increasing, the last at the course's length; z is the surface there."""


class Stand(NamedTuple):
    """Level ground from ``x0`` to ``x1`` on which a waypoint may be, at ``y``, at height ``z``."""

    x0: float
    x1: float
    y: float
    z: float
    required: bool = False  # a waypoint must be in its middle


class Layout(NamedTuple):
    """Where along the course the obstacles are, (x0, x1) each, and where the ground between and around them."""

    obstacles: list[tuple[float, float]]
    ground: list[tuple[float, float]]


def at(values: Sequence[float], difficulty: float) -> float:
    """Interpolate a range of the configuration, given at difficulties 0 and 1."""
    return values[0] + (values[1] - values[0]) * difficulty


def vary(rng: Generator, value: float, count: int) -> np.ndarray:
    """Draw ``count`` sizes in [SMALLEST, 1] x ``value``, the largest of them exactly ``value``."""
    factor = rng.uniform(SMALLEST, 1.0, count)
    return value * factor / factor.max()


# ---- along the course


def how_many(terrain: TerrainConfig, length: float, rest: float, most: int) -> int:
    """Return how many obstacles of ``length``, with ``rest`` between them, the course has room for, up to ``most``.

    Raises UserError if there is no room for one.
    """
    room = terrain.length - AHEAD - BEFORE_END
    if length > room:
        raise UserError(f"obstacle of {length:.2f} m; terrain.length = {terrain.length:g} leaves {room:.2f} m for it")
    return min(int((room + rest) / (length + rest)), most)


def lay_out(rng: Generator, terrain: TerrainConfig, lengths: np.ndarray, rest: float) -> Layout:
    """Place obstacles of ``lengths`` (n,) in this order, ``rest`` at least between them, what is left at random."""
    spare = terrain.length - AHEAD - BEFORE_END - lengths.sum() - rest * (len(lengths) - 1)
    rests = np.concatenate([[AHEAD], np.full(len(lengths) - 1, rest)])
    rests += spare * rng.dirichlet(np.ones(len(lengths) + 1))[:-1]
    ends = np.cumsum(rests + lengths)
    starts = ends - lengths
    return Layout(
        obstacles=list(zip(starts, ends, strict=True)),
        ground=list(zip([-BEHIND, *ends], [*starts, terrain.length + BEYOND], strict=True)),
    )


def lateral(rng: Generator, terrain: TerrainConfig, count: int) -> np.ndarray:
    """Draw the y of ``count`` stands on obstacles that are as wide as the tile."""
    return rng.uniform(-1.0, 1.0, count) * min(LATERAL, terrain.width / 4)


def stands_on_ground(layout: Layout, terrain: TerrainConfig, y: np.ndarray) -> list[Stand]:
    """Return the stands on the ground of a layout of n obstacles, at ``y`` (n + 1,)."""
    end = terrain.length + MARGIN
    return [Stand(max(x0, 0.0), min(x1, end), yi, 0.0) for (x0, x1), yi in zip(layout.ground, y, strict=True)]


def make_tile(boxes: Sequence[np.ndarray], stands: Sequence[Stand], terrain: TerrainConfig) -> Tile:
    """Choose the waypoints among the ``stands``, of which the last is the finish, and put the tile together.

    Waypoints are the last of the course, the required ones, and then one by one the place that is farthest from those
    chosen so far. Raises UserError if there are fewer places than waypoints, or too many boxes.
    """
    if len(boxes) > MAX_BOXES:
        raise UserError(f"{len(boxes)} boxes; a tile has at most {MAX_BOXES}")
    places, chosen = [], [np.array([terrain.length, stands[-1].y, stands[-1].z])]
    for x0, x1, y, z, required in stands:
        middle, span = (x0 + x1) / 2, max(x1 - x0 - 2 * MARGIN, 0.0)
        places += [(x, y, z) for x in np.linspace(middle - span / 2, middle + span / 2, 1 + int(span / 0.1))]
        if required:
            chosen.append(np.array([middle, y, z]))
    candidates = np.array(places)
    distance = np.min(np.abs(candidates[:, :1] - [0.0, *(point[0] for point in chosen)]), axis=1)
    while len(chosen) < terrain.waypoints:
        farthest = int(distance.argmax())
        if distance[farthest] < 1e-3:
            raise UserError(f"terrain.waypoints = {terrain.waypoints}; there are places for {len(chosen)}")
        chosen.append(candidates[farthest])
        distance = np.minimum(distance, np.abs(candidates[:, 0] - candidates[farthest, 0]))
    waypoints = np.array(chosen)
    return Tile(np.stack(boxes), waypoints[waypoints[:, 0].argsort()])

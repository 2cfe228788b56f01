"""Obstacle courses made of boxes: one function per kind, of the difficulty and a random generator.

Every course starts and ends on ground at z = 0: a start platform from ``BEHIND`` behind the start line, a finish
platform until ``BEYOND`` beyond the last waypoint. Between them lie obstacles, with room to stand before each.
Positions are in the tile frame, in metres. The sizes at difficulties 0 and 1 are configuration; in every tile one
obstacle at least has the full size of its difficulty, the others down to ``SMALLEST`` of it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.random import Generator

from legged_gym_ext.config.schema import (
    BeamsConfig,
    FlatConfig,
    GapsConfig,
    HurdlesConfig,
    RampsConfig,
    StairsConfig,
    SteppingStonesConfig,
    StepsConfig,
    TerrainConfig,
)
from legged_gym_ext.errors import UserError
from legged_gym_ext.rotations import quat_from_euler, quat_rotate
from legged_gym_ext.terrain.boxes import BOX_DIM, CENTER, HALF, MAX_BOXES, QUAT

BEHIND = 2.0  # ground behind the start line
AHEAD = 1.2  # ground ahead of it, at least
BEFORE_END = 0.8  # ground before the last waypoint, at least
BEYOND = 1.5  # ground beyond it
REST = 1.0  # room to stand between obstacles, for the kinds that configure no length of it
THICKNESS = 1.0  # of every box: feet do not tunnel, and a gap shows the camera a wall, not a sheet
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
    chosen so far. Raises UserError if there are fewer places than waypoints.
    """
    assert len(boxes) <= MAX_BOXES, f"{len(boxes)} boxes"
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


# ---- boxes


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
    quat = quat_from_euler(*(torch.tensor(angle, dtype=torch.float64) for angle in (roll, pitch, 0.0)))
    down = quat_rotate(quat, torch.tensor([0.0, 0.0, -THICKNESS / 2], dtype=torch.float64))
    box = np.zeros(BOX_DIM)
    box[CENTER] = np.array([(x0 + x1) / 2, 0.0, z]) + down.numpy()
    box[QUAT] = quat.numpy()
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


# ---- kinds


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


def steps(difficulty: float, rng: Generator, config: StepsConfig, terrain: TerrainConfig) -> Tile:
    """Platforms up and down: hills of one or two layers."""
    tread = at(config.length, difficulty)
    count = how_many(terrain, tread, tread, MAX_BOXES - 1)  # a hill of two layers takes the room of two hills of one
    layers: list[int] = []
    while sum(layers) < count:
        layers.append(min(int(rng.integers(1, 3)), count - sum(layers)))
    rises = np.split(vary(rng, at(config.height, difficulty), count), np.cumsum(layers)[:-1])
    layout = lay_out(rng, terrain, (2.0 * np.array(layers) - 1) * tread, tread)
    return _hills(layout, rng, tread, rises, terrain)


def stairs(difficulty: float, rng: Generator, config: StairsConfig, terrain: TerrainConfig) -> Tile:
    """Two flights of stairs up, each with a landing and down again."""
    run = at(config.run, difficulty)
    flights = how_many(terrain, REST, REST, 2)
    room = (terrain.length - AHEAD - BEFORE_END - REST * (2 * flights - 1)) / flights
    most = min(1 + int(room / (2 * run)), (MAX_BOXES - 1) // flights)
    layers = rng.integers(max(most - 2, 1), most + 1, flights)
    rises = [np.full(n, rise) for n, rise in zip(layers, vary(rng, at(config.rise, difficulty), flights), strict=True)]
    layout = lay_out(rng, terrain, 2.0 * (layers - 1) * run + REST, REST)
    return _hills(layout, rng, run, rises, terrain)


def _hills(layout: Layout, rng: Generator, tread: float, rises: list[np.ndarray], terrain: TerrainConfig) -> Tile:
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


def gaps(difficulty: float, rng: Generator, config: GapsConfig, terrain: TerrainConfig) -> Tile:
    """Platforms with nothing between them."""
    width, rest = at(config.width, difficulty), at(config.length, difficulty)
    widths = vary(rng, width, how_many(terrain, width, rest, MAX_BOXES - 1))
    layout = lay_out(rng, terrain, widths, rest)
    boxes = [across(x0, x1, terrain) for x0, x1 in layout.ground]
    return make_tile(boxes, stands_on_ground(layout, terrain, lateral(rng, terrain, len(boxes))), terrain)


def hurdles(difficulty: float, rng: Generator, config: HurdlesConfig, terrain: TerrainConfig) -> Tile:
    """Bars across the course."""
    thickness, rest = at(config.thickness, difficulty), at(config.spacing, difficulty)
    count = how_many(terrain, thickness, rest, MAX_BOXES - 1)
    layout = lay_out(rng, terrain, np.full(count, thickness), rest)
    heights = vary(rng, at(config.height, difficulty), count)
    bars = [across(x0, x1, terrain, height) for (x0, x1), height in zip(layout.obstacles, heights, strict=True)]
    stands = stands_on_ground(layout, terrain, lateral(rng, terrain, count + 1))
    return make_tile([slab(terrain), *bars], stands, terrain)


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


KINDS: dict[str, Callable[[float, Generator, Any, TerrainConfig], Tile]] = {
    "flat": flat,
    "steps": steps,
    "gaps": gaps,
    "hurdles": hurdles,
    "stairs": stairs,
    "stepping_stones": stepping_stones,
    "ramps": ramps,
    "beams": beams,
}
"""Every kind by name, which is also the name of its section in the configuration."""


def only(kinds: Collection[str]) -> tuple[str, ...]:
    """Return the changes to a configuration that leave no kind of tile but ``kinds``, those in equal proportions."""
    return tuple(f"terrain.{kind}.proportion={float(kind in kinds)}" for kind in KINDS)

"""The course: the benchmark's tiles, where robots start, who leads them along, and when it is over.

What ``parkour-v1`` says of these is written down here once more, since its own words (evaluation/benchmark.py, envs/)
come with the training environment. The tests hold the two against each other.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from legged_gym_ext.terrain.config import TerrainConfig
from legged_gym_ext.terrain.course import Tile
from legged_gym_ext.terrain.tiles import make

BENCHMARK = "parkour-v1"
LEVELS = tuple(range(TerrainConfig().levels))
COURSE_LENGTH, COURSE_WIDTH = TerrainConfig().length, TerrainConfig().width
"""m."""
TILE_SEED = 2**64
TIME_LIMIT = 30.0
"""s for the whole course."""
START_SPREAD = 0.3
"""Robots start this far from the middle of the start line, along and across, +- uniform, m."""
START_YAW = 0.2
"""... and are turned by this, +- uniform, rad."""
START_JOINTS = 0.05
"""... with joints this far from the default pose, +- uniform, rad."""
START_CLEARANCE = 0.01
"""... and the lower sole, were it the default pose, over the ground, m."""

WAYPOINT_RADIUS = 0.25  # m: a waypoint that is nearer than this is reached; so is one that is behind
_MIN_HEIGHT = 0.6  # m: a base that is lower over the ground has sunk
_MAX_TILT = math.radians(45.0)
_MISSTEP = 0.1  # m below the lowest waypoint: a sole that is there has stepped into a gap
_PIT = 0.5  # m below the lowest waypoint: the ground where there is none
_SIDE = 0.3  # m beyond the tile's side edge: the robot has left
_BACK = 1.5  # m behind the start line: so it has
_ADVANCE = 0.1  # m that show that a robot is not stuck
_STUCK_TIME = 5.0  # s without them


class End(StrEnum):
    """How an episode ends, in the words of the evaluation; where several are true at once, the first counts."""

    DIVERGED = "physics diverged"
    FELL_IN = "fell into a gap"
    TIPPED = "tipped over"
    SANK = "sank down"
    LEFT = "left the tile"
    STUCK = "stuck"
    FINISHED = "finished"
    TIMED_OUT = "out of time"


def benchmark_tile(kind: str, level: int, number: int) -> Tile:
    """Return a tile of the benchmark; the evaluation's first episode of a kind and level is on number 0."""
    config = TerrainConfig()
    config.seed = TILE_SEED
    return make(config, kind, level, number)


class Guide:
    """The operator: leads the robot from waypoint to waypoint.

    Args:
        waypoints: (W, 3), m.
        speed: Forward, m/s.
        heading_gain: Yaw rate per heading error, 1/s.
        max_yaw_rate: rad/s.
    """

    def __init__(self, waypoints: np.ndarray, speed: float, heading_gain: float, max_yaw_rate: float) -> None:
        self.reached = 0
        """Number of waypoints behind the robot."""
        self._waypoints = waypoints[:, :2]
        self._speed, self._gain, self._most = speed, heading_gain, max_yaw_rate

    @property
    def finished(self) -> bool:
        """Whether the last waypoint is reached."""
        return self.reached == len(self._waypoints)

    def look(self, position: np.ndarray) -> None:
        """Go on to the next waypoint if this one is reached: one at a time, position (3,) of the base, m."""
        if not self.finished:
            ahead, aside = self._waypoints[self.reached] - position[:2]
            self.reached += bool(math.hypot(ahead, aside) < WAYPOINT_RADIUS or ahead < 0)

    def command(self, position: np.ndarray, rotation: np.ndarray) -> np.ndarray:
        """Return forward speed, lateral speed (m/s), yaw rate (rad/s) and heading error (rad), (4,).

        Args:
            position: Of the base, (3,), m.
            rotation: Base to world, (3, 3).
        """
        target = self._waypoints[min(self.reached, len(self._waypoints) - 1)]
        bearing = math.atan2(target[1] - position[1], target[0] - position[0])
        error = math.remainder(bearing - math.atan2(rotation[1, 0], rotation[0, 0]), math.tau)
        turn = min(max(self._gain * error, -self._most), self._most)
        return np.array([self._speed, 0.0, turn, error])


@dataclass(frozen=True)
class Situation:
    """What the judge sees after a control step."""

    position: np.ndarray
    """Of the base, (3,), m."""
    rotation: np.ndarray
    """Base to world, (3, 3)."""
    soles: np.ndarray
    """Their centres, (2, 3), m."""
    ground: np.ndarray
    """Height of the ground under base and soles, (3,), m; -inf where there is none."""
    sound: bool
    """Whether the physics is finite."""
    finished: bool
    """Whether the last waypoint is reached."""


class Judge:
    """Says when an episode is over, and how it ended.

    Args:
        waypoints: (W, 3), m.
        period: Of control, s.
    """

    def __init__(self, waypoints: np.ndarray, period: float) -> None:
        self.progress = 0.0
        """Furthest along the course, m."""
        self.steps = 0
        self._lowest = float(waypoints[:, 2].min())
        self._period = period
        self._most_steps = math.ceil(TIME_LIMIT / period)
        self._milestone, self._milestone_step = 0.0, 0

    @property
    def time(self) -> float:
        """Since the start, s."""
        return self.steps * self._period

    def judge(self, now: Situation) -> End | None:
        """Count a control step; return how the episode ends with it, None while it goes on."""
        self.steps += 1
        if not now.sound:
            return End.DIVERGED
        x, y, z = now.position
        self.progress = min(max(self.progress, float(x)), COURSE_LENGTH)
        if self.progress >= self._milestone + _ADVANCE:
            self._milestone, self._milestone_step = self.progress, self.steps
        # Over the lowest ground, so that a foot on a step does not make the base low.
        sank = z - max(float(now.ground.min()), self._lowest - _PIT) < _MIN_HEIGHT
        tipped = now.rotation[2, 2] < math.cos(_MAX_TILT)
        stepped_in = now.soles[:, 2].min() < self._lowest - _MISSTEP
        for end, is_so in (
            (End.FELL_IN, stepped_in and (sank or tipped)),
            (End.TIPPED, tipped),
            (End.SANK, sank),
            (End.LEFT, abs(y) > COURSE_WIDTH / 2 + _SIDE or x < -_BACK),
            (End.STUCK, (self.steps - self._milestone_step + 0.5) * self._period > _STUCK_TIME),
            (End.FINISHED, now.finished),
            (End.TIMED_OUT, self.steps >= self._most_steps),
        ):
            if is_so:
                return end
        return None

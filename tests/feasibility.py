"""What the robot can do of what obstacles ask, from its URDF and mechanics: no simulation, no policy.

All bounds are on the safe side: feet stay flat on the ground, the pelvis is upright unless it is said, and what a body
gains by falling forward over its rear foot does not count, since a robot that does faster than it is told. So they say
what is possible *at the commanded speed*; a robot that goes faster for a step can do more.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from xml.etree import ElementTree

import mujoco
import numpy as np
import torch

from legged_gym_ext.config.schema import Config
from legged_gym_ext.robot import Robot, load_robot
from legged_gym_ext.sensors.height_scan import ground_height
from legged_gym_ext.terrain.boxes import HALF, QUAT
from legged_gym_ext.terrain.course import Tile
from legged_gym_ext.urdf import parse_urdf

GRAVITY = 9.81  # m/s^2
STRENGTH = 0.5
"""Share of a motor's torque limit that holding a pose may take; the rest is for moving."""
TAKE_OFF = 0.5
"""m/s upward at take-off: a hop of 0.1 s and 1.3 cm, far less than the legs can give (see ``take_off_limit``)."""
CLEARANCE = 0.03
"""m between a swinging sole and what it passes over."""
LEAN = 0.25
"""rad (14 degrees) by which the pelvis may roll where a foot must be lifted high; 45 degrees end an episode."""


@dataclass
class Legs:
    """The legs in the sagittal plane, at height ``hip`` of the hip pitch joints over the ground. Lengths in m.

    Angles are those of the joints: thigh against the vertical a = hip, shank b = hip + knee, sole c = hip + knee +
    ankle, all positive backward. The ankle is at (-l1 sin a - l2 sin b, -l1 cos a - l2 cos b) from the hip.
    """

    robot: Robot
    thigh: float
    shank: float
    sole_ahead: float
    """Of the sole's centre before the ankle."""
    sole_below: float
    sole_length: float
    sole_width: float
    hips_apart: float
    hip_below_base: float
    com_above_hip: float
    com_behind_hip: float
    speed_limit: dict[str, float]
    """Of each joint of the left leg, rad/s."""

    def limits(self, joint: str) -> tuple[float, float]:
        """Return the range of a joint of the left leg, rad."""
        low, high = self.robot.joint_range[self.robot.joints.index(f"left_{joint}_joint")]
        return float(low), float(high)

    def torque(self, joint: str) -> float:
        """Return the torque limit of a joint, N m."""
        return float(self.robot.torque_limit[self.robot.joints.index(f"left_{joint}_joint")])

    @cached_property
    def standing(self) -> float:
        """Height of the hips over the ground with straight legs."""
        return self.thigh + self.shank + self.sole_below

    def knee_torque(self, hip: float) -> float:
        """Return the torque in the knee of one leg that carries the whole robot straight over its ankle, N m.

        Weight x how far the knee is before the line from hip to ankle; thigh and shank are equally long.
        """
        half_stretch = (hip - self.sole_below) / (self.thigh + self.shank)
        return self.robot.mass * GRAVITY * self.thigh * math.sqrt(max(1 - half_stretch**2, 0.0))

    def reach(self, hip: float, ahead: bool) -> float:
        """Return how far before (or behind) the hip a sole can be flat on the ground, its centre; -inf if nowhere."""
        low, high = self.limits("ankle")
        b = np.linspace(-high, -low, 1001)  # flat: ankle = -b
        cosine = (hip - self.sole_below - self.shank * np.cos(b)) / self.thigh
        best = -math.inf
        for sign in (-1, 1):
            a = sign * np.arccos(np.clip(cosine, -1, 1))
            possible = (
                (np.abs(cosine) <= 1) & _within(a, self.limits("hip_pitch")) & _within(b - a, self.limits("knee"))
            )
            x = -self.thigh * np.sin(a) - self.shank * np.sin(b) + self.sole_ahead
            best = max(best, float(np.max((x if ahead else -x)[possible], initial=-math.inf)))
        return best

    def widest_gap(self, speed: float, config: Config) -> float:
        """Return the widest gap that is crossed without ever moving at another ``speed`` (m/s) than that, m.

        ``r - e + v t + min(v sqrt(z / g), f - e)``, the largest over the heights of the hip at which one leg can carry
        the robot. On the near side the foot stays until the centre of mass is r ahead of it. In a flight of t = 2 u / g
        (take-off at u upward) the body moves on by v t. On the far side the next foot is flat on the ground within f
        ahead of the hip; and if it were farther ahead of the centre of mass than v sqrt(z / g), with z the height of
        that, the body would come to a halt before it is over the foot, and fall back (Hof et al., "The condition for
        dynamic stability", J. Biomech. 38, 2005: the extrapolated centre of mass). Both soles have their centres e
        within the edges, which is where ``rewards.edge_distance`` no longer counts them as on an edge: three quarters
        of the sole are on the ground.
        """
        edge, flight = config.rewards.edge_distance, speed * 2 * TAKE_OFF / GRAVITY
        widest = -math.inf
        lowest = config.terminations.min_height - self.hip_below_base
        for hip in np.arange(lowest, self.standing, 0.01):
            if self.knee_torque(hip) > STRENGTH * self.torque("knee"):
                continue
            behind = self.reach(hip, ahead=False) - self.com_behind_hip
            ahead = self.reach(hip, ahead=True) + self.com_behind_hip
            halted = speed * math.sqrt((hip + self.com_above_hip) / GRAVITY)
            widest = max(widest, behind - edge + flight + min(halted, ahead - edge))
        return widest

    def straddle(self, config: Config) -> float:
        """Return how far apart the centres of two flat soles can be, at the heights of the hip as above, m."""
        heights = np.arange(config.terminations.min_height - self.hip_below_base, self.standing, 0.01)
        able = [hip for hip in heights if self.knee_torque(hip) <= STRENGTH * self.torque("knee")]
        return max(self.reach(hip, ahead=True) + self.reach(hip, ahead=False) for hip in able)

    def lift(self, roll: float = 0.0) -> float:
        """Return how high a flat sole can be over the ground that the other, straight leg stands on, m.

        Thigh and shank as far up as hip and knee let them; ``roll`` (rad) of the pelvis about the standing hip raises
        the other hip by the distance between them x its sine, as far as the hip roll joint lets the leg stay upright.
        """
        roll = min(roll, self.limits("hip_roll")[1])
        a, knee = np.meshgrid(
            np.linspace(*self.limits("hip_pitch"), 400), np.linspace(*self.limits("knee"), 400), indexing="ij"
        )
        b = a + knee
        above = -self.thigh * np.cos(a) - self.shank * np.cos(b) - self.sole_below
        flat = _within(-b, self.limits("ankle"))
        return self.standing + float(above[flat].max()) + self.hips_apart * math.sin(roll)

    def climbing_torque(self, step: float) -> float:
        """Return the knee torque, N m, with which one leg carries the robot whose other leg is still ``step`` lower."""
        return self.knee_torque(self.standing - step)

    def take_off_limit(self) -> float:
        """Return the speed upward, m/s, that one leg can give on 0.1 m until its knee is straight within 20 degrees.

        By the knee's torque, sqrt(2 d (F / m - g)) with the force F = torque / lever of the crouch that it begins in,
        the smallest on the way; and by its speed limit, at the end, where lever x speed is smallest.
        """
        end = self.standing - (self.thigh + self.shank) * (1 - math.cos(math.radians(10)))
        lever = self.knee_torque(end - 0.1) / (self.robot.mass * GRAVITY)
        surplus = self.torque("knee") / lever / self.robot.mass - GRAVITY
        by_torque = math.sqrt(2 * 0.1 * surplus)
        return min(by_torque, self.knee_torque(end) / (self.robot.mass * GRAVITY) * self.speed_limit["knee"])


@dataclass
class Asked:
    """What tiles ask, measured on their boxes along the way that the waypoints lead. Lengths in m."""

    gap: float
    """The widest without ground, from foothold to foothold."""
    rise: float
    """The highest step up."""
    drop: float
    """And down."""
    tread: float
    """The shortest ground to stand on between two edges, as the task defines an edge."""
    bar: float
    """The thickest bar between two edges, which is stepped over: of hurdles."""
    roll: float
    """The steepest tilt to the side, rad."""
    pitch: float
    """And along the course, rad."""
    width: float
    """The narrowest ground."""


def hardest(parts: Sequence[Asked]) -> Asked:
    """Return the most that any of them asks."""
    least = ("tread", "width")
    values = {item.name: [getattr(part, item.name) for part in parts] for item in fields(Asked)}
    return Asked(**{name: min(of) if name in least else max(of) for name, of in values.items()})


def asked(kind: str, tile: Tile, config: Config) -> Asked:
    """Measure a tile."""
    boxes = tile.boxes
    up, half = _up(boxes[:, QUAT]), boxes[:, HALF]
    everywhere = {
        "roll": float(np.arcsin(np.abs(up[:, 1])).max()),
        "pitch": float(np.arcsin(np.abs(up[:, 0])).max()),
        "width": float(2 * half[:, 1].min()),
    }
    if kind == "stepping_stones":  # each foot has its own row, so that the next foothold is the next box of both rows
        order = (boxes[:, 0] - half[:, 0]).argsort()
        start, end = boxes[order, 0] - half[order, 0], boxes[order, 0] + half[order, 0]
        jumps = np.diff(boxes[order, 2] + half[order, 2])
        gap, tread = float((start[1:] - end[:-1]).max()), float((end - start).min())
        return Asked(gap, float(jumps.max()), float(-jumps.min()), tread, 0.0, **everywhere)
    # Under the middle of the robot and under either foot; on a beam, both feet are in the middle.
    beside = [0.0] if kind == "beams" else [-0.2, 0.0, 0.2]
    return hardest([_along(tile, y, kind == "hurdles", config, everywhere) for y in beside])


_POINTS = 0.01
"""m from one point of a line to the next."""
_SLOPE = 0.01
"""m of height between two of them that may be a slope."""


def _along(tile: Tile, aside: float, over: bool, config: Config, everywhere: dict[str, float]) -> Asked:
    """Measure along the line beside that through start and waypoints; bars are stepped ``over``, or are steps."""
    x = np.arange(0.0, tile.waypoints[-1, 0], _POINTS)
    y = np.interp(x, [0.0, *tile.waypoints[:, 0]], [0.0, *tile.waypoints[:, 1]]) + aside
    points = torch.tensor(np.stack([x, y], axis=1), dtype=torch.float32)[None]
    height = ground_height(torch.tensor(tile.boxes, dtype=torch.float32)[None], points)[0].double().numpy()
    there = np.flatnonzero(np.isfinite(height))  # where there is ground
    gaps, jumps = (np.diff(there) - 1) * _POINTS, np.diff(height[there])
    jumps[np.abs(jumps) < _SLOPE] = 0.0
    edges = np.flatnonzero((np.abs(jumps) >= config.rewards.edge_height) | (gaps > 0))
    lengths = x[there[edges[1:]]] - x[there[edges[:-1] + 1]] + _POINTS
    bar = over & (jumps[edges[:-1]] > 0)
    return Asked(
        gap=float(gaps.max()),
        rise=float(jumps.max()),
        drop=float(-jumps.min()),
        tread=float(lengths[~bar].min(initial=math.inf)),
        bar=float(lengths[bar].max(initial=0.0)),
        **everywhere,
    )


def impossible(kind: str, level: int, what: Asked, speed: float, robot: Legs, config: Config) -> list[str]:
    """Return a line for each thing that is more than the robot can do at a speed, m/s."""
    lift = robot.lift(LEAN) - CLEARANCE
    knee = robot.torque("knee")
    bounds = {
        "gap, m": (what.gap, robot.widest_gap(speed, config)),
        "rise, m": (what.rise, lift),
        "drop, m": (what.drop, lift),  # the same pose, the other way
        "knee torque to climb it, N m": (robot.climbing_torque(max(what.rise, what.drop)), knee),
        "bar with a sole before and behind it, m": (what.bar + robot.sole_length, robot.straddle(config)),
        "sole, m, on the shortest ground": (robot.sole_length, what.tread),
        "sole, m, on the narrowest ground": (robot.sole_width + 2 * config.rewards.edge_distance, what.width),
        # A foot has no roll of its own: it is flat on a side slope where its leg is at a right angle to that.
        "tilt to the side, rad": (what.roll, robot.limits("hip_roll")[1]),
        "shank before the foot on a slope, rad": (what.pitch, min(abs(limit) for limit in robot.limits("ankle"))),
        "slope, as friction": (math.tan(max(what.roll, what.pitch)), config.randomization.friction[0]),
    }
    return [
        f"{kind} level {level} at {speed:.2f} m/s: {name}: {wanted:.3f} is asked, {most:.3f} is possible"
        for name, (wanted, most) in bounds.items()
        if wanted > most
    ]


def _up(quat: np.ndarray) -> np.ndarray:
    """Return the third column of the rotation matrices, (n, 3)."""
    w, x, y, z = quat.T
    return np.stack([2 * (x * z + w * y), 2 * (y * z - w * x), 1 - 2 * (x * x + y * y)], axis=1)


def legs(config: Config) -> Legs:
    """Return the legs of the configured robot, measured in its default pose."""
    robot = load_robot(config.robot)
    model = parse_urdf(robot.urdf).compile()
    data = mujoco.MjData(model)
    data.qpos[[model.joint(joint).qposadr[0] for joint in robot.joints]] = robot.default_joint_pos
    mujoco.mj_kinematics(model, data)
    mujoco.mj_comPos(model, data)
    hip, other = (data.body(f"{side}_hip_pitch_link").xpos for side in ("left", "right"))
    foot = model.body("left_ankle_link").id
    shapes = [int(geom) for geom in np.flatnonzero(model.geom_bodyid == foot) if model.geom_contype[geom]]
    corners = np.array([_extent(model, geom) for geom in shapes])
    low, high = corners[:, 0].min(axis=0), corners[:, 1].max(axis=0)
    limits = ElementTree.parse(robot.urdf).iterfind("joint[@type='revolute']")
    speed = {joint.attrib["name"]: float(joint.find("limit").attrib["velocity"]) for joint in limits}  # type: ignore[union-attr]
    return Legs(
        robot=robot,
        thigh=float(np.linalg.norm(model.body("left_knee_link").pos)),
        shank=float(np.linalg.norm(model.body("left_ankle_link").pos)),
        sole_ahead=float(robot.sole[0, 0]),
        sole_below=float(-robot.sole[0, 2]),
        sole_length=float(high[0] - low[0]),
        sole_width=float(high[1] - low[1]),
        hips_apart=float(hip[1] - other[1]),
        hip_below_base=float(-hip[2]),
        com_above_hip=float(data.subtree_com[0, 2] - hip[2]),
        com_behind_hip=float(hip[0] - data.subtree_com[0, 0]),
        speed_limit={name: speed[f"left_{name}_joint"] for name in ("hip_pitch", "knee", "ankle")},
    )


def _within(values: np.ndarray, limits: tuple[float, float]) -> np.ndarray:
    return (values >= limits[0]) & (values <= limits[1])


def _extent(model: mujoco.MjModel, geom: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the lowest and the highest corner of a capsule in its link's frame."""
    matrix = np.zeros(9)
    mujoco.mju_quat2Mat(matrix, model.geom_quat[geom])
    radius, half = model.geom_size[geom][:2]
    reach = np.abs(matrix.reshape(3, 3)[:, 2]) * half + radius
    return model.geom_pos[geom] - reach, model.geom_pos[geom] + reach

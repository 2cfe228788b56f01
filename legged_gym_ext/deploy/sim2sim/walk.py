"""One episode: a robot, its sensors and a policy's folder walk one tile."""

from __future__ import annotations

import time
import zlib
from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from legged_gym_ext.deploy.runtime import (
    DepthSource,
    InputError,
    JointCommand,
    Mode,
    Policy,
    RobotState,
    read_specification,
)
from legged_gym_ext.deploy.sim2sim import course
from legged_gym_ext.deploy.sim2sim.camera import MILLIMETRE, DepthCamera, Eyes, Stream
from legged_gym_ext.deploy.sim2sim.course import End, Guide, Judge, Situation
from legged_gym_ext.deploy.sim2sim.robot import read_robot
from legged_gym_ext.deploy.sim2sim.world import World

NOISY = ("base_lin_vel", "base_ang_vel", "projected_gravity", "joint_pos", "joint_vel")
"""What sensors measure: observations that may have noise."""
_LONGEST_WAIT = 2.0  # s for the first image


@dataclass(frozen=True)
class Conditions:
    """Under which robots walk."""

    speed: float
    """Commanded, m/s."""
    noise: Mapping[str, float]
    """Largest error of each number of the ``NOISY``, in its own unit, +- uniform."""
    eyes: Eyes = Eyes()
    action_delay: float = 0.005
    """From the moment that joints are read to the moment that their drives have the new targets, s."""
    friction: float = 1.0
    fading: bool = False
    """Whether motors drive the less the quicker their joints turn, see ``World``."""
    seed: int = 0


@dataclass(frozen=True)
class Episode:
    """What is known of one."""

    kind: str
    level: int
    tile: int
    end: End
    time: float
    """Length, s."""
    distance: float
    """Furthest along the course, m."""
    waypoints: int
    """Reached."""
    damping: Mapping[str, int]
    """How often the policy let go (mode DAMPING), by its reason."""
    limits: Mapping[str, float]
    """Share of joints and physics steps at a limit (see ``World.limits``), and of joint targets that the policy's
    runtime cut to their range or rate (``target_range``, ``target_rate``)."""
    images: int
    """Used by the policy."""
    refused: int
    """Images that it refused: nothing in them had a depth."""
    image_age: float
    """Mean age of the image that the policy used, over control steps, s."""
    seconds: float
    """That it took to simulate."""


@dataclass
class Clock:
    """The time, for a policy that asks for it. It goes on from episode to episode, as on a robot."""

    now: float = 0.0
    """s."""

    def __call__(self) -> float:
        """Return the time, s."""
        return self.now


class Walker:
    """A policy's folder with the robot and the camera that it walks with, for any number of episodes.

    Args:
        folder: Of the policy.
        conditions: Under which it walks.
        verify: Whether to check the folder as a whole, byte by byte.

    Raises:
        PolicyError: The folder is not sound.
        UserError: Its URDF is not.
    """

    def __init__(self, folder: Path, conditions: Conditions, verify: bool = True) -> None:
        self.conditions = conditions
        self.clock = Clock()
        eyes = conditions.eyes
        column, row = eyes.principal
        source = DepthSource(eyes.width, eyes.height, eyes.focal, eyes.focal, column, row, MILLIMETRE)
        self.robot = read_robot(folder, read_specification(folder))
        self.policy = Policy(
            folder, joint_names=self.robot.joints, depth_source=source, clock=self.clock, verify=verify
        )
        self.specification: dict[str, Any] = self.policy.specification
        """What policy.yaml says."""
        self.camera = DepthCamera(eyes, self.robot)


Watch = Callable[[World, Guide, np.ndarray | None], bool]
"""Is shown the world, the guide and the newest image after each control step; False ends the episode."""


def walk(walker: Walker, kind: str, level: int, number: int, watch: Watch | None = None) -> Episode | None:
    """Walk the benchmark's tile of that number, once; None where ``watch`` ended it.

    The same walker, tile and seed give the same episode, bit for bit.
    """
    started = time.perf_counter()
    conditions, robot, policy = walker.conditions, walker.robot, walker.policy
    rng = np.random.default_rng([conditions.seed, zlib.crc32(kind.encode()), level, number])
    tile = course.benchmark_tile(kind, level, number)
    world = World(robot, tile, conditions.friction, conditions.fading)
    joints = robot.default_joint_pos + rng.uniform(-1, 1, len(robot.joints)) * course.START_JOINTS
    spread, height = course.START_SPREAD, robot.base_height + course.START_CLEARANCE
    place = np.array([rng.uniform(-spread, spread), rng.uniform(-spread, spread), height])
    world.place(place, rng.uniform(-1, 1) * course.START_YAW, joints)
    commands = walker.specification["commands"]
    guide = Guide(tile.waypoints, conditions.speed, commands["heading_gain"], commands["max_yaw_rate"])
    judge = Judge(tile.waypoints, robot.control_period)
    stream = Stream(walker.camera, rng)
    motors = Motors(world, round(conditions.action_delay / world.period))

    begin, ticks = walker.clock.now, 0
    newest, shown, used, refused = 0.0, None, 0, 0

    def is_due(taken: float) -> bool:
        return world.sound and policy.frame_due(begin + taken)

    def pass_time() -> None:
        nonlocal ticks, newest, shown, used, refused
        ticks += 1
        walker.clock.now = begin + ticks * world.period
        for image in stream.advance(ticks * world.period, world, is_due):
            try:
                if policy.set_depth(image.values, begin + image.stamp):
                    newest, shown, used = image.stamp, image.values, used + 1
            except InputError:
                refused += 1

    # On a hoist until the first image is there: on a robot, someone would wait for the camera, too.
    policy.reset()
    while not used and ticks * world.period < _LONGEST_WAIT:
        pass_time()
    cut_before = _targets_cut(policy)

    damping: Counter[str] = Counter()
    was, ages, end = Mode.POLICY, 0.0, None
    while end is None:
        state = measure(world, guide, conditions.noise, rng)
        command = policy.act(state)
        if command.mode is Mode.DAMPING and was is not Mode.DAMPING:
            damping[command.reason] += 1
        was = command.mode
        ages += ticks * world.period - newest
        motors.send(command)
        for _ in range(world.substeps):
            motors.step()
            pass_time()
        guide.look(world.position)
        end = judge.judge(look(world, guide))
        if watch and not watch(world, guide, shown):
            return None
    moments = judge.steps * len(robot.joints)
    limits = {name: count / (moments * world.substeps) for name, count in world.limits.items()}
    limits |= {name: (count - cut_before[name]) / moments for name, count in _targets_cut(policy).items()}
    return Episode(
        kind=kind,
        level=level,
        tile=number,
        end=end,
        time=judge.time,
        distance=judge.progress,
        waypoints=guide.reached,
        damping=dict(damping),
        limits=limits,
        images=used,
        refused=refused,
        image_age=ages / judge.steps,
        seconds=time.perf_counter() - started,
    )


def look(world: World, guide: Guide) -> Situation:
    """Return what the judge sees now."""
    sound, soles = world.sound, world.soles()
    ground = world.ground(np.vstack([world.position, soles])) if sound else np.full(3, -np.inf)
    return Situation(world.position, world.rotation, soles, ground, sound, guide.finished)


def measure(world: World, guide: Guide, noise: Mapping[str, float], rng: np.random.Generator) -> RobotState:
    """Return what the robot's sensors tell, and what the operator asks for.

    The direction of gravity stays a unit vector, since a robot takes it from an attitude.
    """
    rotation = world.rotation
    true = {
        "base_lin_vel": world.velocity @ rotation,
        "base_ang_vel": world.angular_velocity,
        "projected_gravity": -rotation[2],
        "joint_pos": world.joint_pos,
        "joint_vel": world.joint_vel,
    }
    seen = {name: value + noise[name] * rng.uniform(-1, 1, len(value)) for name, value in true.items()}
    seen["projected_gravity"] /= np.linalg.norm(seen["projected_gravity"])
    return RobotState(**seen, command=guide.command(world.position, rotation))


def _targets_cut(policy: Policy) -> dict[str, int]:
    """Return how many joint targets the runtime has cut so far, by what they were beyond."""
    return {name: int(getattr(policy.limited, name).sum()) for name in ("target_range", "target_rate")}


class Motors:
    """The drives: they hold what they were sent, a few physics steps after it was sent; at first the pose they have."""

    def __init__(self, world: World, delay: int) -> None:
        self._world, self._delay = world, delay
        robot = world.robot
        self._held = (world.joint_pos, robot.joint_stiffness, robot.joint_damping)
        self._sent: deque[tuple[int, tuple[np.ndarray, np.ndarray, np.ndarray]]] = deque()
        self._step = 0

    def send(self, command: JointCommand) -> None:
        """Take joint targets and gains, which are to be copied: the policy uses their memory again."""
        values = command.position.copy(), command.stiffness.copy(), command.damping.copy()
        self._sent.append((self._step + self._delay, values))

    def step(self) -> None:
        """Advance the world one physics step."""
        while self._sent and self._sent[0][0] <= self._step:
            self._held = self._sent.popleft()[1]
        self._world.step(*self._held)
        self._step += 1

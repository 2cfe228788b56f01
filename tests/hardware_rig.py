"""What the tests of deploy/hardware share: a specification, a policy without networks, time that stands still."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np

from legged_gym_ext.deploy.hardware.loop import ControlLoop, Operator, Options
from legged_gym_ext.deploy.hardware.loopback import Faults, LoopbackRobot, Received, robot_for
from legged_gym_ext.deploy.hardware.report import Report
from legged_gym_ext.deploy.hardware.udp import UdpDriver
from legged_gym_ext.deploy.runtime import JointCommand, Latency, Mode, RobotState

PERIOD = 0.02
TICK = 0.002
NAMES = [f"{side}_{joint}" for side in ("left", "right") for joint in ("hip_yaw", "hip_roll", "hip", "knee", "ankle")]
POSE = [0.0, 0.0, -0.25, 0.55, -0.3] * 2
SPECIFICATION: dict[str, Any] = {
    "format": "legged_gym_ext.policy",
    "version": 1,
    "robot": {
        "joint_names": NAMES,
        "default_joint_pos": POSE,
        "joint_stiffness": [150.0, 150.0, 150.0, 200.0, 40.0] * 2,
        "joint_damping": [2.0, 2.0, 2.0, 4.0, 2.0] * 2,
        "joint_pos_limits": [[-0.43, 0.43], [-0.43, 0.43], [-1.57, 1.57], [-0.26, 2.05], [-0.87, 0.52]] * 2,
        "torque_limits": [200.0, 200.0, 200.0, 300.0, 40.0] * 2,
    },
    "control": {"period": PERIOD, "physics_dt": 0.005, "action_latency": [0, 1]},
    "commands": {
        "ranges": [[0.4, 1.4], [0.0, 0.0], [-1.0, 1.0], [-3.1416, 3.1416]],
        "heading_gain": 1.5,
        "max_yaw_rate": 1.0,
    },
    "camera": {
        "rows": 16,
        "columns": 20,
        "focal": 20.0,
        "position": [0.12, 0.0, 0.35],
        "quat": [0.883, 0.0, 0.469, 0.0],
        "near": 0.1,
        "far": 3.0,
        "period": 0.1,
    },
    "safety": {
        # Not symmetric, and without the default pose of the ankles, so that no two numbers can be mixed up unnoticed.
        "target_range": [[-0.3, 0.2], [-0.2, 0.3], [-0.9, 0.4], [0.1, 1.6], [-0.25, 0.4]] * 2,
        "target_rate": [8.0, 9.0, 10.0, 12.0, 11.0] * 2,
    },
}


def specification() -> dict[str, Any]:
    return copy.deepcopy(SPECIFICATION)


class Time:
    """A clock that goes on only while somebody sleeps; what happens meanwhile, happens tick by tick."""

    def __init__(self) -> None:
        self._ticks = 50_000
        self.every: list[Callable[[float], None]] = []

    def now(self) -> float:
        return self._ticks * TICK

    def sleep_until(self, deadline: float) -> None:
        while self.now() < deadline - 1e-9:
            self._ticks += 1
            for call in self.every:
                call(self.now())

    def sleep(self, seconds: float) -> None:
        self.sleep_until(self.now() + seconds)


class InMemory:
    """A transport to a robot in the same thread. The robot has the bad network."""

    def __init__(self, robot: LoopbackRobot, time: Time) -> None:
        self.sent: list[bytes] = []
        self.robot, self._time = robot, time
        self._inbox: list[bytes] = []
        time.every.append(self._step)

    def send(self, data: bytes) -> None:
        self.sent.append(data)
        self.robot.arrive(data, self._time.now())

    def receive(self) -> list[bytes]:
        packets, self._inbox = self._inbox, []
        return packets

    def close(self) -> None:
        self.sent.append(b"closed")

    def _step(self, now: float) -> None:
        self._inbox += self.robot.step(now)


class PuppetPolicy:
    """What the runtime's Policy promises; ``targets`` (by default random, most of them too large) are its networks.

    ``before`` is called with each state first; it may raise, or sleep.
    """

    def __init__(self, clock: Any, joints: int = len(NAMES), max_frame_age: float = 0.3) -> None:
        self.specification = specification()
        self.latency = Latency()
        self.states: list[RobotState] = []
        self.resets = 0
        self.before: Callable[[RobotState], None] = lambda state: None
        self.targets: Callable[[RobotState], np.ndarray] | None = None
        self._rng = np.random.default_rng(1)
        self._clock, self._age, self._joints = clock, max_frame_age, joints
        self._frame: float | None = None
        self._damping = ""

    def reset(self) -> None:
        self.resets += 1
        self._damping = ""

    def frame_due(self, stamp: float | None = None) -> bool:
        return True

    def set_depth(self, image: np.ndarray, stamp: float | None = None) -> bool:
        assert image.shape == (16, 20)
        self._frame = stamp
        return True

    def heading_command(self, forward_speed: float, heading_error: float) -> tuple[float, ...]:
        return forward_speed, 0.0, min(max(1.5 * heading_error, -1.0), 1.0), heading_error

    def act(self, state: RobotState) -> JointCommand:
        self.states.append(state)
        self.before(state)
        if self._frame is None or self._clock.now() - self._frame > self._age:
            self._damping = self._damping or "no depth frame"
        target = self._rng.normal(0.0, 3.0, self._joints)
        if self.targets is not None:
            target = self.targets(state)
        gains = 500.0 * self._rng.random((2, self._joints))
        if self._damping:
            gains = np.zeros((2, self._joints))
        return JointCommand(target, *gains, mode=Mode.DAMPING if self._damping else Mode.POLICY, reason=self._damping)


class Rig:
    """A policy, a robot and all between them, in one thread and no time."""

    def __init__(
        self,
        options: Options,
        *,
        faults: Faults | None = None,
        seed: int = 0,
        pose: np.ndarray | None = None,
        **robot: Any,
    ) -> None:
        self.time = Time()
        self.policy = PuppetPolicy(self.time)
        self.operator = Operator(forward_speed=0.8)
        description = robot_for(self.policy.specification)
        if robot:
            description = type(description)(**{**vars(description), **robot})
        self.robot = LoopbackRobot(description, faults=faults, seed=seed, pose=pose)
        self.connect()
        self.shown: list[str] = []
        self.options = options
        self.began = 0.0
        """When the loop began, s after the robot's start."""

    def connect(self) -> None:
        """Be another program on the host; the one before is gone."""
        self.time.every.clear()
        self.transport = InMemory(self.robot, self.time)
        self.driver = UdpDriver(self.transport, clock=self.time)

    def run(self) -> Report:
        loop = ControlLoop(
            self.policy, self.driver, self.options, operator=self.operator, clock=self.time, show=self.shown.append
        )  # pyright: ignore[reportArgumentType]
        self.began = self.robot.elapsed
        self.report = loop.run()
        return self.report

    def phase(self, name: str) -> float:
        """When the phase began, s after the robot's start; NaN if it did not."""
        times = [time for time, phase in self.report.phases if phase == name]
        return self.began + times[0] if times else float("nan")


def check_commands(
    received: list[Received],
    policy_since: float,
    slack: float,
    order: list[int] | None = None,
    spec: dict[str, Any] = SPECIFICATION,
) -> None:
    """Hold what a robot received against a specification, read here once more: ranges, rates, gains.

    ``slack``: s by which the network may change the time between two commands. ``order``: of the robot's joints.
    """
    order = order or list(range(len(NAMES)))
    robot, safety = spec["robot"], spec["safety"]
    pose = np.array(robot["default_joint_pos"])
    low, high = np.array(safety["target_range"]).T
    low, high = np.minimum(low, pose)[order], np.maximum(high, pose)[order]
    urdf_low, urdf_high = np.array(robot["joint_pos_limits"]).T
    ramp_low, ramp_high = np.minimum(low, urdf_low[order]), np.maximum(high, urdf_high[order])
    rate = np.array(safety["target_rate"])[order]
    kp, kd = np.array(robot["joint_stiffness"])[order], np.array(robot["joint_damping"])[order]
    previous = None
    for item in received:
        command = item.command
        assert np.isfinite([command.position, command.stiffness, command.damping]).all()
        assert (command.stiffness >= 0).all() and (command.stiffness <= kp + 1e-4).all()
        assert (command.damping >= 0).all() and (command.damping <= kd + 1e-4).all()
        if command.mode is Mode.DAMPING:
            assert (command.stiffness == 0).all()
            continue
        first, last = (low, high) if item.time > policy_since else (ramp_low, ramp_high)
        assert (command.position >= first - 1e-5).all() and (command.position <= last + 1e-5).all()
        if previous is not None:
            passed = item.time - previous.time + slack
            assert (np.abs(command.position - previous.command.position) <= rate * passed + 1e-5).all()
        previous = item

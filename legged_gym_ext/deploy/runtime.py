"""Runs a policy folder on a robot: depth images and robot states in, joint commands out.

This file needs Python 3.8 or newer, numpy, onnxruntime and pyyaml, and nothing else. It is copied into every exported
folder as ``policy_runtime.py``. What a folder consists of is in its README.md.

    python policy_runtime.py --check          # is the folder whole, does it compute what it should, and how fast?

In a program of yours:

    from policy_runtime import DepthSource, Mode, Policy, RobotState

    camera = DepthSource(width=848, height=480, fx=425.2, fy=425.2, cx=423.7, cy=240.1, scale=0.001)
    policy = Policy("folder", joint_names=my_order, depth_source=camera)

    # in the camera's thread, for every frame (it takes as many as the policy was trained with)
    policy.set_depth(image, stamp)

    # in the control loop, every policy.period seconds, after bringing the robot to policy.default_pose
    policy.reset()
    while True:
        command = policy.act(RobotState(q, dq, gyro, velocity, gravity, policy.heading_command(0.6, heading_error)))
        send(command.position, command.stiffness, command.damping)

Units are SI, angles rad. The base frame is x forward, y left, z up. Vectors of joints are in the order of
``joint_names``. Whatever is wrong with a program that calls this raises a ``PolicyError``, as soon as it can be known.
Whatever is wrong with the robot (a sensor fails, images stay out, it falls over) raises nothing, since an exception in
a control loop leaves the motors to themselves: ``act`` returns a damping command and says why, until ``reset``.
"""

from __future__ import annotations

import difflib
import hashlib
import math
import os
import signal
import sys
import threading
import time
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path, PurePosixPath
from typing import Any, Callable, Dict, Sequence

import numpy as np
import yaml

# From 1.29 on ONNX Runtime tells its makers over the network, from threads of its own, which models it runs; it reads
# this when it is imported. A control loop has no time for that, and a robot is nobody else's business.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

import onnxruntime

FORMAT = "legged_gym_ext.policy"
VERSION = 1
"""Counts up whenever a program of before could not run a folder, or would run it wrong."""
SPECIFICATION = "policy.yaml"
WHOLE, ENCODER, ACTOR, GOLDEN = "policy.onnx", "depth_encoder.onnx", "student_actor.onnx", "golden.npz"

# The observations, by the names that they have in policy.yaml and as inputs of the networks.
IN_BASE = ("base_lin_vel", "base_ang_vel", "projected_gravity")
OF_JOINTS = ("joint_pos", "joint_vel")
COMMANDS, ACTIONS, GAIT = "commands", "actions", "gait_phase"

LATE = 3.0
"""Control periods from one act to the next after which the robot is no longer under control."""
PACE, PACE_STEPS = 1.5, 50
"""By which factor the period may be missed, up or down, on the mean of so many acts."""

# What no working sensor says. Wide: they are to find units, frames and broken wires, not to judge a robot's motion.
ANGLE_MARGIN = 0.3  # rad beyond the joint limits: their stops give way, and an encoder's zero may be off
JOINT_SPEED = 5.0  # times the joint's speed limit: a foot that lands makes its joint jump
TURN_RATE = 35.0  # rad/s, about each axis: the full scale of common gyroscopes (2000 degrees/s)
BASE_SPEED = 10.0  # m/s, along each axis
GRAVITY_ERROR = 0.05  # of the length of projected_gravity, which is 1
STANDARD_GRAVITY = 9.81  # m/s^2

FRAME_EARLY = 1 / 6  # of the frame period: half a frame of a 30 Hz camera for a policy of 10 Hz
FRAME_FOLLOW = 0.1  # share of a frame's earliness or lateness by which those that follow are expected earlier or later
LATEST_STAMP = 0.1  # s that a frame's stamp may be ahead of the clock: two clocks that are synchronized, not more
OLDEST_STAMP = 60.0  # s: no camera is that late, so a stamp of before is another clock's
SAMPLES = 5  # source pixels across one of the policy's at most: 25 say what 100 would, in a quarter of the time
MILLIMETRES = 20.0  # times the farthest depth: if nothing in an image of floats is nearer, they are no metres

LARGEST_SPECIFICATION = 1 << 20  # bytes
LARGEST_FILE = 1 << 30  # bytes
CATCH_UP = 0.5  # s from the beginning of an episode in which its targets may be slowed
TOLERANCE = 1e-4  # rad, and of actions and memory: how far a machine may be from the golden steps


# ------------------------------------------------------------------------------------------- what goes in and comes out


class PolicyError(Exception):
    """Something that the programmer or whoever installs the folder has to mend. The message is one line."""


class FolderError(PolicyError):
    """The folder is not whole, is changed, or is of another version."""


class InputError(PolicyError):
    """An argument has the wrong type, size, unit or name."""


@dataclass
class RobotState:
    """What the robot measures at a control step. Arrays, or sequences of numbers (arrays are quicker)."""

    joint_pos: Any
    """Joint angles, (joints,), rad, zero as in the URDF."""
    joint_vel: Any
    """Joint velocities, (joints,), rad/s."""
    base_ang_vel: Any
    """Angular velocity of the base, (3,), rad/s, base frame (a gyroscope's reading, turned into the base frame)."""
    base_lin_vel: Any
    """Linear velocity of the base, (3,), m/s, base frame (of a state estimator)."""
    projected_gravity: Any
    """Unit vector of gravity in the base frame, (3,); upright: (0, 0, -1). An accelerometer at rest reads upwards."""
    command: Any
    """Forward speed (m/s), lateral speed (m/s), yaw rate (rad/s), heading error (rad): see Policy.heading_command."""


class Mode(Enum):
    """Who decides on the joints."""

    POLICY = "policy"
    DAMPING = "damping"


@dataclass
class JointCommand:
    """What the joints are to do until the next step: torque = stiffness * (position - q) - damping * dq.

    The arrays (joints,) are used again by the next call: copy what is to be kept.
    """

    position: np.ndarray
    """rad"""
    stiffness: np.ndarray
    """N m/rad; zeros under DAMPING"""
    damping: np.ndarray
    """N m s/rad"""
    mode: Mode = Mode.POLICY
    reason: str = ""
    """Why there is DAMPING."""


@dataclass
class DepthSource:
    """The intrinsics of a depth camera: pixel (u, v) sees along the slopes ((u - cx) / fx, (v - cy) / fy).

    Images are rectified (no distortion), planar depth (distance along the optical axis), (height, width), row 0 at the
    top. (0, 0) is the centre of the first pixel, as in ROS and in librealsense.
    """

    width: int
    height: int
    fx: float
    fy: float
    cx: float
    cy: float
    scale: float = 0.001
    """Metres of one unit of uint16 images. Images of floats are in metres."""


class LatencyHistogram:
    """How long something took: counts in bins of equal ratio, 20 to a decade from 1 us to 100 s."""

    _FIRST, _PER_DECADE, _BINS = 1e-6, 20, 160

    def __init__(self) -> None:
        self.counts = [0] * self._BINS
        self.count = 0
        self.worst = 0.0
        """s"""

    def add(self, seconds: float) -> None:
        """Count one more."""
        place = int(self._PER_DECADE * math.log10(max(seconds, self._FIRST) / self._FIRST))
        self.counts[min(place, self._BINS - 1)] += 1
        self.count += 1
        self.worst = max(self.worst, seconds)

    def quantile(self, share: float) -> float:
        """Return the time (s) within which that share was done; too high by 12 % at most. 0 where nothing was."""
        rest = share * self.count
        for place, count in enumerate(self.counts):
            rest -= count
            if count and rest <= 0:
                return min(self._FIRST * 10 ** ((place + 1) / self._PER_DECADE), self.worst)
        return self.worst

    def __str__(self) -> str:
        p50, p99 = self.quantile(0.5), self.quantile(0.99)
        return f"p50 {1e3 * p50:.2f} ms, p99 {1e3 * p99:.2f} ms, worst {1e3 * self.worst:.2f} ms of {self.count}"


@dataclass
class Latency:
    """How long the calls of a policy took."""

    act: LatencyHistogram = field(default_factory=LatencyHistogram)
    set_depth: LatencyHistogram = field(default_factory=LatencyHistogram)
    """Of frames that were used."""


@dataclass
class Limited:
    """How often something was limited since the policy was loaded."""

    target_range: np.ndarray
    """Targets beyond safety.target_range, (joints,) int64."""
    target_rate: np.ndarray
    """Targets that moved faster than safety.target_rate, (joints,) int64."""
    command: np.ndarray
    """Commands beyond what was trained, (4,) int64."""


# ----------------------------------------------------------------------------------------------------------- the policy


class Policy:
    """A policy folder, ready to run.

    ``act``, ``reset`` belong to the thread of the control loop. ``set_depth`` and ``frame_due`` may be called from
    another one, and ``damping`` from any: an image is encoded in the thread that brings it, and ``act`` takes the
    features of the newest image that is done. Neither waits for the other's networks.

    Args:
        folder: The policy folder.
        joint_names: The robot's joints in the robot's order, which is that of all vectors of joints here. They are the
            policy's by name, in any order; None = the policy's order.
        depth_source: The camera. None = images are as in training: policy rows x columns, metres.
        max_frame_age: Age of the newest image beyond which the robot walks blindly, s.
        clock: Seconds; the stamps of images are of this clock, too.
        verify: Compare all files with the checksums in policy.yaml.

    Raises:
        FolderError: The folder is not whole, is changed, or is of another version.
        InputError: Joint names or camera do not fit the policy.
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        joint_names: Sequence[str] | None = None,
        depth_source: DepthSource | None = None,
        max_frame_age: float = 0.3,
        clock: Callable[[], float] = time.monotonic,
        verify: bool = True,
    ) -> None:
        if not isinstance(folder, (str, os.PathLike)):
            raise InputError(f"folder: expected the path of a policy folder, got {folder!r}")
        self.folder = Path(folder)
        self.specification: dict[str, Any] = read_specification(self.folder)
        """The content of policy.yaml; its vectors are in the policy's order of joints."""
        spec = self.specification
        problems = file_problems(self.folder, spec, verify)
        if problems:
            raise FolderError(problems[0])
        trained = _names(spec, "robot", "joint_names")
        self.joint_names: list[str] = trained if joint_names is None else list(joint_names)
        """The order of all vectors of joints."""
        _require_same_joints(self.joint_names, trained)
        self.period = _positive(spec, "control", "period")
        """s from one act to the next"""
        if not (_is_number(max_frame_age) and max_frame_age > 0):
            raise InputError(f"max_frame_age: expected seconds > 0, got {max_frame_age!r}")
        self.max_frame_age = float(max_frame_age)
        self.latency = Latency()
        self._clock = clock

        # The policy's joint i is the robot's joint to_policy[i], and the other way round.
        joints = len(trained)
        self._to_policy = np.array([self.joint_names.index(name) for name in trained])
        self._to_robot = np.argsort(self._to_policy)

        def per_joint(section: str, name: str, *columns: int, finite: bool = True) -> np.ndarray:
            return _vector(spec, (joints, *columns), section, name, finite=finite)[self._to_robot]

        self.default_pose = per_joint("robot", "default_joint_pos")
        """Joint angles (joints,), rad, from which an episode begins."""
        self._stiffness = per_joint("robot", "joint_stiffness")
        self._damping = per_joint("robot", "joint_damping")
        self._low, self._high = per_joint("safety", "target_range", 2).T.copy()
        self._stride = per_joint("safety", "target_rate") * self.period  # rad, from target to target
        limits, speeds = per_joint("robot", "joint_pos_limits", 2), per_joint("robot", "joint_vel_limits", finite=False)
        self._sensors = _Sensors(self.joint_names, limits, speeds, self.default_pose)

        commands = _vector(spec, (4, 2), "commands", "ranges").astype(np.float32).astype(np.float64)
        self._command_low, self._command_high = commands.T.copy()
        self._heading_gain = _number(spec, "commands", "heading_gain")
        self._max_yaw_rate = _number(spec, "commands", "max_yaw_rate")
        self._clock_rate = 0.0  # periods of the gait in a control step; 0 = the policy has no clock
        if GAIT in observation_sizes(spec):
            self._clock_rate = self.period / _positive(spec, "gait", "period")

        self._make_networks(joints)
        self._resampler = _Resampler(spec, depth_source)
        self._frames = _FrameRate(_positive(spec, "camera", "period"))

        # Work space: nothing is allocated once the policy runs.
        self._action_command = self._new_command()
        self._damping_command = self._new_command()
        self._command, self._command_mask = np.zeros(4), np.zeros(4, bool)
        self._wanted, self._ranged, self._target = np.zeros(joints), np.zeros(joints), np.zeros(joints)
        self._floor, self._ceiling, self._mask = np.zeros(joints), np.zeros(joints), np.zeros(joints, bool)
        self.limited = Limited(np.zeros(joints, np.int64), np.zeros(joints, np.int64), np.zeros(4, np.int64))
        self._camera_lock = threading.Lock()  # one image at a time; act never takes it
        self._lock = threading.Lock()  # of what threads share; never held while a network runs
        self._frame_stamp = -math.inf  # shared, as are _features, _frames and _fault
        self._fault = ""
        self._last_act: float | None = None
        self._pace_begin, self._paced = 0.0, 0
        self._steps = 0
        self.reset()

    def _make_networks(self, joints: int) -> None:
        """Load the two graphs, give them their inputs and outputs, and run them once: the first time is slow."""
        spec = self.specification
        rows, columns = int(_positive(spec, "camera", "rows")), int(_positive(spec, "camera", "columns"))
        encoder, actor = _Graph(self.folder / ENCODER), _Graph(self.folder / ACTOR)
        features = actor.input_shape("features")
        self._depth, self._encoded = _zeros(1, rows, columns), _zeros(*features)
        self._features = _zeros(*features)  # of the newest image
        targets, self._next_actions = _zeros(1, joints), _zeros(1, joints)
        self._targets = targets[0]
        self._observations = {name: _zeros(1, size) for name, size in observation_sizes(spec).items()}
        self._in_base = [(self._sensors[name], self._observations[name][0]) for name in IN_BASE]
        self._of_joints = [(self._sensors[name], self._observations[name][0]) for name in OF_JOINTS]
        self._ordered = np.zeros(joints)
        self._actor_features = _zeros(*features)
        self._robot_targets = np.zeros(joints, np.float32)
        inputs = {**self._observations, "features": self._actor_features}
        outputs = {"joint_targets": targets, "next_actions": self._next_actions}

        # What the memory was and what it will be change places in every step: two buffers, and a binding for each turn.
        memory = memory_shape(spec)
        self._memory = [_zeros(*memory), _zeros(*memory)] if memory else []
        self._initial_memory = _number(spec, "memory", "initial") if memory else 0.0
        self._bindings = []
        for turn in range(max(1, len(self._memory))):
            old = {"h_in": self._memory[turn]} if memory else {}
            new = {"h_out": self._memory[1 - turn]} if memory else {}
            self._bindings.append(actor.bind({**inputs, **old}, {**outputs, **new}))
        self._encoder_binding = encoder.bind({"depth": self._depth}, {"features": self._encoded})
        self._encoder, self._actor, self._turn = encoder, actor, 0
        encoder.run(self._encoder_binding)
        for binding in self._bindings:
            actor.run(binding)

    # ---------------------------------------------------------------------------------------------- the control loop

    def reset(self) -> None:
        """Begin an episode: no memory, no previous actions, the gait clock at zero, no damping.

        The next target moves from where the joints are. The newest image stays, and the next one is used.
        """
        for memory in self._memory:
            memory.fill(self._initial_memory)
        self._next_actions.fill(0.0)
        self._turn = self._steps = 0
        self._last_act = None
        with self._lock:
            self._frames.restart()
            self._fault = ""

    def act(self, state: RobotState) -> JointCommand:
        """Return what the joints are to do until the next step; to be called every ``period`` seconds.

        Under DAMPING nothing is computed. It is entered, and left only by ``reset``, when there is no image or none of
        late; when the state is impossible or not a number; when this is called later than three periods after the
        last call, or at another rate than the policy's; when the clock goes back; when the networks fail; and by
        ``damping``.

        Raises:
            InputError: The state has the wrong size or type. Nothing has changed then.
        """
        begin = time.perf_counter()
        self._sensors.read(state)
        fault = self.fault or self._trouble(self._clock())
        if not fault:
            fault = self._infer() or self.fault  # whatever another thread has said in the meantime
        command = self._act_as_trained() if not fault else self._damp(self._action_command, self._latch(fault))
        self.latency.act.add(time.perf_counter() - begin)
        return command

    def damping(self, state: RobotState | None = None, reason: str = "asked for") -> JointCommand:
        """Return a damping command at once, and let ``act`` return nothing else until ``reset``.

        For any thread, for example one that finds that ``act`` does not return. It waits for nothing, raises nothing
        and does not write to the command that ``act`` returns. The position is the state's, or, where that is none,
        the last that ``act`` was given: without stiffness it has no effect.
        """
        command = self._damp(self._damping_command, self._latch(reason))
        try:
            position = _as_vector("joint_pos", getattr(state, "joint_pos", None), len(self.joint_names))
        except InputError:
            return command
        if np.isfinite(position).all():
            command.position[:] = position
        return command

    @property
    def network_inputs(self) -> dict[str, np.ndarray]:
        """The raw observations of the last step by name, (1, size), in the policy's order; for logs. Copy to keep."""
        return self._observations

    @property
    def network_outputs(self) -> dict[str, np.ndarray]:
        """``joint_targets`` (1, joints) before limits, ``next_actions``, ``h_out``; like ``network_inputs``."""
        memory = {"h_out": self._memory[self._turn]} if self._memory else {}
        return {"joint_targets": self._targets[None], "next_actions": self._next_actions, **memory}

    @property
    def fault(self) -> str:
        """Why there is DAMPING; empty while the policy decides."""
        return self._fault

    def heading_command(self, forward_speed: float, heading_error: float) -> tuple[float, float, float, float]:
        """Return the command as in training, where the yaw rate follows the heading error.

        Args:
            forward_speed: m/s.
            heading_error: By how much the goal is to the left of where the robot looks, seen from above, rad.
        """
        error = math.remainder(heading_error, 2 * math.pi) if math.isfinite(heading_error) else math.nan
        yaw_rate = max(-self._max_yaw_rate, min(self._max_yaw_rate, self._heading_gain * error))
        return forward_speed, 0.0, yaw_rate, error

    def _trouble(self, now: float) -> str:
        """Return why the policy must not act; empty if it may."""
        last, self._last_act = self._last_act, now
        if last is not None and now < last:
            return f"the clock went back by {last - now:.3f} s"
        if last is not None and not now - last <= LATE * self.period:  # NaN is not
            return f"act() came {now - last:.3f} s after the last one (allowed: {LATE * self.period:.3f} s)"
        if pace := self._pace(now, begins=last is None):
            return pace
        age = now - self._frame_stamp
        if age == math.inf:
            return "there is no depth image yet"
        if age < -LATEST_STAMP:  # before the reset the clock went back: who knows how old the image is
            return f"the newest depth image is of {-age:.3f} s ahead of the clock"
        if not age <= self.max_frame_age:
            return f"the newest depth image is {age:.3f} s old (allowed: {self.max_frame_age:g} s)"
        return self._sensors.trouble()

    def _pace(self, now: float, begins: bool) -> str:
        """Return what is wrong with how often ``act`` is called; empty if nothing is.

        The memory, the gait clock and the previous actions count steps, not seconds.
        """
        if begins:
            self._pace_begin, self._paced = now, 0
            return ""
        self._paced += 1
        if self._paced < PACE_STEPS:
            return ""
        mean = (now - self._pace_begin) / self._paced
        self._pace_begin, self._paced = now, 0
        if self.period / PACE <= mean <= self.period * PACE:
            return ""
        return f"act() came every {mean:.4f} s, on the mean of {PACE_STEPS} (trained: {self.period:.4f} s)"

    def _infer(self) -> str:
        """Run the actor; return what is wrong with its output, empty if nothing is."""
        for measured, observation in self._in_base:
            observation[:] = measured
        for measured, observation in self._of_joints:
            np.take(measured, self._to_policy, out=self._ordered, mode="clip")
            observation[:] = self._ordered
        _clamp(self._sensors.command, self._command_low, self._command_high, self._command, self._command_mask)
        np.add(self.limited.command, self._command_mask, out=self.limited.command)
        self._observations[COMMANDS][:] = self._command
        self._observations[ACTIONS][:] = self._next_actions
        if self._clock_rate:
            angle = 2 * math.pi * math.fmod(self._steps * self._clock_rate, 1.0)
            clock = self._observations[GAIT]
            clock[0, 0], clock[0, 1] = math.sin(angle), math.cos(angle)
        with self._lock:
            self._actor_features[:] = self._features
        try:
            self._actor.run(self._bindings[self._turn])
        except Exception as error:  # whatever it is: the joints need a command
            return f"the actor failed: {_one_line(error)}"
        if not math.isfinite(float(self._targets.sum())):
            return "the actor's targets are not finite"
        return ""

    def _act_as_trained(self) -> JointCommand:
        """Limit the actor's targets and count the step."""
        command, count = self._action_command, self.limited
        if self._steps == 0:
            self._target[:] = self._sensors.joint_pos
        np.take(self._targets, self._to_robot, out=self._robot_targets, mode="clip")
        self._wanted[:] = self._robot_targets
        _clamp(self._wanted, self._low, self._high, self._ranged, self._mask)
        np.add(count.target_range, self._mask, out=count.target_range)
        np.subtract(self._target, self._stride, out=self._floor)
        np.add(self._target, self._stride, out=self._ceiling)
        _clamp(self._ranged, self._floor, self._ceiling, self._target, self._mask)
        np.add(count.target_rate, self._mask, out=count.target_rate)
        self._turn = (self._turn + 1) % len(self._bindings)
        self._steps += 1
        command.position[:] = self._target
        command.stiffness[:] = self._stiffness
        command.damping[:] = self._damping
        command.mode, command.reason = Mode.POLICY, ""
        return command

    def _damp(self, command: JointCommand, reason: str) -> JointCommand:
        command.position[:] = self._sensors.last_joint_pos
        command.stiffness.fill(0.0)
        command.damping[:] = self._damping
        command.mode, command.reason = Mode.DAMPING, reason
        return command

    def _latch(self, reason: str) -> str:
        """Enter DAMPING; return why it is in force, which is the first reason."""
        with self._lock:
            self._fault = self._fault or reason or "no reason given"
            return self._fault

    def _new_command(self) -> JointCommand:
        return JointCommand(self.default_pose.copy(), self._stiffness.copy(), self._damping.copy())

    # ---------------------------------------------------------------------------------------------------- the camera

    @property
    def frame_age(self) -> float:
        """Age of the newest image, s; infinite before the first one."""
        return self._clock() - self._frame_stamp

    def frame_due(self, stamp: float | None = None) -> bool:
        """Return whether an image taken at ``stamp`` (None = now) would be used.

        The policy was trained with a frame rate, often lower than the camera's. Of a camera at 30 Hz, a policy of 10 Hz
        gets every third frame; at 25 Hz, every second or third. A slower camera's frames are all used.
        """
        stamp = self._stamp(stamp)
        with self._lock:
            return self._frames.due(stamp)

    def set_depth(self, image: np.ndarray, stamp: float | None = None) -> bool:
        """Encode an image, if one is due, for the control steps that follow; from any thread.

        Args:
            image: Planar depth, (height, width) of the ``depth_source``; uint16 in its ``scale``, or floats in metres.
                0 and NaN are pixels without a measurement, inf is too far and -inf too near (as ROS has it).
            stamp: When it was taken, by the policy's clock, s; None = now.

        Returns:
            Whether it was used (see ``frame_due``).

        Raises:
            InputError: The image has the wrong type or size, or no depth anywhere; the stamp is of another clock. The
                image is not used then; ``act`` goes on with the one before until that is too old.
        """
        begin = time.perf_counter()
        self._resampler.require(image)
        stamp = self._stamp(stamp)
        with self._camera_lock:
            with self._lock:
                due = self._frames.due(stamp)
            if not due:
                return False
            self._resampler.resample(image, self._depth[0])
            self._encoder.run(self._encoder_binding)
            with self._lock:
                self._features[:] = self._encoded
                self._frame_stamp = stamp
                self._frames.take(stamp)
            self.latency.set_depth.add(time.perf_counter() - begin)
        return True

    def _stamp(self, stamp: float | None) -> float:
        """Return when an image was taken.

        Raises:
            InputError: That cannot be.
        """
        now = self._clock()
        if stamp is None:
            return now
        if not _is_number(stamp):
            raise InputError(f"stamp: expected seconds, got {stamp!r}")
        ahead = float(stamp) - now
        if ahead > LATEST_STAMP or ahead < -OLDEST_STAMP:
            when = "ahead of" if ahead > 0 else "behind"
            raise InputError(f"stamp: {abs(ahead):.6g} s {when} the policy's clock: is it of another clock?")
        return float(stamp)


def _clamp(value: np.ndarray, low: np.ndarray, high: np.ndarray, out: np.ndarray, changed: np.ndarray) -> None:
    """Write ``value`` limited to low..high to ``out``, another array; and to ``changed``, where that differs."""
    np.maximum(value, low, out=out)
    np.minimum(out, high, out=out)
    np.not_equal(out, value, out=changed)


# ---------------------------------------------------------------------------------------------------- the robot's state


class _Sensors:
    """The newest state, and whether a working robot can have it. In the robot's order of joints, float64.

    Args:
        joint_names: The robot's joints.
        limits: Joint limits, (joints, 2), rad.
        speeds: Joint speed limits, (joints,), rad/s.
        position: What the joint angles are until they are measured, (joints,), rad.
    """

    def __init__(self, joint_names: list[str], limits: np.ndarray, speeds: np.ndarray, position: np.ndarray) -> None:
        wide = 1e6  # finite, so that infinity is never possible
        speeds = np.minimum(JOINT_SPEED * speeds, wide)  # a joint may have no limit
        self._joint_names = joint_names
        bounds = {
            "joint_pos": (limits[:, 0] - ANGLE_MARGIN, limits[:, 1] + ANGLE_MARGIN),
            "joint_vel": (-speeds, speeds),
            "base_ang_vel": (np.full(3, -TURN_RATE), np.full(3, TURN_RATE)),
            "base_lin_vel": (np.full(3, -BASE_SPEED), np.full(3, BASE_SPEED)),
            "projected_gravity": (np.full(3, -wide), np.full(3, wide)),
            "command": (np.full(4, -wide), np.full(4, wide)),
        }
        self._low = np.concatenate([low for low, _ in bounds.values()])
        self._high = np.concatenate([high for _, high in bounds.values()])
        self._labels = [(name, i) for name, (low, _) in bounds.items() for i in range(len(low))]
        self._numbers = np.zeros(len(self._low))  # all numbers of the state, side by side
        self._fits, self._below = np.zeros(len(self._low), bool), np.zeros(len(self._low), bool)
        ends = np.cumsum([len(low) for low, _ in bounds.values()])
        self._parts = dict(zip(bounds, np.split(self._numbers, ends[:-1])))
        self.joint_pos, self.gravity = self._parts["joint_pos"], self._parts["projected_gravity"]
        self.command = self._parts["command"]
        self.last_joint_pos = position.copy()
        """The last joint angles that were numbers, (joints,), rad."""

    def __getitem__(self, name: str) -> np.ndarray:
        """Return a part of the state, which changes with every ``read``."""
        return self._parts[name]

    def read(self, state: RobotState) -> None:
        """Take a state over.

        Raises:
            InputError: It has the wrong size or type.
        """
        for name, part in self._parts.items():
            value = getattr(state, name, None)
            if not (isinstance(value, np.ndarray) and value.shape == part.shape and value.dtype.kind in "fiu"):
                value = _as_vector(name, value, len(part))
            part[:] = value
        if math.isfinite(float(self.joint_pos.sum())):
            self.last_joint_pos[:] = self.joint_pos

    def trouble(self) -> str:
        """Return what is impossible about the state; empty if nothing is."""
        np.greater_equal(self._numbers, self._low, out=self._fits)
        np.less_equal(self._numbers, self._high, out=self._below)
        np.logical_and(self._fits, self._below, out=self._fits)
        if not self._fits.all():  # NaN fits nowhere
            return self._describe(int(np.argmin(self._fits)))
        length = math.sqrt(float(self.gravity.dot(self.gravity)))
        if abs(length - 1) > GRAVITY_ERROR:
            hint = ": is it in m/s^2?" if abs(length / STANDARD_GRAVITY - 1) < GRAVITY_ERROR else ""
            return f"projected_gravity has length {length:.3g}, expected a unit vector{hint}"
        if self.gravity[2] > 0:
            return "the robot is upside down (projected_gravity points up: upright is 0, 0, -1)"
        return ""

    def _describe(self, index: int) -> str:
        """Return what is wrong with a number that is out of its bounds."""
        name, place = self._labels[index]
        number, low, high = float(self._numbers[index]), self._low[index], self._high[index]
        which = f"{name} of {self._joint_names[place]}" if name in OF_JOINTS else f"{name}[{place}]"
        hint = ""
        if name == "joint_pos" and abs(number) > 2 * math.pi:
            hint = ": is it in degrees?"
        elif name in ("joint_vel", "base_ang_vel"):
            hint = ": is it in degrees/s?"
        if not math.isfinite(number):
            return f"{which} is {number}"
        return f"{which} is {number:.4g}, possible is {low:.4g} to {high:.4g}{hint}"


def _as_vector(name: str, value: Any, size: int) -> np.ndarray:
    """Return a part of the state that comes as something else than an array of the right size, (size,).

    Raises:
        InputError: It is no sequence of ``size`` numbers.
    """
    try:
        array = np.asarray(value)
    except ValueError:  # rows of different lengths
        array = np.asarray(None)
    if array.dtype.kind not in "fiu":
        raise InputError(f"state.{name}: expected {size} numbers, got {type(value).__name__}")
    if array.shape != (size,):
        raise InputError(f"state.{name}: expected {size} numbers, got an array of shape {array.shape}")
    return array


def _require_same_joints(given: list[str], trained: list[str]) -> None:
    """Raise an InputError where the robot's joints are not the policy's."""
    for name in trained:
        if name not in given:
            others = [other for other in given if other not in trained]
            raise InputError(f"joint_names: the policy's joint '{name}' is missing{_nearest(name, others)}")
    for i, name in enumerate(given):
        if name not in trained:
            hint = _nearest(name, trained)
            raise InputError(f"joint_names: the policy has no joint '{name}'{hint}; leave other joints out")
        if name in given[:i]:
            raise InputError(f"joint_names: '{name}' is there twice")


def _nearest(name: str, others: Sequence[str]) -> str:
    close = difflib.get_close_matches(str(name), [str(other) for other in others], n=1)
    return f" (nearest: '{close[0]}')" if close else ""


# ----------------------------------------------------------------------------------------------------------- the images


class _FrameRate:
    """Lets through as many frames as the policy was trained with.

    Each frame is expected a period after the one before, and the first that comes no earlier than a sixth of a period
    before that is taken. What counts is when the one before was expected, not when it came: otherwise a frame that is
    late would delay all that follow, and at 25 Hz a policy of 10 Hz would see 8.3. The expectation follows the frames
    slowly, since a camera's clock is not ours.
    """

    def __init__(self, period: float) -> None:
        self.period = period
        self.restart()

    def restart(self) -> None:
        """Take the next frame, whenever it was taken."""
        self._expected = -math.inf

    def due(self, stamp: float) -> bool:
        """Return whether a frame would be taken. One that is no newer than the last never is."""
        return stamp >= self._expected - FRAME_EARLY * self.period

    def take(self, stamp: float) -> None:
        """Take a frame."""
        error = stamp - self._expected
        if error > self.period / 2:  # the first one, or some have not come
            error, self._expected = 0.0, stamp
        self._expected += self.period + FRAME_FOLLOW * error


class _Resampler:
    """Makes the image that the policy was trained with from a camera's.

    A pixel of the policy has a footprint in the camera's image: the pixels whose centres its square covers, or, where
    the camera is coarser, the nearest one. It reads the lower median of those that have a depth. Training draws the
    depth of one ray. The median is a depth that some surface has, and that of the larger part of the footprint; a mean
    makes up surfaces in mid-air at every edge of an obstacle, which the policy has never seen and would step on, and
    moves with every wrong pixel of a stereo camera. A pixel whose footprint has no depth at all reads as far, as in
    training.

    Args:
        spec: The content of policy.yaml.
        source: The camera; None = the image is that of training.

    Raises:
        InputError: The source is none, or sees less than the policy needs.
    """

    def __init__(self, spec: dict[str, Any], source: DepthSource | None) -> None:
        rows, columns = int(_positive(spec, "camera", "rows")), int(_positive(spec, "camera", "columns"))
        focal = _positive(spec, "camera", "focal")
        self._near, self._far = np.float32(_number(spec, "camera", "near")), np.float32(_number(spec, "camera", "far"))
        self._units = source is not None  # whether it is known what an integer means
        if source is None:
            source = DepthSource(columns, rows, focal, focal, (columns - 1) / 2, (rows - 1) / 2)
        _require_source(source)
        self._scale = np.float32(source.scale)
        height, width = self._shape = (int(source.height), int(source.width))
        across = _Axis(columns, focal, width, source.fx, source.cx)
        down = _Axis(rows, focal, height, source.fy, source.cy)
        _require_view(across, down)
        across_pixels, across_missing = across.footprints()
        down_pixels, down_missing = down.footprints()

        # Which pixels of the flat source image are the footprint of each pixel of the policy, (pixels, samples), and
        # where that table is only filled up.
        flat = down_pixels[:, None, :, None] * width + across_pixels[None, :, None, :]
        missing = down_missing[:, None, :, None] | across_missing[None, :, None, :]
        pixels = rows * columns
        self._table = np.ascontiguousarray(flat.reshape(pixels, -1))
        self._filling = np.ascontiguousarray(missing.reshape(pixels, -1))
        self._any_filling = bool(self._filling.any())
        self._gathered: dict[np.dtype, np.ndarray] = {}  # by the type of the image
        self._depths = np.zeros(self._table.shape, np.float32)
        self._sorted = self._depths.reshape(-1)
        self._mask = np.zeros(self._table.shape, bool)
        self._counts, self._middle = np.zeros(pixels, np.uint8), np.zeros(pixels, np.int64)
        self._starts = np.arange(pixels) * self._table.shape[1]

    def require(self, image: np.ndarray) -> None:
        """Raise an InputError where that is no image of the camera."""
        if not isinstance(image, np.ndarray):
            raise InputError(f"image: expected a numpy array, got {type(image).__name__}")
        if image.shape != self._shape:
            raise InputError(f"image: expected {self._shape} (rows, columns), got {image.shape}")
        if image.dtype.kind == "u" and image.dtype.itemsize == 2:
            if not self._units:
                raise InputError(
                    "image: uint16 needs a depth_source with a scale; without one, images are floats in metres"
                )
        elif image.dtype.kind != "f":
            raise InputError(f"image: expected uint16 or floats, got {image.dtype}")

    def resample(self, image: np.ndarray, out: np.ndarray) -> None:
        """Write the policy's image (rows, columns), m, of one that fits.

        Raises:
            InputError: Nothing in the image has a depth, or the depths are not in metres.
        """
        gathered = self._gathered.get(image.dtype)
        if gathered is None:
            gathered = self._gathered[image.dtype] = np.zeros(self._table.shape, image.dtype)
        np.take(image.reshape(-1), self._table, out=gathered, mode="clip")  # other modes need a buffer
        depths, mask = self._depths, self._mask
        with np.errstate(invalid="ignore", over="ignore"):
            if image.dtype.kind == "u":
                np.multiply(gathered, self._scale, out=depths)
            else:
                np.copyto(depths, gathered, casting="same_kind")
                np.equal(depths, -np.inf, out=mask)
                np.copyto(depths, self._near, where=mask)
            np.greater(depths, 0, out=mask)  # false for NaN
        np.logical_not(mask, out=mask)
        np.copyto(depths, np.inf, where=mask)  # no depth: beyond all others when sorted
        if mask.all():
            raise InputError("image: no pixel has a depth (all are 0 or NaN)")
        nearest = float(depths.min())
        if image.dtype.kind == "f" and MILLIMETRES * self._far < nearest < math.inf:
            raise InputError(f"image: the nearest depth is {nearest:.4g}; floats are metres: are these millimetres?")

        # Too far is a measurement like others and counts as the farthest. No measurement does not count: it is put
        # beyond the farthest, and so last.
        np.minimum(depths, self._far, out=depths)
        np.copyto(depths, np.inf, where=mask)
        if self._any_filling:
            np.copyto(depths, np.inf, where=self._filling)
        depths.sort(axis=1)
        np.less_equal(depths, self._far, out=mask)
        np.add.reduce(mask.view(np.uint8), axis=1, dtype=np.uint8, out=self._counts)  # how many there are
        np.copyto(self._middle, self._counts)
        np.subtract(self._middle, 1, out=self._middle)
        np.right_shift(self._middle, 1, out=self._middle)
        np.maximum(self._middle, 0, out=self._middle)
        np.add(self._middle, self._starts, out=self._middle)
        flat = out.reshape(-1)
        np.take(self._sorted, self._middle, out=flat, mode="clip")
        np.minimum(flat, self._far, out=flat)


class _Axis:
    """Where the policy's columns, or rows, are among the camera's.

    Args:
        count: The policy's pixels, square and about the optical axis.
        focal: The policy's focal length, pixels.
        size: The camera's pixels.
        source_focal: The camera's focal length, pixels.
        source_center: Where its optical axis is, pixels.
    """

    def __init__(self, count: int, focal: float, size: int, source_focal: float, source_center: float) -> None:
        # A pixel's ray has the slope (j - (count - 1) / 2) / focal; it sees half a pixel to both sides.
        slopes = (np.arange(count + 1) - count / 2) / focal
        self.size = size
        self.edges = source_center + source_focal * slopes
        """Of the policy's pixels in the camera's image, (count + 1,), pixels."""
        self.needed = (slopes[0], slopes[-1])
        self.seen = ((-0.5 - source_center) / source_focal, (size - 0.5 - source_center) / source_focal)
        self.tolerance = 1 / focal
        """Slope of one of the policy's pixels: so much may be missing, and is read from the camera's last pixel."""

    def missing(self) -> tuple[float, float]:
        """Return the angles that the camera does not see at both ends, degrees; 0 where it is not worth mentioning."""
        gaps = (self.seen[0] - self.needed[0], self.needed[1] - self.seen[1])
        angles = [abs(math.atan(seen) - math.atan(needed)) for seen, needed in zip(self.seen, self.needed)]
        first, last = (math.degrees(a) if gap > self.tolerance else 0.0 for gap, a in zip(gaps, angles))
        return first, last

    def footprints(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the camera's pixels of each of the policy's, (count, n), and where these are only filled up, bool.

        They are those whose centre is between the pixel's edges, or some of them, evenly spread, if there are many; or
        the nearest one if there is none.
        """
        whole = np.clip(np.ceil(self.edges), 0, self.size).astype(np.int64)
        first, stop = whole[:-1], whole[1:]
        nearest = np.clip(np.rint((self.edges[:-1] + self.edges[1:]) / 2), 0, self.size - 1).astype(np.int64)
        count = stop - first
        first, count = np.where(count > 0, first, nearest), np.maximum(count, 1)
        samples = np.minimum(count, SAMPLES)[:, None]
        k = np.arange(samples.max())
        spread = ((2 * k + 1) * count[:, None]) // (2 * samples)
        missing = k >= samples
        return first[:, None] + np.where(missing, 0, spread), missing


def _require_source(source: DepthSource) -> None:
    """Raise an InputError where that is no camera."""
    for name in ("width", "height", "fx", "fy", "scale", "cx", "cy"):
        value: Any = getattr(source, name, None)
        if not _is_number(value) or (name not in ("cx", "cy") and value <= 0):
            raise InputError(f"depth_source.{name}: expected a number{' > 0' if name[0] != 'c' else ''}, got {value!r}")
    for name in ("width", "height"):
        if getattr(source, name) != int(getattr(source, name)):
            raise InputError(f"depth_source.{name}: expected a whole number, got {getattr(source, name)!r}")


def _require_view(across: _Axis, down: _Axis) -> None:
    """Raise an InputError where a camera sees less than the policy needs."""
    sides = zip(("left", "right", "top", "bottom"), (*across.missing(), *down.missing()))
    missing = [f"{angle:.1f} at the {side}" for side, angle in sides if angle > 0]
    if not missing:
        return

    def view(ends: Callable[[_Axis], tuple[float, float]]) -> str:
        angles = (math.degrees(math.atan(last) - math.atan(first)) for first, last in map(ends, (across, down)))
        return " x ".join(f"{angle:.1f}" for angle in angles)

    seen, needed = view(lambda axis: axis.seen), view(lambda axis: axis.needed)
    raise InputError(
        f"depth_source: the camera's view of {seen} degrees (across x down) does not cover the policy's of {needed}: "
        f"missing are {', '.join(missing)}"
    )


# --------------------------------------------------------------------------------------------------------- the networks


class _Graph:
    """An ONNX graph on one thread of the CPU, whose inputs and outputs are arrays that are made once.

    Args:
        path: The file.

    Raises:
        FolderError: It is none.
    """

    def __init__(self, path: Path) -> None:
        self.name = path.name
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1  # the robot has more to do, and small nets
        options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL  # are not quicker on several
        options.use_deterministic_compute = True
        options.log_severity_level = 3
        try:
            self.session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime has many classes, which are not public
            raise FolderError(
                f"{path.name}: onnxruntime {onnxruntime.__version__} cannot load it: {_one_line(error)}"
            ) from None

    def input_shape(self, name: str) -> list[int]:
        """Return the shape of an input.

        Raises:
            FolderError: There is no such input.
        """
        for item in self.session.get_inputs():
            if item.name == name:
                return list(item.shape)
        raise FolderError(f"{self.name}: it has no input '{name}'")

    def require(self, inputs: dict[str, Any], outputs: dict[str, Any]) -> None:
        """Raise a FolderError where the graph's inputs and outputs are not these arrays' (shapes and float32)."""
        for kind, arrays, items in (
            ("input", inputs, self.session.get_inputs()),
            ("output", outputs, self.session.get_outputs()),
        ):
            there = {item.name: item for item in items}
            for name in arrays:
                if name not in there:
                    raise FolderError(f"{self.name}: it has no {kind} '{name}'{_nearest(name, list(there))}")
            for name, item in there.items():
                if name not in arrays:
                    raise FolderError(
                        f"{self.name}: {SPECIFICATION} has no {kind} '{name}'{_nearest(name, list(arrays))}"
                    )
                if item.type != "tensor(float)" or list(item.shape) != list(arrays[name].shape):
                    expected = list(arrays[name].shape)
                    raise FolderError(
                        f"{self.name}: {kind} '{name}' is {item.type} {item.shape}; by {SPECIFICATION} it is {expected}"
                    )

    def bind(self, inputs: dict[str, np.ndarray], outputs: dict[str, np.ndarray]) -> Any:
        """Return what ``run`` needs to read and write these arrays, in place, which must stay alive."""
        self.require(inputs, outputs)
        binding = self.session.io_binding()
        for bind, arrays in ((binding.bind_ortvalue_input, inputs), (binding.bind_ortvalue_output, outputs)):
            for name, array in arrays.items():
                value = onnxruntime.OrtValue.ortvalue_from_numpy(array)
                if value.data_ptr() != array.ctypes.data:  # it would compute, and nobody would see what
                    raise PolicyError(f"onnxruntime {onnxruntime.__version__} copies arrays instead of sharing them")
                bind(name, value)
        return binding

    def run(self, binding: Any) -> None:
        """Compute the outputs."""
        self.session.run_with_iobinding(binding)


def _zeros(*shape: int) -> np.ndarray:
    return np.zeros(shape, np.float32)


# ----------------------------------------------------------------------------------------------------------- the folder


def read_specification(folder: str | Path) -> dict[str, Any]:
    """Return the content of a folder's policy.yaml.

    Raises:
        FolderError: There is none, it is no YAML, or it is of another format or version.
    """
    path = Path(folder) / SPECIFICATION
    try:
        if not path.is_file():
            raise FolderError(f"{path} is missing: is that a policy folder?")
        if path.stat().st_size > LARGEST_SPECIFICATION:
            raise FolderError(f"{path} is larger than {LARGEST_SPECIFICATION} bytes")
        spec = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise FolderError(f"{path}: {error.strerror}") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # ValueError: no UTF-8, or a 13th month
        raise FolderError(f"{path}: {_one_line(error)}") from None
    if not isinstance(spec, dict) or spec.get("format") != FORMAT:
        found = spec.get("format") if isinstance(spec, dict) else None
        raise FolderError(f"{path}: expected format '{FORMAT}', got {found!r}")
    if spec.get("version") != VERSION:
        raise FolderError(f"{path}: version {spec.get('version')!r}; this {Path(__file__).name} runs version {VERSION}")
    return spec


def file_problems(folder: Path, spec: dict[str, Any], verify: bool = True) -> list[str]:
    """Return what is wrong with the files of a folder, a line each; first of all with policy.yaml itself.

    Args:
        folder: The folder.
        spec: The content of its policy.yaml.
        verify: Look at all files and their checksums; otherwise at those that a ``Policy`` loads.
    """
    files = _get(spec, "files")
    if not isinstance(files, dict):
        return [f"{SPECIFICATION}: files: expected checksums by name"]
    needed = [name for name in (WHOLE, ENCODER, ACTOR, GOLDEN) if verify or name in (ENCODER, ACTOR)]
    problems = [_seal_problem(Path(folder) / SPECIFICATION)] if verify else []
    problems += [f"{SPECIFICATION}: files: no '{name}'" for name in needed if name not in files]
    for name in files if verify else needed:
        relative = PurePosixPath(str(name))
        path = Path(folder) / relative
        if relative.is_absolute() or ".." in relative.parts:
            problems.append(f"{SPECIFICATION}: files: '{name}' is not in the folder")
            continue
        try:
            if not path.is_file():
                problems.append(f"{path} is missing")
            elif path.stat().st_size > LARGEST_FILE:
                problems.append(f"{path} is larger than {LARGEST_FILE} bytes")
            elif verify and sha256(path) != files[name]:
                problems.append(f"{path} is changed: its checksum is not that in {SPECIFICATION}")
        except OSError as error:
            problems.append(f"{path}: {error.strerror}")
    return [problem for problem in problems if problem]


def seal(lines: bytes) -> bytes:
    """Return the last line of policy.yaml: the checksum of all lines before it."""
    return f"sha256: {hashlib.sha256(lines).hexdigest()}\n".encode()


def _seal_problem(path: Path) -> str:
    """Return whether policy.yaml is not what its last line says; empty if it is."""
    *lines, last = path.read_bytes().splitlines(keepends=True)
    if last == seal(b"".join(lines)):
        return ""
    return f"{path} is changed, or of an older export: its last line is not its checksum"


def sha256(path: Path) -> str:
    """Return the checksum of a file."""
    total = hashlib.sha256()
    with open(path, "rb") as file:
        for part in iter(lambda: file.read(1 << 20), b""):
            total.update(part)
    return total.hexdigest()


def observation_sizes(spec: dict[str, Any]) -> dict[str, int]:
    """Return the sizes of the observations by name, in the networks' order.

    Raises:
        FolderError: They are not those that this file knows.
    """
    joints = len(_names(spec, "robot", "joint_names"))
    known = {**dict.fromkeys(IN_BASE, 3), **dict.fromkeys(OF_JOINTS, joints), COMMANDS: 4, ACTIONS: joints}
    rows = _get(spec, "observations")
    if not isinstance(rows, list) or not all(isinstance(row, dict) and "name" in row for row in rows):
        raise FolderError(f"{SPECIFICATION}: observations: expected a list of rows with names")
    sizes = {str(row["name"]): row.get("size") for row in rows}
    for name in known:
        if name not in sizes:
            raise FolderError(f"{SPECIFICATION}: observations: no '{name}'")
    known[GAIT] = 2
    for name, size in sizes.items():
        if name not in known:
            raise FolderError(f"{SPECIFICATION}: observations: '{name}' is unknown{_nearest(name, list(known))}")
        if size != known[name]:
            raise FolderError(f"{SPECIFICATION}: observations: '{name}' has size {size!r}, expected {known[name]}")
    return {name: known[name] for name in sizes}


def memory_shape(spec: dict[str, Any]) -> tuple[int, ...]:
    """Return the shape of the policy's memory; empty where it has none."""
    if _get(spec, "memory") is None:
        return ()
    return tuple(int(size) for size in _vector(spec, (3,), "memory", "shape"))


def _get(spec: dict[str, Any], *keys: str) -> Any:
    """Return an entry of policy.yaml.

    Raises:
        FolderError: There is none.
    """
    value: Any = spec
    for key in keys:
        if not isinstance(value, dict) or key not in value:
            raise FolderError(f"{SPECIFICATION}: {'.'.join(keys)} is missing")
        value = value[key]
    return value


def _names(spec: dict[str, Any], *keys: str) -> list[str]:
    value = _get(spec, *keys)
    if not isinstance(value, list) or not value or len(set(map(str, value))) < len(value):
        raise FolderError(f"{SPECIFICATION}: {'.'.join(keys)}: expected a list of different names")
    return [str(name) for name in value]


def _number(spec: dict[str, Any], *keys: str) -> float:
    value = _get(spec, *keys)
    if not _is_number(value):
        raise FolderError(f"{SPECIFICATION}: {'.'.join(keys)}: expected a number, got {value!r}")
    return float(value)


def _positive(spec: dict[str, Any], *keys: str) -> float:
    value = _number(spec, *keys)
    if value <= 0:
        raise FolderError(f"{SPECIFICATION}: {'.'.join(keys)}: expected a number > 0, got {value!r}")
    return value


def _vector(spec: dict[str, Any], shape: tuple[int, ...], *keys: str, finite: bool = True) -> np.ndarray:
    """Return numbers, float64; where they need not be ``finite``, infinity means that there is no limit."""
    try:
        value = np.array(_get(spec, *keys), dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        value = np.array(math.nan)
    if value.shape != shape or np.isnan(value).any() or (finite and np.isinf(value).any()):
        raise FolderError(f"{SPECIFICATION}: {'.'.join(keys)}: expected {' x '.join(map(str, shape))} numbers")
    return value


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float, np.integer, np.floating)) and bool(abs(value) <= sys.float_info.max)


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__


# ------------------------------------------------------------------------------------------------------------ the check

Golden = Dict[str, np.ndarray]
Worst = Dict[str, float]


def check(folder: str | Path, seconds: float = 1.0) -> list[str]:
    """Print whether a folder is whole, computes what it should, and how fast, and what the robot must provide.

    Args:
        folder: The policy folder.
        seconds: How long each latency is measured.

    Returns:
        What is wrong, a line each.
    """
    folder, problems = Path(folder), []
    try:
        spec = read_specification(folder)
        problems += file_problems(folder, spec)
        print(_about(folder, spec))
        print(
            f"files      {'as in ' + SPECIFICATION if not problems else 'NOT as in ' + SPECIFICATION + ', see below'}"
        )
        if not all((folder / name).is_file() for name in (WHOLE, ENCODER, ACTOR, GOLDEN)):
            return problems
        # From here on with whatever is there: that may say what a change does.
        Policy(folder, verify=False)  # which tells best what does not fit
        golden = _read_golden(folder, spec)
        print(_parity(folder, spec, golden, problems))
        print(_latencies(folder, spec, golden, seconds))
        print(_requirements(spec))
    except PolicyError as error:
        if str(error) not in problems:
            problems.append(str(error))
    except Exception:  # what is changed fails in any way; that it is changed has been found
        if not problems:
            raise
    return problems


def _about(folder: Path, spec: dict[str, Any]) -> str:
    trained = _get(spec, "trained")
    facts = ", ".join(f"{key} {_get(trained, key)}" for key in ("task", "run", "checkpoint", "iterations"))
    versions = f"Python {sys.version.split()[0]}, numpy {np.__version__}, onnxruntime {onnxruntime.__version__}"
    return f"policy     {folder.resolve()}\ntrained    {facts}\nhere       {versions}, one thread"


def _read_golden(folder: Path, spec: dict[str, Any]) -> Golden:
    """Return the arrays of golden.npz.

    Raises:
        FolderError: It is not what policy.yaml promises.
    """
    try:
        with np.load(folder / GOLDEN, allow_pickle=False) as file:
            golden = {name: file[name] for name in file.files}
    except Exception as error:  # a broken archive fails in many ways
        raise FolderError(f"{GOLDEN}: {_one_line(error)}") from None
    camera, memory = _get(spec, "camera"), memory_shape(spec)
    joints = len(_names(spec, "robot", "joint_names"))
    steps = len(golden["reset"]) if "reset" in golden else 0
    shapes = {
        "reset": (steps,),
        "frame": (steps,),
        "joint_targets": (steps, joints),
        "next_actions": (steps, joints),
        **{name: (steps, size) for name, size in observation_sizes(spec).items()},
        **({"h_out": (steps, *memory)} if memory else {}),
    }
    if "depth" in golden:
        shapes["depth"] = (len(golden["depth"]), camera["rows"], camera["columns"])
    for name in [*shapes, "depth"]:
        if name not in golden:
            raise FolderError(f"{GOLDEN}: no array '{name}'")
        if golden[name].shape != shapes[name]:
            raise FolderError(f"{GOLDEN}: '{name}' is {golden[name].shape}, expected {shapes[name]}")
    frame = golden["frame"]
    if not steps or not golden["reset"][0] or frame.min() < 0 or frame.max() >= len(golden["depth"]):
        raise FolderError(f"{GOLDEN}: expected an episode that begins with the first step, and frames that are there")
    return golden


def _parity(folder: Path, spec: dict[str, Any], golden: Golden, problems: list[str]) -> str:
    """Return the table of worst differences from the golden steps; add what is wrong to ``problems``."""
    two, limits = f"{ENCODER} + {ACTOR}", ""
    rows = {WHOLE: _play_graphs(folder, spec, golden, whole=True), two: _play_graphs(folder, spec, golden, whole=False)}
    rows["Policy.act"], limits = _play_policy(folder, spec, golden, problems)
    columns = list(dict.fromkeys(name for worst in rows.values() for name in worst))
    lines = [
        f"golden     {len(golden['reset'])} steps, {len(golden['depth'])} images; worst difference of any number "
        f"(allowed: {TOLERANCE:g})",
        _row(["", *columns]),
    ]
    for who, worst in rows.items():
        lines.append(_row([who, *(f"{worst[name]:.1e}" if name in worst else "" for name in columns)]))
        for name, difference in worst.items():
            if not difference <= TOLERANCE:  # NaN is not
                problems.append(f"{who}: {name} is off by {difference:.3g} on golden steps (allowed: {TOLERANCE:g})")
    return "\n".join([*lines, limits])


def _row(cells: Sequence[str]) -> str:
    return f"  {cells[0]:<42}" + "".join(f"{cell:>14}" for cell in cells[1:])


def _differ(worst: Worst, name: str, found: np.ndarray, expected: np.ndarray) -> None:
    """Keep the worst difference of an output; NaN stays NaN."""
    difference = float(np.max(np.abs(found.reshape(-1).astype(np.float64) - expected.reshape(-1))))
    worst[name] = difference if math.isnan(difference) else max(worst.get(name, 0.0), difference)


def _play_graphs(folder: Path, spec: dict[str, Any], golden: Golden, whole: bool) -> Worst:
    """Play the golden steps by the graphs alone: observations are given, the memory is the graphs' own.

    Raises:
        FolderError: A graph has other inputs.
    """
    graphs = [_Graph(folder / name) for name in ([WHOLE] if whole else [ENCODER, ACTOR])]
    memory = np.zeros(memory_shape(spec), np.float32)
    initial = _number(spec, "memory", "initial") if memory.shape else 0.0
    worst: Worst = {}
    features: dict[str, np.ndarray] = {}
    for t, begins in enumerate(golden["reset"]):
        if begins:
            memory = np.full_like(memory, initial)
        inputs = {name: golden[name][t : t + 1] for name in observation_sizes(spec)}
        if memory.shape:
            inputs["h_in"] = memory
        image = {"depth": golden["depth"][golden["frame"][t]][None]}
        if whole:
            inputs.update(image)
        else:
            if t == 0 or golden["frame"][t] != golden["frame"][t - 1]:
                features = _run(graphs[0], image)
            inputs.update(features)
        outputs = _run(graphs[-1], inputs)
        memory = outputs.get("h_out", memory)
        for name in ("joint_targets", "next_actions", *(["h_out"] if memory.shape else [])):
            if name not in outputs:
                raise FolderError(f"{graphs[-1].name}: it has no output '{name}'{_nearest(name, list(outputs))}")
            _differ(worst, name, outputs[name], golden[name][t])
    return worst


def _run(graph: _Graph, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    try:
        values = graph.session.run(None, inputs)
    except Exception as error:  # onnxruntime has many classes, which are not public
        raise FolderError(f"{graph.name}: {_one_line(error)}") from None
    return {item.name: np.asarray(value) for item, value in zip(graph.session.get_outputs(), values)}


def _play_policy(folder: Path, spec: dict[str, Any], golden: Golden, problems: list[str]) -> tuple[Worst, str]:
    """Play the golden steps by ``Policy``, which makes previous actions, clock and memory itself.

    Returns:
        Worst differences, and how often a target was limited.
    """
    now = [0.0]
    policy = Policy(folder, clock=lambda: now[0], verify=False)
    worst: Worst = {}
    limited, too_narrow, began, catching_up, frame = 0, [], 0, False, -1
    for t, begins in enumerate(golden["reset"]):
        now[0] = t * policy.period
        if begins:
            policy.reset()
            began, catching_up = t, True  # an episode's first targets move from where the joints are
        if golden["frame"][t] != frame:
            frame = golden["frame"][t]
            if not policy.set_depth(golden["depth"][frame], now[0]):
                problems.append(f"Policy.set_depth: the golden image of step {t} was not used: it came too early")
        before = policy.limited.target_range.sum() + policy.limited.target_rate.sum()
        command = policy.act(golden_state(golden, t))
        if command.mode is not Mode.POLICY:
            problems.append(f"Policy.act: DAMPING at golden step {t}: {command.reason}")
            break
        touched = policy.limited.target_range.sum() + policy.limited.target_rate.sum() > before
        catching_up = catching_up and touched and (t - began) * policy.period < CATCH_UP
        limited += touched
        if touched and not catching_up:
            too_narrow.append(t)
        for name, value in policy.network_outputs.items():
            _differ(worst, name, value, golden[name][t])
        for name, value in policy.network_inputs.items():
            _differ(worst, "observations", value, golden[name][t])
    if too_narrow:
        problems.append(
            f"Policy.act: targets were limited in {len(too_narrow)} golden steps, first in step {too_narrow[0]}: "
            f"safety in {SPECIFICATION} is too narrow"
        )
    return worst, f"  targets that safety limited: in {limited} of {len(golden['reset'])} steps"


def golden_state(golden: Golden, step: int) -> RobotState:
    """Return the robot's state at a golden step."""
    fields = {name: golden[name][step] for name in (*IN_BASE, *OF_JOINTS)}
    return RobotState(command=golden[COMMANDS][step], **fields)


def _latencies(folder: Path, spec: dict[str, Any], golden: Golden, seconds: float) -> str:
    """Return a table of how long things take on this machine."""
    camera = _get(spec, "camera")
    rows, columns, focal = int(camera["rows"]), int(camera["columns"]), _positive(spec, "camera", "focal")
    now = [0.0]
    policy = Policy(folder, clock=lambda: now[0], verify=False)
    # A usual camera that sees a little more than the policy.
    width, height = 848, 480
    zoom = 0.95 * min(width / columns, height / rows) * focal
    source = DepthSource(width, height, zoom, zoom, (width - 1) / 2, (height - 1) / 2)
    resampler = _Resampler(spec, source)
    image = np.random.default_rng(0).integers(300, 3000, (height, width)).astype(np.uint16)
    small = golden["depth"][0]
    state, out = golden_state(golden, 0), np.zeros((rows, columns), np.float32)
    encoder, features = _Graph(folder / ENCODER), _zeros(*_Graph(folder / ACTOR).input_shape("features"))
    binding = encoder.bind({"depth": small[None]}, {"features": features})
    per_frame = max(1, round(_positive(spec, "camera", "period") / policy.period))

    def steps_of_a_frame() -> None:
        policy.set_depth(small)
        for _ in range(per_frame):
            now[0] += policy.period
            policy.act(state)

    policy.reset()
    steps_of_a_frame()
    tasks: dict[str, tuple[Callable[[], Any], int]] = {
        f"resampling {width} x {height} uint16": (lambda: resampler.resample(image, out), 1),
        f"encoder ({ENCODER})": (lambda: encoder.run(binding), 1),
        f"actor ({ACTOR})": (lambda: policy.act(state), 1),
        f"control step with its share of an image (1/{per_frame})": (steps_of_a_frame, per_frame),
    }
    lines = [
        "latency    on this machine as busy as it is, batch 1, one thread, ms",
        _row(["", "p50", "p99", "worst", "times"]),
    ]
    for name, (task, share) in tasks.items():
        times = []
        end = time.perf_counter() + seconds
        while time.perf_counter() < end or len(times) < 10:
            begin = time.perf_counter()
            task()
            times.append((time.perf_counter() - begin) / share)
        milliseconds = [1e3 * t for t in (*np.quantile(times, [0.5, 0.99]), max(times))]
        lines.append(_row([name, *(f"{value:.3f}" for value in milliseconds), str(len(times))]))
    return "\n".join([*lines, f"memory     {_memory()}"])


def _memory() -> str:
    try:
        import resource  # not on Windows
    except ImportError:
        return "not known on this system"
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return f"{peak / 2**20:.0f} MiB at most, of this process, Python and checks included"


def _requirements(spec: dict[str, Any]) -> str:
    """Return tables of what the robot must provide."""
    camera, joints = _get(spec, "camera"), _names(spec, "robot", "joint_names")
    limits = _vector(spec, (len(joints), 2), "robot", "joint_pos_limits")
    targets = _vector(spec, (len(joints), 2), "safety", "target_range")
    numbers = [
        _vector(spec, (len(joints),), *keys, finite=False)
        for keys in (
            ("safety", "target_rate"),
            ("robot", "default_joint_pos"),
            ("robot", "joint_stiffness"),
            ("robot", "joint_damping"),
            ("robot", "torque_limits"),
        )
    ]
    mount = _vector(spec, (3,), "camera", "position"), _vector(spec, (4,), "camera", "quat")
    commands, latency = _vector(spec, (4, 2), "commands", "ranges"), _vector(spec, (2,), "camera", "latency")
    period = _positive(spec, "control", "period")
    fields = {**{name: name for name in (*IN_BASE, *OF_JOINTS)}, COMMANDS: "command"}
    ranges = {
        "joint_pos": "limits: see below",
        "joint_vel": "speeds: see below",
        "projected_gravity": "length 1",
        COMMANDS: ", ".join(f"{low:.3g}..{high:.3g}" for low, high in commands),
    }
    lines = [
        f"RobotState, every {1e3 * period:g} ms ({1 / period:g} Hz); to be measured within a step",
        f"  {'field':<18}{'size':>4}  {'unit':<22}{'frame':<8}{'range':<44}meaning",
    ]
    for row in _get(spec, "observations"):
        name = row["name"]
        if name in fields:
            noise = row.get("noise")
            noise = f"+- {noise:g} noise trained" if _is_number(noise) and noise else ""
            cells = (fields[name], row["size"], row.get("unit", ""), row.get("frame", ""), ranges.get(name, noise))
            lines.append("  {:<18}{:>4}  {:<22}{:<8}{:<44}{}".format(*cells, row.get("meaning", "")))
    fov = [2 * math.degrees(math.atan(camera[side] / 2 / camera["focal"])) for side in ("columns", "rows")]
    lines += [
        f"Depth image, every {1e3 * camera['period']:g} ms ({1 / camera['period']:g} Hz) or more often",
        f"  planar depth {camera['near']:g} to {camera['far']:g} m, any resolution that covers {fov[0]:.1f} degrees "
        f"across and {fov[1]:.1f} down (trained: {camera['columns']} x {camera['rows']}); uint16 or floats in metres",
        f"  camera at {_numbers(mount[0])} m in the base frame, turned by the quaternion (w, x, y, z) "
        f"{_numbers(mount[1])} (its x along the optical axis, z up)",
        f"  latency trained: {_numbers(latency)} s",
        f"JointCommand, every {1e3 * period:g} ms; joint_names in the policy's order",
        f"  {'joint':<28}{'limits, rad':<18}{'targets, rad':<18}{'rad/s':>7}{'default':>9}{'N m/rad':>9}"
        f"{'N m s/rad':>11}{'N m':>7}",
    ]
    for i, name in enumerate(joints):
        intervals = [f"{low:.2f}..{high:.2f}" for low, high in (limits[i], targets[i])]
        cells = (name, *intervals, *(column[i] for column in numbers))
        lines.append("  {:<28}{:<18}{:<18}{:>7.1f}{:>9.2f}{:>9.1f}{:>11.1f}{:>7.0f}".format(*cells))
    return "\n".join(lines)


def _numbers(values: np.ndarray) -> str:
    return "(" + ", ".join(f"{value:.4g}" for value in values) + ")"


HELP = """{name}: runs a policy folder on a robot, see its first lines and README.md of the folder.

    python {name} --check [FOLDER]     checksums, golden steps, latencies, and what the robot must provide

FOLDER is {default} by default. Exit code: 0, or 2 with a line for each problem."""


def main(arguments: Sequence[str], name: str = Path(__file__).name, default: Path | None = None) -> int:
    """Run the command line; return the exit code.

    Args:
        arguments: ``--check`` and the folder.
        name: Of the program, for its help.
        default: Folder; None = the one that this file is in.
    """
    flags = [argument for argument in arguments if argument.startswith("-")]
    folders = [argument for argument in arguments if not argument.startswith("-")]
    for flag in flags:
        if flag not in ("--check", "-h", "--help"):
            print(f"error: unknown flag '{flag}'; allowed: --check, --help", file=sys.stderr)
            return 2
    if len(folders) > 1:
        print(f"error: one folder, please, not {len(folders)}: {', '.join(folders)}", file=sys.stderr)
        return 2
    if "--check" not in flags:
        print(HELP.format(name=name, default="this file's folder"))
        return 2 if folders else 0
    problems = check(folders[0] if folders else default or Path(__file__).resolve().parent)
    for problem in problems:
        print(f"problem: {problem}", file=sys.stderr)
    if not problems:
        print("all is well")
    return 2 if problems else 0


if __name__ == "__main__":
    if hasattr(signal, "SIGPIPE"):  # not on Windows
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # who reads only the first lines (head) ends it quietly
    sys.exit(main(sys.argv[1:]))

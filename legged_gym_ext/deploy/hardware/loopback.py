"""A robot that is none: joints with a motor each, an upright base, a camera over level ground, and a bad network.

It stands for a robot in tests and for whoever wants to see a dry run, the ramp and an emergency stop before there is a
robot. It does not walk: its base hangs. See sim2sim for walking.

    python -m legged_gym_ext.deploy.hardware.loopback FOLDER
"""

from __future__ import annotations

import heapq
import math
import threading
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from legged_gym_ext.config.cli import Parser, main_guard
from legged_gym_ext.deploy.hardware.clock import Clock, MonotonicClock
from legged_gym_ext.deploy.hardware.driver import Camera, RobotDescription
from legged_gym_ext.deploy.hardware.protocol import (
    ClockOffset,
    Kind,
    Newest,
    Packet,
    Sender,
    decode,
    depth_payloads,
    description_payload,
    read_command,
    state_payload,
)
from legged_gym_ext.deploy.hardware.udp import HOST, ROBOT, Transport, UdpTransport, name_of, read_address
from legged_gym_ext.deploy.runtime import DepthSource, JointCommand, Mode, PolicyError, RobotState, read_specification
from legged_gym_ext.errors import UserError

STEP = 0.002
"""s of physics."""
INERTIA = 0.1
"""Of each joint, kg m^2."""
NOISE = 1e-3
"""Standard deviation of all that is measured, in its own unit. Real sensors never say the same twice."""
GROUND = 1500
"""What the camera sees, mm, give or take 10."""
CLOCK = 1000.0
"""By how much the robot's clock is ahead of the host's, s."""

_DAMPING = 2.0  # N m s/rad: its own, where it stops by itself
_DESCRIBE = 0.5  # s from description to description


@dataclass(frozen=True)
class Faults:
    """What goes wrong. Shares are of packets in each direction; times are s after the robot's start."""

    loss: float = 0.0
    jitter: float = 0.0
    """Longest additional delay of a packet, s; uniform, so that packets overtake each other."""
    duplicate: float = 0.0
    corrupt: float = 0.0
    """One bit of them is changed."""
    depth_delay: float = 0.0
    """s by which images come late."""
    camera_dies_at: float = math.inf
    state_stops_at: float = math.inf
    """No further states are sent."""
    values_freeze_at: float = math.inf
    """States are sent, but their numbers stay as they are."""
    nan_at: float = math.inf
    """The first joint's angle is NaN."""
    deaf_at: float = math.inf
    """Nothing of the host arrives any more."""


class Line:
    """One direction of a network.

    Args:
        faults: What it does to packets.
        rng: Which packets.
    """

    def __init__(self, faults: Faults, rng: np.random.Generator) -> None:
        self._faults, self._rng = faults, rng
        self._waiting: list[tuple[float, int, bytes]] = []
        self._number = 0

    def send(self, data: bytes, now: float, delay: float = 0.0) -> None:
        """Put a packet in."""
        faults, rng = self._faults, self._rng
        if rng.random() < faults.loss:
            return
        if rng.random() < faults.corrupt:
            changed = bytearray(data)
            changed[rng.integers(len(data))] ^= 1 << int(rng.integers(8))
            data = bytes(changed)
        for _ in range(1 + (rng.random() < faults.duplicate)):
            self._number += 1
            heapq.heappush(self._waiting, (now + delay + rng.random() * faults.jitter, self._number, data))

    def due(self, now: float) -> list[bytes]:
        """Take out what has arrived by now, in the order of arrival."""
        arrived = []
        while self._waiting and self._waiting[0][0] <= now:
            arrived.append(heapq.heappop(self._waiting)[2])
        return arrived


@dataclass(frozen=True)
class Received:
    """A command that the robot followed."""

    time: float
    """s after the robot's start."""
    command: JointCommand


class LoopbackRobot:
    """The robot's side of protocol.py, with the faults of robot and network. Time is what it is told.

    It follows commands that are whole, newer than all before, for it, in time, and finite. It goes to damping on a
    stop, on a command that says so, and ``command_timeout`` after the last command, and stays there until a host with a
    new session comes.

    Args:
        description: What it says of itself.
        pose: Angles at the start, (n,), rad; zeros if not given.
        stops: Between which angles each joint can move, (n, 2), rad; as far as it likes if not given.
        faults: What goes wrong.
        seed: Of noise and faults.
    """

    def __init__(
        self,
        description: RobotDescription,
        *,
        pose: np.ndarray | None = None,
        stops: ArrayLike | None = None,
        faults: Faults | None = None,
        seed: int = 0,
    ) -> None:
        joints = len(description.joint_names)
        self.description = description
        self.faults = faults or Faults()
        self.joint_pos = np.zeros(joints) if pose is None else np.array(pose, dtype=float)
        self.joint_vel = np.zeros(joints)
        self._stops = np.array([(-math.inf, math.inf)] * joints if stops is None else stops).T
        self.received: list[Received] = []
        """All commands that were followed, in order."""
        self.packets = 0
        """All that arrived, whatever it was."""
        self.rejected: Counter[str] = Counter()
        """How many of them were not followed, by reason."""
        self.damping_since: float | None = None
        """s after the start; None while it is not in damping."""
        self.reason = ""
        """Why it is in damping."""
        self._rng = np.random.default_rng(seed)
        self._incoming, self._outgoing = (Line(self.faults, self._rng) for _ in range(2))
        self._sender = Sender(time.time_ns())
        self._newest = Newest()
        self._offset = ClockOffset()
        self._command: JointCommand | None = None
        self._heard = 0.0  # when the last command was followed
        self._start: float | None = None
        self.elapsed = 0.0
        """s after the start."""
        self._moved = 0.0  # until when the joints have moved, s after the start
        self._next: dict[Kind, float] = {Kind.DESCRIPTION: 0.0, Kind.STATE: 0.0, Kind.DEPTH: 0.0}
        self._frames = 0
        self._frozen: RobotState | None = None

    def arrive(self, data: bytes, now: float) -> None:
        """Take a packet that the host sends now; the network may do its worst to it."""
        if self._start is None or now - self._start < self.faults.deaf_at:
            self._incoming.send(data, now)

    def step(self, now: float) -> list[bytes]:
        """Go on to the time ``now``, s on the host's clock; return the packets that reach the host."""
        if self._start is None:
            self._start = now
        self.elapsed = now - self._start
        for data in self._incoming.due(now):
            self._take(data, now)
        while self._moved + STEP <= self.elapsed:
            self._moved += STEP
            self._move()
        if self._command is not None and self.elapsed - self._heard > self.description.command_timeout:
            self._damp(f"no command for {self.description.command_timeout:g} s")
        self._speak(now)
        return self._outgoing.due(now)

    def _take(self, data: bytes, now: float) -> None:
        """Do what a packet says, if it is a command to be followed."""
        self.packets += 1
        packet = decode(data)
        if packet is None:
            self.rejected["no packet, or changed on the way"] += 1
        elif not self._accept(packet):
            self.rejected["not the newest"] += 1
        elif now - self._offset.translate(packet.stamp, now) > self.description.command_timeout:
            self.rejected["too late"] += 1
        elif packet.kind is Kind.STOP:
            self._damp("stopped by the host")
        elif packet.to != self._sender.session:
            self.rejected["for another robot, or for this one before it started"] += 1
        elif packet.kind is Kind.COMMAND:
            self._follow(packet)
        else:
            self.rejected["no command"] += 1

    def _accept(self, packet: Packet) -> bool:
        if packet.session > self._newest.session:  # another run of the host: what was latched is over
            self._command, self.damping_since, self.reason = None, None, ""
            self._offset = ClockOffset()
        return self._newest.accept(packet)

    def _follow(self, packet: Packet) -> None:
        command = read_command(packet.payload, len(self.joint_pos))
        if command is None:
            self.rejected["not a command for these joints"] += 1
        elif self.damping_since is not None and command.mode is not Mode.DAMPING:
            self.rejected["in damping"] += 1
        else:
            self._heard = self.elapsed
            self.received.append(Received(self._heard, command))
            if command.mode is Mode.DAMPING:
                self._damp("told by the host")
                command = replace(command, stiffness=np.zeros_like(command.stiffness))
            self._command = command

    def _damp(self, reason: str) -> None:
        """Brake the joints; latched."""
        if self.damping_since is None:
            self.damping_since, self.reason = self.elapsed, reason
            none = np.zeros(len(self.joint_pos))
            self._command = JointCommand(none, none, none + _DAMPING, Mode.DAMPING, reason)

    def _move(self) -> None:
        """Advance the joints by one step of physics; the motors' damping is implicit, so that it is stable."""
        if self._command is None:
            return
        command, limit = self._command, np.array(self.description.torque_limits)
        pull = np.clip(command.stiffness * (command.position - self.joint_pos), -limit, limit)
        self.joint_vel = (self.joint_vel + STEP / INERTIA * pull) / (1 + STEP / INERTIA * command.damping)
        free = self.joint_pos + STEP * self.joint_vel
        self.joint_pos = np.clip(free, *self._stops)
        self.joint_vel = np.where(self.joint_pos == free, self.joint_vel, 0.0)

    def _speak(self, now: float) -> None:
        """Send what is due: of each kind the newest, if several would be."""
        description, faults, elapsed = self.description, self.faults, self.elapsed
        if self._due(Kind.DESCRIPTION, _DESCRIBE):
            self._send(Kind.DESCRIPTION, now, description_payload(description))
        if self._due(Kind.STATE, description.state_period) and elapsed < faults.state_stops_at:
            fault = self.reason if self.damping_since is not None else ""
            self._send(Kind.STATE, now, state_payload(self._measure(), fault))
        camera = description.camera
        if camera and self._due(Kind.DEPTH, camera.period) and elapsed < faults.camera_dies_at:
            self._frames += 1
            shape = camera.source.height, camera.source.width
            image = GROUND + self._rng.integers(-10, 11, shape)
            for payload in depth_payloads(image.astype(np.uint16), self._frames):
                self._send(Kind.DEPTH, now, payload, faults.depth_delay)

    def _due(self, kind: Kind, period: float) -> bool:
        if self.elapsed < self._next[kind]:
            return False
        self._next[kind] = period * (math.floor(self.elapsed / period + 1e-6) + 1)
        return True

    def _send(self, kind: Kind, now: float, payload: bytes, delay: float = 0.0) -> None:
        self._outgoing.send(self._sender.packet(kind, now + CLOCK, payload), now, delay)

    def _measure(self) -> RobotState:
        if self.elapsed < self.faults.values_freeze_at or self._frozen is None:
            sizes = len(self.joint_pos), len(self.joint_pos), 3, 3, 3
            pos, vel, ang_vel, lin_vel, gravity = (NOISE * self._rng.standard_normal(size) for size in sizes)
            gravity = gravity + [0.0, 0.0, -1.0]
            self._frozen = RobotState(
                joint_pos=pos + self.joint_pos,
                joint_vel=vel + self.joint_vel,
                base_ang_vel=ang_vel,
                base_lin_vel=lin_vel,
                projected_gravity=gravity / np.linalg.norm(gravity),
                command=np.zeros(4),
            )
        if self.elapsed >= self.faults.nan_at:
            return replace(self._frozen, joint_pos=np.append(np.nan, self._frozen.joint_pos[1:]))
        return self._frozen


class Running:
    """Context in which a robot lives in a thread of its own, in real time, at the end of a transport."""

    def __init__(self, robot: LoopbackRobot, transport: Transport, clock: Clock | None = None) -> None:
        self._robot, self._transport, self._clock = robot, transport, clock or MonotonicClock()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._live, name="loopback robot", daemon=True)

    def __enter__(self) -> Running:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _live(self) -> None:
        while not self._over.wait(STEP):
            now = self._clock.now()
            for data in self._transport.receive():
                self._robot.arrive(data, now)
            for data in self._robot.step(now):
                self._transport.send(data)


def main(argv: list[str]) -> None:
    """Be the robot that a folder's policy was made for, until Ctrl-C.

    Raises:
        UserError: Bad arguments.
    """
    parser = Parser(
        prog="python -m legged_gym_ext.deploy.hardware.loopback",
        description="Be a robot that hangs, as a policy's folder describes it, until Ctrl-C.",
        allow_abbrev=False,
    )
    parser.add_argument("folder", metavar="FOLDER", help="what export.py wrote")
    parser.add_argument("--here", default=name_of(ROBOT), help="where to listen (default: %(default)s)")
    parser.add_argument("--host", default=name_of(HOST), help="where to send to (default: %(default)s)")
    args = parser.parse_only(argv)
    try:
        specification = read_specification(args.folder)
    except PolicyError as error:
        raise UserError(str(error)) from None
    # In the air a policy that was made for the ground swings legs to their stops, which hold them.
    robot = LoopbackRobot(robot_for(specification), stops=specification["robot"]["joint_pos_limits"])
    transport = UdpTransport(read_address(args.here, "--here"), read_address(args.host, "--host"))
    print(f"robot at {args.here}, sending to {args.host}", flush=True)
    reason = ""
    with Running(robot, transport):
        while True:
            time.sleep(0.2)
            if robot.reason != reason:
                reason = robot.reason
                print(f"damping: {reason}" if reason else "following commands", flush=True)


def robot_for(specification: Mapping[str, Any], name: str = "loopback") -> RobotDescription:
    """Return what a robot says of itself that the policy of a ``policy.yaml`` was made for."""
    robot, camera = specification["robot"], specification["camera"]
    period = float(specification["control"]["period"])
    ranges = np.array([robot["joint_pos_limits"], specification["safety"]["target_range"]], dtype=float)
    pose = np.array(robot["default_joint_pos"], dtype=float)
    low = np.minimum(ranges[..., 0].min(axis=0), pose)
    high = np.maximum(ranges[..., 1].max(axis=0), pose)
    return RobotDescription(
        name=name,
        joint_names=tuple(robot["joint_names"]),
        control_period=period,
        state_period=period / 2,
        command_timeout=5 * period,
        target_limits=tuple(zip(low.tolist(), high.tolist(), strict=True)),
        torque_limits=tuple(float(limit) for limit in robot["torque_limits"]),
        stiffness_range=(0.0, float(max(robot["joint_stiffness"]))),
        damping_range=(0.0, float(max(robot["joint_damping"]))),
        camera=_camera(camera),
    )


def _camera(trained: Mapping[str, Any]) -> Camera:
    rows, columns, focal = int(trained["rows"]), int(trained["columns"]), float(trained["focal"])
    return Camera(
        source=DepthSource(columns, rows, focal, focal, (columns - 1) / 2, (rows - 1) / 2),
        period=float(trained["period"]),
        position=tuple(float(x) for x in trained["position"]),
        quat=tuple(float(x) for x in trained["quat"]),
    )


if __name__ == "__main__":
    main_guard(main)

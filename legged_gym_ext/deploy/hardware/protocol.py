"""Packets between a robot and its host: fixed layouts, little-endian, a checksum over all.

A packet is a header, a payload, and the CRC-32 of both::

    magic    4 bytes   "LGXR"
    version  uint8     1
    kind     uint8     what the payload is: see Kind
    length   uint16    of the payload, bytes
    session  uint64    when the sender started, ns; one that restarted has a greater one
    to       uint64    the receiver's session that this is meant for; 0 = any
    sequence uint32    counts the packets of this kind in this session, from 1
    stamp    float64   when the content was made, s, on the sender's monotonic clock
    ...      payload
    crc      uint32    CRC-32 (as of zlib) of all bytes before it

Whoever receives something that is not exactly this drops it: :func:`decode` returns None. Units are those of
:class:`~legged_gym_ext.deploy.runtime.RobotState` and ``JointCommand``; n is the number of joints.
"""

from __future__ import annotations

import json
import math
import struct
import zlib
from collections import defaultdict
from dataclasses import asdict, dataclass
from enum import IntEnum

import numpy as np

from legged_gym_ext.deploy.hardware.driver import Camera, RobotDescription
from legged_gym_ext.deploy.runtime import DepthSource, JointCommand, Mode, RobotState

MAGIC = b"LGXR"
VERSION = 1
CHUNK = 1024
"""Bytes of a depth image that go into a packet, so that it fits into one Ethernet frame."""
LARGEST_IMAGE = 2**22
"""Bytes that an image may have: what a header says is believed up to here."""

_HEADER = struct.Struct("<4sBBHQQId")
_CRC = struct.Struct("<I")
_STATE = struct.Struct("<BB2x")  # 1 = it follows no commands; n; then 2 n + 9 float32; then why, UTF-8
_COMMAND = struct.Struct("<BB2x")  # 1 = targets, 0 = damping; n; then 3 n float32
_CHUNK = struct.Struct("<IHHHH")  # frame, chunk, chunks, width, height; then bytes of uint16
_BODY = 9
"""Numbers of a state that are not the joints': angular velocity, linear velocity, gravity."""


class Kind(IntEnum):
    """What is in a packet."""

    DESCRIPTION = 1
    """From the robot: its RobotDescription as JSON. About once a second, unasked."""
    STATE = 2
    """From the robot: fault uint8, n uint8, 2 unused bytes, then as float32 joint_pos n, joint_vel n, base_ang_vel 3,
    base_lin_vel 3, projected_gravity 3; then why it follows no commands, UTF-8."""
    DEPTH = 3
    """From the robot: frame uint32, chunk uint16, chunks uint16, width uint16, height uint16, then a part of the image,
    uint16, row-major from the top left. The header's stamp is when the image was taken."""
    COMMAND = 4
    """To the robot, for the session that described itself, so that a robot that restarts is not moved by what was meant
    for it before: mode uint8 (1 = targets, 0 = damping), n uint8, 2 unused bytes, then as float32 position n, stiffness
    n, damping n."""
    STOP = 5
    """To the robot, any session: damping, latched. No payload."""


@dataclass(frozen=True)
class Packet:
    """What :func:`decode` found."""

    kind: Kind
    session: int
    to: int
    sequence: int
    stamp: float
    payload: bytes


class Sender:
    """Makes packets of one session.

    Args:
        session: See the module; greater than that of any earlier one.
    """

    def __init__(self, session: int) -> None:
        self._session = session
        self._sequences: defaultdict[Kind, int] = defaultdict(int)

    @property
    def session(self) -> int:
        """The session whose packets these are."""
        return self._session

    def packet(self, kind: Kind, stamp: float, payload: bytes = b"", to: int = 0) -> bytes:
        """Return the next packet of its kind, for one session of the receiver or for any."""
        self._sequences[kind] += 1
        header = (MAGIC, VERSION, kind, len(payload), self._session, to, self._sequences[kind], stamp)
        content = _HEADER.pack(*header) + payload
        return content + _CRC.pack(zlib.crc32(content))


class Newest:
    """Lets the packets of one session through, and of each kind only those that are newer than all before.

    What the network has reordered or doubled is dropped, and so is what is left of a session that is over. The parts of
    an image may come in any order: :class:`DepthParts` sorts them.
    """

    def __init__(self) -> None:
        self.session = 0
        """The newest one; 0 before the first packet."""
        self._sequences: defaultdict[Kind, int] = defaultdict(int)

    def accept(self, packet: Packet) -> bool:
        """Return whether the packet is to be used. A newer session takes the place of the one before."""
        if packet.session < self.session:
            return False
        if packet.session > self.session:
            self.session = packet.session
            self._sequences.clear()
        if packet.kind is Kind.DEPTH:
            return True
        if packet.sequence <= self._sequences[packet.kind]:
            return False
        self._sequences[packet.kind] = packet.sequence
        return True


class ClockOffset:
    """Finds out how far two clocks are apart from packets that take a varying time: the quickest ones tell.

    The smallest difference of the last one to two windows counts, so that clocks may drift.

    Args:
        window: s. At a drift of 50 ppm ten seconds are half a millisecond.
    """

    def __init__(self, window: float = 10.0) -> None:
        self._window = window
        self._since = -math.inf
        self._recent = self._before = math.inf

    def translate(self, stamp: float, arrival: float) -> float:
        """Return when a packet was sent, on the receiver's clock; ``stamp`` is on the sender's."""
        if arrival - self._since > self._window:
            self._since, self._before, self._recent = arrival, self._recent, math.inf
        self._recent = min(self._recent, arrival - stamp)
        return stamp + min(self._recent, self._before)


def decode(data: bytes) -> Packet | None:
    """Return the packet; None if it is none, of another version, cut, or changed on the way."""
    if len(data) < _HEADER.size + _CRC.size:
        return None
    content = data[: -_CRC.size]
    if _CRC.unpack(data[-_CRC.size :])[0] != zlib.crc32(content):
        return None
    magic, version, kind, length, session, to, sequence, stamp = _HEADER.unpack_from(content)
    if magic != MAGIC or version != VERSION or length != len(content) - _HEADER.size:
        return None
    if kind not in Kind._value2member_map_ or not math.isfinite(stamp):
        return None
    return Packet(Kind(kind), session, to, sequence, stamp, content[_HEADER.size :])


def state_payload(state: RobotState, fault: str = "") -> bytes:
    """Return the payload of a STATE."""
    parts = (state.joint_pos, state.joint_vel, state.base_ang_vel, state.base_lin_vel, state.projected_gravity)
    numbers = np.concatenate(parts).astype("<f4")
    return _STATE.pack(bool(fault), len(state.joint_pos)) + numbers.tobytes() + fault.encode()


def read_state(payload: bytes, joints: int) -> tuple[RobotState, str] | None:
    """Return a state, and why the robot follows no commands; None if the payload is none for ``joints`` joints.

    Numbers that are not finite are passed on: who uses the state judges it.
    """
    end = _STATE.size + 4 * (2 * joints + _BODY)
    if len(payload) < end:
        return None
    faulty, count = _STATE.unpack_from(payload)
    if count != joints:
        return None
    numbers = np.frombuffer(payload[_STATE.size : end], "<f4").astype(np.float32)
    pos, vel, ang_vel, lin_vel, gravity = np.split(numbers, np.cumsum([joints, joints, 3, 3]))
    state = RobotState(pos, vel, base_ang_vel=ang_vel, base_lin_vel=lin_vel, projected_gravity=gravity, command=_none())
    fault = payload[end:].decode(errors="replace")
    return state, (fault or "no reason given") if faulty else ""


def command_payload(command: JointCommand) -> bytes:
    """Return the payload of a COMMAND."""
    numbers = np.concatenate([command.position, command.stiffness, command.damping]).astype("<f4")
    return _COMMAND.pack(command.mode is not Mode.DAMPING, len(command.position)) + numbers.tobytes()


def read_command(payload: bytes, joints: int) -> JointCommand | None:
    """Return a command; None if the payload is none for ``joints`` joints, or has a number that is not finite."""
    if len(payload) != _COMMAND.size + 4 * 3 * joints:
        return None
    mode, count = _COMMAND.unpack_from(payload)
    numbers = np.frombuffer(payload[_COMMAND.size :], "<f4").astype(np.float32).reshape(3, joints)
    if count != joints or mode > 1 or not np.isfinite(numbers).all():
        return None
    return JointCommand(*numbers, mode=Mode.POLICY if mode else Mode.DAMPING, reason="")


def depth_payloads(image: np.ndarray, frame: int) -> list[bytes]:
    """Return the payloads of an image's DEPTH packets.

    Args:
        image: (height, width), uint16.
        frame: Its number, which all of its parts have.
    """
    height, width = image.shape
    data = image.astype("<u2").tobytes()
    parts = [data[start : start + CHUNK] for start in range(0, len(data), CHUNK)]
    return [_CHUNK.pack(frame, index, len(parts), width, height) + part for index, part in enumerate(parts)]


class DepthParts:
    """Puts images together again. Only the newest one is waited for: an older one that lacks a part is given up."""

    def __init__(self) -> None:
        self._frame = -1
        self._parts: dict[int, bytes] = {}

    def add(self, payload: bytes) -> np.ndarray | None:
        """Take a DEPTH payload; return the image (height, width), uint16, that it completes, or None."""
        if len(payload) <= _CHUNK.size:
            return None
        frame, index, count, width, height = _CHUNK.unpack_from(payload)
        if frame < self._frame or index >= count or not 0 < 2 * width * height <= LARGEST_IMAGE:
            return None
        if frame > self._frame:
            self._frame, self._parts = frame, {}
        self._parts[index] = payload[_CHUNK.size :]
        if len(self._parts) < count:
            return None
        data = b"".join(self._parts[part] for part in sorted(self._parts))
        self._frame, self._parts = frame + 1, {}  # parts that come once more are too late
        if len(data) != 2 * width * height:
            return None
        return np.frombuffer(data, "<u2").reshape(height, width).astype(np.uint16)


def description_payload(description: RobotDescription) -> bytes:
    """Return the payload of a DESCRIPTION."""
    return json.dumps(asdict(description)).encode()


def read_description(payload: bytes) -> RobotDescription:
    """Return what the robot says of itself.

    Raises:
        ValueError: It says something else.
    """
    try:
        content = json.loads(payload)
        camera = content.pop("camera")
        if camera is not None:
            camera = Camera(
                source=DepthSource(**camera["source"]),
                period=float(camera["period"]),
                position=_numbers(camera["position"], 3),
                quat=_numbers(camera["quat"], 4),
            )
        names = tuple(str(name) for name in content.pop("joint_names"))
        limits = tuple(_numbers(pair, 2) for pair in content.pop("target_limits"))
        if len(limits) != len(names):
            raise ValueError(f"{len(names)} pairs of limits expected, got {len(limits)}")
        return RobotDescription(
            name=str(content.pop("name")),
            joint_names=names,
            target_limits=limits,
            torque_limits=_numbers(content.pop("torque_limits"), len(names)),
            stiffness_range=_numbers(content.pop("stiffness_range"), 2),
            damping_range=_numbers(content.pop("damping_range"), 2),
            camera=camera,
            **{name: float(value) for name, value in content.items()},
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{type(error).__name__}: {error}") from None


def _numbers(values: list[float], count: int) -> tuple[float, ...]:
    if len(values) != count:
        raise ValueError(f"{count} numbers expected, got {len(values)}")
    return tuple(float(value) for value in values)


def _none() -> np.ndarray:
    return np.zeros(4, np.float32)

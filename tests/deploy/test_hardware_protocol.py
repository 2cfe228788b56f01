"""Packets: their layout, and that nothing else than a whole and new one is ever used."""

from __future__ import annotations

import json
import struct
import zlib
from dataclasses import replace
from itertools import pairwise

import hardware_rig
import numpy as np
import pytest

from legged_gym_ext.deploy.hardware import protocol
from legged_gym_ext.deploy.hardware.loopback import robot_for
from legged_gym_ext.deploy.hardware.protocol import ClockOffset, DepthParts, Kind, Newest, Sender, decode
from legged_gym_ext.deploy.runtime import JointCommand, Mode, RobotState

RNG = np.random.default_rng(3)


def random_state(joints: int) -> RobotState:
    return RobotState(*(RNG.standard_normal(size).astype(np.float32) for size in (joints, joints, 3, 3, 3, 4)))


def random_command(joints: int, mode: Mode = Mode.POLICY) -> JointCommand:
    return JointCommand(*RNG.standard_normal((3, joints)).astype(np.float32), mode=mode, reason="")


def test_a_command_packet_has_the_documented_bytes() -> None:
    command = random_command(3)
    sender = Sender(session=2**40 + 5)
    sender.packet(Kind.COMMAND, 0.0)
    data = sender.packet(Kind.COMMAND, 12.5, protocol.command_payload(command), to=2**50 + 7)

    magic, version, kind, length, session, to, sequence, stamp = struct.unpack_from("<4sBBHQQId", data)
    assert (magic, version, kind, session, to, sequence, stamp) == (b"LGXR", 1, 4, 2**40 + 5, 2**50 + 7, 2, 12.5)
    assert length == len(data) - 36 - 4 == 4 + 4 * 9
    assert struct.unpack_from("<BBH", data, 36) == (1, 3, 0)
    wanted = [*command.position, *command.stiffness, *command.damping]
    assert struct.unpack_from("<9f", data, 40) == pytest.approx(wanted)
    assert struct.unpack_from("<I", data, len(data) - 4)[0] == zlib.crc32(data[:-4])


def test_a_state_packet_has_the_documented_bytes() -> None:
    state = random_state(2)
    payload = protocol.state_payload(state, "too hot")
    parts = (state.joint_pos, state.joint_vel, state.base_ang_vel, state.base_lin_vel, state.projected_gravity)
    assert struct.unpack_from("<BBH", payload) == (1, 2, 0)
    assert struct.unpack_from("<13f", payload, 4) == pytest.approx(np.concatenate(parts).tolist())
    assert payload[56:] == b"too hot"
    assert protocol.state_payload(state)[0] == 0


@pytest.mark.parametrize("fault", ["", "no command for 0.1 s"])
def test_states_come_back(fault: str) -> None:
    state = random_state(10)
    result = protocol.read_state(protocol.state_payload(state, fault), 10)
    assert result is not None
    for name in ("joint_pos", "joint_vel", "base_ang_vel", "base_lin_vel", "projected_gravity"):
        np.testing.assert_array_equal(getattr(result[0], name), getattr(state, name))
    assert result[1] == fault
    assert protocol.read_state(protocol.state_payload(state), 9) is None
    assert protocol.read_state(protocol.state_payload(state)[:-1], 10) is None


@pytest.mark.parametrize("mode", list(Mode))
def test_commands_come_back(mode: Mode) -> None:
    command = random_command(10, mode)
    result = protocol.read_command(protocol.command_payload(command), 10)
    assert result is not None and result.mode is mode
    np.testing.assert_array_equal(
        [result.position, result.stiffness, result.damping], [command.position, command.stiffness, command.damping]
    )
    assert protocol.read_command(protocol.command_payload(command), 9) is None
    assert protocol.read_command(protocol.command_payload(command) + b"\0", 10) is None


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("what", ["position", "stiffness", "damping"])
def test_a_command_that_is_not_finite_is_none(what: str, value: float) -> None:
    command = random_command(4)
    getattr(command, what)[RNG.integers(4)] = value
    assert protocol.read_command(protocol.command_payload(command), 4) is None


def test_every_changed_bit_is_noticed() -> None:
    data = Sender(7).packet(Kind.COMMAND, 1.0, protocol.command_payload(random_command(10)))
    assert decode(data) is not None
    for bit in range(8 * len(data)):
        changed = bytearray(data)
        changed[bit // 8] ^= 1 << bit % 8
        assert decode(bytes(changed)) is None
    for size in range(len(data)):
        assert decode(data[:size]) is None
    assert decode(data + b"\0") is None


def test_a_right_checksum_does_not_make_a_packet() -> None:
    def sealed(*header: object, payload: bytes = b"") -> bytes:
        content = struct.pack("<4sBBHQQId", *header) + payload
        return content + struct.pack("<I", zlib.crc32(content))

    good = (b"LGXR", 1, 5, 0, 1, 0, 1, 0.0)
    assert decode(sealed(*good)) is not None
    for index, wrong in ((0, b"LGXS"), (1, 2), (2, 6), (2, 0), (3, 1), (7, float("nan")), (7, float("inf"))):
        assert decode(sealed(*(wrong if i == index else part for i, part in enumerate(good)))) is None
    assert decode(sealed(*good, payload=b"x")) is None
    for size in (0, 4, 39, 40, 200):
        assert decode(RNG.bytes(size)) is None


def test_only_newer_packets_get_through() -> None:
    """Whatever order a network makes of them: of each kind, sequences rise, and sessions never fall."""
    packets = []
    for session in (5, 9):
        sender = Sender(session)
        packets += [sender.packet(kind, 0.0) for _ in range(40) for kind in (Kind.STATE, Kind.COMMAND)]
    order = np.argsort(np.arange(160) + RNG.uniform(0, 30, 160))
    order = np.sort(np.concatenate([order, order[::3]]))  # some twice
    newest = Newest()
    through = [p for p in (decode(packets[index]) for index in order) if p is not None and newest.accept(p)]
    assert [p.session for p in through] == sorted(p.session for p in through)
    for session in (5, 9):
        for kind in (Kind.STATE, Kind.COMMAND):
            sequences = [p.sequence for p in through if (p.session, p.kind) == (session, kind)]
            assert len(sequences) > 10
            assert all(a < b for a, b in pairwise(sequences))


@pytest.mark.parametrize("drift", [1e-4, -1e-4])
def test_clocks_are_brought_together(drift: float) -> None:
    """With delays of up to 30 ms, of which some are short, and a clock that drifts by 100 ppm."""
    offset = ClockOffset(window=5.0)
    for index, sent in enumerate(np.arange(0.0, 60.0, 0.02)):
        stamp = 1000.0 + sent * (1 + drift)
        delay = 0.0 if index % 20 == 7 else RNG.uniform(0, 0.03)
        guess = offset.translate(stamp, sent + delay)
        assert sent - 0.003 <= guess <= sent + delay + 1e-9
        if index >= 7:  # the quickest one is known, also where a window has just begun
            assert guess == pytest.approx(sent, abs=0.003)


def test_images_come_back_in_any_order() -> None:
    parts = DepthParts()
    images = [RNG.integers(0, 2**16, (37, 61)).astype(np.uint16) for _ in range(3)]
    for number, image in enumerate(images):
        payloads = protocol.depth_payloads(image, number)
        assert len(payloads) == -(-2 * 37 * 61 // protocol.CHUNK) and max(map(len, payloads)) <= protocol.CHUNK + 12
        RNG.shuffle(payloads)
        results = [parts.add(payload) for payload in [*payloads[:3], *payloads, *payloads]]
        whole = [result for result in results if result is not None]
        assert len(whole) == 1
        np.testing.assert_array_equal(whole[0], image)


def test_parts_of_two_images_are_never_mixed() -> None:
    parts = DepthParts()
    first, second = (protocol.depth_payloads(np.full((40, 40), value, np.uint16), value) for value in (1, 2))
    for payload in [*first[:-1], *second[:1], first[-1]]:  # the last of the first one comes too late
        assert parts.add(payload) is None
    results = [parts.add(payload) for payload in second[1:]]
    np.testing.assert_array_equal(results[-1], np.full((40, 40), 2))


def test_a_part_that_lies_is_dropped() -> None:
    parts = DepthParts()
    for header in ((1, 0, 1, 0, 5), (1, 1, 1, 5, 5), (1, 0, 1, 60000, 60000), (1, 0, 1, 5, 5)):
        assert parts.add(struct.pack("<IHHHH", *header) + b"\0" * 49) is None
    assert parts.add(b"") is None
    assert parts.add(struct.pack("<IHHHH", 2, 0, 1, 5, 5) + b"\0" * 50) is not None


def test_a_robot_says_what_it_is() -> None:
    description = robot_for(hardware_rig.specification())
    assert protocol.read_description(protocol.description_payload(description)) == description
    blind = replace(description, camera=None)
    assert protocol.read_description(protocol.description_payload(blind)) == blind


@pytest.mark.parametrize(
    "change",
    [
        lambda content: content.pop("name"),
        lambda content: content.update(more=1),
        lambda content: content.update(torque_limits=[1.0]),
        lambda content: content["target_limits"].pop(),
        lambda content: content.update(target_limits=[[1.0]] * 10),
        lambda content: content.update(control_period="x"),
        lambda content: content["camera"].pop("source"),
    ],
)
def test_another_description_is_refused(change) -> None:
    content = json.loads(protocol.description_payload(robot_for(hardware_rig.specification())))
    change(content)
    with pytest.raises(ValueError):
        protocol.read_description(json.dumps(content).encode())
    for other in (b"", b"[]", b"3", b"{", b"\xff"):
        with pytest.raises(ValueError):
            protocol.read_description(other)

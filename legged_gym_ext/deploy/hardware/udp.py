"""A robot that speaks protocol.py over UDP, as the host sees it."""

from __future__ import annotations

import contextlib
import ipaddress
import socket
import threading
import time
from typing import Protocol

from legged_gym_ext.deploy.hardware.clock import Clock, MonotonicClock
from legged_gym_ext.deploy.hardware.driver import DepthFrame, Reading, RobotDescription
from legged_gym_ext.deploy.hardware.protocol import (
    ClockOffset,
    DepthParts,
    Kind,
    Newest,
    Packet,
    Sender,
    command_payload,
    decode,
    read_description,
    read_state,
)
from legged_gym_ext.deploy.runtime import JointCommand
from legged_gym_ext.errors import UserError

Address = tuple[str, int]

HOST: Address = ("127.0.0.1", 47810)
"""Where the host listens, unless told otherwise."""
ROBOT: Address = ("127.0.0.1", 47811)
"""Where the robot listens, unless told otherwise."""
STOPS = 3
"""How often a stop is sent at once, since packets get lost."""

_LARGEST = 65536  # bytes: no datagram has more
_BUFFER = 2**20  # bytes that the kernel may keep for us: seconds of states and images


class Transport(Protocol):
    """Takes packets to one peer and brings those from it."""

    def send(self, data: bytes) -> None:
        """Send a packet without waiting; it may get lost."""
        ...

    def receive(self) -> list[bytes]:
        """Return what has arrived since the last call, without waiting."""
        ...

    def close(self) -> None:
        """Let go of it."""
        ...


class UdpTransport:
    """A UDP socket of IPv4. What does not come from the peer's address is dropped.

    Args:
        here: Address and port to listen at.
        peer: Address and port of the other side.

    Raises:
        UserError: ``here`` cannot be listened at.
    """

    def __init__(self, here: Address, peer: Address) -> None:
        self._peer = peer
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)
            self._socket.setblocking(False)
            self._socket.bind(here)
        except OSError as error:
            self._socket.close()
            raise UserError(f"cannot listen at {name_of(here)}: {error.strerror}") from None

    @property
    def here(self) -> Address:
        """Where it listens; with the port that was chosen, where port 0 was asked for."""
        return self._socket.getsockname()

    def send(self, data: bytes) -> None:
        """Send a packet. A full buffer loses it, like any part of the network."""
        with contextlib.suppress(BlockingIOError):
            self._socket.sendto(data, self._peer)

    def receive(self) -> list[bytes]:
        """Return what has arrived since the last call."""
        packets = []
        while True:
            try:
                data, sender = self._socket.recvfrom(_LARGEST)
            except BlockingIOError:
                return packets
            if sender == self._peer:
                packets.append(data)

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()


class UdpDriver:
    """The :class:`~legged_gym_ext.deploy.hardware.driver.Driver` of a robot that speaks protocol.py.

    Until the first command it sends nothing: the robot says unasked what it is. A robot that restarts is another
    session, of which nothing is taken; its state gets old, and that ends the run.

    Args:
        transport: To the robot.
        within: s that it may take the robot to say what it is.
        clock: The host's.

    Raises:
        UserError: It said nothing, or something that is not a description.
    """

    def __init__(self, transport: Transport, *, within: float = 5.0, clock: Clock | None = None) -> None:
        self.dropped = 0
        """Packets that were none, too late, or of another session."""
        self._transport = transport
        self._clock = clock or MonotonicClock()
        self._sender = Sender(time.time_ns())
        self._lock = threading.Lock()  # of what stop() uses
        self._stopped = False
        self._newest = Newest()
        self._offset = ClockOffset()
        self._parts = DepthParts()
        self._description: RobotDescription | None = None
        self._reading: Reading | None = None
        self._frame: DepthFrame | None = None
        end = self._clock.now() + within
        while self._description is None:
            if self._clock.now() > end:
                raise UserError(f"no robot said what it is within {within:g} s: is it on, and sends to this address?")
            self._receive()
            self._clock.sleep_until(self._clock.now() + 0.01)

    @property
    def description(self) -> RobotDescription:
        """What the robot says of itself."""
        assert self._description is not None
        return self._description

    def read(self) -> Reading | None:
        """Return the newest state, also if it was returned before; None while there is none."""
        self._receive()
        return self._reading

    def read_depth(self) -> DepthFrame | None:
        """Return the newest frame; None if it was returned before, or there is none."""
        self._receive()
        frame, self._frame = self._frame, None
        return frame

    def write(self, command: JointCommand) -> None:
        """Send a command; after :meth:`stop`, another stop."""
        with self._lock:
            kind, payload = (Kind.STOP, b"") if self._stopped else (Kind.COMMAND, command_payload(command))
            to = 0 if self._stopped else self._newest.session
            self._transport.send(self._sender.packet(kind, self._clock.now(), payload, to))

    def stop(self) -> None:
        """Send stops at once, and nothing else from now on."""
        with self._lock:
            self._stopped = True
            for _ in range(STOPS):
                self._transport.send(self._sender.packet(Kind.STOP, self._clock.now()))

    def close(self) -> None:
        """Close the transport."""
        self._transport.close()

    def _receive(self) -> None:
        now = self._clock.now()
        for data in self._transport.receive():
            packet = decode(data)
            if packet is None or not self._wanted(packet):
                self.dropped += 1
                continue
            stamp = self._offset.translate(packet.stamp, now)
            if self._description is None:
                try:
                    self._description = read_description(packet.payload)
                except ValueError as error:
                    raise UserError(f"what the robot says of itself cannot be read: {error}") from None
            elif packet.kind is Kind.STATE:
                if (content := read_state(packet.payload, len(self._description.joint_names))) is not None:
                    self._reading = Reading(content[0], stamp, content[1])
            elif packet.kind is Kind.DEPTH and (image := self._parts.add(packet.payload)) is not None:
                self._frame = DepthFrame(image, stamp)

    def _wanted(self, packet: Packet) -> bool:
        if self._description is None:
            return packet.kind is Kind.DESCRIPTION and self._newest.accept(packet)
        return packet.session == self._newest.session and self._newest.accept(packet)


def read_address(text: str, what: str) -> Address:
    """Return address and port of "127.0.0.1:47810".

    Raises:
        UserError: It is something else.
    """
    host, _, port = text.rpartition(":")
    try:
        address = str(ipaddress.IPv4Address(host))
        number = int(port)
    except ValueError:
        address, number = "", 0
    if not 0 < number < 2**16:
        raise UserError(f"{what}: expected an IPv4 address and a port, such as {name_of(ROBOT)}, got '{text}'")
    return address, number


def name_of(address: Address) -> str:
    """Return an address as it is written."""
    return f"{address[0]}:{address[1]}"

"""What the control loop asks of a robot. Whoever has another robot writes one class for it: :class:`Driver`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from legged_gym_ext.deploy.runtime import DepthSource, JointCommand, RobotState


@dataclass(frozen=True)
class Camera:
    """The depth camera that a robot has."""

    source: DepthSource
    """Size and intrinsics of its images, pixels; planar depth."""
    period: float
    """Seconds from frame to frame."""
    position: tuple[float, ...]
    """Of its optical centre in the base frame, (3), m."""
    quat: tuple[float, ...]
    """Rotation (w, x, y, z) from the camera's body frame (x along the optical axis, z up) to the base."""


@dataclass(frozen=True)
class RobotDescription:
    """What a robot says of itself. It is compared with the policy's folder before anything is sent."""

    name: str
    joint_names: tuple[str, ...]
    """The order of every vector of joints that is read and written."""
    control_period: float
    """Seconds from command to command."""
    state_period: float
    """Seconds from state to state."""
    command_timeout: float
    """Seconds without a command after which the robot goes to damping by itself."""
    target_limits: tuple[tuple[float, ...], ...]
    """Lowest and highest target that each joint takes, (n, 2), rad."""
    torque_limits: tuple[float, ...]
    """N m, (n)."""
    stiffness_range: tuple[float, ...]
    """Lowest and highest gain that its motors take, N m/rad."""
    damping_range: tuple[float, ...]
    """The same of the damping, N m s/rad."""
    camera: Camera | None


@dataclass(frozen=True)
class Reading:
    """The newest state of a robot."""

    state: RobotState
    """As the policy takes it, joints in the order of ``joint_names``; its ``command`` is filled in by the loop."""
    stamp: float
    """When it was measured, s, on the clock of the host."""
    fault: str = ""
    """Why the robot follows no commands, in its own words; empty while it does."""


@dataclass(frozen=True)
class DepthFrame:
    """An image of the depth camera."""

    image: np.ndarray
    """Planar depth, (height, width): uint16 in the source's unit, or float metres."""
    stamp: float
    """When it was taken, s, on the clock of the host."""


class Driver(Protocol):
    """The connection to a robot. ``stop`` may be called from any thread, the others from the loop's only.

    No method may wait: the loop has its own deadlines.
    """

    @property
    def description(self) -> RobotDescription:
        """What the robot says of itself."""
        ...

    def read(self) -> Reading | None:
        """Return the newest state, also if it was returned before; None while there is none."""
        ...

    def read_depth(self) -> DepthFrame | None:
        """Return the newest frame; None if it was returned before, or there is none."""
        ...

    def write(self, command: JointCommand) -> None:
        """Send a command. After :meth:`stop`, whatever the command says, damping is sent."""
        ...

    def stop(self) -> None:
        """Stop in an emergency: send damping at once. Latched: nothing else leaves this driver from now on."""
        ...

    def close(self) -> None:
        """Let go of the connection. What the robot does then is up to its own watchdog."""
        ...

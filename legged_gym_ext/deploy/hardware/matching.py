"""Whether a policy and a robot go together, and the policy's numbers in the robot's order of joints."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from legged_gym_ext.deploy.hardware.driver import RobotDescription
from legged_gym_ext.errors import UserError, unknown

SAME_RATE = 0.01
"""Share by which two periods may differ and still be the same."""
MOUNT_DISTANCE = 0.03
"""By which a camera may be mounted elsewhere than the trained one, m. Training varies it by 1 cm along each axis."""
MOUNT_ANGLE = math.radians(3.0)
"""By which it may be turned against the trained one. Training varies each angle by 1 degree."""
LOST_COMMANDS = 2
"""Commands in a row that may be lost before a robot stops by itself."""


@dataclass(frozen=True)
class Plan:
    """What the loop needs of a policy, joints in the robot's order, each (n,)."""

    joint_names: tuple[str, ...]
    period: float
    """s from command to command."""
    default_joint_pos: np.ndarray
    """rad; where the ramp ends."""
    stiffness: np.ndarray
    """N m/rad."""
    damping: np.ndarray
    """N m s/rad."""
    measurable: tuple[np.ndarray, np.ndarray]
    """Lowest and highest angle that a joint can have by the URDF, rad."""
    ramp_range: tuple[np.ndarray, np.ndarray]
    """Lowest and highest target on the way to the default pose, rad."""
    target_range: tuple[np.ndarray, np.ndarray]
    """The same while the policy acts: what it did in its training's own environment, with a margin."""
    target_rate: np.ndarray
    """rad/s."""
    command_range: tuple[np.ndarray, np.ndarray]
    """Of the user's command as the policy sees it, (4,)."""
    camera_period: float
    """s from image to image in training."""


def match(specification: Mapping[str, Any], robot: RobotDescription) -> Plan:
    """Hold the content of a ``policy.yaml`` against what a robot says of itself.

    Raises:
        UserError: They do not go together: joints, rate, limits, gains or camera.
    """
    spec, control = specification["robot"], specification["control"]
    names: list[str] = spec["joint_names"]
    _same_joints(names, robot)
    order = [names.index(name) for name in robot.joint_names]

    def column(values: Iterable[Any]) -> np.ndarray:
        return np.asarray(list(values), dtype=float)[order]

    plan = Plan(
        joint_names=robot.joint_names,
        period=float(control["period"]),
        default_joint_pos=column(spec["default_joint_pos"]),
        stiffness=column(spec["joint_stiffness"]),
        damping=column(spec["joint_damping"]),
        measurable=_low_high(column(spec["joint_pos_limits"])),
        ramp_range=_low_high(np.array(robot.target_limits, dtype=float)),
        target_range=_low_high(column(specification["safety"]["target_range"])),
        target_rate=column(specification["safety"]["target_rate"]),
        command_range=_low_high(np.array(specification["commands"]["ranges"], dtype=float)),
        camera_period=float(specification["camera"]["period"]),
    )
    _same_rate(plan.period, robot)
    _within_limits(plan, column(spec["torque_limits"]), robot)
    _same_camera(specification["camera"], robot)
    return plan


def _same_joints(names: list[str], robot: RobotDescription) -> None:
    for name in names:
        if name not in robot.joint_names:
            raise unknown(f"joint of the policy on robot '{robot.name}':", name, robot.joint_names)
    for name in robot.joint_names:
        if name not in names:
            raise unknown(f"joint of robot '{robot.name}' to the policy:", name, names)
    if len(robot.joint_names) != len(names):
        raise UserError(f"robot '{robot.name}' names a joint twice: {', '.join(robot.joint_names)}")


def _same_rate(period: float, robot: RobotDescription) -> None:
    if abs(robot.control_period - period) > SAME_RATE * period:
        raise UserError(
            f"robot '{robot.name}' takes a command every {robot.control_period:g} s; "
            f"the policy was trained at {period:g} s"
        )
    if robot.state_period > period * (1 + SAME_RATE):
        raise UserError(
            f"robot '{robot.name}' sends a state every {robot.state_period:g} s; "
            f"the policy needs one every {period:g} s or sooner"
        )
    if robot.command_timeout < (LOST_COMMANDS + 1) * period:
        raise UserError(
            f"robot '{robot.name}' stops after {robot.command_timeout:g} s without a command; "
            f"{(LOST_COMMANDS + 1) * period:g} s or more are needed, so that {LOST_COMMANDS} may be lost"
        )


def _within_limits(plan: Plan, torque_limits: np.ndarray, robot: RobotDescription) -> None:
    """The robot must be able to do all that the policy did: a target that is cut off is another policy."""
    low, high = plan.ramp_range
    rows = zip(
        plan.joint_names, *plan.target_range, low, high, torque_limits, robot.torque_limits, plan.default_joint_pos,
        strict=True,
    )  # fmt: skip
    for name, lowest, highest, allowed_low, allowed_high, trained, torque, pose in rows:
        if not (allowed_low <= min(lowest, pose) and max(highest, pose) <= allowed_high):
            raise UserError(
                f"{name}: the policy's targets and default pose are within {min(lowest, pose):g} .. "
                f"{max(highest, pose):g} rad; robot '{robot.name}' allows {allowed_low:g} .. {allowed_high:g}"
            )
        if torque < trained:
            raise UserError(
                f"{name}: robot '{robot.name}' has {torque:g} N m; the policy was trained with {trained:g} or more"
            )
    for what, unit, gains, (least, most) in (
        ("stiffness", "N m/rad", plan.stiffness, robot.stiffness_range),
        ("damping", "N m s/rad", plan.damping, robot.damping_range),
    ):
        for name, gain in zip(plan.joint_names, gains, strict=True):
            if not least <= gain <= most:
                raise UserError(
                    f"{name}: the policy has a {what} of {gain:g} {unit}; "
                    f"robot '{robot.name}' allows {least:g} .. {most:g}"
                )


def _same_camera(trained: Mapping[str, Any], robot: RobotDescription) -> None:
    """Rate and mount; whether it sees enough is the runtime's to say."""
    camera = robot.camera
    if camera is None:
        raise UserError(f"robot '{robot.name}' has no depth camera; the policy needs one")
    if camera.period > trained["period"] * (1 + SAME_RATE):
        raise UserError(
            f"robot '{robot.name}' takes a depth image every {camera.period:g} s; "
            f"the policy needs one every {trained['period']:g} s or sooner"
        )
    away = math.dist(camera.position, trained["position"])
    if away > MOUNT_DISTANCE:
        raise UserError(
            f"the camera of robot '{robot.name}' is {away:.3f} m from where the policy's was "
            f"({', '.join(f'{x:g}' for x in trained['position'])}); {MOUNT_DISTANCE:g} m are allowed"
        )
    angle = _angle(camera.quat, trained["quat"])
    if angle > MOUNT_ANGLE:
        raise UserError(
            f"the camera of robot '{robot.name}' is turned by {math.degrees(angle):.1f} degrees against the policy's; "
            f"{math.degrees(MOUNT_ANGLE):.1f} are allowed"
        )


def _angle(first: Iterable[float], second: Iterable[float]) -> float:
    """Return the angle between two rotations, rad."""
    a, b = np.array(list(first)), np.array(list(second))
    cosine = abs(a @ b) / (np.linalg.norm(a) * np.linalg.norm(b))
    return 2 * math.acos(min(1.0, float(cosine)))


def _low_high(ranges: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the columns of (n, 2)."""
    return ranges[:, 0].copy(), ranges[:, 1].copy()

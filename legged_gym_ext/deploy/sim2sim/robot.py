"""What a policy's folder says of the robot that it is for, read for a simulation."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from legged_gym_ext.errors import UserError, unknown
from legged_gym_ext.urdf import parse_urdf


@dataclass(frozen=True)
class Robot:
    """A robot. Arrays are in the order of ``joints``."""

    urdf: Path
    joints: tuple[str, ...]
    """In the order in which the URDF has them, as if its drives were numbered so: the policy's order is its own."""
    feet: tuple[str, ...]
    default_joint_pos: np.ndarray
    """(J,), rad."""
    joint_stiffness: np.ndarray
    """(J,), N m/rad."""
    joint_damping: np.ndarray
    """(J,), N m s/rad."""
    joint_pos_limits: np.ndarray
    """(J, 2), rad."""
    joint_vel_limits: np.ndarray
    """(J,), rad/s."""
    torque_limits: np.ndarray
    """(J,), N m."""
    armature: float
    """kg m^2."""
    base_height: float
    """Of the base over level ground in the default pose, m."""
    control_period: float
    """s."""
    camera_position: np.ndarray
    """In the base frame, (3,), m."""
    camera_quat: np.ndarray
    """Camera body (x along the optical axis, z up) to base, (4,)."""


def read_robot(folder: Path, specification: dict[str, Any]) -> Robot:
    """Return the robot of a folder.

    Raises:
        UserError: The URDF is missing or has not the joints and links that policy.yaml names.
    """
    robot, camera = specification["robot"], specification["camera"]
    spec = parse_urdf(folder / robot["urdf"])
    found = [joint.name for joint in spec.joints]
    names = list(robot["joint_names"])
    for name in names:
        if name not in found:
            raise unknown(f"joint in robot.joint_names ({robot['urdf']})", name, found)
    if others := [name for name in found if name not in names]:
        raise UserError(f"{robot['urdf']}: joints that policy.yaml does not name: {', '.join(others)}")
    links = [body.name for body in spec.bodies]
    for name in robot["feet"]:
        if name not in links:
            raise unknown(f"link in robot.feet ({robot['urdf']})", name, links)
    order = [names.index(name) for name in found]

    def values(key: str) -> np.ndarray:
        return np.array(robot[key], dtype=np.float64)[order]

    return Robot(
        urdf=folder / robot["urdf"],
        joints=tuple(found),
        feet=tuple(robot["feet"]),
        **{
            key: values(key)
            for key in (
                "default_joint_pos",
                "joint_stiffness",
                "joint_damping",
                "joint_pos_limits",
                "joint_vel_limits",
                "torque_limits",
            )
        },
        armature=float(robot["armature"]),
        base_height=float(robot["base_height"]),
        control_period=float(specification["control"]["period"]),
        camera_position=np.array(camera["position"], dtype=np.float64),
        camera_quat=np.array(camera["quat"], dtype=np.float64),
    )

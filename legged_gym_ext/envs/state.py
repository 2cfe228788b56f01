"""Every tensor of the environment that changes during a step, in one value that can be copied and put back."""

from __future__ import annotations

from dataclasses import dataclass, fields, is_dataclass
from typing import Any

import torch
from torch import Tensor

from legged_gym_ext.robot import NUM_FEET, NUM_JOINTS
from legged_gym_ext.sensors.depth_camera import CameraState

CONTACT_FORCE = 1.0
"""N: what feels more touches something (legged_gym)."""


@dataclass
class EnvState:
    """The environment's own state; the physics engine keeps its own (see simulators/base.py)."""

    # Episode
    episode_length: Tensor
    """Control steps since the reset, (num_envs,), int64."""
    terrain_kind: Tensor
    """Obstacle kind of the environment, (num_envs,), int64."""
    terrain_level: Tensor
    """Curriculum level, (num_envs,), int64."""
    tile: Tensor
    """Tile of the library on which the robot is, (num_envs,), int64."""
    waypoint: Tensor
    """Index of the next waypoint; the number of waypoints once all are reached, (num_envs,), int64."""
    progress: Tensor
    """Furthest that the base has come along the course in this episode, (num_envs,), m."""
    # Commands and actions
    forward_speed: Tensor
    """Commanded speed toward the waypoint, (num_envs,), m/s."""
    commands: Tensor
    """Forward speed (m/s), lateral speed (m/s), yaw rate (rad/s), heading error (rad), (num_envs, 4)."""
    actions: Tensor
    """Newest actions first, (longest latency + 2, num_envs, 10)."""
    action_latency: Tensor
    """Control steps by which actions take effect late, (num_envs,), int64."""
    # Feet and joints
    last_joint_vel: Tensor
    """Joint velocities one control step ago, (num_envs, 10), rad/s."""
    contact: Tensor
    """Whether each foot touches, (num_envs, 2), bool."""
    contact_time: Tensor
    """For how long each foot has touched; 0 in the air, (num_envs, 2), s."""
    air_time: Tensor
    """For how long each foot has been in the air; 0 on the ground, (num_envs, 2), s."""
    # Sensors
    camera: CameraState

    @staticmethod
    def zeros(num_envs: int, max_latency: int, camera: CameraState, device: torch.device) -> EnvState:
        """Allocate the state."""

        def new(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
            return torch.zeros(*shape, dtype=dtype, device=device)

        n, integer = num_envs, torch.int64
        return EnvState(
            episode_length=new(n, dtype=integer),
            terrain_kind=new(n, dtype=integer),
            terrain_level=new(n, dtype=integer),
            tile=new(n, dtype=integer),
            waypoint=new(n, dtype=integer),
            progress=new(n),
            forward_speed=new(n),
            commands=new(n, 4),
            actions=new(max_latency + 2, n, NUM_JOINTS),
            action_latency=new(n, dtype=integer),
            last_joint_vel=new(n, NUM_JOINTS),
            contact=new(n, NUM_FEET, dtype=torch.bool),
            contact_time=new(n, NUM_FEET),
            air_time=new(n, NUM_FEET),
            camera=camera,
        )


def copy_tensors(state: Any) -> dict[str, Any]:
    """Return copies of a (nested) dataclass's tensors, as (nested) dictionaries by field name."""
    result = {}
    for field in fields(state):
        value = getattr(state, field.name)
        result[field.name] = copy_tensors(value) if is_dataclass(value) else value.clone()
    return result


def put_tensors(state: Any, copies: dict[str, Any]) -> None:
    """Write what ``copy_tensors`` returned back into the dataclass's tensors, in place."""
    for field in fields(state):
        value = getattr(state, field.name)
        if is_dataclass(value):
            put_tensors(value, copies[field.name])
        else:
            value.copy_(copies[field.name])

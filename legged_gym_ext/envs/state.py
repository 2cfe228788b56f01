"""Every tensor of the environment that changes from step to step, in one value that can be copied and put back."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, is_dataclass
from enum import Enum
from typing import Any, NamedTuple

import torch
from torch import Tensor

from legged_gym_ext.device.masked import assign
from legged_gym_ext.robot import NUM_FEET, NUM_JOINTS
from legged_gym_ext.sensors.depth_camera import CameraState

CONTACT_FORCE = 1.0
"""N: what feels more touches something (legged_gym)."""


class OnReset(Enum):
    """What a new episode does to a tensor of the state."""

    ZERO = "zero"
    GIVEN = "given"  # what the reset draws or decides
    KEPT = "kept"


class _Declaration(NamedTuple):
    """One row of the state."""

    shape: tuple[int, ...]
    """After num_envs."""
    dtype: torch.dtype
    on_reset: OnReset
    history: bool
    """Whether a dimension of past steps comes before num_envs."""


def _declare(
    *shape: int, dtype: torch.dtype = torch.float32, on_reset: OnReset = OnReset.ZERO, history: bool = False
) -> Any:
    return field(metadata={"declaration": _Declaration(shape, dtype, on_reset, history)})


@dataclass
class EnvState:
    """The environment's own state; the physics engine keeps its own (see simulators/base.py)."""

    camera: CameraState
    """The camera resets its own (see sensors/depth_camera.py)."""
    # Episode
    episode_length: Tensor = _declare(dtype=torch.int64)
    """Control steps since the reset, (num_envs,), int64."""
    terrain_kind: Tensor = _declare(dtype=torch.int64, on_reset=OnReset.GIVEN)
    """Obstacle kind of the environment, (num_envs,), int64."""
    terrain_level: Tensor = _declare(dtype=torch.int64, on_reset=OnReset.GIVEN)
    """Curriculum level, (num_envs,), int64."""
    waypoint: Tensor = _declare(dtype=torch.int64)
    """Index of the next waypoint; the number of waypoints once all are reached, (num_envs,), int64."""
    progress: Tensor = _declare()
    """Furthest that the base has come along the course in this episode, (num_envs,), m."""
    milestone: Tensor = _declare()
    """Progress when it last grew noticeably, (num_envs,), m."""
    stalled_time: Tensor = _declare()
    """For how long it has not, (num_envs,), s; both are followed only where robots can be stuck (stuck_time > 0)."""
    # Commands and actions
    forward_speed: Tensor = _declare(on_reset=OnReset.GIVEN)
    """Commanded speed toward the waypoint, (num_envs,), m/s."""
    actions: Tensor = _declare(NUM_JOINTS, history=True)
    """Newest actions first, (longest latency + 2, num_envs, 10)."""
    action_latency: Tensor = _declare(dtype=torch.int64, on_reset=OnReset.GIVEN)
    """Control steps by which actions take effect late, (num_envs,), int64."""
    # Feet and joints
    last_joint_vel: Tensor = _declare(NUM_JOINTS)
    """Joint velocities one control step ago, (num_envs, 10), rad/s."""
    contact: Tensor = _declare(NUM_FEET, dtype=torch.bool)
    """Whether each foot touches, (num_envs, 2), bool."""
    contact_time: Tensor = _declare(NUM_FEET)
    """For how long each foot has touched; 0 in the air, (num_envs, 2), s."""
    air_time: Tensor = _declare(NUM_FEET)
    """For how long each foot has been in the air; 0 on the ground, (num_envs, 2), s."""

    @staticmethod
    def zeros(num_envs: int, history: int, camera: CameraState, device: torch.device) -> EnvState:
        """Allocate the state, with the last ``history`` actions."""
        tensors = {
            name: torch.zeros(*([history] if row.history else []), num_envs, *row.shape, dtype=row.dtype, device=device)
            for name, row in _ROWS.items()
        }
        return EnvState(**tensors, camera=camera)

    def reset(self, mask: Tensor, **given: Tensor) -> None:
        """Begin new episodes where ``mask`` (num_envs,) bool, in place.

        Args:
            mask: Which environments.
            given: The new values (num_envs, ...) of every tensor that is declared ``GIVEN``.
        """
        assert given.keys() == _GIVEN
        for name, values in given.items():
            assign(mask, getattr(self, name), values)
        for name, row in _ROWS.items():
            if row.on_reset is OnReset.ZERO:
                getattr(self, name).masked_fill_(mask.view(-1, *[1] * len(row.shape)), 0)


_ROWS: dict[str, _Declaration] = {
    item.name: item.metadata["declaration"] for item in fields(EnvState) if "declaration" in item.metadata
}
_GIVEN = {name for name, row in _ROWS.items() if row.on_reset is OnReset.GIVEN}


def copy_tensors(state: Any) -> dict[str, Any]:
    """Return copies of a (nested) dataclass's tensors, as (nested) dictionaries by field name."""
    result = {}
    for item in fields(state):
        value = getattr(state, item.name)
        result[item.name] = copy_tensors(value) if is_dataclass(value) else value.clone()
    return result


def put_tensors(state: Any, copies: dict[str, Any]) -> None:
    """Write what ``copy_tensors`` returned back into the dataclass's tensors, in place.

    A tensor that the copies lack, since they are of an older version, is zero.
    """
    for item in fields(state):
        value = getattr(state, item.name)
        if is_dataclass(value):
            put_tensors(value, copies[item.name])
        elif item.name in copies:
            value.copy_(copies[item.name])
        else:
            value.zero_()

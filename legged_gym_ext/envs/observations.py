"""What the policies see: the groups of the observation, each a function of the environment."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from legged_gym_ext.errors import UserError, unknown
from legged_gym_ext.robot import NUM_JOINTS

if TYPE_CHECKING:
    from legged_gym_ext.config.schema import NoiseConfig
    from legged_gym_ext.envs.parkour_env import ParkourEnv

# legged_gym's scales.
LIN_VEL_SCALE = 2.0
ANG_VEL_SCALE = 0.25
JOINT_POS_SCALE = 1.0
JOINT_VEL_SCALE = 0.05
COMMAND_SCALE = (LIN_VEL_SCALE, LIN_VEL_SCALE, ANG_VEL_SCALE, 1.0)
_FORCE_SCALE = 2e-3  # brings the weight on one foot to about one

PROPRIO_DIM = 3 + 3 + 3 + len(COMMAND_SCALE) + 3 * NUM_JOINTS


def proprioception(env: ParkourEnv) -> Tensor:
    """Return (num_envs, 43): base linear and angular velocity, gravity, commands, joint pos. and vel., last action."""
    return torch.cat(
        [
            env.base_lin_vel * LIN_VEL_SCALE,
            env.base_ang_vel * ANG_VEL_SCALE,
            env.projected_gravity,
            env.state.commands * env.command_scale,
            (env.sim_state.joint_pos - env.default_joint_pos) * JOINT_POS_SCALE,
            env.sim_state.joint_vel * JOINT_VEL_SCALE,
            env.state.actions[0],
        ],
        dim=1,
    )


def noise_amplitudes(config: NoiseConfig) -> Tensor:
    """Return the largest noise on each number of the proprioception, (43,); zeros where noise is off."""
    parts = [
        *[config.lin_vel * LIN_VEL_SCALE] * 3,
        *[config.ang_vel * ANG_VEL_SCALE] * 3,
        *[config.gravity] * 3,
        *[0.0] * len(COMMAND_SCALE),
        *[config.joint_pos * JOINT_POS_SCALE] * NUM_JOINTS,
        *[config.joint_vel * JOINT_VEL_SCALE] * NUM_JOINTS,
        *[0.0] * NUM_JOINTS,
    ]
    return torch.tensor(parts) * float(config.enabled)


def privileged(env: ParkourEnv) -> Tensor:
    """Return what only the critic knows, (num_envs, P): true velocity, contacts, heights, gait clock, domain."""
    domain = env.domain
    return torch.cat(
        [
            env.base_lin_vel * LIN_VEL_SCALE,
            env.base_height[:, None].clamp(0, 2),
            env.foot_clearance.clamp(-0.5, 0.5) * 5,
            env.sim_state.foot_force.flatten(1) * _FORCE_SCALE,
            env.state.contact.float(),
            env.state.contact_time.clamp(max=1),
            env.state.air_time.clamp(max=1),
            gait_phase(env),
            domain.friction[:, None],
            domain.added_mass[:, None],
            domain.mass_offset * 10,
            domain.motor_strength,
            env.state.action_latency[:, None].float(),
        ],
        dim=1,
    )


def gait_phase(env: ParkourEnv) -> Tensor:
    """Return the gait clock of the left leg as sine and cosine, (num_envs, 2); the right leg is half a period later."""
    angle = 2 * math.pi * env.gait_phase[:, 0]
    return torch.stack([torch.sin(angle), torch.cos(angle)], dim=1)


class MirrorTable(NamedTuple):
    """How a group looks to the robot's mirror image in the x-z plane: ``group[:, columns] * signs``."""

    columns: Tensor
    """Which column takes each column's place, (size,), int64."""
    signs: Tensor
    """1 or -1, (size,)."""


_POLAR, _AXIAL, _SCALAR = (1, -1, 1), (-1, 1, -1), (1,)  # signs of velocities, of angular velocities, of the rest


def mirror_tables(env: ParkourEnv, device: torch.device | str) -> dict[str, MirrorTable]:
    """Return the table of every group of the observation but ``depth``, and of the ``actions``, on ``device``.

    Raises:
        UserError: The robot has no mirror symmetry.
    """
    if env.robot.mirror is None:
        raise UserError(f"ppo.symmetry: {env.robot.urdf.name} has joints without a mirror image in the x-z plane")
    partners, joint_signs = env.robot.mirror
    joints = (partners.tolist(), joint_signs.tolist())
    gains = (joints[0], [1] * NUM_JOINTS)  # values that belong to a joint and have no direction

    def own(*signs: int) -> tuple[list[int], list[int]]:
        return list(range(len(signs))), list(signs)

    swap = ([1, 0], [1, 1])  # one number for each foot
    foot_vectors = ([3, 4, 5, 0, 1, 2], [*_POLAR, *_POLAR])
    blocks = {
        "actions": [joints],
        "proprio": [own(*_POLAR), own(*_AXIAL), own(*_POLAR), own(1, -1, -1, -1), joints, joints, joints],
        "gait_phase": [own(-1, -1)],  # the legs are half a period apart
        "privileged": [
            *(own(*_POLAR), own(*_SCALAR), swap, foot_vectors, swap, swap, swap, own(-1, -1)),
            *(own(*_SCALAR), own(*_SCALAR), own(*_POLAR), gains, own(*_SCALAR)),
        ],
    }
    tables = {}
    for name, parts in blocks.items():
        columns, signs = [], []
        for part_columns, part_signs in parts:
            columns += [len(signs) + column for column in part_columns]
            signs += part_signs
        tables[name] = MirrorTable(
            torch.tensor(columns, device=device), torch.tensor(signs, dtype=torch.float32, device=device)
        )
    points = env.height_scan.grid
    rows, columns = env.config.height_scan.shape
    flipped = torch.arange(len(points), device=device).view(rows, columns).flip(1).flatten()
    tables["scan"] = MirrorTable(flipped, torch.ones(len(points), device=device))
    return tables


OTHERS: dict[str, Callable[[ParkourEnv], Tensor]] = {"gait_phase": gait_phase}
"""The "other observations" that a configuration can switch on for teacher and student, by name."""


def check_others(names: list[str]) -> None:
    """Raise a UserError where a name is none of ``OTHERS``."""
    for name in names:
        if name not in OTHERS:
            raise unknown("observation in observations.others", name, OTHERS)

"""What the policies see: one table. A row is a term: its name, size, value, scale, noise and mirror image.

A group of the observation is its terms side by side.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from legged_gym_ext.envs.mirror import (
    AXIAL,
    POLAR,
    SCALAR,
    MirrorRule,
    MirrorTable,
    joint_factors,
    joints,
    mirror_table,
    signs,
    swap_feet,
    swap_foot_vectors,
)
from legged_gym_ext.errors import unknown
from legged_gym_ext.groups import PRIVILEGED, PROPRIO, SCAN
from legged_gym_ext.robot import NUM_FEET, NUM_JOINTS, Robot

if TYPE_CHECKING:
    from legged_gym_ext.config.schema import NoiseConfig
    from legged_gym_ext.envs.parkour_env import ParkourEnv

# legged_gym's scales.
LIN_VEL_SCALE = 2.0
ANG_VEL_SCALE = 0.25
JOINT_VEL_SCALE = 0.05
COMMAND_SCALE = (LIN_VEL_SCALE, LIN_VEL_SCALE, ANG_VEL_SCALE, 1.0)


@dataclass(frozen=True)
class Sensor:
    """What a robot measures, or its computer knows, of a term: ``value`` is measured + offset."""

    unit: str
    meaning: str
    frame: str = ""
    """Of vectors."""
    offset: Callable[[Robot], Sequence[float]] | None = None
    """Of each number, (size,); None = zeros."""


@dataclass(frozen=True)
class Term:
    """One part of an observation."""

    name: str
    size: int
    value: Callable[[ParkourEnv], Tensor]
    """(num_envs, size), before scaling."""
    mirror: MirrorRule
    scale: float | Sequence[float] = 1.0
    """Factor on all numbers, or on each."""
    noise: str = ""
    """Key in ``observations.noise`` of the largest error of a number before scaling; empty: it is seen as it is."""
    sensor: Sensor | None = None
    """How a real robot comes by it; None = it cannot."""

    @property
    def scales(self) -> list[float]:
        """The factor of each number, (size,)."""
        return [self.scale] * self.size if isinstance(self.scale, (int, float)) else list(self.scale)


def joint_deviation(env: ParkourEnv) -> Tensor:
    """Return how far each joint is from the default pose, (num_envs, 10), rad."""
    return env.sim_state.joint_pos - env.default_joint_pos


def gait_clock(env: ParkourEnv) -> Tensor:
    """Return the gait clock of the left leg as sine and cosine, (num_envs, 2); the right leg is half a period later."""
    angle = 2 * math.pi * env.derived.gait_phase[:, 0]
    return torch.stack([torch.sin(angle), torch.cos(angle)], dim=1)


GAIT_PHASE = Term(
    "gait_phase",
    2,
    gait_clock,
    mirror=signs(-1, -1),  # the legs are half a period apart
    sensor=Sensor("1", "sine and cosine of 2 pi times the gait clock, which counts periods since the episode began"),
)

PROPRIO_TERMS = (
    Term(
        "base_lin_vel",
        3,
        lambda env: env.derived.base_lin_vel,
        POLAR,
        LIN_VEL_SCALE,
        noise="lin_vel",
        sensor=Sensor("m/s", "linear velocity of the base's origin: a state estimator's", "base"),
    ),
    Term(
        "base_ang_vel",
        3,
        lambda env: env.derived.base_ang_vel,
        AXIAL,
        ANG_VEL_SCALE,
        noise="ang_vel",
        sensor=Sensor("rad/s", "angular velocity of the base: the gyroscope's", "base"),
    ),
    Term(
        "projected_gravity",
        3,
        lambda env: env.derived.projected_gravity,
        POLAR,
        noise="gravity",
        sensor=Sensor("1", "unit vector of gravity, [0, 0, -1] where the base is upright", "base"),
    ),
    Term(
        "commands",
        4,
        lambda env: env.derived.commands,
        signs(1, -1, -1, -1),
        COMMAND_SCALE,
        sensor=Sensor(
            "m/s, m/s, rad/s, rad", "forward speed, lateral speed, yaw rate, heading error (target - heading)"
        ),
    ),
    Term(
        "joint_pos",
        NUM_JOINTS,
        joint_deviation,
        joints,
        noise="joint_pos",
        sensor=Sensor("rad", "angles of the joints", offset=lambda robot: (0.0 - robot.default_joint_pos).tolist()),
    ),
    Term(
        "joint_vel",
        NUM_JOINTS,
        lambda env: env.sim_state.joint_vel,
        joints,
        JOINT_VEL_SCALE,
        noise="joint_vel",
        sensor=Sensor("rad/s", "velocities of the joints"),
    ),
    Term(
        "actions",
        NUM_JOINTS,
        lambda env: env.state.actions[0],
        joints,
        sensor=Sensor("1", "what the policy returned as actions a control step ago; zeros when an episode begins"),
    ),
)
PROPRIO_DIM = sum(term.size for term in PROPRIO_TERMS)

PRIVILEGED_TERMS = (
    Term("base_lin_vel", 3, lambda env: env.derived.base_lin_vel, POLAR, LIN_VEL_SCALE),  # without noise
    Term("base_height", 1, lambda env: env.derived.base_height[:, None].clamp(0, 2), SCALAR),
    Term("foot_clearance", NUM_FEET, lambda env: env.derived.foot_clearance.clamp(-0.5, 0.5), swap_feet, 5.0),
    # The scale brings the weight on one foot to about one.
    Term("foot_force", 3 * NUM_FEET, lambda env: env.sim_state.foot_force.flatten(1), swap_foot_vectors, 2e-3),
    Term("contact", NUM_FEET, lambda env: env.state.contact.float(), swap_feet),
    Term("contact_time", NUM_FEET, lambda env: env.state.contact_time.clamp(max=1), swap_feet),
    Term("air_time", NUM_FEET, lambda env: env.state.air_time.clamp(max=1), swap_feet),
    GAIT_PHASE,
    Term("friction", 1, lambda env: env.simulator.parameters.friction[:, None], SCALAR),
    Term("added_mass", 1, lambda env: env.simulator.parameters.added_mass[:, None], SCALAR),
    Term("mass_offset", 3, lambda env: env.simulator.parameters.mass_offset, POLAR, 10.0),
    Term("motor_strength", NUM_JOINTS, lambda env: env.simulator.parameters.motor_strength, joint_factors),
    Term("action_latency", 1, lambda env: env.state.action_latency[:, None].float(), SCALAR),
)

OTHERS = {term.name: term for term in (GAIT_PHASE,)}
"""The "other observations" that a configuration can switch on for teacher and student, each a group of its name."""


class TermGroup:
    """A group of the observation: its terms side by side, scaled.

    Args:
        terms: The group's rows of the table.
        device: Of the observations.
    """

    def __init__(self, terms: Sequence[Term], device: torch.device) -> None:
        self.terms = terms
        self._scale = torch.tensor([scale for term in terms for scale in term.scales], device=device)

    def __call__(self, env: ParkourEnv) -> Tensor:
        """Return the group's numbers now, (num_envs, sum of the terms' sizes), a new tensor."""
        return torch.cat([term.value(env) for term in self.terms], dim=1) * self._scale


def term_groups(others: Sequence[str], device: torch.device) -> dict[str, TermGroup]:
    """Return the groups that consist of terms, by name: all but those of the camera and the height scan.

    Raises:
        UserError: One of ``others`` is not in ``OTHERS``.
    """
    for name in others:
        if name not in OTHERS:
            raise unknown("observation in observations.others", name, OTHERS)
    rows = {PROPRIO: PROPRIO_TERMS, **{name: (OTHERS[name],) for name in others}, PRIVILEGED: PRIVILEGED_TERMS}
    return {name: TermGroup(terms, device) for name, terms in rows.items()}


def noise_amplitudes(config: NoiseConfig) -> list[float]:
    """Return the largest noise on each number of the proprioception, (43,), scaled; zeros where noise is off."""
    return [
        getattr(config, term.noise) * scale if term.noise and config.enabled else 0.0
        for term in PROPRIO_TERMS
        for scale in term.scales
    ]


def mirror_tables(env: ParkourEnv, device: torch.device | str) -> dict[str, MirrorTable]:
    """Return the table of every group of the observation but ``depth``, and of the ``actions``, on ``device``.

    Raises:
        UserError: The robot has no mirror symmetry.
    """
    tables = {"actions": mirror_table([joints], env.robot, device)}
    for name, group in env.term_groups.items():
        tables[name] = mirror_table([term.mirror for term in group.terms], env.robot, device)
    columns = env.height_scan.mirrored_points.to(device)
    tables[SCAN] = MirrorTable(columns, torch.ones(len(columns), device=device))
    return tables

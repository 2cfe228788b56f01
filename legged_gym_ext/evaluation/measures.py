"""What is measured of an episode besides how it ends, from step to step."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from legged_gym_ext.simulators.base import GRAVITY

if TYPE_CHECKING:
    from legged_gym_ext.envs.parkour_env import ParkourEnv

MEASURES = (
    "waypoints",
    "edge_violations",
    "speed",
    "speed_error",
    "work",
    "weight",
    "foot_slip",
    "torque_peak",
)
"""Columns of what :meth:`Meter.add` returns; ``Episodes`` says what they are."""


class Meter:
    """Adds up what the environments' episodes are measured by; ``env.meter = Meter(env)`` before the first step.

    Edge violations are counted as extreme-parkour's evaluate.py does: feet that touch near an edge, in each step.
    Torques are those at the end of each control step.
    """

    def __init__(self, env: ParkourEnv) -> None:
        self._sums = torch.zeros(6, env.num_envs, device=env.device)
        self._peak = torch.zeros(env.num_envs, device=env.device)
        self._torque_limit = torch.as_tensor(env.robot.torque_limit, dtype=torch.float32, device=env.device)

    def add(self, env: ParkourEnv) -> Tensor:
        """Add a step of all environments; return the measures of the episodes so far, (num_envs, measures)."""
        state, sim = env.state, env.sim_state
        toward = (sim.root_lin_vel[:, :2] * env.derived.goal_direction).sum(dim=1)
        slip = sim.foot_vel[..., :2].norm(dim=-1) * state.contact
        power = (sim.joint_torque * sim.joint_vel).abs().sum(dim=1)
        step = [
            (env.derived.foot_near_edge & state.contact).sum(dim=1),
            toward,
            (toward - state.forward_speed).abs(),
            power * env.dt,
            slip.sum(dim=1),
            state.contact.sum(dim=1),
        ]
        begins = state.episode_length <= 1
        self._sums.masked_fill_(begins, 0.0).add_(torch.stack(step))
        peak = (sim.joint_torque.abs() / self._torque_limit).amax(dim=1)
        torch.maximum(self._peak.masked_fill_(begins, 0.0), peak, out=self._peak)

        edges, speed, error, work, slip, contacts = self._sums
        steps = state.episode_length
        columns = [
            state.waypoint / env.config.terrain.waypoints,
            edges / steps,
            speed / steps,
            error / steps,
            work,
            GRAVITY * (env.robot.mass + env.simulator.parameters.added_mass),
            slip / contacts.clamp(min=1),
            self._peak,
        ]
        return torch.stack(columns, dim=1)

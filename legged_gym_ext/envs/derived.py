"""What follows from the state: shared by terminations, rewards and observations, and true within one step only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from legged_gym_ext.envs.commands import offset_to_waypoint, velocity_commands
from legged_gym_ext.robot import NUM_FEET
from legged_gym_ext.rotations import matrix_from_quat
from legged_gym_ext.sensors.height_scan import ground_height

if TYPE_CHECKING:
    from legged_gym_ext.envs.parkour_env import ParkourEnv

_LEG_OFFSETS = (0.0, 0.5)  # of the gait clock, in periods: left, right


@dataclass
class Derived:
    """Read it within the step: on a GPU the step is a graph, which leaves Python's attributes as they were."""

    base_lin_vel: Tensor
    """Linear velocity in the base frame, (num_envs, 3), m/s."""
    base_ang_vel: Tensor
    """Angular velocity in the base frame, (num_envs, 3), rad/s."""
    projected_gravity: Tensor
    """Unit vector of gravity in the base frame, (num_envs, 3)."""
    base_height: Tensor
    """Of the base over the lowest ground under base and feet, (num_envs,), m."""
    foot_clearance: Tensor
    """Of each sole over the ground under it, (num_envs, 2), m."""
    foot_near_edge: Tensor
    """Whether the ground drops or rises close to each sole, (num_envs, 2), bool."""
    goal_direction: Tensor
    """Horizontal unit vector to the next waypoint, in the tile frame, (num_envs, 2)."""
    commands: Tensor
    """Forward speed (m/s), lateral speed (m/s), yaw rate (rad/s), heading error (rad), (num_envs, 4)."""
    gait_phase: Tensor
    """Gait clock of the left and the right leg, in periods, (num_envs, 2), in [0, 1)."""
    terminated: Tensor
    """Whether the robot failed in this step, which ends the episode, (num_envs,), bool; false until that is known."""


class Deriver:
    """Computes a :class:`Derived`; holds constants and work space only.

    Args:
        num_envs: Environments.
        edge_distance: How far about each sole the ground is looked at, m.
        device: Of the environment.
    """

    def __init__(self, num_envs: int, edge_distance: float, device: torch.device) -> None:
        reach = edge_distance
        probes = [[0, 0], [reach, 0], [-reach, 0], [0, reach], [0, -reach]]
        self._probes = torch.tensor(probes, dtype=torch.float32, device=device)
        self._leg_offsets = torch.tensor(_LEG_OFFSETS, device=device)
        self._points = torch.zeros(num_envs, 1 + NUM_FEET * len(self._probes), 2, device=device)
        self._nobody = torch.zeros(num_envs, dtype=torch.bool, device=device)

    def derive(self, env: ParkourEnv) -> Derived:
        """Compute all of it from the environment's and the simulator's state."""
        sim, config = env.sim_state, env.config
        rotation = matrix_from_quat(sim.root_quat)
        in_base = torch.stack([sim.root_lin_vel, sim.root_ang_vel], dim=1) @ rotation  # rows: R^T v
        base_lin_vel, base_ang_vel = in_base.unbind(dim=1)

        # One look at the ground: under the base, and under and about each sole.
        n, probes = env.num_envs, len(self._probes)
        self._points[:, 0] = sim.root_pos[:, :2]
        self._points[:, 1:].view(n, NUM_FEET, probes, 2).copy_(sim.foot_pos[:, :, None, :2] + self._probes)
        heights = torch.maximum(ground_height(env.boxes, self._points), env.floor[:, None])
        under_feet = heights[:, 1:].view(n, NUM_FEET, probes)
        edges = (under_feet[..., 1:] - under_feet[..., :1]).abs() > config.rewards.edge_height
        # Over the lowest of what is under base and feet: a foot on the next step does not make the base low.
        ground = torch.minimum(heights[:, 0], under_feet[..., 0].amin(dim=1))

        offset = offset_to_waypoint(env)
        time = env.state.episode_length[:, None] * (env.dt / config.rewards.gait_period)
        return Derived(
            base_lin_vel=base_lin_vel,
            base_ang_vel=base_ang_vel,
            projected_gravity=-rotation[:, 2],
            base_height=sim.root_pos[:, 2] - ground,
            foot_clearance=sim.foot_pos[..., 2] - under_feet[..., 0],
            foot_near_edge=edges.any(dim=-1),
            goal_direction=offset / offset.norm(dim=1, keepdim=True).clamp(min=1e-3),
            commands=velocity_commands(env, offset, rotation),
            gait_phase=(time + self._leg_offsets) % 1.0,
            terminated=self._nobody,
        )

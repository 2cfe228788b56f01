"""Velocity commands that lead the robot from waypoint to waypoint."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from legged_gym_ext.terrain.curriculum import share_of

if TYPE_CHECKING:
    from legged_gym_ext.config.schema import CommandsConfig
    from legged_gym_ext.envs.parkour_env import ParkourEnv


def forward_speed(config: CommandsConfig, level: Tensor, random: Tensor) -> Tensor:
    """Return the speeds (num_envs,), m/s, commanded in episodes at terrain levels (num_envs,).

    A beginner walks slowly, and who is to cross a gap must be quick: the range moves with the level.

    Args:
        config: The ranges at the beginning and in the end.
        level: Terrain levels.
        random: Uniform in [0, 1), (num_envs,).
    """
    start = config.start_speed if config.full_at_level > 0 else config.forward_speed
    share = share_of(level, config.full_at_level)
    low, high = (first + (last - first) * share for first, last in zip(start, config.forward_speed, strict=True))
    return low + (high - low) * random


def offset_to_waypoint(env: ParkourEnv) -> Tensor:
    """Return where the next waypoint is from the base, (num_envs, 2), m; the last one once all are reached."""
    last = env.config.terrain.waypoints - 1
    index = env.state.waypoint.clamp(max=last)[:, None, None].expand(-1, 1, 2)
    return env.waypoints[..., :2].gather(1, index)[:, 0] - env.sim_state.root_pos[:, :2]


def count_waypoints(env: ParkourEnv) -> None:
    """Go on to the next waypoint where one is reached: near enough, or behind."""
    offset = offset_to_waypoint(env)
    reached = (offset.norm(dim=1) < env.config.commands.waypoint_radius) | (offset[:, 0] < 0)
    env.state.waypoint.add_(reached).clamp_(max=env.config.terrain.waypoints)


def velocity_commands(env: ParkourEnv, offset: Tensor, rotation: Tensor) -> Tensor:
    """Return forward speed, lateral speed (m/s), yaw rate (rad/s) and heading error (rad), (num_envs, 4).

    Args:
        env: The environment.
        offset: From the base to the waypoint, (num_envs, 2), m.
        rotation: Base to world, (num_envs, 3, 3).
    """
    config, speed = env.config.commands, env.state.forward_speed
    forward = rotation[:, :2, 0]  # of the base, as seen from above
    aside = forward[:, 0] * offset[:, 1] - forward[:, 1] * offset[:, 0]
    error = torch.atan2(aside, (forward * offset).sum(dim=1))
    turn = (config.heading_gain * error).clamp(-config.max_yaw_rate, config.max_yaw_rate)
    return torch.stack([speed, torch.zeros_like(error), turn, error], dim=1)

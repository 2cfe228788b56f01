"""When an episode ends: because the robot failed, or because its time or its course is over."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from torch import Tensor

if TYPE_CHECKING:
    from legged_gym_ext.envs.parkour_env import ParkourEnv


def fallen(env: ParkourEnv) -> Tensor:
    """Return where the base is too low over the terrain or too tilted, or the physics broke down, (num_envs,) bool."""
    config = env.config.terminations
    low = env.derived.base_height < config.min_height
    upright = -env.derived.projected_gravity[:, 2]  # cosine of the tilt
    return low | (upright < math.cos(math.radians(config.max_tilt_degrees))) | env.sim_state.diverged


def out_of_bounds(env: ParkourEnv) -> Tensor:
    """Return where the base has left the tile to the side or to the back, (num_envs,) bool."""
    config, position = env.config.terminations, env.sim_state.root_pos
    aside = position[:, 1].abs() > env.config.terrain.width / 2 + config.lateral_margin
    return aside | (position[:, 0] < -config.behind)


def course_finished(env: ParkourEnv) -> Tensor:
    """Return where every waypoint has been reached, (num_envs,) bool."""
    return env.state.waypoint >= env.config.terrain.waypoints


def time_is_up(env: ParkourEnv) -> Tensor:
    """Return where the episode has lasted its time, (num_envs,) bool."""
    return env.state.episode_length >= env.max_episode_length


def check(env: ParkourEnv) -> tuple[Tensor, Tensor]:
    """Return (terminated, truncated), each (num_envs,) bool: a failure, and an end that the value is carried over."""
    terminated = fallen(env) | out_of_bounds(env)
    return terminated, (time_is_up(env) | course_finished(env)) & ~terminated

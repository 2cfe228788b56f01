"""When an episode ends: because the robot failed, or because its time or its course is over."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from legged_gym_ext.envs.outcome import Outcome

if TYPE_CHECKING:
    from legged_gym_ext.envs.parkour_env import ParkourEnv


_MISSTEP = 0.1  # m: a foot that is as far below the course as this has stepped into a gap or beside the course


def sunk(env: ParkourEnv) -> Tensor:
    """Return where the base is too low over the terrain, (num_envs,) bool."""
    return env.derived.base_height < env.config.terminations.min_height


def tipped(env: ParkourEnv) -> Tensor:
    """Return where the base is too tilted, (num_envs,) bool."""
    upright = -env.derived.projected_gravity[:, 2]  # cosine of the tilt
    return upright < math.cos(math.radians(env.config.terminations.max_tilt_degrees))


def stepped_into_a_gap(env: ParkourEnv) -> Tensor:
    """Return where a sole is below all of the course, (num_envs,) bool."""
    return env.sim_state.foot_pos[..., 2].amin(dim=1) < env.lowest_waypoint - _MISSTEP


def stuck(env: ParkourEnv) -> Tensor:
    """Return where the robot has come no further for too long, (num_envs,) bool."""
    return env.state.stalled_time > (env.config.terminations.stuck_time or math.inf) - env.dt / 2


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


def check(env: ParkourEnv) -> Tensor:
    """Return how the episode of each environment ends with this step, :class:`Outcome` (num_envs,), int64."""
    low, tilted = sunk(env), tipped(env)
    first_true = [
        env.sim_state.diverged,
        stepped_into_a_gap(env) & (low | tilted),
        tilted,
        low,
        out_of_bounds(env),
        stuck(env),
        course_finished(env),
        time_is_up(env),
        torch.ones_like(low),
    ]
    return torch.stack(first_true).byte().argmax(dim=0)


def failed(outcome: Tensor) -> Tensor:
    """Return which outcomes (num_envs,) are failures, which end an episode for good, (num_envs,) bool."""
    return outcome < Outcome.FINISHED


def cut_short(outcome: Tensor) -> Tensor:
    """Return which outcomes (num_envs,) are ends that the value is carried over, (num_envs,) bool."""
    return (outcome == Outcome.FINISHED) | (outcome == Outcome.TIMED_OUT)

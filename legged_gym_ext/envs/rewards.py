"""The reward terms: each a small function of the environment, (num_envs,) per second; their weights are configuration.

Terms whose source is not named follow legged_gym
(Rudin et al. 2022, "Learning to Walk in Minutes Using Massively Parallel Deep Reinforcement Learning").
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from legged_gym_ext.envs.state import CONTACT_FORCE
from legged_gym_ext.errors import UserError, unknown
from legged_gym_ext.terrain.curriculum import share_of

if TYPE_CHECKING:
    from legged_gym_ext.config.schema import RewardsConfig
    from legged_gym_ext.envs.parkour_env import ParkourEnv


def tracking_goal_vel(env: ParkourEnv) -> Tensor:
    """Velocity toward the waypoint, as a share of the commanded speed, at most 1 (extreme-parkour's goal term)."""
    toward = (env.sim_state.root_lin_vel[:, :2] * env.derived.goal_direction).sum(dim=1)
    speed = env.state.forward_speed
    return torch.minimum(toward, speed) / speed.clamp(min=0.1)


def tracking_lin_vel(env: ParkourEnv) -> Tensor:
    """Gaussian of the difference between horizontal velocity and the commanded one toward the waypoint."""
    wanted = env.state.forward_speed[:, None] * env.derived.goal_direction
    error = (env.sim_state.root_lin_vel[:, :2] - wanted).square().sum(dim=1)
    return torch.exp(-error / env.config.rewards.tracking_sigma)


def tracking_yaw(env: ParkourEnv) -> Tensor:
    """Gaussian of the heading error to the waypoint."""
    return torch.exp(-env.derived.commands[:, 3].square() / env.config.rewards.yaw_sigma)


def alive(env: ParkourEnv) -> Tensor:
    """One for every step."""
    return torch.ones_like(env.state.progress)


def orientation(env: ParkourEnv) -> Tensor:
    """Squared tilt of the base: horizontal part of the projected gravity."""
    return env.derived.projected_gravity[:, :2].square().sum(dim=1)


def ang_vel_xy(env: ParkourEnv) -> Tensor:
    """Squared roll and pitch rates."""
    return env.derived.base_ang_vel[:, :2].square().sum(dim=1)


def lin_vel_z(env: ParkourEnv) -> Tensor:
    """Squared vertical velocity."""
    return env.sim_state.root_lin_vel[:, 2].square()


def torques(env: ParkourEnv) -> Tensor:
    """Squared joint torques."""
    return env.sim_state.joint_torque.square().sum(dim=1)


def joint_vel(env: ParkourEnv) -> Tensor:
    """Squared joint velocities."""
    return env.sim_state.joint_vel.square().sum(dim=1)


def joint_acc(env: ParkourEnv) -> Tensor:
    """Squared joint accelerations over the control step."""
    return ((env.sim_state.joint_vel - env.state.last_joint_vel) / env.dt).square().sum(dim=1)


def action_rate(env: ParkourEnv) -> Tensor:
    """Squared change of the actions."""
    return (env.state.actions[0] - env.state.actions[1]).square().sum(dim=1)


def joint_limits(env: ParkourEnv) -> Tensor:
    """How far joints are beyond the soft limits, in rad."""
    position, (low, high) = env.sim_state.joint_pos, env.soft_range
    return ((low - position).clamp(min=0) + (position - high).clamp(min=0)).sum(dim=1)


def hip_deviation(env: ParkourEnv) -> Tensor:
    """Squared deviation of hip yaw and roll from the default pose."""
    return ((env.sim_state.joint_pos - env.default_joint_pos) * env.hip_columns).square().sum(dim=1)


def feet_air_time(env: ParkourEnv) -> Tensor:
    """In single stance, time that swing and stance have lasted, as a share of the target, more with speed.

    The first part is Isaac Lab's term for bipeds. A robot that marches on the spot earns ``marching_share`` of it: this
    teaches it to step; the rest comes with the share of the commanded speed and keeps it from being content with that.
    """
    state, config = env.state, env.config.rewards
    mode_time = torch.where(state.contact, state.contact_time, state.air_time).min(dim=1).values
    single = state.contact.sum(dim=1) == 1
    share = torch.where(single, mode_time, 0.0).clamp(max=config.air_time_target) / config.air_time_target
    speed = tracking_goal_vel(env).clamp(min=0)
    return share * (config.marching_share + (1 - config.marching_share) * speed)


def feet_swing(env: ParkourEnv) -> Tensor:
    """How far feet in the air are below the swing height, weighted by their horizontal speed."""
    height = env.config.rewards.swing_height
    below = (height - env.derived.foot_clearance).clamp(min=0, max=height)
    speed = env.sim_state.foot_vel[..., :2].norm(dim=-1)
    return (below * speed * ~env.state.contact).sum(dim=1)


def gait_contact(env: ParkourEnv) -> Tensor:
    """Share of feet whose contact agrees with the gait clock (unitree_rl_gym's H1)."""
    stance = env.derived.gait_phase < env.config.rewards.stance_share
    return (stance == env.state.contact).float().mean(dim=1)


def gait_swing_height(env: ParkourEnv) -> Tensor:
    """Square of what the swing foot's clearance lacks of a half sine over the gait clock's swing."""
    share = env.config.rewards.stance_share
    swing = ((env.derived.gait_phase - share) / (1 - share)).clamp(min=0)
    wanted = env.config.rewards.swing_height * torch.sin(torch.pi * swing)
    return ((wanted - env.derived.foot_clearance).clamp(min=0).square() * (swing > 0)).sum(dim=1)


def flight(env: ParkourEnv) -> Tensor:
    """One while both feet are in the air."""
    return (~env.state.contact).all(dim=1).float()


def feet_slip(env: ParkourEnv) -> Tensor:
    """Horizontal speed of feet that touch."""
    return (env.sim_state.foot_vel[..., :2].norm(dim=-1) * env.state.contact).sum(dim=1)


def feet_stumble(env: ParkourEnv) -> Tensor:
    """Feet that hit a vertical face: horizontal force above four times the vertical one."""
    force = env.sim_state.foot_force
    return (force[..., :2].norm(dim=-1) > 4 * force[..., 2].abs() + CONTACT_FORCE).float().sum(dim=1)


def feet_edge(env: ParkourEnv) -> Tensor:
    """Feet that stand close to an edge of the terrain (extreme-parkour's term, on exact geometry)."""
    return (env.derived.foot_near_edge & env.state.contact).float().sum(dim=1)


def foothold(env: ParkourEnv) -> Tensor:
    """How much of the soles that stand hangs over lower ground: BeamDojo's term, smoothed (footholds.py)."""
    return (env.soles.hanging(env) * env.state.contact).sum(dim=1)


def collision(env: ParkourEnv) -> Tensor:
    """Number of bodies that touch although they must not."""
    return (env.sim_state.body_force > CONTACT_FORCE).float().sum(dim=1)


def termination(env: ParkourEnv) -> Tensor:
    """One where the episode ends early."""
    return env.derived.terminated.float()


TERMS: dict[str, Callable[[ParkourEnv], Tensor]] = {
    term.__name__: term
    for term in (
        tracking_goal_vel,
        tracking_lin_vel,
        tracking_yaw,
        alive,
        orientation,
        ang_vel_xy,
        lin_vel_z,
        torques,
        joint_vel,
        joint_acc,
        action_rate,
        joint_limits,
        hip_deviation,
        feet_air_time,
        feet_swing,
        gait_contact,
        gait_swing_height,
        flight,
        feet_slip,
        feet_stumble,
        feet_edge,
        foothold,
        collision,
        termination,
    )
}
"""The terms by the name under which ``rewards.weights`` weighs them."""


def value(name: str, env: ParkourEnv) -> Tensor:
    """Return what a term is now, (num_envs,).

    Raises:
        UserError: Its function, which may be a stranger's, returns something else.
    """
    result: object = TERMS[name](env)
    if not isinstance(result, Tensor) or result.shape != (env.num_envs,):
        found = tuple(result.shape) if isinstance(result, Tensor) else type(result).__name__
        raise UserError(
            f"reward term '{name}': expected its function to return a tensor ({env.num_envs},), got {found}"
        )
    return result


class Weights:
    """The weights of the terms that count. Some may begin, at level 0, with another weight (``rewards.start_weights``).

    Args:
        config: Weights per second.
        device: Of the environment.

    Raises:
        UserError: A name is no term's, or no weight is left.
    """

    def __init__(self, config: RewardsConfig, device: torch.device) -> None:
        for key, weights in (("weights", config.weights), ("start_weights", config.start_weights)):
            for name in weights:
                if name not in TERMS:
                    raise unknown(f"reward term in rewards.{key}", name, TERMS)
        full, start = config.weights, config.weights | config.start_weights
        if config.full_at_level == 0:
            start = full
        self.names = [name for name in start if start[name] != 0 or full.get(name, 0) != 0]
        """Of the terms."""
        if not self.names:
            raise UserError("rewards.weights: no reward term has a weight other than 0")
        self._full = torch.tensor([float(full.get(name, 0)) for name in self.names], device=device)
        self._start = torch.tensor([float(start[name]) for name in self.names], device=device)
        self._change = start != full
        self._full_at_level = config.full_at_level

    def at(self, level: Tensor) -> Tensor:
        """Return the weights at terrain levels (num_envs,): (terms,), or (num_envs, terms) where they change."""
        if not self._change:
            return self._full
        return torch.lerp(self._start, self._full, share_of(level, self._full_at_level)[:, None])

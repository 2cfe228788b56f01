"""Domain randomization: what is drawn anew at each reset. Every draw is for all environments; a mask picks later."""

from __future__ import annotations

import torch
from torch import Tensor

from legged_gym_ext.config import RandomizationConfig
from legged_gym_ext.robot import NUM_JOINTS
from legged_gym_ext.simulators.base import DomainParameters


def uniform(bounds: list[float], shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """Draw float32 numbers uniformly from [low, high)."""
    low, high = bounds
    return low + (high - low) * torch.rand(shape, generator=generator, device=generator.device)


def draw_parameters(config: RandomizationConfig, num_envs: int, generator: torch.Generator) -> DomainParameters:
    """Draw the physical parameters of all environments; the nominal ones where randomization is off."""
    if not config.enabled:
        return DomainParameters.nominal(num_envs, generator.device)
    n, joints = (num_envs,), (num_envs, NUM_JOINTS)
    offset = [-config.mass_offset, config.mass_offset]
    return DomainParameters(
        friction=uniform(config.friction, n, generator),
        added_mass=uniform(config.added_mass, n, generator),
        mass_offset=uniform(offset, (num_envs, 3), generator),
        motor_strength=uniform(config.motor_strength, joints, generator),
        stiffness=uniform(config.stiffness, joints, generator),
        damping=uniform(config.damping, joints, generator),
    )


def draw_latency(config: RandomizationConfig, num_envs: int, generator: torch.Generator) -> Tensor:
    """Draw each environment's action latency in control steps, (num_envs,) int64."""
    if not config.enabled:
        return torch.zeros(num_envs, dtype=torch.int64, device=generator.device)
    low, high = config.action_latency
    return torch.randint(low, high + 1, (num_envs,), generator=generator, device=generator.device)


def draw_push(config: RandomizationConfig, num_envs: int, generator: torch.Generator) -> Tensor:
    """Draw a horizontal change of velocity for each base, (num_envs, 3), m/s."""
    push = torch.zeros(num_envs, 3, device=generator.device)
    push[:, :2] = uniform([-config.push_velocity, config.push_velocity], (num_envs, 2), generator)
    return push

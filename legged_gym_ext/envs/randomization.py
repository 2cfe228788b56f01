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


def strength(config: RandomizationConfig, level: Tensor) -> Tensor:
    """Return how much of the randomization applies at terrain levels (num_envs,): 0 to 1, (num_envs,).

    It grows with the level: who cannot walk yet learns that first, on a robot that is as it should be.
    """
    if not config.enabled:
        return torch.zeros_like(level, dtype=torch.float32)
    if config.full_at_level == 0:
        return torch.ones_like(level, dtype=torch.float32)
    return (level / config.full_at_level).clamp(max=1.0)


def draw_parameters(config: RandomizationConfig, share: Tensor, generator: torch.Generator) -> DomainParameters:
    """Draw the physical parameters of all environments, ``share`` (num_envs,) of the way from the nominal ones."""
    n = len(share)
    joints = (n, NUM_JOINTS)
    offset = [-config.mass_offset, config.mass_offset]
    drawn = DomainParameters(
        friction=uniform(config.friction, (n,), generator),
        added_mass=uniform(config.added_mass, (n,), generator),
        mass_offset=uniform(offset, (n, 3), generator),
        motor_strength=uniform(config.motor_strength, joints, generator),
        stiffness=uniform(config.stiffness, joints, generator),
        damping=uniform(config.damping, joints, generator),
    )
    nominal = DomainParameters.nominal(n, generator.device).tensors()
    for name, tensor in drawn.tensors().items():
        weight = share.view(-1, *[1] * (tensor.dim() - 1))
        tensor.copy_(torch.lerp(nominal[name], tensor, weight))
    return drawn


def draw_latency(config: RandomizationConfig, share: Tensor, generator: torch.Generator) -> Tensor:
    """Draw each environment's action latency in control steps, (num_envs,) int64; 0 where ``share`` is."""
    low, high = config.action_latency
    drawn = torch.randint(low, high + 1, share.shape, generator=generator, device=generator.device)
    return drawn * (share > 0)


def draw_push(config: RandomizationConfig, share: Tensor, generator: torch.Generator) -> Tensor:
    """Draw a horizontal change of velocity for each base, (num_envs, 3), m/s, scaled by ``share`` (num_envs,)."""
    push = torch.zeros(len(share), 3, device=generator.device)
    push[:, :2] = uniform([-config.push_velocity, config.push_velocity], (len(share), 2), generator) * share[:, None]
    return push

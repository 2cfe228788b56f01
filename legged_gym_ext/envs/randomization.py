"""What is drawn at random for each episode. Every draw is for all environments; a mask picks later."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from legged_gym_ext.config.schema import Config, RandomizationConfig
from legged_gym_ext.simulators.base import DOMAIN_WIDTHS, DomainParameters
from legged_gym_ext.terrain.curriculum import share_of


class UniformColumns:
    """Uniform random numbers of many kinds, drawn by one call: a launch for all instead of several for each.

    Args:
        ranges: By name, one [low, high) for each column.
        device: Of the numbers.
    """

    def __init__(self, ranges: Mapping[str, Sequence[Sequence[float]]], device: torch.device) -> None:
        self._widths = {name: len(columns) for name, columns in ranges.items()}
        bounds = torch.tensor([bound for columns in ranges.values() for bound in columns], dtype=torch.float32)
        self._low, high = bounds.to(device).unbind(dim=1)
        self._span = high - self._low

    def draw(self, num_envs: int, generator: torch.Generator) -> dict[str, Tensor]:
        """Return tensors (num_envs, columns) by name: views of one, float32."""
        numbers = torch.rand(num_envs, len(self._low), generator=generator, device=generator.device)
        parts = torch.addcmul(self._low, numbers, self._span).split(list(self._widths.values()), dim=1)
        return dict(zip(self._widths, parts, strict=True))


def episode_ranges(
    config: Config, default_joint_pos: Sequence[float], height: float, platform: float
) -> dict[str, list[list[float]]]:
    """Return the ranges of everything that a new episode draws.

    ``choices`` (2) are uniform in [0, 1): for the level and for the tile's variant; so is ``forward_speed``, of the
    level's range. ``domain`` are the columns of ``DomainParameters.of``; ``latency`` and ``camera_latency`` are
    for :func:`whole_steps`. ``position`` (3) is at ``height`` over the start line, within ``platform`` of it, m.
    """
    random = config.randomization
    domain = {
        "friction": random.friction,
        "added_mass": random.added_mass,
        "mass_offset": _around(0.0, random.mass_offset),
        "motor_strength": random.motor_strength,
        "stiffness": random.stiffness,
        "damping": random.damping,
    }
    return {
        "choices": [[0.0, 1.0]] * 2,
        "domain": [domain[name] for name, width in DOMAIN_WIDTHS.items() for _ in range(width)],
        "latency": [_up_to_the_next(random.action_latency)],
        # Of cameras that are in time nothing is drawn: it would make all else that is drawn another.
        "camera_latency": [_up_to_the_next(random.camera_latency)] if random.camera_latency[1] > 0 else [],
        "forward_speed": [[0.0, 1.0]],
        "position": [_around(0.0, platform), _around(0.0, platform), [height, height]],
        "yaw": [_around(0.0, random.initial_yaw)],
        "joint_pos": [_around(default, random.initial_joint_pos) for default in default_joint_pos],
    }


def step_ranges(config: Config, noise: Sequence[float]) -> dict[str, list[list[float]]]:
    """Return the ranges of what every step draws: ``noise`` of these amplitudes, and ``push`` (3), m/s."""
    shove = _around(0.0, config.randomization.push_velocity)
    return {"noise": [_around(0.0, amplitude) for amplitude in noise], "push": [shove, shove, [0.0, 0.0]]}


def nominal_columns(device: torch.device) -> Tensor:
    """Return the columns of ``DomainParameters.of`` that change nothing, (columns,)."""
    return DomainParameters.nominal(1, device).columns()[0]


def strength(config: RandomizationConfig, level: Tensor) -> Tensor:
    """Return how much of the randomization applies at terrain levels (num_envs,): 0 to 1, (num_envs,).

    It grows with the level: who cannot walk yet learns that first, on a robot that is as it should be.
    """
    if not config.enabled:
        return torch.zeros_like(level, dtype=torch.float32)
    return share_of(level, config.full_at_level)


def whole_steps(column: Tensor, config: Sequence[int], share: Tensor) -> Tensor:
    """Return latencies (num_envs,), control steps, int64.

    Args:
        column: What was drawn of them, (num_envs, 1); (num_envs, 0) where there are none.
        config: The shortest and the longest.
        share: How much of the randomization applies, (num_envs,); where it is nothing, there is no latency.
    """
    drawn = column.sum(dim=1).long().clamp(max=config[1])  # of no column, 0
    return drawn * (share > 0)


def _up_to_the_next(steps: Sequence[int]) -> list[float]:
    """Return the range [low, high + 1) whose numbers, rounded down, are the whole ones from low to high."""
    return [steps[0], steps[1] + 1]


def _around(middle: float, reach: float) -> list[float]:
    return [middle - reach, middle + reach]

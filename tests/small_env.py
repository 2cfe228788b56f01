"""A small configuration of the real environment, and random actions."""

from __future__ import annotations

import torch

from legged_gym_ext.config.schema import Config
from legged_gym_ext.envs import rewards
from legged_gym_ext.runs.settle import settle

N = 6
CPU = torch.device("cpu")
TINY = (
    *("terrain.variants=1", "terrain.levels=3", "env.num_envs=4", "env.episode_length_s=1.0"),
    "guide.enabled=false",  # the lane's policy is the teacher from the beginning
)


def small_config() -> Config:
    config = settle(Config())
    config.terrain.variants, config.terrain.levels = 2, 3
    config.rewards.weights = {name: (-1.0 if name == "termination" else 0.1) for name in rewards.TERMS}
    config.observations.others = ["gait_phase"]
    config.randomization.full_at_level = 0
    return config


def quiet(config: Config) -> Config:
    """No randomness but the terrain's and the initial one."""
    config.observations.noise.enabled = False
    config.randomization.push_interval = 0.0
    config.randomization.action_latency = [0, 0]
    return config


def random_actions(steps: int, num_envs: int = N, seed: int = 0) -> torch.Tensor:
    return 0.5 * torch.randn(steps, num_envs, 10, generator=torch.Generator().manual_seed(seed))

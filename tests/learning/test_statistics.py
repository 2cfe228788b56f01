"""The statistics of episodes."""

from __future__ import annotations

import pytest
import torch

from legged_gym_ext.learning.statistics import EpisodeStatistics


def test_statistics_are_those_of_each_environments_last_episode() -> None:
    generator = torch.Generator().manual_seed(3)
    envs, steps = 6, 40
    statistics = EpisodeStatistics(envs, "cpu")
    assert "return" not in statistics.summary()
    last: dict[int, tuple[float, ...]] = {}
    running = [[0.0, 0] for _ in range(envs)]
    for _ in range(steps):
        rewards = torch.rand(envs, generator=generator)
        dones = torch.rand(envs, generator=generator) < 0.1
        extras = {
            "success": torch.rand(envs, generator=generator) < 0.5,
            "progress": torch.rand(envs, generator=generator),
            "terrain_level": torch.randint(0, 9, (envs,), generator=generator),
            "log": {"Reward/alive": rewards.mean()},
        }
        statistics.add(rewards, dones, extras)
        for env in range(envs):
            running[env] = [running[env][0] + rewards[env].item(), running[env][1] + 1]
            if dones[env]:
                last[env] = (*running[env], float(extras["success"][env]), extras["progress"][env].item())
                running[env] = [0.0, 0]
    summary = statistics.summary()
    means = torch.tensor(list(last.values())).mean(dim=0)
    names = ("return", "episode_length", "success_rate", "progress")
    torch.testing.assert_close(torch.tensor([summary[name] for name in names]), means)
    assert summary["terrain_level"] == pytest.approx(extras["terrain_level"].float().mean().item())
    assert statistics.pop_log().keys() == {"Reward/alive"} and statistics.pop_log() == {}

"""The statistics of episodes."""

from __future__ import annotations

import pytest
import torch

from legged_gym_ext.learning.journal import success_by_kind
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


def test_episodes_count_where_they_were_but_for_each_environments_first() -> None:
    generator = torch.Generator().manual_seed(5)
    envs, kinds, levels = 7, 3, 4
    statistics = EpisodeStatistics(envs, "cpu", kinds, levels)
    kind = torch.randint(kinds, (envs,), generator=generator)
    for part in range(3):
        expected = torch.zeros(2, kinds, levels, dtype=torch.long)
        for _ in range(25):
            dones, success = torch.rand(2, envs, generator=generator) < torch.tensor([[0.2], [0.5]])
            level = torch.randint(levels, (envs,), generator=generator)
            extras = {"success": success, "progress": torch.zeros(envs), "terrain_level": level, "terrain_kind": kind}
            for env in range(envs):
                if dones[env] and statistics.finished[env]:
                    expected[0, kind[env], level[env]] += 1
                    expected[1, kind[env], level[env]] += success[env]
            statistics.add(torch.zeros(envs), dones, extras)
            if part == 1:  # as a resumed training does
                other = EpisodeStatistics(envs, "cpu", kinds, levels)
                other.load_state_dict(statistics.state_dict())
                statistics = other
        assert expected[0].sum() > expected[1].sum() > 0
        assert statistics.pop_places() == expected.tolist()
    assert torch.equal(statistics.kind, kind)


def test_an_environment_without_kinds_is_not_asked_for_them() -> None:
    statistics = EpisodeStatistics(2, "cpu")
    step = {"success": torch.ones(2), "progress": torch.ones(2), "terrain_level": torch.zeros(2)}
    for _ in range(3):
        statistics.add(torch.zeros(2), torch.ones(2), step)
    assert statistics.by_kind() == []
    assert statistics.pop_places() == [[], []] and (statistics.kind < 0).all()


def test_success_by_kind_is_that_of_the_last_episodes_where_they_were() -> None:
    """Though environments move on to other kinds."""
    generator = torch.Generator().manual_seed(7)
    envs, kinds = 9, 4
    statistics = EpisodeStatistics(envs, "cpu", kinds, 1)
    assert statistics.by_kind() == [[0, 0]] * kinds
    last: dict[int, tuple[int, bool]] = {}
    for _ in range(30):
        dones, success = torch.rand(2, envs, generator=generator) < torch.tensor([[0.1], [0.5]])
        kind = torch.randint(kinds - 1, (envs,), generator=generator)
        level = torch.zeros(envs, dtype=torch.long)
        extras = {"success": success, "progress": torch.zeros(envs), "terrain_level": level, "terrain_kind": kind}
        statistics.add(torch.zeros(envs), dones, extras)
        last |= {env: (int(kind[env]), bool(success[env])) for env in range(envs) if dones[env]}
        expected = [
            [sum(k == number for k, _ in last.values()), sum(k == number and good for k, good in last.values())]
            for number in range(kinds)
        ]
        assert statistics.by_kind() == expected
        other = EpisodeStatistics(envs, "cpu", kinds, 1)  # as a resumed training does
        other.load_state_dict(statistics.state_dict())
        assert other.by_kind() == expected
    assert len(last) > 5


def test_success_by_kind_of_several_ranks_is_that_of_all_their_environments() -> None:
    ranks = [{"flat": [3.0, 2.0], "gaps": [0.0, 0.0], "steps": [0.0, 0.0]}, {"flat": [1.0, 0.0], "gaps": [4.0, 1.0]}]
    ranks[1]["steps"] = [0.0, 0.0]
    assert success_by_kind(ranks) == {"SuccessRate/flat": 0.5, "SuccessRate/gaps": 0.25}
    assert success_by_kind([{}, {}]) == {}

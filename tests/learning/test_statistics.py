"""The statistics of episodes."""

from __future__ import annotations

import pytest
import torch

from legged_gym_ext.learning.journal import success_by_kind
from legged_gym_ext.learning.statistics import EpisodeStatistics, merge_logs, summarize


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
        counts = statistics.pop_places()
        assert counts == expected.tolist()
        assert isinstance(counts[0][0][0], int)  # a float32 counts no further than to 17 million
    assert torch.equal(statistics.kind, kind)


def test_an_environment_without_kinds_is_not_asked_for_them() -> None:
    statistics = EpisodeStatistics(2, "cpu")
    step = {"success": torch.ones(2), "progress": torch.ones(2), "terrain_level": torch.zeros(2)}
    for _ in range(3):
        statistics.add(torch.zeros(2), torch.ones(2), step)
    assert statistics.by_kind() == []
    assert statistics.pop_places() == [[], []] and (statistics.kind == -1).all()


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


def test_who_has_not_finished_an_episode_is_in_no_mean_of_episodes() -> None:
    statistics = EpisodeStatistics(4, "cpu")
    extras = {"success": torch.ones(4), "progress": torch.tensor([0.1, 0.2, 0.3, 0.4]), "terrain_level": torch.ones(4)}
    statistics.add(torch.tensor([1.0, 2.0, 3.0, 4.0]), torch.tensor([0, 1, 0, 1]), extras)
    expected = {"terrain_level": 1, "return": 3, "episode_length": 1, "success_rate": 1, "progress": 0.3}
    assert statistics.summary() == pytest.approx(expected)
    one = EpisodeStatistics(4, "cpu")
    one.add(torch.tensor([1.0, 2.0, 3.0, 4.0]), torch.tensor([0, 0, 0, 1]), extras)
    assert one.summary() == pytest.approx(expected | {"return": 4, "progress": 0.4})


def test_ranks_that_do_not_tell_the_same_are_not_added_up() -> None:
    totals = EpisodeStatistics(2, "cpu").totals()
    for ranks in ([totals, totals[:-1]], [[2, 1, *totals[2:-1]]]):
        with pytest.raises(ValueError, match="zip"):
            summarize(ranks)


def test_logs_are_means_over_the_steps_since_the_last_one() -> None:
    """Of each environment's number, or of one for all; what is not logged in every step counts where it is."""
    generator = torch.Generator().manual_seed(9)
    statistics = EpisodeStatistics(3, "cpu")
    for _ in range(2):
        each, whole, rare = [], [], []
        for step in range(5):
            each.append(torch.rand(3, generator=generator))
            whole.append(torch.randint(9, (), generator=generator).item())
            log = {"Reward/alive": each[-1], "Health/lost": whole[-1]}
            if step % 2:
                rare.append(torch.rand((), generator=generator))
                log["Reward/rare"] = rare[-1]
            extras = {"success": torch.ones(3), "progress": torch.ones(3), "terrain_level": torch.zeros(3), "log": log}
            statistics.add(torch.zeros(3), torch.zeros(3), extras)
        assert statistics.pop_log() == {
            "Reward/alive": pytest.approx(torch.stack(each).mean().item()),
            "Health/lost": pytest.approx(sum(whole) / 5),
            "Reward/rare": pytest.approx(torch.stack(rare).mean().item()),
        }


def test_logs_of_ranks_are_one_and_that_of_one_rank_is_its_own() -> None:
    logs = [{"Reward/alive": 1.0, "Health/lost": 2.0}, {"Reward/alive": 4.0, "Health/lost": 5.0}]
    assert merge_logs(logs) == {"Reward/alive": 2.5, "Health/lost": 7.0}
    assert merge_logs(logs[:1]) == logs[0]


def test_what_is_loaded_is_a_copy() -> None:
    """A checkpoint in memory can be loaded again, however its first reader went on."""
    extras = {"success": torch.ones(2), "progress": torch.ones(2), "terrain_level": torch.zeros(2, dtype=torch.long)}
    extras["terrain_kind"] = torch.zeros(2, dtype=torch.long)
    statistics = EpisodeStatistics(2, "cpu", 1, 1)
    state = statistics.state_dict()
    kept = {name: value.clone() for name, value in state.items()}
    for _ in range(2):
        other = EpisodeStatistics(2, "cpu", 1, 1)
        other.load_state_dict(state)
        for _ in range(3):
            other.add(torch.ones(2), torch.tensor([0, 1]), extras)
        assert all(torch.equal(value, kept[name]) for name, value in state.items())


def test_statistics_stay_on_their_device_and_in_their_precision_wherever_the_environment_is() -> None:
    extras = {"success": torch.ones(2, dtype=torch.bool), "progress": torch.ones(2, dtype=torch.float64)}
    extras |= {name: torch.zeros(2, dtype=torch.int32) for name in ("terrain_kind", "terrain_level")}
    extras["log"] = {"Reward/alive": torch.ones(2), "Health/lost": 1}
    statistics = EpisodeStatistics(2, "meta", 3, 4)
    before = statistics.state_dict()
    statistics.add(torch.zeros(2, device="meta"), torch.zeros(2, device="meta"), extras)
    for state in (before, statistics.state_dict(), EpisodeStatistics(2, "cpu", 3, 4).state_dict()):
        statistics.load_state_dict(state)
        for name, value in statistics.state_dict().items():
            assert value.device.type == "meta" and value.dtype == before[name].dtype, name
    assert all(total.device.type == "meta" for total, _ in statistics._log.values())


def test_statistics_need_no_default_device() -> None:
    extras = {"success": torch.ones(2), "progress": torch.ones(2), "terrain_level": torch.zeros(2, dtype=torch.long)}
    extras |= {"terrain_kind": torch.ones(2, dtype=torch.long), "log": {"Reward/alive": torch.ones(2)}}
    rewards, dones = torch.ones(2), torch.tensor([0, 1])
    with torch.device("meta"):  # a tensor that is made without a device has no values
        statistics = EpisodeStatistics(2, "cpu", 2, 1)
        assert statistics.summary() == {"terrain_level": 0}
        for _ in range(2):
            statistics.add(rewards, dones, extras)
        assert statistics.by_kind() == [[0, 0], [1, 1]] and statistics.pop_places() == [[[0], [1]], [[0], [1]]]
        assert statistics.summary()["episode_length"] == 1 and statistics.pop_log() == {"Reward/alive": 1}


def test_one_environment_is_enough() -> None:
    statistics = EpisodeStatistics(1, "cpu", 1, 1)
    extras = {"success": torch.ones(1), "progress": torch.ones(1), "terrain_level": torch.zeros(1, dtype=torch.long)}
    extras |= {"terrain_kind": torch.zeros(1, dtype=torch.long), "log": {"Reward/alive": torch.full((1,), 2.0)}}
    statistics.add(torch.ones(1), torch.ones(1), extras)
    assert statistics.by_kind() == [[1, 1]] and statistics.pop_log() == {"Reward/alive": 2}

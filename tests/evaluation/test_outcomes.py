"""Counting the episodes of a rollout, and the table of them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from legged_gym_ext.envs.outcome import ENDS, SUMMARY, Outcome
from legged_gym_ext.evaluation import outcomes


class ScriptedEnv:
    """Environment i has episodes of ``lengths[i]`` steps in turns; each step says how its episodes would end.

    It is rewarded with 0.25 (i + 1) in every step.
    """

    def __init__(self, lengths: list[list[int]], falls: list[list[bool]]) -> None:
        self.lengths, self.falls = lengths, falls
        self.episode, self.step_in_episode = [0] * len(lengths), [0] * len(lengths)

    def step(self) -> tuple[torch.Tensor, torch.Tensor, dict[str, torch.Tensor]]:
        dones, fell, progress = [], [], []
        for i, lengths in enumerate(self.lengths):
            self.step_in_episode[i] += 1
            turn = self.episode[i] % len(lengths)
            dones.append(self.step_in_episode[i] == lengths[turn])
            fell.append(self.falls[i][turn])
            progress.append(0.5 * self.step_in_episode[i])
            if dones[-1]:
                self.step_in_episode[i], self.episode[i] = 0, self.episode[i] + 1
        done, fall = torch.tensor(dones), torch.tensor(fell)
        outcome = torch.where(done, torch.where(fall, Outcome.TIPPED, Outcome.FINISHED), Outcome.RUNNING)
        extras = {"outcome": outcome, "progress": torch.tensor(progress)}
        return torch.tensor([0.25 * (i + 1) for i in range(len(dones))]), done, extras


def count_episodes(env: ScriptedEnv, kinds: list[int], episodes: int) -> outcomes.EpisodeCount:
    quota = outcomes.share_out(episodes, len(kinds))
    count = outcomes.EpisodeCount(torch.tensor(kinds), quota, step_time=0.1)
    while not count.complete:
        count.add(*env.step())
    return count


def test_each_environments_first_episodes_count_and_no_others() -> None:
    """Environment 0 falls after 2 steps, fifty times before environment 1 has finished its first course."""
    env = ScriptedEnv([[2], [100]], [[True], [False]])
    mean = count_episodes(env, [0, 1], episodes=2).summary()
    assert mean == outcomes.Summary(
        episodes=2,
        shares=pytest.approx({"finished": 0.5, "fell": 0.5, "left": 0, "stuck": 0, "time out": 0}),
        distance=pytest.approx((1 + 50) / 2),
        time=pytest.approx((0.2 + 10) / 2),
        total_reward=pytest.approx((2 * 0.25 + 100 * 0.5) / 2),
        speed=pytest.approx(51 / 10.2),
    )


def test_statistics_are_the_means_of_the_scripted_episodes() -> None:
    rng = np.random.default_rng(0)
    lengths = rng.integers(1, 30, (5, 4)).tolist()
    falls = (rng.random((5, 4)) < 0.5).tolist()
    kinds = [0, 1, 0, 2, 1]
    count = count_episodes(ScriptedEnv(lengths, falls), kinds, episodes=13)
    turns = [3, 3, 3, 2, 2]  # 13 episodes among 5 environments
    for kind in (0, 1, 2, None):
        counted = [(i, j) for i in range(5) for j in range(turns[i]) if kind is None or kinds[i] == kind]
        steps = np.array([lengths[i][j] for i, j in counted])
        fell = np.array([falls[i][j] for i, j in counted])
        mean = count.summary(kind)
        assert mean is not None
        assert mean.episodes == len(counted)
        assert mean.time == pytest.approx(0.1 * steps.mean())
        assert mean.distance == pytest.approx(0.5 * steps.mean())
        assert mean.shares["fell"] == pytest.approx(fell.mean())
        assert mean.shares["finished"] == pytest.approx(1 - fell.mean())
        assert mean.speed == pytest.approx(5.0)
        rewards = np.array([0.25 * (i + 1) for i, _ in counted])
        assert mean.total_reward == pytest.approx((rewards * steps).mean())
    assert count.summary(3) is None


def test_the_short_words_stand_for_every_end_once() -> None:
    assert sorted(outcome for ends in SUMMARY.values() for outcome in ends) == sorted(ENDS)


def test_the_table_has_a_line_for_each_kind_and_names_those_not_played() -> None:
    count = count_episodes(ScriptedEnv([[2], [4]], [[True], [False]]), [0, 2], episodes=2)
    lines = outcomes.table(count, ["flat", "gaps", "beams"]).splitlines()
    assert [line.split()[0] for line in lines] == ["terrain", "flat", "beams", "all", "no"]
    assert lines[1].split() == [
        "flat",
        "1",
        "0%",
        "100%",
        "0%",
        "0%",
        "0%",
        "1.00",
        "m",
        "0.2",
        "s",
        "5.00",
        "m/s",
        "0.50",
    ]
    assert lines[-1] == "no episodes: gaps"
    assert len(outcomes.table(count, ["flat"]).splitlines()) == 2


def test_the_table_tells_what_went_wrong_in_the_physics() -> None:
    env = ScriptedEnv([[3]], [[False]])
    count = outcomes.EpisodeCount(torch.tensor([0]), torch.tensor([1]), step_time=0.1)
    for overflow in (0.0, 2.0, 3.0):
        rewards, dones, extras = env.step()
        log = {"Health/overflow": torch.tensor(overflow), "Health/diverged": torch.tensor(0.0)}
        count.add(rewards, dones, {**extras, "log": log})
    assert outcomes.table(count, ["flat"]).splitlines()[2].startswith("health: overflow 5 (steps of environments")

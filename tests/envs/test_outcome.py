"""How episodes end: each condition on its own, and which counts where several are true."""

from __future__ import annotations

import math

import pytest
import torch
from small_env import CPU, quiet, random_actions, small_config

from legged_gym_ext.config.schema import Config
from legged_gym_ext.envs import terminations
from legged_gym_ext.envs.outcome import ENDS, FALLS, Outcome
from legged_gym_ext.envs.parkour_env import ParkourEnv

N = 64


def at_random() -> tuple[ParkourEnv, Config]:
    """An environment whose state is such that every end of an episode is likely in some of its robots."""
    config = quiet(small_config())
    config.terminations.stuck_time = 2.0
    env = ParkourEnv(config, N, CPU)
    random = torch.Generator().manual_seed(1)

    def some(share: float) -> torch.Tensor:
        return torch.rand(N, generator=random) < share

    sim, state = env.sim_state, env.state
    sim.diverged |= some(0.1)
    state.stalled_time[some(0.3)] = 2.5
    state.waypoint[some(0.3)] = config.terrain.waypoints
    state.episode_length[some(0.3)] = env.max_episode_length
    sim.root_pos[some(0.2), 1] = 2.5
    sim.root_pos[some(0.3), 2] = 0.4
    tilt = torch.where(some(0.3), 1.0, 0.1)
    sim.root_quat.copy_(torch.stack([torch.cos(tilt / 2), torch.sin(tilt / 2), 0 * tilt, 0 * tilt], dim=1))
    sim.foot_pos[some(0.5), 0, 2] = -0.2
    env._derive()
    return env, config


def test_the_first_of_all_that_is_true_counts() -> None:
    env, config = at_random()
    sim, state = env.sim_state, env.state
    found = terminations.check(env).tolist()
    for i in range(N):
        w, x, y, _ = sim.root_quat[i].tolist()
        tilted = 1 - 2 * (x * x + y * y) < math.cos(math.radians(45))
        low = float(env.derived.base_height[i]) < 0.6
        lowest = float(env.waypoints[i, :, 2].min())
        below = min(float(sim.foot_pos[i, foot, 2]) for foot in (0, 1)) < lowest - 0.1
        if bool(sim.diverged[i]):
            expected = Outcome.DIVERGED
        elif below and (tilted or low):
            expected = Outcome.FELL_IN
        elif tilted:
            expected = Outcome.TIPPED
        elif low:
            expected = Outcome.SANK
        elif abs(float(sim.root_pos[i, 1])) > 2.3:
            expected = Outcome.LEFT
        elif float(state.stalled_time[i]) >= 2.0:
            expected = Outcome.STUCK
        elif int(state.waypoint[i]) >= config.terrain.waypoints:
            expected = Outcome.FINISHED
        elif int(state.episode_length[i]) >= env.max_episode_length:
            expected = Outcome.TIMED_OUT
        else:
            expected = Outcome.RUNNING
        assert found[i] == expected, i
    assert set(found) == set(Outcome)


def test_failures_end_for_good_and_the_others_carry_the_value_over() -> None:
    outcome = torch.tensor(list(Outcome))
    failed, cut = terminations.failed(outcome), terminations.cut_short(outcome)
    for end, fails, cuts in zip(Outcome, failed.tolist(), cut.tolist(), strict=True):
        assert fails == (end in (*FALLS, Outcome.LEFT, Outcome.STUCK))
        assert cuts == (end in (Outcome.FINISHED, Outcome.TIMED_OUT))
    assert set(ENDS) == set(Outcome) - {Outcome.RUNNING}
    assert len({end.word for end in Outcome}) == len(Outcome)


@pytest.mark.parametrize("stuck_time", [0.0, 0.5])
def test_stuck_is_who_comes_no_further_and_nobody_where_it_is_off(stuck_time: float) -> None:
    """Robots that tremble where they stand, watched from outside."""
    config = quiet(small_config())
    config.terminations.stuck_time = stuck_time
    config.env.episode_length_s = 1.0
    env = ParkourEnv(config, 4, CPU)
    furthest, since = [0.0] * 4, [0] * 4
    ends = []
    for actions in random_actions(60, 4):
        before = env.state.episode_length.tolist()
        _, _, dones, extras = env.step(0.1 * actions)
        for i in range(4):
            if before[i] == 0:
                furthest[i], since[i] = 0.0, 0
            advanced = float(extras["progress"][i]) >= furthest[i] + 0.1
            furthest[i] = float(extras["progress"][i]) if advanced else furthest[i]
            since[i] = 0 if advanced else since[i] + 1
            expected = stuck_time > 0 and since[i] * env.dt >= stuck_time - 1e-6
            if extras["outcome"][i] in (Outcome.STUCK, Outcome.FINISHED, Outcome.TIMED_OUT, Outcome.RUNNING):
                assert (extras["outcome"][i] == Outcome.STUCK) == expected
            ends.append(int(extras["outcome"][i]))
            assert bool(dones[i]) == (extras["outcome"][i] != Outcome.RUNNING)
    assert (Outcome.STUCK in ends) == (stuck_time > 0) and (Outcome.TIMED_OUT in ends) == (stuck_time == 0)

"""Every reward term against its definition, in float64, for robots in random states; and what becomes of the terms."""

from __future__ import annotations

import itertools
import math
import re
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from numpy import ndarray
from random_state import CPU, Truth, overwrite, plain_config

from legged_gym_ext.config.files import load_config
from legged_gym_ext.envs import rewards
from legged_gym_ext.envs.parkour_env import ParkourEnv
from legged_gym_ext.errors import UserError
from legged_gym_ext.tasks import task_names

N = 200


@pytest.fixture(scope="module")
def env() -> ParkourEnv:
    return ParkourEnv(plain_config(), N, CPU)


@pytest.fixture(scope="module")
def truth(env: ParkourEnv) -> Truth:
    return overwrite(env)


def definitions(env: ParkourEnv, truth: Truth) -> dict[str, ndarray]:
    """Return what each term is defined to be, (N,) by name."""
    sim, state, config = truth.sim, truth.state, env.config.rewards
    velocity, speed, contact = sim["root_lin_vel"], state["forward_speed"], state["contact"]
    toward = (velocity[:, :2] * truth.goal_direction).sum(axis=1)
    share_of_speed = np.minimum(toward, speed) / np.maximum(speed, 0.1)
    missed = velocity[:, :2] - speed[:, None] * truth.goal_direction

    joints, middle = sim["joint_pos"], env.robot.joint_range.mean(axis=1)
    reach = np.ptp(env.robot.joint_range, axis=1) / 2 * env.config.robot.soft_limit
    deviation = joints - env.robot.default_joint_pos
    hips = [i for i, name in enumerate(env.config.robot.joints) if "hip_yaw" in name or "hip_roll" in name]

    foot_speed = np.hypot(sim["foot_vel"][..., 0], sim["foot_vel"][..., 1])
    force = sim["foot_force"]
    air_time, agrees, swing_error = np.zeros(N), np.zeros(N), np.zeros(N)
    for i in range(N):
        if contact[i].sum() == 1:
            stance = int(contact[i, 1])  # 0: left
            lasted = min(state["contact_time"][i, stance], state["air_time"][i, 1 - stance], config.air_time_target)
            walking = max(share_of_speed[i], 0.0)
            moving = config.marching_share + (1 - config.marching_share) * walking
            air_time[i] = lasted / config.air_time_target * moving
        for foot in range(2):
            phase = truth.gait_phase[i, foot]
            agrees[i] += 0.5 * ((phase < config.stance_share) == contact[i, foot])
            if phase > config.stance_share:
                swing = (phase - config.stance_share) / (1 - config.stance_share)
                wanted = config.swing_height * math.sin(math.pi * swing)
                swing_error[i] += max(wanted - truth.clearance[i, foot], 0.0) ** 2
    hanging = np.zeros((N, 2))
    for i, foot in itertools.product(range(N), range(2)):
        (length, width), (x, _, z) = env.robot.sole_size[foot], sim["foot_pos"][i, foot]
        yaw = truth.yaw[i]
        under = [
            truth.ground_at(i, x + math.cos(yaw) * a * length - math.sin(yaw) * b * width)
            for a in (-0.5, 0.0, 0.5)
            for b in (-0.5, 0.5)
        ]
        standing_on = min(max(under), z)
        hanging[i, foot] = np.mean([1 - math.exp(-20 * max(standing_on - height, 0.0)) for height in under])
    low_swing = np.clip(config.swing_height - truth.clearance, 0.0, config.swing_height)
    return {
        "tracking_goal_vel": share_of_speed,
        "tracking_lin_vel": np.exp(-np.square(missed).sum(axis=1) / config.tracking_sigma),
        "tracking_yaw": np.exp(-(truth.heading_error**2) / config.yaw_sigma),
        "alive": np.ones(N),
        "orientation": truth.gravity[:, 0] ** 2 + truth.gravity[:, 1] ** 2,
        "ang_vel_xy": truth.ang_vel[:, 0] ** 2 + truth.ang_vel[:, 1] ** 2,
        "lin_vel_z": velocity[:, 2] ** 2,
        "torques": np.square(sim["joint_torque"]).sum(axis=1),
        "joint_vel": np.square(sim["joint_vel"]).sum(axis=1),
        "joint_acc": np.square((sim["joint_vel"] - state["last_joint_vel"]) / 0.02).sum(axis=1),
        "action_rate": np.square(state["actions"][0] - state["actions"][1]).sum(axis=1),
        "joint_limits": np.maximum(np.abs(joints - middle) - reach, 0.0).sum(axis=1),
        "hip_deviation": np.square(deviation[:, hips]).sum(axis=1),
        "feet_air_time": air_time,
        "feet_swing": (low_swing * foot_speed * (1 - contact)).sum(axis=1),
        "gait_contact": agrees,
        "gait_swing_height": swing_error,
        "flight": contact.sum(axis=1) == 0,
        "feet_slip": (foot_speed * contact).sum(axis=1),
        "feet_stumble": (np.hypot(force[..., 0], force[..., 1]) > 4 * np.abs(force[..., 2]) + 1.0).sum(axis=1),
        "feet_edge": (truth.near_edge & contact).sum(axis=1),
        "foothold": (hanging * contact).sum(axis=1),
        "collision": (sim["body_force"] > 1.0).sum(axis=1),
        "termination": env.derived.terminated.numpy(),
    }


@pytest.mark.parametrize("name", rewards.TERMS)
def test_each_term_is_what_its_definition_says(env: ParkourEnv, truth: Truth, name: str) -> None:
    expected = definitions(env, truth)[name].astype(np.float64)  # a KeyError: a new term needs a definition here
    assert name == "alive" or len(np.unique(expected)) > 1, "the states tell nothing of this term"
    value = rewards.TERMS[name](env)
    assert value.shape == (N,) and value.dtype == torch.float32
    np.testing.assert_allclose(value, expected, rtol=1e-4, atol=1e-5)


def test_a_limit_itself_is_on_its_lower_side() -> None:
    """Forces that are no more than the limit are none; at the end of its stance a foot is in swing."""
    force = torch.tensor([[3.0, 4.0, 1.0], [3.0, 4.0, 0.9]])  # 5 N across: four times 1 N, and 1 N
    sim = SimpleNamespace(foot_force=force[:, None], body_force=torch.tensor([[1.0, 0.0], [1.01, 2.0]]))
    share = 0.625
    derived = SimpleNamespace(gait_phase=torch.tensor([[share, 0.5], [share, share]]))
    state = SimpleNamespace(contact=torch.tensor([[False, True], [True, False]]))
    config = SimpleNamespace(rewards=SimpleNamespace(stance_share=share))
    env: Any = SimpleNamespace(sim_state=sim, derived=derived, state=state, config=config)
    assert rewards.feet_stumble(env).tolist() == [0, 1]
    assert rewards.collision(env).tolist() == [0, 2]
    assert rewards.gait_contact(env).tolist() == [1, 0.5]


def test_every_definition_is_of_a_term_that_exists(env: ParkourEnv, truth: Truth) -> None:
    assert definitions(env, truth).keys() == rewards.TERMS.keys()


def test_the_sum_is_of_every_weighted_term_over_the_step(env: ParkourEnv, truth: Truth) -> None:
    terms = definitions(env, truth)
    weights = {name: (-1) ** i * (0.3 + 0.1 * i) for i, name in enumerate(terms)}
    config = plain_config()
    config.rewards.weights = weights
    weighted = ParkourEnv(config, N, CPU)
    overwrite(weighted)
    expected = 0.02 * sum(weight * terms[name] for name, weight in weights.items())
    np.testing.assert_allclose(weighted._reward()[0], expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())


@pytest.mark.parametrize(
    ("returned", "found"),
    [(None, "NoneType"), (1.0, "float"), (torch.zeros(()), "()"), (torch.zeros(N, 1), f"({N}, 1)")],
)
def test_a_term_that_returns_no_number_for_each_environment_is_one_clear_line(
    returned: object, found: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = plain_config()
    config.rewards.weights = {"low_base": 1.0, "alive": 1.0}
    monkeypatch.setitem(rewards.TERMS, "low_base", lambda _: returned)
    env = ParkourEnv(config, N, CPU)
    line = f"reward term 'low_base': expected its function to return a tensor ({N},), got {found}"
    with pytest.raises(UserError, match=f"^{re.escape(line)}$"):
        env.step(torch.zeros(N, 10))


@pytest.mark.parametrize("only_positive", [False, True])
def test_the_sum_is_cut_at_zero_only_where_that_is_configured(only_positive: bool) -> None:
    config = plain_config()
    config.rewards.weights = {"tracking_goal_vel": 1.0}  # negative for who walks away from the waypoint
    config.rewards.only_positive = only_positive
    env = ParkourEnv(config, N, CPU)
    expected = 0.02 * definitions(env, overwrite(env))["tracking_goal_vel"]
    assert (expected < -1e-3).any() and (expected > 1e-3).any()
    if only_positive:
        expected = np.maximum(expected, 0.0)
    np.testing.assert_allclose(env._reward()[0], expected, rtol=1e-4, atol=1e-6)


def test_a_step_charges_for_the_falls_that_happen_in_it() -> None:
    config = plain_config()
    config.rewards.weights = {"termination": -100.0}
    env = ParkourEnv(config, 6, CPU)
    up, low = env.sim_state.root_pos.clone(), torch.tensor([0, 1, 0, 0, 1, 1]).bool()
    up[:, 2] = 0.3
    zero, upright = torch.zeros(6, 3), torch.tensor([[1.0, 0, 0, 0]]).repeat(6, 1)
    pose = env.default_joint_pos.repeat(6, 1)
    env.simulator.reset(low, up, upright, zero, zero, pose, pose * 0)
    env.episode_length_buf = torch.where(torch.arange(6) == 0, env.max_episode_length, 0)  # a time-out costs nothing
    _, reward, done, _ = env.step(torch.zeros(6, 10))
    assert done.tolist() == [1, 1, 0, 0, 1, 1]
    assert reward.tolist() == pytest.approx([0, -2, 0, 0, -2, -2])


GOOD = {"tracking_goal_vel", "tracking_lin_vel", "tracking_yaw", "alive", "gait_contact", "feet_air_time"}
"""Terms of which more is better; of all others less is."""


@pytest.mark.parametrize("task", task_names())
def test_the_tasks_reward_what_is_good_and_punish_what_is_bad(task: str) -> None:
    weights = load_config(task).rewards.weights
    assert weights.keys() == rewards.TERMS.keys()  # the file shows all that there are
    for name, weight in weights.items():
        assert weight >= 0 if name in GOOD else weight <= 0, name
    assert weights["tracking_goal_vel"] > 0 > weights["termination"]


@pytest.mark.parametrize("task", task_names())
def test_the_tasks_reward_a_gait_clock_where_it_is_seen_and_the_feets_own_times_where_not(task: str) -> None:
    """At the first levels and at the last ones; never both."""
    config = load_config(task)
    full, terms = config.rewards.weights, {"gait_contact", "gait_swing_height", "feet_air_time", "feet_swing"}
    seen = "gait_phase" in config.observations.others
    for weights in (full, full | config.rewards.start_weights):
        rewarded = {name for name in terms if weights[name] != 0}
        assert rewarded == {name for name in terms if name.startswith("gait_") == seen}


def test_some_weights_move_from_the_first_value_to_the_last_with_the_level() -> None:
    config = plain_config()
    config.rewards.weights = {"alive": 1.0, "orientation": 0.0, "flight": -2.0}
    config.rewards.start_weights = {"flight": -10.0, "orientation": -3.0, "joint_vel": 5.0}
    config.rewards.full_at_level, config.curriculum.start_level, config.terrain.levels = 4, 6, 7
    env = ParkourEnv(config, 40, CPU)
    terms = {name: torch.rand(40) for name in ("alive", "orientation", "flight", "joint_vel")}
    original = dict(rewards.TERMS)
    try:
        for name, value in terms.items():
            rewards.TERMS[name] = lambda e, value=value: value
        level = env.state.terrain_level.clone()
        _, reward, _, extras = env.step(torch.zeros(40, 10))
    finally:
        rewards.TERMS.update(original)
    left = 1 - level.clamp(max=4) / 4
    parts = {
        "alive": terms["alive"],
        "flight": (-2 - 8 * left) * terms["flight"],
        "orientation": -3 * left * terms["orientation"],
        "joint_vel": 5 * left * terms["joint_vel"],
    }
    assert len(set(level.tolist())) == 7
    assert torch.allclose(reward, env.dt * sum(parts.values()), atol=1e-6)
    for name, part in parts.items():
        assert extras["log"][f"Reward/{name}"] == pytest.approx(part.mean().item(), rel=1e-5)


def test_weights_at_the_start_need_a_level_at_which_they_end() -> None:
    config = plain_config()
    config.rewards.weights, config.rewards.start_weights = {"alive": 1.0}, {"alive": 3.0}
    env = ParkourEnv(config, 2, CPU)
    assert env.step(torch.zeros(2, 10))[1].tolist() == pytest.approx([env.dt] * 2)


def test_terms_that_weigh_something_at_some_level_count_and_no_others() -> None:
    config = plain_config().rewards
    config.weights = {"alive": 1.0, "flight": 0.0, "torques": 0.0, "joint_vel": 0.0, "lin_vel_z": 2.0}
    config.start_weights = {"alive": 0.0, "flight": 1.0, "joint_vel": 0.0, "orientation": -3.0, "collision": 0.0}
    config.full_at_level = 2
    weights, levels = rewards.Weights(config, CPU), torch.tensor([0, 1, 2, 3])
    assert weights.names == ["alive", "flight", "lin_vel_z", "orientation"]
    expected = [[0, 1, 2, -3], [0.5, 0.5, 2, -1.5], [1, 0, 2, 0], [1, 0, 2, 0]]
    assert weights.at(levels).tolist() == expected
    config.full_at_level = 0  # no level at which they begin
    weights = rewards.Weights(config, CPU)
    assert weights.names == ["alive", "lin_vel_z"] and weights.at(levels).tolist() == [1, 2]
    config.full_at_level = 1
    assert rewards.Weights(config, CPU).at(levels[:2]).tolist() == [expected[0], expected[2]]


def test_a_term_that_there_is_not_and_weights_that_are_all_zero_are_one_clear_line() -> None:
    for key in ("weights", "start_weights"):
        config = plain_config().rewards
        setattr(config, key, {"tracking_yaaw": 1.0})
        with pytest.raises(UserError) as caught:
            rewards.Weights(config, CPU)
        line = f"unknown reward term in rewards.{key} 'tracking_yaaw' (did you mean 'tracking_yaw'?); allowed: "
        assert str(caught.value).startswith(line)
    config.weights = {"alive": 0.0}
    config.start_weights = {}
    with pytest.raises(UserError) as caught:
        rewards.Weights(config, CPU)
    assert str(caught.value) == "rewards.weights: no reward term has a weight other than 0"


@pytest.mark.parametrize("full_at_level", [0, 2])
def test_the_weights_are_where_the_environment_is(full_at_level: int) -> None:
    config = plain_config().rewards
    config.start_weights, config.full_at_level = {"alive": 3.0}, full_at_level
    level = torch.zeros(5, dtype=torch.int64, device="meta")
    assert rewards.Weights(config, level.device).at(level).device == level.device

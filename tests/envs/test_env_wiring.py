"""That the configuration's numbers reach the environment, and the state reaches observations and curriculum."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from numpy import ndarray
from random_state import CPU, Truth, overwrite, plain_config

from legged_gym_ext.envs.parkour_env import ParkourEnv

N = 200


@pytest.fixture(scope="module")
def env() -> ParkourEnv:
    config = plain_config()
    config.observations.others = ["gait_phase"]
    return ParkourEnv(config, N, CPU)


@pytest.fixture(scope="module")
def truth(env: ParkourEnv) -> Truth:
    return overwrite(env)


def still(env: ParkourEnv) -> torch.Tensor:
    return torch.zeros(env.num_envs, 10)


def privileged_blocks(env: ParkourEnv, truth: Truth) -> dict[str, ndarray]:
    """Return the blocks of the privileged group in their order, each (N, size)."""
    sim, state = truth.sim, truth.state
    angle = 2 * math.pi * truth.gait_phase[:, :1]
    lowest = np.minimum(truth.ground[:, 0], truth.ground[:, 1:].min(axis=1))
    domain = {
        name: tensor.double().numpy().reshape(N, -1) for name, tensor in env.simulator.parameters.tensors().items()
    }
    return {
        "velocity": truth.lin_vel * 2.0,
        "height": np.clip(sim["root_pos"][:, 2] - lowest, 0.0, 2.0)[:, None],
        "clearance": np.clip(truth.clearance, -0.5, 0.5) * 5,
        "force": sim["foot_force"].reshape(N, 6) / 500.0,
        "contact": state["contact"].astype(float),
        "contact_time": np.minimum(state["contact_time"], 1.0),
        "air_time": np.minimum(state["air_time"], 1.0),
        "clock": np.concatenate([np.sin(angle), np.cos(angle)], axis=1),
        "friction": domain["friction"],
        "added_mass": domain["added_mass"],
        "mass_offset": domain["mass_offset"] * 10,
        "motor_strength": domain["motor_strength"],
        "latency": state["action_latency"][:, None],
    }


def test_every_block_of_the_privileged_group_is_the_state(env: ParkourEnv, truth: Truth) -> None:
    group = env.term_groups["privileged"](env)
    blocks = privileged_blocks(env, truth)
    parts = group.split([block.shape[1] for block in blocks.values()], dim=1)  # fails where the width is another
    for (name, block), part in zip(blocks.items(), parts, strict=True):
        assert (np.ptp(block, axis=0) > 0).all(), name
        np.testing.assert_allclose(part, block, rtol=1e-4, atol=1e-4, err_msg=name)


def test_proprioception_and_clock_are_the_state(env: ParkourEnv, truth: Truth) -> None:
    sim, state, commands = truth.sim, truth.state, env.config.commands
    turn = commands.heading_gain * truth.heading_error
    limit = commands.max_yaw_rate
    assert (turn > limit).any() and (turn < -limit).any() and (np.abs(turn) < limit).any()
    speed, rate = state["forward_speed"], np.clip(turn, -limit, limit)
    expected_commands = np.stack([speed, 0 * rate, rate, truth.heading_error], axis=1)
    np.testing.assert_allclose(env.derived.commands, expected_commands, atol=1e-4)
    expected = [
        truth.lin_vel * 2.0,
        truth.ang_vel * 0.25,
        truth.gravity,
        np.stack([speed * 2.0, 0 * rate, rate * 0.25, truth.heading_error], axis=1),
        sim["joint_pos"] - env.robot.default_joint_pos,
        sim["joint_vel"] * 0.05,
        state["actions"][0],
    ]
    np.testing.assert_allclose(env.term_groups["proprio"](env), np.concatenate(expected, axis=1), atol=1e-4)
    angle = 2 * math.pi * truth.gait_phase[:, 0]
    np.testing.assert_allclose(
        env.term_groups["gait_phase"](env), np.stack([np.sin(angle), np.cos(angle)], 1), atol=1e-4
    )


def test_observations_are_clipped_except_for_the_image() -> None:
    clipped, free = [], []
    for limit, results in ((0.3, clipped), (1e6, free)):
        config = plain_config()
        config.camera.enabled = True
        config.observations.clip = limit
        config.observations.others = ["gait_phase"]
        env = ParkourEnv(config, 8, CPU)
        results += [env.get_observations(), env.step(still(env))[0]]
    for ours, whole in zip(clipped, free, strict=True):
        assert ours.keys() == whole.keys()
        for name in ours.keys():  # noqa: SIM118
            expected = whole[name].numpy() if name == "depth" else np.clip(whole[name], -0.3, 0.3)
            np.testing.assert_array_equal(ours[name], expected, err_msg=name)
            assert whole[name].abs().max() > 0.3 or name in ("scan", "new_frame"), name


def test_actions_are_clipped_for_the_motors_and_in_what_is_seen_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    config = plain_config()
    config.observations.clip_actions = 0.4
    config.randomization.action_latency = [0, 0]
    env = ParkourEnv(config, 8, CPU)
    targets: list[torch.Tensor] = []
    monkeypatch.setattr(env.simulator, "step", lambda joint_targets: targets.append(joint_targets.clone()))
    actions = torch.randn(8, 10)
    assert (actions > 0.4).any() and (actions < -0.4).any() and (actions.abs() < 0.4).any()
    observation, _, done, _ = env.step(actions)
    assert not done.any()
    expected = np.clip(actions.numpy(), -0.4, 0.4)
    np.testing.assert_array_equal(observation["proprio"][:, -10:], expected)
    np.testing.assert_allclose(targets[0], env.robot.default_joint_pos + env.robot.action_scale * expected, atol=1e-6)


@pytest.mark.parametrize("enabled", [False, True])
def test_noise_has_the_configured_amplitude_in_the_scale_of_each_number(enabled: bool) -> None:
    seen = []
    for amplitudes in ((0.3, 0.5, 0.07, 0.02, 1.5), (0.0,) * 5):
        config = plain_config()
        noise = config.observations.noise
        noise.enabled = enabled
        noise.lin_vel, noise.ang_vel, noise.gravity, noise.joint_pos, noise.joint_vel = amplitudes
        env = ParkourEnv(config, N, CPU)
        seen.append([env.get_observations()["proprio"].double(), env.step(still(env))[0]["proprio"].double()])
    largest = np.array(
        [0.3 * 2.0] * 3 + [0.5 * 0.25] * 3 + [0.07] * 3 + [0.0] * 4 + [0.02] * 10 + [1.5 * 0.05] * 10 + [0.0] * 10
    )
    largest *= enabled
    noises = [(noisy - clean).numpy() for noisy, clean in zip(*seen, strict=True)]
    for noise in noises:  # uniform: the extremes of 200 numbers are near its bounds, and both signs are as likely
        assert (np.abs(noise) <= largest + 1e-5).all()
        assert (noise.max(axis=0) >= 0.9 * largest - 1e-5).all() and (noise.min(axis=0) <= -0.9 * largest).all()
        assert (np.abs(noise.mean(axis=0)) <= 0.25 * largest + 1e-5).all()
    if enabled:
        assert np.abs(noises[0] - noises[1])[:, largest > 0].min(axis=0).max() > 0  # drawn anew each step


def test_progress_and_the_feets_times_follow_where_robots_go_and_what_their_feet_feel() -> None:
    config = plain_config()
    config.terrain.length = 9.0
    env = ParkourEnv(config, N, CPU)
    random = np.random.default_rng(0)
    furthest, touched, flown = np.zeros(N), np.zeros((N, 2)), np.zeros((N, 2))
    for _ in range(6):
        x, force = random.uniform(-3.0, 12.0, N), random.uniform(-1.2, 1.2, (N, 2, 3))
        env.sim_state.root_pos[:, 0] = torch.as_tensor(x)
        env.sim_state.foot_force.copy_(torch.as_tensor(force))
        env._advance()
        furthest = np.minimum(np.maximum(furthest, x), 9.0)
        contact = np.sqrt(np.square(force).sum(axis=2)) > 1.0
        touched, flown = np.where(contact, touched + 0.02, 0.0), np.where(contact, 0.0, flown + 0.02)
        np.testing.assert_allclose(env.state.progress, furthest, rtol=1e-6)
        np.testing.assert_array_equal(env.state.contact, contact)
        np.testing.assert_allclose(env.state.contact_time, touched, atol=1e-6)
        np.testing.assert_allclose(env.state.air_time, flown, atol=1e-6)
    assert touched.max() > 0.05 and flown.max() > 0.05 and (furthest == 9.0).any()


def test_an_episode_that_ends_moves_the_level_by_its_progress_and_its_command() -> None:
    config = plain_config()
    config.terrain.levels, config.terrain.variants, config.terrain.length = 5, 1, 9.0
    config.env.episode_length_s = 14.0
    config.curriculum.promote, config.curriculum.demote = 0.7, 0.3
    env = ParkourEnv(config, N, CPU)
    random = np.random.default_rng(0)
    progress, speed = random.uniform(0.5, 9.0, N), random.uniform(0.2, 1.2, N)  # the start platform ends before 0.5 m
    level, over = random.integers(0, 4, N), random.random(N) < 0.8
    state = env.state
    state.progress.copy_(torch.as_tensor(progress))
    state.forward_speed.copy_(torch.as_tensor(speed))
    state.terrain_level.copy_(torch.as_tensor(level))
    state.episode_length.copy_(torch.as_tensor(np.where(over, env.max_episode_length - 1, 5)))
    _, _, done, extras = env.step(still(env))
    assert np.array_equal(done.numpy(), over) and np.array_equal(extras["time_outs"].numpy(), over)
    expected = []
    for i in range(N):
        asked = min(speed[i] * 14.0, 9.0)
        up, down = progress[i] >= 0.7 * asked, progress[i] < 0.3 * asked
        expected.append(max(level[i] + int(up) - int(down), 0) if over[i] else level[i])
    assert state.terrain_level.tolist() == expected
    moves = (np.array(expected) - level)[over]
    slow = (speed * 14.0 < 9.0)[over]
    for move in (-1, 0, 1):
        assert (moves[slow] == move).any() and (moves[~slow] == move).any()
    np.testing.assert_allclose(extras["progress"], progress, rtol=1e-6)
    assert np.array_equal(extras["terrain_level"].numpy(), level)  # on which the episode was
    assert np.array_equal(state.progress[over].numpy(), np.zeros(over.sum()))


def test_who_is_promoted_from_the_highest_level_gets_any() -> None:
    config = plain_config()
    env = ParkourEnv(config, N, CPU)
    env.state.terrain_level[:] = config.terrain.levels - 1
    env.state.progress[:] = config.terrain.length
    env.state.episode_length[:] = env.max_episode_length - 1
    env.step(still(env))
    assert env.state.terrain_level.unique().tolist() == list(range(config.terrain.levels))


def spread(values: ndarray, low: float, high: float) -> bool:
    """Return whether values are within [low, high] and fill it."""
    assert values.min() >= low - 1e-5 and values.max() <= high + 1e-5
    return np.ptp(values) > 0.9 * (high - low)


def test_episodes_start_with_the_configured_speeds_headings_and_poses() -> None:
    config = plain_config()
    config.commands.forward_speed = [0.31, 0.37]
    config.randomization.initial_yaw, config.randomization.initial_joint_pos = 1.2, 0.02
    env = ParkourEnv(config, N, CPU)
    for restart in range(2):
        if restart:  # by a time-out, the other way to a new episode
            env.episode_length_buf = torch.full((N,), env.max_episode_length)
            env.step(still(env))
        quat = env.sim_state.root_quat.double().numpy()
        assert np.abs(quat[:, 1:3]).max() < 1e-6
        assert spread(2 * np.arctan2(quat[:, 3], quat[:, 0]), -1.2, 1.2)
        assert spread(env.state.forward_speed.double().numpy(), 0.31, 0.37)
        assert spread(env.get_observations()["proprio"][:, 9].double().numpy(), 2 * 0.31, 2 * 0.37)
        for column in (env.sim_state.joint_pos - env.default_joint_pos).double().numpy().T:
            assert spread(column, -0.02, 0.02)


def test_who_has_mastered_a_kind_is_on_tiles_of_another_then() -> None:
    """And only who has: everybody else, and everybody where all stay, keeps the kind."""
    config = plain_config()
    config.curriculum.even_share = 0.0
    env = ParkourEnv(config, N, CPU)
    kinds, top = len(env.library.kinds), config.terrain.levels - 1
    for even_share in (0.0, 1.0):
        config.curriculum.even_share = even_share
        kind = torch.arange(N) % kinds
        env.place(kind, torch.where(kind < 4, top, 0))  # half of the kinds are easy
        over, far = torch.rand(N) < 0.7, torch.rand(N) < 0.7
        env.state.progress[:] = torch.where(far, config.terrain.length, 0.5 * config.terrain.length)
        env.state.episode_length[over] = env.max_episode_length
        env.step(still(env))
        moved = env.state.terrain_kind != kind
        assert not moved[~(over & far & (kind < 4))].any()
        assert moved.any() == (even_share == 0.0)
        assert (env.state.terrain_kind[moved] >= 4).all() and (env.state.terrain_level[moved] <= 1).all()
        tile = env.library.tile_index(env.state.terrain_kind, env.state.terrain_level, torch.zeros(N, dtype=torch.long))
        assert ((env.simulator.tile - tile >= 0) & (env.simulator.tile - tile < config.terrain.variants)).all()


def test_commanded_speeds_move_from_the_first_range_to_the_last_with_the_level() -> None:
    config = plain_config()
    config.commands.start_speed, config.commands.forward_speed = [0.1, 0.2], [0.5, 1.0]
    config.commands.full_at_level, config.curriculum.start_level, config.terrain.levels = 4, 6, 7
    env = ParkourEnv(config, 800, CPU)
    for level in range(7):
        share = min(level / 4, 1)
        speeds = env.state.forward_speed[env.state.terrain_level == level].double().numpy()
        assert spread(speeds, 0.1 + 0.4 * share, 0.2 + 0.8 * share), level
    config.commands.full_at_level = 0
    assert spread(ParkourEnv(config, 300, CPU).state.forward_speed.double().numpy(), 0.5, 1.0)


def test_the_log_has_the_mean_level_of_each_kind() -> None:
    config = plain_config()
    config.curriculum.enabled = False
    env = ParkourEnv(config, 50, CPU)
    kinds = env.library.kinds
    kind, level = torch.arange(50) % (len(kinds) - 1), torch.randint(config.terrain.levels, (50,))
    env.place(kind, level)  # the last kind is nowhere
    log = env.step(still(env))[3]["log"]
    for number, name in enumerate(kinds):
        levels = level[kind == number].double()
        expected = levels.mean().item() if len(levels) else 0.0
        assert log[f"TerrainLevel/{name}"].item() == pytest.approx(expected)

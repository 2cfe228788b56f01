"""What the controls of play.py's page do to the environment; no browser, and nothing of viser."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest
import torch
from small_env import CPU
from untrained_run import untrained_run

from legged_gym_ext.envs.outcome import Outcome
from legged_gym_ext.envs.parkour_env import ParkourEnv
from legged_gym_ext.errors import UserError
from legged_gym_ext.evaluation import rollout
from legged_gym_ext.learning.runner import ParkourRunner
from legged_gym_ext.rendering.web import player as player_module
from legged_gym_ext.rendering.web.controls import Buttons, Choice, Slider, Switch
from legged_gym_ext.rendering.web.player import ALL, MIX, PUSHES, RESET, STEP, Player
from legged_gym_ext.runs.folder import find_saved
from legged_gym_ext.runs.settle import settle

N = 6


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return untrained_run(tmp_path_factory.mktemp("logs"))


@pytest.fixture(scope="module")
def made(folder: Path) -> tuple[ParkourEnv, ParkourRunner, Path]:
    return make(folder)


def make(folder: Path) -> tuple[ParkourEnv, ParkourRunner, Path]:
    """Return what plays a run, and its last checkpoint."""
    args = argparse.Namespace(
        pretrained=False, load_run=str(folder), wandb_run=None, checkpoint=-1, task=None, experiment_name=None
    )
    args.overrides = rollout.overrides(None, randomize=False)
    asked, checkpoint = find_saved(args)
    config = settle(asked)
    env = ParkourEnv(config, N, CPU)
    return env, ParkourRunner(env, config, None, "cpu"), checkpoint


@pytest.fixture
def player(made) -> Player:
    env, runner, checkpoint = made
    runner.load(str(checkpoint), resume=False)
    return Player(env, runner, checkpoint, None, None, 0.8)


def value(player: Player, name: str):
    return next(control.value for control in player.controls() if control.name == name)


def test_every_control_has_the_value_that_it_was_given(player: Player) -> None:
    """And all that a control offers can be done."""
    for control in player.controls():
        match control:
            case Switch(name=name):
                for new in (True, False):
                    player.set(name, new)
                    assert value(player, name) is new
            case Choice(name=name, options=options):
                for new in options:
                    player.set(name, new)
                    assert value(player, name) == new
            case Slider(name=name, low=low, high=high):
                for new in (high, low, control.value):
                    player.set(name, new)
                    assert value(player, name) == new
            case Buttons(name=name, words=words):
                for word in words:
                    player.set(name, word)
    assert player.advance() is not None or player.paused


def test_time_stands_still_while_paused_and_a_step_is_one_step(player: Player) -> None:
    player.set("paused", True)
    before = player.env.snapshot()
    assert player.advance() is None
    assert torch.equal(player.env.snapshot()["environment"]["episode_length"], before["environment"]["episode_length"])
    for _ in range(3):
        player.set("do", STEP)
    steps = 0
    while player.advance() is not None:
        steps += 1
    assert steps == 3
    assert player.env.state.episode_length.tolist() == [3] * N
    player.set("paused", False)
    assert player.advance() is not None


def test_the_commanded_speed_is_the_sliders_in_all_environments_and_in_new_episodes(player: Player) -> None:
    player.set("speed", 0.35)
    player.advance()
    torch.testing.assert_close(player.env.get_observations()["proprio"][:, 9], torch.full((N,), 0.35 * 2.0))
    player.env.state.episode_length.fill_(player.env.max_episode_length)  # time is out with the next step
    ended = player.advance()
    assert ended is not None and ended.all()
    torch.testing.assert_close(player.env.get_observations()["proprio"][:, 9], torch.full((N,), 0.35 * 2.0))
    player.set("do", RESET)
    torch.testing.assert_close(player.env.state.forward_speed, torch.full((N,), 0.35))
    assert player.sight().commanded == pytest.approx(0.35)


def test_where_a_step_is_a_recording_new_episodes_have_the_sliders_speed_from_their_first_step_on(
    player: Player, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a GPU it does not read the configuration any more, and new episodes draw a speed from the old range."""
    monkeypatch.setattr(player_module, "command", lambda config, speed: None)
    player.env.config.commands.forward_speed = [0.9, 1.4]
    player.set("speed", 0.35)
    player.env.state.episode_length.fill_(player.env.max_episode_length)
    player.advance()
    torch.testing.assert_close(player.env.state.forward_speed, torch.full((N,), 0.35))


@pytest.mark.parametrize("name", ["heading_gain", "max_yaw_rate"])
def test_how_robots_turn_to_the_waypoint_can_be_changed(player: Player, name: str) -> None:
    player.set(name, 0.0)
    player.advance()
    yaw_rates = player.env.get_observations()["proprio"][:, 11]
    assert yaw_rates.abs().max() == 0
    player.set(name, 1.0)
    player.advance()
    assert player.env.get_observations()["proprio"][:, 11].abs().min() > 0


def test_a_push_is_of_the_watched_robot_alone_and_of_the_speed_and_direction_asked_for(player: Player) -> None:
    player.set("push_speed", 1.5)
    player.set("environment", 2)
    for word, direction in PUSHES.items():
        player.set("do", RESET)
        before = player.env.simulator.snapshot()
        player.set("push", word)
        after = player.env.simulator.snapshot()
        changed = {name for name, tensor in after.items() if not torch.equal(tensor, before[name])}
        assert changed == {"root_lin_vel", "physics"}
        expected = torch.zeros(N, 3)
        expected[2, :2] = 1.5 * torch.tensor(direction)
        torch.testing.assert_close(after["root_lin_vel"] - before["root_lin_vel"], expected)
        assert not (after["physics"] != before["physics"])[[0, 1, 3, 4, 5]].any()


def test_terrain_is_the_kind_and_level_chosen_in_fresh_episodes(player: Player) -> None:
    env = player.env
    kinds = env.library.kinds
    for _ in range(3):
        player.advance()
    player.set("kind", kinds[-1])
    player.set("level", "2")
    assert set(env.state.terrain_kind.tolist()) == {len(kinds) - 1}
    assert set(env.state.terrain_level.tolist()) == {2}
    assert env.state.episode_length.tolist() == [0] * N
    sight = player.sight()
    assert (sight.moment.kind, sight.moment.level, sight.actions, sight.rewards) == (kinds[-1], 2, {}, {})
    player.set("kind", MIX)
    player.set("level", ALL)
    assert env.state.terrain_kind.tolist() == env.library.assign_kinds(N).tolist()
    assert env.state.terrain_level.tolist() == rollout.spread_levels(env.state.terrain_kind, 3).tolist()


def test_policies_see_the_same_and_who_is_chosen_acts(player: Player, monkeypatch: pytest.MonkeyPatch) -> None:
    acted = []
    step = ParkourEnv.step
    monkeypatch.setattr(ParkourEnv, "step", lambda env, actions: (acted.append(actions.clone()), step(env, actions))[1])
    assert player.policy == "student"
    for policy in ("student", "teacher"):
        player.set("policy", policy)
        player.set("environment", 1)
        player.set("do", RESET)
        player.advance()
        sight = player.sight()
        first, second = sight.actions
        assert (first, {first, second}) == (policy, {"student", "teacher"})
        torch.testing.assert_close(torch.from_numpy(sight.actions[policy]), acted[-1][1])
        assert not torch.equal(torch.from_numpy(sight.actions[second]), acted[-1][1])


def test_the_student_remembers_as_it_would_alone(player: Player) -> None:
    """Whoever acts; its memory goes back to nothing where an episode ends."""
    env, runner = player.env, player._runner
    player.set("policy", "teacher")
    alone = runner.get_inference_policy("student")
    for step in range(4):
        with torch.no_grad():
            expected = alone(env.get_observations())
        if step == 1:
            env.state.episode_length[:3] = env.max_episode_length  # the watched one's, too
        ended = player.advance()
        assert ended is not None
        alone.reset(ended)
        torch.testing.assert_close(torch.from_numpy(player.sight().actions["student"]), expected[player.index])


def test_reward_terms_are_those_of_the_watched_environment(player: Player) -> None:
    player.set("environment", 3)
    seen: list = []
    player.env.onlooker = lambda actions, extras: seen.append(extras)
    try:
        player.advance()
    finally:
        player.env.onlooker = None
    rewards = player.sight().rewards
    assert tuple(rewards) == tuple(player.env.reward_weights.names)
    for column, name in enumerate(rewards):
        each = seen[0]["reward_terms"][:, column] / player.env.dt
        assert rewards[name] == pytest.approx(each[3].item(), abs=1e-6)
        assert seen[0]["log"][f"Reward/{name}"].item() == pytest.approx(each.mean().item(), abs=1e-4)


def test_checkpoints_can_be_changed_and_new_ones_found(player: Player, folder: Path) -> None:
    assert value(player, "checkpoint") == "model_3"
    player.set("checkpoint", "model_0")
    assert value(player, "checkpoint") == "model_0"
    assert player.policy == "teacher"  # of model_0 no student is trained
    assert player.env.state.episode_length.tolist() == [0] * N
    with pytest.raises(UserError, match="allowed: teacher"):
        player.set("policy", "student")
    new = folder / "model_7.pt"
    try:
        new.write_bytes((folder / "model_3.pt").read_bytes())
        with pytest.raises(UserError, match="model_7"):
            player.set("checkpoint", "model_7")
        player.set("look", "look for new checkpoints")
        player.set("checkpoint", "model_7")
        assert "model_7" in player.status()
        new.write_bytes(b"damaged")
        player.set("checkpoint", "model_3")
        with pytest.raises(UserError, match="model_7.pt"):
            player.set("checkpoint", "model_7")
        assert value(player, "checkpoint") == "model_3"
        assert player.advance() is not None
    finally:
        new.unlink()


def test_the_guide_is_called_so_and_hands_over_to_the_teacher(tmp_path: Path) -> None:
    env, runner, checkpoint = make(untrained_run(tmp_path, "guide.enabled=true"))
    runner.load(str(checkpoint.parent / "model_0.pt"), resume=False)
    player = Player(env, runner, checkpoint.parent / "model_0.pt", "teacher", None, 0.8)
    player.advance()
    assert list(player.sight().actions) == ["guide"] and "**guide** of model_0" in player.status()
    assert next(control for control in player.controls() if control.name == "policy") == Choice(
        "policy", "policy", ("guide",), "guide"
    )
    player.set("checkpoint", "model_3")
    player.advance()
    assert list(player.sight().actions) == ["teacher", "student"] and "**teacher** of model_3" in player.status()
    player.set("checkpoint", "model_0")
    assert player.policy == "guide"


def test_the_end_of_each_episode_is_counted_until_something_else_is_played(player: Player) -> None:
    player.env.state.episode_length[:4] = player.env.max_episode_length
    player.advance()
    assert player.ended[Outcome.TIMED_OUT] == 4
    assert "4 (time out 100%)" in player.status()
    for name, new in (("policy", "teacher"), ("level", "1"), ("do", RESET)):
        player.ended[Outcome.TIPPED] = 1
        player.set(name, new)
        assert sum(player.ended.values()) == 0


def test_a_policy_that_was_not_trained_cannot_be_asked_for(made) -> None:
    env, runner, checkpoint = made
    runner.load(str(checkpoint.parent / "model_0.pt"), resume=False)
    with pytest.raises(UserError, match="no trained student"):
        Player(env, runner, checkpoint, "student", None, 0.8)

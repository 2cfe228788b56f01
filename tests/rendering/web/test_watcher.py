"""Watching a training: what is seen of it, what it costs, and that it stays the same. No browser, nothing of viser."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from dummy_runner import assert_same
from small_env import CPU

from legged_gym_ext.config.files import load_config
from legged_gym_ext.envs.parkour_env import ParkourEnv
from legged_gym_ext.errors import UserError
from legged_gym_ext.learning.runner import ParkourRunner
from legged_gym_ext.rendering.web import watcher as watcher_module
from legged_gym_ext.rendering.web.controls import Choice, Slider, Switch
from legged_gym_ext.rendering.web.watcher import Watcher
from legged_gym_ext.runs.settle import seed_everything, settle

ROLLOUT, DAGGER = 4, 6  # steps
SMALL = (
    *(
        "env.num_envs=3",
        "terrain.variants=1",
        "terrain.levels=2",
        "camera.resolution=[16,16]",
        "env.episode_length_s=0.2",
    ),
    *("teacher.hidden_dims=[8]", "teacher.critic_hidden_dims=[8]", "teacher.depth_block=1", "runner.logger=none"),
    *(f"runner.num_steps_per_env={ROLLOUT}", "ppo.num_mini_batches=1", "ppo.num_learning_epochs=1"),
    *("guide.enabled=false", "distill.start=0", "distill.start_level=0", "distill.interval=1"),
    *(f"distill.steps_per_env={DAGGER}", "distill.bptt_steps=3", "distill.mini_batches=1"),
)


def trained(prepare: Callable[[Watcher], None] | None, iterations: int = 2, *overrides: str) -> ParkourRunner:
    """Train a little, watched where there is something to ``prepare``."""
    seed_everything(5)
    config = settle(load_config("parkour_depth", [*SMALL, *overrides]))
    env = ParkourEnv(config, 3, CPU)
    runner = ParkourRunner(env, config, None, "cpu")
    if prepare:
        env.onlooker = runner.watcher = Watcher(env, runner.policy_names)
        prepare(runner.watcher)
    runner.learn(iterations)
    return runner


def everything(runner: ParkourRunner) -> dict:
    return runner.saving.content([runner.saving.own_state()])


def watch(watcher: Watcher) -> None:
    watcher.wanted = True


@pytest.fixture(scope="module")
def alone() -> dict:
    return everything(trained(None))


@pytest.fixture(scope="module")
def watched() -> tuple[ParkourRunner, dict]:
    runner = trained(watch)
    return runner, everything(runner)  # before anything else seeds torch's generator


def test_a_watched_training_is_the_same_bit_for_bit(alone: dict, watched: tuple[ParkourRunner, dict]) -> None:
    assert_same(watched[1], alone)


def test_the_comparison_would_notice(alone: dict) -> None:
    """A watcher that draws a random number, say."""

    def disturb(watcher: Watcher) -> None:
        def look(*_) -> None:
            torch.rand(1, generator=watcher._env.generator)

        watcher._env.onlooker = look

    with pytest.raises(AssertionError):
        assert_same(everything(trained(disturb)), alone)


def test_all_steps_of_the_lanes_turns_are_seen_in_their_order(watched: tuple[ParkourRunner, dict]) -> None:
    runner, watcher = watched[0], watched[0].watcher
    assert watcher is not None
    sights = list(iter(watcher.next, None))
    assert len(sights) == 2 * ROLLOUT
    assert {tuple(sight.actions) for sight in sights} == {("teacher",)}
    steps = [round(sight.moment.time / watcher._env.dt) for sight in sights]
    assert all(later == earlier + 1 or later == 0 for earlier, later in zip(steps, steps[1:], strict=False))
    assert all(np.isfinite(list(sight.rewards.values())).all() for sight in sights)
    assert watcher.iteration == runner.iteration - 1 == 1


def test_the_students_turns_are_seen_where_they_are_asked_for() -> None:
    def student(watcher: Watcher) -> None:
        watcher.wanted = True
        watcher.set("lane", "student")
        watcher.set("environment", 2)

    watcher = trained(student, iterations=1).watcher
    assert watcher is not None
    sights = list(iter(watcher.next, None))
    assert len(sights) == DAGGER
    assert {(*sight.actions, sight.index) for sight in sights} == {("student", 2)}


def test_who_acts_on_the_teachers_lane_is_called_the_guide_as_long_as_it_is_the_guide() -> None:
    """In what was seen, and by the control that chooses it."""
    guided = ("guide.enabled=true", "guide.iterations=1", "guide.rounds=2", "guide.steps_per_env=5")
    chosen: list[Choice] = []

    def choose(watcher: Watcher) -> None:
        chosen.append(next(control for control in watcher.controls() if isinstance(control, Choice)))
        assert "the **guide**'s" in watcher.status()
        watcher.set("lane", "student")
        watcher.set("lane", "guide")
        watch(watcher)

    watcher = trained(choose, 2, *guided, "guide.mini_batches=1").watcher
    assert watcher is not None
    # The first round of the imitation is the guide's (guide.beta=1), the second one mostly the teacher's, then PPO's.
    expected = ["guide"] * (ROLLOUT + 5) + ["teacher"] * (5 + ROLLOUT)
    assert [name for sight in iter(watcher.next, None) for name in sight.actions] == expected
    chosen.append(next(control for control in watcher.controls() if isinstance(control, Choice)))
    assert [(choice.options, choice.value) for choice in chosen] == [
        (("guide", "student"), "guide"),
        (("teacher", "student"), "teacher"),
    ]
    assert "the **teacher**'s" in watcher.status()


def test_where_nobody_watches_or_drawing_is_paused_nothing_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watcher_module, "see", lambda *_: pytest.fail("somebody looked"))
    trained(lambda watcher: None, iterations=1)


def test_nothing_that_a_page_can_do_changes_the_training(alone: dict) -> None:
    def everything_pressed(watcher: Watcher) -> None:
        watch(watcher)
        for control in watcher.controls():
            match control:
                case Switch(value=value):
                    values = (not value, value)
                case Choice(options=options):
                    values = options
                case Slider(low=low, high=high):
                    values = (low, high)
                case _:
                    pytest.fail(f"an untried kind of control: {control}")
            for value in values:
                watcher.set(control.name, value)

    assert_same(everything(trained(everything_pressed)), alone)
    watcher = Watcher(ParkourEnv(settle(load_config("parkour_depth", SMALL)), 3, CPU), {"teacher": "teacher"})
    assert {control.name for control in watcher.controls()} == {"paused", "pace", "environment", "lane"}
    for name in ("speed", "push", "do", "level"):
        with pytest.raises(UserError, match="unknown control"):
            watcher.set(name, 1)


def test_what_is_not_shown_in_time_is_dropped_from_the_front() -> None:
    env = ParkourEnv(settle(load_config("parkour_depth", SMALL)), 3, CPU)
    watcher = env.onlooker = Watcher(env, {"teacher": "teacher"})
    watcher.wanted = True
    kept = round(10.0 / env.dt)
    _, _, _, extras = env.step(torch.zeros(3, 10))
    for _ in range(kept + 7):
        watcher(torch.zeros(3, 10), extras)
    assert len(list(iter(watcher.next, None))) == kept
    watcher(torch.zeros(3, 10), extras)
    watcher.set("environment", 1)  # what was seen of another one is not shown
    assert watcher.next() is None

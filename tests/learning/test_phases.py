"""Phases of learning: what a phase from outside the package must do, and that nothing else needs to know of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from dummy_env import NUM_ACTIONS, DummyEnv, small_config
from dummy_runner import assert_same, distillation, make, teacher_ppo
from rsl_rl.storage import RolloutStorage
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import nn

from legged_gym_ext.config.schema import Config
from legged_gym_ext.device import memory
from legged_gym_ext.errors import UserError
from legged_gym_ext.learning import phases
from legged_gym_ext.learning.lanes import Lane
from legged_gym_ext.learning.phases.base import Outcome, Phase, Setting
from legged_gym_ext.runs.checkpoint import load_checkpoint


class Counting(Phase):
    """Counts its runs, in every third iteration from the second on."""

    title = "counting"
    lane = "teacher"

    def __init__(self) -> None:
        self.runs = 0

    def due(self, iteration: int) -> bool:
        return iteration % 3 == 1

    def run(self, lane: Lane) -> Outcome:
        self.runs += 1
        return Outcome({"Count/runs": float(self.runs)}, {"counting": 0.25})

    def state_dict(self) -> dict[str, Any]:
        return {"runs": self.runs}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.runs = state["runs"]


class Resting(Phase):
    """Stands still on a lane of its own for a few steps, in every iteration, and keeps what it saw last."""

    title = "resting"
    lane = "rest"
    STEPS = 3

    def __init__(self) -> None:
        self.seen = torch.zeros(0)

    @classmethod
    def steps(cls, config: Config) -> int:
        return cls.STEPS

    @classmethod
    def stores(cls, config: Config) -> list[str]:
        return ["proprio", "gait_phase", "depth"]

    def due(self, iteration: int) -> bool:
        return True

    def run(self, lane: Lane) -> Outcome:
        with lane.turn() as env:
            for _ in range(self.STEPS):
                obs, rewards, dones, extras = env.step(torch.zeros(env.num_envs, NUM_ACTIONS))
                lane.statistics.add(rewards, dones, extras)
        self.seen = obs["proprio"]
        return Outcome({}, {"resting": 0.1})

    def own_state(self) -> torch.Tensor:
        return self.seen

    def load_own_state(self, state: torch.Tensor) -> None:
        self.seen = state


class Skilled(Counting):
    """Due once the teacher has finished episodes everywhere."""

    title = "skilled"

    @classmethod
    def make(cls, setting: Setting) -> Skilled:
        phase = cls()
        phase.teacher = setting.lanes["teacher"]  # type: ignore[attr-defined]
        return phase

    def due(self, iteration: int) -> bool:
        return bool(self.teacher.statistics.finished.all())  # type: ignore[attr-defined]


@pytest.fixture(autouse=True)
def _own_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a test registers is gone after it."""
    monkeypatch.setattr(phases, "PHASES", dict(phases.PHASES))


def scalars(folder: Path, tag: str) -> dict[int, float]:
    events = EventAccumulator(str(folder)).Reload()
    return {event.step: event.value for event in events.Scalars(tag)}


def test_a_phase_from_outside_runs_when_it_is_due_and_is_told_of(tmp_path: Path, capsys: Any) -> None:
    phases.register("counting", Counting)
    make(tmp_path, small_config(logger="tensorboard")).learn(6)
    assert scalars(tmp_path, "Count/runs") == {2: 1.0, 5: 2.0}  # after the iterations with index 1 and 4
    assert scalars(tmp_path, "Perf/counting_time") == {2: 0.25, 5: 0.25}
    blocks = capsys.readouterr().out.split("iteration ")[1:]
    assert [("counting        runs" in block) for block in blocks] == [False, True, False, False, True, False]
    assert [("counting 0.25 s" in block) for block in blocks] == [False, True, False, False, True, False]
    assert "  counting        runs 2\n" in blocks[4]
    rows = [line.split()[0] for line in blocks[4].splitlines()[1:5]]
    assert rows == ["time", "PPO", "distillation", "counting"]  # in the order in which they run


def test_the_state_of_a_phase_survives(tmp_path: Path) -> None:
    phases.register("counting", Counting)
    phases.register("rest", Resting)
    make(tmp_path / "whole").learn(6)
    make(tmp_path / "parts").learn(3)
    resumed = make(tmp_path / "parts", seed=99)
    resumed.load(str(tmp_path / "parts" / "model_3.pt"))
    resumed.learn(3)
    whole, parts = (load_checkpoint(tmp_path / run / "model_6.pt") for run in ("whole", "parts"))
    assert whole["phases"]["counting"] == {"runs": 2}
    assert list(whole["phases"]) == ["ppo", "distillation", "counting", "rest"]
    assert whole["ranks"][0]["phases"]["rest"].shape == (4, 43)
    assert_same(whole, parts)


def test_a_phase_without_steps_changes_nothing_about_the_others(tmp_path: Path) -> None:
    make(tmp_path / "without").learn(3)
    phases.register("counting", Counting)
    make(tmp_path / "with").learn(3)
    without, with_it = (load_checkpoint(tmp_path / run / "model_3.pt") for run in ("without", "with"))
    assert with_it["phases"].pop("counting") == {"runs": 1}
    assert with_it["ranks"][0]["phases"].pop("counting") is None
    assert_same(without, with_it)


def test_a_phase_on_a_new_lane_has_its_own_episodes(tmp_path: Path, capsys: Any) -> None:
    phases.register("rest", Resting)
    runner = make(tmp_path, small_config(logger="tensorboard", init_at_random_ep_len=False))
    alone = DummyEnv(small_config(), 4)  # with the same seed
    runner.learn(4)
    for _ in range(4 * Resting.STEPS):
        alone.step(torch.zeros(4, NUM_ACTIONS))
    assert list(runner.lanes) == ["teacher", "student", "rest"]
    assert_same(runner.lanes["rest"].snapshot, alone.snapshot())
    assert set(scalars(tmp_path, "TerrainLevel/rest")) == {1, 2, 3, 4}
    assert runner.total_steps == 4 * (4 * 6 + 3 * 6 + 4 * 3)  # environments x (teacher's, student's, resting)
    assert "     teacher     student        rest\n" in capsys.readouterr().out
    with pytest.raises(UserError, match="this run has no trained rest after 4 iterations; use teacher"):
        runner.get_inference_policy("rest")


def test_a_phase_whose_run_returns_nothing_is_one_clear_line(monkeypatch: pytest.MonkeyPatch) -> None:
    phases.register("rest", Resting)
    monkeypatch.setattr(Resting, "run", lambda self, lane: None)
    with pytest.raises(UserError, match="^phase 'rest': expected run to return an Outcome, got NoneType$"):
        make(None).learn(1)


def test_a_lane_that_is_new_to_a_run_begins_where_the_first_one_is(tmp_path: Path, capsys: Any) -> None:
    make(tmp_path).learn(2)
    phases.register("rest", Resting)
    runner = make(None)
    capsys.readouterr()
    runner.load(str(tmp_path / "model_2.pt"))
    assert capsys.readouterr().out == ""
    (own,) = load_checkpoint(tmp_path / "model_2.pt")["ranks"]
    for lane, snapshot in (("rest", "teacher"), ("student", "student")):
        assert_same(runner.lanes[lane].snapshot, own["lanes"][snapshot])
    runner.learn(1)


def test_a_phase_that_a_run_lacks_is_left_out(tmp_path: Path) -> None:
    phases.register("counting", Counting)
    phases.register("rest", Resting)
    make(tmp_path / "first").learn(2)
    for name in ("counting", "rest"):
        del phases.PHASES[name]
    runner = make(tmp_path / "second")
    runner.load(str(tmp_path / "first" / "model_2.pt"))
    runner.learn(1)
    content = load_checkpoint(tmp_path / "second" / "model_3.pt")
    assert list(content["phases"]) == ["ppo", "distillation"]
    assert list(content["ranks"][0]["lanes"]) == ["teacher", "student"]


def test_a_schedule_may_follow_the_teachers_skill(tmp_path: Path) -> None:
    phases.register("skilled", Skilled)
    runner = make(None)
    runs = []
    for _ in range(4):  # episodes have 11 steps at most, iterations 6
        runner.learn(1)
        phase = runner.phases["skilled"]
        assert isinstance(phase, Skilled)
        runs.append((bool(runner.lanes["teacher"].statistics.finished.all()), phase.runs))
    assert runs[0] == (False, 0) and runs[-1][0]
    for before, after in zip(runs, runs[1:], strict=False):
        assert after[1] - before[1] == after[0]


def test_what_the_configuration_switches_off_is_not_made() -> None:
    config = small_config()
    assert list(make(None, config).phases) == ["ppo", "distillation"]
    config.distill.enabled = False
    runner = make(None, config)
    assert list(runner.phases) == ["ppo"] and list(runner.lanes) == ["teacher"]
    runner.learn(2)
    with pytest.raises(UserError, match=r"no trained student after 2 iterations \(distill.start=1\); use teacher"):
        runner.get_inference_policy("student")
    assert runner.get_inference_policy("teacher")(runner.env.get_observations()).shape == (4, NUM_ACTIONS)


def test_the_memory_must_hold_the_rollouts_of_all_phases(monkeypatch: pytest.MonkeyPatch) -> None:
    config = small_config(precision="float32", num_steps_per_env=10)
    config.distill.steps_per_env, config.camera.update_interval = 20, 5
    student, pixels = 43 + 2, 20 * 16  # proprio, clock
    teacher = student + 5 + 12  # and what the critic reads: privileged, scan
    frames = (1 + 10 / 5) + (1 + 20 / 5)
    needed = int(4 * (10 * teacher + 20 * student + frames * pixels))
    monkeypatch.setattr(memory, "available", lambda device: 4 * needed)
    make(None, config, num_envs=4)
    monkeypatch.setattr(memory, "available", lambda device: 4 * needed - 1)
    with pytest.raises(UserError, match="env.num_envs: rollouts of 4 environments needs"):
        make(None, config, num_envs=4)
    monkeypatch.setattr(memory, "available", lambda device: 4 * (needed + 3 * 4 * student + (1 + 3 / 5) * 4 * pixels))
    phases.register("rest", Resting)
    make(None, config, num_envs=4)
    monkeypatch.setattr(Resting, "STEPS", 4)
    with pytest.raises(UserError, match="rollouts of 4 environments"):
        make(None, config, num_envs=4)


@contextmanager
def made(kind: type, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    """Yield the objects of a class that are made within."""
    objects: list[Any] = []
    original = kind.__init__

    def spy(self: Any, *args: Any, **kwargs: Any) -> None:
        objects.append(self)
        original(self, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(kind, "__init__", spy)
        yield objects


def test_nothing_is_built_to_be_thrown_away(monkeypatch: pytest.MonkeyPatch) -> None:
    with (
        made(RolloutStorage, monkeypatch) as storages,
        made(torch.optim.Adam, monkeypatch) as optimizers,
        made(nn.Linear, monkeypatch) as layers,
    ):
        runner = make(None)
    assert storages == [runner.alg.storage]
    assert optimizers == [runner.alg.optimizer, distillation(runner).optimizer]
    kept = {id(m) for phase in runner.phases.values() for net in phase.modules() for m in net.modules()}
    thrown = [layer for layer in layers if id(layer) not in kept]
    assert [layer.in_features for layer in thrown] == [43 + 20 * 16 + 2]  # whose weights an ImageLinear took over


def test_the_teachers_optimizer_is_torchs_fused_adam() -> None:
    runner = make(None)
    ours = teacher_ppo(runner).alg.optimizer
    copies = [nn.Parameter(p.detach().clone()) for group in ours.param_groups for p in group["params"]]
    theirs = torch.optim.Adam(copies, lr=runner.config.ppo.learning_rate, fused=True)
    for _ in range(3):
        for optimizer in (ours, theirs):
            torch.manual_seed(5)
            for group in optimizer.param_groups:
                for parameter in group["params"]:
                    parameter.grad = torch.randn_like(parameter)
            optimizer.step()
    (group,), (expected,) = ours.param_groups, theirs.param_groups
    assert all(torch.equal(a, b) for a, b in zip(group["params"], expected["params"], strict=True))
    settings = {key: value for key, value in expected.items() if key != "params"}
    assert {key: group[key] for key in settings} == settings


@pytest.mark.parametrize("full_at_level", [0.0, 1.5])
def test_the_weight_of_the_entropy_moves_with_the_teachers_level(full_at_level: float) -> None:
    config = small_config()
    config.ppo.start_entropy_coef, config.ppo.entropy_coef, config.ppo.full_at_level = 0.5, 0.1, full_at_level
    runner = make(None, config)
    alg, levels, used = teacher_ppo(runner).alg, [], []
    update = alg.update

    def spy() -> dict[str, float]:
        levels.append(runner.lanes["teacher"].statistics.level.mean().item())
        used.append(alg.entropy_coef)
        return update()

    alg.update = spy
    runner.learn(8)
    assert levels[-1] > 1.5  # the dummy's levels grow with each episode
    if full_at_level:
        assert used == pytest.approx([max(0.5 - 0.4 * level / 1.5, 0.1) for level in levels])
    else:
        assert used == pytest.approx([0.1] * 8)

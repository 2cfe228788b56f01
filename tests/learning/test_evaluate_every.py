"""Evaluations in the middle of a training: they leave it as it is, and their curves are in the log."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from small_env import CPU, TINY
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from legged_gym_ext.config.files import load_config
from legged_gym_ext.envs.parkour_env import ParkourEnv
from legged_gym_ext.evaluation import during_training
from legged_gym_ext.learning.runner import ParkourRunner
from legged_gym_ext.runs.settle import seed_everything, settle

OVERRIDES = (*TINY, "student.encoder.kind=light", "teacher.hidden_dims=[16]", "distill.start=1", "distill.interval=1",
             "distill.steps_per_env=4", "distill.mini_batches=1", "runner.num_steps_per_env=4")  # fmt: skip


def trained(folder: Path, *overrides: str) -> ParkourRunner:
    config = settle(load_config("parkour_depth", [*OVERRIDES, *overrides]))
    seed_everything(1)
    runner = ParkourRunner(ParkourEnv(config, 4, CPU), config, folder, "cpu")
    runner.learn(3)
    return runner


def test_an_evaluation_leaves_the_training_as_it_is_and_is_in_the_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr(during_training, "LEVELS", (1, 4))
    monkeypatch.setattr(during_training, "EPISODES", 1)
    without = trained(tmp_path / "without")
    assert "success" not in capsys.readouterr().out.replace("success rate", "")
    runner = trained(tmp_path / "with", "runner.evaluate_every=2")
    printed = capsys.readouterr().out
    for name, phase in runner.phases.items():
        for a, b in zip(phase.modules(), without.phases[name].modules(), strict=True):
            for key, value in a.state_dict().items():
                assert torch.equal(value, b.state_dict()[key]), (name, key)
    events = EventAccumulator(str(tmp_path / "with"))
    events.Reload()
    for policy in ("teacher", "student"):
        for what in ("small nominal level 1", "small nominal level 4", "small nominal all levels"):
            points = events.Scalars(f"Evaluation/{what}/{policy}")
            assert [(point.step, point.value) for point in points] == [(2, 0.0)]
    rows = [line.split() for line in printed.splitlines()]
    assert ["small", "nominal", "level", "4", "0%", "0%"] in rows


def test_a_student_that_is_not_trained_yet_is_left_out(tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.setattr(during_training, "LEVELS", (1,))
    monkeypatch.setattr(during_training, "EPISODES", 1)
    trained(tmp_path, "runner.evaluate_every=2", "distill.start=5")
    row = next(line for line in capsys.readouterr().out.splitlines() if "nominal level 1" in line)
    assert row.split() == ["small", "nominal", "level", "1", "0%"]

"""Results where a run's curves are."""

from __future__ import annotations

from pathlib import Path

import pytest
from synthetic_episodes import results
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch.utils.tensorboard.writer import SummaryWriter

from legged_gym_ext.config.schema import Config
from legged_gym_ext.evaluation.publish import publish, scalars
from legged_gym_ext.evaluation.summary import Cell, find, summarize
from legged_gym_ext.recording import memory
from legged_gym_ext.recording.entries import ITERATION
from legged_gym_ext.recording.wandb_file import read, runs_in
from legged_gym_ext.recording.wandb_sink import WandbSink


@pytest.fixture
def report(tmp_path: Path) -> Path:
    folder = tmp_path / "run" / "evaluation" / "5_both_mujoco"
    folder.mkdir(parents=True)
    (folder / "report.md").write_text("# the report")
    (folder / "report.html").write_text("<p>the report")
    return folder


@pytest.fixture(scope="module")
def cells() -> list[Cell]:
    return summarize(results(), 12.0)


def published(logger: str, report: Path, cells: list[Cell]) -> None:
    config = Config()
    config.runner.logger = logger
    publish(config, report.parents[1], report, 5, "parkour-v1_quick", cells)


def test_scalars_are_the_success_of_all_kinds_by_level(cells: list[Cell]) -> None:
    found = scalars(cells, "parkour-v1")
    total = find(cells, "nominal", "student")
    assert total and found["Evaluation/parkour-v1 nominal all levels/student"] == total.success
    levels = {cell.level for cell in cells if cell.level is not None and cell.sight == "true"}
    for level in levels:
        cell = find(cells, "nominal", "teacher", level=level)
        assert cell and found[f"Evaluation/parkour-v1 nominal level {level}/teacher"] == cell.success
    assert not any("=" in tag for tag in found)


def test_tensorboard_has_curves_and_the_report_where_the_run_used_it(report: Path, cells: list[Cell]) -> None:
    run = report.parents[1]
    published("tensorboard", report, cells)
    assert not list(run.glob("events*"))  # the run has none
    SummaryWriter(str(run)).close()
    published("tensorboard", report, cells)
    events = EventAccumulator(str(run))
    events.Reload()
    for tag, value in scalars(cells, "parkour-v1_quick").items():
        (point,) = events.Scalars(tag)
        assert point.step == 5 and point.value == pytest.approx(value)
    assert "Evaluation/5_both_mujoco/text_summary" in events.Tags()["tensors"]


def test_wandb_has_a_run_of_its_own(report: Path, cells: list[Cell], monkeypatch, capsys) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    run = report.parents[1]
    memory.save(memory.Memory(run_id="abcd1234", group="bipeds"), run)
    published("wandb", report, cells)
    contents = read(runs_in(run), ITERATION)
    assert contents.ended and contents.run_id != "abcd1234" and contents.group == "bipeds"
    assert contents.config["runner"]["logger"] == "wandb"
    assert contents.metrics.keys() == {*scalars(cells, "parkour-v1_quick"), ITERATION}
    for tag, value in scalars(cells, "parkour-v1_quick").items():
        assert contents.metrics[tag] == [(5, pytest.approx(value))]
    assert contents.media == {"tables": {"Evaluation/cells": 1}, "pages": {"Evaluation/5_both_mujoco": 1}}
    assert "wandb sync" in capsys.readouterr().out


def test_what_cannot_be_published_is_told(report: Path, cells: list[Cell], monkeypatch, capsys) -> None:
    def refuse(self: WandbSink) -> None:
        raise ConnectionError("No API key configured.\nUse `wandb login`.")

    monkeypatch.setattr(WandbSink, "open", refuse)
    published("wandb", report, cells)
    told = capsys.readouterr().out.splitlines()
    assert told[0].startswith("W&B: not recorded (No API key configured. Use `wandb login`.)") and len(told) == 2


def test_nothing_is_published_where_the_run_has_no_log(report: Path, cells: list[Cell]) -> None:
    published("none", report, cells)
    assert {path.name for path in report.iterdir()} == {"report.md", "report.html"}

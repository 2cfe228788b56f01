"""The command that lists, compares and prunes runs."""

from __future__ import annotations

import json
import os
import random
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
from command_line import config_of, make_run
from log_files import write_checkpoint, write_evaluation, write_log

from legged_gym_ext import paths
from legged_gym_ext.commands import runs
from legged_gym_ext.config.files import save_config
from legged_gym_ext.errors import UserError
from legged_gym_ext.runs.compare import differences
from legged_gym_ext.runs.folder import checkpoint_numbers
from legged_gym_ext.runs.pruning import plan_pruning
from legged_gym_ext.runs.running import marked_as_running
from legged_gym_ext.runs.summary import WINDOW, summarize_run
from legged_gym_ext.runs.wording import count_text, hours_text, size_text, text_table


def listed(capsys: pytest.CaptureFixture[str], *argv: str) -> list[dict]:
    capsys.readouterr()
    runs.main([*argv, "--json"])
    return json.loads(capsys.readouterr().out)


def test_the_list_says_what_became_of_a_run(logs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = make_run(config_of("--task=walk_flat --max_iterations=40"))
    rates = np.random.default_rng(0).random(80)
    log = {
        "Perf/collection_time": dict.fromkeys(range(11, 41), 60.0),
        "Perf/learning_time": dict.fromkeys(range(11, 41), 30.0),
        "Perf/env_steps_per_second": dict.fromkeys(range(11, 41), 1e9),
        "TerrainLevel/teacher": {11: 1.0, 40: 2.5},
        "TerrainLevel/gaps/teacher": {40: 9.0},
        "SuccessRate/teacher": dict(enumerate(rates, start=1)),
    }
    write_log(folder, log)
    write_checkpoint(folder, 30)
    write_checkpoint(folder, 90, total_steps=12345)
    (run,) = listed(capsys)
    assert (run["name"], run["experiment"], run["task"]) == (folder.name, "walk_flat", "walk_flat")
    assert (run["iterations"], run["steps"], run["running"], run["checkpoints"]) == (90, 12345, False, 2)
    assert run["hours"] == pytest.approx(30 * 90 / 3600)
    assert run["levels"] == {"teacher": 2.5}
    assert run["size"] == sum(path.stat().st_size for path in folder.iterdir())
    means = [rates[i : i + WINDOW].mean() for i in range(len(rates) - WINDOW + 1)]
    best = int(np.argmax(means))
    assert run["success"]["rate"] == pytest.approx(means[best], rel=1e-5)
    assert (run["success"]["source"], run["success"]["iteration"]) == ("training", best + WINDOW)

    with marked_as_running(folder):
        assert listed(capsys)[0]["running"]
        runs.main([])
        line = capsys.readouterr().out.splitlines()[1]
    words = (
        "running",
        "walk_flat",
        "90/40",
        "12.3 k",
        "45 min",
        f"{100 * means[best]:.0f} % teacher (training)",
        "2.5",
    )
    assert all(word in line for word in words), line


def test_where_the_log_begins_says_where_a_resumed_run_is_to_end(logs: Path) -> None:
    folder = make_run(config_of("--max_iterations=40"))
    assert summarize_run(folder).planned is None
    write_log(folder, {"Perf/learning_time": {101: 1.0, 120: 1.0}, "Evaluation/x y all levels/student": {7: 0.5}})
    summary = summarize_run(folder)
    assert (summary.planned, summary.iterations) == (140, 120)


def test_the_most_thorough_benchmark_counts_and_its_best_checkpoint(logs: Path) -> None:
    folder = make_run(config_of(""))
    write_log(folder, {"SuccessRate/teacher": {1: 0.99}})
    steps = [("training", 0.99)]
    assert [(s.source, pytest.approx(s.rate)) for s in [summarize_run(folder).success] if s] == steps
    write_log(folder, {"Evaluation/small nominal all levels/student": {10: 0.4, 20: 0.7, 30: 0.5}}, ".a")
    write_log(folder, {"Evaluation/small nominal level 2/student": {10: 1.0}}, ".b")
    success = summarize_run(folder).success
    assert success and (success.source, success.policy, success.iteration) == ("small nominal", "student", 20)
    write_log(folder, {"Evaluation/parkour-v1_terrain-flat nominal all levels/student": {30: 1.0}}, ".c")
    write_evaluation(folder, "30_both_mujoco_quick", 30, {"teacher": 0.2, "student": 0.3})
    write_evaluation(folder, "20_student_mujoco_terrain-flat", 20, {"student": 0.95})
    success = summarize_run(folder).success
    assert success and (success.source, success.rate, success.iteration) == ("parkour-v1_quick nominal", 0.3, 30)
    write_evaluation(folder, "20_student_mujoco", 20, {"student": 0.25})
    success = summarize_run(folder).success
    assert success and (success.source, success.policy, success.rate) == ("parkour-v1 nominal", "student", 0.25)


def test_runs_are_listed_by_when_they_were_written_to(logs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs.main([])
    assert capsys.readouterr().out == f"no run in '{logs}'\n"
    folders = [make_run(config_of(f"--task=walk_flat --run_name={i}"), now=datetime(2026, 1, 1 + i)) for i in range(4)]
    order = random.Random(0).sample(range(4), 4)
    for time, index in enumerate(order):
        os.utime(folders[index] / "config.yaml", (time + 1, time + 1))
    other = make_run(config_of("--task=parkour_depth"))
    assert [run["name"] for run in listed(capsys)] == [other.name, *(folders[i].name for i in reversed(order))]
    assert [run["name"] for run in listed(capsys, "list", "--experiment_name", "parkour_depth")] == [other.name]
    with pytest.raises(UserError, match="did you mean 'parkour_depth'"):
        runs.main(["--experiment_name=parkour_dept"])


def test_what_cannot_be_read_is_left_open(logs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = make_run(config_of(""))
    (folder / "config.yaml").write_text("{", "utf-8")
    (folder / "model_7.pt").write_bytes(b"half")
    (folder / "events.out.tfevents.1").write_bytes(b"half")
    whole = {"checkpoint": 1, "policies": ["student"], "engine": "mujoco", "benchmark": "parkour-v1"}
    for number, content in enumerate(
        ["[", [], {"heading": {}, "cells": []}, {"heading": whole, "cells": [{}]}, {"heading": 1}]
    ):
        (folder / "evaluation" / str(number)).mkdir(parents=True)
        text = content if isinstance(content, str) else json.dumps(content)
        (folder / "evaluation" / str(number) / "report.json").write_text(text, "utf-8")
    (run,) = listed(capsys)
    assert (run["iterations"], run["steps"], run["success"], run["planned"], run["levels"]) == (7, None, None, None, {})
    runs.main([])
    (folder / "config.yaml").write_text("runner: 1", "utf-8")
    assert listed(capsys)[0]["planned"] is None
    runs.main(["prune", "--all", "--keep=1"])


def test_an_older_checkpoint_speaks_for_a_damaged_one(logs: Path) -> None:
    folder = make_run(config_of(""))
    write_checkpoint(folder, 5)
    (folder / "model_9.pt").write_bytes(b"half")
    assert summarize_run(folder).steps == 50


def test_compare_tells_the_keys_that_differ(logs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = make_run(config_of("--task=walk_flat --seed=1 ppo.gamma=0.5 terrain.gaps.width=[0.1,0.2]"))
    second = make_run(config_of("--task=walk_flat --seed=2 --run_name=b ppo.gamma=0.5"))
    runs.main(["compare", first.name, str(second), "--json"])
    found = json.loads(capsys.readouterr().out)
    assert set(found) == {"seed", "run_name", "terrain.gaps.width"}
    assert found["seed"] == [1, 2] and found["terrain.gaps.width"][0] == [0.1, 0.2]
    runs.main(["compare", first.name, second.name])
    out = capsys.readouterr().out
    assert "terrain.gaps.width" in out and "ppo.gamma" not in out and first.name in out
    runs.main(["compare", first.name, first.name])
    assert "the configurations are equal" in capsys.readouterr().out
    with pytest.raises(UserError, match="unknown run"):
        runs.main(["compare", first.name, "x"])
    with pytest.raises(UserError):
        runs.main(["compare", first.name])


def test_keys_that_one_configuration_lacks_differ() -> None:
    assert differences({"a": {"b": 1, "c": None}}, {"a": {"c": None}, "d": []}) == {"a.b": (1, "-"), "d": ("-", [])}


def test_prune_deletes_only_when_told_to(logs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = make_run(config_of(""), 1, 2, 10, 9)
    other = make_run(config_of("--task=walk_flat"), 3, 4)
    runs.main(["prune", folder.name, "--keep=2"])
    out = capsys.readouterr().out
    assert "would delete 2 checkpoints" in out and ": 1, 2\n" in out and "nothing was deleted" in out
    assert checkpoint_numbers(folder) == [1, 2, 9, 10]
    runs.main(["prune", "--all", "--keep=1", "--yes"])
    assert checkpoint_numbers(folder) == [10] and checkpoint_numbers(other) == [4]
    assert "deleted 3 checkpoints" in capsys.readouterr().out
    runs.main(["prune", "-1", "--keep=1", "--yes"])
    assert "nothing to delete" in capsys.readouterr().out


@pytest.mark.parametrize(
    "line", ["", "--keep=0", "--all", "--keep=1", "--all x --keep=1", "--all --keep=x", "x --keep=1"]
)
def test_prune_refuses(logs: Path, line: str) -> None:
    folder = make_run(config_of(""), 1, 2)
    with pytest.raises(UserError):
        runs.main(["prune", *line.split(), "--yes"])
    assert checkpoint_numbers(folder) == [1, 2]


@pytest.mark.parametrize("seed", range(4))
def test_the_newest_intact_checkpoint_stays(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    numbers = sorted(chance.sample(range(100), 8))
    damaged = set(chance.sample(numbers, chance.randint(1, 7)))
    for number in numbers:
        path = write_checkpoint(tmp_path, number)
        if number in damaged:
            path.write_bytes(path.read_bytes()[:-30])
    intact = max(number for number in numbers if number not in damaged)
    for keep in (1, 3, 20):
        plan = plan_pruning(tmp_path, keep, [])
        newest = set(numbers[-keep:])
        assert set(plan.delete) == set(numbers) - newest - {intact}
        assert plan.size == sum((tmp_path / f"model_{number}.pt").stat().st_size for number in plan.delete)


def test_what_something_else_stands_on_stays(logs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = make_run(config_of(""), *range(1, 10))
    (folder / "best.pt").symlink_to("model_1.pt")
    (folder / "evaluation" / "2_both_mujoco_quick").mkdir(parents=True)
    (folder / "exported" / "model_3").mkdir(parents=True)
    config = config_of("--run_name=four")
    config.runner.init_from = str(folder / "model_4.pt")
    make_run(config)
    elsewhere = config_of("")
    elsewhere.runner.init_from = str(folder / "model_5.pt")
    save_config(elsewhere, tmp_path / "config.yaml")  # of no run in logs/
    runs.main(["prune", folder.name, "--keep=1", "--yes"])
    assert checkpoint_numbers(folder) == [1, 2, 3, 4, 9]
    out = capsys.readouterr().out
    assert "1 stays: best.pt is a link to it" in out and "2 stays: evaluation/2_both_mujoco_quick is of it" in out
    assert "3 stays: exported/model_3 is of it" in out and "_four began with it" in out


def test_runs_elsewhere_are_told_by_their_folder(logs: Path, tmp_path: Path) -> None:
    folder = tmp_path / "elsewhere"
    save_config(config_of(""), folder / "config.yaml")
    write_checkpoint(folder, 1)
    write_checkpoint(folder, 2)
    runs.main(["prune", str(folder), "--keep=1", "--yes"])
    assert checkpoint_numbers(folder) == [2]
    assert not paths.LOGS.exists()


def test_unknown_words(logs: Path) -> None:
    with pytest.raises(UserError, match="did you mean 'prune'"):
        runs.main(["prone"])
    with pytest.raises(UserError, match="did you mean '--json'"):
        runs.main(["--jsn"])
    for word in runs.COMMANDS:
        with pytest.raises(SystemExit) as end:
            runs.main([word, "--help"])
        assert end.value.code == 0


@pytest.mark.parametrize("width", [12, 20, 40, 80, 200])
def test_a_table_fits_its_width_and_loses_nothing(width: int) -> None:
    columns = ["run", "task", "steps"]
    rows = [["2026-01-01", "parkour depth", "21.7 M"], ["b", "c", "-"]]
    text = text_table(columns, rows, width)
    assert max(map(len, text.splitlines())) <= width
    squeezed = "".join(text.split())
    for row in rows:
        assert all("".join(cell.split()) in squeezed for cell in row)


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (size_text(0), "0 B"),
        (size_text(999), "999 B"),
        (size_text(999_600), "1 MB"),
        (size_text(467_766_879), "468 MB"),
        (size_text(2.5e15), "2.5e+03 TB"),
        (count_text(None), "-"),
        (count_text(512), "512"),
        (count_text(21_688_320), "21.7 M"),
        (hours_text(None), "-"),
        (hours_text(0.5), "30 min"),
        (hours_text(1.84), "1.8 h"),
    ],
)
def test_numbers_as_text(found: str, expected: str) -> None:
    assert found == expected

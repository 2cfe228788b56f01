"""Runs side by side: differences with the first, only where the tiles are the same."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from synthetic_episodes import heading, results
from web_page import Page, files

from legged_gym_ext.evaluation.comparison import write_comparison
from legged_gym_ext.evaluation.episodes import Episodes, Unit
from legged_gym_ext.evaluation.heading import Heading
from legged_gym_ext.evaluation.intervals import paired_difference

LEVELS = (0, 4)
KINDS = ("flat", "gaps", "beams")


def evaluation(run: str, **options: Any) -> tuple[Heading, dict[Unit, Episodes]]:
    data = results(**{"levels": LEVELS, "kinds": KINDS, "per_kind": 50, "robustness": False} | options)
    return heading(data, run), data


def content(folder: Path) -> dict:
    return json.loads((folder / "report.json").read_text("utf-8"))


def test_differences_are_those_of_the_same_rows(tmp_path: Path) -> None:
    runs = [evaluation("first"), evaluation("better", better=2.0, seed=100), evaluation("again")]
    write_comparison(tmp_path, runs)
    found = content(tmp_path)
    assert [run["label"] for run in found["runs"]] == ["first", "better", "again"]
    pairs = found["differences"]
    assert len(pairs) == 2 * 2 * 2 * (len(KINDS) * 3 + 3)
    for pair in pairs:
        assert pair["second"] == "first"
        own = runs[1 if pair["first"] == "better" else 2][1]
        counts = [0, 0, 0, 0]
        for level in LEVELS if pair["level"] is None else (pair["level"],):
            unit = Unit(pair["setting"], pair["policy"], "true", level)
            one, other = own[unit], runs[0][1][unit]
            for row in range(len(one)):
                if pair["kind"] in ("all", one.kind[row]):
                    counts[2 * (not one.success[row]) + (not other.success[row])] += 1
        assert counts == [pair["both"], pair["only_first"], pair["only_second"], pair["neither"]]
        expected = paired_difference(*counts)
        assert pair["difference"]["points"] == pytest.approx(expected.points, rel=1e-5)
        assert pair["difference"]["low"] == pytest.approx(expected.low, rel=1e-5)
        if pair["first"] == "again":
            assert pair["difference"]["points"] == 0
            assert not pair["beyond_chance"]
    overall = [pair for pair in pairs if pair["first"] == "better" and (pair["kind"], pair["level"]) == ("all", None)]
    assert all(pair["beyond_chance"] for pair in overall)
    said = [
        sentence for sentence in found["summary"] if sentence.startswith("On the same tiles, the student of better")
    ]
    assert len(said) == 1
    assert "more often" in said[0]
    assert "beyond chance" in said[0]


def test_the_files(tmp_path: Path) -> None:
    runs = [evaluation("first"), evaluation("second", seed=100)]
    write_comparison(tmp_path / "a", runs)
    write_comparison(tmp_path / "b", runs)
    written = files(tmp_path / "a")
    assert written == files(tmp_path / "b")
    assert {"report.json", "report.csv", "report.html", "report.md"} < written.keys()
    page = Page(written["report.html"].decode())
    assert page.headings == [
        "Summary",
        "Success",
        "Success against level",
        "Differences from first",
        "Measures",
        "Causes of failure",
        "Depth use",
        "How it was measured",
    ]
    rows = list(csv.DictReader(io.StringIO(written["report.csv"].decode())))
    assert {row["run"] for row in rows} == {"first", "second"}
    assert len(rows) == sum(len(run["cells"]) for run in content(tmp_path / "a")["runs"])


@pytest.mark.parametrize("change", [{"seed": 1}, {"time_limit": 20.0}, {"course_length": 8.0}])
def test_other_tiles_are_not_compared(change: dict[str, float], tmp_path: Path) -> None:
    top, data = evaluation("second")
    write_comparison(tmp_path, [evaluation("first"), (replace(top, **change), data)])
    found = content(tmp_path)
    assert found["differences"] == []
    assert any("no tiles in common" in sentence for sentence in found["summary"])
    page = Page((tmp_path / "report.html").read_text("utf-8"))
    assert "Differences from first" not in page.headings
    assert "What is not the same for all runs" in page.headings


def test_another_engine_is_compared_and_said(tmp_path: Path) -> None:
    top, data = evaluation("second")
    write_comparison(tmp_path, [evaluation("first"), (replace(top, engine="mujoco_warp"), data)])
    found = content(tmp_path)
    assert found["differences"]
    assert any("Not the same for all runs: engine" in sentence for sentence in found["summary"])


def test_only_what_both_have_is_compared(tmp_path: Path) -> None:
    smaller = evaluation("second", levels=(4,), kinds=("gaps", "flat"), policies=("student",), per_kind=10)
    write_comparison(tmp_path, [evaluation("first"), smaller])
    pairs = content(tmp_path)["differences"]
    assert {pair["policy"] for pair in pairs} == {"student"}
    assert {pair["level"] for pair in pairs} == {4, None}
    assert {pair["kind"] for pair in pairs} == {"gaps", "flat", "all"}
    assert max(pair["episodes"] for pair in pairs) == 20


def test_runs_with_one_name_are_told_apart(tmp_path: Path) -> None:
    top, data = evaluation("run", levels=(0,), kinds=("flat",), per_kind=2)
    later = replace(top, checkpoint=4000)
    write_comparison(tmp_path, [(top, data), (later, data), (later, data)])
    labels = [run["label"] for run in content(tmp_path)["runs"]]
    assert labels == ["run, checkpoint 3000", "run, checkpoint 4000", "run, checkpoint 4000 (2)"]


def test_one_run_alone(tmp_path: Path) -> None:
    write_comparison(tmp_path, [evaluation("run", levels=(0,), kinds=("flat",), policies=("teacher",), per_kind=1)])
    assert content(tmp_path)["differences"] == []

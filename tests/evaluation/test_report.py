"""The report's files: they say what the data says, read well by machines, and are the same for the same data."""

from __future__ import annotations

import base64
import csv
import io
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from types import MappingProxyType
from typing import NoReturn

import matplotlib
import numpy as np
import pytest
from PIL import Image
from synthetic_episodes import COURSE_LENGTH, KINDS, episodes, heading, results
from web_page import Page, files

from legged_gym_ext.envs.outcome import ENDS, Outcome
from legged_gym_ext.errors import UserError
from legged_gym_ext.evaluation.document import write_files
from legged_gym_ext.evaluation.episodes import Episodes, Unit
from legged_gym_ext.evaluation.intervals import wilson
from legged_gym_ext.evaluation.report import facts, write_report
from legged_gym_ext.evaluation.summary import summarize
from legged_gym_ext.evaluation.wording import count, levels, listing, percent


def refuse(constant: str) -> NoReturn:
    raise AssertionError(f"{constant} in JSON")


@pytest.fixture(scope="module")
def data() -> dict[Unit, Episodes]:
    return results(levels=(0, 4, 8), per_kind=6)


@pytest.fixture(scope="module")
def folder(data: dict[Unit, Episodes], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    write_report(folder, heading(data), data)
    return folder


def test_the_same_data_gives_the_same_bytes(
    data: dict[Unit, Episodes], folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the order of the units and the settings of matplotlib."""
    monkeypatch.setitem(matplotlib.rcParams, "font.size", 20)
    write_report(tmp_path, heading(data), dict(reversed(data.items())))
    assert files(tmp_path) == files(folder)
    write_report(tmp_path, heading(data), data)
    assert files(tmp_path) == files(folder)


def test_the_files(folder: Path) -> None:
    names = set(files(folder))
    assert {"report.json", "report.csv", "report.html", "report.md"} < names
    rest = {name for name in names if not name.startswith("report.")}
    both = [f"{setting}_{policy}" for setting in ("nominal", "randomized") for policy in ("student", "teacher")]
    expected = {f"success_{name}.png" for name in both} | {"depth_use.png", "robustness.png"}
    expected |= {f"{name}_{setting}.png" for name in ("curves", "outcomes") for setting in ("nominal", "randomized")}
    assert rest == expected
    for name in rest:
        with Image.open(folder / name) as image:
            assert min(image.size) > 200
            assert len(image.convert("L").resize((200, 200)).getcolors() or []) > 10  # something is drawn


def test_the_csv_is_the_cells(data: dict[Unit, Episodes], folder: Path) -> None:
    rows = list(csv.DictReader(io.StringIO((folder / "report.csv").read_text("utf-8"))))
    cells = summarize(data, COURSE_LENGTH, KINDS)
    assert len(rows) == len(cells)
    for row, cell in zip(rows, cells, strict=True):
        for name, value in asdict(cell).items():
            if name == "outcomes":
                assert {end.word: int(row[end.word]) for end in ENDS} == value
            elif value is None:
                assert row[name] == ""
            elif isinstance(value, float):
                assert float(row[name]) == pytest.approx(value, rel=1e-5)
            else:
                assert row[name] == str(value)


def test_the_json_holds_the_same_and_no_nan(data: dict[Unit, Episodes], folder: Path) -> None:
    content = json.loads((folder / "report.json").read_text("utf-8"), parse_constant=refuse)
    assert content["heading"]["run"] == "2026-11-24_12-00-00"
    assert content["heading"]["kinds"] == list(KINDS)
    cells = summarize(data, COURSE_LENGTH, KINDS)
    assert len(content["cells"]) == len(cells)
    for found, cell in zip(content["cells"], cells, strict=True):
        assert found.keys() == asdict(cell).keys()
        for name, value in asdict(cell).items():
            assert found[name] == (pytest.approx(value, rel=1e-5) if isinstance(value, float) else value)
    for name in ("student_minus_teacher", "depth_use"):
        for pair in content[name]:
            assert pair["both"] + pair["only_first"] + pair["only_second"] + pair["neither"] == pair["episodes"]
            assert pair["beyond_chance"] == (pair["p_adjusted"] < 0.05)
    assert all(point["change"]["second"] == "nominal" for point in content["robustness"])


def test_the_web_page_is_whole_and_needs_nothing_from_outside(folder: Path) -> None:
    text = (folder / "report.html").read_text("utf-8")
    page = Page(text)
    sources = [value for name, value in page.attributes if name == "src"]
    pictures = {name: content for name, content in files(folder).items() if name.endswith(".png")}
    embedded = [base64.b64decode(source.removeprefix("data:image/png;base64,")) for source in sources]
    assert sorted(embedded) == sorted(pictures.values())
    assert not [name for name, _ in page.attributes if name in ("href", "srcset", "onload")]
    assert not re.search(r"https?:|//[a-z]|@import|<script|<link|url\(", re.sub(r"base64,[^\"]*", "", text))
    assert page.headings[0] == "Summary"
    assert page.headings[-1] == "How it was measured"


def test_the_markdown_shows_every_picture_and_its_tables_are_even(folder: Path) -> None:
    text = (folder / "report.md").read_text("utf-8")
    shown = re.findall(r"!\[[^]]*\]\(([^)]+)\)", text)
    assert sorted(shown) == sorted(name for name in files(folder) if name.endswith(".png"))
    assert "\n\n\n" not in text
    for block in text.split("\n\n"):
        lines = block.strip().splitlines()
        if lines and lines[0].startswith("|"):
            columns = {len(re.findall(r"(?<!\\)\|", line)) for line in lines}
            assert len(columns) == 1
            assert set(lines[1]) <= set("|-: ")


def test_page_and_markdown_say_the_same(folder: Path) -> None:
    page = Page((folder / "report.html").read_text("utf-8"))
    markdown = (folder / "report.md").read_text("utf-8").replace("\\", "")
    summary = json.loads((folder / "report.json").read_text("utf-8"))["summary"]
    assert 3 <= len(summary) <= 6
    for sentence in summary:
        assert sentence in page.text
        assert sentence in markdown
    assert [line.removeprefix("## ") for line in markdown.splitlines() if line.startswith("## ")] == page.headings


def test_the_summary_says_what_the_episodes_say(data: dict[Unit, Episodes], folder: Path) -> None:
    summary = json.loads((folder / "report.json").read_text("utf-8"))["summary"]
    student = Episodes.join([data[Unit("nominal", "student", "true", level)] for level in (0, 4, 8)])
    rate, (low, high) = student.success.mean(), wilson(int(student.success.sum()), len(student))
    expected = f"{100 * rate:.1f} % of {len(student)} episodes under nominal conditions"
    assert f"{expected} (95 % interval {100 * low:.1f} to {100 * high:.1f} %)" in summary[0]
    rates = {kind: student.of_kind(kind).success.mean() for kind in KINDS}
    hardest = min(rates, key=lambda kind: (rates[kind], kind))
    assert f"Hardest for the student under nominal conditions: {hardest} (" in summary[2]
    for kind in KINDS:
        under = [
            level
            for level in (0, 4, 8)
            if data[Unit("nominal", "student", "true", level)].of_kind(kind).success.mean() < 0.8
        ]
        found = [
            int(part.split()[0]) for part in re.split(r"level ", summary[3])[1:] if re.search(rf"\b{kind}\b", part)
        ]
        assert found[:1] == under[:1] or kind in summary[3].partition("; on ")[2]
    failures = int((~student.success).sum())
    assert f"What ends the {failures} failed episodes" in summary[4]
    worst = np.bincount(student.outcome[~student.success]).argmax()
    assert f": {Outcome(worst).word} " in summary[4]
    assert "At level 4 under nominal conditions the student succeeds in" in summary[5]


@pytest.mark.parametrize("policies", [("teacher",), ("student",)])
def test_one_policy_without_depth_use_and_robustness_has_no_empty_parts(policies: tuple[str], tmp_path: Path) -> None:
    data = results((0, 1), ("gaps", "flat"), policies, ("nominal",), 4, depth_use=False, robustness=False)
    write_report(tmp_path, heading(data), data)
    page = Page((tmp_path / "report.html").read_text("utf-8"))
    assert page.headings == [
        "Summary",
        "Success",
        "Success against level",
        "Measures",
        "Causes of failure",
        "How it was measured",
    ]
    assert f"The {policies[0]} reaches the end" in page.text
    for word in ("beyond chance", "McNemar", "blank"):
        assert word not in page.text


def test_only_depth_use(tmp_path: Path) -> None:
    data = {Unit("nominal", "student", sight, 5): episodes(5, per_kind=3) for sight in ("true", "blank")}
    write_report(tmp_path, heading(data), data)
    page = Page((tmp_path / "report.html").read_text("utf-8"))
    assert "Depth use" in page.headings
    assert "Student against teacher" not in page.headings


@pytest.mark.parametrize("outcome", [Outcome.FINISHED, Outcome.DIVERGED])
def test_a_single_episode_without_any_finite_measure(outcome: Outcome, tmp_path: Path) -> None:
    table = episodes(0, ("flat",), per_kind=1)
    nothing = {name: np.full(1, np.nan) for name in table.columns() if name not in ("kind", "tile", "outcome")}
    data = {Unit("nominal", "student", "true", 0): replace(table, outcome=np.array([int(outcome)]), **nothing)}
    write_report(tmp_path, heading(data), data)
    content = json.loads((tmp_path / "report.json").read_text("utf-8"), parse_constant=refuse)
    assert content["cells"][0]["speed"] is None
    assert content["cells"][0]["success"] == float(outcome is Outcome.FINISHED)
    for name in ("report.html", "report.md", "report.csv"):
        assert not re.search(r"\b(nan|None|inf)\b", (tmp_path / name).read_text("utf-8"))
    Page((tmp_path / "report.html").read_text("utf-8"))


def test_no_episodes_at_all(tmp_path: Path) -> None:
    write_report(tmp_path, heading({}), {})
    page = Page((tmp_path / "report.html").read_text("utf-8"))
    assert "no episodes" in page.text
    assert (tmp_path / "report.csv").read_text("utf-8").count("\n") == 1


def test_names_from_outside_are_escaped(tmp_path: Path) -> None:
    data = results((0,), ("<b>odd</b>|kind",), ("student",), ("nominal",), 2, depth_use=False, robustness=False)
    write_report(tmp_path, heading(data, run="<script>*run*|"), data)
    text = (tmp_path / "report.html").read_text("utf-8")
    Page(text)
    assert "<script>" not in text
    assert "<b>" not in text
    assert "\\<b\\>odd\\</b\\>\\|kind" in (tmp_path / "report.md").read_text("utf-8")


@pytest.mark.parametrize(
    ("trained", "told"),
    [("isaacgym", "mujoco (trained with isaacgym)"), ("mujoco", "mujoco (trained with mujoco)"), ("", "mujoco")],
)
def test_the_report_names_the_engine_of_the_evaluation_and_that_of_the_training(trained: str, told: str) -> None:
    assert dict(facts(replace(heading({}), trained_engine=trained)))["engine"] == told


def test_a_heading_may_hold_any_mapping_and_sequence(tmp_path: Path) -> None:
    data = results((0,), ("flat",), ("student",), ("nominal",), 1, depth_use=False, robustness=False)
    settings: Mapping[str, str] = MappingProxyType({"nominal": "Nothing random."})
    top = replace(heading(data), settings=settings, levels=range(1), training_steps=None, versions={})
    write_report(tmp_path, top, data)
    content = json.loads((tmp_path / "report.json").read_text("utf-8"))["heading"]
    assert (content["levels"], content["settings"]) == ([0], {"nominal": "Nothing random."})


def test_files_are_written_whole_or_not_at_all(tmp_path: Path) -> None:
    write_files(tmp_path / "a" / "b", {"x": b"1"})
    write_files(tmp_path / "a" / "b", {"x": b"2"})
    assert files(tmp_path / "a" / "b") == {"x": b"2"}
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot write"):
        write_files(tmp_path / "file", {"x": b"1"})


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (percent(0.5), "50"),
        (percent(0.999), ">99"),
        (percent(0.001), "<1"),
        (percent(1.0), "100"),
        (percent(0.9999, 1), ">99.9"),
        (levels([3]), "level 3"),
        (levels([0, 1, 2]), "levels 0 to 2"),
        (levels([0, 2, 4]), "levels 0, 2 and 4"),
        (listing(["a"]), "a"),
        (listing([]), ""),
        (count(1, "episode"), "1 episode"),
        (count(1234, "episode"), "1,234 episodes"),
    ],
)
def test_wording(found: str, expected: str) -> None:
    assert found == expected

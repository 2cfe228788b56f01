"""A run's page: whole, without a network, and saying what the run's files say."""

from __future__ import annotations

import base64
import html
import io
import json
import os
import re
import shlex
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from browser import browser, save_picture
from command_line import config_of, make_run
from log_files import write_checkpoint, write_log
from matplotlib.figure import Figure
from PIL import Image
from synthetic_episodes import heading, results
from web_page import Page

from legged_gym_ext import paths
from legged_gym_ext.config.files import load_config, save_config
from legged_gym_ext.config.schema import Config
from legged_gym_ext.errors import UserError
from legged_gym_ext.evaluation.report import write_report
from legged_gym_ext.report import __main__ as report
from legged_gym_ext.report import page
from legged_gym_ext.report.curves import POINTS, thinned
from legged_gym_ext.report.evaluated import best_evaluation
from legged_gym_ext.report.page import film_section, make_page
from legged_gym_ext.runs import summary as run_summary
from legged_gym_ext.runs.events import Curve, read_curves
from legged_gym_ext.runs.origin import read_origin, write_origin
from legged_gym_ext.runs.plot import draw_panel
from legged_gym_ext.runs.summary import summarize_run

PNG, MP4 = "data:image/png;base64,", "data:video/mp4;base64,"
FILM = b"\0\0\0\x18ftypmp42 a film"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with all that a page may show."""
    logs = tmp_path_factory.mktemp("logs")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(paths, "LOGS", logs)
        folder = make_run(config_of("--seed=7 --num_envs=6 ppo.gamma=0.5 terrain.gaps.width=[0.1,0.2]"))
    steps = range(1, 31)
    write_log(
        folder,
        {
            "Return/teacher": {step: 1.0 + step for step in steps},
            "Return/student": {step: 0.5 * step for step in steps},
            "TerrainLevel/teacher": dict.fromkeys(steps, 3.25),
            "TerrainLevel/gaps/teacher": dict.fromkeys(steps, 1.75),
            "Perf/collection_time": dict.fromkeys(steps, 90.0),
            "Perf/learning_time": dict.fromkeys(steps, 30.0),
            "Perf/env_steps_per_second": dict.fromkeys(steps, 1234.0),
        },
    )
    config = {"sim": {"engine": "mujoco", "device": "cpu"}, "env": {"num_envs": 6}, "seed": 7}
    write_checkpoint(folder, 30, total_steps=7_200_000, config=config, ranks=[None, None])
    (folder / "videos").mkdir()
    (folder / "videos" / "model_30.mp4").write_bytes(FILM)
    write_origin(folder)
    data = results(levels=(0, 4), per_kind=2, robustness=False)
    write_report(folder / "evaluation" / "30_both_mujoco", replace(heading(data, folder.name), checkpoint=30), data)
    return folder


@pytest.fixture(scope="module")
def text(run: Path) -> str:
    return make_page(run).decode()


def test_the_page_is_whole_and_needs_nothing_from_outside(text: str) -> None:
    page = Page(text)
    sources = [value for name, value in page.attributes if name in ("src", "srcset")]
    assert sources and all(source.startswith((PNG, MP4)) for source in sources)
    films = [base64.b64decode(source.removeprefix(MP4)) for source in sources if source.startswith(MP4)]
    assert films == [FILM]
    for source in sources:
        if source.startswith(PNG):
            Image.open(io.BytesIO(base64.b64decode(source.removeprefix(PNG)))).verify()
    rest = re.sub(r"base64,[^\"]*", "", text)
    assert not re.search(r"https?:|//[a-z]|@import|<script|<link|url\(", rest)
    assert not [name for name, _ in page.attributes if name in ("href", "onload")]


@pytest.mark.slow
def test_a_browser_shows_the_page_with_all_of_its_pictures(text: str, tmp_path: Path) -> None:
    """With $REPORT_PICTURE, a picture of it goes into that file; $REPORT_PAGE is the page then, where it is set."""
    path = Path(os.environ.get("REPORT_PAGE", tmp_path / "report.html"))
    if "REPORT_PAGE" not in os.environ:
        path.write_text(text, "utf-8")
    asked: list[str] = []
    with browser() as running, running.new_context(viewport={"width": 1120, "height": 800}, offline=True) as context:
        page = context.new_page()
        page.on("request", lambda request: asked.append(request.url))
        page.goto(path.resolve().as_uri(), timeout=120_000)
        shown = page.locator("img").evaluate_all(
            "all => all.filter(e => e.offsetParent).map(e => [e.complete, e.naturalWidth])"
        )
        assert shown and all(complete and width > 0 for complete, width in shown)
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
        save_picture(page, Path(os.environ.get("REPORT_PICTURE", tmp_path / "report.png")))
    assert [url for url in asked if not url.startswith(("data:", "blob:"))] == [path.resolve().as_uri()]


def test_the_page_says_what_the_files_say(run: Path, text: str) -> None:
    page = Page(text)
    assert (
        page.headings[:3] == ["Summary", "Video", "Curves"]
        and "Success" in page.headings
        and "Depth use" in page.headings
    )
    for words in (
        run.name,
        "mujoco on cpu",
        "6, 2 ranks",
        "Trained for 30 iterations, 7.2 M environment steps in 1.0 h.",
        "in the end: 3.2 for the teacher",
        "7,200,000 environment steps",
        "2,000 steps/s on average",  # 7.2 M in an hour
        "1,234 steps/s",
        "1.75",
        "From evaluation/30_both_mujoco, which is of checkpoint 30",
    ):
        assert words in page.text, words
    found = json.loads((run / "evaluation" / "30_both_mujoco" / "report.json").read_text("utf-8"))
    assert all(sentence in page.text for sentence in found["summary"])


def test_what_a_resumed_run_took_is_its_own_and_so_is_its_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its steps and iterations count on from those of the run that it goes on with; its log begins here."""
    monkeypatch.setattr(paths, "LOGS", tmp_path)
    folder = make_run(config_of("--seed=7"))
    steps = range(1001, 1011)
    write_log(
        folder,
        {
            "Return/teacher": dict.fromkeys(steps, 1.0),
            "Time/env_steps": {step: 6000.0 * step for step in steps},
            "Perf/collection_time": dict.fromkeys(steps, 45.0),
            "Perf/learning_time": dict.fromkeys(steps, 15.0),
        },
    )
    write_checkpoint(folder, 1010, total_steps=6_060_000)
    (folder / "origin.json").write_text(json.dumps({"command": "train.py --resume --load_run=first"}), "utf-8")
    text = Page(make_page(folder).decode()).text
    for words in (
        "Trained for 1,010 iterations, 6.06 M environment steps, with those of the runs that it goes on with; "
        "10 of the iterations are its own in 10 min.",
        "6,060,000 environment steps, with those of the runs that this one goes on with. It took 10 min, learning "
        "included: 100 steps/s on average.",
        "python train.py --resume --load_run=first",
        "It goes on with another run, whose folder, as it was then, is needed for that.",
    ):
        assert words in text, words
    assert "python train.py --task" not in text


def test_a_curve_of_one_point_is_seen() -> None:
    def drawn(values: Sequence[float]) -> int:
        axis = Figure().subplots()
        draw_panel(axis, "distillation loss", {"": Curve(np.arange(len(values)) + 1, np.array(values))})
        axis.set_axis_off()
        assert isinstance(axis.figure, Figure)
        buffer = io.BytesIO()
        axis.set_title("")
        axis.figure.savefig(buffer, format="png")
        return int((np.asarray(Image.open(buffer).convert("L")) < 250).sum())

    assert drawn([0.5]) > 0 and drawn([0.5, 0.4]) > 0


def test_pictures_are_there_for_light_and_dark_pages(text: str) -> None:
    pairs = re.findall(r'prefers-color-scheme: dark\)" srcset="([^"]+)"><img alt="([^"]+)" src="([^"]+)"', text)
    assert {caption for _, caption, _ in pairs} == {
        "Return of an episode.",
        "Terrain level.",
        "Terrain level of the teacher, by kind.",
    }
    for dark, _, light in pairs:
        shades = [
            np.asarray(Image.open(io.BytesIO(base64.b64decode(source.removeprefix(PNG)))).convert("L"))
            for source in (dark, light)
        ]
        assert shades[0].shape == shades[1].shape
        assert np.median(shades[0]) < 40 and np.median(shades[1]) > 250
        assert shades[0].max() > 150 and shades[1].min() < 100  # something is drawn


def test_the_same_folder_gives_the_same_page(run: Path, text: str) -> None:
    assert make_page(run).decode() == text


def test_the_command_that_trains_it_again_gives_its_configuration(text: str) -> None:
    (block,) = re.findall(r"<pre><code>(.*?)</code></pre>", text, re.DOTALL)
    command = next(line for line in block.splitlines() if line.startswith("python train.py --task"))
    task, *overrides = shlex.split(html.unescape(command))[2:]
    again: Config = load_config(task.removeprefix("--task="), overrides)
    assert again == config_of("--seed=7 --num_envs=6 ppo.gamma=0.5 terrain.gaps.width=[0.1,0.2]")


def test_what_is_known_of_the_machine(run: Path, text: str) -> None:
    found = read_origin(run)
    for name in ("torch", "mujoco", "python"):
        assert f"{name} {found['versions'][name]}" in text
    assert found["machine"]["processor"].split()[0] in text
    for state in found["code"]:
        assert state["commit"][:12] in text


def test_a_run_without_anything_has_a_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "<b>odd"
    save_config(config_of("--task=walk_flat"), folder / "config.yaml")
    report.main([str(folder)])
    assert capsys.readouterr().out.startswith(f"{folder / 'report.html'} (")
    text = (folder / "report.html").read_text("utf-8")
    assert "<b>" not in text
    page = Page(text)
    assert "has not been evaluated" in page.text and "Curves" not in page.headings
    assert "not recorded" in page.text and "That of the task walk_flat, without a change." in page.text


def test_a_run_of_another_version_has_a_page(logs: Path) -> None:
    folder = make_run(config_of("--task=walk_flat"))
    config = folder / "config.yaml"
    config.write_text(config.read_text("utf-8") + "gone: 1\n", "utf-8")
    evaluation = folder / "evaluation" / "1_student_mujoco"
    evaluation.mkdir(parents=True)
    content = {
        "heading": {"checkpoint": 1, "benchmark": "x", "policies": ["student"], "engine": "mujoco"},
        "cells": [{}],
    }
    (evaluation / "report.json").write_text(json.dumps(content), "utf-8")
    write_checkpoint(folder, 1, config={"seed": 3})
    page = Page(make_page(folder).decode())
    assert "of another version" in page.text and "has not been evaluated" in page.text and "- on -" in page.text


def test_the_most_thorough_evaluation_is_shown_and_of_these_the_newest(logs: Path) -> None:
    folder = make_run(config_of(""))
    assert best_evaluation(folder) is None
    data = results((0,), ("flat",), ("student",), ("nominal",), 1, depth_use=False, robustness=False)
    for name, checkpoint in (("9_student_mujoco_quick", 9), ("5_student_mujoco", 5), ("7_student_mujoco", 7)):
        write_report(folder / "evaluation" / name, replace(heading(data), checkpoint=checkpoint), data)
    write_report(folder / "evaluation" / "99_student_mujoco_terrain-flat", replace(heading(data), checkpoint=99), data)
    found = best_evaluation(folder)
    assert found and (found.folder.name, found.checkpoint, found.others) == ("7_student_mujoco", 7, 3)


def test_the_newest_film_that_is_not_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert film_section(tmp_path).empty
    monkeypatch.setattr("legged_gym_ext.report.page.LARGEST_FILM", 10)
    (tmp_path / "large.mp4").write_bytes(b"x" * 11)
    assert film_section(tmp_path).paragraphs == ["Too large for this page: large.mp4 (11 B)."]
    (tmp_path / "small.mp4").write_bytes(b"x" * 10)
    assert [film.file for film in film_section(tmp_path).films] == ["small.mp4"]
    for other in ("wandb/run-1/files/media/copy.mp4", "videos/.iteration_5_teacher.unfinished.mp4"):
        (tmp_path / other).parent.mkdir(parents=True)
        (tmp_path / other).write_bytes(b"newest")
    assert [film.file for film in film_section(tmp_path).films] == ["small.mp4"]


@pytest.mark.parametrize("length", [1, POINTS, POINTS + 1, 10 * POINTS + 7])
def test_a_thinned_curve_keeps_its_ends_and_its_mean(length: int) -> None:
    values = np.random.default_rng(0).normal(size=length)
    curve = Curve(np.arange(length) * 3, values)
    thin = thinned(curve)
    assert len(thin.steps) == min(length, POINTS) and thin.steps[-1] == curve.steps[-1]
    sizes = np.diff(np.concatenate([[-1], thin.steps // 3]))
    assert np.average(thin.values, weights=sizes) == pytest.approx(values.mean())
    assert (np.diff(thin.steps) > 0).all()


def test_bad_input_is_one_line(logs: Path) -> None:
    folder = make_run(config_of(""))
    with pytest.raises(UserError, match="must end in .html"):
        report.main([str(folder), "--output=page.pdf"])
    with pytest.raises(UserError, match=f"did you mean '{folder.name}'"):
        report.main([f"{folder.name}x"])
    with pytest.raises(UserError, match="cannot write"):
        report.main([str(folder), "--output", str(folder / "config.yaml" / "x.html")])


@pytest.mark.parametrize(("ended", "name"), [(10, "guide"), (11, "teacher")])
def test_a_run_whose_guide_has_not_ended_is_reported_as_the_guides(
    ended: int, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Imitation begins with iteration 11, whose successes are few yet."""
    monkeypatch.setattr(paths, "LOGS", tmp_path)
    folder = make_run(config_of("--seed=7 --num_envs=6"))
    steps = range(1, ended + 1)
    log = {
        "Return/teacher": dict.fromkeys(steps, 1.0),
        "TerrainLevel/teacher": dict.fromkeys(steps, 3.25),
        "SuccessRate/teacher": {step: step / 20 if step < 11 else 0.0 for step in steps},
        "Guide/value": dict.fromkeys(range(1, 11), 0.1),
    }
    write_log(folder, log | ({"Imitation/loss": {11: 0.5}} if ended > 10 else {}))
    text = html.unescape(re.sub("<[^>]*>", " ", make_page(folder).decode()))
    assert f"mean terrain level in the end: 3.2 for the {name}" in text
    assert re.search(rf"measure\s+{name}\s", text)
    success = summarize_run(folder).success
    assert success is not None and (success.policy, success.iteration) == ("guide" if ended == 10 else "teacher", ended)


def test_a_page_reads_the_log_once_and_says_the_same(run: Path, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[Path] = []

    def note(path: Path, containing: Sequence[str] = ("",)) -> dict[str, Curve]:
        read.append(path)
        return read_curves(path, containing)

    monkeypatch.setattr(page, "read_curves", note)
    monkeypatch.setattr(run_summary, "read_curves", note)
    assert make_page(run).decode() == text and read == [run]
    assert summarize_run(run) == summarize_run(run, read_curves(run))

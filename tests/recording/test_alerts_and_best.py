"""Alerts, best values, and what a run remembers of its log."""

from __future__ import annotations

import json
import math
import random
from pathlib import Path

import pytest

from legged_gym_ext import paths
from legged_gym_ext.recording import best, memory
from legged_gym_ext.recording.entries import KEPT, Scalars, Shown
from legged_gym_ext.recording.watch import ENOUGH, PATIENCE, RISE, Watch

PPO = {"teacher": ["PPO"], "student": []}
"""The turns of an iteration of the teacher alone."""


def test_divergence_is_told_at_once_and_then_only_where_it_is_ten_times_worse() -> None:
    watch = Watch(9)
    counts = [0.0, 0.0, 0.01, 0.05, 0.1, 0.11, 0.5, 2.0, 0.0, 1.5]
    told = [bool(watch.look({"Health/diverged/teacher": count}, step, PPO)) for step, count in enumerate(counts)]
    assert told == [False, False, True, False, False, True, False, True, False, False]
    ((title, text),) = watch.look({"Health/diverged/student": 0.25}, 12, PPO)
    assert title == "diverged" and "iteration 12: 0.25 environments" in text and "Health/diverged/student" in text
    ((_, text),) = watch.look({"Loss/updates_left_out": 3.0}, 13, PPO)
    assert "3 updates, whose gradients were not finite" in text
    assert not Watch(9).look({"Health/overflow/teacher": 5.0}, 1, PPO)


def stalls(levels: list[float], highest: int = 9) -> list[int]:
    watch = Watch(highest)
    return [step for step, level in enumerate(levels) if watch.look({"TerrainLevel/teacher": level}, step, PPO)]


def test_a_curriculum_that_stands_still_is_told_again_and_again() -> None:
    assert stalls([2.0] * (2 * PATIENCE + 2)) == [PATIENCE, 2 * PATIENCE]
    slowly = [2.0 + RISE * step / (PATIENCE - 5) for step in range(4 * PATIENCE)]
    assert not stalls(slowly)
    too_slowly = [2.0 + RISE * step / (PATIENCE + 50) for step in range(PATIENCE + 10)]
    assert stalls(too_slowly) == [PATIENCE]
    assert not stalls([ENOUGH * 9 + 0.01] * (3 * PATIENCE))
    assert not stalls([5.7] * (3 * PATIENCE))  # all is mastered
    assert not stalls([2.0] * (2 * PATIENCE), highest=0)
    up_and_down = [2.0 + (step % 7) * RISE / 7.1 for step in range(PATIENCE + 20)]
    assert len(stalls(up_and_down)) == 1


def test_the_documentation_has_the_figures_that_decide() -> None:
    text = " ".join((paths.ROOT / "docs" / "logging.md").read_text("utf-8").split())
    assert f"has not risen by {RISE:g} within {PATIENCE} iterations while it is below {ENOUGH:g} of the highest" in text
    assert f"Up to {KEPT[Scalars]:,} iterations of scalars and {KEPT[Shown]} of media are kept" in text


def test_levels_of_kinds_and_iterations_that_are_gone_back_to_stall_nothing() -> None:
    watch = Watch(9)
    assert not any(watch.look({"TerrainLevel/gaps/teacher": 1.0}, step, PPO) for step in range(2 * PATIENCE))
    watch = Watch(9)
    assert not watch.look({"TerrainLevel/teacher": 4.0}, 1000, PPO)
    told = [step for step in range(100, 1100) if watch.look({"TerrainLevel/teacher": 3.0}, step, PPO)]
    assert told == [100 + PATIENCE]  # counted from where the training went back to


def alerts(turns: list[dict[str, list[str]]], levels: list[float]) -> list[tuple[int, str]]:
    """Return where who is told to stand still, by each iteration's turns and level of the teacher."""
    watch = Watch(9)
    return [
        (step, lane)
        for step, (turn, level) in enumerate(zip(turns, levels, strict=True))
        for _, text in watch.look({"TerrainLevel/teacher": level, "TerrainLevel/student": 0.5}, step, turn)
        for lane in ("teacher", "student")
        if f"the {lane}'s" in text
    ]


def test_a_student_that_waits_does_not_stand_still_and_one_that_learns_now_and_then_can() -> None:
    wait, both = 3 * PATIENCE, {"teacher": ["PPO"], "student": ["distillation"]}
    turns = [PPO] * wait + [both if step % 4 == 0 else PPO for step in range(PATIENCE + 1)]
    rising = [2.0 + RISE * step / 100 for step in range(wait)]
    assert not alerts(turns[:wait], rising)
    stands = [rising[-1] + 1.0] * (PATIENCE + 1)  # as the student does
    assert alerts(turns, rising + stands) == [(wait + PATIENCE, "teacher"), (wait + PATIENCE, "student")]


def test_who_begins_on_a_lane_is_not_measured_by_who_was_there_before() -> None:
    """The guide climbs to 6, its image falls back, and PPO goes on from there; a phase now and then changes nothing."""
    guide = [{"teacher": ["guide"]}] * 400 + [{"teacher": ["guide", "imitation"]}]
    image = [{"teacher": ["imitation"]}] * 120
    ppo = [{"teacher": ["PPO", *(["counting"] if step % 2 else [])]} for step in range(PATIENCE + 3)]
    levels = [6.0 * step / 400 for step in range(401)] + [2.0] * 120
    assert not alerts(guide + image + ppo, levels + [2.0 + RISE * step / 300 for step in range(PATIENCE + 3)])
    found = alerts(guide + image + ppo, levels + [2.0] * (PATIENCE + 3))
    assert found == [(521 + 1 + PATIENCE, "teacher")]  # from the first turn of what counts


def test_best_values_are_the_largest_or_the_least_whatever_the_order() -> None:
    dice = random.Random(3)
    tags = ["SuccessRate/student", "TerrainLevel/teacher", "Evaluation/small nominal level 2/teacher", "Distill/loss"]
    rows = [{tag: dice.gauss(0, 1) for tag in [*tags, "Loss/value", "TerrainLevel/gaps/teacher"]} for _ in range(40)]
    rows[7]["SuccessRate/student"], rows[8]["Distill/loss"] = math.nan, -math.inf
    found: dict[str, float] = {}
    changed = [best.improve(found, row) for row in rows]
    assert changed[0] and not best.improve(found, rows[-1])
    for tag in tags:
        values = [row[tag] for row in rows if math.isfinite(row[tag])]
        assert found[tag] == (min(values) if tag == "Distill/loss" else max(values))
    assert found.keys() == set(tags)


def test_the_best_checkpoint_is_by_evaluation_where_there_is_one_else_by_level() -> None:
    newest = {
        "TerrainLevel/student": 3.0,
        "TerrainLevel/teacher": 5.0,
        "Evaluation/small nominal level 2/student": 0.9,
        "Evaluation/small nominal all levels/student": 0.4,
    }
    assert best.quality(newest, "student", evaluated=False) == 3.0
    assert best.quality(newest, "teacher", evaluated=False) == 5.0
    assert best.quality(newest, "student", evaluated=True) == 0.4
    assert best.quality(newest, "teacher", evaluated=True) is None


def test_memory_comes_back(tmp_path: Path) -> None:
    kept = memory.Memory("abcd1234", "team", "bipeds", "2026-11-30_run", "https://wandb.ai/x", 2.5, {"a/b": 1.0}, 0.5)
    assert memory.save(kept, tmp_path) and memory.load(tmp_path) == kept
    assert memory.load(tmp_path / "nowhere") == memory.Memory()


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        "{",
        '{"run_id": "../../x"}',
        '{"run_id": 5}',
        '{"entity": "a/b"}',
        '{"hours": "1"}',
        '{"best": {"a": "b"}}',
    ]
    + ['{"url": "a\\u001b[2J"}', '{"hours": true}', '{"run_id": "' + "a" * 200 + '"}', '{"stranger": 1}'],
)
def test_memory_of_a_stranger_is_no_more_than_what_it_may_be(tmp_path: Path, content: str) -> None:
    (tmp_path / memory.FILE).write_text(content)
    assert memory.load(tmp_path) == memory.Memory()


def test_memory_that_cannot_be_written_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert not memory.save(memory.Memory(), tmp_path / "file")
    assert json.loads((tmp_path / "file").read_text() or "null") is None

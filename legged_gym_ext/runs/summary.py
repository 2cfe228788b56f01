"""What became of a run, in a few numbers: from its configuration, its log and its newest checkpoint's small data."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from legged_gym_ext.config.files import read_yaml
from legged_gym_ext.errors import UserError
from legged_gym_ext.recording.entries import ENV_STEPS
from legged_gym_ext.runs.events import Curve, read_curves
from legged_gym_ext.runs.folder import CONFIG_FILE, checkpoint_name, checkpoint_numbers
from legged_gym_ext.runs.glance import Glance, glance
from legged_gym_ext.runs.resume import dotted_values
from legged_gym_ext.runs.running import is_running

LANES = ("student", "teacher")
"""Whose numbers stand for a run: the first that has any."""
GUIDE = "guide"
"""Who acts on the teacher's lane before that begins as its image."""
BENCHMARKS = ("parkour-v1 nominal", "parkour-v1_quick nominal", "small nominal")
"""Titles of evaluations that say how good a run is, from the most thorough one on. Others are of parts, such as a kind
of terrain."""
WINDOW = 50
"""Iterations over which a training's own success rate is averaged: of one iteration it jumps."""
_OVERALL = {"kind": "all", "level": None, "sight": "true"}
"""What a report says of a cell of all kinds and levels, with the policy's own view (evaluation/summary.py)."""
_HEADING = {"checkpoint", "policies", "engine", "benchmark"}
_CELL = {*_OVERALL, "setting", "policy", "success"}
"""What a report must have to be read; one of another version may lack it."""
_GUIDE, _IMITATION = "Guide/", "Imitation/"
_TAGS = ("Perf/", "SuccessRate/", "TerrainLevel/", "Evaluation/", ENV_STEPS, _GUIDE, _IMITATION)


@dataclass(frozen=True)
class Success:
    """The best success rate of a run."""

    rate: float
    """0 .. 1."""
    policy: str
    source: str
    """One of :data:`BENCHMARKS`, or ``training``: on the curriculum's levels, as an average of :data:`WINDOW`
    iterations."""
    iteration: int


@dataclass(frozen=True)
class RunSummary:
    """A run. What is not known is None."""

    name: str
    """Of its folder."""
    experiment: str
    folder: Path
    task: str
    running: bool
    iterations: int
    """Completed ones, with those of the runs that it goes on with."""
    iterations_before: int
    """Those of the runs that it goes on with, if the log says so; else 0."""
    planned: int | None
    """Iterations it is or was to end at, if the log says where it began."""
    steps: int | None
    """Environment steps of all ranks and lanes, as of the newest checkpoint; with those of the runs that it goes on
    with."""
    hours: float | None
    """That its own iterations and evaluations took."""
    success: Success | None
    levels: Mapping[str, float]
    """Last mean terrain level, by who acts on the lanes."""
    size: int
    """Of the folder, bytes."""
    checkpoints: int
    last_written: float
    """When any file of it was, seconds since 1970."""

    @property
    def level(self) -> float | None:
        """The student's last terrain level, the teacher's or its guide's where there is no student."""
        return next((self.levels[name] for name in (*LANES, GUIDE) if name in self.levels), None)

    def as_data(self) -> dict[str, Any]:
        """Return it as plain data for JSON."""
        success = vars(self.success) if self.success else None
        return {**vars(self), "folder": str(self.folder), "levels": dict(self.levels), "success": success}


def summarize_run(folder: Path, curves: Mapping[str, Curve] | None = None) -> RunSummary:
    """Return what became of the run in ``folder``; a file that cannot be read says nothing.

    Args:
        folder: The run's.
        curves: All of its curves, where somebody has read them already.
    """
    config = _configuration(folder)
    curves = read_curves(folder, _TAGS) if curves is None else curves
    numbers, files = checkpoint_numbers(folder), _files(folder)
    newest = glance_at_newest(folder)
    training = [curve for tag, curve in curves.items() if not tag.startswith("Evaluation/")]
    logged = max((int(curve.steps[-1]) for curve in training), default=0)
    per_call = config.get("runner.max_iterations")
    first = min((int(curve.steps[0]) for curve in training), default=None)
    return RunSummary(
        name=folder.resolve().name,
        experiment=folder.resolve().parent.name,
        folder=folder,
        task=Path(str(config.get("task", ""))).stem,
        running=is_running(folder),
        iterations=max([logged, *numbers]),
        iterations_before=first - 1 if first else 0,
        planned=first - 1 + per_call if first is not None and isinstance(per_call, int) else None,
        steps=newest.total_steps if newest else None,
        hours=_hours(curves, files, folder),
        success=best_success(curves, folder),
        levels={
            policy_name(lane, logged, curves): curves[tag].last
            for lane in LANES
            if (tag := f"TerrainLevel/{lane}") in curves
        },
        size=sum(size for size, _ in files.values()),
        checkpoints=len(numbers),
        last_written=max((time for _, time in files.values()), default=0.0),
    )


def best_success(curves: Mapping[str, Curve], folder: Path) -> Success | None:
    """Return the best success rate on the most thorough benchmark that there is, else that of the training itself."""
    found = [*_logged(curves), *_reported(folder)]
    for source in BENCHMARKS:
        if rates := [success for success in found if success.source == source]:
            return max(rates, key=lambda success: (success.rate, success.iteration))
    for lane in LANES:
        if curve := curves.get(f"SuccessRate/{lane}"):
            size = min(WINDOW, len(curve.values))
            means = np.convolve(curve.values, np.full(size, 1 / size), "valid")
            best = int(means.argmax())
            step = int(curve.steps[best + size - 1])
            return Success(float(means[best]), policy_name(lane, step, curves), "training", step)
    return None


def policy_name(lane: str, iteration: int, curves: Mapping[str, Curve]) -> str:
    """Return who acted on a lane: the lane's policy, or the guide where the teacher had not begun, by the log."""

    def begin(section: str) -> float:
        return min((float(curve.steps[0]) for tag, curve in curves.items() if tag.startswith(section)), default=np.inf)

    guided = lane == "teacher" and begin(_GUIDE) <= iteration < begin(_IMITATION)
    return GUIDE if guided else lane


def evaluations(folder: Path) -> dict[Path, dict[str, Any]]:
    """Return the content of each ``report.json`` of an evaluation in a run's folder, by the evaluation's folder."""
    found = {}
    for path in sorted(folder.glob("evaluation/*/report.json")):
        try:
            content = json.loads(path.read_text("utf-8"))
            if content["heading"].keys() >= _HEADING and all(cell.keys() >= _CELL for cell in content["cells"]):
                found[path.parent] = content
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            continue
    return found


def title_of(evaluation: Path, content: Mapping[str, Any], setting: str) -> str:
    """Return what an evaluation is of, as its curves have it: benchmark, deviations from it, and setting."""
    heading = content["heading"]
    benchmark = heading["benchmark"].partition(" ")[0]
    policies = "both" if len(heading["policies"]) > 1 else heading["policies"][0]
    whole = f"{heading['checkpoint']}_{policies}_{heading['engine']}"
    return f"{benchmark}{evaluation.name.removeprefix(whole)} {setting}"


def seconds_by_activity(curves: Mapping[str, Curve], after: int = 0) -> dict[str, float]:
    """Return what the log's iterations, those ``after`` one, spent on what."""
    return {
        tag.removeprefix("Perf/").removesuffix("_time"): float(curve.values[curve.steps > after].sum())
        for tag, curve in curves.items()
        if tag.startswith("Perf/") and tag.endswith("_time")
    }


def average_speed(summary: RunSummary, curves: Mapping[str, Curve]) -> float | None:
    """Return the environment steps per second of a run's own iterations, learning and evaluating included."""
    steps = curves.get(ENV_STEPS)
    if steps is not None and len(steps.steps) > 1:
        done, first = steps.last - float(steps.values[0]), int(steps.steps[0])
    elif summary.iterations_before:
        return None
    else:
        done, first = float(summary.steps or 0), 0
    seconds = sum(seconds_by_activity(curves, first).values())
    return done / seconds if done > 0 and seconds > 0 else None


def glance_at_newest(folder: Path) -> Glance | None:
    """Return the small data of the newest checkpoint that can be read."""
    for number in reversed(checkpoint_numbers(folder)):
        try:
            return glance(folder / checkpoint_name(number))
        except UserError:
            continue
    return None


def _logged(curves: Mapping[str, Curve]) -> list[Success]:
    """Return the success rates over all kinds and levels in the log."""
    found = []
    for tag, curve in curves.items():
        what, _, policy = tag.removeprefix("Evaluation/").rpartition("/")
        if tag.startswith("Evaluation/") and what.endswith(" all levels"):
            source = what.removesuffix(" all levels")
            found += [
                Success(float(value), policy, source, int(step))
                for step, value in zip(curve.steps, curve.values, strict=True)
            ]
    return found


def _reported(folder: Path) -> list[Success]:
    """Return the success rates over all kinds and levels in the reports of evaluations."""
    return [
        Success(cell["success"], cell["policy"], title_of(path, content, cell["setting"]), heading["checkpoint"])
        for path, content in evaluations(folder).items()
        if (heading := content["heading"])
        for cell in content["cells"]
        if _OVERALL.items() <= cell.items()
    ]


def _hours(curves: Mapping[str, Curve], files: Mapping[Path, tuple[int, float]], folder: Path) -> float | None:
    """Return what the log's iterations took; without a log, the time from the first to the last file of the run."""
    if seconds := seconds_by_activity(curves):
        return sum(seconds.values()) / 3600
    times = [time for path, (_, time) in files.items() if path.parent == folder]
    return (max(times) - min(times)) / 3600 if len(times) > 1 else None


def _configuration(folder: Path) -> dict[str, Any]:
    """Return a run's configuration by dotted key."""
    try:
        return dict(dotted_values(read_yaml(folder / CONFIG_FILE)))
    except UserError:
        return {}


def _files(folder: Path) -> dict[Path, tuple[int, float]]:
    """Return the size and the time of each file in a folder, and in those in it."""
    found = {}
    for path in folder.rglob("*"):
        try:
            if path.is_file() and not path.is_symlink():
                status = path.stat()
                found[path] = (status.st_size, status.st_mtime)
        except OSError:  # it is gone
            continue
    return found

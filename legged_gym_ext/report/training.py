"""The sections of a run's page that its own log has the figures for."""

from __future__ import annotations

from collections.abc import Mapping

from legged_gym_ext.evaluation.document import Entry, Section, Table
from legged_gym_ext.evaluation.wording import MISSING, count, percent
from legged_gym_ext.runs.events import Curve
from legged_gym_ext.runs.plot import find_lines
from legged_gym_ext.runs.summary import LANES, WINDOW, RunSummary, average_speed, policy_name, seconds_by_activity
from legged_gym_ext.runs.wording import hours_text, size_text

MEASURES = {
    "success rate, %": ("SuccessRate", lambda value: percent(value)),
    "progress, m": ("Progress", lambda value: f"{value:.2f}"),
    "return": ("Return", lambda value: f"{value:.2f}"),
    "length of an episode, control steps": ("EpisodeLength", lambda value: f"{value:.0f}"),
    "speed toward the waypoint, m/s": ("Speed/toward_waypoint", lambda value: f"{value:.2f}"),
    "terrain level": ("TerrainLevel", lambda value: f"{value:.2f}"),
}
"""Title, beginning of the tag, and text of the training's own measures."""


def training_section(curves: Mapping[str, Curve]) -> Section:
    """Return where the training itself stood in the end, on the levels that its curriculum had come to."""
    lanes = [lane for lane in LANES if any(tag.endswith(f"/{lane}") for tag in curves)]
    last = max((int(curve.steps[-1]) for curve in curves.values()), default=0)
    policies = [policy_name(lane, last, curves) for lane in lanes]
    rows = []
    for title, (tag, text) in MEASURES.items():
        found = [curves.get(f"{tag}/{lane}") for lane in lanes]
        if any(found):
            rows.append([Entry(title), *(Entry(text(recent(curve)) if curve else MISSING) for curve in found)])
    kinds = {lane: find_lines(f"TerrainLevel/*/{lane}", curves) for lane in lanes}
    names = list(dict.fromkeys(kind for found in kinds.values() for kind in found))
    levels = [
        [
            Entry(kind),
            *(Entry(f"{recent(kinds[lane][kind]):.2f}" if kind in kinds[lane] else MISSING) for lane in lanes),
        ]
        for kind in names
    ]
    tables = [Table("Episodes", ["measure", *policies], rows)] if rows else []
    tables += [Table("Terrain level by kind", ["kind", *policies], levels)] if levels else []
    note = (
        f"Means over the last {WINDOW} values in the log, with the disturbances of the training. Success is that on "
        "the levels that the curriculum gives, which get harder as it rises: to compare runs, evaluate them."
    )
    return Section("Where the training stood", [note] if tables else [], tables)


def resources_section(summary: RunSummary, curves: Mapping[str, Curve]) -> Section:
    """Return what the training took: time by activity, and space."""
    spent = seconds_by_activity(curves)
    total = sum(spent.values())
    rows = [
        [Entry(name), Entry(hours_text(seconds / 3600)), Entry(percent(seconds / total), share=seconds / total)]
        for name, seconds in sorted(spent.items(), key=lambda item: -item[1])
        if total > 0
    ]
    space = f"The run's folder has {size_text(summary.size)}, with {count(summary.checkpoints, 'checkpoint')}."
    last = curves.get("Perf/env_steps_per_second")
    paragraphs = [space]
    if (speed := average_speed(summary, curves)) and summary.steps:
        what = f"{count(summary.steps)} environment steps"
        took = f"{hours_text(total / 3600)}, learning included: {speed:,.0f} steps/s on average."
        if summary.iterations_before:
            paragraphs.insert(0, f"{what}, with those of the runs that this one goes on with. It took {took}")
        else:
            paragraphs.insert(0, f"{what} in {took}")
    if last:
        paragraphs.append(f"The last iterations ran at {recent(last):,.0f} steps/s.")
    return Section(
        "Resources", paragraphs, [Table("Time by activity", ["activity", "time", "%"], rows)] if rows else []
    )


def recent(curve: Curve) -> float:
    """Return the mean of the last values of a curve."""
    return float(curve.values[-WINDOW:].mean())

"""An iteration's figures in words: the same ones on a terminal (status.py) and in a file (journal.py)."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from legged_gym_ext.learning.journal import Progress

HEALTH = "health"
_MEASURES = {
    "return": "{:.2f}",
    "episode_length": "{:.0f}",
    "success_rate": "{:.1%}",
    "progress": "{:.2f} m",
    "terrain_level": "{:.2f}",
}


@dataclass(frozen=True)
class Words:
    """What is told of an iteration."""

    where: str
    """How far the training is."""
    pace: str
    left: str
    rows: Mapping[str, str]
    """By title: what took how long, the phases' losses, and what is wrong in some environments (:data:`HEALTH`)."""
    measures: Mapping[str, Mapping[str, str]]
    """Of the episodes, by name and policy."""


def words(
    progress: Progress,
    steps_per_second: float,
    seconds: Mapping[str, float],
    losses: Mapping[str, Mapping[str, float]],
    lanes: Mapping[str, Mapping[str, float]],
    health: Mapping[str, Mapping[str, float]],
) -> Words:
    """Return an iteration in words.

    Args:
        progress: How far the training is.
        steps_per_second: Environment steps per second of this iteration.
        seconds: By activity.
        losses: By the phases' titles and by tag.
        lanes: Statistics of the episodes, by policy and name.
        health: In how many environments per step something went wrong, by policy and name.
    """
    iteration, last = progress.iteration, progress.last_iteration
    rows = {"time": _row({activity: f"{value:.2f} s" for activity, value in seconds.items()})}
    for title, tags in losses.items():
        if tags:
            rows[title] = _row({tag.partition("/")[2]: f"{value:.3g}" for tag, value in tags.items()})
    if wrong := _wrong(health):
        rows[HEALTH] = f"{wrong} (environments per step)"
    return Words(
        f"iteration {iteration}/{last} ({iteration / last:.1%})",
        f"{progress.total_steps:,} steps   {steps_per_second:,.0f} steps/s",
        f"time left {datetime.timedelta(seconds=round(progress.seconds_left))}",
        rows,
        {
            measure.replace("_", " "): {
                name: style.format(lane[measure]) if measure in lane else "-" for name, lane in lanes.items()
            }
            for measure, style in _MEASURES.items()
        },
    )


def iteration_block(words: Words) -> str:
    """Return it in lines."""
    lines = ["   ".join([words.where, words.pace, words.left])]
    lines += [f"  {title:16}{text}" for title, text in words.rows.items()]
    names = next(iter(words.measures.values()))
    lines.append("  " + f"{'':16}" + "".join(f"{name:>12}" for name in names))
    for measure, cells in words.measures.items():
        lines.append(f"  {measure:16}" + "".join(f"{cell:>12}" for cell in cells.values()))
    return "\n".join(lines)


def _wrong(health: Mapping[str, Mapping[str, float]]) -> str:
    """Return what is wrong in some environments, with whose these are."""
    parts = {
        name: [f"{what} {count:.2g}" for what, count in counts.items() if count > 0] for name, counts in health.items()
    }
    return ", ".join(f"{name}: {', '.join(wrong)}" for name, wrong in parts.items() if wrong)


def _row(cells: Mapping[str, str]) -> str:
    """Return named values."""
    return "   ".join(f"{key.replace('_', ' ')} {cell}" for key, cell in cells.items())

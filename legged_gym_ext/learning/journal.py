"""What a training run prints."""

from __future__ import annotations

import datetime
from collections.abc import Mapping

_ROWS = {
    "return": "{:.2f}",
    "episode_length": "{:.0f}",
    "success_rate": "{:.1%}",
    "progress": "{:.2f} m",
    "terrain_level": "{:.2f}",
}


def iteration_block(
    iteration: int,
    last_iteration: int,
    total_steps: int,
    steps_per_second: float,
    seconds_left: float,
    times: Mapping[str, float],
    losses: Mapping[str, Mapping[str, float]],
    lanes: Mapping[str, Mapping[str, float]],
    health: Mapping[str, Mapping[str, float]],
) -> str:
    """Return one iteration's report.

    Args:
        iteration: Completed iterations.
        last_iteration: The number that this call ends at.
        total_steps: Environment steps of the whole training.
        steps_per_second: Environment steps per second of this iteration.
        seconds_left: Estimate for the iterations that remain.
        times: Seconds by activity.
        losses: Scalars by algorithm and name.
        lanes: Statistics of each lane, by lane and name.
        health: In how many environments per step something went wrong, by lane and name.
    """
    left = datetime.timedelta(seconds=round(seconds_left))
    wrong = {
        lane: ", ".join(f"{name} {count:.2g}" for name, count in counts.items() if count > 0)
        for lane, counts in health.items()
        if any(count > 0 for count in counts.values())
    }
    lines = [
        f"iteration {iteration}/{last_iteration} ({iteration / last_iteration:.1%})   {total_steps:,} steps   "
        f"{steps_per_second:,.0f} steps/s   time left {left}",
        _row("time", {name: f"{seconds:.2f} s" for name, seconds in times.items()}),
        *(_row(name, {key: f"{value:.3g}" for key, value in values.items()}) for name, values in losses.items()),
        *([_row("health", wrong) + "   environments per step"] if wrong else []),
        "  " + f"{'':16}" + "".join(f"{name:>12}" for name in lanes),
    ]
    for row, style in _ROWS.items():
        cells = (style.format(lane[row]) if row in lane else "-" for lane in lanes.values())
        lines.append(f"  {row.replace('_', ' '):16}" + "".join(f"{cell:>12}" for cell in cells))
    return "\n".join(lines)


def _row(name: str, cells: Mapping[str, str]) -> str:
    """Return a line of named values."""
    return f"  {name:16}" + "   ".join(f"{key.replace('_', ' ')} {cell}" for key, cell in cells.items())

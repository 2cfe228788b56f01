"""What a training tells of its iterations: the log and the console, for all ranks."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from legged_gym_ext.console import Board, say
from legged_gym_ext.learning.statistics import COUNTS, merge_logs, summarize
from legged_gym_ext.learning.wording import iteration_block, words
from legged_gym_ext.recording.entries import ENV_STEPS, HOURS
from legged_gym_ext.recording.recording import Recording

if TYPE_CHECKING:
    from rich.console import RenderableType


@dataclass(frozen=True)
class Row:
    """What one rank tells the others of an iteration."""

    signal_name: str
    """Of the signal that asks to stop; empty if none does."""
    losses: dict[str, dict[str, float]]
    """What the phases that ran have for the log, by their titles and by tag."""
    totals: dict[str, list[float]]
    """Of the episodes, by lane."""
    logs: dict[str, dict[str, float]]
    """The environment's, by lane."""
    kinds: dict[str, dict[str, list[float]]] = field(default_factory=dict)
    """How many environments had their last episode on a kind of terrain, and how many of these succeeded, by lane and
    kind."""


@dataclass(frozen=True)
class Turn:
    """A phase that ran in an iteration."""

    title: str
    lane: str
    over: bool
    """Whether it was the last one."""


@dataclass(frozen=True)
class Progress:
    """How far the training is, after an iteration."""

    iteration: int
    """Completed iterations."""
    last_iteration: int
    """The number that this call ends at."""
    steps: int
    """Environment steps of this iteration, of all ranks and lanes."""
    total_steps: int
    """Of the whole training."""
    seconds_left: float
    """Estimate for the iterations that remain."""


class Journal:
    """Writes iterations to the log and the console.

    Args:
        recording: The log.
        folder: The run's, to tell where it is; None = there is none.
    """

    def __init__(self, recording: Recording, folder: Path | None = None) -> None:
        self.recording = recording
        self._board, self._folder = Board(), folder
        self._losses: dict[str, dict[str, float]] = {}
        """The newest of each phase that goes on: not all run in every iteration."""
        self._logs: dict[str, dict[str, float]] = {}
        """The newest of each lane. Success by kind is there in each iteration, the rest after the lane's turns."""
        self._rates: dict[str, dict[str, float]] = {}
        """The last evaluation's."""

    @contextlib.contextmanager
    def on_console(self) -> Iterator[None]:
        """Context of the training's iterations: a terminal shows the newest one in its place, and is left tidy."""
        try:
            yield
        finally:
            self._board.close()

    def report(
        self,
        progress: Progress,
        turns: Sequence[Turn],
        seconds: Mapping[str, float],
        rows: Sequence[Row],
        names: Mapping[str, str],
    ) -> None:
        """Write an iteration: the means and sums over the ranks.

        Args:
            progress: How far the training is.
            turns: The phases that ran.
            seconds: What took how long on this rank, by activity.
            rows: What the ranks tell.
            names: What the policies of the lanes are called on the console.
        """
        losses = {
            title: {tag: sum(row.losses[title][tag] for row in rows) / len(rows) for tag in tags}
            for title, tags in rows[0].losses.items()
        }
        lanes = {lane: summarize([row.totals[lane] for row in rows]) for lane in rows[0].totals}
        logs = {lane: merge_logs([row.logs[lane] for row in rows]) for lane in rows[0].logs}
        for lane in logs:
            logs[lane] |= success_by_kind([row.kinds.get(lane, {}) for row in rows])
        took = sum(seconds.values())
        steps_per_second = progress.steps / took if took > 0 else 0.0
        scalars = _scalars(losses, seconds, steps_per_second, lanes, logs)
        scalars |= {ENV_STEPS: float(progress.total_steps), HOURS: self.recording.hours}
        over = {turn.title for turn in turns if turn.over}
        played = {lane: [turn.title for turn in turns if turn.lane == lane] for lane in lanes}
        self.recording.add(scalars, progress.iteration, played)
        health = {
            names[lane]: {key.removeprefix(COUNTS): value for key, value in log.items() if key.startswith(COUNTS)}
            for lane, log in logs.items()
        }
        found = self._losses | {title: tags for title, tags in losses.items() if tags}
        self._losses = {title: tags for title, tags in found.items() if title not in over}
        # The newest numbers in the order of the newest log, and after them those that only a turn brings.
        self._logs = {lane: {**log, **self._logs.get(lane, {}), **log} for lane, log in logs.items()}
        shown = {names[lane]: summary for lane, summary in lanes.items()}

        def make() -> RenderableType:
            from legged_gym_ext.learning.status import Status  # imports rich

            told = words(progress, steps_per_second, seconds, found, shown, health)
            kinds = {names[lane]: log for lane, log in self._logs.items()}
            return Status(self._folder, progress, told, kinds, self._rates).drawn()

        if not self._board.show(make, at_once=progress.iteration == progress.last_iteration):
            say(iteration_block(words(progress, steps_per_second, seconds, losses, shown, health)))

    def report_evaluation(
        self, iteration: int, rates: Mapping[str, float], seconds: float, names: Mapping[str, str]
    ) -> None:
        """Write what an evaluation found: success rates by tag; ``names`` as in :meth:`report`."""
        self.recording.add({**rates, "Perf/evaluation_time": seconds}, iteration)
        self._rates = _by_policy(rates, names)
        say(evaluation_block(self._rates, seconds))


def success_by_kind(kinds: Sequence[Mapping[str, Sequence[float]]]) -> dict[str, float]:
    """Return the success rates on the kinds of terrain on which any rank has finished an episode, by tag."""
    sums = {kind: [sum(column) for column in zip(*(rank[kind] for rank in kinds), strict=True)] for kind in kinds[0]}
    return {f"SuccessRate/{kind}": successes / ended for kind, (ended, successes) in sums.items() if ended > 0}


def _scalars(
    losses: Mapping[str, Mapping[str, float]],
    seconds: Mapping[str, float],
    steps_per_second: float,
    lanes: Mapping[str, Mapping[str, float]],
    logs: Mapping[str, Mapping[str, float]],
) -> dict[str, float]:
    """Return what the log gets of an iteration, by tag."""
    scalars = {tag: value for tags in losses.values() for tag, value in tags.items()}
    scalars |= {f"Perf/{activity}_time": value for activity, value in seconds.items()}
    scalars["Perf/env_steps_per_second"] = steps_per_second
    for lane, summary in lanes.items():
        scalars |= {f"{name.title().replace('_', '')}/{lane}": value for name, value in summary.items()}
        scalars |= {f"{key}/{lane}": value for key, value in logs[lane].items()}
    return scalars


def evaluation_block(table: Mapping[str, Mapping[str, float]], seconds: float) -> str:
    """Return the report of an evaluation: success rates by what was evaluated, and by policy."""
    policies = dict.fromkeys(policy for row in table.values() for policy in row)
    lines = [f"  {f'success ({seconds:.0f} s)':24}" + "".join(f"{policy:>12}" for policy in policies)]
    for what, row in table.items():
        cells = (f"{row[policy]:.0%}" if policy in row else "-" for policy in policies)
        lines.append(f"  {what:24}" + "".join(f"{cell:>12}" for cell in cells))
    return "\n".join(lines)


def _by_policy(rates: Mapping[str, float], names: Mapping[str, str]) -> dict[str, dict[str, float]]:
    """Return the success rates of an evaluation, by tag ``Evaluation/<what>/<lane>``, by what and by policy."""
    table: dict[str, dict[str, float]] = {}
    for tag, rate in rates.items():
        _, what, lane = tag.split("/")
        table.setdefault(what, {})[names[lane]] = rate
    return table

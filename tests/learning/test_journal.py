"""What a terminal shows of iterations in which not every lane has its turn."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from dummy_env import small_config
from rich.console import Console, RenderableType

from legged_gym_ext.learning.journal import Journal, Progress, Row, Turn
from legged_gym_ext.learning.statistics import EpisodeStatistics
from legged_gym_ext.recording.recording import Recording


def test_the_levels_of_a_lane_are_shown_until_its_next_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its success by kind is there in all iterations, which is no reason to forget the rest."""
    journal, drawn = Journal(Recording(small_config(), None)), []

    def show(make: Callable[[], RenderableType], at_once: bool = False) -> bool:
        console = Console(width=120)
        with console.capture() as capture:
            console.print(make())
        drawn.append(capture.get())
        return True

    monkeypatch.setattr(journal._board, "show", show)
    totals = {lane: EpisodeStatistics(2, "cpu").totals() for lane in ("teacher", "student")}
    for iteration, lanes in ((1, ("teacher", "student")), (2, ("teacher",))):
        logs = {lane: {"TerrainLevel/gaps": 3.5} if lane in lanes else {} for lane in totals}
        kinds = {"flat": [0.0 if iteration == 1 else 1.0, 0.0], "gaps": [2.0, 1.0]}
        row = Row("", {}, totals, logs, dict.fromkeys(totals, kinds))
        turns = [Turn(lane, lane, False) for lane in lanes]
        journal.report(Progress(iteration, 9, 10, 10, 1.0), turns, {}, [row], {lane: lane for lane in totals})
    levels = [next(line for line in text.splitlines() if "gaps" in line) for text in drawn]
    assert drawn[1].index("flat") < drawn[1].rindex("gaps")  # whichever has ended an episode first
    assert levels[0].count("3.5") == levels[1].count("3.5") == 2

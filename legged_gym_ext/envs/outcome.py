"""How an episode ends: the words that the environment, the log, play.py and evaluate.py share."""

from __future__ import annotations

from enum import IntEnum


class Outcome(IntEnum):
    """How an episode ends; where several are true in one step, the first of them counts. Failures come first."""

    DIVERGED = 0
    FELL_IN = 1
    TIPPED = 2
    SANK = 3
    LEFT = 4
    STUCK = 5
    FINISHED = 6
    TIMED_OUT = 7
    RUNNING = 8

    @property
    def word(self) -> str:
        """Its name in tables."""
        return _WORDS[self]


_WORDS = {
    Outcome.DIVERGED: "physics diverged",
    Outcome.FELL_IN: "fell into a gap",
    Outcome.TIPPED: "tipped over",
    Outcome.SANK: "sank down",
    Outcome.LEFT: "left the tile",
    Outcome.STUCK: "stuck",
    Outcome.FINISHED: "finished",
    Outcome.TIMED_OUT: "out of time",
    Outcome.RUNNING: "running",
}

FALLS = (Outcome.DIVERGED, Outcome.FELL_IN, Outcome.TIPPED, Outcome.SANK)
"""The robot fell; the others of the failures are LEFT and STUCK."""
SUMMARY = {
    "finished": (Outcome.FINISHED,),
    "fell": FALLS,
    "left": (Outcome.LEFT,),
    "stuck": (Outcome.STUCK,),
    "time out": (Outcome.TIMED_OUT,),
}
"""All ends in fewer words, where there is little room."""
ENDS = tuple(outcome for outcome in Outcome if outcome is not Outcome.RUNNING)
"""All ways for an episode to end."""

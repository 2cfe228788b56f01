"""What is given to a log, piece by piece."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from legged_gym_ext.recording.media import Medium

ITERATION, ENV_STEPS, HOURS = "Time/iteration", "Time/env_steps", "Time/hours"
"""Tags of what a curve may be drawn over: completed iterations, environment steps of all lanes and ranks, hours of
training, over all calls and resumed runs."""

Axes = Mapping[str, float]
"""Where an entry stands, by those tags; the first is always there."""


@dataclass(frozen=True)
class Scalars:
    """Numbers by tag."""

    axes: Axes
    values: Mapping[str, float]


@dataclass(frozen=True)
class Shown:
    """Pictures and the like."""

    axes: Axes
    media: Sequence[Medium]


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint to keep with the log."""

    axes: Axes
    files: Sequence[Path]
    """The checkpoint, and what it is loaded with."""
    best: bool
    """Whether it is the best one so far."""
    stays: bool
    """Whether the run keeps the files for good."""


@dataclass(frozen=True)
class Alert:
    """Something that somebody should look at."""

    axes: Axes
    title: str
    text: str


@dataclass(frozen=True)
class Best:
    """The best values so far, by tag."""

    axes: Axes
    values: Mapping[str, float]


Entry = Scalars | Shown | Checkpoint | Alert | Best

KEPT = {Scalars: 10_000, Shown: 20, Checkpoint: 2, Alert: 100, Best: 1}
"""How many entries of each kind, the newest ones, are kept while a log cannot be written."""


def step_of(entry: Entry) -> int:
    """Return the iteration that an entry is of."""
    return int(entry.axes[ITERATION])

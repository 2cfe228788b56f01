"""What stands on top of a report: what was evaluated, and under which conditions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Heading:
    """Of one evaluation."""

    benchmark: str
    run: str
    """Name of the run's folder."""
    checkpoint: int
    """Learning iterations it comes after."""
    checkpoint_sha256: str
    policies: Sequence[str]
    engine: str
    seed: int
    """That the tiles and starts are drawn from."""
    episodes: int
    """Of each kind, level, policy and setting."""
    time_limit: float
    """Of an episode, s."""
    commanded_speed: float
    """m/s."""
    course_length: float
    """m."""
    kinds: Sequence[str]
    """Of terrain, in the order of the tables."""
    levels: Sequence[int]
    settings: Mapping[str, str]
    """One line of explanation each."""
    training_steps: int | None
    """Steps of environments that the policies learned from; None = not known."""
    versions: Mapping[str, str]
    """Of packages."""
    trained_engine: str = ""
    """The engine of the run, which may be another than the one of the evaluation; empty = not known."""
    sweep_episodes: int = 0
    """As ``episodes``, in sweeps."""
    sweeps: Mapping[str, str] = field(default_factory=dict)
    """What the values of each robustness sweep are, with their unit; a sweep that is missing is called by its name."""

"""What passes between a training and the process that talks to Weights & Biases."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from legged_gym_ext.recording.entries import Entry

LEAST_SPACE = 2**20
"""Bytes that must be free where W&B's files are. Its service does not tell that a disk is full."""


@dataclass(frozen=True)
class Start:
    """What a W&B run is made of. Empty text = W&B's default."""

    folder: Path
    """Its files go to ``wandb/`` in it."""
    run_id: str
    name: str
    project: str
    entity: str
    group: str
    job_type: str
    tags: Sequence[str]
    notes: str
    config: Mapping[str, Any]
    files: Sequence[Path]
    """In ``folder``; they are uploaded with the run."""
    commit: str
    """Of the code."""
    remote: str
    """Of the code's repository."""
    pid: int
    """Process whose use of the machine is recorded."""
    offline: bool


@dataclass(frozen=True)
class Opened:
    """How a W&B run came to be."""

    entity: str
    project: str
    url: str
    offline: bool
    folder: Path
    """Where its files are."""


@dataclass(frozen=True)
class Close:
    """Ask to end the run."""

    exit_code: int = 0


@dataclass(frozen=True)
class Done:
    """What was asked for is done, but for what was left out."""

    left_out: str = ""


@dataclass(frozen=True)
class Failed:
    """What was asked for cannot be done, and why."""

    reason: str


Request = Start | Entry | Close
Reply = Opened | Done | Failed


def artifact_name(run_id: str) -> str:
    """Return the name of the artifact whose versions are a run's checkpoints."""
    return f"model-{run_id}"

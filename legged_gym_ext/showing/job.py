"""What a film of a training is made from: a folder that the training writes and the process that films reads."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

_FILE, RATES, ERRORS, _ALIVE = "job.json", "rates.json", "errors.txt", "alive"


@dataclass(frozen=True)
class Film:
    """One film of one policy."""

    path: str
    """Of the mp4 to write."""
    title: str
    clips: Sequence[tuple[str, int]]
    """Kind and level of terrain of each clip."""


@dataclass(frozen=True)
class Job:
    """The films of one iteration."""

    parent: int
    """The process that waits for them."""
    seconds: float
    """Length of a film."""
    films: Mapping[str, Film]
    """By policy."""

    def write(self, folder: Path) -> None:
        """Write the job, beside which there is to be a run's configuration and a checkpoint."""
        (folder / _FILE).write_text(json.dumps(asdict(self)), "utf-8")

    @staticmethod
    def read(folder: Path) -> Job:
        """Return the job that was written there."""
        content = json.loads((folder / _FILE).read_text("utf-8"))
        films = {
            policy: Film(film["path"], film["title"], [(kind, level) for kind, level in film["clips"]])
            for policy, film in content["films"].items()
        }
        return Job(content["parent"], content["seconds"], films)


def unfinished(path: Path) -> Path:
    """Return where a film is while it is being written."""
    return path.with_name(f".{path.stem}.unfinished{path.suffix}")


def write_rates(folder: Path, rates: Mapping[str, float]) -> None:
    """Write how many frames per second the films have that are ready, by policy."""
    (folder / RATES).write_text(json.dumps(dict(rates)), "utf-8")


def get_on(folder: Path) -> None:
    """Note that the films are a little further than they were: a step played, a frame drawn."""
    (folder / _ALIVE).touch()


def got_on(folder: Path) -> int:
    """Return something that is another number whenever the films have got on; 0 before they have."""
    try:
        return (folder / _ALIVE).stat().st_mtime_ns
    except OSError:
        return 0


def read_rates(folder: Path) -> dict[str, float]:
    """Return what was written last; none before the first."""
    path = folder / RATES
    return json.loads(path.read_text("utf-8")) if path.exists() else {}

"""What is in the files of a W&B run, as its own library reads them."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from legged_gym_ext.errors import UserError

_MEDIA = {
    "image-file": "images",
    "images/separated": "images",
    "table-file": "tables",
    "video-file": "videos",
    "html-file": "pages",
    "histogram": "histograms",
}
"""Which kind of medium a value is, by its ``_type``."""
_PATIENCE = 120.0


@dataclass
class Contents:
    """What a run logged."""

    run_id: str = ""
    project: str = ""
    group: str = ""
    config: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, list[tuple[float, float]]] = field(default_factory=dict)
    """By tag: iteration and value, in the order in which they were logged."""
    media: dict[str, dict[str, int]] = field(default_factory=dict)
    """By kind and tag, how many there are."""
    artifacts: list[tuple[str, str, list[str], list[str]]] = field(default_factory=list)
    """Name, type, aliases and files of each version, but for those that W&B makes of tables itself."""
    alerts: list[tuple[str, str]] = field(default_factory=list)
    """Title and text."""
    step_metrics: dict[str, str] = field(default_factory=dict)
    """What metrics are drawn over, by their pattern."""
    summary: dict[str, Any] = field(default_factory=dict)
    files: list[str] = field(default_factory=list)
    ended: bool = False

    @property
    def tags(self) -> set[str]:
        """Return the tags of all that was logged."""
        return self.metrics.keys() | {tag for tags in self.media.values() for tag in tags}


def runs_in(folder: Path) -> list[Path]:
    """Return the files of the W&B runs in a training's folder, the oldest first."""
    return sorted(folder.glob("wandb/*run-*/*.wandb"), key=lambda path: path.parent.name.removeprefix("offline-"))


def read(files: Iterable[Path], step_metric: str) -> Contents:
    """Return what a run's files hold together.

    Args:
        files: Of one run, which was perhaps begun several times.
        step_metric: Tag of the iteration.

    Raises:
        UserError: There are none, or one cannot be read.
    """
    files, contents = list(files), Contents()
    if not files:
        raise UserError("no W&B files (wandb/*run-*/*.wandb); train with --logger wandb")
    for file in files:
        contents.ended = False
        for record in records(file):
            _add(contents, record, step_metric)
    return contents


def records(file: Path) -> list[Mapping[str, Any]]:
    """Return the records of a ``.wandb`` file, by W&B's own reader of it.

    Raises:
        UserError: It cannot be read.
    """
    command = [sys.executable, "-m", "wandb", "leet", "inspect", "--json", str(file)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_PATIENCE, stdin=subprocess.DEVNULL)
        rows = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    except (OSError, ValueError, subprocess.TimeoutExpired) as error:
        raise UserError(f"cannot read '{file}': {error}") from error
    if done.returncode or not rows:
        raise UserError(f"cannot read '{file}': {' '.join(done.stderr.split())[-200:] or 'it is empty'}")
    return rows


def _add(contents: Contents, record: Mapping[str, Any], step_metric: str) -> None:
    kind = record.get("type")
    what = record.get(str(kind), {})
    match kind:
        case "run":
            contents.run_id, contents.project = what.get("run_id", ""), what.get("project", "")
            contents.group = what.get("run_group", "")
            contents.config |= what.get("config", {}).get("update", {})
        case "history":
            _add_row(contents, what["item"], step_metric)
        case "summary":
            contents.summary |= what.get("update", {})
        case "metric" if "step_metric" in what:
            contents.step_metrics[what.get("glob_name") or what["name"]] = what["step_metric"]
        case "alert":
            contents.alerts.append((what["title"], what["text"]))
        case "files":
            contents.files += [each["path"] for each in what.get("files", [])]
        case "artifact" if what.get("type") != "run_table":
            entries = [each["path"] for each in what["manifest"].get("contents", [])]
            contents.artifacts.append((what["name"], what["type"], what.get("aliases", []), entries))
        case "exit":
            contents.ended = True


def _add_row(contents: Contents, row: Mapping[str, Any], step_metric: str) -> None:
    """Add a row of the history, in which what a medium has is there under ``tag.name``."""
    types = {key.removesuffix("._type"): value for key, value in row.items() if key.endswith("._type")}
    for tag, kind in types.items():
        tags = contents.media.setdefault(_MEDIA.get(str(kind), str(kind)), {})
        tags[tag] = tags.get(tag, 0) + 1
    step = row.get(step_metric)
    for tag, value in row.items():
        of_medium = any(tag.startswith(f"{medium}.") for medium in types)
        if not tag.startswith("_") and not of_medium and isinstance(value, int | float) and step is not None:
            contents.metrics.setdefault(tag, []).append((step, value))

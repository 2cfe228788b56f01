"""What a log must know of itself when a training goes on: ``recording.json`` in the run's folder."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from legged_gym_ext.errors import UserError
from legged_gym_ext.runs.atomic import write_file

FILE = "recording.json"
_NAME = re.compile(r"[\w.-]{1,128}")


@dataclass
class Memory:
    """What a run's log is called elsewhere, and how far it is."""

    run_id: str = ""
    """Of the W&B run."""
    entity: str = ""
    project: str = ""
    group: str = ""
    url: str = ""
    hours: float = 0.0
    """Of training."""
    best: dict[str, float] = field(default_factory=dict)
    """Best values, by tag."""
    best_checkpoint: float | None = None
    """How good the best of the checkpoints is that the log has."""


def load(folder: Path) -> Memory:
    """Return what is remembered in a run's folder; what is not there, or not as it should be, is as in a new one."""
    try:
        content = json.loads((folder / FILE).read_text("utf-8"))
    except (OSError, ValueError):
        return Memory()
    if not isinstance(content, Mapping):
        return Memory()
    kept = {each.name: content[each.name] for each in fields(Memory) if _sound(each.name, content.get(each.name))}
    return Memory(**kept)


def save(memory: Memory, folder: Path) -> bool:
    """Write it into a run's folder; return whether that could be done."""
    try:
        write_file(folder / FILE, json.dumps(asdict(memory), indent=1))
    except UserError:
        return False
    return True


def _sound(name: str, value: Any) -> bool:
    """Return whether a value may be that of a field: the file may be a stranger's."""
    match name:
        case "hours" | "best_checkpoint":
            return _is_number(value)
        case "best":
            return isinstance(value, dict) and all(isinstance(k, str) and _is_number(v) for k, v in value.items())
        case "url":
            return isinstance(value, str) and value.isprintable() and len(value) < 500
    return isinstance(value, str) and _NAME.fullmatch(value) is not None


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)

"""Checkpoint files: written atomically, read without executing anything, found by run and number."""

from __future__ import annotations

import errno
import os
import re
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from legged_gym_ext.errors import UserError, unknown

FORMAT = "legged_gym_ext checkpoint"
VERSION = 2
_NAME = re.compile(r"model_(\d+)\.pt")


def save_checkpoint(content: dict[str, Any], path: str | Path) -> None:
    """Write ``content`` to ``path`` so that the file is either whole or what it was before.

    Raises:
        UserError: Where the file cannot be written, as on a full disk. Nothing is left behind.
    """
    path = Path(path)
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
            temporary = Path(file.name)
            torch.save({"format": FORMAT, "version": VERSION, **content}, file)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except (OSError, RuntimeError) as error:  # torch reports a failed write as either
        reason = "no space left on the disk" if _is_full(error) else str(error).splitlines()[0]
        raise UserError(f"cannot write checkpoint '{path}': {reason}; earlier checkpoints are as they were") from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def load_checkpoint(path: str | Path) -> dict[str, Any]:
    """Read a checkpoint to the CPU. Only tensors and plain data are read; no code in the file can run.

    Raises:
        UserError: Where the file is missing, cut short, damaged, or not a checkpoint of this project.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"checkpoint '{path}' does not exist")
    try:
        with warnings.catch_warnings(action="ignore"):  # on what it meets in foreign files
            content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # whatever a damaged or hostile file makes the reader raise
        raise UserError(
            f"checkpoint '{path}' cannot be read: it is cut short, damaged, or holds more than tensors and plain data"
        ) from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise UserError(f"'{path}' is not a checkpoint of legged_gym_ext (it holds no entry format='{FORMAT}')")
    if content.get("version") == 1:
        _upgrade(content)
    if content.get("version") != VERSION:
        raise UserError(f"checkpoint '{path}' has version {content.get('version')}; this program reads {VERSION}")
    return content


def map_tensors(content: Any, function: Callable[[Tensor], Tensor]) -> Any:
    """Return nested dictionaries and lists with ``function`` applied to each tensor in them."""
    if isinstance(content, Tensor):
        return function(content)
    if isinstance(content, dict):
        return {key: map_tensors(value, function) for key, value in content.items()}
    if isinstance(content, list):
        return [map_tensors(value, function) for value in content]
    return content


def checkpoint_name(iteration: int) -> str:
    """Return the name of the file that holds the state after ``iteration`` completed iterations."""
    return f"model_{iteration}.pt"


def checkpoint_numbers(run_dir: str | Path) -> list[int]:
    """Return the numbers of the checkpoints in a run folder, ascending."""
    names = (_NAME.fullmatch(entry.name) for entry in Path(run_dir).iterdir())
    return sorted(int(match.group(1)) for match in names if match)


def prune_checkpoints(run_dir: str | Path, keep: int) -> None:
    """Delete all but the ``keep`` newest checkpoints of a run; 0 keeps all."""
    if keep > 0:
        for number in checkpoint_numbers(run_dir)[:-keep]:
            (Path(run_dir) / checkpoint_name(number)).unlink(missing_ok=True)


def find_run(experiment_dir: str | Path, load_run: str | int | None = None) -> Path:
    """Return a run's folder.

    Args:
        experiment_dir: Folder of the experiment's runs, whose names begin with their date and time.
        load_run: Name of the run; None or -1 = the last one that has a checkpoint.

    Raises:
        UserError: Where there is no such run.
    """
    experiment_dir = Path(experiment_dir)
    runs = sorted(entry.name for entry in experiment_dir.iterdir() if entry.is_dir()) if experiment_dir.is_dir() else []
    if load_run is None or str(load_run) == "-1":
        for name in reversed(runs):
            if checkpoint_numbers(experiment_dir / name):
                return experiment_dir / name
        raise UserError(f"no run with a checkpoint in '{experiment_dir}'; runs there: {', '.join(runs) or 'none'}")
    if load_run not in runs:
        raise unknown(f"run in '{experiment_dir}'", load_run, runs)
    return experiment_dir / str(load_run)


def find_checkpoint(run_dir: str | Path, number: int = -1) -> Path:
    """Return the path of a run's checkpoint ``number``; -1 = the newest.

    Raises:
        UserError: Where there is no such checkpoint.
    """
    numbers = checkpoint_numbers(run_dir) if Path(run_dir).is_dir() else []
    if not numbers:
        raise UserError(f"no checkpoint (model_<iteration>.pt) in '{run_dir}'")
    if number == -1:
        return Path(run_dir) / checkpoint_name(numbers[-1])
    if number not in numbers:
        nearest = min(numbers, key=lambda existing: abs(existing - number))
        raise UserError(
            f"no checkpoint {number} in '{run_dir}' (nearest: {nearest}); there are: {', '.join(map(str, numbers))}"
        )
    return Path(run_dir) / checkpoint_name(number)


def _upgrade(content: dict[str, Any]) -> None:
    """Make version 2 of version 1, in which the one rank's own state had no list to be in."""
    own = {name: content.pop(name) for name in ("lanes", "statistics", "random")}
    own["random"]["cuda"] = next(iter(own["random"]["cuda"]), None)
    own["student_memory"] = content["dagger"].pop("hidden_state") if content["dagger"] else None
    content |= {"version": 2, "ranks": [own]}


def _is_full(error: BaseException | None) -> bool:
    """Return whether a full disk or an exceeded quota is behind the error."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            return True
        error = error.__cause__ or error.__context__
    return False

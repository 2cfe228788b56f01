"""Checkpoint files: written atomically, read without executing anything."""

from __future__ import annotations

import errno
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any, cast

import torch
from torch import Tensor

from legged_gym_ext.errors import UserError
from legged_gym_ext.runs.atomic import replacing
from legged_gym_ext.runs.intact import FORMAT, damage

VERSION = 3
"""Of the layout: counts up whenever a program of before could not read a file, or read it wrong."""


def save_checkpoint(content: dict[str, Any], path: str | Path) -> None:
    """Write ``content`` to ``path`` so that the file is either whole or what it was before.

    Raises:
        UserError: Where the file cannot be written, as on a full disk. Nothing is left behind.
    """
    path, failed = Path(path), list[OSError]()
    try:
        with replacing(path) as file:
            to = cast("IO[bytes]", _Remembering(file, failed))  # torch asks for no more than it has
            torch.save({"format": FORMAT, "version": VERSION, **content}, to)
    except (OSError, RuntimeError) as error:  # torch reports a failed write as either
        cause = failed[0] if failed else error
        reason = "no space left on the disk" if _is_full(cause) else _first_line(cause)
        raise UserError(f"cannot write checkpoint '{path}': {reason}; earlier checkpoints are as they were") from error


def load_checkpoint(path: str | Path) -> dict[str, Any]:
    """Read a checkpoint to the CPU. Only tensors and plain data are read; no code in the file can run.

    Raises:
        UserError: Where the file is missing, cut short, damaged, of another version, or not a checkpoint of this
            project.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"checkpoint '{path}' does not exist")
    if wrong := damage(path):
        raise UserError(f"checkpoint '{path}' cannot be read: {wrong}")
    try:
        with warnings.catch_warnings(action="ignore"):  # on what it meets in foreign files
            content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # whatever a damaged or hostile file makes the reader raise
        raise UserError(
            f"checkpoint '{path}' cannot be read: it holds what is no checkpoint, or more than tensors and plain data"
        ) from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise UserError(f"'{path}' is not a checkpoint of legged_gym_ext (it holds no entry format='{FORMAT}')")
    version = content.get("version")
    if version != VERSION:
        raise UserError(f"checkpoint '{path}' has version {version}; this program reads version {VERSION}")
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


class _Remembering:
    """A file to write that remembers why that failed, which torch does not tell."""

    def __init__(self, file: IO[bytes], failed: list[OSError]) -> None:
        self._file, self._failed = file, failed

    def write(self, content: Any) -> int:
        try:
            return self._file.write(content)
        except OSError as error:
            self._failed.append(error)
            raise

    def flush(self) -> None:
        self._file.flush()


def _first_line(error: BaseException) -> str:
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return text.splitlines()[0]


def _is_full(error: BaseException | None) -> bool:
    """Return whether a full disk or an exceeded quota is behind the error."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            return True
        error = error.__cause__ or error.__context__
    return False

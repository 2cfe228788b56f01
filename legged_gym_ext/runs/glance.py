"""What a checkpoint says of its training, without its tensors: read in milliseconds, and without PyTorch."""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from legged_gym_ext.errors import UserError
from legged_gym_ext.runs.intact import FORMAT, READ_ERRORS

_ERRORS = (*READ_ERRORS, pickle.UnpicklingError, AttributeError, KeyError, IndexError, TypeError, MemoryError)
"""What reading raises of archives and of pickles that are damaged."""


@dataclass(frozen=True)
class Glance:
    """The small data of a checkpoint."""

    iteration: int
    """Completed iterations."""
    total_steps: int
    """Environment steps of all ranks and lanes."""
    config: Mapping[str, Any]
    """The run's configuration, settled: what every ``auto`` meant."""
    ranks: int
    """Processes that trained; 0 where the file has networks only (slim.py)."""


def glance(path: Path) -> Glance:
    """Read a checkpoint's small data. As with :func:`load_checkpoint`, no code in the file can run.

    Raises:
        UserError: The file cannot be read, or is no checkpoint.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            part = next(name for name in archive.namelist() if name.endswith("/data.pkl"))
            with archive.open(part) as file:
                content = _Reader(file).load()
        if content["format"] != FORMAT:
            raise KeyError("format")
        found = Glance(content["iteration"], content["total_steps"], content["config"], len(content["ranks"]))
        if not (isinstance(found.iteration, int) and isinstance(found.total_steps, int)):
            raise TypeError("iteration")
    except (*_ERRORS, StopIteration) as error:
        raise UserError(f"checkpoint '{path}' cannot be read: it is damaged, or no checkpoint") from error
    return found


class _Nothing:
    """Stands for whatever else is in a file: tensors, and what somebody might have put there."""

    def __new__(cls, *_: Any, **__: Any) -> _Nothing:
        return super().__new__(cls)

    def __setstate__(self, state: Any) -> None:
        pass


class _Ordered(dict[Any, Any]):
    """An OrderedDict without the attributes that networks' states have."""

    def __setstate__(self, state: Any) -> None:
        pass


class _Reader(pickle.Unpickler):
    """Reads plain data and puts nothing in the place of all else, so that no name in a file is looked up."""

    def find_class(self, module_name: str, global_name: str, /) -> Any:
        return _Ordered if (module_name, global_name) == ("collections", "OrderedDict") else _Nothing

    def persistent_load(self, pid: Any, /) -> None:
        """A tensor's numbers, which are in another part of the archive."""

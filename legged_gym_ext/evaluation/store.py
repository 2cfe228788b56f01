"""The folder of an evaluation: what it is of, and the episodes of every unit that is finished."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from legged_gym_ext.envs.outcome import ENDS
from legged_gym_ext.errors import UserError
from legged_gym_ext.evaluation.episodes import Episodes, Unit
from legged_gym_ext.runs.atomic import write_file

_IDENTITY = "evaluation.json"
_BY_WORD = {outcome.word: int(outcome) for outcome in ENDS}
_TYPES = {"kind": str, "tile": np.int64, "outcome": np.int64}
"""Of the columns that are no float64."""


class Store:
    """Keeps finished units in ``<folder>/episodes``, one CSV each, so that an interrupted evaluation can go on.

    Args:
        folder: Of the evaluation; it need not exist.
        identity: What the results depend on besides the unit, by name.
    """

    def __init__(self, folder: Path, identity: Mapping[str, object]) -> None:
        self.folder = folder
        self._identity = dict(identity)

    def open(self) -> None:
        """Make the folder, or take the one that is there.

        Raises:
            UserError: It holds results of something else, or cannot be written.
        """
        path = self.folder / _IDENTITY
        if path.is_file():
            found = self._read_identity(path)
            if different := _first_difference(found, self._identity):
                raise UserError(
                    f"'{self.folder}' holds an evaluation with another {different}; remove it, or choose another "
                    "folder with --output"
                )
        write_file(path, json.dumps(self._identity, indent=2, sort_keys=True) + "\n")

    def has(self, unit: Unit) -> bool:
        """Return whether the unit is finished."""
        return self._path(unit).is_file()

    def write(self, unit: Unit, episodes: Episodes) -> None:
        """Keep a finished unit."""
        columns = episodes.columns()
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(columns)
        words = [outcome.word for outcome in ENDS]
        for row in zip(*(values.tolist() for values in columns.values()), strict=True):
            cells = dict(zip(columns, row, strict=True))
            writer.writerow([words[value] if name == "outcome" else value for name, value in cells.items()])
        write_file(self._path(unit), text.getvalue())

    def read(self, unit: Unit) -> Episodes:
        """Return a finished unit.

        Raises:
            UserError: The file is damaged.
        """
        path = self._path(unit)
        try:
            text = path.read_text("utf-8")
            rows = list(csv.DictReader(io.StringIO(text)))
            if not rows or not text.endswith("\n"):
                raise ValueError("it is cut short")
            columns = {name: [row[name] for row in rows] for name in Episodes.__dataclass_fields__}
            columns["outcome"] = [_BY_WORD[word] for word in columns["outcome"]]
            arrays = {name: np.array(values).astype(_TYPES.get(name, np.float64)) for name, values in columns.items()}
        except (OSError, KeyError, ValueError, TypeError) as error:
            raise UserError(f"cannot read '{path}', which is damaged: remove it and evaluate again") from error
        return Episodes(**arrays)

    def _path(self, unit: Unit) -> Path:
        return self.folder / "episodes" / f"{unit.name}.csv"

    def _read_identity(self, path: Path) -> dict[str, object]:
        try:
            found = json.loads(path.read_text("utf-8"))
        except (OSError, ValueError):
            found = None
        if not isinstance(found, dict):
            raise UserError(f"'{path}' cannot be read; remove the folder, or choose another one with --output")
        return found


def _first_difference(found: Mapping[str, object], wanted: Mapping[str, object]) -> str:
    """Return the name and both values of the first entry that differs, empty where all are equal."""
    for name, value in wanted.items():
        other = found.get(name)
        if isinstance(value, Mapping) and isinstance(other, Mapping):
            if inner := _first_difference(other, value):
                return f"{name}: {inner}"
        elif other != value:
            return f"{name}: {other}, not {value}"
    return ""

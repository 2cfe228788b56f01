"""What the log of a training can show besides scalars."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Image:
    """A picture."""

    tag: str
    """``Group/name``, as scalars have it."""
    pixels: NDArray[np.uint8]
    """(rows, columns, 3), RGB."""


@dataclass(frozen=True)
class Histogram:
    """How values are distributed."""

    tag: str
    values: NDArray[np.floating] | NDArray[np.integer]
    """(n,), n > 0."""


@dataclass(frozen=True)
class Table:
    """Rows of cells."""

    tag: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str | float | None]]
    """Each as long as ``columns``; None = an empty cell."""


@dataclass(frozen=True)
class Video:
    """A film."""

    tag: str
    path: Path
    """Of an mp4 in the run's folder."""
    frames_per_second: float


@dataclass(frozen=True)
class Page:
    """A document, in two forms."""

    tag: str
    markdown: str
    html: str


Medium = Image | Histogram | Table | Video | Page


def markdown_table(table: Table) -> str:
    """Return a table in Markdown."""
    rows = [table.columns, ["---"] * len(table.columns), *table.rows]
    return "\n".join(f"| {' | '.join(_cell(cell) for cell in row)} |" for row in rows)


def _cell(cell: str | float | None) -> str:
    match cell:
        case None:
            return ""
        case float():
            return f"{cell:.4g}"
    return str(cell).replace("|", "\\|")

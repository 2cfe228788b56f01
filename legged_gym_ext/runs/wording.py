"""Numbers about runs as text, and tables of text that fit a terminal."""

from __future__ import annotations

import shutil
import sys
import textwrap
from collections.abc import Sequence

UNKNOWN = "-"
_WIDE = 10_000
"""Columns of what is no terminal: a file, a pipe."""


def size_text(size: float) -> str:
    """Return bytes as ``457 MB``."""
    return _scaled(size, ("B", "kB", "MB", "GB", "TB"))


def count_text(value: float | None) -> str:
    """Return a large number as ``21.7 M``."""
    return UNKNOWN if value is None else _scaled(value, ("", "k", "M", "G", "T")).rstrip()


def hours_text(hours: float | None) -> str:
    """Return a duration as ``1.8 h``, short ones as ``12 min``."""
    if hours is None:
        return UNKNOWN
    return f"{hours:.1f} h" if hours >= 1 else f"{60 * hours:.0f} min"


def terminal_width() -> int:
    """Return the columns that a line may have: of the terminal, if standard output is one."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else _WIDE


def text_table(columns: Sequence[str], rows: Sequence[Sequence[str]], width: int) -> str:
    """Return rows of cells below their titles, the first column to the left, others to the right.

    Where that is wider than ``width``, each row is a paragraph: its first cell, then the others with their titles.
    """
    widths = [max(map(len, column)) for column in zip(columns, *rows, strict=True)]
    if sum(widths) + 2 * (len(widths) - 1) <= width:
        return "\n".join(
            "  ".join(
                cell.rjust(size) if index else cell.ljust(size)
                for index, (cell, size) in enumerate(zip(line, widths, strict=True))
            ).rstrip()
            for line in (columns, *rows)
        )
    paragraphs = []
    for first, *others in rows:
        text = ", ".join(f"{title} {cell}" for title, cell in zip(columns[1:], others, strict=True))
        lines = textwrap.wrap(text, max(width, 12), initial_indent="  ", subsequent_indent="  ")
        paragraphs.append("\n".join([*textwrap.wrap(first, max(width, 12)), *lines]))
    return "\n".join(paragraphs)


def _scaled(value: float, units: Sequence[str]) -> str:
    *smaller, largest = units
    for unit in smaller:
        if value < 999.5:
            return f"{value:.3g} {unit}"
        value /= 1000
    return f"{value:.3g} {largest}"

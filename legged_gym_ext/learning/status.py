"""A training's state on a terminal, drawn anew in its place after each iteration. In a file it is told in lines."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from rich.columns import Columns
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from legged_gym_ext.console import encodable
from legged_gym_ext.learning.wording import HEALTH, Words

if TYPE_CHECKING:
    from legged_gym_ext.learning.journal import Progress

WIDEST_BAR = 80
BY_KIND = {"level": ("TerrainLevel", "{:.1f}"), "success": ("SuccessRate", "{:.0%}")}
"""What is shown for each kind of terrain, where an environment logs it: title, beginning of its names, and format."""


@dataclass
class Status:
    """All that is shown."""

    folder: Path | None
    """The run's; None = nothing is written."""
    progress: Progress
    words: Words
    logs: Mapping[str, Mapping[str, float]]
    """The environment's, by policy."""
    rates: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """Success in the last evaluation, by what was evaluated and policy."""

    def drawn(self) -> RenderableType:
        """Return it for a terminal of any width."""
        progress, words = self.progress, self.words
        head = Text()
        head.append(words.where, "bold").append(f"   {words.pace}   ").append(words.left, "bold")
        bar = ProgressBar(total=progress.last_iteration, completed=progress.iteration, width=WIDEST_BAR)
        parts: list[RenderableType] = [head, Padding(bar, 0)]
        tables = [_table("", words.measures), *self._kinds()]
        if self.rates:
            texts = {what: {policy: f"{rate:.0%}" for policy, rate in row.items()} for what, row in self.rates.items()}
            tables.append(_table("last evaluation", texts))
        parts.append(Columns(tables, padding=(0, 4)))
        for title, text in words.rows.items():
            parts.append(Text(f"{title}   {text}", "bold red" if title == HEALTH else "dim"))
        if self.folder:
            parts.append(Text(encodable(f"run folder   {self.folder}"), overflow="fold"))
        return Group(*parts)

    def _kinds(self) -> list[Table]:
        """Return a table for each measure that is logged by kind of terrain."""
        tables = []
        for title, (name, style) in BY_KIND.items():
            rows: dict[str, dict[str, str]] = {}
            for lane, log in self.logs.items():
                for key, value in log.items():
                    if match := re.fullmatch(rf"{name}/([^/]+)", key):
                        rows.setdefault(match[1].replace("_", " "), {})[lane] = style.format(value)
            if rows:
                tables.append(_table(f"{title} by kind", rows))
        return tables


def _table(title: str, rows: Mapping[str, Mapping[str, str]]) -> Table:
    """Return a row for each name and a column for each lane."""
    table = Table(box=None, padding=(0, 1, 0, 0), header_style="bold")
    table.add_column(title, overflow="fold")
    lanes = list(dict.fromkeys(lane for row in rows.values() for lane in row))
    for lane in lanes:
        table.add_column(lane, justify="right", no_wrap=True)
    for name, row in rows.items():
        table.add_row(name, *(row.get(lane, "-") for lane in lanes))
    return table

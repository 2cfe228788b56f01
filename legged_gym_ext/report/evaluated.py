"""The sections of a run's page that an evaluation in its folder has the figures for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from legged_gym_ext.evaluation import sections
from legged_gym_ext.evaluation.document import Section
from legged_gym_ext.evaluation.pairs import Pairs
from legged_gym_ext.evaluation.summary import Cell
from legged_gym_ext.runs.summary import BENCHMARKS, evaluations, title_of


@dataclass(frozen=True)
class Evaluated:
    """An evaluation, read from its folder."""

    folder: Path
    checkpoint: int
    title: str
    """Benchmark and deviations from it."""
    sentences: Sequence[str]
    cells: Sequence[Cell]
    depth: Sequence[Pairs]
    others: int
    """Other evaluations in the run's folder."""

    def sections(self) -> list[Section]:
        """Return success, and what the policies do with wrong images, each with where it is from."""
        source = f"From {self.folder.parent.name}/{self.folder.name}, which is of checkpoint {self.checkpoint}"
        if self.others:
            source += f"; {self.others} more evaluations are beside it"
        success = sections.success_section(self.cells)
        found = [
            Section(success.title, [f"{source}.", *success.paragraphs], success.tables, success.pictures),
            sections.curves_section(self.cells),
            sections.failures_section(self.cells),
        ]
        return [*found, sections.depth_section(self.depth)]


def best_evaluation(run: Path) -> Evaluated | None:
    """Return the most thorough evaluation in a run's folder, of these the one of the newest checkpoint."""
    found = evaluations(run)
    ranked = sorted(found.items(), key=lambda item: _rank(*item), reverse=True)
    for folder, content in ranked:
        try:
            return Evaluated(
                folder,
                content["heading"]["checkpoint"],
                title_of(folder, content, "").strip(),
                content["summary"],
                [Cell(**cell) for cell in content["cells"]],
                [Pairs(**_own(Pairs, pair)) for pair in content["depth_use"]],
                len(found) - 1,
            )
        except (KeyError, TypeError):  # another version's
            continue
    return None


def _rank(folder: Path, content: Mapping[str, Any]) -> tuple[int, int]:
    title = title_of(folder, content, "nominal")
    return -BENCHMARKS.index(title) if title in BENCHMARKS else -len(BENCHMARKS), content["heading"]["checkpoint"]


def _own(kind: type, content: Mapping[str, Any]) -> dict[str, Any]:
    """Return what of the content are fields of the dataclass; the rest is computed from them."""
    return {item.name: content[item.name] for item in fields(kind)}

"""The report of an evaluation: as data, as a table, as a web page, as Markdown, and its figures."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from legged_gym_ext.envs.outcome import ENDS
from legged_gym_ext.evaluation import sections
from legged_gym_ext.evaluation.document import Document, write_files
from legged_gym_ext.evaluation.heading import Heading
from legged_gym_ext.evaluation.pairs import Pairs, depth_use, student_minus_teacher
from legged_gym_ext.evaluation.robustness import SweepPoint, robustness
from legged_gym_ext.evaluation.selection import Results
from legged_gym_ext.evaluation.sentences import summary
from legged_gym_ext.evaluation.summary import Cell, summarize
from legged_gym_ext.evaluation.wording import count, levels, listing

DIGITS = 6
"""Of the numbers in report.json and report.csv."""


def write_report(folder: Path, heading: Heading, results: Results) -> list[Cell]:
    """Write ``report.json``, ``report.csv``, ``report.html``, ``report.md`` and figures into ``folder``.

    Returns the cells of the report.
    The same heading and results give the same bytes.

    Raises:
        UserError: A file cannot be written.
    """
    cells = summarize(results, heading.course_length, heading.kinds)
    pairs = student_minus_teacher(results, heading.kinds)
    depth = depth_use(results, heading.kinds)
    points = robustness(results, heading.kinds)
    sentences = summary(cells, pairs, depth)
    document = Document(
        title=f"{heading.benchmark}: {heading.run}, checkpoint {heading.checkpoint}",
        facts=facts(heading),
        summary=sentences,
        sections=[
            sections.success_section(cells),
            sections.curves_section(cells),
            sections.measures_section(cells),
            sections.failures_section(cells),
            sections.pairs_section(pairs, "Student against teacher"),
            sections.depth_section(depth),
            sections.robustness_section(heading, points, cells),
            sections.method_section(heading, cells, bool(pairs or depth or points), bool(depth)),
        ],
    )
    content = {
        "heading": vars(heading),
        "summary": sentences,
        "cells": [asdict(cell) for cell in cells],
        "student_minus_teacher": [pair_as_data(pair) for pair in pairs],
        "depth_use": [pair_as_data(pair) for pair in depth],
        "robustness": [_point_as_data(point) for point in points],
    }
    write_files(folder, document.files() | {"report.csv": table(cells), "report.json": as_json(content)})
    return cells


def facts(heading: Heading) -> list[tuple[str, str]]:
    """Return what stands on top: names and values."""
    sweeps = f" ({heading.sweep_episodes} in sweeps)" if heading.sweeps else ""
    found = [
        ("run", heading.run),
        ("checkpoint", f"{heading.checkpoint} (sha256 {heading.checkpoint_sha256[:12]})"),
        ("policies", listing(list(heading.policies))),
        ("engine", heading.engine + (f" (trained with {heading.trained_engine})" if heading.trained_engine else "")),
        ("terrain", f"{listing(list(heading.kinds))}; {levels(list(heading.levels))}"),
        ("episodes", f"{heading.episodes} for each kind, level, policy and setting{sweeps}"),
        ("course", f"{heading.course_length:g} m in at most {heading.time_limit:g} s"),
        ("commanded speed", f"{heading.commanded_speed:g} m/s"),
    ]
    if heading.training_steps is not None:
        found.append(("trained for", f"{count(heading.training_steps)} steps of environments"))
    if heading.versions:
        found.append(("versions", ", ".join(f"{name} {version}" for name, version in sorted(heading.versions.items()))))
    return found


def table(cells: Sequence[Cell], label: str = "", labels: Sequence[str] = ()) -> bytes:
    """Return cells as CSV, a row each, all of a cell's fields and a column for each end of an episode.

    All kinds together are the kind ``all``; all levels together have an empty level, as have measures without a value.

    Args:
        cells: The rows.
        label: Name of a column before the others; none where it is empty.
        labels: The values in that column.
    """
    names = [item.name for item in fields(Cell) if item.name != "outcomes"]
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow([*([label] if label else []), *names, *(end.word for end in ENDS)])
    for index, cell in enumerate(cells):
        row = [_rounded(getattr(cell, name)) for name in names] + [cell.outcomes[end.word] for end in ENDS]
        writer.writerow([*([labels[index]] if label else []), *row])
    return buffer.getvalue().encode()


def as_json(content: dict[str, Any]) -> bytes:
    """Return JSON with a fixed number of digits."""
    return (json.dumps(_rounded(content), indent=1, sort_keys=True, allow_nan=False) + "\n").encode()


def pair_as_data(pair: Pairs) -> dict[str, Any]:
    """Return a difference with all that is computed from it."""
    return asdict(pair) | {
        "episodes": pair.episodes,
        "success_first": pair.success_first,
        "success_first_low": pair.interval_first[0],
        "success_first_high": pair.interval_first[1],
        "success_second": pair.success_second,
        "success_second_low": pair.interval_second[0],
        "success_second_high": pair.interval_second[1],
        "difference": asdict(pair.difference),
        "beyond_chance": pair.beyond_chance,
    }


def _point_as_data(point: SweepPoint) -> dict[str, Any]:
    return asdict(point) | {"change": pair_as_data(point.change) if point.change else None}


def _rounded(value: Any) -> Any:
    """Return nested data with its floats rounded to :data:`DIGITS` significant digits."""
    if isinstance(value, float):
        return float(f"{value:.{DIGITS}g}")
    if isinstance(value, Mapping):
        return {key: _rounded(item) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_rounded(item) for item in value]
    return value

"""Several runs side by side in one report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from legged_gym_ext.evaluation import figures, sections, tables
from legged_gym_ext.evaluation.document import Document, Picture, Section, write_files
from legged_gym_ext.evaluation.heading import Heading
from legged_gym_ext.evaluation.pairs import Pairs, adjust, depth_use, match
from legged_gym_ext.evaluation.report import as_json, facts, pair_as_data, table
from legged_gym_ext.evaluation.selection import ALL, Results, levels_of, settings_of
from legged_gym_ext.evaluation.sentences import conditions, difference
from legged_gym_ext.evaluation.summary import Cell, summarize
from legged_gym_ext.evaluation.wording import interval, levels, listing, percent

SAME_TILES: tuple[Callable[[Heading], object], ...] = (
    lambda heading: heading.seed,
    lambda heading: heading.course_length,
    lambda heading: heading.time_limit,
)
"""What must be equal for the tiles of two runs to be the same, with the same time for them."""
SHOULD_BE_EQUAL: dict[str, Callable[[Heading], str]] = {
    "benchmark": lambda heading: heading.benchmark,
    "seed": lambda heading: str(heading.seed),
    "course": lambda heading: f"{heading.course_length:g} m",
    "time limit": lambda heading: f"{heading.time_limit:g} s",
    "commanded speed": lambda heading: f"{heading.commanded_speed:g} m/s",
    "engine": lambda heading: heading.engine,
    "kinds of terrain": lambda heading: listing(list(heading.kinds)),
    "levels": lambda heading: levels(list(heading.levels)),
    "episodes of a cell": lambda heading: str(heading.episodes),
}
"""What a fair comparison has in common, by its name in the report."""


@dataclass(frozen=True)
class Run:
    """One of the runs that are compared."""

    label: str
    """What it is called in the report; each run has another one."""
    heading: Heading
    results: Results
    cells: Sequence[Cell]
    depth: Sequence[Pairs]


def write_comparison(folder: Path, evaluations: Sequence[tuple[Heading, Results]]) -> None:
    """Write ``report.json``, ``report.csv``, ``report.html``, ``report.md`` and figures into ``folder``.

    The runs are compared with the first of them.

    Raises:
        UserError: A file cannot be written.
    """
    kinds = list(dict.fromkeys(kind for heading, _ in evaluations for kind in heading.kinds))
    labels = _labels([heading for heading, _ in evaluations])
    runs = [
        Run(
            label,
            heading,
            results,
            summarize(results, heading.course_length, kinds),
            depth_use(results, kinds),
        )
        for label, (heading, results) in zip(labels, evaluations, strict=True)
    ]
    pairs = differences(runs, kinds)
    sentences = _summary(runs, pairs)
    first = runs[0]
    unlike = [section for section in (_conditions(runs),) if not section.empty]
    document = Document(
        title=f"{first.heading.benchmark}: {listing([run.label for run in runs])}",
        facts=_facts(runs),
        summary=sentences,
        sections=[
            *unlike,
            _success(runs),
            _levels(runs),
            _differences(pairs, first.label),
            _measures(runs),
            _failures(runs),
            _depth(runs),
            sections.method_section(
                first.heading, [cell for run in runs for cell in run.cells], bool(pairs), any(run.depth for run in runs)
            ),
        ],
    )
    content = {
        "summary": sentences,
        "first": first.label,
        "runs": [
            {
                "label": run.label,
                "heading": vars(run.heading),
                "cells": [asdict(cell) for cell in run.cells],
                "depth_use": [pair_as_data(pair) for pair in run.depth],
            }
            for run in runs
        ],
        "differences": [pair_as_data(pair) for pair in pairs],
    }
    cells = [cell for run in runs for cell in run.cells]
    names = [run.label for run in runs for _ in run.cells]
    write_files(folder, document.files() | {"report.csv": table(cells, "run", names), "report.json": as_json(content)})


def differences(runs: Sequence[Run], kinds: Sequence[str]) -> list[Pairs]:
    """Return the pairs of every run with the first, of each policy and setting without sweeps.

    Where the tiles or the time for them are not the same, there are none.
    """
    first, *others = runs
    pairs: list[Pairs] = []
    for setting in settings_of(first.results):
        for policy in _policies(runs):
            for run in others:
                if all(value(run.heading) == value(first.heading) for value in SAME_TILES):
                    empty = Pairs(setting, policy, run.label, first.label, ALL, None, 0, 0, 0, 0)
                    own, reference = (levels_of(each.results, setting, policy) for each in (run, first))
                    pairs += match(own, reference, kinds, empty)
    return adjust(pairs)


def _labels(headings: Sequence[Heading]) -> list[str]:
    """Return a name for each run: its own; where that is not enough, with the checkpoint; with a number at last."""
    labels = [heading.run for heading in headings]
    if len(set(labels)) < len(labels):
        labels = [f"{heading.run}, checkpoint {heading.checkpoint}" for heading in headings]
    seen: Counter[str] = Counter()
    for index, label in enumerate(labels):
        seen[label] += 1
        labels[index] = label if seen[label] == 1 else f"{label} ({seen[label]})"
    return labels


def _facts(runs: Sequence[Run]) -> list[tuple[str, str]]:
    """Return what the runs have in common, by its name; then, by the label of each run, what they have not."""
    of_runs = {run.label: dict(facts(run.heading)) for run in runs}
    first = of_runs[runs[0].label]
    common = [
        (name, value)
        for name, value in first.items()
        if name != "run" and all(other.get(name) == value for other in of_runs.values())
    ]
    names = dict(common)
    for label, own in of_runs.items():
        special = [f"{name} {value}" for name, value in own.items() if name != "run" and name not in names]
        common.append((label, "; ".join(special) or "as the others"))
    return common


def _policies(runs: Sequence[Run]) -> list[str]:
    """Return the policies of all runs, the student first."""
    return sorted({cell.policy for run in runs for cell in run.cells})


def _groups(runs: Sequence[Run]) -> dict[tuple[str, str], dict[str, list[Cell]]]:
    """Return the cells of each run that has some, by setting and policy."""
    groups: dict[tuple[str, str], dict[str, list[Cell]]] = {}
    for run in runs:
        for key, cells in sections.groups(run.cells).items():
            groups.setdefault(key, {})[run.label] = cells
    return groups


def _total(cells: Sequence[Cell]) -> Cell:
    return next(cell for cell in cells if cell.kind == ALL and cell.level is None)


def _summary(runs: Sequence[Run], pairs: Sequence[Pairs]) -> list[str]:
    """Return the sentences that stand first."""
    sentences = []
    for policy in _policies(runs):
        parts = []
        for (setting, other), series in _groups(runs).items():
            if other == policy:
                totals = {label: _total(cells) for label, cells in series.items()}
                rates = [
                    f"{percent(cell.success, 1)} % of {label} ({interval(cell.success_low, cell.success_high, 1)})"
                    for label, cell in totals.items()
                ]
                parts.append(f"{conditions(setting)} {listing(rates)}")
        if parts:
            sentences.append(f"Success of the {policy}, with 95 % intervals: {'; '.join(parts)}.")
    overall = [pair for pair in pairs if pair.kind == ALL and pair.level is None]
    for policy, label in dict.fromkeys((pair.policy, pair.first) for pair in overall):
        found = [pair for pair in overall if (pair.policy, pair.first) == (policy, label)]
        parts = [f"{difference(pair)} {conditions(pair.setting)}" for pair in found]
        text = f"On the same tiles, the {policy} of {label} succeeds {listing(parts)} than that of {found[0].second}"
        sentences.append(f"{text}{_kinds_beyond_chance(pairs, policy, label)}.")
    if len(runs) > 1 and not overall:
        sentences.append("The runs have no tiles in common, so differences are not computed.")
    elif left_out := [run.label for run in runs[1:] if all(pair.first != run.label for pair in overall)]:
        sentences.append(f"No tiles in common with {runs[0].label}, so not compared with it: {listing(left_out)}.")
    if unlike := _unlike(runs):
        text = f"Not the same for all runs: {listing(list(unlike))}"
        sentences.append(f"{text}. Differences are of the tiles that both have, all else is of all of a run's tiles.")
    return sentences or ["There are no episodes on the benchmark itself."]


def _kinds_beyond_chance(pairs: Sequence[Pairs], policy: str | None, label: str) -> str:
    """Return the end of a sentence: on which kinds of terrain a run differs from the first, under its first setting."""
    of_run = [pair for pair in pairs if (pair.policy, pair.first) == (policy, label)]
    setting = of_run[0].setting
    found = [pair for pair in of_run if pair.setting == setting and pair.kind != ALL and pair.level is None]
    if len(found) < 2:
        return ""
    parts = [f"{pair.kind} ({pair.difference.points:+.1f})" for pair in found if pair.beyond_chance]
    start = f"; by kind of terrain, {conditions(setting)}, beyond chance on"
    return f"{start} {listing(parts)}" if parts else f"{start} none"


def _unlike(runs: Sequence[Run]) -> dict[str, dict[str, str]]:
    """Return what is not the same for all runs, by its name: the value of each run."""
    values = {name: {run.label: of(run.heading) for run in runs} for name, of in SHOULD_BE_EQUAL.items()}
    return {name: of_runs for name, of_runs in values.items() if len(set(of_runs.values())) > 1}


def _conditions(runs: Sequence[Run]) -> Section:
    lines = [
        f"{name}: " + "; ".join(f"{value} ({label})" for label, value in of_runs.items())
        for name, of_runs in _unlike(runs).items()
    ]
    return Section("What is not the same for all runs", lines)


def _success(runs: Sequence[Run]) -> Section:
    """Return success by kind of each run, all levels together."""
    found = [
        tables.rates_table(
            {label: {cell.kind: cell for cell in cells if cell.level is None} for label, cells in series.items()},
            f"{sections.title(setting, policy)}: success in %, all levels",
        )
        for (setting, policy), series in _groups(runs).items()
    ]
    return Section("Success", tables=found)


def _levels(runs: Sequence[Run]) -> Section:
    """Return success by kind and level of each run."""
    found, pictures = [], []
    for (setting, policy), series in _groups(runs).items():
        name = sections.title(setting, policy)
        found += [tables.success_table(cells, f"{label}: {name}") for label, cells in series.items()]
        caption = f"Success of the {policy} against level, {setting}; the bands are 95 % intervals."
        picture = figures.curves(series, f"success of the {policy}, {setting}")
        pictures.append(Picture(f"curves_{setting}_{policy}.png", caption, picture))
    return Section("Success against level", tables=found, pictures=pictures)


def _differences(pairs: Sequence[Pairs], first: str) -> Section:
    """Return the differences of every run with the first."""
    text = sections.pairs_section(pairs, f"Differences from {first}")
    pictures = []
    for setting, policy in dict.fromkeys((pair.setting, str(pair.policy)) for pair in pairs):
        series: dict[str, list[Pairs]] = {}
        for pair in pairs:
            if (pair.setting, pair.policy, pair.level) == (setting, policy, None):
                series.setdefault(pair.first, []).append(pair)
        caption = f"Success of the {policy} minus that of {first}, {setting}, all levels; the lines are 95 % intervals."
        title = f"difference from {first}, {policy}, {setting}"
        picture = figures.differences(series, title, "difference of success, points")
        pictures.append(Picture(f"differences_{setting}_{policy}.png", caption, picture))
    return Section(text.title, text.paragraphs, text.tables, pictures)


def _measures(runs: Sequence[Run]) -> Section:
    found = [
        tables.measures_table(
            [(label, _total(cells)) for label, cells in series.items()],
            f"{sections.title(setting, policy)}: means over all kinds and levels",
            "run",
        )
        for (setting, policy), series in _groups(runs).items()
    ]
    return Section("Measures", tables=found)


def _failures(runs: Sequence[Run]) -> Section:
    found, pictures = [], []
    for (setting, policy), series in _groups(runs).items():
        rows = [(label, _total(cells)) for label, cells in series.items()]
        caption = f"{sections.title(setting, policy)}: number of episodes by their end, all kinds and levels"
        found.append(tables.endings_table(rows, caption, "run"))
        caption = f"How episodes of the {policy} end at each level, {setting}, all kinds together."
        picture = figures.outcomes(series, f"ends of episodes, {policy}, {setting}")
        pictures.append(Picture(f"outcomes_{setting}_{policy}.png", caption, picture))
    return Section("Causes of failure", tables=found, pictures=pictures)


def _depth(runs: Sequence[Run]) -> Section:
    """Return the depth use of each run, all kinds together."""
    rows: dict[tuple[str, str], dict[str, list[Pairs]]] = {}
    for run in runs:
        for pair in run.depth:
            if pair.kind == ALL and pair.level is None:
                series = rows.setdefault((pair.setting, str(pair.policy)), {})
                series.setdefault(run.label, []).append(pair)
    found = [
        tables.depth_table(
            list(series.items()),
            f"{sections.title(setting, policy)}: success in %, and the drop in points (95 % interval), all kinds",
            "run",
        )
        for (setting, policy), series in rows.items()
    ]
    return Section("Depth use", [sections.DEPTH_NOTE] if found else [], found)

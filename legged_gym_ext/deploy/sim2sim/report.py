"""What came of the episodes, as tables, Markdown and JSON, and how it compares with the evaluation of the training."""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from legged_gym_ext.deploy.sim2sim.course import End
from legged_gym_ext.deploy.sim2sim.walk import Episode
from legged_gym_ext.errors import UserError
from legged_gym_ext.evaluation.document import Document, Entry, Section, Table
from legged_gym_ext.evaluation.intervals import SIGNIFICANT, Difference, holm, independent_difference, wilson
from legged_gym_ext.evaluation.wording import count, interval, listing, p_value, percent, signed
from legged_gym_ext.runs.atomic import write_file

ALL = "all"
_ALL_LEVELS = "all levels"


@dataclass(frozen=True)
class Count:
    """How many of some episodes reached the last waypoint."""

    successes: int
    episodes: int

    @property
    def share(self) -> float:
        """Success rate."""
        return self.successes / self.episodes

    @property
    def interval(self) -> tuple[float, float]:
        """Its 95 % Wilson interval."""
        return wilson(self.successes, self.episodes)

    def __add__(self, other: Count) -> Count:
        return Count(self.successes + other.successes, self.episodes + other.episodes)


Cells = Mapping[tuple[str, int | None], Count]
"""By kind of terrain, or ``ALL`` of them, and by level, or None for all of them."""


def count_cells(counts: Mapping[tuple[str, int], Count]) -> Cells:
    """Return the counts of single cells, and their sums over kinds, over levels and over both."""
    cells: dict[tuple[str, int | None], Count] = {}
    for (kind, level), found in counts.items():
        for place in ((kind, level), (kind, None), (ALL, level), (ALL, None)):
            cells[place] = cells.get(place, Count(0, 0)) + found
    return cells


def count_episodes(episodes: Sequence[Episode]) -> Cells:
    """Return the cells of episodes."""
    total = Counter((episode.kind, episode.level) for episode in episodes)
    good = Counter((episode.kind, episode.level) for episode in episodes if episode.end is End.FINISHED)
    return count_cells({place: Count(good[place], number) for place, number in total.items()})


# ---- against the evaluation


@dataclass(frozen=True)
class Against:
    """A cell here against the same in an evaluation's report: other starts on the same tiles, two samples."""

    setting: str
    kind: str
    level: int | None
    here: Count
    there: Count
    difference: Difference
    """Here - there."""
    p_adjusted: float
    """For the number of cells of its sort: single ones, of all kinds, of all levels, of both."""

    @property
    def beyond_chance(self) -> bool:
        """Whether the difference is significant after the adjustment."""
        return self.p_adjusted < SIGNIFICANT


def read_evaluation(path: Path) -> tuple[dict[str, Any], dict[str, Cells]]:
    """Return the heading of a report of evaluate.py, and the student's cells by setting.

    Args:
        path: Its report.json, or its report.csv, which has no heading: then that is empty.

    Raises:
        UserError: It cannot be read, or is none.
    """
    try:
        text = path.read_text("utf-8")
        if path.suffix == ".csv":
            heading, cells = {}, [_from_text(row) for row in csv.DictReader(io.StringIO(text))]
        else:
            content = json.loads(text)
            heading, cells = dict(content["heading"]), content["cells"]
        counts: dict[str, dict[tuple[str, int], Count]] = {}
        for cell in cells:
            # Neither teachers, nor wrong images, nor robustness sweeps, nor sums.
            is_its = cell["policy"] == "student" and cell["sight"] == "true" and "=" not in cell["setting"]
            if is_its and cell["kind"] != ALL and cell["level"] is not None:
                found = Count(cell["outcomes"][End.FINISHED], cell["episodes"])
                counts.setdefault(cell["setting"], {})[cell["kind"], cell["level"]] = found
    except OSError as error:
        raise UserError(f"--compare: cannot read '{path}': {error.strerror}") from None
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"--compare '{path}' is no report of evaluate.py ({type(error).__name__}: {error})") from None
    if not counts:
        raise UserError(f"--compare '{path}' has no results of a student")
    return heading, {setting: count_cells(found) for setting, found in counts.items()}


def _from_text(row: Mapping[str, str]) -> dict[str, Any]:
    """Return a row of a report.csv as it is in a report.json."""
    level, finished = row["level"], row[End.FINISHED]
    numbers = {"level": int(level) if level else None, "episodes": int(row["episodes"])}
    return {**row, **numbers, "outcomes": {End.FINISHED: int(finished)}}


def compare(here: Cells, there: Mapping[str, Cells]) -> list[Against]:
    """Return the differences in the cells that both have, by setting; sums are over those cells only."""
    found: list[Against] = []
    for setting, cells in there.items():
        common = [place for place in _in_order(here) if place in cells]
        ours, theirs = (
            count_cells(
                {(kind, level): side[kind, level] for kind, level in common if kind != ALL and level is not None}
            )
            for side in (here, cells)
        )
        rows = [
            Against(setting, *place, ours[place], theirs[place], _difference(ours[place], theirs[place]), 1.0)
            for place in _in_order(ours)
        ]
        sorts: dict[tuple[bool, bool], list[int]] = {}
        for index, row in enumerate(rows):
            sorts.setdefault((row.kind == ALL, row.level is None), []).append(index)
        for indices in sorts.values():
            for index, p in zip(indices, holm([rows[i].difference.p_value for i in indices]), strict=True):
                rows[index] = replace(rows[index], p_adjusted=p)
        found += rows
    return found


def _difference(first: Count, second: Count) -> Difference:
    return independent_difference(first.successes, first.episodes, second.successes, second.episodes)


# ---- as text


def success_text(cells: Cells, kinds: Sequence[str], levels: Sequence[int]) -> str:
    """Return the table of success for a terminal: percent, and below it the 95 % interval."""
    columns = [*levels, *([None] if len(levels) > 1 else [])]
    rows = [kind for kind in (*kinds, *([ALL] if len(kinds) > 1 else [])) if (kind, None) in cells]
    lines = [f"{'success, %':<16}" + "".join(f"{_level(level):>12}" for level in columns)]
    for kind in rows:
        found = [cells.get((kind, level)) for level in columns]
        lines.append(f"{_kind(kind):<16}" + "".join(f"{percent(c.share) if c else '':>12}" for c in found))
        spans = [f"{100 * c.interval[0]:.0f} to {100 * c.interval[1]:.0f}" if c else "" for c in found]
        lines.append(f"{'  95 % interval':<16}" + "".join(f"{span:>12}" for span in spans))
    return "\n".join(lines)


def summary(episodes: Sequence[Episode]) -> list[str]:
    """Return sentences about how episodes ended, about DAMPING, limits and images."""
    number = len(episodes)
    total = count_episodes(episodes)[ALL, None]
    low, high = total.interval
    sentences = [
        f"{total.successes} of {count(number, 'episode')} ended at the last waypoint: {percent(total.share, 1)} % "
        f"(95 % interval {interval(low, high, 1)})."
    ]
    ends = Counter(episode.end for episode in episodes if episode.end is not End.FINISHED)
    if ends:
        sentences.append(f"What ended the others: {listing([f'{end} {found}' for end, found in ends.most_common()])}.")
    reasons: Counter[str] = Counter()
    for episode in episodes:
        reasons.update(episode.damping)
    if reasons:
        within = sum(bool(episode.damping) for episode in episodes)
        why = listing([f"{reason} {found}" for reason, found in reasons.most_common()])
        sentences.append(f"The policy let go (DAMPING) in {within} of the episodes: {why}.")
    else:
        sentences.append("The policy never let go (DAMPING).")
    shares = {name: sum(episode.limits[name] for episode in episodes) / number for name in episodes[0].limits}
    sentences.append(
        f"Of all joints at all times, {percent(shares['torque'], 2)} % had their torque cut to its limit, "
        f"{percent(shares['speed'], 2)} % were faster than the URDF's limit, {percent(shares['position'], 2)} % were "
        "on a stop of their range."
    )
    sentences.append(
        f"Of all joint targets, the runtime cut {percent(shares['target_range'], 2)} % to the range and "
        f"{percent(shares['target_rate'], 2)} % to the rate of policy.yaml's safety limits."
    )
    age = sum(episode.image_age for episode in episodes) / number
    rate = sum(episode.images for episode in episodes) / sum(episode.time for episode in episodes)
    refused = sum(episode.refused for episode in episodes)
    sentences.append(
        f"The policy used {rate:.1f} images/s; when it acted the newest was {1000 * age:.0f} ms old; it "
        f"refused {refused} without any depth."
    )
    return sentences


def comparison_text(rows: Sequence[Against]) -> str:
    """Return the comparison for a terminal: a line for each cell."""
    lines = []
    for setting in dict.fromkeys(row.setting for row in rows):
        lines.append(f"{'against ' + setting:<30}{'here':>8}{'there':>8}  difference, points (95 % interval)")
        for row in rows:
            if row.setting == setting:
                name = f"{_kind(row.kind)}, {_level(row.level)}"
                verdict = "beyond chance" if row.beyond_chance else "not beyond chance"
                shares = f"{percent(row.here.share):>8}{percent(row.there.share):>8}"
                lines.append(f"{name:<30}{shares}  {signed(row.difference)}, {verdict}")
    return "\n".join(lines)


# ---- as files


def write(folder: Path, facts: Mapping[str, Any], episodes: Sequence[Episode], against: Sequence[Against]) -> None:
    """Write ``sim2sim.json`` and ``sim2sim.md``. The same facts and episodes give the same bytes but for durations.

    Raises:
        UserError: A file cannot be written.
    """
    cells = count_episodes(episodes)
    content = {
        "facts": facts,
        "summary": summary(episodes),
        "cells": [
            {
                "kind": place[0],
                "level": place[1],
                **asdict(cells[place]),
                **dict(zip(("low", "high"), cells[place].interval, strict=True)),
            }
            for place in _in_order(cells)
        ],
        "against": [{**asdict(row), "beyond_chance": row.beyond_chance} for row in against],
        "episodes": [asdict(episode) for episode in episodes],
    }
    write_file(folder / "sim2sim.json", json.dumps(content, indent=1, allow_nan=False) + "\n")
    write_file(folder / "sim2sim.md", document(facts, episodes, against).files()["report.md"])


def document(facts: Mapping[str, Any], episodes: Sequence[Episode], against: Sequence[Against]) -> Document:
    """Return the report as a document."""
    cells = count_episodes(episodes)
    kinds = list(dict.fromkeys(episode.kind for episode in episodes))
    levels = sorted({episode.level for episode in episodes})
    columns = [*levels, *([None] if len(levels) > 1 else [])]
    rows = [*kinds, *([ALL] if len(kinds) > 1 else [])]

    def entry(kind: str, level: int | None) -> Entry:
        found = cells.get((kind, level))
        return Entry(f"{percent(found.share)} ({interval(*found.interval)})" if found else "")

    success = Table(
        "Success in %, with 95 % intervals",
        ["kind", *(_level(level) for level in columns)],
        [[Entry(_kind(kind)), *(entry(kind, level) for level in columns)] for kind in rows],
    )
    ended = Table(
        "Number of episodes by their end",
        ["kind", "episodes", *End],
        [
            [Entry(_kind(kind)), Entry(count(len(part))), *(Entry(str(sum(e.end is end for e in part))) for end in End)]
            for kind in rows
            for part in [[episode for episode in episodes if kind in (ALL, episode.kind)]]
        ],
    )
    tables = [
        Table(
            f"Against the evaluation, {setting}",
            ["cell", "here, %", "there, %", "difference, points (95 % interval)", "adjusted p", "verdict"],
            [
                [
                    Entry(f"{_kind(row.kind)}, {_level(row.level)}"),
                    Entry(f"{percent(row.here.share)} of {row.here.episodes}"),
                    Entry(f"{percent(row.there.share)} of {row.there.episodes}"),
                    Entry(signed(row.difference)),
                    Entry(p_value(row.p_adjusted)),
                    Entry("beyond chance" if row.beyond_chance else "not beyond chance"),
                ]
                for row in against
                if row.setting == setting
            ],
        )
        for setting in dict.fromkeys(row.setting for row in against)
    ]
    return Document(
        title=f"Sim-to-sim: {facts['policy']}",
        facts=[(name, str(value)) for name, value in facts.items()],
        summary=summary(episodes),
        sections=[
            Section("Success", tables=[success]),
            Section("How episodes ended", tables=[ended]),
            Section("Against the evaluation", tables=tables),
        ],
    )


def _in_order(cells: Cells) -> list[tuple[str, int | None]]:
    """Return the places of cells by kind, in the order in which these appear, then by level; sums come last."""
    kinds = [*dict.fromkeys(kind for kind, _ in cells if kind != ALL), ALL]
    return sorted(cells, key=lambda place: (kinds.index(place[0]), place[1] is None, place[1] or 0))


def _kind(kind: str) -> str:
    return "all kinds" if kind == ALL else kind


def _level(level: int | None) -> str:
    return _ALL_LEVELS if level is None else f"level {level}"

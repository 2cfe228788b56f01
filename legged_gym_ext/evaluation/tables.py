"""The tables of reports."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from legged_gym_ext.envs.outcome import ENDS, FALLS, Outcome
from legged_gym_ext.evaluation.document import Entry, Table
from legged_gym_ext.evaluation.pairs import Pairs
from legged_gym_ext.evaluation.selection import ALL, kinds_to_show, levels_to_show
from legged_gym_ext.evaluation.sentences import chance
from legged_gym_ext.evaluation.summary import Cell
from legged_gym_ext.evaluation.wording import count, decimal, interval, p_value, percent, signed

MEASURES: tuple[tuple[str, str, Callable[[Cell], float | None], int, str], ...] = (
    (
        "distance (MXD)",
        "share of the course",
        lambda cell: cell.distance,
        3,
        "Mean over episodes of the furthest distance along the course / length of the course: the mean normalized "
        "x displacement of extreme-parkour. About 0.98 where all reach the end: the last waypoint counts from 0.25 m "
        "away.",
    ),
    (
        "waypoints",
        "share",
        lambda cell: cell.waypoints,
        3,
        "Mean over episodes of the share of the course's waypoints that were reached.",
    ),
    (
        "edge violations (MEV)",
        "feet",
        lambda cell: cell.edge_violations,
        3,
        "Mean number of feet that stand near an edge of a box, over the control steps of an episode, then over "
        "episodes: the mean edge violation of extreme-parkour.",
    ),
    (
        "speed",
        "m/s",
        lambda cell: cell.speed,
        2,
        "Mean speed toward the next waypoint over an episode, then over episodes.",
    ),
    (
        "speed error",
        "m/s",
        lambda cell: cell.speed_error,
        2,
        "Mean absolute difference between that speed and the commanded one, over control steps, then over episodes.",
    ),
    (
        "cost of transport",
        "1",
        lambda cell: cell.cost_of_transport,
        2,
        "Sum over episodes of the work of all joints (|torque x velocity| over time, so braking costs as much as "
        "driving), in J / sum over episodes of weight, in N, x distance, in m. No unit; less is better.",
    ),
    (
        "foot slip",
        "m/s",
        lambda cell: cell.foot_slip,
        3,
        "Mean horizontal speed of the feet that touch the ground, then over episodes.",
    ),
    (
        "torque peak, mean",
        "% of limit",
        lambda cell: None if cell.torque_peak is None else 100 * cell.torque_peak,
        0,
        "Largest torque of any joint in an episode as a share of that joint's limit, mean over episodes.",
    ),
    (
        "torque peak, largest",
        "% of limit",
        lambda cell: None if cell.torque_peak_max is None else 100 * cell.torque_peak_max,
        0,
        "The same, of the episode where it was largest.",
    ),
    ("time", "s", lambda cell: cell.time, 1, "Mean length of an episode, whatever ended it."),
)
"""Name, unit, value, digits and meaning of each column."""


def success_table(cells: Sequence[Cell], caption: str) -> Table:
    """Return the table of success, a row for each kind and a column for each level.

    Args:
        cells: Of one policy under one setting.
        caption: Of the table.
    """
    found = levels_to_show(cell.level for cell in cells)
    by_place = {(cell.kind, cell.level): cell for cell in cells}

    def entry(kind: str, level: int | None) -> Entry:
        cell = by_place.get((kind, level))
        return success_entry(cell) if cell else Entry("")

    columns = ["kind", *("all levels" if level is None else str(level) for level in found)]
    kinds = kinds_to_show(cell.kind for cell in cells)
    rows = [[Entry(kind_name(kind)), *(entry(kind, level) for level in found)] for kind in kinds]
    return Table(f"{caption}: success in % by level", columns, rows)


def success_entry(cell: Cell) -> Entry:
    """Return success in percent with its interval as the hint."""
    successes = cell.episodes - cell.failures
    hint = f"{successes} of {cell.episodes}; 95 % interval {interval(cell.success_low, cell.success_high, 1)}"
    return Entry(percent(cell.success), hint, cell.success)


def rates_table(columns: Mapping[str, Mapping[str, Cell]], caption: str) -> Table:
    """Return a table of success, a row for each kind.

    Args:
        columns: Cells by kind, by the name of their column.
        caption: Of the table.
    """
    kinds = kinds_to_show(kind for cells in columns.values() for kind in cells)
    rows = [
        [
            Entry(kind_name(kind)),
            *(success_entry(cells[kind]) if kind in cells else Entry("") for cells in columns.values()),
        ]
        for kind in kinds
    ]
    return Table(caption, ["kind", *columns], rows)


def measures_table(rows: Iterable[tuple[str, Cell]], caption: str, row: str = "kind") -> Table:
    """Return the means of named cells; ``row`` is what the names are of."""
    return Table(
        caption,
        [row, "episodes", *(column(name, unit) for name, unit, *_ in MEASURES)],
        [
            [
                Entry(name),
                Entry(count(cell.episodes)),
                *(Entry(decimal(value(cell), digits)) for _, _, value, digits, _ in MEASURES),
            ]
            for name, cell in rows
        ],
    )


def endings_table(rows: Iterable[tuple[str, Cell]], caption: str, row: str = "kind") -> Table:
    """Return how the episodes of named cells end; ``row`` is what the names are of."""
    ends = [end for end in ENDS if end is not Outcome.FINISHED]
    lines = []
    for name, cell in rows:
        falls = sum(cell.outcomes[end.word] for end in FALLS)
        numbers = [cell.episodes, cell.failures, falls, *(cell.outcomes[end.word] for end in ends)]
        lines.append([Entry(name), *(Entry(count(number)) for number in numbers)])
    return Table(caption, [row, "episodes", "failures", "falls", *(end.word for end in ends)], lines)


def pairs_table(pairs: Sequence[Pairs], caption: str, row: str, name: Callable[[Pairs], str]) -> Table:
    """Return the differences of pairs, of which there must be some; ``row`` is what the names are of."""
    columns = [row, "pairs", f"{pairs[0].first}, %", f"{pairs[0].second}, %", "difference, points (95 % interval)"]
    rows = [
        [
            Entry(name(pair)),
            Entry(count(pair.episodes)),
            Entry(percent(pair.success_first), interval(*pair.interval_first, 1), pair.success_first),
            Entry(percent(pair.success_second), interval(*pair.interval_second, 1), pair.success_second),
            Entry(signed(pair.difference)),
            Entry(p_value(pair.p_adjusted), f"{p_value(pair.difference.p_value)} before the adjustment"),
            Entry(chance(pair)),
        ]
        for pair in pairs
    ]
    return Table(caption, [*columns, "adjusted p", "verdict"], rows)


def depth_table(rows: Iterable[tuple[str, Sequence[Pairs]]], caption: str, row: str = "kind") -> Table:
    """Return success with the true view and with others; ``row`` is what the names are of.

    Args:
        rows: The name of a row, and its pairs of the true view with each other one.
        caption: Of the table.
        row: Name of the first column.
    """
    rows = list(rows)
    sights = list(dict.fromkeys(pair.second for _, pairs in rows for pair in pairs))
    lines = []
    for name, pairs in rows:
        one, by_sight = pairs[0], {pair.second: pair for pair in pairs}
        line = [Entry(name), Entry(count(one.episodes))]
        line.append(Entry(percent(one.success_first), interval(*one.interval_first, 1), one.success_first))
        for sight in sights:
            pair = by_sight.get(sight)
            if pair is None:
                line += [Entry(""), Entry("")]
                continue
            line.append(Entry(percent(pair.success_second), interval(*pair.interval_second, 1), pair.success_second))
            hint = f"adjusted p {p_value(pair.p_adjusted)}, {chance(pair)}"
            line.append(Entry(signed(pair.difference) + ("*" if pair.beyond_chance else ""), hint))
        lines.append(line)
    columns = [row, "episodes", "true", *(name for sight in sights for name in (sight, f"drop, {sight}"))]
    return Table(caption, columns, lines)


def column(name: str, unit: str) -> str:
    """Return the title of a measure's column."""
    return name if unit == "1" else f"{name}, {unit}"


def kind_name(kind: str) -> str:
    """Return what a kind of terrain is called in tables and figures."""
    return "all kinds" if kind == ALL else kind

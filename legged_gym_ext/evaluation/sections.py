"""The sections of a report, made from its figures."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from legged_gym_ext.envs.outcome import ENDS, FALLS, Outcome
from legged_gym_ext.evaluation import figures
from legged_gym_ext.evaluation.document import Entry, Picture, Section, Table
from legged_gym_ext.evaluation.heading import Heading
from legged_gym_ext.evaluation.pairs import Pairs
from legged_gym_ext.evaluation.robustness import SweepPoint
from legged_gym_ext.evaluation.selection import ALL, NOMINAL, TRUE, kinds_to_show, levels_to_show, sweep_of
from legged_gym_ext.evaluation.sentences import chance
from legged_gym_ext.evaluation.summary import Cell
from legged_gym_ext.evaluation.wording import count, decimal, interval, levels, listing, p_value, percent, signed

MEASURES: tuple[tuple[str, str, Callable[[Cell], float | None], int, str], ...] = (
    (
        "distance (MXD)",
        "share of the course",
        lambda cell: cell.distance,
        3,
        "Mean over episodes of the furthest distance along the course / length of the course: the mean normalized "
        "x displacement of extreme-parkour. 1 = all reach the end.",
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
"""Name, unit, value, digits and meaning of each column of the table of measures."""
ENDINGS = {
    Outcome.FINISHED: "the last waypoint was reached: success",
    Outcome.DIVERGED: "the simulation gave values that are no numbers or far out of range; counts as a fall",
    Outcome.FELL_IN: "the base sank or tipped over while a foot was below all of the course, in a gap or beside the "
    "path; counts as a fall",
    Outcome.TIPPED: "the base tilted too far on the course; counts as a fall",
    Outcome.SANK: "the base came too low over the course; counts as a fall",
    Outcome.LEFT: "the base left the tile to the side or to the back",
    Outcome.STUCK: "the robot came no further for too long",
    Outcome.TIMED_OUT: "the time limit passed",
}
"""What the words for an episode's end mean."""


def success_section(cells: Sequence[Cell]) -> Section:
    """Return success by kind and level."""
    groups = _groups(cells)
    tables = [success_table(group, _title(setting, policy)) for (setting, policy), group in groups.items()]
    pictures = [
        Picture(
            f"success_{setting}_{policy}.png",
            f"Success of the {policy}, {setting}, in percent, by kind of terrain and level.",
            figures.heat_map(group, f"{policy}, {setting}"),
        )
        for (setting, policy), group in groups.items()
    ]
    note = "Percent of episodes that reach the last waypoint. The counts and 95 % intervals are in report.csv"
    return Section("Success", [f"{note}, and in the web page where the pointer rests on a number."], tables, pictures)


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
    rows = [[Entry(_kind(kind)), *(entry(kind, level) for level in found)] for kind in kinds]
    return Table(f"{caption}: success in % by level", columns, rows)


def success_entry(cell: Cell) -> Entry:
    """Return success in percent with its interval as the hint."""
    successes = cell.episodes - cell.failures
    hint = f"{successes} of {cell.episodes}; 95 % interval {interval(cell.success_low, cell.success_high, 1)}"
    return Entry(percent(cell.success), hint, cell.success)


def curves_section(cells: Sequence[Cell]) -> Section:
    """Return the curves of success against the level, policies together."""
    pictures = []
    for setting in dict.fromkeys(setting for setting, _ in _groups(cells)):
        series = {policy: group for (other, policy), group in _groups(cells).items() if other == setting}
        caption = f"Success against level, {setting}; the bands are 95 % intervals."
        pictures.append(Picture(f"curves_{setting}.png", caption, figures.curves(series, f"success, {setting}")))
    return Section("Success against level", pictures=pictures)


def measures_section(cells: Sequence[Cell]) -> Section:
    """Return the table of measures, all levels together."""
    columns = ["kind", "episodes", *(f"{name}, {unit}" if unit != "1" else name for name, unit, *_ in MEASURES)]
    tables = []
    for (setting, policy), group in _groups(cells).items():
        rows = [
            [
                Entry(_kind(cell.kind)),
                Entry(count(cell.episodes)),
                *(Entry(decimal(value(cell), digits)) for _, _, value, digits, _ in MEASURES),
            ]
            for cell in _of_all_levels(group)
        ]
        tables.append(Table(f"{_title(setting, policy)}: means over all levels", columns, rows))
    return Section("Measures", tables=tables)


def failures_section(cells: Sequence[Cell]) -> Section:
    """Return what ends the episodes."""
    groups = _groups(cells)
    ends = [end for end in ENDS if end is not Outcome.FINISHED]
    tables, pictures = [], []
    for (setting, policy), group in groups.items():
        rows = []
        for cell in _of_all_levels(group):
            falls = sum(cell.outcomes[end.word] for end in FALLS)
            numbers = [cell.episodes, cell.failures, falls, *(cell.outcomes[end.word] for end in ends)]
            rows.append([Entry(_kind(cell.kind)), *(Entry(count(number)) for number in numbers)])
        columns = ["kind", "episodes", "failures", "falls", *(end.word for end in ends)]
        tables.append(Table(f"{_title(setting, policy)}: number of episodes by their end, all levels", columns, rows))
    for setting in dict.fromkeys(setting for setting, _ in groups):
        series = {policy: group for (other, policy), group in groups.items() if other == setting}
        caption = f"How episodes end at each level, {setting}, all kinds together."
        picture = figures.outcomes(series, f"ends of episodes, {setting}")
        pictures.append(Picture(f"outcomes_{setting}.png", caption, picture))
    return Section("Causes of failure", tables=tables, pictures=pictures)


def pairs_section(pairs: Sequence[Pairs], title: str) -> Section:
    """Return the differences between first and second of the pairs, by kind and by level."""
    tables, paragraphs = [], []
    for setting, policy, first, second in dict.fromkeys((p.setting, p.policy, p.first, p.second) for p in pairs):
        found = [p for p in pairs if (p.setting, p.policy, p.first, p.second) == (setting, policy, first, second)]
        name = f"{_title(setting, policy) if policy else setting}: {first} - {second}"
        kinds = kinds_to_show(pair.kind for pair in found)
        by_kind = [pair for pair in found if pair.level is None and pair.kind in kinds]
        tables.append(_pairs_table(by_kind, f"{name}, all levels", "kind", lambda pair: _kind(pair.kind)))
        by_level = [pair for pair in found if pair.kind == ALL and pair.level is not None]
        if len(by_level) > 1:
            tables.append(_pairs_table(by_level, f"{name}, all kinds", "level", lambda pair: str(pair.level)))
        cells = [pair for pair in found if pair.kind != ALL and pair.level is not None]
        beyond = [pair for pair in cells if pair.beyond_chance]
        if len(cells) > 1:
            names = [f"{pair.kind} level {pair.level} ({pair.difference.points:+.0f})" for pair in beyond]
            text = f": {listing(names)}" if names else ""
            paragraphs.append(f"{name}: beyond chance in {len(beyond)} of {len(cells)} single cells{text}.")
    return Section(title, paragraphs, tables)


def depth_section(pairs: Sequence[Pairs]) -> Section:
    """Return success with the true view of the terrain and with others."""
    tables, pictures = [], []
    overall = [pair for pair in pairs if pair.level is None]
    settings = list(dict.fromkeys(pair.setting for pair in overall))
    for setting in settings:
        found = {
            policy: [pair for pair in overall if (pair.setting, pair.policy) == (setting, policy)]
            for policy in dict.fromkeys(str(pair.policy) for pair in overall if pair.setting == setting)
        }
        at = levels(sorted({p.level for p in pairs if p.setting == setting and p.level is not None}))
        for policy, own in found.items():
            caption = f"{_title(setting, policy)}: success in %, and the drop in points (95 % interval), {at}"
            tables.append(_depth_table(own, caption))
        stem = "depth_use" if len(settings) == 1 else f"depth_use_{setting}"
        caption = f"Success with the true view and with others, {setting}, {at}; the lines are 95 % intervals."
        pictures.append(Picture(f"{stem}.png", caption, figures.depth_bars(found, f"depth use, {setting}, {at}")))
    note = "What a policy loses when what it sees of the terrain is replaced is what it owes to seeing. A drop with * is beyond chance."
    return Section("Depth use", [note] if tables else [], tables, pictures)


def robustness_section(heading: Heading, points: Sequence[SweepPoint], cells: Sequence[Cell]) -> Section:
    """Return success under one disturbance at a time."""
    if not points:
        return Section("Robustness")
    nominal = [cell for cell in cells if (cell.setting, cell.sight) == (NOMINAL, TRUE) and cell.level is not None]
    rows = []
    for point in points:
        rate = Entry(percent(point.success), share=point.success)
        change = (
            [Entry(signed(point.change.difference)), Entry(chance(point.change))] if point.change else [Entry("")] * 2
        )
        name = Entry(f"{point.sweep} {point.value}")
        bounds = Entry(interval(point.success_low, point.success_high))
        rows.append(
            [name, Entry(point.policy), Entry(str(point.level)), Entry(count(point.episodes)), rate, bounds, *change]
        )
    columns = ["disturbance", "policy", "level", "episodes", "success, %", "95 % interval", "change, points", "verdict"]
    table = Table("Success, all kinds together, and its change from nominal on the same tiles", columns, rows)
    caption = "Success against the strength of each disturbance, all kinds together; the lines are 95 % intervals."
    picture = Picture("robustness.png", caption, figures.sweeps(points, nominal, heading.sweeps, "robustness"))
    return Section("Robustness", tables=[table], pictures=[picture])


def method_section(heading: Heading, cells: Sequence[Cell], pairs: bool, depth: bool) -> Section:
    """Return how it was measured, and what every column means.

    Args:
        heading: Of the report.
        cells: Of the report.
        pairs: Whether there are differences.
        depth: Whether there is a part on depth use.
    """
    ends = {end: meaning for end, meaning in ENDINGS.items() if any(cell.outcomes[end.word] for cell in cells)}
    seed = f"drawn from seed {heading.seed}, which training does not use"
    text = (
        f"{heading.benchmark}: {count(len(heading.kinds), 'kind')} of terrain x {count(len(heading.levels), 'level')}, "
        f"{count(heading.episodes, 'episode')} of each, on tiles {seed}. Every episode has the same time limit, "
        f"{heading.time_limit:g} s for {heading.course_length:g} m, and the same commanded speed, "
        f"{heading.commanded_speed:g} m/s. Policies and settings are evaluated on the same tiles and starts."
    )
    terms = [*heading.settings.items(), *heading.sweeps.items()]
    terms += [
        (
            "success",
            "Share of the episodes that reach the last waypoint. Its 95 % interval is the score interval of Wilson "
            "(1927). 'All' kinds or levels are the sum of the cells, which have the same number of episodes each. The "
            "interval takes the episodes as independent.",
        )
    ]
    terms += [
        (f"{end.word} (end of an episode)", f"{meaning[0].upper()}{meaning[1:]}.") for end, meaning in ends.items()
    ]
    terms += [(f"{name}, {unit}" if unit != "1" else name, meaning) for name, unit, _, _, meaning in MEASURES]
    if pairs:
        terms.append(
            (
                "difference, points",
                "Success of the first - success of the second in percentage points, on the same tiles and starts. Its "
                "95 % interval is method 10 of Newcombe (1998) for paired proportions.",
            )
        )
        terms.append(
            (
                "beyond chance",
                "The p value of McNemar's exact test (two-sided) is under 0.05 after Holm's adjustment (1979) for the "
                "number of differences of the same sort in the same part of the report: single cells, all kinds at a "
                "level, a kind at all levels, all together.",
            )
        )
    if depth:
        terms.append(
            (
                "true, blank, frozen, other",
                "What the policy is shown of the terrain, its depth image or height scan: its own; a blank one, with "
                "nothing in sight; all the time the one at the start of the episode; that of a robot on another tile.",
            )
        )
    return Section("How it was measured", [text], terms=terms)


def _pairs_table(pairs: Sequence[Pairs], caption: str, row: str, name: Callable[[Pairs], str]) -> Table:
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


def _depth_table(pairs: Sequence[Pairs], caption: str) -> Table:
    sights = list(dict.fromkeys(pair.second for pair in pairs))
    by_place = {(pair.kind, pair.second): pair for pair in pairs}
    columns = ["kind", "episodes", "true", *(column for sight in sights for column in (sight, f"drop, {sight}"))]
    rows = []
    for kind in kinds_to_show(pair.kind for pair in pairs):
        own = [pair for sight in sights if (pair := by_place.get((kind, sight)))]
        one = own[0]
        row = [Entry(_kind(kind)), Entry(count(one.episodes))]
        row.append(Entry(percent(one.success_first), interval(*one.interval_first, 1), one.success_first))
        for sight in sights:
            pair = by_place.get((kind, sight))
            if pair is None:
                row += [Entry(""), Entry("")]
                continue
            row.append(Entry(percent(pair.success_second), interval(*pair.interval_second, 1), pair.success_second))
            hint = f"adjusted p {p_value(pair.p_adjusted)}, {chance(pair)}"
            row.append(Entry(signed(pair.difference) + ("*" if pair.beyond_chance else ""), hint))
        rows.append(row)
    return Table(caption, columns, rows)


def _groups(cells: Sequence[Cell]) -> dict[tuple[str, str], list[Cell]]:
    """Return the cells with true sight by setting and policy, without sweeps."""
    groups: dict[tuple[str, str], list[Cell]] = {}
    for cell in cells:
        if cell.sight == TRUE and not sweep_of(cell.setting):
            groups.setdefault((cell.setting, cell.policy), []).append(cell)
    return groups


def _of_all_levels(cells: Sequence[Cell]) -> list[Cell]:
    kinds = kinds_to_show(cell.kind for cell in cells)
    return [cell for cell in cells if cell.level is None and cell.kind in kinds]


def _kind(kind: str) -> str:
    return "all kinds" if kind == ALL else kind


def _title(setting: str, policy: str) -> str:
    return f"{policy[:1].upper()}{policy[1:]}, {setting}"

"""The sections of a report, made from its figures."""

from __future__ import annotations

from collections.abc import Sequence

from legged_gym_ext.config.schema import RewardsConfig, TerminationsConfig
from legged_gym_ext.envs.outcome import Outcome
from legged_gym_ext.evaluation import figures
from legged_gym_ext.evaluation.benchmark import PARKOUR_V1
from legged_gym_ext.evaluation.document import Entry, Picture, Section, Table
from legged_gym_ext.evaluation.episodes import NOMINAL, TRUE
from legged_gym_ext.evaluation.heading import Heading
from legged_gym_ext.evaluation.pairs import Pairs
from legged_gym_ext.evaluation.robustness import SweepPoint
from legged_gym_ext.evaluation.selection import ALL, kinds_to_show
from legged_gym_ext.evaluation.sentences import chance
from legged_gym_ext.evaluation.summary import Cell
from legged_gym_ext.evaluation.sweeps import setting_parts
from legged_gym_ext.evaluation.tables import (
    MEASURES,
    column,
    depth_table,
    endings_table,
    kind_name,
    measures_table,
    pairs_table,
    success_table,
)
from legged_gym_ext.evaluation.wording import count, interval, levels, listing, percent, signed

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
_TERMINATIONS, _REWARDS = TerminationsConfig(), RewardsConfig()
LIMITS = (
    f"The base falls below {_TERMINATIONS.min_height:g} m over the ground ('sank'), tilts by more than "
    f"{_TERMINATIONS.max_tilt_degrees:g} degrees ('tipped'), is {_TERMINATIONS.lateral_margin:g} m beside the tile "
    f"('left'), or comes no further for {PARKOUR_V1.stuck_time:g} s ('stuck'). An edge is a difference of the ground's "
    f"height of more than {100 * _REWARDS.edge_height:g} cm within {100 * _REWARDS.edge_distance:g} cm of the foot's "
    "centre. Torques and work are taken at the end of each control step, and torques relative to the nominal limits."
)
"""Where the limits between words lie."""
DEPTH_NOTE = (
    "What a policy loses when what it sees of the terrain is replaced: it does not see any more, and it is misled, by "
    "one image more than by another. A drop with * is beyond chance (adjusted; the intervals are not)."
)
"""How to read the tables of depth use."""


def success_section(cells: Sequence[Cell]) -> Section:
    """Return success by kind and level."""
    grouped = groups(cells)
    tables = [success_table(group, title(setting, policy)) for (setting, policy), group in grouped.items()]
    pictures = [
        Picture(
            f"success_{setting}_{policy}.png",
            f"Success of the {policy}, {setting}, in percent, by kind of terrain and level.",
            figures.heat_map(group, f"{policy}, {setting}"),
        )
        for (setting, policy), group in grouped.items()
    ]
    note = "Percent of episodes that reach the last waypoint. The counts and 95 % intervals are in report.csv"
    return Section("Success", [f"{note}, and in the web page where the pointer rests on a number."], tables, pictures)


def curves_section(cells: Sequence[Cell]) -> Section:
    """Return the curves of success against the level, policies together."""
    pictures = []
    for setting in dict.fromkeys(setting for setting, _ in groups(cells)):
        series = {policy: group for (other, policy), group in groups(cells).items() if other == setting}
        caption = f"Success against level, {setting}; the bands are 95 % intervals."
        pictures.append(Picture(f"curves_{setting}.png", caption, figures.curves(series, f"success, {setting}")))
    return Section("Success against level", pictures=pictures)


def measures_section(cells: Sequence[Cell]) -> Section:
    """Return the means of all measures, all levels together."""
    tables = [
        measures_table(of_all_levels(group), f"{title(setting, policy)}: means over all levels")
        for (setting, policy), group in groups(cells).items()
    ]
    return Section("Measures", tables=tables)


def failures_section(cells: Sequence[Cell]) -> Section:
    """Return what ends the episodes."""
    grouped = groups(cells)
    tables = [
        endings_table(of_all_levels(group), f"{title(setting, policy)}: number of episodes by their end, all levels")
        for (setting, policy), group in grouped.items()
    ]
    pictures = []
    for setting in dict.fromkeys(setting for setting, _ in grouped):
        series = {policy: group for (other, policy), group in grouped.items() if other == setting}
        caption = f"How episodes end at each level, {setting}, all kinds together."
        picture = figures.outcomes(series, f"ends of episodes, {setting}")
        pictures.append(Picture(f"outcomes_{setting}.png", caption, picture))
    return Section("Causes of failure", tables=tables, pictures=pictures)


def pairs_section(pairs: Sequence[Pairs], name_of_section: str) -> Section:
    """Return the differences between first and second of the pairs, by kind and by level."""
    tables, paragraphs = [], []
    for setting, policy, first, second in dict.fromkeys((p.setting, p.policy, p.first, p.second) for p in pairs):
        found = [p for p in pairs if (p.setting, p.policy, p.first, p.second) == (setting, policy, first, second)]
        name = f"{title(setting, policy) if policy else setting}: {first} - {second}"
        kinds = kinds_to_show(pair.kind for pair in found)
        by_kind = [pair for pair in found if pair.level is None and pair.kind in kinds]
        tables.append(pairs_table(by_kind, f"{name}, all levels", "kind", lambda pair: kind_name(pair.kind)))
        by_level = [pair for pair in found if pair.kind == ALL and pair.level is not None]
        if len(by_level) > 1:
            tables.append(pairs_table(by_level, f"{name}, all kinds", "level", lambda pair: str(pair.level)))
        cells = [pair for pair in found if pair.kind != ALL and pair.level is not None]
        beyond = [pair for pair in cells if pair.beyond_chance]
        if len(cells) > 1:
            names = [f"{pair.kind} level {pair.level} ({pair.difference.points:+.0f})" for pair in beyond]
            text = f": {listing(names)}" if names else ""
            paragraphs.append(f"{name}: beyond chance in {len(beyond)} of {len(cells)} single cells{text}.")
    return Section(name_of_section, paragraphs, tables)


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
            caption = f"{title(setting, policy)}: success in %, and the drop in points (95 % interval), {at}"
            kinds = kinds_to_show(pair.kind for pair in own)
            rows = [(kind_name(kind), [pair for pair in own if pair.kind == kind]) for kind in kinds]
            tables.append(depth_table(rows, caption))
        stem = "depth_use" if len(settings) == 1 else f"depth_use_{setting}"
        caption = f"Success with the true view and with others, {setting}, {at}; the lines are 95 % intervals."
        pictures.append(Picture(f"{stem}.png", caption, figures.depth_bars(found, f"depth use, {setting}, {at}")))
    return Section("Depth use", [DEPTH_NOTE] if tables else [], tables, pictures)


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
        name = Entry(f"{point.sweep} {point.value:g}")
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
    seed = f"drawn from a seed that no training can have ({heading.seed})"
    text = (
        f"{heading.benchmark}: {count(len(heading.kinds), 'kind')} of terrain x {count(len(heading.levels), 'level')}, "
        f"{count(heading.episodes, 'episode')} of each, on tiles {seed}. Every episode has the same time limit, "
        f"{heading.time_limit:g} s for {heading.course_length:g} m, and the same commanded speed, "
        f"{heading.commanded_speed:g} m/s. Policies and settings are evaluated on the same tiles and starts"
        f"{', sweeps on the first of them' if heading.sweeps else ''}. {LIMITS}"
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
    terms += [(column(name, unit), meaning) for name, unit, _, _, meaning in MEASURES]
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
                "true, blank, frozen, ground, other",
                "What the policy is shown of the terrain, its depth image or height scan: its own; a blank one (an "
                "image in which nothing is near enough to be seen, as over a cliff; a scan of level ground); all the "
                "time the one at the start of the episode; that of level ground without an end at the height of its "
                "lower sole, from where its camera is; that of a robot on another tile, of another kind where there "
                "are several.",
            )
        )
    return Section("How it was measured", [text], terms=terms)


def groups(cells: Sequence[Cell]) -> dict[tuple[str, str], list[Cell]]:
    """Return the cells with true sight by setting and policy, without sweeps."""
    groups: dict[tuple[str, str], list[Cell]] = {}
    for cell in cells:
        if cell.sight == TRUE and not setting_parts(cell.setting):
            groups.setdefault((cell.setting, cell.policy), []).append(cell)
    return groups


def of_all_levels(cells: Sequence[Cell]) -> list[tuple[str, Cell]]:
    """Return the cells of all levels together, each with the name of its kind."""
    kinds = kinds_to_show(cell.kind for cell in cells)
    return [(kind_name(cell.kind), cell) for cell in cells if cell.level is None and cell.kind in kinds]


def title(setting: str, policy: str) -> str:
    """Return the start of a caption."""
    return f"{policy[:1].upper()}{policy[1:]}, {setting}"

"""What a report says first: plain sentences made from its figures."""

from __future__ import annotations

from collections.abc import Sequence

from legged_gym_ext.envs.outcome import Outcome
from legged_gym_ext.evaluation.pairs import Pairs
from legged_gym_ext.evaluation.selection import ALL
from legged_gym_ext.evaluation.summary import Cell
from legged_gym_ext.evaluation.wording import count, interval, levels, listing, percent

WEAK = 0.8
"""Success under which a level counts as lost."""
SIGHTS = {
    "blank": "a blank one",
    "ground": "that of level ground",
    "frozen": "the one at the start of the episode",
    "other": "that of a robot on another tile",
}
"""How the sights are called in sentences."""


def summary(cells: Sequence[Cell], student_minus_teacher: Sequence[Pairs], depth_use: Sequence[Pairs]) -> list[str]:
    """Return at most six sentences on the student where it was evaluated, else on the teacher."""
    totals = [cell for cell in cells if cell.kind == ALL and cell.level is None]
    if not totals:
        return ["There are no episodes on the benchmark itself."]
    policy, setting = totals[0].policy, totals[0].setting
    main = [cell for cell in cells if (cell.setting, cell.policy, cell.sight) == (setting, policy, "true")]
    sentences = [
        _overall(totals, policy),
        _others(totals, policy, student_minus_teacher),
        _hardest(main, policy, setting),
        _lost_levels(main, policy, setting),
        _failures(main, policy, setting),
        _seeing([pair for pair in depth_use if pair.policy == policy]),
    ]
    return [sentence for sentence in sentences if sentence]


def conditions(setting: str) -> str:
    """Return a setting as part of a sentence."""
    return f"under {setting} conditions"


def chance(pair: Pairs) -> str:
    """Return the verdict on a difference."""
    return "beyond chance" if pair.beyond_chance else "not beyond chance"


def difference(pair: Pairs, more: str = "more", less: str = "less") -> str:
    """Return ``3.1 points less often (95 % interval 1.0 to 5.2; beyond chance)``, of the first against the second."""
    found = pair.difference
    sign, word = (-1, less) if found.points < 0 else (1, more)
    low, high = sorted((sign * found.low, sign * found.high))
    if not found.points:
        return f"neither more nor less often (95 % interval of the difference {low:.1f} to {high:.1f} points)"
    return f"{abs(found.points):.1f} points {word} often (95 % interval {low:.1f} to {high:.1f}; {chance(pair)})"


def lost_level(cells: Sequence[Cell], kind: str) -> int | None:
    """Return the first level of a kind at which success is under :data:`WEAK`; None where there is none."""
    lost = [cell.level for cell in cells if cell.kind == kind and cell.level is not None and cell.success < WEAK]
    return min(lost, default=None)


def _overall(totals: Sequence[Cell], policy: str) -> str:
    own = [cell for cell in totals if cell.policy == policy]
    parts = [
        f"in {percent(cell.success, 1)} % of {count(cell.episodes, 'episode')} {conditions(cell.setting)} "
        f"(95 % interval {interval(cell.success_low, cell.success_high, 1)})"
        for cell in own
    ]
    return f"The {policy} reaches the end of the course {listing(parts)}."


def _others(totals: Sequence[Cell], policy: str, pairs: Sequence[Pairs]) -> str:
    other = next((cell.policy for cell in totals if cell.policy != policy), None)
    if other is None:
        return ""
    rates = [f"in {percent(c.success, 1)} % {conditions(c.setting)}" for c in totals if c.policy == other]
    text = f"The {other} reaches it {listing(rates)}"
    overall = [pair for pair in pairs if pair.kind == ALL and pair.level is None]
    if overall:
        parts = [f"{difference(pair)} {conditions(pair.setting)}" for pair in overall]
        text += f"; on the same tiles and starts the student succeeds {listing(parts)}"
    return f"{text}."


def _hardest(cells: Sequence[Cell], policy: str, setting: str) -> str:
    kinds = sorted((c for c in cells if c.level is None and c.kind != ALL), key=lambda c: (c.success, c.kind))
    if len(kinds) < 2 or kinds[0].success == kinds[-1].success:
        return ""
    hard = kinds[: max(1, min(3, len(kinds) // 2))]
    names = listing([f"{cell.kind} ({percent(cell.success)} %)" for cell in hard])
    best = kinds[-1].success
    easy = listing([cell.kind for cell in kinds if cell.success == best])
    return f"Hardest for the {policy} {conditions(setting)}: {names}; easiest: {easy} ({percent(best)} %)."


def _lost_levels(cells: Sequence[Cell], policy: str, setting: str) -> str:
    kinds = list(dict.fromkeys(cell.kind for cell in cells if cell.kind != ALL))
    lost = {kind: level for kind in kinds if (level := lost_level(cells, kind)) is not None}
    start = f"Success of the {policy} {conditions(setting)}"
    if not lost:
        return f"{start} is 80 % or more at every level that was run, of every kind."
    parts = [
        f"at level {level} of {listing([kind for kind in lost if lost[kind] == level])}"
        for level in sorted(set(lost.values()))
    ]
    text = f"{start} first falls under 80 % {listing(parts)}"
    kept = [kind for kind in kinds if kind not in lost]
    return f"{text}; on {listing(kept)} it never does." if kept else f"{text}."


def _failures(cells: Sequence[Cell], policy: str, setting: str) -> str:
    total = next((cell for cell in cells if cell.kind == ALL and cell.level is None), None)
    if total is None or not total.failures:
        return f"No episode of the {policy} {conditions(setting)} failed." if total else ""
    failures = {word: number for word, number in total.outcomes.items() if number and word != Outcome.FINISHED.word}
    ranked = sorted(failures, key=lambda word: -failures[word])
    parts = [f"{word} {percent(failures[word] / total.failures)} %" for word in ranked[:3]]
    rest = sum(failures[word] for word in ranked[3:])
    if rest:
        parts.append(f"other ends {percent(rest / total.failures)} %")
    start = f"What ends the {count(total.failures, 'failed episode')} of the {policy} {conditions(setting)}"
    return f"{start}: {listing(parts)}."


def _seeing(pairs: Sequence[Pairs]) -> str:
    overall = [pair for pair in pairs if pair.kind == ALL and pair.level is None]
    if not overall:
        return ""
    first = overall[0]
    same = [pair for pair in overall if pair.setting == first.setting]
    at = sorted({pair.level for pair in pairs if pair.level is not None})
    parts = []
    for pair in same:
        change = pair.difference
        drop = (
            f"a drop of {change.points:.1f} points, 95 % interval {change.low:.1f} to {change.high:.1f}, {chance(pair)}"
        )
        sight = SIGHTS.get(pair.second, f"'{pair.second}'")
        parts.append(f"in {percent(pair.success_second, 1)} % with {sight} ({drop})")
    return (
        f"At {levels(at)} {conditions(first.setting)} the {first.policy} succeeds in "
        f"{percent(first.success_first, 1)} % with its true view of the terrain, {listing(parts)}."
    )

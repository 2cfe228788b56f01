"""Success against the strength of one disturbance at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from legged_gym_ext.evaluation.episodes import NOMINAL, TRUE
from legged_gym_ext.evaluation.intervals import wilson
from legged_gym_ext.evaluation.pairs import Pairs, adjust, match
from legged_gym_ext.evaluation.selection import ALL, Results, in_order, kinds_in, levels_of
from legged_gym_ext.evaluation.sweeps import setting_parts


@dataclass(frozen=True)
class SweepPoint:
    """Success of a policy at one value of a sweep, over all kinds of terrain at one level."""

    sweep: str
    value: float
    policy: str
    level: int
    episodes: int
    success: float
    success_low: float
    """Lower end of its 95 % Wilson interval."""
    success_high: float
    """Upper end of its 95 % Wilson interval."""
    change: Pairs | None
    """The sweep's value first, nominal second, on the same tiles; None where nominal has not these tiles."""


def robustness(results: Results, kinds: Sequence[str] = ()) -> list[SweepPoint]:
    """Return the points of all sweeps in the order of reports."""
    order = kinds_in(results, kinds)
    units = [unit for unit in in_order(results) if unit.sight == TRUE and setting_parts(unit.setting)]
    pairs: list[Pairs] = []
    for unit in units:
        nominal = levels_of(results, NOMINAL, unit.policy)
        empty = Pairs(unit.setting, unit.policy, unit.setting, NOMINAL, ALL, None, 0, 0, 0, 0)
        matched = match({unit.level: results[unit]}, nominal, order, empty)
        pairs += [pair for pair in matched if (pair.kind, pair.level) == (ALL, unit.level)]
    changes = {(pair.setting, pair.policy, pair.level): pair for pair in adjust(pairs)}
    points: list[SweepPoint] = []
    for unit in units:
        sweep, value = setting_parts(unit.setting) or ("", 0.0)
        episodes = results[unit]
        successes = int(episodes.success.sum())
        points.append(
            SweepPoint(
                sweep,
                value,
                unit.policy,
                unit.level,
                len(episodes),
                successes / len(episodes),
                *wilson(successes, len(episodes)),
                changes.get((unit.setting, unit.policy, unit.level)),
            )
        )
    return points

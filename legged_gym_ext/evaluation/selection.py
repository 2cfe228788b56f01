"""Finding one's way in the results of an evaluation: their order, and which of them belong together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from legged_gym_ext.evaluation.episodes import NOMINAL, TRUE, Episodes, Unit
from legged_gym_ext.evaluation.sweeps import setting_parts

Results = Mapping[Unit, Episodes]
ALL = "all"
"""All kinds of terrain together."""


def in_order(results: Results) -> dict[Unit, Episodes]:
    """Return the units in the order of reports, whatever the order in which they were run; empty ones are left out."""
    return {unit: results[unit] for unit in sorted(results, key=_place) if len(results[unit])}


def settings_of(results: Results) -> list[str]:
    """Return the settings with true sight, without sweeps, in the order of reports."""
    seen = [unit.setting for unit in in_order(results) if unit.sight == TRUE and not setting_parts(unit.setting)]
    return list(dict.fromkeys(seen))


def kinds_in(results: Results, first: Sequence[str] = ()) -> list[str]:
    """Return the kinds of terrain that have episodes: those of ``first`` in its order, then others as they appear."""
    seen = dict.fromkeys(str(kind) for episodes in in_order(results).values() for kind in episodes.kind)
    return [*(kind for kind in dict.fromkeys(first) if kind in seen), *(kind for kind in seen if kind not in first)]


def levels_of(results: Results, setting: str, policy: str, sight: str = TRUE) -> dict[int, Episodes]:
    """Return the episodes of each level under one setting, policy and sight."""
    return {
        unit.level: episodes
        for unit, episodes in in_order(results).items()
        if (unit.setting, unit.policy, unit.sight) == (setting, policy, sight)
    }


def kinds_to_show(kinds: Iterable[str]) -> list[str]:
    """Return each kind once; all kinds together come last, and only where there are several."""
    single = [kind for kind in dict.fromkeys(kinds) if kind != ALL]
    return [*single, ALL] if len(single) > 1 else single


def levels_to_show(levels: Iterable[int | None]) -> list[int | None]:
    """Return each level once, by size; all levels together come last, and only where there are several."""
    single = sorted({level for level in levels if level is not None})
    return [*single, None] if len(single) > 1 else [*single]


def _place(unit: Unit) -> tuple[bool, bool, str, float, str, bool, str, int]:
    """Sort plain settings before sweeps, nominal and true sight first, a sweep's values by size."""
    swept = setting_parts(unit.setting)
    name, value = swept or (unit.setting, 0.0)
    plain = unit.setting != NOMINAL, name, value
    return swept is not None, *plain, unit.policy, unit.sight != TRUE, unit.sight, unit.level

"""Two policies, or one under two conditions, on the same tiles and starts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from legged_gym_ext.evaluation.episodes import TRUE, Episodes
from legged_gym_ext.evaluation.intervals import SIGNIFICANT, Difference, holm, paired_difference, wilson
from legged_gym_ext.evaluation.selection import ALL, Results, in_order, kinds_in, levels_of, settings_of
from legged_gym_ext.evaluation.sweeps import setting_parts


@dataclass(frozen=True)
class Pairs:
    """Pairs of episodes on the same tiles, by which of the two succeeds."""

    setting: str
    policy: str | None
    """Of both; None where the two are the policies."""
    first: str
    """What is compared: a policy, a sight or a run."""
    second: str
    kind: str
    """Of terrain; :data:`ALL` = all kinds together."""
    level: int | None
    """None = all levels together."""
    both: int
    only_first: int
    only_second: int
    neither: int
    p_adjusted: float = 1.0
    """For the number of differences of this sort (see :func:`adjust`) in the report."""

    @property
    def episodes(self) -> int:
        """Number of pairs."""
        return self.both + self.only_first + self.only_second + self.neither

    @property
    def difference(self) -> Difference:
        """Success of the first - success of the second."""
        return paired_difference(self.both, self.only_first, self.only_second, self.neither)

    @property
    def success_first(self) -> float:
        """Success rate of the first."""
        return (self.both + self.only_first) / self.episodes

    @property
    def success_second(self) -> float:
        """Success rate of the second."""
        return (self.both + self.only_second) / self.episodes

    @property
    def interval_first(self) -> tuple[float, float]:
        """Wilson interval of the first's success rate."""
        return wilson(self.both + self.only_first, self.episodes)

    @property
    def interval_second(self) -> tuple[float, float]:
        """Wilson interval of the second's success rate."""
        return wilson(self.both + self.only_second, self.episodes)

    @property
    def beyond_chance(self) -> bool:
        """Whether the difference is significant after the adjustment."""
        return self.p_adjusted < SIGNIFICANT


def student_minus_teacher(results: Results, kinds: Sequence[str] = ()) -> list[Pairs]:
    """Return the pairs of student and teacher with true sight, of every setting that is no sweep."""
    order = kinds_in(results, kinds)
    pairs: list[Pairs] = []
    for setting in settings_of(results):
        student, teacher = (levels_of(results, setting, policy) for policy in ("student", "teacher"))
        pairs += match(student, teacher, order, Pairs(setting, None, "student", "teacher", ALL, None, 0, 0, 0, 0))
    return adjust(pairs)


def depth_use(results: Results, kinds: Sequence[str] = ()) -> list[Pairs]:
    """Return the pairs of each policy with its true image and with another sight, at the levels of the latter."""
    order = kinds_in(results, kinds)
    blinded = dict.fromkeys((u.setting, u.policy, u.sight) for u in in_order(results) if u.sight != TRUE)
    pairs: list[Pairs] = []
    for setting, policy, sight in sorted(blinded, key=lambda item: (setting_parts(item[0]) is not None, item)):
        seeing, blind = (levels_of(results, setting, policy, each) for each in (TRUE, sight))
        pairs += match(seeing, blind, order, Pairs(setting, policy, TRUE, sight, ALL, None, 0, 0, 0, 0))
    return adjust(pairs)


def match(
    first: Mapping[int, Episodes], second: Mapping[int, Episodes], kinds: Sequence[str], empty: Pairs
) -> list[Pairs]:
    """Return the pairs of each kind and level, of all kinds, of all levels, and of both, in this order.

    Only kinds and levels that both have, with the same tiles row for row, are compared. Where one has more episodes on
    a kind than the other, its first ones are: more tiles leave the first ones as they are.

    Args:
        first: Episodes by level.
        second: Episodes by level.
        kinds: The kinds to compare, in their order.
        empty: What the results say of themselves: setting, policy, first and second.
    """
    counts: dict[tuple[str, int | None], np.ndarray] = {}
    for level in sorted(first.keys() & second.keys()):
        for kind in kinds:
            one, other = first[level].of_kind(kind), second[level].of_kind(kind)
            rows = min(len(one), len(other))
            if rows and np.array_equal(one.tile[:rows], other.tile[:rows]):
                counts[kind, level] = _count(one.success[:rows], other.success[:rows])
    found_kinds = [kind for kind in kinds if any(kind == key[0] for key in counts)]
    found_levels = sorted({level for _, level in counts if level is not None})
    single = dict(counts)
    for level in found_levels:
        counts[ALL, level] = sum((count for key, count in single.items() if key[1] == level), np.zeros(4, np.int64))
    for kind in found_kinds:
        counts[kind, None] = sum((count for key, count in single.items() if key[0] == kind), np.zeros(4, np.int64))
    if single:
        counts[ALL, None] = sum(single.values(), np.zeros(4, np.int64))
    pairs: list[Pairs] = []
    for (kind, level), count in counts.items():
        both, only_first, only_second, neither = count.tolist()
        pairs.append(
            replace(
                empty,
                kind=kind,
                level=level,
                both=both,
                only_first=only_first,
                only_second=only_second,
                neither=neither,
            )
        )
    return pairs


def adjust(pairs: Iterable[Pairs]) -> list[Pairs]:
    """Return the pairs with p values adjusted for the number of differences of the same sort.

    There are four sorts: of single cells, of all kinds at a level, of a kind at all levels, and of all together.
    """
    pairs = list(pairs)
    sorts: dict[tuple[bool, bool], list[int]] = {}
    for index, pair in enumerate(pairs):
        sorts.setdefault((pair.kind == ALL, pair.level is None), []).append(index)
    for indices in sorts.values():
        for index, p_value in zip(indices, holm([pairs[i].difference.p_value for i in indices]), strict=True):
            pairs[index] = replace(pairs[index], p_adjusted=p_value)
    return pairs


def _count(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return the number of pairs with both, only the first, only the second and neither successful, (4,) int64."""
    return np.array(
        [(first & second).sum(), (first & ~second).sum(), (~first & second).sum(), (~first & ~second).sum()]
    )

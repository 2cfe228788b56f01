"""How sure a success rate is: intervals of proportions and of their differences, and tests of many differences."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

SIGNIFICANT = 0.05
"""A difference is beyond chance where its adjusted p value is smaller."""


@dataclass(frozen=True)
class Difference:
    """Of two success rates, first - second, in percentage points."""

    points: float
    low: float
    """Lower end of the interval, points."""
    high: float
    """Upper end of the interval, points."""
    p_value: float
    """Probability of a difference at least as large if the two were equally good, two-sided, not adjusted."""


def wilson(successes: int, episodes: int, confidence: float = 0.95) -> tuple[float, float]:
    """Return the score interval of a proportion; (0, 1) where there are no episodes.

    E. B. Wilson, "Probable inference, the law of succession, and statistical inference", Journal of the American
    Statistical Association 22, 1927. No correction for continuity. Unlike the interval from the standard deviation it
    stays within 0 .. 1 and does not shrink to a point at 0 % and 100 %.
    """
    if not episodes:
        return 0.0, 1.0
    z2 = NormalDist().inv_cdf(0.5 + confidence / 2) ** 2
    share = successes / episodes
    center = share + z2 / (2 * episodes)
    half_width = math.sqrt(z2 * (share * (1 - share) / episodes + z2 / (4 * episodes**2)))
    scale = 1 + z2 / episodes
    low = (center - half_width) / scale if successes else 0.0
    high = (center + half_width) / scale if successes < episodes else 1.0
    return low, high


def paired_difference(
    both: int, only_first: int, only_second: int, neither: int, confidence: float = 0.95
) -> Difference:
    """Return how much more often the first succeeds than the second, from the numbers of pairs of episodes.

    The interval is method 10 of R. G. Newcombe, "Improved confidence intervals for the difference between binomial
    proportions based on paired data", Statistics in Medicine 17, 1998: it combines the two Wilson intervals by the
    correlation of the pairs. The p value is the exact test of Q. McNemar, "Note on the sampling error of the difference
    between correlated proportions or percentages", Psychometrika 12, 1947: of the pairs that differ, either side wins
    half.

    Args:
        both: Pairs in which both succeed.
        only_first: Pairs in which only the first succeeds.
        only_second: Pairs in which only the second succeeds.
        neither: Pairs in which both fail.
        confidence: Of the interval.

    Raises:
        ValueError: There are no pairs.
    """
    pairs = both + only_first + only_second + neither
    if not pairs:
        raise ValueError("no pairs to compare")
    first, second = both + only_first, both + only_second
    share_first, share_second = first / pairs, second / pairs
    low_first, high_first = wilson(first, pairs, confidence)
    low_second, high_second = wilson(second, pairs, confidence)
    correlation = _correlation(both, only_first, only_second, neither)
    difference = (only_first - only_second) / pairs
    below = _combine(share_first - low_first, high_second - share_second, correlation)
    above = _combine(high_first - share_first, share_second - low_second, correlation)
    return Difference(
        points=100 * difference,
        low=100 * max(difference - below, -1.0),
        high=100 * min(difference + above, 1.0),
        p_value=_mcnemar(only_first, only_second),
    )


def independent_difference(
    first_successes: int, first_episodes: int, second_successes: int, second_episodes: int, confidence: float = 0.95
) -> Difference:
    """Return how much more often the first succeeds than the second, where their episodes are no pairs.

    The interval is method 10 of R. G. Newcombe, "Interval estimation for the difference between independent
    proportions: comparison of eleven methods", Statistics in Medicine 17, 1998: it combines the two Wilson intervals.
    The p value is R. A. Fisher's exact test, two-sided: of all tables with these sums, those that are no more probable
    than the one that was found.

    Raises:
        ValueError: One of them has no episodes.
    """
    if not first_episodes or not second_episodes:
        raise ValueError("no episodes to compare")
    first, second = first_successes / first_episodes, second_successes / second_episodes
    low_first, high_first = wilson(first_successes, first_episodes, confidence)
    low_second, high_second = wilson(second_successes, second_episodes, confidence)
    return Difference(
        points=100 * (first - second),
        low=100 * (first - second - _combine(first - low_first, high_second - second, 0.0)),
        high=100 * (first - second + _combine(high_first - first, second - low_second, 0.0)),
        p_value=_fisher(first_successes, first_episodes, second_successes, second_episodes),
    )


def holm(p_values: Sequence[float]) -> list[float]:
    """Return the p values adjusted for their number, in their order.

    Calling those under 0.05 beyond chance errs with any of them in at most 5 % of reports. S. Holm, "A simple
    sequentially rejective multiple test procedure", Scandinavian Journal of Statistics 6, 1979.
    """
    adjusted = [0.0] * len(p_values)
    largest = 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=lambda index: p_values[index])):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = largest
    return adjusted


def _correlation(both: int, only_first: int, only_second: int, neither: int) -> float:
    """Return the correlation of the pairs, with Newcombe's correction for continuity where it is positive."""
    first, second = both + only_first, both + only_second
    pairs = first + only_second + neither
    margins = first * (pairs - first) * second * (pairs - second)
    if not margins:
        return 0.0
    covariance = both * neither - only_first * only_second
    if covariance > 0:
        return max(covariance - pairs / 2, 0.0) / math.sqrt(margins)
    return covariance / math.sqrt(margins)


def _combine(first: float, second: float, correlation: float) -> float:
    """Return the spread of a difference from the spreads of its correlated sides."""
    return math.sqrt(max(first**2 - 2 * correlation * first * second + second**2, 0.0))


def _fisher(first_successes: int, first_episodes: int, second_successes: int, second_episodes: int) -> float:
    successes = first_successes + second_successes
    fewest, most = max(successes - second_episodes, 0), min(successes, first_episodes)
    # Numbers of ways in which the first has so many of the successes: whole, so that equal ones are equal.
    ways = [
        math.comb(first_episodes, number) * math.comb(second_episodes, successes - number)
        for number in range(fewest, most + 1)
    ]
    found = ways[first_successes - fewest]
    return sum(way for way in ways if way <= found) / sum(ways)


def _mcnemar(only_first: int, only_second: int) -> float:
    different, fewer = only_first + only_second, min(only_first, only_second)
    if 2 * fewer == different:
        return 1.0
    tail, term = 0, 1  # whole numbers: exact for any number of pairs
    for count in range(fewer + 1):
        tail += term
        term = term * (different - count) // (count + 1)
    return min(1.0, 2 * tail / 2**different)

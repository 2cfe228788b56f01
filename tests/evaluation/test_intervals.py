"""Intervals and tests: against scipy, against the published example, and by simulation."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest, fisher_exact

from legged_gym_ext.evaluation.intervals import holm, independent_difference, paired_difference, wilson


@given(st.data(), st.integers(1, 2000), st.sampled_from([0.8, 0.95, 0.99]))
def test_wilson_is_that_of_scipy(data: st.DataObject, episodes: int, confidence: float) -> None:
    successes = data.draw(st.integers(0, episodes))
    expected = binomtest(successes, episodes).proportion_ci(confidence, method="wilson")
    assert wilson(successes, episodes, confidence) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_wilson_of_nothing_says_nothing() -> None:
    assert wilson(0, 0) == (0.0, 1.0)


@given(*[st.integers(0, 300)] * 4)
def test_p_value_is_that_of_a_fair_coin(both: int, only_first: int, only_second: int, neither: int) -> None:
    if not both + only_first + only_second + neither:
        return
    expected = binomtest(only_first, only_first + only_second).pvalue if only_first + only_second else 1.0
    found = paired_difference(both, only_first, only_second, neither)
    assert found.p_value == pytest.approx(expected, rel=1e-9)
    pairs = both + only_first + only_second + neither
    assert found.points == pytest.approx(100 * (only_first - only_second) / pairs)
    assert -100 <= found.low <= found.points + 1e-9
    assert found.points - 1e-9 <= found.high <= 100


def test_the_example_of_newcombe() -> None:
    """Table II of the paper, method 10: 36, 12, 2, 0 gives 0.0569 to 0.3404."""
    found = paired_difference(36, 12, 2, 0)
    assert (found.low, found.high) == pytest.approx((5.69, 34.04), abs=0.005)


@given(*[st.integers(0, 100)] * 4)
def test_swapping_the_two_mirrors_the_difference(both: int, only_first: int, only_second: int, neither: int) -> None:
    if both + only_first + only_second + neither:
        there = paired_difference(both, only_first, only_second, neither)
        back = paired_difference(both, only_second, only_first, neither)
        assert (back.points, back.low, back.high) == pytest.approx((-there.points, -there.high, -there.low), abs=1e-9)
        assert back.p_value == there.p_value


def test_nothing_cannot_be_compared() -> None:
    with pytest.raises(ValueError, match="no pairs"):
        paired_difference(0, 0, 0, 0)


@pytest.mark.parametrize(
    "shares", [(0.6, 0.2, 0.1, 0.1), (0.25, 0.25, 0.25, 0.25), (0.9, 0.05, 0.02, 0.03), (0.1, 0.5, 0.05, 0.35)]
)
@pytest.mark.parametrize("pairs", [20, 100])
def test_the_interval_holds_the_true_difference_in_95_percent(shares: tuple[float, ...], pairs: int) -> None:
    rng = np.random.default_rng(0)
    truth = 100 * (shares[1] - shares[2])
    samples = rng.multinomial(pairs, shares, size=2000)
    found = [paired_difference(*sample) for sample in samples.tolist()]
    held = np.mean([interval.low <= truth <= interval.high for interval in found])
    assert held >= 0.935
    if pairs * (shares[1] + shares[2]) > 5:  # with fewer pairs that differ, steps of counts make it wide
        assert held <= 0.985


@given(st.data(), st.integers(1, 120), st.integers(1, 120))
def test_p_value_of_two_samples_is_that_of_scipy(data: st.DataObject, first: int, second: int) -> None:
    successes = data.draw(st.integers(0, first)), data.draw(st.integers(0, second))
    found = independent_difference(successes[0], first, successes[1], second)
    table = [[successes[0], first - successes[0]], [successes[1], second - successes[1]]]
    assert found.p_value == pytest.approx(fisher_exact(table).pvalue, rel=1e-9)
    assert found.points == pytest.approx(100 * (successes[0] / first - successes[1] / second), abs=1e-9)
    assert -100 - 1e-9 <= found.low <= found.points + 1e-9
    assert found.points - 1e-9 <= found.high <= 100 + 1e-9
    back = independent_difference(successes[1], second, successes[0], first)
    assert (back.points, back.low, back.high) == pytest.approx((-found.points, -found.high, -found.low), abs=1e-9)
    assert back.p_value == found.p_value


def test_the_examples_of_newcombe_for_two_samples() -> None:
    """Table II of the paper, method 10: 56/70 against 48/80, 9/10 against 3/10 and 10/10 against 0/10."""
    for counts, interval in (
        ((56, 70, 48, 80), (5.24, 33.39)),
        ((9, 10, 3, 10), (17.05, 80.90)),
        ((10, 10, 0, 10), (60.75, 100.0)),
    ):
        found = independent_difference(*counts)
        assert (found.low, found.high) == pytest.approx(interval, abs=0.006)


def test_two_samples_one_of_which_is_empty_cannot_be_compared() -> None:
    for counts in ((0, 0, 1, 2), (1, 2, 0, 0)):
        with pytest.raises(ValueError, match="no episodes"):
            independent_difference(*counts)


def test_holm_of_a_known_example() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([]) == []
    assert holm([0.6, 0.7]) == [1.0, 1.0]


@given(st.lists(st.floats(0, 1), max_size=20))
def test_holm_rejects_what_the_step_down_procedure_rejects(p_values: list[float]) -> None:
    rejected: set[int] = set()
    order = sorted(range(len(p_values)), key=p_values.__getitem__)
    for rank, index in enumerate(order):
        if not (len(p_values) - rank) * p_values[index] < 0.05:
            break
        rejected.add(index)
    assert {index for index, value in enumerate(holm(p_values)) if value < 0.05} == rejected

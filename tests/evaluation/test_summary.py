"""The figures of a report against plain loops over single episodes."""

from __future__ import annotations

from dataclasses import asdict, replace

import numpy as np
import pytest
from synthetic_episodes import COURSE_LENGTH, KINDS, episodes, results

from legged_gym_ext.envs.outcome import ENDS, Outcome
from legged_gym_ext.evaluation.episodes import Episodes, Unit
from legged_gym_ext.evaluation.pairs import depth_use, match, student_minus_teacher
from legged_gym_ext.evaluation.robustness import robustness
from legged_gym_ext.evaluation.selection import ALL, in_order, kinds_in
from legged_gym_ext.evaluation.summary import find, summarize

MEANS = ("waypoints", "edge_violations", "speed", "speed_error", "foot_slip", "torque_peak", "time")


def rows_of(tables: list[Episodes], kind: str) -> list[dict[str, float]]:
    """Single episodes as dictionaries."""
    rows: list[dict[str, float]] = []
    for table in tables:
        for row in range(len(table)):
            if kind in (ALL, table.kind[row]):
                rows.append({name: values[row] for name, values in table.columns().items() if name != "kind"})
    return rows


def test_cells_are_those_of_plain_loops() -> None:
    found = results(levels=(0, 3, 7), per_kind=6)
    cells = summarize(found, COURSE_LENGTH)
    for cell in cells:
        levels = (0, 3, 7) if cell.level is None else (cell.level,)
        tables = [found[Unit(cell.setting, cell.policy, cell.sight, level)] for level in levels]
        rows = rows_of(tables, cell.kind)
        assert cell.episodes == len(rows)
        assert cell.success == sum(row["outcome"] == Outcome.FINISHED for row in rows) / len(rows)
        assert cell.success_low <= cell.success <= cell.success_high
        assert cell.distance == pytest.approx(sum(row["distance"] for row in rows) / len(rows) / COURSE_LENGTH)
        for name in MEANS:
            assert asdict(cell)[name] == pytest.approx(sum(row[name] for row in rows) / len(rows))
        assert cell.torque_peak_max == max(row["torque_peak"] for row in rows)
        carried = sum(row["weight"] * row["distance"] for row in rows)
        assert cell.cost_of_transport == pytest.approx(sum(row["work"] for row in rows) / carried)
        assert list(cell.outcomes) == [end.word for end in ENDS]
        assert sum(cell.outcomes.values()) == len(rows)
        for end in ENDS:
            assert cell.outcomes[end.word] == sum(row["outcome"] == end for row in rows)


def test_every_unit_has_a_cell_for_each_kind_and_one_for_all() -> None:
    found = results(levels=(0, 5), per_kind=2)
    cells = summarize(found, COURSE_LENGTH)
    keys = [(cell.setting, cell.policy, cell.sight, cell.kind, cell.level) for cell in cells]
    assert len(set(keys)) == len(keys)
    expected = {(*unit_key(unit), kind, unit.level) for unit in found for kind in (*KINDS, ALL)}
    sums = {("nominal", "true"), ("randomized", "true")}
    expected |= {(s, p, t, kind, None) for s, t in sums for p in ("student", "teacher") for kind in (*KINDS, ALL)}
    assert set(keys) == expected


def unit_key(unit: Unit) -> tuple[str, str, str]:
    return unit.setting, unit.policy, unit.sight


def test_the_order_of_the_units_does_not_matter() -> None:
    found = results(levels=(0, 5), per_kind=2)
    backward = dict(reversed(found.items()))
    assert list(in_order(found)) == list(in_order(backward))
    assert summarize(found, COURSE_LENGTH, KINDS) == summarize(backward, COURSE_LENGTH, KINDS)
    units = list(in_order(found))
    assert [unit.setting for unit in units[:2]] == ["nominal", "nominal"]
    latencies = dict.fromkeys(unit.setting for unit in units if unit.setting.startswith("latency"))
    assert list(latencies) == ["latency=0.02", "latency=0.06", "latency=0.1"]


def test_kinds_stand_in_the_order_asked_for() -> None:
    found = results(levels=(0,), per_kind=1)
    assert kinds_in(found, ("gaps", "not_there", "flat"))[:3] == ["gaps", "flat", "steps"]


def test_measures_that_are_not_finite_are_left_out_and_none_where_nothing_is_left() -> None:
    table = episodes(0, ("flat",), per_kind=3)
    broken = replace(
        table,
        speed=np.array([np.nan, 1.0, 2.0]),
        work=np.array([np.nan, 3.0, 4.0]),
        foot_slip=np.full(3, np.nan),
        torque_peak=np.array([np.inf, 0.5, 0.7]),
        weight=np.ones(3),
        distance=np.array([1.0, 2.0, 5.0]),
    )
    cell = summarize({Unit("nominal", "student", "true", 0): broken}, COURSE_LENGTH)[0]
    assert (cell.speed, cell.foot_slip, cell.torque_peak_max) == (1.5, None, 0.7)
    assert cell.cost_of_transport == 1.0


def test_one_episode_that_does_not_move() -> None:
    table = replace(episodes(0, ("flat",), per_kind=1), distance=np.zeros(1), outcome=np.array([int(Outcome.STUCK)]))
    (cell, total, *_) = summarize({Unit("nominal", "student", "true", 0): table}, COURSE_LENGTH)
    assert (cell.episodes, cell.success, cell.distance, cell.cost_of_transport) == (1, 0.0, 0.0, None)
    assert replace(total, kind="flat") == cell


def test_no_results_give_no_cells() -> None:
    assert summarize({}, COURSE_LENGTH) == []
    assert student_minus_teacher({}) == depth_use({}) == robustness({}) == []


def test_pairs_of_student_and_teacher_are_counted_row_by_row() -> None:
    found = results(levels=(0, 6), per_kind=10)
    pairs = student_minus_teacher(found, KINDS)
    assert len(pairs) == 2 * (2 * 8 + 2 + 8 + 1)
    for pair in pairs:
        counts = {(True, True): 0, (True, False): 0, (False, True): 0, (False, False): 0}
        for level in (0, 6) if pair.level is None else (pair.level,):
            one, other = (found[Unit(pair.setting, policy, "true", level)] for policy in ("student", "teacher"))
            for row in range(len(one)):
                if pair.kind in (ALL, one.kind[row]):
                    key = (one.outcome[row] == Outcome.FINISHED, other.outcome[row] == Outcome.FINISHED)
                    counts[bool(key[0]), bool(key[1])] += 1
        assert list(counts.values()) == [pair.both, pair.only_first, pair.only_second, pair.neither]
        assert pair.p_adjusted >= pair.difference.p_value
        assert pair.difference.points == pytest.approx(100 * (pair.success_first - pair.success_second))


def test_episodes_on_other_tiles_are_not_paired() -> None:
    found = results(levels=(0,), kinds=("flat", "gaps"), per_kind=4, settings=("nominal",))
    unit = Unit("nominal", "teacher", "true", 0)
    other = found[unit].tile.copy()
    other[found[unit].kind == "gaps"] += 1
    moved = {**found, unit: replace(found[unit], tile=other)}
    assert {pair.kind for pair in student_minus_teacher(found)} == {"flat", "gaps", ALL}
    remaining = student_minus_teacher(moved)
    assert {pair.kind for pair in remaining} == {"flat", ALL}
    assert {pair.episodes for pair in remaining} == {4}


def test_of_a_unit_with_more_episodes_the_first_are_paired() -> None:
    many, few = (episodes(0, ("flat", "gaps"), per_kind=number) for number in (6, 4))
    empty = student_minus_teacher(results(levels=(0,), per_kind=1))[0]
    pairs = match({0: many}, {0: few}, ("flat", "gaps"), empty)
    gaps = next(pair for pair in pairs if pair.kind == "gaps")
    assert gaps.episodes == 4
    assert gaps.both + gaps.only_first == many.of_kind("gaps").success[:4].sum()


def test_depth_use_is_the_true_image_against_every_other() -> None:
    found = results(levels=(0, 4, 8), per_kind=50)
    pairs = depth_use(found, KINDS)
    assert {(pair.policy, pair.second, pair.level) for pair in pairs} == {
        (policy, sight, level)
        for policy in ("student", "teacher")
        for sight in ("blank", "ground", "frozen", "other")
        for level in (4, None)
    }
    cells = summarize(found, COURSE_LENGTH)
    for pair in pairs:
        true = find(cells, "nominal", str(pair.policy), pair.kind, 4)
        blind = find(cells, "nominal", str(pair.policy), pair.kind, 4, pair.second)
        assert true and blind
        assert pair.difference.points == pytest.approx(100 * (true.success - blind.success))
        assert pair.interval_second == (blind.success_low, blind.success_high)


def test_a_policy_that_ignores_its_image_uses_none_of_it() -> None:
    table = episodes(4)
    found = {Unit("nominal", "student", sight, 4): table for sight in ("true", "blank")}
    for pair in depth_use(found):
        assert pair.difference.points == 0
        assert pair.difference.low <= 0 <= pair.difference.high
        assert not pair.beyond_chance


def test_robustness_is_compared_with_nominal_at_the_same_level() -> None:
    found = results(levels=(0, 2, 4, 6), per_kind=10)
    points = robustness(found, KINDS)
    assert len(points) == 2 * 2 * 7
    cells = summarize(found, COURSE_LENGTH)
    for point in points:
        cell = find(cells, f"{point.sweep}={point.value}", point.policy, level=point.level)
        nominal = find(cells, "nominal", point.policy, level=point.level)
        assert cell and nominal and point.change
        assert (point.success, point.success_low) == (cell.success, cell.success_low)
        assert point.change.difference.points == pytest.approx(100 * (cell.success - nominal.success))


def test_a_sweep_without_nominal_stands_alone() -> None:
    (point,) = robustness({Unit("push=1", "student", "true", 0): episodes(0)})
    assert point.change is None


def test_match_compares_only_levels_of_both() -> None:
    empty = student_minus_teacher(results(levels=(0,), per_kind=1))[0]
    one, other = ({level: episodes(level, per_kind=2) for level in levels} for levels in ((0, 1), (1, 2)))
    assert {pair.level for pair in match(one, other, KINDS, empty)} == {1, None}

"""The rules of the configuration's fields: over every field, what obeys its rule passes, what breaks it is named."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from rsl_rl.utils import resolve_nn_activation

from legged_gym_ext.config import fields
from legged_gym_ext.config.fields import (
    LARGEST,
    Choice,
    CountOrAuto,
    EachOnce,
    Number,
    Numbers,
    Rule,
    Text,
    at_difficulties,
    by_name,
    choice,
    count,
    interval,
    layers,
    names,
    number,
    positive,
)
from legged_gym_ext.config.files import load_config
from legged_gym_ext.config.rules import allowed, validate, walk
from legged_gym_ext.config.schema import Config
from legged_gym_ext.errors import UserError


def holds_numbers(value: Any) -> bool:
    """Whether a value is a number, or a list or a mapping of numbers."""
    items = list(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else [value]
    return all(isinstance(item, (int, float)) and not isinstance(item, bool) for item in items)


GOOD = load_config("parkour_depth")
FIELDS = {key: (value, rule) for key, value, rule in walk(GOOD)}
ANYTHING = Numbers()
BREAKABLE = [key for key, (value, rule) in FIELDS.items() if rule != ANYTHING or holds_numbers(value)]
NO_RULE = {  # but that of all numbers
    "task",
    "camera.far",
    "camera.pitch_degrees",
    "rewards.weights",
    "rewards.start_weights",
    "robot.urdf",
    "robot.default_pose",
    "robot.hips",
    "sim.isaacgym.python",
    "runner.init_from",
    "runner.wandb_project",
    "runner.wandb_entity",
    "runner.wandb_group",
    "runner.wandb_notes",
}
FEW = settings(max_examples=12, deadline=None, derandomize=True)


@contextmanager
def changed(key: str, value: Any) -> Iterator[Config]:
    """Give the good configuration another value for a while."""
    *path, name = key.split(".")
    section: Any = GOOD
    for part in path:
        section = getattr(section, part)
    before = getattr(section, name)
    setattr(section, name, value)
    try:
        yield GOOD
    finally:
        setattr(section, name, before)


def complaints_of(config: Any) -> list[str]:
    return [str(complaint) for key, value, rule in walk(config) for complaint in rule.complaints(key, value)]


# Values, made from the rules ------------------------------------------------------------------------------------------


def good_number(rule: Number, whole: bool) -> st.SearchStrategy[float]:
    low, high = max(rule.at_least, rule.above, -LARGEST), min(rule.at_most, rule.below)
    high = LARGEST if high == math.inf else high
    if whole:
        assert rule.above == -math.inf and rule.below == math.inf
        return st.integers(int(low), int(high))
    return st.floats(low, high, exclude_min=low == rule.above, exclude_max=high == rule.below)


def bad_number(rule: Number) -> st.SearchStrategy[float]:
    """Numbers beyond each of the bounds, on those that are not allowed themselves, and what no number may be."""
    bad = [st.sampled_from([math.nan, math.inf, -math.inf])]
    for bound, allowed_itself in ((rule.at_least, True), (rule.above, False)):
        if math.isfinite(bound):
            bad.append(st.floats(max_value=bound, exclude_max=allowed_itself))
    for bound, allowed_itself in ((rule.at_most, True), (rule.below, False)):
        if math.isfinite(bound):
            bad.append(st.floats(min_value=float(bound), exclude_min=allowed_itself))
    if rule.at_most == math.inf:
        bad.append(st.floats(min_value=LARGEST, exclude_min=True))
        bad.append(st.sampled_from([10**9 + 1, 10**30, 10**400]))
    bad.append(st.floats(max_value=-LARGEST, exclude_max=True))
    return st.one_of(bad)


def good_value(rule: Rule, value: Any) -> st.SearchStrategy[Any]:
    """Values that obey ``rule``, of the type of ``value``, which is one of them."""
    match rule:
        case Number():
            return good_number(rule, isinstance(value, int))
        case CountOrAuto():
            return st.one_of(st.just("auto"), st.integers(rule.at_least, 10**9))
        case Choice():
            return st.sampled_from(rule.names)
        case Text():
            return st.from_regex(rule.pattern, fullmatch=True)
        case EachOnce():
            return st.lists(st.text(max_size=3), unique=True, max_size=4)
        case Numbers() if isinstance(value, dict):
            return st.dictionaries(st.text(max_size=3), good_number(rule.each, False), max_size=4)
        case Numbers() if isinstance(value, list) and holds_numbers(value):
            item = good_number(rule.each, bool(value) and isinstance(value[0], int))
            least = rule.length if rule.length is not None else int(rule.not_empty)
            lists = st.lists(item, min_size=least, max_size=least if rule.length is not None else 4)
            return lists.map(sorted) if rule.ordered else lists
        case Numbers() if holds_numbers(value):
            return good_number(rule.each, False)
    return st.just(value)


def bad_value(rule: Rule, value: Any) -> st.SearchStrategy[tuple[Any, str]]:
    """Values that break ``rule``, with what comes after the key in the name that the error must give."""
    match rule:
        case Number():
            return bad_number(rule).map(lambda bad: (bad, ""))
        case CountOrAuto():
            others = st.sampled_from([True, False, None, 2.0, "", "Auto", "1", [1]])
            return st.one_of(st.integers(max_value=rule.at_least - 1), st.integers(min_value=10**9 + 1), others).map(
                lambda x: (x, "")
            )
        case Choice():
            return st.text().filter(lambda text: text not in rule.names).map(lambda text: (text, ""))
        case Text():
            return st.text(min_size=1).filter(lambda t: not re.fullmatch(rule.pattern, t)).map(lambda t: (t, ""))
        case EachOnce():
            return st.lists(st.text(max_size=2), min_size=1, max_size=3).map(lambda x: ([*x, x[0]], ""))
        case Numbers() if isinstance(value, dict):
            return bad_number(rule.each).map(lambda bad: ({"one": bad}, ".one"))
        case Numbers() if isinstance(value, list):
            return st.one_of(bad_lists(rule, value))
        case Numbers():
            return bad_number(rule.each).map(lambda bad: (bad, ""))
    raise TypeError(f"no values that break {rule}")


def bad_lists(rule: Numbers, value: list[float]) -> list[st.SearchStrategy[tuple[Any, str]]]:
    place = st.integers(0, len(value) - 1)
    item = st.tuples(place, bad_number(rule.each))
    bad = [item.map(lambda x: ([*value[: x[0]], x[1], *value[x[0] + 1 :]], f"[{x[0]}]"))]
    if rule.length is not None:
        longer = st.integers(1, 3).map(lambda more: (value + value[-1:] * more, ""))
        bad += [longer, st.integers(0, rule.length - 1).map(lambda length: (value[:length], ""))]
    if rule.ordered:
        bad.append(st.just(([value[1] + 1, value[0]], "")))
    if rule.not_empty:
        bad.append(st.just(([], "")))
    return bad


# Over every field -----------------------------------------------------------------------------------------------------


def test_every_field_has_a_rule_but_these() -> None:
    without = {key for key, (value, rule) in FIELDS.items() if rule == ANYTHING and not isinstance(value, bool)}
    assert without == NO_RULE
    assert all(rule == ANYTHING for value, rule in FIELDS.values() if isinstance(value, bool))


@pytest.mark.parametrize("key", FIELDS)
@FEW
@given(data=st.data())
def test_what_obeys_its_rule_passes(key: str, data: st.DataObject) -> None:
    value, rule = FIELDS[key]
    with changed(key, data.draw(good_value(rule, value))) as config:
        assert complaints_of(config) == []


@pytest.mark.parametrize("key", BREAKABLE)
@FEW
@given(data=st.data())
def test_what_breaks_its_rule_is_named(key: str, data: st.DataObject) -> None:
    value, rule = FIELDS[key]
    bad, place = data.draw(bad_value(rule, value))
    with changed(key, bad) as config, pytest.raises(UserError) as caught:
        validate(config)
    start = f"unknown {key} " if isinstance(rule, Choice) else f"{key}{place}: expected "
    assert str(caught.value).startswith(start)


def test_every_number_that_has_a_rule_breaks_it_by_its_own_name() -> None:
    """Just outside of each bound of each field, in each place of a list and under each name of a mapping."""
    checked = 0
    for key, (value, rule) in FIELDS.items():
        bounds = rule.each if isinstance(rule, Numbers) else rule
        if not isinstance(bounds, Number) or not holds_numbers(value):
            continue
        outside = [bounds.at_least - 1, bounds.above, bounds.at_most * 2, bounds.below, -2 * LARGEST]
        for bad in filter(math.isfinite, outside):
            if isinstance(value, dict):
                changes = [({**value, name: bad}, f"{key}.{name}") for name in value]
            elif isinstance(value, list):
                changes = [([*value[:i], bad, *value[i + 1 :]], f"{key}[{i}]") for i in range(len(value))]
            else:
                changes = [(bad, key)]
            for change, name in changes:
                with changed(key, change) as config, pytest.raises(UserError, match=rf"^{re.escape(name)}: expected"):
                    validate(config)
                checked += 1
    assert checked > 250


def test_the_defaults_obey_their_rules_and_are_nobody_elses() -> None:
    validate(Config())
    one, other = ({key: value for key, value, _ in walk(config)} for config in (Config(), Config()))
    assert one == other
    assert all(one[key] is not other[key] for key in one if isinstance(one[key], (list, dict)))


# Rules ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "words"),
    [
        ("sim.dt", "a number >= 1e-05"),
        ("sim.engine", "one of auto, mujoco, mujoco_warp, isaacgym"),
        ("sim.device", "auto, cpu or cuda:N"),
        ("seed", "a number from 0 to 9223372036854775807"),
        ("run_name", "letters, digits, '.', '_' and '-' (it names a folder)"),
        ("env.num_envs", "a whole number >= 1, or auto"),
        ("ppo.gamma", "a number from 0 to 1"),
        ("camera.far", "each a number from -1e+09 to 1e+09"),
        ("camera.horizontal_fov_degrees", "a number > 0 and < 180"),
        ("camera.position", "three values, each a number from -1e+09 to 1e+09"),
        ("terrain.stairs.run", "two values, at difficulty 0 and at difficulty 1, each a number > 0"),
        ("randomization.friction", "two values, [low, high] with low <= high, each a number > 0"),
        ("teacher.hidden_dims", "one number at least, each a number >= 1"),
        ("robot.stiffness", "each a number >= 0"),
        ("robot.joints", "each name once"),
    ],
)
def test_rules_say_themselves_in_words(key: str, words: str) -> None:
    assert FIELDS[key][1].words == words


@dataclass
class Inner:
    width: float = positive(1.0)
    levels: list[float] = at_difficulties(2.0, 1.0)


@dataclass
class Outer:
    inner: Inner = field(default_factory=Inner)
    name: str = choice("a", ("a", "b"))
    plain: float = 0.0
    gains: dict[str, float] = by_name({"x": 1.0})


def test_sections_are_found_wherever_they_are() -> None:
    outer = Outer(Inner(0.0, [1.0]), "c", math.inf, {"x": 1e12})
    assert complaints_of(outer) == [
        "inner.width: expected a number > 0, got 0.0",
        "inner.levels: expected two values, at difficulty 0 and at difficulty 1, got [1.0]",
        "unknown name 'c'; allowed: a, b",
        "plain: expected a finite number, got inf",
        "gains.x: expected a number from -1e+09 to 1e+09, got 1000000000000.0",
    ]


def test_choices_are_what_they_are_when_a_value_is_checked() -> None:
    registry = {"one": 1}

    @dataclass
    class Section:
        of_registry: str = choice("one", registry)
        of_function: str = choice("one", lambda: sorted(registry))

    section = Section("two", "two")
    assert len(complaints_of(section)) == 2
    registry["two"] = 2
    assert complaints_of(section) == []
    assert {rule.words for _, _, rule in walk(section)} == {"one of one, two"}


def test_a_field_may_allow_more_than_any_number_may() -> None:
    @dataclass
    class Section:
        large: float = number(0.0, at_most=1e12)
        small: float = number(0.0, at_most=1)
        many: int = count(1, at_least=3)

    assert complaints_of(Section(large=1e12, many=3)) == []
    for bad in (Section(large=2e12, many=3), Section(large=-2e12, many=3), Section(small=-2e9, many=3), Section()):
        assert len(complaints_of(bad)) == 1


def test_all_that_is_wrong_with_a_value_can_be_told() -> None:
    @dataclass
    class Section:
        range: list[float] = interval(0.0, 1.0, fields.POSITIVE)
        widths: list[int] = layers(3)
        parts: list[str] = names(["a"])

    assert complaints_of(Section([1.0, -1.0, 0.0], [], ["a", "b", "a"])) == [
        "range[1]: expected a number > 0, got -1.0",
        "range[2]: expected a number > 0, got 0.0",
        "range: expected two values, got [1.0, -1.0, 0.0]",
        "range: expected [low, high] with low <= high, got [1.0, -1.0, 0.0]",
        "widths: expected one number at least, got []",
        "parts: expected each name once, got ['a', 'b', 'a']",
    ]


def test_allowed_names_of_a_key() -> None:
    assert allowed("runner.logger") == ("tensorboard", "wandb", "none")
    for key, value, rule in walk(Config()):
        if isinstance(rule, Choice):
            assert value in allowed(key)


def test_names_that_other_libraries_know_are_theirs() -> None:
    for name in allowed("teacher.activation"):
        assert isinstance(resolve_nn_activation(name), torch.nn.Module)
    assert all(getattr(torch, name).is_floating_point for name in allowed("camera.precision"))

"""Controls by themselves: what a browser sends is anything."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from legged_gym_ext.errors import UserError
from legged_gym_ext.rendering.web.controls import Buttons, Choice, Slider, Switch, checked

CONTROLS = [
    Buttons("push", "push", ("left", "right")),
    Switch("paused", "pause", False),
    Choice("kind", "terrain", ("gaps", "steps"), "gaps"),
    Slider("speed", "speed, m/s", 0.0, 2.0, 0.05, 1.0),
    Slider("environment", "environment", 0, 5, 1, 0),
]
ANYTHING = st.one_of(st.booleans(), st.integers(), st.floats(), st.text(max_size=8))


@given(st.sampled_from(CONTROLS), ANYTHING)
def test_a_checked_value_is_one_that_the_control_can_have(control, value) -> None:
    try:
        result = checked(CONTROLS, control.name, value)
    except UserError as error:
        assert "\n" not in str(error)
        return
    match control:
        case Buttons():
            assert result in control.words
        case Switch():
            assert isinstance(result, bool)
        case Choice():
            assert result in control.options
        case Slider():
            assert type(result) is type(control.step)
            assert control.low <= result <= control.high


@pytest.mark.parametrize("value", [-0.01, 2.01, math.nan, math.inf, "1", True])
def test_a_slider_takes_numbers_in_its_range_only(value) -> None:
    assert checked(CONTROLS, "speed", 0.0) == 0.0
    assert checked(CONTROLS, "speed", 2) == 2.0
    with pytest.raises(UserError, match="speed, m/s"):
        checked(CONTROLS, "speed", value)


def test_unknown_names_and_words_are_told_with_what_there_is() -> None:
    with pytest.raises(UserError, match="did you mean 'speed'"):
        checked(CONTROLS, "sped", 1.0)
    with pytest.raises(UserError, match="did you mean 'gaps'"):
        checked(CONTROLS, "kind", "gap")
    with pytest.raises(UserError, match="allowed: left, right"):
        checked(CONTROLS, "push", "up")

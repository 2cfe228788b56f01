"""What an optimizer cannot go on from is told when it is loaded, not in the middle of a training."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest
import torch

from legged_gym_ext.learning.updates import SoundUpdates


def used(spoiled: bool = False) -> tuple[torch.optim.Adam, SoundUpdates]:
    """Return an optimizer of two groups after three steps, of which the last two were ``spoiled``."""
    torch.manual_seed(0)
    groups = [torch.nn.Parameter(torch.randn(4, 3)), torch.nn.Parameter(torch.randn(2))]
    optimizer = torch.optim.Adam([{"params": [parameter]} for parameter in groups], lr=0.1, fused=True)
    updates = SoundUpdates(optimizer)
    for step in range(3):
        for parameter in groups:
            parameter.grad = torch.randn_like(parameter)
        if spoiled and step > 0:
            groups[1].grad = torch.full((2,), torch.nan)
        optimizer.step()
    return optimizer, updates


def test_what_was_saved_is_loaded_and_counted_anew() -> None:
    optimizer, updates = used(spoiled=True)
    optimizer.load_state_dict(deepcopy(used()[0].state_dict()))
    updates.check_loaded()
    assert updates.pop("Loss") == ({}, 0)


def test_an_optimizer_that_has_done_nothing_can_be_loaded() -> None:
    parameter = torch.nn.Parameter(torch.zeros(3))
    fresh = torch.optim.Adam([parameter], fused=True)
    updates = SoundUpdates(fresh)
    fresh.load_state_dict(torch.optim.Adam([torch.nn.Parameter(torch.zeros(3))], fused=True).state_dict())
    updates.check_loaded()
    slim = used()[0].state_dict() | {"state": {}}
    optimizer, updates = used()
    optimizer.load_state_dict(slim)
    updates.check_loaded()


@pytest.mark.parametrize("name", ["step", "exp_avg", "exp_avg_sq"])
@pytest.mark.parametrize(
    "value",
    [None, "text", torch.zeros(7), torch.zeros(2, dtype=torch.float64), torch.zeros((), dtype=torch.float64)],
    ids=["missing", "text", "size", "precision", "number"],
)
def test_a_state_that_does_not_fit_its_parameter_is_told(name: str, value: Any) -> None:
    optimizer, updates = used()
    entry = optimizer.state[optimizer.param_groups[1]["params"][0]]  # of shape (2,)
    del entry[name]
    if value is not None:
        entry[name] = value
    with pytest.raises(ValueError) as caught:
        updates.check_loaded()
    assert str(caught.value) == f"the optimizer's {name} does not fit a parameter of shape (2,)"


@pytest.mark.parametrize(
    ("name", "value"),
    [("lr", "fast"), ("betas", 0.9), ("eps", None), ("weight_decay", [1]), ("amsgrad", "no"), ("fused", "yes")],
)
def test_a_setting_of_another_kind_is_told(name: str, value: Any) -> None:
    optimizer, updates = used()
    state = deepcopy(optimizer.state_dict())
    state["param_groups"][1][name] = value
    optimizer.load_state_dict(state)
    with pytest.raises(ValueError) as caught:
        updates.check_loaded()
    assert str(caught.value) == f"the optimizer's {name} is {value!r}"


def test_a_rate_that_is_a_whole_number_and_a_way_that_nobody_chose_are_no_fault() -> None:
    optimizer, updates = used()
    state = deepcopy(optimizer.state_dict())
    state["param_groups"][0] |= {"lr": 1, "foreach": None}
    state["param_groups"][1] |= {"foreach": False}
    optimizer.load_state_dict(state)
    updates.check_loaded()


def test_the_counts_are_where_the_parameters_are() -> None:
    parameter = torch.nn.Parameter(torch.ones(3))
    optimizer = torch.optim.Adam([parameter], fused=True)
    gradient = torch.full((3,), torch.inf)
    with torch.device("meta"):  # a tensor that is made without a device has no values
        updates = SoundUpdates(optimizer)
        parameter.grad = gradient
        optimizer.step()
        assert updates.pop("Loss") == ({"Loss/updates_left_out": 1}, 1)
    assert parameter.tolist() == [1, 1, 1]


def test_a_parameter_without_a_gradient_is_no_fault() -> None:
    """Such as one of a part that this update did not use."""
    used, unused = torch.nn.Parameter(torch.ones(2)), torch.nn.Parameter(torch.ones(2))
    optimizer = torch.optim.Adam([used, unused], lr=0.1, fused=True)
    updates = SoundUpdates(optimizer)
    used.grad = torch.ones(2)
    optimizer.step()
    assert updates.pop("Loss") == ({}, 0)
    assert used.tolist() == pytest.approx([0.9, 0.9]) and unused.tolist() == [1, 1]

"""Whether an optimizer can go on with what it was given."""

from __future__ import annotations

import torch
from torch import Tensor


def check_optimizer(optimizer: torch.optim.Optimizer) -> None:
    """Raise a ValueError where Adam's loaded state does not fit its parameters.

    PyTorch notices only when it learns, and then in the middle of a training.
    """
    for group in optimizer.param_groups:
        for name, usual in optimizer.defaults.items():
            kinds = {float: (int, float), type(None): (type(None), bool)}.get(type(usual), type(usual))
            if not isinstance(group.get(name), kinds):
                raise ValueError(f"the optimizer's {name} is {group.get(name)!r}")
        for parameter in group["params"]:
            state = optimizer.state.get(parameter)
            if state:  # empty before the first step, and in slim checkpoints
                _check(state, parameter)


def _check(state: dict[str, Tensor], parameter: Tensor) -> None:
    for name, shape in (("step", ()), ("exp_avg", parameter.shape), ("exp_avg_sq", parameter.shape)):
        value = state.get(name)
        if not isinstance(value, Tensor) or value.shape != shape or value.dtype != parameter.dtype:
            raise ValueError(f"the optimizer's {name} does not fit a parameter of shape {tuple(parameter.shape)}")

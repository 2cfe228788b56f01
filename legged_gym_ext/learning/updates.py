"""Optimizers that leave out what would spoil the networks, and that notice what they cannot go on from."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


class SoundUpdates:
    """Has a fused Adam leave out every update whose gradients are not all finite, and counts them.

    Nothing waits for the device: the optimizer's kernel reads whether to do anything, as it does for gradient scalers.

    Args:
        optimizer: Adam with ``fused=True``.
    """

    def __init__(self, optimizer: torch.optim.Adam) -> None:
        self.optimizer = optimizer
        device = optimizer.param_groups[0]["params"][0].device
        self._left_out, self._in_a_row = torch.zeros((), device=device), torch.zeros((), device=device)
        optimizer.register_step_pre_hook(self._look)

    def pop(self, section: str) -> tuple[dict[str, float], int]:
        """Return what there is for the log, and how many of the last updates were left out, all without a break.

        For the log, by tag, in this ``section``: how many were left out since the last call, if any were.
        """
        left_out, in_a_row = torch.stack([self._left_out, self._in_a_row]).tolist()
        self._left_out.zero_()
        return ({f"{section}/updates_left_out": left_out} if left_out else {}), int(in_a_row)

    def check_loaded(self) -> None:
        """Count anew, with the state that the optimizer has loaded.

        Raises:
            ValueError: It does not fit the parameters, which PyTorch notices only in the middle of a training.
        """
        self._left_out.zero_()
        self._in_a_row.zero_()
        for group in self.optimizer.param_groups:
            for name, usual in self.optimizer.defaults.items():
                kinds = {float: (int, float), type(None): (type(None), bool)}.get(type(usual), type(usual))
                if not isinstance(group.get(name), kinds):
                    raise ValueError(f"the optimizer's {name} is {group.get(name)!r}")
            for parameter in group["params"]:
                state = self.optimizer.state.get(parameter)
                if state:  # empty before the first step, and in slim checkpoints
                    _check(state, parameter)

    def _look(self, optimizer: torch.optim.Optimizer, args: Any, kwargs: Any) -> None:
        parameters = (parameter for group in optimizer.param_groups for parameter in group["params"])
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        norms = torch.stack(torch._foreach_norm(gradients))  # pyright: ignore[reportPrivateImportUsage]
        wrong = (~norms.isfinite().all()).float()
        optimizer.found_inf = wrong  # pyright: ignore[reportAttributeAccessIssue]
        self._left_out += wrong
        self._in_a_row.add_(1).mul_(wrong)


def _check(state: dict[str, Tensor], parameter: Tensor) -> None:
    for name, shape in (("step", ()), ("exp_avg", parameter.shape), ("exp_avg_sq", parameter.shape)):
        value = state.get(name)
        if not isinstance(value, Tensor) or value.shape != shape or value.dtype != parameter.dtype:
            raise ValueError(f"the optimizer's {name} does not fit a parameter of shape {tuple(parameter.shape)}")

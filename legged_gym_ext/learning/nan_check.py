"""A check for NaN that does not wait for the device in every step."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from rsl_rl.utils import check_nan
from tensordict import TensorDict
from torch import Tensor


class NanCheck:
    """Looks for NaN in what an environment returns, and tells of it at the end of a rollout.

    Args:
        groups: Observation groups to look at.
        device: Of the tensors.
    """

    def __init__(self, groups: Sequence[str], device: torch.device | str) -> None:
        self.groups = groups
        self._found = torch.zeros(len(groups) + 2, dtype=torch.bool, device=device)

    def add(self, obs: TensorDict, rewards: Tensor, dones: Tensor) -> None:
        """Look at one step."""
        tensors = [*(obs[group] for group in self.groups), rewards, dones]
        self._found |= torch.stack([tensor.isnan().any() for tensor in tensors])

    def report(self) -> None:
        """Raise rsl_rl's ``ValueError`` if there was a NaN in any of the steps."""
        *groups, rewards, dones = torch.where(self._found, torch.nan, 0.0).cpu()
        check_nan(TensorDict(dict(zip(self.groups, groups, strict=True))), rewards, dones)

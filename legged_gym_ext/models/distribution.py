"""The distribution of actions that PPO learns from."""

from __future__ import annotations

from typing import Any

import torch
from rsl_rl.modules.distribution import GaussianDistribution
from torch import Tensor


class ActionDistribution(GaussianDistribution):
    """rsl_rl's Gaussian, drawn from without a wait: torch's looks for negative deviations, on the host."""

    @torch.no_grad()
    def sample(self) -> Tensor:
        """Return a sample (batch, output_dim), the same bits as rsl_rl's."""
        return torch.randn_like(self.mean).mul_(self.std).add_(self.mean)

    def __getstate__(self) -> dict[str, Any]:
        """Return what a copy is made of: not the last distribution, part of a graph that cannot be copied."""
        return {**self.__dict__, "_distribution": None}

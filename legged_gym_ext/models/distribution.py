"""The distribution of a teacher's actions."""

from __future__ import annotations

import torch
from rsl_rl.modules.distribution import GaussianDistribution
from torch import Tensor


class ActionDistribution(GaussianDistribution):
    """rsl_rl's Gaussian, drawn from without a wait: torch's looks for negative deviations, on the host."""

    @torch.no_grad()
    def sample(self) -> Tensor:
        """Return a sample (batch, output_dim), the same bits as rsl_rl's."""
        return torch.randn_like(self.mean).mul_(self.std).add_(self.mean)

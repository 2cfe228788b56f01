"""Writing into the rows of some environments, by mask: nothing on a GPU has to tell the host which they are."""

from __future__ import annotations

import torch
from torch import Tensor


def assign(mask: Tensor, target: Tensor, values: Tensor) -> None:
    """Write ``values`` into the rows of ``target`` where ``mask`` (num_envs,) is true, in place."""
    rows = mask.view(-1, *[1] * (target.dim() - 1))
    torch.where(rows, values, target, out=target)

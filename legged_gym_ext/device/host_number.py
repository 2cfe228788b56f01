"""Counts that the host needs from the device."""

from __future__ import annotations

import torch
from torch import Tensor


class HostNumber:
    """A number on its way to the host.

    On a GPU the copy begins at once, behind what was launched before, and host and GPU go on meanwhile. Only
    :meth:`get` waits, and only for what was launched before the copy: asked for a few steps later, the number is there.

    Args:
        value: The number, (). Nothing may write into it afterwards.
    """

    def __init__(self, value: Tensor) -> None:
        self._copy, self._arrived = value, None
        if value.is_cuda:
            self._copy = torch.empty((), dtype=value.dtype, pin_memory=True)
            self._copy.copy_(value, non_blocking=True)
            self._arrived = torch.cuda.Event()
            self._arrived.record(torch.cuda.current_stream(value.device))

    def get(self) -> int:
        """Return the number."""
        if self._arrived is not None:
            self._arrived.synchronize()
        return int(self._copy.numpy())

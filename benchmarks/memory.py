"""How much memory this process has taken, in bytes."""

from __future__ import annotations

import resource
import sys

import torch


def device_bytes(device: torch.device) -> float:
    """Return the memory in use on a GPU, of all libraries and programs; on a CPU this process's resident peak.

    Torch keeps what it has freed, so after a training iteration this is what the iteration needed at most.
    """
    if device.type == "cuda":
        free, total = torch.cuda.mem_get_info(device)
        return total - free
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def torch_peak_bytes(device: torch.device) -> float:
    """Return the most that torch's tensors have taken on a GPU at once."""
    return torch.cuda.max_memory_allocated(device)

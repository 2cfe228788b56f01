"""Warp and torch on one CUDA stream, so that what is timed on one is what ran on the other."""

from __future__ import annotations

import contextlib
from contextlib import AbstractContextManager

import torch
import warp as wp

wp.config.log_level = wp.LOG_WARNING
wp.init()


def on_torch_stream(device: torch.device) -> AbstractContextManager:
    """Return a context in which Warp launches on torch's current stream; does nothing on a CPU."""
    if device.type != "cuda":
        return contextlib.nullcontext()
    return wp.ScopedStream(wp.stream_from_torch(torch.cuda.current_stream(device)))

"""Warp beside torch: loaded without its console output, its work on torch's current stream."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch
import warp as wp

_SLOW = 8.0
"""Seconds after which loading kernels counts as compiling them: from the cache it takes one or two."""

_streams: dict[tuple[torch.device, int], wp.Stream] = {}


def init() -> None:
    """Start Warp without its banner, its notes on kernels, and its warning on a machine without CUDA."""
    wp.config.log_level = wp.LOG_WARNING
    if torch.cuda.is_available():
        wp.init()
        return
    # The warning is written by native code, past Python's stderr.
    sys.stderr.flush()
    stderr, nothing = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nothing, 2)
        wp.init()
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)
        os.close(nothing)


def current_stream(device: torch.device) -> wp.Stream | None:
    """Return torch's current stream on ``device`` for Warp's launches; None on a CPU.

    Within ``torch.cuda.graph`` this is the stream that is captured: launches of kernels that are loaded already, on
    arrays that are allocated already, become part of torch's graph.
    """
    if device.type != "cuda":
        return None
    key = device, torch.cuda.current_stream(device).cuda_stream
    if key not in _streams:  # one wrapper for each: the end of a wrapper makes Warp forget the stream
        _streams[key] = wp.stream_from_torch(device)
    return _streams[key]


@contextmanager
def notice_of_compilation(what: str) -> Iterator[None]:
    """Tell the user, once, when what runs within takes so long that it must be the compilation of kernels."""
    text = f"compiling {what} kernels, about a minute the first time"
    timer = threading.Timer(_SLOW, lambda: print(text, file=sys.stderr, flush=True))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()

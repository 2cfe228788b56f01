"""Times parts of a running program from outside, by the device's events on CUDA and by the host's clock on a CPU.

On CUDA the host only queues work: an event is a mark in that queue, and the time between two of them is what the device
took for what was queued in between. Nothing waits until a result is asked for.
"""

from __future__ import annotations

import statistics
import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import torch


class Moment:
    """Now, on the device: where it is in its work when it has done all that was asked of it so far."""

    def __init__(self, device: torch.device) -> None:
        self._event = None
        if device.type == "cuda":
            self._event = torch.cuda.Event(enable_timing=True)
            self._event.record(torch.cuda.current_stream(device))
        self._host = time.perf_counter()

    def seconds_since(self, earlier: Moment) -> float:
        """Return the seconds from ``earlier`` to this moment; waits until the device has come to it."""
        if self._event is None or earlier._event is None:
            return self._host - earlier._host
        self._event.synchronize()
        return earlier._event.elapsed_time(self._event) / 1e3


class Stopwatch:
    """Adds up the seconds spent in the methods that it is told to watch."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._spans: dict[str, list[tuple[Moment, Moment]]] = defaultdict(list)

    def watch(self, owner: Any, method: str, label: str) -> None:
        """Time every call of ``owner.method`` under ``label``. A part that lies inside another counts in both."""
        original = getattr(owner, method)

        def timed(*args: Any, **kwargs: Any) -> Any:
            start = Moment(self.device)
            try:
                return original(*args, **kwargs)
            finally:
                self._spans[label].append((start, Moment(self.device)))

        setattr(owner, method, timed)

    @property
    def seconds(self) -> dict[str, float]:
        """Return the seconds by label; a label of which nothing was called has none."""
        sums = {label: sum(end.seconds_since(start) for start, end in spans) for label, spans in self._spans.items()}
        return defaultdict(float, sums)

    def clear(self) -> None:
        """Forget what was measured; go on watching."""
        self._spans.clear()


def seconds_of(function: Callable[[], Any], device: torch.device) -> float:
    """Return the seconds that the device takes for one call of ``function``."""
    start = Moment(device)
    function()
    return Moment(device).seconds_since(start)


def median_seconds(functions: dict[str, Callable[[], object]], device: torch.device, repeats: int) -> dict[str, float]:
    """Return the median of the seconds of each function, called in turns, so that what disturbs one disturbs all.

    Each turn begins with a call that is not timed: it compiles, the first time, and warms the caches, which what ran
    before has filled with something else. On CUDA nothing waits in between.
    """
    times: dict[str, list[tuple[Moment, Moment]]] = {name: [] for name in functions}
    for _ in range(repeats):
        for name, function in functions.items():
            function()
            start = Moment(device)
            function()
            times[name].append((start, Moment(device)))
    return {name: statistics.median(b.seconds_since(a) for a, b in spans) for name, spans in times.items()}

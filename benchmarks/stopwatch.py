"""Times parts of a running program from outside, by the device's events on CUDA and by the host's clock on a CPU.

On CUDA the host only queues work: an event is a mark in that queue, and the time between two of them is what the device
took for what was queued in between. Nothing waits until a result is asked for.
"""

from __future__ import annotations

import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import Any

import torch

Clock = Callable[[], float]
"""A clock of the host, s."""


class Moment:
    """Now, on the device: where it is in its work when it has done all that was asked of it so far.

    Args:
        device: CUDA has clocks of its own.
        clock: Of the host; None = ``time.perf_counter``.
    """

    def __init__(self, device: torch.device, clock: Clock | None = None) -> None:
        self._event = None
        if device.type == "cuda":
            self._event = torch.cuda.Event(enable_timing=True)
            self._event.record(torch.cuda.current_stream(device))
        self._host = (clock or time.perf_counter)()

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


TURN = 0.1
"""Seconds that a turn of a function lasts at least: other programs interrupt long turns, but seldom short ones."""


def median_seconds(functions: Mapping[str, Callable[[], object]], device: torch.device, turns: int) -> dict[str, float]:
    """Return the seconds of a call of each function: medians over turns, see :func:`seconds_in_turns`."""
    return {name: statistics.median(seconds) for name, seconds in seconds_in_turns(functions, device, turns).items()}


def seconds_in_turns(
    functions: Mapping[str, Callable[[], object]],
    device: torch.device,
    turns: int,
    turn: float = TURN,
    clock: Clock | None = None,
) -> dict[str, list[float]]:
    """Return the seconds of a call of each function in each of its turns, so that what disturbs one disturbs all.

    Each turn begins with a call that is not timed: it warms the caches, which what ran before has filled with something
    else. On CUDA nothing waits within a turn or between turns.

    Args:
        functions: What to call, by name.
        device: That they run on.
        turns: Of each function.
        turn: Seconds that a turn lasts, if it is not one call.
        clock: See :class:`Moment`.
    """
    calls = {}
    for name, function in functions.items():
        function()  # compiles
        calls[name] = max(1, round(turn / max(seconds_of(function, device), 1e-6)))
    spans: dict[str, list[tuple[Moment, Moment]]] = {name: [] for name in functions}
    for _ in range(turns):
        for name, function in functions.items():
            function()
            start = Moment(device, clock)
            for _ in range(calls[name]):
                function()
            spans[name].append((start, Moment(device, clock)))
    return {name: [end.seconds_since(start) / calls[name] for start, end in spans[name]] for name in spans}

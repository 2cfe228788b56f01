"""Ctrl-C and SIGTERM as a request to stop at the next good moment."""

from __future__ import annotations

import signal
import threading
import time
from types import FrameType
from typing import Any

from legged_gym_ext.processes.ranks import here

ECHO = 2.0
"""Seconds within which further signals are the same one to a rank, which may get it from torchrun and from who sent it
to torchrun."""


class StopRequest:
    """Context in which the first SIGINT or SIGTERM is noted in ``signal_name``, and a second one interrupts at once.

    Outside of the main thread, where Python takes no signal handlers, it does nothing.
    """

    def __init__(self) -> None:
        self.signal_name = ""
        """Name of the signal that asked to stop; empty while none did."""
        self._noted = 0.0
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> StopRequest:
        if threading.current_thread() is threading.main_thread():
            self._previous = {number: signal.signal(number, self._note) for number in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.signal_name:
            if here().size > 1 and time.monotonic() < self._noted + ECHO:
                return
            raise KeyboardInterrupt
        self.signal_name = signal.Signals(number).name
        self._noted = time.monotonic()
        if here().rank == 0:
            print(f"{self.signal_name}: stopping after this iteration (once more: at once, without saving)", flush=True)

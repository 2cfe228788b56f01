"""Ctrl-C and SIGTERM as a request to stop at the next good moment."""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Any


class StopRequest:
    """Context in which the first SIGINT or SIGTERM is noted in ``signal_name``, and a second one interrupts at once.

    Outside of the main thread, where Python takes no signal handlers, it does nothing.
    """

    def __init__(self) -> None:
        self.signal_name = ""
        """Name of the signal that asked to stop; empty while none did."""
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
            raise KeyboardInterrupt
        self.signal_name = signal.Signals(number).name
        print(f"{self.signal_name}: stopping after this iteration (once more: at once, without saving)", flush=True)

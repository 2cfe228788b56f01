"""Ctrl-C, SIGTERM and the end of the terminal as a request to stop at the next good moment."""

from __future__ import annotations

import signal
import threading
import time
from types import FrameType
from typing import Any

from legged_gym_ext.console import say
from legged_gym_ext.processes.ranks import here

ECHO = 2.0
"""Seconds within which further signals are the same one to a rank, which may get it from torchrun and from who sent it
to torchrun."""


_STOP = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class StopRequest:
    """Context in which the first signal that asks to stop is noted in ``signal_name``; a second one interrupts at once.

    These are SIGINT, SIGTERM and SIGHUP; one that is ignored (``nohup``) stays ignored. Outside of the main thread,
    where Python takes no signal handlers, it does nothing.
    """

    def __init__(self) -> None:
        self.signal_name = ""
        """Name of the signal that asked to stop; empty while none did."""
        self._noted = 0.0
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> StopRequest:
        if threading.current_thread() is threading.main_thread():
            taken = [number for number in _STOP if signal.getsignal(number) is not signal.SIG_IGN]
            self._previous = {number: signal.signal(number, self._note) for number in taken}
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
            say(f"{self.signal_name}: stopping after this iteration (once more: at once, without saving)")

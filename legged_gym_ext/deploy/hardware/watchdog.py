"""A thread that stops the robot when the loop's thread does not."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable

from legged_gym_ext.deploy.hardware.clock import Clock


class Watchdog:
    """Context in which ``stop`` is called, again and again, once the loop has given no sign of life for a while.

    It helps where the loop waits: for a policy that does not come back, a blocked terminal, a disk. Where the whole
    process stands still or is gone, only the robot's own watchdog is left.

    Args:
        stop: Called from the watchdog's thread.
        clock: The loop's.
        limit: s without a sign of life.
    """

    def __init__(self, stop: Callable[[], None], clock: Clock, limit: float) -> None:
        self.fired = ""
        """Why it stopped the robot; empty if it did not."""
        self._stop, self._clock, self._limit = stop, clock, limit
        self._armed = False
        self._last = 0.0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)

    def alive(self) -> None:
        """Give a sign of life."""
        self._last = self._clock.now()

    def arm(self) -> None:
        """Begin to watch: from now on something is sent that must not stay as it is."""
        self.alive()
        self._armed = True

    def __enter__(self) -> Watchdog:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._over.wait(self._limit / 4):
            silence = self._clock.now() - self._last
            if self._armed and silence > self._limit:
                with contextlib.suppress(Exception):
                    self._stop()
                self.fired = self.fired or f"the loop has stood still for more than {self._limit:g} s"

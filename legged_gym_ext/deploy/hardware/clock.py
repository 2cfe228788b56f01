"""The time that the loop goes by. Tests have a clock of their own."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """A clock that never goes back, s."""

    def now(self) -> float:
        """Return the time."""
        ...

    def sleep_until(self, deadline: float) -> None:
        """Return at that time, or at once if it has passed."""
        ...


class MonotonicClock:
    """The system's."""

    def now(self) -> float:
        """Return the time."""
        return time.monotonic()

    def sleep_until(self, deadline: float) -> None:
        """Return at that time, or at once if it has passed."""
        while (left := deadline - time.monotonic()) > 0:
            time.sleep(left)

"""Times parts of a running program from outside, so that shares come from one and the same run."""

from __future__ import annotations

import time
from collections import defaultdict
from typing import Any


class Stopwatch:
    """Adds up the seconds spent in the methods that it is told to watch."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)

    def watch(self, owner: Any, method: str, label: str) -> None:
        """Time every call of ``owner.method`` under ``label``. A part that lies inside another counts in both."""
        original = getattr(owner, method)

        def timed(*args: Any, **kwargs: Any) -> Any:
            start = time.perf_counter()
            try:
                return original(*args, **kwargs)
            finally:
                self.seconds[label] += time.perf_counter() - start

        setattr(owner, method, timed)

    def clear(self) -> None:
        """Forget what was measured; go on watching."""
        self.seconds.clear()

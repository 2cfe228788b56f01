"""What a long program tells on its console, which may be gone before the program is done."""

from __future__ import annotations

import os
import sys


def say(text: str) -> None:
    """Print ``text`` at once. Where nobody is there to read it any more, it and all that follows go nowhere.

    A terminal that is closed or a pipe whose reader has ended would otherwise end a training that nobody stopped.
    """
    try:
        print(f"{text}\n", end="", flush=True)  # in one piece: there are threads that say something, too
    except OSError:
        leave()


def leave() -> None:
    """Write to nowhere what would go to the console."""
    sys.stdout = sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115  # to the end

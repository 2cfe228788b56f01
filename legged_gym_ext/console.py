"""What a long program tells on its console, which may be gone before the program is done."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:  # imported where there is a terminal
    from rich.console import RenderableType
    from rich.live import Live

PAUSE = 0.1
"""Least seconds between two drawings of a board."""


def say(text: str) -> None:
    """Print ``text`` at once. Where nobody is there to read it any more, it and all that follows go nowhere.

    A terminal that is closed or a pipe whose reader has ended would otherwise end a training that nobody stopped, and
    so would a letter that the terminal's encoding lacks.
    """
    try:
        print(f"{encodable(text)}\n", end="", flush=True)  # in one piece: there are threads that say something, too
    except OSError:
        leave()


def leave() -> None:
    """Write to nowhere what would go to the console."""
    sys.stdout = sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115  # to the end


class Board:
    """Something at the bottom of the terminal that is drawn anew in its place; lines that are printed stand above it.

    Where standard output is no terminal, or one that cannot do that, or once anything goes wrong, it is not there.
    The cursor stays visible and no thread draws, so a program that is killed leaves a terminal as it should be.
    """

    def __init__(self) -> None:
        self._live: Live | None = None
        self._broken = False
        self._drawn = 0.0

    def show(self, make: Callable[[], RenderableType], at_once: bool = False) -> bool:
        """Draw what ``make`` returns; return whether the board is there, else it is to be told in lines.

        Args:
            make: Is not called where the last drawing is so short ago that nobody would see a difference.
            at_once: Draw it nevertheless.
        """
        try:
            if self._broken or not self._open():
                return False
            assert self._live
            if at_once or time.monotonic() >= self._drawn + PAUSE:
                self._live.update(make(), refresh=True)
                self._drawn = time.monotonic()
        except Exception:  # whatever a terminal or a locale may do: it is no reason to end
            self._broken = True
            self.close()
        return not self._broken

    def close(self) -> None:
        """Leave what was drawn last where it is, and go on below."""
        live, self._live = self._live, None
        if live:
            with contextlib.suppress(Exception):  # the terminal is gone
                live.stop()

    def _open(self) -> bool:
        """Return whether there is a board, after making one where that can be."""
        if not (_standard_output().isatty() and _in_foreground()):
            self.close()
        elif self._live is None:
            from rich.console import Console
            from rich.live import Live

            class Careful(Console):
                def on_broken_pipe(self) -> None:  # rich's ends the program
                    raise BrokenPipeError

            console = Careful(file=sys.stdout, force_jupyter=False, highlight=False, markup=False, emoji=False)
            if console.is_interactive:  # not where TERM=dumb
                proxied = sys.stderr.isatty()
                self._live = Live(console=console, auto_refresh=False, redirect_stderr=proxied)
                self._live.start()
                console.show_cursor(True)
        return self._live is not None


def encodable(text: str) -> str:
    """Return ``text`` with letters that standard output cannot write as their numbers."""
    encoding = getattr(_standard_output(), "encoding", None) or "utf-8"
    return text.encode(encoding, "backslashreplace").decode(encoding)


def _standard_output() -> TextIO:
    """Return standard output itself, for which a stand-in of rich's is where there is a board."""
    return getattr(sys.stdout, "rich_proxied_file", sys.stdout)


def _in_foreground() -> bool:
    """Return whether the terminal is this program's, and not that of a shell which runs it in the background."""
    try:
        return os.tcgetpgrp(sys.stdout.fileno()) == os.getpgrp()
    except OSError:  # it is the controlling terminal of nobody here
        return True

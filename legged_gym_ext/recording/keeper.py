"""One thread that writes to one log, whatever becomes of that: the training neither waits for it nor ends with it."""

from __future__ import annotations

import threading
import time
from collections import deque
from typing import Protocol

from legged_gym_ext.console import say
from legged_gym_ext.errors import reason_of
from legged_gym_ext.recording.entries import KEPT, Entry, Scalars, step_of


class Sink(Protocol):
    """A place that a log is written to. All calls come from one thread, but for :meth:`abandon`."""

    name: str
    """For the console."""
    settles: float
    """Seconds after which what was written is safe, whatever happens to the sink; what is younger is written again."""
    retry: float
    """Seconds between attempts while it fails."""

    def open(self) -> None:
        """Begin, or begin again after a failure."""
        ...

    def write(self, entry: Entry) -> None:
        """Write an entry.

        Raises:
            Unwritable: Of this entry something had to be left out.
            Exception: The sink fails; it is abandoned, and opened again later.
        """
        ...

    def close(self) -> None:
        """End, when all is written."""
        ...

    def abandon(self) -> None:
        """Let go of it at once; never raises, never waits."""
        ...


class Unwritable(Exception):
    """What had to be left out of an entry, and why."""


class Keeper:
    """Writes entries to a sink; while that fails, keeps the newest ones (KEPT), and tries again.

    A line tells when recording stops, and when it goes on; what was kept is written then.
    """

    def __init__(self, sink: Sink) -> None:
        self.sink = sink
        self._waiting: deque[Entry] = deque()
        self._written: deque[tuple[float, Entry]] = deque()
        """What may have to be written again, with when it was written."""
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name=f"log: {sink.name}", daemon=True)
        self._open = self._failed = self._closing = self._given_up = False

    def put(self, entry: Entry) -> None:
        """Have an entry written; returns at once."""
        with self._changed:
            self._waiting.append(entry)
            same = [other for other in self._waiting if type(other) is type(entry)]
            if len(same) > KEPT[type(entry)]:
                self._waiting.remove(same[0])
            self._changed.notify_all()
            if self._thread.ident is None:
                self._thread.start()

    def drain(self, patience: float) -> bool:
        """Wait until all is written, or for so many seconds; return whether it is."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._waiting, patience)

    def close(self, patience: float) -> None:
        """Have all written, and end; where that takes longer than so many seconds, end without."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        if self._thread.ident is not None:
            self._thread.join(patience)
            if self._thread.is_alive():
                self._given_up = True
                say(f"{self.sink.name}: did not end within {patience:.0f} s; what is not written yet is not recorded")
        self.sink.abandon()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._closing)
                entry = self._waiting[0] if self._waiting else None
            before = self._failed
            try:
                if entry is not None:
                    self._write(entry)
                    continue
                if self._open:
                    self.sink.close()
                return
            except Exception as error:  # whatever a service, a disk or a library comes up with
                if self._given_up:
                    return
                self._fail(error)
            if self._closing and before:  # the last attempt
                if steps := self._steps():
                    say(f"{self.sink.name}: ended with {steps} steps that could not be recorded")
                return
            with self._changed:
                self._changed.wait_for(lambda: self._closing, self.sink.retry)

    def _write(self, entry: Entry) -> None:
        """Write an entry and forget it."""
        if not self._open:
            self.sink.open()
            self._open = True
        try:
            self.sink.write(entry)
        except Unwritable as wrong:
            say(f"{self.sink.name}: left out {wrong}")
        if self._failed:
            say(f"{self.sink.name}: recorded again, with the {self._steps()} steps that were kept")
            self._failed = False
        now = time.monotonic()
        with self._changed:
            if self._waiting and self._waiting[0] is entry:  # else it was dropped meanwhile
                self._waiting.popleft()
            self._written.append((now, entry))
            while self._written and self._written[0][0] < now - self.sink.settles:
                self._written.popleft()
            self._changed.notify_all()

    def _fail(self, error: Exception) -> None:
        """Note that the sink fails; what it was given lately may be lost with it."""
        self.sink.abandon()
        since = time.monotonic() - self.sink.settles
        with self._changed:
            self._waiting.extendleft(entry for when, entry in reversed(self._written) if when >= since)
            self._written.clear()
        if not self._failed:
            say(f"{self.sink.name}: not recorded ({reason_of(error)}); work goes on, and so do attempts")
        self._open, self._failed = False, True

    def _steps(self) -> int:
        """Return how many iterations wait; one may have several entries: what its pictures took comes by itself."""
        with self._changed:  # the training goes on putting entries there
            return len({step_of(entry) for entry in self._waiting if isinstance(entry, Scalars)})

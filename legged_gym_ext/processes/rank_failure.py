"""What happens when a rank fails: all end, with one line, and rank 0 saves what it can."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from datetime import timedelta
from types import FrameType, TracebackType
from typing import Any, NoReturn

import torch
import torch.distributed as dist

from legged_gym_ext.errors import UserError, exit_code_and_line
from legged_gym_ext.processes import collectives
from legged_gym_ext.processes.group import gloo_group
from legged_gym_ext.processes.ranks import here

_ALWAYS = timedelta(days=365)
_CAUSE = "cause"
"""Key of the launcher's store under which the first failure is, "<exit code> <line>"."""
_CAUSE_WITHIN = 2.0
"""Seconds from a broken collective to the cause of it."""
_ERROR_WITHIN = 0.5
"""Seconds from another rank's end to the error that a collective raises where it does; else the ring interrupts."""
_END_WITHIN = 45.0
"""Seconds from another rank's end to this one's, whatever it is stuck in."""


class RankLost(Exception):
    """Raised in the main thread, wherever it is, when another rank is gone."""


class FailureWatch:
    """Context in which ranks end together when one of them fails.

    The ranks form a ring in which each waits for a word from the next one. The system closes the connections of a
    process that ends, however it ends, so the one before it notices at once, writes the cause to the launcher's store
    unless the failed rank did so itself, and passes the news on. Each rank then leaves whatever it is doing: a gloo
    collective raises when a peer is gone; an NCCL collective would wait, so the group is aborted. Rank 0 runs what
    :func:`on_failure` was given, prints one line, and all exit.

    Args:
        store: The launcher's, in which the first failure is noted.
    """

    def __init__(self, store: Any) -> None:
        self.rescue: Callable[[], str] | None = None
        self._store = store
        self._lost = self._ending = False
        self._noticed_loss_of_first = False

    def __enter__(self) -> FailureWatch:
        global _watching
        ranks = here()
        self._ring = gloo_group(_ALWAYS)
        self._next, self._previous = (ranks.rank + 1) % ranks.size, (ranks.rank - 1) % ranks.size
        self._ring_store = self._store.clone()  # one connection serves one thread at a time
        signal.signal(signal.SIGUSR1, self._interrupt)
        for number in (signal.SIGTERM, signal.SIGHUP):  # a last line rather than sudden death
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, signal.default_int_handler)
        self._main_thread = threading.get_ident()
        self._watch = threading.Thread(target=self._watch_ring, daemon=True)
        self._watch.start()
        _watching = self
        return self

    def __exit__(self, _: type[BaseException] | None, error: BaseException | None, __: TracebackType | None) -> None:
        # Late ones; when a rank is gone, torchrun sends them to all.
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        if error is not None:
            self._fail(error)
        try:
            collectives.barrier()
            dist.send(torch.zeros(1), self._previous, group=self._ring)
            self._watch.join()
        except Exception as late:
            self._fail(late)
        dist.destroy_process_group()

    def _watch_ring(self) -> None:
        """Wait for the next rank's word: 0 = it is done, 1 = some rank is lost."""
        word = torch.zeros(1)
        try:
            dist.recv(word, self._next, group=self._ring)
        except RuntimeError:  # its connections are closed
            word.fill_(1)
            self._noticed_loss_of_first = self._next == 0
            killed = f"1 error: rank {self._next} is gone without a word: killed, perhaps for want of memory"
            with contextlib.suppress(RuntimeError):
                self._ring_store.compare_set(_CAUSE, "", killed)
        if word:
            with contextlib.suppress(RuntimeError):  # the previous one may be the lost one
                dist.send(word, self._previous, group=self._ring)
            last_resort = threading.Timer(_END_WITHIN, os._exit, [1])
            last_resort.daemon = True
            last_resort.start()
            with contextlib.suppress(RuntimeError):
                dist.group.WORLD.abort()  # type: ignore[union-attr]
            time.sleep(_ERROR_WITHIN)
            self._lost = True
            signal.pthread_kill(self._main_thread, signal.SIGUSR1)

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        if self._lost and not self._ending:
            raise RankLost

    def _fail(self, error: BaseException) -> NoReturn:
        """End this process because of ``error``, which is this rank's own or comes of another's end."""
        self._ending = True
        cause, own = self._agree_on_cause(error)
        code, _, line = cause.partition(" ")
        if own and code == "1":
            traceback.print_exception(error)
        if here().rank == 0 and self.rescue is not None and not isinstance(error, KeyboardInterrupt):
            line += f"; {self.rescue()}"
        if line and (here().rank == 0 or self._noticed_loss_of_first) and self._is_first_to("tell"):
            print(line, file=sys.stderr)
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(int(code))  # the usual way out would wait for connections that are gone

    def _agree_on_cause(self, error: BaseException) -> tuple[str, bool]:
        """Return the first failure of all ranks', "<exit code> <line>", and whether it is this rank's."""
        rank = here().rank
        # What the user did wrong is mostly wrong on all ranks: the number of the first one would only confuse.
        code, line = exit_code_and_line(error, "" if rank == 0 and isinstance(error, UserError) else f"rank {rank}: ")
        mine = f"{code} {line}"
        try:
            if isinstance(error, RankLost | RuntimeError):  # the latter may come of a collective that broke
                until = time.monotonic() + _CAUSE_WITHIN
                while time.monotonic() < until and not self._store.check([_CAUSE]):
                    time.sleep(0.05)
            cause = self._store.compare_set(_CAUSE, "", mine).decode()
        except RuntimeError:  # the launcher is gone
            cause = mine
        return cause, cause == mine

    def _is_first_to(self, what: str) -> bool:
        try:
            return self._store.add(what, 1) == 1
        except RuntimeError:  # the launcher is gone
            return True


_watching: FailureWatch | None = None


def on_failure(rescue: Callable[[], str]) -> None:
    """Have rank 0 call ``rescue`` when a rank fails; it returns what to tell of it, and must not raise."""
    if _watching is not None:
        _watching.rescue = rescue

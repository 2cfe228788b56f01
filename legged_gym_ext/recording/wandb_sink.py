"""The log in Weights & Biases, by way of a process of its own (wandb_process.py)."""

from __future__ import annotations

import contextlib
import dataclasses
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from typing import IO

from legged_gym_ext.console import say
from legged_gym_ext.processes.children import environment
from legged_gym_ext.recording.entries import Entry
from legged_gym_ext.recording.keeper import Unwritable
from legged_gym_ext.recording.wandb_start import LEAST_SPACE, Close, Done, Failed, Opened, Reply, Request, Start

PATIENCE = 300.0
"""Seconds to wait for an answer; at the end, where files may have to be uploaded:"""
FINISH_PATIENCE = 300.0


class WandbSink:
    """A W&B run, which is begun again, with the same id, when the process that writes it has ended.

    Where there is no login or no network, it is recorded offline, and a line says how to upload it.

    Args:
        start: Makes up what the run is made of, each time it is begun.
        opened: Told what came of that.
    """

    name, settles, retry = "W&B", 10.0, 30.0

    def __init__(self, start: Callable[[], Start], opened: Callable[[Opened], None] = lambda _: None) -> None:
        self._start, self._opened = start, opened
        self._process: subprocess.Popen[bytes] | None = None
        self._connection: Connection | None = None
        self._errors: IO[bytes] | None = None
        self._where: Opened | None = None
        self._told: tuple[bool, str] | None = None
        self._offline_because = ""

    def open(self) -> None:
        """Begin the run.

        Raises:
            OSError: It can be begun neither online nor offline.
        """
        start = self._start()
        _require_space(start.folder)
        offline = start.offline or bool(self._offline_because)  # a network that was away is not waited for twice
        try:
            self._where = self._begin(dataclasses.replace(start, offline=offline))
        except OSError as error:
            if offline:
                raise
            self._offline_because = " ".join(str(error).split()).rstrip(".")
            self.abandon()
            self._where = self._begin(dataclasses.replace(start, offline=True))
        self._tell(start.folder, self._where)
        self._opened(self._where)

    def write(self, entry: Entry) -> None:
        """Write an entry.

        Raises:
            Unwritable: Something had to be left out.
            OSError: The process does not do it.
        """
        reply = self._ask(entry, PATIENCE)
        if isinstance(reply, Done) and reply.left_out:
            raise Unwritable(reply.left_out)

    def close(self) -> None:
        """End the run, and wait for its upload."""
        if self._where is not None and not self._where.offline:
            say("W&B: finishing the upload")
        try:
            reply = self._ask(Close(), FINISH_PATIENCE)
        except TimeoutError as error:
            reply = Done(str(error))
        if isinstance(reply, Done) and reply.left_out:
            command = f"{sync_command(self._where.folder)} --include-online" if self._where else "wandb sync"
            say(f"W&B: not all is uploaded ({reply.left_out}); to upload the rest: {command}")
        self.abandon()

    def abandon(self) -> None:
        """End the process at once; W&B's service ends with it."""
        process, connection, errors = self._process, self._connection, self._errors
        self._process = self._connection = self._errors = None
        for each in (connection, errors):
            if each is not None:
                with contextlib.suppress(OSError):
                    each.close()
        if process is not None:
            process.kill()
            process.wait()

    def _begin(self, start: Start) -> Opened:
        ours, theirs = Pipe()
        self._connection, self._errors = ours, tempfile.TemporaryFile()  # noqa: SIM115  # closed when the process is let go of
        command = [sys.executable, "-m", "legged_gym_ext.recording.wandb_process", str(theirs.fileno())]
        with theirs:
            self._process = subprocess.Popen(
                command,
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=self._errors,
                env=environment(),
                start_new_session=True,  # Ctrl-C is for the training
            )
        reply = self._ask(start, PATIENCE)
        assert isinstance(reply, Opened)
        return reply

    def _ask(self, request: Request, patience: float) -> Reply:
        """Send a request and return the answer.

        Raises:
            OSError: There is none, or it is that something failed.
        """
        connection = self._connection
        if connection is None:
            raise ConnectionError("its process is gone")
        try:
            connection.send(request)
            if not connection.poll(patience):
                raise TimeoutError(f"no answer within {patience:.0f} s")
            reply = connection.recv()
        except TimeoutError:
            raise
        except (EOFError, OSError):
            raise ConnectionError(f"its process has ended{self._last_words()}") from None
        if isinstance(reply, Failed):
            raise _Refused(reply.reason)
        return reply

    def _last_words(self) -> str:
        """Return the last line that the process had to say."""
        with contextlib.suppress(OSError, ValueError, AttributeError):
            assert self._errors is not None
            self._errors.seek(0)
            lines = self._errors.read()[-5000:].decode(errors="replace").split("\n")
            return next((f": {line.strip()}" for line in reversed(lines) if line.strip()), "")
        return ""

    def _tell(self, folder: Path, where: Opened) -> None:
        """Say where the run is recorded, if that is news."""
        if self._told == (news := (where.offline, where.url)):
            return
        self._told = news
        if not where.offline:
            say(f"W&B: {where.url or 'recording is disabled by its own settings'}")
            return
        why = f" ({self._offline_because})" if self._offline_because else ""
        say(f"W&B: kept offline{why} in {folder / 'wandb'}; to upload it: {sync_command(where.folder)}")


class _Refused(OSError):
    """The process is there, and says that it cannot do something."""


def sync_command(folder: Path) -> str:
    """Return what a user types to upload a run's files; a run that was begun again has several folders."""
    begin = folder.name.rpartition("run-")[0] + "run-"
    return f"wandb sync {shlex.quote(str(folder.parent))}/{begin}*"


def _require_space(folder: Path) -> None:
    """Raise an OSError where there is no room for even the beginning of a run."""
    existing = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if shutil.disk_usage(existing).free < LEAST_SPACE:
        raise OSError("No space left on device")

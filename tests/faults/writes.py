"""Trainings whose writes fail at random: checkpoints and the log."""

from __future__ import annotations

import errno
import io
import os
import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import small_training
from tensorboard.summary.writer.record_writer import RecordWriter

from legged_gym_ext.learning import saving
from legged_gym_ext.runs import atomic

_ERRORS = (errno.ENOSPC, errno.EIO, errno.EDQUOT, errno.EROFS)


def training(logs: Path, undisturbed: Path, dice: random.Random) -> Counter[str]:
    """Train to the end while writes fail, and return how many did.

    Where even the run's folder cannot be made, the training is refused in one line and leaves nothing; another begins.

    Raises:
        AssertionError: The training ended otherwise than it should, or something was lost.
    """
    log = logs.with_suffix(".failures")
    while True:
        # What the other process draws, this one's dice do not see.
        number = small_training.start(logs, _failing(log, random.Random(dice.getrandbits(64))))
        code = os.WEXITSTATUS(os.waitpid(number, 0)[1])
        told = (logs / "console").read_text()
        assert code in (0, 2) and "Traceback" not in told and "enforce" not in told, told[-3000:]
        if code == 0:
            break
        assert not list(logs.glob("*/*")) and told.count("\n") == 1 and "cannot write" in told, told[-3000:]
        (logs / "console").unlink()
    newest = small_training.newest_checkpoint(logs)
    assert newest is not None and not small_training.differences(newest, undisturbed), newest
    assert not (left := small_training.leftovers(logs)), left
    return Counter(log.read_text().split("\n")[:-1])


def _failing(log: Path, dice: random.Random) -> Callable[[], None]:
    """Return what lets a process's writes fail, as the ``dice`` have it, and notes each in the ``log``."""

    def prepare() -> None:
        saving.PATIENCE, saving.RETRY = 60.0, 0.0
        failures = log.open("a")

        def may_fail(what: str, probability: float) -> None:
            if dice.random() < probability:
                number = dice.choice(_ERRORS)
                print(what, errno.errorcode[number], file=failures, flush=True)
                raise OSError(number, os.strerror(number))

        class Failing(io.BufferedRandom):
            def write(self, content: object) -> int:
                may_fail("checkpoint", 0.003)
                return super().write(content)  # type: ignore[arg-type]

        nameless, write, link = atomic._nameless, RecordWriter.write, os.link

        def failing_nameless(folder: Path) -> io.BufferedRandom | None:
            file = nameless(folder)
            return None if file is None else Failing(io.FileIO(os.dup(file.fileno()), "w+"))

        def failing_write(self: RecordWriter, data: bytes) -> None:
            may_fail("log", 0.003)
            write(self, data)

        def failing_link(*args: object, **kwargs: object) -> None:
            may_fail("name", 0.1)
            link(*args, **kwargs)  # type: ignore[arg-type]

        atomic._nameless, RecordWriter.write, os.link = failing_nameless, failing_write, failing_link  # type: ignore[assignment]

    return prepare

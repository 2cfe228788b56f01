"""Trainings that are killed at random moments, resumed each time, and compared with one that was left alone."""

from __future__ import annotations

import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import small_training
from small_training import ITERATIONS

from legged_gym_ext.runs import atomic

GRACEFUL = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_SAVING = ("fsync", "link", "close")
"""Calls of the system within a save before which, or after which, a process may be killed."""


def reference(logs: Path) -> tuple[Path, float]:
    """Return the last checkpoint of an undisturbed training, and how long one takes, s.

    Raises:
        AssertionError: Two of them differ.
    """
    first, _ = _undisturbed(logs / "first")  # which also compiles, in a fresh clone
    again, seconds = _undisturbed(logs / "again")
    assert not (wrong := small_training.differences(again, first)), f"without a kill, {wrong[:5]} differ"
    return first, seconds


def _undisturbed(logs: Path) -> tuple[Path, float]:
    """Train to the end, and return the last checkpoint and how long that took, s."""
    began = time.monotonic()
    _, status = os.waitpid(small_training.start(logs), 0)
    assert status == 0, (logs / "console").read_text()
    newest = small_training.newest_checkpoint(logs)
    assert newest is not None and newest.name == f"model_{ITERATIONS}.pt"
    return newest, time.monotonic() - began


def chain(logs: Path, undisturbed: Path, seconds: float, dice: random.Random) -> Counter[str]:
    """Train to the end through kills, and return how many of which there were.

    Args:
        logs: Folder of this training's runs.
        undisturbed: The last checkpoint of a training that was left alone.
        seconds: How long that took.
        dice: Decides when and how.

    Raises:
        AssertionError: Something was lost.
    """
    counts: Counter[str] = Counter()
    while True:
        before = small_training.newest_checkpoint(logs)
        how = dice.choice(["SIGKILL", "SIGKILL", "in a save", "in a save", "SIGSTOP", *(s.name for s in GRACEFUL)])
        number = small_training.start(logs, _killing_itself(dice) if how == "in a save" else lambda: None)
        status = _disturb(number, how, dice.uniform(0, 1.2 * seconds), dice)
        after = small_training.newest_checkpoint(logs)  # asserts that none is damaged
        assert not (left := small_training.leftovers(logs)), f"{how} left {left}"
        assert before is None or (after is not None and _number(after) >= _number(before)), f"{how} lost a checkpoint"
        if os.WIFSIGNALED(status):
            counts[how] += 1
        else:
            code = os.WEXITSTATUS(status)
            assert code in (0, 130), (logs / "console").read_text()[-3000:]
            counts[how if how == "SIGSTOP" or (after and _number(after) < ITERATIONS) else "too late"] += 1
        if after is not None and _number(after) == ITERATIONS:
            assert not (wrong := small_training.differences(after, undisturbed)), f"{wrong[:5]} differ"
            return counts


def _disturb(number: int, how: str, delay: float, dice: random.Random) -> int:
    """Let the process have its accident, and return its exit status."""
    until = time.monotonic() + delay
    while how != "in a save" and time.monotonic() < until:
        done, status = os.waitpid(number, os.WNOHANG)
        if done:
            return status
        time.sleep(0.005)
    if how == "SIGSTOP":
        os.kill(number, signal.SIGSTOP)
        time.sleep(dice.uniform(0, 0.5))
        os.kill(number, signal.SIGCONT)
    elif how != "in a save":
        os.kill(number, getattr(signal, how))
    return os.waitpid(number, 0)[1]


def _killing_itself(dice: random.Random) -> Callable[[], None]:
    """Return what makes a process kill itself at some moment of some save."""
    call, early, times = dice.choice(_SAVING), dice.random() < 0.5, dice.randint(1, 4)

    def prepare() -> None:
        usual, left = getattr(os, call), [times]

        def wrapped(*args: object, **kwargs: object) -> object:
            if call == "close" or args:
                left[0] -= 1
            if early and left[0] <= 0:
                os.kill(os.getpid(), signal.SIGKILL)
            result = usual(*args, **kwargs)
            if left[0] <= 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return result

        class System:
            """The module os, in which one function kills."""

            def __getattr__(self, name: str) -> object:
                return wrapped if name == call else getattr(os, name)

        atomic.os = System()

    return prepare


def _number(path: Path) -> int:
    return int(path.stem.partition("_")[2])

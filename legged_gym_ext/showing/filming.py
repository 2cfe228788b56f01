"""Having films made beside the training: one process at a time, which may fail or be killed and harms nothing."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from legged_gym_ext.config.files import save_config
from legged_gym_ext.config.schema import Config
from legged_gym_ext.console import say
from legged_gym_ext.errors import UserError
from legged_gym_ext.processes.children import environment
from legged_gym_ext.recording.media import Video
from legged_gym_ext.runs.checkpoint import save_checkpoint
from legged_gym_ext.runs.folder import CONFIG_FILE, checkpoint_name
from legged_gym_ext.showing.job import ERRORS, Film, Job, got_on, read_rates, unfinished

PATIENCE, LONGEST = 120.0, 600.0
"""Seconds for which the end of a training waits for its last films: while they do not get on, and in all. A machine on
which others work leaves them little, for they have the lowest priority."""
_LOOK = 0.5  # s from one look at whether they do to the next
PROGRAM = (sys.executable, "-m", "legged_gym_ext.showing.film")
_ONE_THREAD = dict.fromkeys(
    (
        *("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"),
        "LP_NUM_THREADS",  # of Mesa, where it draws without a GPU
    ),
    "1",
)


@dataclass
class _Running:
    """Films that are being made."""

    iteration: int
    job: Job
    process: subprocess.Popen[bytes]
    folder: tempfile.TemporaryDirectory[str]
    ended: bool = False
    """Whether it was ended from here."""


class Filming:
    """Starts the process that films, and looks whether it is done. It waits for nothing but where it says so."""

    def __init__(self) -> None:
        self._running: _Running | None = None
        self._told = ""

    @property
    def busy(self) -> bool:
        """Whether films are being made, or wait to be collected."""
        return self._running is not None

    def begin(
        self, iteration: int, config: Config, content: Mapping[str, Any], films: Mapping[str, Film], seconds: float
    ) -> None:
        """Have films made; where they cannot be, a line says so. There must be none under way.

        Args:
            iteration: Whose films.
            config: Of the training.
            content: Of a checkpoint, on the CPU: networks are enough.
            films: By policy.
            seconds: Length of each.
        """
        assert self._running is None
        folder = None
        try:
            for film in films.values():
                for stale in Path(film.path).parent.glob(unfinished(Path("*.mp4")).name):  # the machine went down
                    stale.unlink(missing_ok=True)
            folder = tempfile.TemporaryDirectory(prefix="film-", ignore_cleanup_errors=True)
            place, job = Path(folder.name), Job(os.getpid(), seconds, films)
            save_config(config, place / CONFIG_FILE)
            save_checkpoint(dict(content), place / checkpoint_name(iteration))
            job.write(place)
            with (place / ERRORS).open("wb") as errors:
                process = subprocess.Popen(
                    [*PROGRAM, folder.name],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=errors,
                    env=environment(**_ONE_THREAD, CUDA_VISIBLE_DEVICES=""),  # no GPU to compute on
                    # Not a session of its own: Ctrl-C does not reach it either, and the scheduler goes on to compare
                    # its priority with the training's.
                    process_group=0,
                )
        except (OSError, UserError) as error:
            self._tell(iteration, str(error))
            if folder is not None:
                folder.cleanup()
            return
        self._running = _Running(iteration, job, process, folder)

    def collect(self) -> tuple[int, list[Video]]:
        """Return an iteration and its films that are ready, and tell why others are not; none while they are made."""
        running = self._running
        if running is None or running.process.poll() is None:
            return 0, []
        self._running = None
        code = running.process.returncode
        place = Path(running.folder.name)
        rates = {}
        with contextlib.suppress(OSError, ValueError):
            rates = read_rates(place)
        if code != 0:
            late = "it was not ready when the training ended"
            self._tell(running.iteration, late if running.ended else _reason(code, place / ERRORS))
        else:
            self._told = ""
        _take_away_halves(running)
        paths = {policy: Path(film.path) for policy, film in running.job.films.items()}
        ready = [Video(f"Video/{policy}", paths[policy], rate) for policy, rate in rates.items()]
        return running.iteration, [film for film in ready if film.path.exists()]

    def wait(self) -> None:
        """Wait until films that are being made are done, while they get on; Ctrl-C: no longer."""
        running = self._running
        if running is None or running.process.poll() is not None:
            return
        say(f"waiting for the video of iteration {running.iteration}, {LONGEST:.0f} s at most (Ctrl-C ends that)")
        with contextlib.suppress(KeyboardInterrupt):
            _wait_while_it_gets_on(running)

    def end(self) -> None:
        """End what is still being made, and what it has started."""
        running = self._running
        if running is not None and running.process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(running.process.pid, signal.SIGKILL)
            running.process.wait()
            running.ended = True
            _take_away_halves(running)

    def _tell(self, iteration: int, reason: str) -> None:
        """Print a line, but not for the same reason as the last time."""
        if reason != self._told:
            say(f"no video of iteration {iteration}: {reason}")
        self._told = reason


def _wait_while_it_gets_on(running: _Running) -> None:
    """Wait until a process has ended, has not got on for :data:`PATIENCE`, or has had :data:`LONGEST`."""
    folder = Path(running.folder.name)
    now = time.monotonic()
    end, last, seen = now + LONGEST, now, got_on(folder)
    while (now := time.monotonic()) < min(end, last + PATIENCE):
        with contextlib.suppress(subprocess.TimeoutExpired):
            running.process.wait(_LOOK)
            return
        if (newest := got_on(folder)) != seen:
            last, seen = time.monotonic(), newest


def _take_away_halves(running: _Running) -> None:
    """Delete what a process that has ended had in hand."""
    for film in running.job.films.values():
        with contextlib.suppress(OSError):
            unfinished(Path(film.path)).unlink(missing_ok=True)
    running.folder.cleanup()


def _reason(code: int, errors: Path) -> str:
    """Return why the process ended."""
    if code < 0:
        return f"the process that films was ended by {signal.Signals(-code).name}"
    lines = []
    with contextlib.suppress(OSError):
        lines = errors.read_text("utf-8", "replace").strip().splitlines()
    return lines[-1].removeprefix("error: ")[:300] if lines else f"the process that films ended with exit code {code}"

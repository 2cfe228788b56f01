"""Whether a run is being trained right now: whoever trains it holds a lock on its configuration's file.

The system lets go of the lock when the process ends, however it ends.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path

from legged_gym_ext.runs.folder import CONFIG_FILE

_TRIES, _PAUSE = 20, 0.01
"""How often, and after how many seconds each, a training tries: somebody may just be looking whether it runs."""


@contextlib.contextmanager
def marked_as_running(folder: Path) -> Iterator[None]:
    """Hold the lock of the run in ``folder``, if the file system has locks."""
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError):
            descriptor = os.open(folder / CONFIG_FILE, os.O_RDONLY)
            stack.callback(os.close, descriptor)
            for _ in range(_TRIES):
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    time.sleep(_PAUSE)
        yield


def is_running(folder: Path) -> bool:
    """Return whether a process trains the run in ``folder``; of other machines', where the file system tells."""
    try:
        descriptor = os.open(folder / CONFIG_FILE, os.O_RDONLY)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # no locks here
        return False
    finally:
        os.close(descriptor)
    return False

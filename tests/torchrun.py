"""Starting several ranks as a user does."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from legged_gym_ext.paths import ROOT


def torchrun(*arguments: str | Path) -> subprocess.Popen[str]:
    """Start two ranks, in a process group of their own, on a port that nobody else has."""
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    return subprocess.Popen(
        [*launcher, *map(str, arguments)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": f"{ROOT}:{Path(__file__).parent}"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def finish(process: subprocess.Popen[str], timeout: float = 60) -> tuple[int, str, str]:
    """Return exit code, stdout and stderr; nothing may hang."""
    try:
        out, err = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        raise
    return process.returncode, out, err

"""The short form of ``make faults``."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

FAULTS = Path(__file__).parent / "faults"


@pytest.mark.slow
def test_trainings_that_are_killed_or_cannot_write_lose_nothing() -> None:
    command = [sys.executable, str(FAULTS), "--kills=8", "--writes=2", "--seed=3"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "nothing was lost" in done.stdout
    failed = re.search(r"2 trainings with (\d+) writes that failed", done.stdout)
    assert failed and int(failed[1]) > 0

"""The short form of ``make faults``."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

FAULTS = Path(__file__).parent / "faults"


@pytest.mark.slow
def test_nothing_is_lost_and_nothing_gets_in() -> None:
    command = [sys.executable, str(FAULTS), "--kills=6", "--writes=2", "--cases=40", "--seed=3"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stdout + done.stderr
    failed = re.search(r"2 trainings with (\d+) failing writes", done.stdout)
    assert failed and int(failed[1]) > 0
    assert done.stdout.count("each worked, or was refused in one line") == 5

"""The Python in which tests run Isaac Gym's side of the process boundary, with the double of Isaac Gym (doubles/)."""

from __future__ import annotations

import os
import sys
from pathlib import Path

_TOP = Path(__file__).resolve().parents[1]
DOUBLES = _TOP / "tests" / "doubles"
"""Folder to look for ``isaacgym`` in."""
_VENV = _TOP / ".venv38"
GYM_PYTHON = str(_VENV / "bin" / "python") if (_VENV / ".installed").exists() else sys.executable
"""That of ``make gym``, CPython 3.8 as Isaac Gym needs it; this one where there is none."""


def describe() -> str:
    """Return what the tests of Isaac Gym's worker run in, for the head of their report."""
    if sys.executable == GYM_PYTHON:
        return "Isaac Gym's worker: no .venv38 (make gym), so its tests run it in this Python, not in 3.8"
    return "Isaac Gym's worker: CPython 3.8 (.venv38)"


def gym_environment(**switches: str) -> dict[str, str]:
    """Return an environment in which GYM_PYTHON finds the double, with its switches (doubles/README.md)."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "ISAACGYM"))}
    return {**inherited, "PYTHONPATH": str(DOUBLES), **switches}

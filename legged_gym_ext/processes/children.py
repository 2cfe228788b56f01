"""Programs of this package that are started beside another one of its programs."""

from __future__ import annotations

import os
from pathlib import Path

_SOURCES = Path(__file__).resolve().parents[2]


def environment(**more: str) -> dict[str, str]:
    """Return this program's environment for another one that imports the same package, with ``more`` in it."""
    path = os.pathsep.join(filter(None, [str(_SOURCES), os.environ.get("PYTHONPATH")]))
    return {**os.environ, **more, "PYTHONPATH": path}

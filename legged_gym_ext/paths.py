"""Where files are: task configurations, robot descriptions and run folders.

In a checkout, ``configs/`` and ``resources/`` are beside the package; a wheel has them in it (see setup.py).
"""

import os
from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent
_FROM_WHEEL = (_PACKAGE / "configs").is_dir()
ROOT = _PACKAGE if _FROM_WHEEL else _PACKAGE.parent
"""The folder with ``configs/`` and ``resources/``: the checkout's top, or the installed package."""
CONFIGS = ROOT / "configs"
POLICIES = ROOT / "resources" / "policies"
"""The networks that come with the package, each in a run's folder."""
PRETRAINED = POLICIES / "parkour_depth"
LOGS = Path("logs") if _FROM_WHEEL else ROOT / "logs"
DOWNLOADS = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "legged_gym_ext" / "wandb"
"""Runs of others: ``<entity>/<project>/<run>/<version>/``."""


def resolve(path: str | Path) -> Path:
    """Return ``path`` itself where it is absolute or exists here, else the same path below :data:`ROOT`."""
    path = Path(path).expanduser()
    return path if path.is_absolute() or path.exists() else ROOT / path

"""Where a training runs, and with which code: written into its folder when it begins, for reports."""

from __future__ import annotations

import json
import platform
import shlex
import sys
from contextlib import suppress
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from legged_gym_ext.device.cpu import available_cores
from legged_gym_ext.errors import UserError
from legged_gym_ext.runs.atomic import write_file
from legged_gym_ext.runs.code_state import at_start, code_state

ORIGIN_FILE = "origin.json"
PACKAGES = ("legged_gym_ext", "torch", "mujoco", "mujoco-warp", "warp-lang", "rsl-rl-lib", "numpy")
"""Whose versions decide what a run learns."""
_CPUINFO = Path("/proc/cpuinfo")


def write_origin(folder: Path) -> None:
    """Write ``origin.json`` into a run's folder. That it cannot be written ends no training."""
    with suppress(UserError):
        write_file(folder / ORIGIN_FILE, json.dumps(origin(), indent=1) + "\n")


def read_origin(folder: Path) -> dict[str, Any]:
    """Return what :func:`write_origin` wrote; empty where there is nothing that can be read."""
    try:
        content = json.loads((folder / ORIGIN_FILE).read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def origin() -> dict[str, Any]:
    """Return the command, the machine, the versions, and the state of the code, as plain data."""
    return {
        "began": datetime.now().astimezone().isoformat(timespec="seconds"),
        "command": shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        "machine": {
            "system": f"{platform.system()} {platform.machine()}",
            "processor": _processor(),
            "cores": available_cores(),
            "gpus": _gpus(),
        },
        "versions": {"python": platform.python_version(), **installed_versions()},
        "code": code_state(at_start()),
    }


def installed_versions() -> dict[str, str]:
    """Return the versions of :data:`PACKAGES`; a package that is not installed (a checkout) is left out."""
    found = {}
    for package in PACKAGES:
        with suppress(PackageNotFoundError):
            found[package] = version(package)
    return found


def _processor() -> str:
    with suppress(OSError, UnicodeDecodeError):
        for line in _CPUINFO.read_text("utf-8").splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "model name":
                return value.strip()
    return platform.processor() or platform.machine()


def _gpus() -> list[str]:
    import torch

    return [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]

"""Too many environments for the memory: one clear line, where possible before anything is allocated."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from legged_gym_ext.errors import UserError

if TYPE_CHECKING:  # imported where it is used: see runs/settle.py
    import torch

_MEMINFO = Path("/proc/meminfo")
_CONTAINER = Path("/sys/fs/cgroup")  # as seen from within one (control groups, version 2)
_COPIES = 4  # of each weight, while it learns with Adam: itself, its gradient, and the gradient's two moments
_ALLOCATION = re.compile(r"out of memory|failed to allocate \d+ bytes|can't allocate memory", re.IGNORECASE)
"""What torch, Warp and CUDA say when an allocation fails."""


def require(what: str, bytes_per_env: int, num_envs: int, device: torch.device) -> None:
    """Raise :class:`UserError` if ``device`` has no room for ``num_envs`` environments' ``what``."""
    free = available(device)
    if free is not None and num_envs * bytes_per_env > free:
        raise UserError(
            f"env.num_envs: {what} of {num_envs} environments needs {_gigabytes(num_envs * bytes_per_env)}, but "
            f"{device} has {_gigabytes(free)} free; about {_round_down(free // bytes_per_env)} fit"
        )


def require_layers(key: str, widths: Sequence[int], device: torch.device) -> None:
    """Raise :class:`UserError` if ``device`` has no room for layers of these ``widths`` while they learn."""
    weights = sum(first * second for first, second in pairwise(widths))
    needed, free = 4 * _COPIES * weights, available(device)
    if free is not None and needed > free:
        raise UserError(
            f"{key}: layers of {', '.join(map(str, widths))} need {_gigabytes(needed)} to learn, but {device} has "
            f"{_gigabytes(free)} free; choose smaller ones"
        )


def available(device: torch.device) -> int | None:
    """Return the free memory of ``device`` in bytes, None where it is not known."""
    import torch

    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    found = re.search(r"MemAvailable:\s+(\d+) kB", _MEMINFO.read_text("utf-8")) if _MEMINFO.exists() else None
    machine = int(found[1]) * 1024 if found else None
    rooms = [room for room in (machine, _room_in_container()) if room is not None]
    return min(rooms, default=None)


def _room_in_container() -> int | None:
    """Return what is left of the container's memory, in bytes; None without a limit. Files' caches make way."""
    files = [_CONTAINER / name for name in ("memory.max", "memory.current", "memory.stat")]
    if not all(file.exists() for file in files):
        return None
    limit, used, details = (file.read_text("utf-8").strip() for file in files)
    if limit == "max":
        return None
    cached = re.search(r"^inactive_file (\d+)$", details, re.MULTILINE)
    return max(int(limit) - int(used) + (int(cached[1]) if cached else 0), 0)


@contextmanager
def guard(num_envs: int) -> Iterator[None]:
    """Turn a failed allocation of what ``num_envs`` environments need into a :class:`UserError`."""
    with _telling(f"env.num_envs: out of memory with {num_envs} environments; choose fewer (--num_envs)"):
        yield


@contextmanager
def guard_networks(num_envs: int) -> Iterator[None]:
    """Do that for networks and their rollouts."""
    with _telling(
        f"out of memory for the networks, or their rollouts with env.num_envs={num_envs}; choose smaller layers "
        "(teacher.hidden_dims, teacher.critic_hidden_dims, student.encoder) or fewer environments (--num_envs)"
    ):
        yield


@contextmanager
def _telling(line: str) -> Iterator[None]:
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, MemoryError) or _ALLOCATION.search(str(error)):
            raise UserError(line) from error
        raise


def _gigabytes(size: int) -> str:
    return f"{size / 1e9:,.1f} GB"


def _round_down(number: int) -> int:
    """Return ``number`` with two significant digits."""
    unit = 10 ** max(len(str(number)) - 2, 0)
    return number // unit * unit

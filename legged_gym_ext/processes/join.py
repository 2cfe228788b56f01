"""Joining the processes that torchrun started. Where there is but one, nothing heavy is imported."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from legged_gym_ext.processes.ranks import Ranks, be, here

T = TypeVar("T")


@contextmanager
def joined() -> Iterator[None]:
    """Be one of the processes that torchrun started, until the context ends; without torchrun, do nothing.

    An exception that leaves the context in one process ends all of them: see rank_failure.py.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield
        return
    names = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")
    be(Ranks(*(int(os.environ[name]) for name in names)))

    from legged_gym_ext.processes.group import start_group  # import torch
    from legged_gym_ext.processes.rank_failure import FailureWatch

    with FailureWatch(start_group()):
        yield


def from_rank_zero(function: Callable[[], T]) -> T:
    """Return what ``function`` returns on rank 0, where alone it is called."""
    if here().size == 1:
        return function()
    from legged_gym_ext.processes.collectives import broadcast  # imports torch

    return broadcast(function() if here().rank == 0 else None)

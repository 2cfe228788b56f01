"""The process group that the ranks talk through."""

from __future__ import annotations

import os
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch.distributed.rendezvous import rendezvous

from legged_gym_ext.device.cpu import available_cores
from legged_gym_ext.processes import collectives
from legged_gym_ext.processes.ranks import here

SKEW = timedelta(seconds=60)
"""For how long a rank waits for others that do the same work at the same time."""

PATIENCE = timedelta(minutes=10)
"""For how long it waits where another may be busy alone: compiling, or writing a checkpoint."""


def start_group() -> Any:
    """Join ``torch.distributed``'s default process group; return the launcher's store.

    The group has gloo for tensors on the CPU and NCCL for those on GPUs. Each rank takes its GPU and its part of the
    machine's cores.
    """
    ranks = here()
    # The default, TearDown, kills the process when a collective fails: rank 0 could not save.
    os.environ["TORCH_NCCL_ASYNC_ERROR_HANDLING"] = "2"
    store: Any = next(iter(rendezvous("env://")))[0]  # torch's stubs do not know all of its methods
    if store.add("started", 1) == ranks.size:
        store.set("all started", "")
    store.wait(["all started"], PATIENCE)
    if ranks.local_rank < torch.cuda.device_count():
        torch.cuda.set_device(ranks.local_rank)
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    dist.init_process_group(backend, store=store, rank=ranks.rank, world_size=ranks.size, timeout=SKEW)
    collectives.use_patient_group(gloo_group(PATIENCE))
    threads = ranks.threads(available_cores())
    torch.set_num_threads(threads)
    os.environ.setdefault("NUMBA_NUM_THREADS", str(threads))  # read when numba is imported, later
    return store


def gloo_group(timeout: timedelta) -> dist.ProcessGroup:
    """Return a further group of all ranks, for tensors on the CPU."""
    group = dist.new_group(backend="gloo", timeout=timeout)
    assert isinstance(group, dist.ProcessGroup)
    return group

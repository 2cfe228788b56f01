"""What ranks say to each other. With one rank, each function does the obvious thing; all ranks must call it alike."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from rsl_rl.utils import reduce_gradients_in_buckets
from torch import Tensor, nn

from legged_gym_ext.processes.ranks import here

_BUCKET_MB = 25.0

T = TypeVar("T")

_patient: dist.ProcessGroup | None = None
"""Of objects, on the CPU; waits long where another rank may be busy alone. None = the default group."""


def use_patient_group(group: dist.ProcessGroup) -> None:
    """Have objects go through ``group`` from now on."""
    global _patient
    _patient = group


def barrier() -> None:
    """Wait until all ranks are here."""
    if here().size > 1:
        dist.barrier(_patient)


def broadcast(value: Any) -> Any:
    """Return rank 0's ``value``."""
    result = [value]
    if here().size > 1:
        dist.broadcast_object_list(result, 0, _patient)
    return result[0]


def all_gather(value: T) -> list[T]:
    """Return every rank's ``value``, in the order of the ranks."""
    values = [value] * here().size
    if here().size > 1:
        dist.all_gather_object(values, value, _patient)
    return values


def gather(value: T) -> list[T]:
    """Return every rank's ``value`` on rank 0, on the others an empty list."""
    if here().size == 1:
        return [value]
    values: list[Any] = [None] * here().size if here().rank == 0 else []
    dist.gather_object(value, values or None, 0, _patient)
    return values


def scatter(values: list[T]) -> T:
    """Return the value that rank 0 has for this rank; on the others ``values`` does not matter."""
    if here().size == 1:
        return values[0]
    result: list[Any] = [None]
    dist.scatter_object_list(result, values if here().rank == 0 else None, 0, _patient)
    return result[0]


def broadcast_module(module: nn.Module) -> None:
    """Give the module the parameters and buffers that it has on rank 0."""
    if here().size > 1:
        for tensor in module.state_dict().values():
            dist.broadcast(tensor, 0)


def average_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Replace gradients by their means over the ranks."""
    if here().size > 1:
        parameters = list(parameters)
        for parameter in parameters:
            if parameter.grad is not None:  # convolutions may have theirs in another order, which rsl_rl cannot pack
                parameter.grad = parameter.grad.contiguous()
        reduce_gradients_in_buckets(parameters, here().size, _BUCKET_MB)
        for parameter in parameters:
            if parameter.grad is not None:  # fused Adam reads both in the order in which they lie in memory
                parameter.grad = torch.empty_like(parameter).copy_(parameter.grad)


def mean(values: Tensor) -> float:
    """Return the mean of all ranks' ``values``, which have the same shape."""
    return float(_sum(values.double().mean())) / here().size


def mean_and_std(values: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and standard deviation (unbiased) of all ranks' ``values``, which have the same shape."""
    count = values.numel() * here().size
    mean = _sum(values.double().sum()) / count
    variance = _sum((values - mean).square().sum()) / (count - 1)
    return mean.to(values.dtype), variance.sqrt().to(values.dtype)


def _sum(value: Tensor) -> Tensor:
    if here().size > 1:
        dist.all_reduce(value)
    return value

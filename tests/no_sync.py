"""Finds, on the CPU, operations that on a GPU would make the host wait."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes

_WAITING = (
    "_local_scalar_dense",
    "nonzero",
    "masked_select",
    "_unique2",
    "unique_dim",
    "unique_consecutive",
    "normal.Tensor_Tensor",
    "normal.float_Tensor",
    "repeat_interleave.Tensor",
    "bincount",
    "equal",
)


class NoSync(TorchDispatchMode):
    """Raises an AssertionError at the first operation that waits: data that decides shapes, values for the host."""

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: tuple = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        name = func._schema.name.removeprefix("aten::")
        full = f"{name}.{func._schema.overload_name}"
        assert name not in _WAITING and full not in _WAITING, f"{full} waits for the device"
        if name in ("index", "index_put", "index_put_", "_index_put_impl_"):
            masks = [index for index in args[1] if index is not None and index.dtype in (torch.bool, torch.uint8)]
            assert not masks, f"{full} with a mask waits for the device"
        if "device" in kwargs and kwargs["device"] is not None and isinstance(args[0] if args else None, torch.Tensor):
            assert torch.device(kwargs["device"]) == args[0].device, f"{full} copies to another device"
        return func(*args, **kwargs)


def outside(function: Callable) -> Callable:
    """Return the function such that a :class:`NoSync` around it does not look into it."""

    def call(*args: Any, **kwargs: Any) -> Any:
        with _disable_current_modes():
            return function(*args, **kwargs)

    return call

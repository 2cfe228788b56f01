"""A guard for code that must never wait for a GPU, which also works where there is none."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes
from torch.utils._pytree import tree_iter

_VALUES, _SIZE = "the host reads a tensor's values", "the size of the result depends on values"
_OPERATIONS = {
    **dict.fromkeys(("_local_scalar_dense", "is_nonzero", "equal"), _VALUES),
    **dict.fromkeys(("nonzero", "masked_select", "bincount"), _SIZE),
    **dict.fromkeys(("unique_dim", "_unique2", "unique_consecutive", "repeat_interleave"), _SIZE),
    **dict.fromkeys(("normal.Tensor_Tensor", "normal.float_Tensor"), "it checks that no deviation is negative"),
}
_CALLS = {
    **dict.fromkeys(("numpy", "tolist", "__array__"), _VALUES),
    **dict.fromkeys(("tensor", "from_numpy"), "a tensor is made of the host's numbers"),
}
_INDEXING = ("index", "index_put", "index_put_", "_unsafe_index", "_unsafe_index_put")


class NoSync(TorchDispatchMode):
    """Raises AssertionError at each torch operation within that would make the host wait for a GPU, or copy from it.

    It looks at the operations, not at the device: tensors on the CPU are treated as if they were on a GPU.

        with NoSync():
            env.step(actions)
    """

    def __enter__(self) -> NoSync:
        self._calls = _NoCalls()
        self._calls.__enter__()
        return super().__enter__()

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        self._calls.__exit__(*error)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func._schema.name.removeprefix("aten::")
        for operation in (name, f"{name}.{func._schema.overload_name}"):
            if operation in _OPERATIONS:
                raise AssertionError(f"{operation}: {_OPERATIONS[operation]}")
        if name in _INDEXING and any(index.dtype in (torch.bool, torch.uint8) for index in _tensors(args[1])):
            raise AssertionError(f"{name}: indexing with a mask looks for its true elements")
        result = func(*args, **(kwargs or {}))
        devices = {tensor.device.type for tensor in _tensors((args, kwargs, result)) if tensor.dim()}
        if len(devices) > 1:
            raise AssertionError(f"{name}: tensors on {' and '.join(sorted(devices))}")
        return result


class _NoCalls(TorchFunctionMode):
    """Refuses what never becomes an operation: tensors from and to the host's numbers."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = getattr(func, "__name__", "")
        if name in _CALLS:
            raise AssertionError(f"{name}: {_CALLS[name]}")
        return func(*args, **(kwargs or {}))


def outside(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return the function such that a :class:`NoSync` around it does not look into it."""

    def call(*args: Any, **kwargs: Any) -> Any:
        with _disable_current_modes(), torch._C.DisableTorchFunction():
            return function(*args, **kwargs)

    return call


def _tensors(values: Any) -> Iterator[torch.Tensor]:
    """Yield the tensors in nested arguments."""
    return (leaf for leaf in tree_iter(values) if isinstance(leaf, torch.Tensor))

"""A part of the environment's step as a CUDA graph: hundreds of small launches become one."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_map_only

WARM_UP = 3  # calls before the capture: libraries set themselves up, kernels are compiled, caches are filled


class GraphedCall:
    """Calls ``function`` a few times, then captures it in a CUDA graph and replays that.

    The function's only arguments are tensors. All else that it reads must be at the same address in every call, and
    changed in place; it must not wait for the GPU. What it sets besides (attributes of Python objects) keeps the values
    of the capture, which each replay overwrites.

    Args:
        function: Returns tensors in any nesting of tuples, dictionaries and TensorDicts.
        generator: The one that the function draws from.
    """

    def __init__(self, function: Callable[..., Any], generator: torch.Generator) -> None:
        self._function, self._generator = function, generator
        self._calls = 0
        # The first calls are on the stream of the capture, so that what belongs to a stream is there when it begins.
        self._stream = torch.cuda.Stream(generator.device)
        self._graph: torch.cuda.CUDAGraph | None = None
        self._inputs: tuple[Tensor, ...] = ()
        self._outputs: Any = None

    def __call__(self, *inputs: Tensor) -> Any:
        """Return what the function does, in tensors of their own."""
        if self._graph is None:
            self._calls += 1
            if self._calls <= WARM_UP:
                return self._warm_up(inputs)
            self._graph = self._capture(inputs)
        for kept, new in zip(self._inputs, inputs, strict=True):
            kept.copy_(new)
        self._graph.replay()
        return tree_map_only(Tensor, torch.clone, self._outputs)

    def _warm_up(self, inputs: tuple[Tensor, ...]) -> Any:
        outside = torch.cuda.current_stream(self._generator.device)
        self._stream.wait_stream(outside)
        with torch.cuda.stream(self._stream):
            outputs = self._function(*inputs)
        outside.wait_stream(self._stream)
        return outputs

    def _capture(self, inputs: tuple[Tensor, ...]) -> torch.cuda.CUDAGraph:
        with torch.inference_mode(False):  # else they could not be written to outside of that mode
            self._inputs = tuple(torch.empty_like(tensor).copy_(tensor) for tensor in inputs)
        graph = torch.cuda.CUDAGraph()
        graph.register_generator_state(self._generator)
        # Other threads, NCCL's watchdog among them, may go on calling CUDA.
        with _no_garbage_collection(), torch.cuda.graph(graph, stream=self._stream, capture_error_mode="thread_local"):
            self._outputs = self._function(*self._inputs)
        return graph


@contextlib.contextmanager
def _no_garbage_collection() -> Iterator[None]:
    """Free what is unreachable now and nothing within: to free another graph is not allowed during a capture."""
    gc.collect()
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()

"""CUDA graphs without a GPU: what a capture records and a replay repeats, on the CPU.

A recorded operation is repeated on the very tensors that it was recorded with, and its result written to where it was
then, as a graph's kernels do; Python does not run again. Whatever waits for the host while recording raises.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from no_sync import NoSync, outside
from torch import Tensor
from torch.utils._pytree import tree_flatten


class Tape(NoSync):
    """Records torch's operations, and calls of ``opaque`` functions, while it is entered."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[Callable[[], None]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        kwargs = kwargs or {}
        result = super().__torch_dispatch__(func, types, args, kwargs)
        kept = [tensor for tensor in tree_flatten(result)[0] if isinstance(tensor, Tensor)]

        mode = torch.is_inference_mode_enabled()  # of which a GPU knows nothing

        def again() -> None:
            with torch.inference_mode(mode):
                new = [tensor for tensor in tree_flatten(func(*args, **kwargs))[0] if isinstance(tensor, Tensor)]
                for old, tensor in zip(kept, new, strict=True):
                    if old.data_ptr() != tensor.data_ptr():
                        old.copy_(tensor)

        self.calls.append(again)
        return result


class FakeGraph:
    """Stands in for torch.cuda.CUDAGraph."""

    count = 0

    def __init__(self) -> None:
        self.tape = Tape()
        self.captured_now = False
        self.replays = 0

    def register_generator_state(self, generator: torch.Generator) -> None:
        assert isinstance(generator, torch.Generator)

    def replay(self) -> None:
        self.replays += 1
        FakeGraph.count += 1
        if self.captured_now:  # unlike a real capture, recording has executed everything
            self.captured_now = False
            return
        for call in self.tape.calls:
            call()


class FakeStream:
    """Stands in for torch.cuda.Stream."""

    def __init__(self, device: torch.device) -> None:
        self.waits = self.calls = 0

    def wait_stream(self, other: FakeStream) -> None:
        assert other is not self
        self.waits += 1


_tapes: list[Tape] = []
_outside = FakeStream(torch.device("cpu"))


@contextlib.contextmanager
def fake_stream(stream: FakeStream) -> Iterator[None]:
    """Stand in for torch.cuda.stream."""
    stream.calls += 1
    assert stream.waits == stream.calls, "the stream must wait for what was done before"
    yield


@contextlib.contextmanager
def fake_capture(graph: FakeGraph, stream: FakeStream, capture_error_mode: str) -> Iterator[None]:
    """Stand in for torch.cuda.graph."""
    assert stream.calls, "nothing was done on the stream before the capture"
    _tapes.append(graph.tape)
    try:
        with graph.tape:
            yield
    finally:
        _tapes.pop()
    graph.captured_now = True


def make_opaque(monkeypatch: pytest.MonkeyPatch, owner: Any, *names: str) -> None:
    """Let functions of ``owner`` be recorded as one call each: those that do not work through torch."""
    for name in names:
        original = getattr(owner, name)

        def call(*args: Any, original: Callable = original) -> None:
            def again() -> None:
                outside(original)(*args)

            again()
            for tape in _tapes:
                tape.calls.append(again)

        monkeypatch.setattr(owner, name, call)


def use_fake_graphs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let torch.cuda's graphs be those of this file."""
    FakeGraph.count = 0
    monkeypatch.setattr(torch.cuda, "CUDAGraph", FakeGraph)
    monkeypatch.setattr(torch.cuda, "graph", fake_capture)
    monkeypatch.setattr(torch.cuda, "Stream", FakeStream)
    monkeypatch.setattr(torch.cuda, "stream", fake_stream)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: _outside)

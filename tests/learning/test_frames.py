"""The frame pool: it gives back every image, and does not wait for the device."""

from __future__ import annotations

import contextlib
import itertools
import math
from typing import Any

import pytest
import torch
from no_sync import NoSync, outside
from torch import Tensor
from torch.overrides import TorchFunctionMode

from legged_gym_ext.device.host_number import HostNumber
from legged_gym_ext.learning import frames
from legged_gym_ext.learning.frames import FramePool


@pytest.mark.parametrize("lag", [0, 1, 3, 9])
@pytest.mark.parametrize("share", [0.0, 0.4, 1.0])
def test_frame_pool_gives_back_every_image_and_stores_each_once(
    lag: int, share: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(HostNumber, "get", outside(HostNumber.get))  # of some steps ago
    generator = torch.Generator().manual_seed(1)
    steps, envs, pixels = 7, 5, 3
    pool = FramePool(steps, envs, pixels, torch.float32, "cpu", lag)
    for rollout in range(3):  # the later ones reuse the memory
        shown, stored = [], envs
        for step in range(steps):
            new = torch.rand(envs, generator=generator) < (share if rollout < 2 else 1.0)
            fresh = torch.rand(envs, pixels, generator=generator)
            shown.append(fresh if step == 0 else torch.where(new[:, None], fresh, shown[-1]))
            with NoSync() if lag > 0 else contextlib.nullcontext():
                pool.add(step, shown[-1], new)
            stored += 0 if step == 0 else int(new.sum())
        assert torch.equal(pool.images[pool.index], torch.stack(shown))
        assert pool.count == stored
        assert torch.equal(pool.index.unique(), torch.arange(stored))


@pytest.mark.gpu
def test_a_pool_on_a_gpu_loses_nothing_and_does_not_wait() -> None:
    steps, envs, pixels = 30, 64, 256
    generator = torch.Generator("cuda").manual_seed(1)
    pool = FramePool(steps, envs, pixels, torch.float32, "cuda")
    for _ in range(2):
        shown: list[Tensor] = []
        torch.cuda.set_sync_debug_mode("error")
        try:
            for step in range(steps):
                new = torch.rand(envs, generator=generator, device="cuda") < 0.3
                fresh = torch.rand(envs, pixels, generator=generator, device="cuda")
                shown.append(fresh if step == 0 else torch.where(new[:, None], fresh, shown[-1]))
                pool.add(step, shown[-1], new)
        finally:
            torch.cuda.set_sync_debug_mode("default")
        assert torch.equal(pool.images[pool.index], torch.stack(shown))


def test_a_pool_that_lags_asks_for_old_numbers_and_needs_little_more_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    steps, envs, lag = 40, 50, 4
    numbers: list[HostNumber] = []

    class Late(HostNumber):
        def __init__(self, value: Tensor) -> None:
            super().__init__(value)
            numbers.append(self)

        def get(self) -> int:
            assert self not in numbers[1 - lag :]
            return super().get()

    monkeypatch.setattr(frames, "HostNumber", Late)
    pool = FramePool(steps, envs, 1, torch.float32, "cpu", lag)
    for step in range(steps):
        pool.add(step, torch.zeros(envs, 1), torch.arange(envs) % 5 == step % 5)
    monkeypatch.undo()
    numbers += [numbers[0]] * lag
    assert pool.count == envs + (steps - 1) * envs // 5
    assert len(pool._images) <= 1.25 * (pool.count + lag * envs)


@pytest.mark.parametrize("lag", [0, 2, None])
def test_a_pool_is_where_it_was_told_to_be_and_in_that_precision(lag: int | None) -> None:
    steps, envs, pixels = 5, 3, 2
    generator = torch.Generator().manual_seed(4)
    shown = torch.rand(steps, envs, pixels, generator=generator, dtype=torch.float64)
    new = torch.ones(envs, dtype=torch.bool)
    with torch.device("meta"):  # a tensor that is made without a device has no values
        pool = FramePool(steps, envs, pixels, torch.bfloat16, "cpu", lag)
        for step in range(steps):
            pool.add(step, shown[step], new)
        images = pool.images[pool.index]
    assert torch.equal(images, shown.bfloat16()) and pool.index.dtype == torch.int64


@pytest.mark.parametrize("lag", [0, 3])
def test_one_environment_is_enough_for_a_pool(lag: int) -> None:
    pool = FramePool(4, 1, 2, torch.float32, "cpu", lag)
    new, shown = torch.tensor([[1], [0], [1], [0]]).bool(), torch.tensor([[[1, 2]], [[1, 2]], [[3, 4]], [[3, 4]]])
    for step in range(4):
        pool.add(step, shown[step].float(), new[step])
    assert torch.equal(pool.images[pool.index], shown.float()) and pool.count == 2


def test_no_place_of_a_pool_is_written_twice_in_a_step() -> None:
    """A GPU would write in any order, and the image that is to stay might come first."""
    written: list[Tensor] = []

    class Watch(TorchFunctionMode):
        def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            if getattr(func, "__name__", "") == "index_copy_":
                written.append(args[2])
            return func(*args, **(kwargs or {}))

    generator = torch.Generator().manual_seed(6)
    pool = FramePool(20, 7, 1, torch.float32, "cpu", 2)
    for step in range(20):
        new = torch.rand(7, generator=generator) < 0.5
        with Watch():
            pool.add(step, torch.zeros(7, 1), new)
    assert len(written) == 20 and all(len(places.unique()) == 7 for places in written)


@pytest.mark.parametrize("lag", [0, 4])
def test_a_pool_grows_when_it_must_and_seldom(lag: int) -> None:
    steps, envs = 200, 50
    pool, sizes = FramePool(steps, envs, 1, torch.float32, "cpu", lag), []
    for step in range(steps):
        pool.add(step, torch.zeros(envs, 1), torch.arange(envs) == step % envs)  # one new frame in each step
        sizes.append(len(pool._images))
        assert step >= max(lag, 1) or sizes[-1] <= envs * (step + 1)  # no more than can have come
    changes = sum(one != other for one, other in itertools.pairwise(sizes))
    assert changes <= lag + math.log(sizes[-1] / envs, 1.25) + 1  # each time by a quarter, for all are copied then


def test_a_pool_on_a_cpu_asks_for_the_number_in_every_step_unless_told_otherwise() -> None:
    """So that it has no memory to spare: that of the frames, and a quarter for more."""
    steps, envs = 40, 50
    pool = FramePool(steps, envs, 1, torch.float32, "cpu")
    for step in range(steps):
        pool.add(step, torch.zeros(envs, 1), torch.arange(envs) == step)
        assert len(pool._images) <= 1.25 * (envs + step)

"""What auto means on this machine, devices that are not there, and seeds."""

from __future__ import annotations

import os
import re
from collections.abc import Callable

import pytest
import torch
from command_line import config_of

from legged_gym_ext.device.cpu import available_cores
from legged_gym_ext.errors import UserError
from legged_gym_ext.runs.settle import GPU_ENVS, GPU_VIDEO_EVERY, seed_everything, settle


@pytest.fixture
def gpus(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Make the machine one with that many GPUs, to whoever asks torch."""

    def have(count: int) -> None:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: True)

    return have


def test_auto_without_a_gpu(gpus: Callable[[int], None]) -> None:
    gpus(0)
    config = config_of("")
    settled = settle(config)
    assert (settled.sim.engine, settled.sim.device, settled.runner.device) == ("mujoco", "cpu", "cpu")
    assert 1 <= settled.env.num_envs <= 128 * available_cores()
    assert settled.runner.video_every == 0
    assert settled.runner.precision in ("float32", "bfloat16")
    assert settle(config_of("--num_envs=3")).env.num_envs == 3
    assert settle(settled) == settled
    assert config == config_of("")  # what was asked for stays


@pytest.mark.parametrize(
    ("line", "engine", "device", "num_envs"),
    [
        ("", "mujoco_warp", "cuda:0", GPU_ENVS),
        ("--sim_device=cuda:1", "mujoco_warp", "cuda:1", GPU_ENVS),
        ("--sim_device=cuda", "mujoco_warp", "cuda:0", GPU_ENVS),
        ("--sim=mujoco_warp --num_envs=5", "mujoco_warp", "cuda:0", 5),
        ("--sim_device=cpu --num_envs=5", "mujoco", "cpu", 5),
        ("--sim=mujoco --num_envs=5", "mujoco", "cpu", 5),
        ("--sim=mujoco_warp --sim_device=cpu --num_envs=5", "mujoco_warp", "cpu", 5),
    ],
)
def test_auto_with_gpus(line: str, engine: str, device: str, num_envs: int, gpus: Callable[[int], None]) -> None:
    gpus(2)
    settled = settle(config_of(line))
    assert (settled.sim.engine, settled.sim.device, settled.env.num_envs) == (engine, device, num_envs)
    assert settled.runner.video_every == (GPU_VIDEO_EVERY if device.startswith("cuda") else 0)
    assert settle(config_of(f"{line} runner.video_every=7")).runner.video_every == 7


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("--sim=mujoco_warp --sim_device=cuda:7", "sim.device: this machine has no 'cuda:7'; it has: cpu, cuda:0"),
        ("--sim=mujoco --sim_device=cuda:0", "sim.device: the mujoco engine runs on cpu, got 'cuda:0'; --sim=mujoco_"),
    ],
)
def test_devices_that_do_not_do(line: str, message: str, gpus: Callable[[int], None]) -> None:
    gpus(1)
    with pytest.raises(UserError, match=re.escape(message)):
        settle(config_of(line))


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no processor affinity on this system")
def test_num_envs_auto_follows_the_cores_that_may_be_used() -> None:
    cores = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(cores)})
        one = settle(config_of("")).env.num_envs
    finally:
        os.sched_setaffinity(0, cores)
    assert one * len(cores) == settle(config_of("")).env.num_envs or len(cores) > 16


def test_seeds_decide_all_global_generators() -> None:
    import random

    import numpy as np

    def draw(seed: int) -> tuple:
        seed_everything(seed)
        return random.random(), float(np.random.rand()), float(torch.rand(1))

    assert draw(3) == draw(3)
    assert all(a != b for a, b in zip(draw(3), draw(4), strict=True))

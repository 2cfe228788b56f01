"""What a configuration's ``auto`` means on this machine, and the seeds."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

from legged_gym_ext.config.schema import Config
from legged_gym_ext.device.cpu import available_cores
from legged_gym_ext.errors import UserError
from legged_gym_ext.processes.ranks import here

if TYPE_CHECKING:  # imported where it is used: reading a configuration needs no torch
    import torch

CPU_ENVS_PER_CORE = 128
MAX_CPU_ENVS = 2048
GPU_ENVS = 4096


@dataclass(frozen=True)
class Runtime:
    """Engine, devices and number of environments, with every ``auto`` settled."""

    engine: str
    sim_device: torch.device
    rl_device: torch.device
    num_envs: int


def resolve_runtime(config: Config) -> Runtime:
    """Settle the configuration's ``auto`` values for this machine.

    Raises:
        UserError: a device that this machine lacks, or that the engine cannot use.
    """
    sim_device = _device("sim.device", _default_device(config) if config.sim.device == "auto" else config.sim.device)
    engine = resolve_engine(config.sim.engine, sim_device)
    if engine == "mujoco" and sim_device.type != "cpu":
        raise UserError(
            f"sim.device: the mujoco engine runs on cpu, got '{config.sim.device}'; --sim=mujoco_warp runs there"
        )
    rl_device = sim_device if config.runner.device == "auto" else _device("runner.device", config.runner.device)
    num_envs = config.env.num_envs
    if num_envs == "auto":
        num_envs = default_num_envs(sim_device) * here().size
    return Runtime(engine, sim_device, rl_device, num_envs)


def resolve_engine(engine: str, device: torch.device) -> str:
    """Return the engine that ``sim.engine`` means on ``device``."""
    if engine == "auto":
        return "mujoco_warp" if device.type == "cuda" else "mujoco"
    return engine


def default_num_envs(device: torch.device) -> int:
    """Return how many environments ``num_envs: auto`` means on ``device``."""
    if device.type == "cuda":
        return GPU_ENVS
    return min(CPU_ENVS_PER_CORE * available_cores(), MAX_CPU_ENVS)


def seed_everything(seed: int) -> None:
    """Seed the global generators of Python, NumPy and torch (network weights, PPO's shuffling, exploration).

    The environment draws from generators of its own, which start from the same configured seed.
    """
    import numpy as np
    import torch

    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


def _default_device(config: Config) -> str:
    """Return what ``sim.device: auto`` means: the GPU, if there is one and the engine can use it."""
    import torch

    return "cuda" if torch.cuda.is_available() and config.sim.engine != "mujoco" else "cpu"


def _device(key: str, name: str) -> torch.device:
    import torch

    device = torch.device(name)
    if device.type == "cuda" and here().size > 1:
        if device.index is not None:
            raise UserError(f"{key}: of several ranks each has the GPU of its local rank; say cuda, not '{name}'")
        device = torch.device("cuda", here().local_rank)
    if device.type == "cuda":
        device = torch.device("cuda", device.index or 0)  # Warp wants the number
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if device.index >= count:
            present = ", ".join(["cpu", *(f"cuda:{i}" for i in range(count))])
            raise UserError(f"{key}: this machine has no '{device}'; it has: {present}")
    return device

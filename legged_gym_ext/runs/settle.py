"""What every ``auto`` of a configuration means on this machine, decided once; and the seeds."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import TYPE_CHECKING

from legged_gym_ext.config.schema import Config
from legged_gym_ext.device.cpu import available_cores
from legged_gym_ext.errors import UserError
from legged_gym_ext.processes.ranks import here
from legged_gym_ext.simulators import ENGINES

if TYPE_CHECKING:  # imported where it is used: reading a configuration needs no torch
    import torch

CPU_ENVS_PER_CORE = 128
MAX_CPU_ENVS = 2048
GPU_ENVS = 4096
GPU_VIDEO_EVERY = 500
"""Iterations from film to film where the training leaves the processor time."""


def settle(config: Config) -> Config:
    """Return the configuration without any ``auto``: engine, devices, number of environments, precision, films.

    Whoever builds something from a configuration is given a settled one. What is kept in a run's folder is not, so that
    the run can go on on another machine.

    Raises:
        UserError: a device that this machine lacks, or that the engine cannot use.
    """
    from legged_gym_ext.device.precision import choose_precision  # imports torch

    sim_device = _device("sim.device", _default_device(config) if config.sim.device == "auto" else config.sim.device)
    engine = default_engine(sim_device.type) if config.sim.engine == "auto" else config.sim.engine
    if sim_device.type not in ENGINES[engine].devices:
        others = [name for name, other in ENGINES.items() if sim_device.type in other.devices]
        hint = f"; --sim={others[0]} runs there" if others else ""
        raise UserError(
            f"sim.device: the {engine} engine runs on {' and '.join(ENGINES[engine].devices)}, "
            f"got '{config.sim.device}'{hint}"
        )
    rl_device = sim_device if config.runner.device == "auto" else _device("runner.device", config.runner.device)
    precision = choose_precision(config.runner.precision, rl_device)
    num_envs = config.env.num_envs
    if num_envs == "auto":
        num_envs = default_num_envs(sim_device.type) * here().size
    video_every = config.runner.video_every
    if video_every == "auto":
        video_every = GPU_VIDEO_EVERY if sim_device.type == "cuda" else 0
    return replace(
        config,
        sim=replace(config.sim, engine=engine, device=str(sim_device)),
        env=replace(config.env, num_envs=num_envs),
        runner=replace(config.runner, device=str(rl_device), precision=precision, video_every=video_every),
    )


def rank_config(config: Config) -> Config:
    """Return this rank's own configuration of the environment, from a settled one.

    It draws its tiles and all else that is random from seeds of its own. An engine with threads has this rank's part of
    the machine's cores.
    """
    ranks = here()
    if ranks.size == 1:
        return config
    return replace(
        with_rank_threads(config),
        seed=ranks.seed(config.seed),
        terrain=replace(config.terrain, seed=ranks.seed(config.terrain.seed)),
    )


def with_rank_threads(config: Config) -> Config:
    """Return a settled configuration whose engine, if it has threads, has this rank's part of the machine's cores."""
    ranks, options = here(), config.sim.options
    if ranks.size == 1 or getattr(options, "threads", None) != 0:
        return config
    options = replace(options, threads=ranks.threads(available_cores()))
    return replace(config, sim=replace(config.sim, **{config.sim.engine: options}))


def default_engine(device_type: str) -> str:
    """Return what ``sim.engine: auto`` means on a type of device: the first engine that is made for it."""
    return next(name for name, engine in ENGINES.items() if engine.devices[0] == device_type)


def default_num_envs(device_type: str) -> int:
    """Return how many environments ``num_envs: auto`` means for one rank on a type of device."""
    if device_type == "cuda":
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


def torch_device(name: str) -> torch.device:
    """Return the device of that name."""
    import torch

    return torch.device(name)


def _default_device(config: Config) -> str:
    """Return what ``sim.device: auto`` means: the GPU, if there is one and the engine can use it."""
    import torch

    usable = config.sim.engine == "auto" or "cuda" in ENGINES[config.sim.engine].devices
    return "cuda" if usable and torch.cuda.is_available() else "cpu"


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

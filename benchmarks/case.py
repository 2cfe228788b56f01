"""What one benchmark is asked to measure: device, engine, number of environments, and how thoroughly."""

from __future__ import annotations

import platform
from dataclasses import dataclass

import torch

from legged_gym_ext.config.files import load_config
from legged_gym_ext.config.schema import Config
from legged_gym_ext.device.cpu import available_cores
from legged_gym_ext.envs.parkour_env import ParkourEnv
from legged_gym_ext.runs.settle import settle
from legged_gym_ext.tasks import DEFAULT_TASK


@dataclass(frozen=True)
class Case:
    """The setting of one benchmark."""

    device: str
    engine: str
    num_envs: int
    quick: bool = False
    """Repeat little: good for a first look only."""
    out: str | None = None
    """Folder for what a benchmark writes besides its figures."""

    @property
    def torch_device(self) -> torch.device:
        """Return the device that everything runs on."""
        return torch.device(self.device)

    @property
    def on_cpu(self) -> bool:
        """Return whether that is a CPU, where the host waits for every piece of work."""
        return self.torch_device.type == "cpu"

    @property
    def device_name(self) -> str:
        """Return what the device is called; a CPU by its architecture and the cores that may be used."""
        if self.on_cpu:
            return f"{platform.machine()} CPU, {available_cores()} cores"
        return torch.cuda.get_device_name(self.torch_device)

    def config(self, *overrides: str, task: str = DEFAULT_TASK) -> Config:
        """Return a task's configuration, on the case's engine and device, with ``overrides``."""
        setting = (f"sim.engine={self.engine}", f"sim.device={self.device}", f"env.num_envs={self.num_envs}")
        return settle(load_config(task, [*setting, "runner.logger=none", *overrides]))

    def make_env(self, config: Config) -> ParkourEnv:
        """Build the environment of ``config``."""
        return ParkourEnv(config, config.env.num_envs, self.torch_device)

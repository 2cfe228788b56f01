"""Physics engines behind one interface (base.py)."""

from __future__ import annotations

import torch

from legged_gym_ext.config import SimConfig
from legged_gym_ext.config_checks import CHOICES
from legged_gym_ext.errors import unknown
from legged_gym_ext.robot import Robot
from legged_gym_ext.runtime import resolve_engine
from legged_gym_ext.simulators.base import Simulator

ENGINES = tuple(engine for engine in CHOICES["sim.engine"] if engine != "auto")
"""Names of the engines that ``sim.engine`` can choose, besides auto."""


def make_simulator(config: SimConfig, robot: Robot, num_envs: int, device: torch.device) -> Simulator:
    """Build the engine that the configuration chooses, on ``device``.

    Raises:
        UserError: There is no engine of that name.
    """
    engine = resolve_engine(config.engine, device)
    if engine == "mujoco":
        from legged_gym_ext.simulators.mujoco_cpu import MujocoCpuSimulator

        return MujocoCpuSimulator(robot, config, num_envs)
    if engine == "mujoco_warp":
        from legged_gym_ext.simulators.mujoco_warp import MujocoWarpSimulator

        return MujocoWarpSimulator(robot, config, num_envs, device)
    raise unknown("sim.engine", config.engine, CHOICES["sim.engine"])

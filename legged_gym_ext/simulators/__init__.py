"""Physics engines behind one interface (base.py)."""

from __future__ import annotations

import torch

from legged_gym_ext.config.rules import allowed
from legged_gym_ext.config.schema import SimConfig
from legged_gym_ext.errors import UserError
from legged_gym_ext.robot import Robot
from legged_gym_ext.runs.settle import resolve_engine
from legged_gym_ext.simulators.base import Simulator

ENGINES = tuple(engine for engine in allowed("sim.engine") if engine != "auto")
"""Names of the engines that ``sim.engine`` can choose, besides auto."""


def make_simulator(config: SimConfig, robot: Robot, num_envs: int, device: torch.device) -> Simulator:
    """Build the engine that the configuration chooses, on ``device``.

    Raises:
        UserError: The engine's packages are not installed, or the environments do not fit into the memory.
    """
    engine = resolve_engine(config.engine, device)
    if engine == "mujoco":
        from legged_gym_ext.simulators.mujoco.engine import MujocoCpuSimulator

        return MujocoCpuSimulator(robot, config, num_envs)
    try:
        from legged_gym_ext.simulators.mujoco_warp.engine import MujocoWarpSimulator
    except ModuleNotFoundError as error:
        raise UserError(
            f"sim.engine: mujoco_warp needs the package '{error.name}', which is not installed; install "
            "legged_gym_ext again (pip install -e .), or choose --sim=mujoco"
        ) from None
    return MujocoWarpSimulator(robot, config, num_envs, device)

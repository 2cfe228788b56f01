"""Physics engines behind one interface (base.py): each a folder, and a line in ``ENGINES``."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from legged_gym_ext.config.sections import add_section
from legged_gym_ext.errors import UserError
from legged_gym_ext.simulators.isaacgym.options import IsaacGymOptions
from legged_gym_ext.simulators.mujoco.options import MujocoOptions
from legged_gym_ext.simulators.mujoco_warp.options import MujocoWarpOptions

if TYPE_CHECKING:  # imported where it is used: reading a configuration needs no torch
    import torch

    from legged_gym_ext.config.schema import SimConfig
    from legged_gym_ext.robot import Robot
    from legged_gym_ext.simulators.base import Simulator
    from legged_gym_ext.terrain.library import TerrainLibrary

_AUTO = "auto"


@dataclass(frozen=True)
class Engine:
    """A physics engine, as far as it can be told without importing it."""

    options: type
    """Its own options, a dataclass: the section ``sim.<name>`` of the configuration."""
    simulator: str | Callable[..., Simulator]
    """Its :class:`~legged_gym_ext.simulators.base.Simulator`, or ``module:class``, imported when it is chosen."""
    devices: tuple[str, ...]
    """Types of device that it runs on; ``auto`` takes the first engine whose first one is the device's."""
    own_process: bool = False
    """Whether it runs in another process, which may end when this one goes on (see ``EngineFault``)."""


ENGINES: dict[str, Engine] = {
    "mujoco": Engine(MujocoOptions, "legged_gym_ext.simulators.mujoco.engine:MujocoSimulator", ("cpu",)),
    "mujoco_warp": Engine(
        MujocoWarpOptions, "legged_gym_ext.simulators.mujoco_warp.engine:MujocoWarpSimulator", ("cuda", "cpu")
    ),
    "isaacgym": Engine(
        IsaacGymOptions,
        "legged_gym_ext.simulators.isaacgym.engine:IsaacGymSimulator",
        ("cuda", "cpu"),
        own_process=True,
    ),
}
"""Every engine by the name that ``sim.engine`` chooses it by."""


def engine_names() -> list[str]:
    """Return what ``sim.engine`` may be."""
    return [_AUTO, *ENGINES]


def register(name: str, options: type, simulator: str | Callable[..., Simulator], devices: tuple[str, ...]) -> None:
    """Add an engine from outside of the package, before a configuration that uses it is read; see :class:`Engine`.

    Raises:
        ValueError: ``sim.engine`` has another meaning for that name, or the options cannot be a section of ``sim`` (see
            ``add_section``), as where there is an engine, or an option of all engines, of that name.
    """
    from legged_gym_ext.config.schema import SimConfig  # which has a section for each of ENGINES

    if name == _AUTO:
        raise ValueError(f"no engine can have the name '{_AUTO}': it stands for one by the device")
    add_section(SimConfig, name, options)
    ENGINES[name] = Engine(options, simulator, devices)


def make_simulator(
    config: SimConfig, robot: Robot, library: TerrainLibrary, num_envs: int, device: torch.device
) -> Simulator:
    """Build the engine of a settled configuration (runs/settle.py), on ``device``.

    Raises:
        UserError: The engine's packages are not installed, or the environments do not fit into the memory.
    """
    if config.engine not in ENGINES:
        raise ValueError(f"sim.engine is '{config.engine}': settle the configuration first (runs/settle.py)")
    simulator = ENGINES[config.engine].simulator
    if isinstance(simulator, str):
        simulator = _imported(config.engine, simulator)
    return simulator(robot, library, config, num_envs, device)


def _imported(engine: str, place: str) -> Callable[..., Simulator]:
    module, _, name = place.partition(":")
    try:
        return getattr(importlib.import_module(module), name)
    except ModuleNotFoundError as error:
        raise UserError(
            f"sim.engine: {engine} needs the package '{error.name}', which is not installed; install it (for an engine "
            "of legged_gym_ext: pip install -e . once more), or choose another engine (--sim)"
        ) from None

"""A physics engine alone: the limit of every environment on it."""

from __future__ import annotations

import contextlib
from typing import Protocol

import warp as wp
from mujoco.batch import SimulationError
from torch import Tensor

from legged_gym_ext.device import warp_runtime
from legged_gym_ext.simulators.base import Simulator
from legged_gym_ext.simulators.mujoco.engine import MujocoSimulator
from legged_gym_ext.simulators.mujoco_warp.engine import MujocoWarpSimulator


class BarePhysics(Protocol):
    """Control steps of nothing but physics, on a simulator's own model and worlds."""

    def run(self, targets: Tensor) -> None:
        """Do a control step with each of the joint targets (steps, num_envs, 10)."""
        ...


def bare_physics(simulator: Simulator) -> BarePhysics:
    """Return what steps the simulator's worlds and does nothing else."""
    if isinstance(simulator, MujocoWarpSimulator):
        return BareMujocoWarp(simulator)
    assert isinstance(simulator, MujocoSimulator)
    return BareBatch(simulator)


class BareBatch:
    """Nothing but ``mujoco.batch.Batch.step``."""

    def __init__(self, simulator: MujocoSimulator) -> None:
        self._batch, self._decimation = simulator.batch, simulator.decimation
        self._ctrl = self._batch.bind("ctrl")

    def run(self, targets: Tensor) -> None:
        """Do a control step with each of the joint targets (steps, num_envs, 10)."""
        for row in targets.numpy():
            self._ctrl[:] = row
            with contextlib.suppress(SimulationError):
                self._batch.step(nstep=self._decimation)


class BareMujocoWarp:
    """Nothing but ``mjw.step``, as a graph."""

    def __init__(self, simulator: MujocoWarpSimulator) -> None:
        self._device, self._ctrl = simulator.device, simulator.ctrl
        with wp.ScopedDevice(wp.device_from_torch(self._device)), wp.ScopedCapture() as capture:
            simulator.substeps(simulator.decimation)
        assert capture.graph is not None
        self._graph = capture.graph
        self.run(self._ctrl[None].clone())  # the first launch of a graph sets it up

    def run(self, targets: Tensor) -> None:
        """Do a control step with each of the joint targets (steps, num_envs, 10)."""
        for row in targets:
            self._ctrl.copy_(row)
            wp.capture_launch(self._graph, stream=warp_runtime.current_stream(self._device))

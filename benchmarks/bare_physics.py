"""MuJoCo Warp alone: the limit of every environment on it."""

from __future__ import annotations

import warp as wp

from legged_gym_ext import warp_runtime
from legged_gym_ext.simulators.mujoco_warp import MujocoWarpSimulator


class BarePhysics:
    """Control steps of nothing but ``mjw.step``, as a graph, on a simulator's own model, worlds and last targets."""

    def __init__(self, simulator: MujocoWarpSimulator) -> None:
        self.device = simulator.device
        with wp.ScopedDevice(wp.device_from_torch(self.device)), wp.ScopedCapture() as capture:
            simulator._substeps(simulator.decimation)
        assert capture.graph is not None
        self._graph = capture.graph

    def run(self, steps: int) -> None:
        """Do that many control steps."""
        for _ in range(steps):
            wp.capture_launch(self._graph, stream=warp_runtime.current_stream(self.device))

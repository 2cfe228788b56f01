"""MuJoCo Warp alone: the limit of every environment on it."""

from __future__ import annotations

from typing import Any

import mujoco_warp as mjw
import torch
import warp as wp

from benchmarks.warp_stream import on_torch_stream


class BarePhysics:
    """Control steps of nothing but ``mjw.step`` on a simulator's own model, worlds and last targets."""

    def __init__(self, simulator: Any) -> None:
        self.simulator = simulator
        self.device: torch.device = simulator.device
        self._graph = None
        if self.device.type == "cuda":
            with wp.ScopedCapture(wp.device_from_torch(self.device)) as capture:
                self._substeps()
            self._graph = capture.graph

    def run(self, steps: int) -> None:
        """Do that many control steps."""
        with on_torch_stream(self.device):
            for _ in range(steps):
                if self._graph is not None:
                    wp.capture_launch(self._graph)
                else:
                    self._substeps()

    def _substeps(self) -> None:
        for _ in range(self.simulator.decimation):
            mjw.step(self.simulator.model, self.simulator.data)

"""Options of the MuJoCo Warp engine."""

from __future__ import annotations

from dataclasses import dataclass

from legged_gym_ext.config.fields import not_negative
from legged_gym_ext.simulators.mujoco.options import SolverOptions


@dataclass
class MujocoWarpOptions(SolverOptions):
    """MuJoCo Warp. What there is room for is allocated once; 0 = by the model."""

    nconmax: int = not_negative(0)  # contacts, per environment on average
    njmax: int = not_negative(0)  # constraint rows in each environment

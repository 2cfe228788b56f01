"""How much of the soles has no ground under it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from legged_gym_ext.robot import NUM_FEET, Robot
from legged_gym_ext.rotations import yaw_of
from legged_gym_ext.sensors.height_scan import ground_height

if TYPE_CHECKING:
    from legged_gym_ext.envs.parkour_env import ParkourEnv

_ALONG, _ACROSS = (-0.5, 0.0, 0.5), (-0.5, 0.5)  # of the sole's length and width
_PER_METRE = 20.0  # a point that hangs 5 cm above the ground counts by 63 %, at a gap by all


class Soles:
    """Points of the soles, which are taken to lie level and to point to where the base does.

    Args:
        robot: Whose soles they are.
        device: Of the environment.
    """

    def __init__(self, robot: Robot, device: torch.device) -> None:
        grid = torch.cartesian_prod(torch.tensor(_ALONG), torch.tensor(_ACROSS))
        size = torch.as_tensor(robot.sole_size, dtype=torch.float32)
        self._x, self._y = (grid * size[:, None]).to(device).unbind(dim=-1)  # each (2, P), m

    def hanging(self, env: ParkourEnv) -> Tensor:
        """Return how much of each sole would hang over lower ground if the foot stood there, 0 to 1, (num_envs, 2).

        It is the mean of 1 - exp(-20 d) over the points, d being the depth in m of the ground under a point below the
        highest under the sole. BeamDojo's foothold penalty (Wang et al. 2025, arXiv 2502.10363) counts the points that
        are deeper than a limit instead.
        """
        sim = env.sim_state
        yaw = yaw_of(sim.root_quat)[:, None, None]
        cosine, sine = torch.cos(yaw), torch.sin(yaw)
        turned = torch.stack([cosine * self._x - sine * self._y, sine * self._x + cosine * self._y], dim=-1)
        points = (sim.foot_pos[:, :, None, :2] + turned).flatten(1, 2)
        ground = torch.maximum(ground_height(env.boxes, points), env.floor[:, None]).unflatten(1, (NUM_FEET, -1))
        # Not what is higher than the sole: that is before the foot, and it does not stand on it.
        support = torch.minimum(ground.amax(dim=-1), sim.foot_pos[..., 2])
        depth = (support[..., None] - ground).clamp(min=0)
        return (1 - torch.exp(-_PER_METRE * depth)).mean(dim=-1)

"""Heights of the terrain: on a grid about the base ("scandots"), and under any points."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from legged_gym_ext.config.schema import HeightScanConfig
from legged_gym_ext.rotations import yaw_of
from legged_gym_ext.sensors.raster import heights, warm_up


def ground_height(boxes: Tensor, points: Tensor, missing: float = -math.inf) -> Tensor:
    """Return the height of the terrain at each point, (num_envs, P), m.

    ``boxes`` are (num_envs, K, BOX_DIM), ``points`` (num_envs, P, 2), x and y in the tile frame. A point over no box
    reads ``missing``.
    """
    out = torch.empty(points.shape[:2], device=points.device)
    heights(boxes, points, missing, out)
    return out


class HeightScan:
    """Terrain heights on a grid that moves and turns with the base, but stays level."""

    def __init__(self, config: HeightScanConfig, base_height: float, device: torch.device | str) -> None:
        """Lay out the grid: all y of the first x, then of the next. ``base_height`` is the base's nominal one, m."""
        warm_up(torch.device(device))
        self.base_height = base_height
        self.clip = config.clip
        self._shape = (config.shape[0], config.shape[1])
        x = torch.linspace(config.x[0], config.x[1], config.shape[0], device=device)
        y = torch.linspace(config.y[0], config.y[1], config.shape[1], device=device)
        self.grid = torch.cartesian_prod(x, y)
        """Points about the base, (P, 2), x forward and y to the left, m."""
        # Where the grid is, as a linear function of the base's x and y and its heading's cosine and sine, (4, P x 2).
        x, y = self.grid.unbind(dim=1)
        one, none = torch.ones_like(x), torch.zeros_like(x)
        columns_of_x, columns_of_y = torch.stack([one, none, x, -y]), torch.stack([none, one, y, x])
        self._of_pose = torch.stack([columns_of_x, columns_of_y], dim=-1).flatten(1)

    @property
    def num_points(self) -> int:
        """Points of the grid."""
        return self.grid.shape[0]

    @property
    def mirrored_points(self) -> Tensor:
        """Which point is each one's mirror image in the x-z plane, (P,), int64."""
        rows, columns = self._shape
        return torch.arange(self.num_points).view(rows, columns).flip(1).flatten()

    def points(self, root_pos: Tensor, root_quat: Tensor) -> Tensor:
        """Return where the grid is, (num_envs, P, 2), for bases at (num_envs, 3), (num_envs, 4), in the tile frame."""
        yaw = yaw_of(root_quat)
        pose = torch.stack([root_pos[:, 0], root_pos[:, 1], torch.cos(yaw), torch.sin(yaw)], dim=1)
        return (pose @ self._of_pose).view(len(pose), -1, 2)

    def scan(self, boxes: Tensor, root_pos: Tensor, root_quat: Tensor) -> Tensor:
        """Return how far the terrain is below where a base at its nominal height would have it, (num_envs, P), m.

        As in legged_gym: clip(base height - nominal base height - terrain height). Holes, and whatever is deep, read
        ``clip``; what is high reads ``-clip``.
        """
        ground = ground_height(boxes, self.points(root_pos, root_quat))
        below = root_pos[:, 2:3] - self.base_height - ground
        return below.clamp(-self.clip, self.clip)

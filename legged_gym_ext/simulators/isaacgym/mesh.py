"""All tiles in one world: a grid of places, and one static triangle mesh."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from legged_gym_ext.rotations import quat_rotate
from legged_gym_ext.terrain.boxes import CENTER, HALF, QUAT

GAP = 4.0
"""Least distance between the boxes of two tiles, m: more than a robot reaches before its episode ends."""

_SIGNS = torch.tensor([[x, y, z] for x in (-1.0, 1.0) for y in (-1.0, 1.0) for z in (-1.0, 1.0)])
"""Corners of a box, (8, 3), in units of its half sizes."""

# Two triangles for each face of such a box, counter-clockwise as seen from outside: normals point outward.
_FACES = np.array(
    [
        [(0, 1, 3), (0, 3, 2)],  # x = -1
        [(4, 6, 7), (4, 7, 5)],  # x = 1
        [(0, 4, 5), (0, 5, 1)],  # y = -1
        [(2, 3, 7), (2, 7, 6)],  # y = 1
        [(0, 2, 6), (0, 6, 4)],  # z = -1
        [(1, 5, 7), (1, 7, 3)],  # z = 1
    ]
).reshape(12, 3)


@dataclass(frozen=True)
class World:
    """The tiles of a library in one world."""

    origins: Tensor
    """Where each tile's frame is, (T, 3), m: whole metres, so that float32 adds and subtracts them without loss."""
    vertices: np.ndarray
    """(V, 3) float32, m."""
    triangles: np.ndarray
    """(F, 3) uint32, rows of ``vertices``; none where there are no boxes."""


def lay_out(boxes: Tensor) -> World:
    """Place tiles of ``boxes`` (T, K, BOX_DIM; see boxes.py) beside each other, ``GAP`` or more apart.

    The grid is about as long as it is wide and has its middle at the origin: coordinates, whose resolution is that of
    float32, are as small as they can be.
    """
    boxes = boxes.cpu()
    present = boxes[..., HALF][..., 0] > 0
    corners = boxes[..., None, CENTER] + quat_rotate(
        boxes[..., None, QUAT].expand(-1, -1, 8, -1), boxes[..., None, HALF] * _SIGNS
    )
    origins = _grid(len(boxes), *_pitch(corners[present]))
    vertices = (corners + origins[:, None, None])[present]
    triangles = _FACES + 8 * np.arange(len(vertices))[:, None, None]
    return World(origins, vertices.reshape(-1, 3).numpy(), triangles.reshape(-1, 3).astype(np.uint32))


def _pitch(corners: Tensor) -> tuple[int, int]:
    """Return the distances of neighbouring tiles along x and y, m, by all tiles' corners (boxes, 8, 3)."""
    if not len(corners):
        return math.ceil(GAP), math.ceil(GAP)
    size = corners.amax(dim=(0, 1)) - corners.amin(dim=(0, 1))
    return math.ceil(float(size[0]) + GAP), math.ceil(float(size[1]) + GAP)


def _grid(count: int, along_x: int, along_y: int) -> Tensor:
    """Return ``count`` places (count, 3) of a grid with these distances."""
    columns = max(1, round(math.sqrt(count * along_y / along_x)))
    number = torch.arange(count)
    column, row = number % columns, number // columns
    rows = -(-count // columns)
    x, y = (column - columns // 2) * along_x, (row - rows // 2) * along_y
    return torch.stack([x, y, torch.zeros_like(x)], dim=1).float()

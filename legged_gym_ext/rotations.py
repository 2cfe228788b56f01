"""Rotations on batched tensors. Quaternions are unit, ordered (w, x, y, z), and rotate from the body to the world.

Products of quaternions, and a quaternion's matrix, are bilinear in their components: one table of coefficients times
all pairwise products. That is three launches instead of thirty, which counts with small batches and on a GPU.
"""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor

# Rows: ww wx wy wz  xw xx xy xz  yw yx yy yz  zw zx zy zz, the pairwise products of two quaternions' components.
_PRODUCT = (
    (1, 0, 0, 0),
    (0, 1, 0, 0),
    (0, 0, 1, 0),
    (0, 0, 0, 1),
    (0, 1, 0, 0),
    (-1, 0, 0, 0),
    (0, 0, 0, 1),
    (0, 0, -1, 0),
    (0, 0, 1, 0),
    (0, 0, 0, -1),
    (-1, 0, 0, 0),
    (0, 1, 0, 0),
    (0, 0, 0, 1),
    (0, 0, 1, 0),
    (0, -1, 0, 0),
    (-1, 0, 0, 0),
)
_MATRIX = (  # columns: the matrix's elements, row by row
    (1, 0, 0, 0, 1, 0, 0, 0, 1),
    (0, 0, 0, 0, 0, -1, 0, 1, 0),
    (0, 0, 1, 0, 0, 0, -1, 0, 0),
    (0, -1, 0, 1, 0, 0, 0, 0, 0),
    (0, 0, 0, 0, 0, -1, 0, 1, 0),
    (1, 0, 0, 0, -1, 0, 0, 0, -1),
    (0, 1, 0, 1, 0, 0, 0, 0, 0),
    (0, 0, 1, 0, 0, 0, 1, 0, 0),
    (0, 0, 1, 0, 0, 0, -1, 0, 0),
    (0, 1, 0, 1, 0, 0, 0, 0, 0),
    (-1, 0, 0, 0, 1, 0, 0, 0, -1),
    (0, 0, 0, 0, 0, 1, 0, 1, 0),
    (0, -1, 0, 1, 0, 0, 0, 0, 0),
    (0, 0, 1, 0, 0, 0, 1, 0, 0),
    (0, 0, 0, 0, 0, 1, 0, 1, 0),
    (-1, 0, 0, 0, -1, 0, 0, 0, 1),
)


@cache
def _coefficients(table: tuple[tuple[int, ...], ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    return torch.tensor(table, dtype=dtype, device=device)


def _bilinear(a: Tensor, b: Tensor, table: tuple[tuple[int, ...], ...]) -> Tensor:
    products = (a.unsqueeze(-1) * b.unsqueeze(-2)).flatten(-2)
    return products @ _coefficients(table, a.dtype, a.device)


def quat_rotate(q: Tensor, v: Tensor) -> Tensor:
    """Rotate vectors ``v`` (..., 3) by quaternions ``q`` (..., 4)."""
    return (matrix_from_quat(q) @ v.unsqueeze(-1)).squeeze(-1)


def quat_rotate_inverse(q: Tensor, v: Tensor) -> Tensor:
    """Rotate vectors ``v`` (..., 3) by the inverse of ``q`` (..., 4): from the world to the body."""
    return (v.unsqueeze(-2) @ matrix_from_quat(q)).squeeze(-2)


def quat_multiply(a: Tensor, b: Tensor) -> Tensor:
    """Return the quaternion (..., 4) of the rotation ``b`` followed by ``a``."""
    return _bilinear(a, b, _PRODUCT)


def quat_from_euler(roll: Tensor, pitch: Tensor, yaw: Tensor) -> Tensor:
    """Return quaternions (..., 4) that roll about x, then pitch about y, then yaw about z (fixed axes, radians)."""
    half = torch.stack([roll, pitch, yaw], dim=-1) / 2
    (cr, cp, cy), (sr, sp, sy) = torch.cos(half).unbind(-1), torch.sin(half).unbind(-1)
    return torch.stack(
        [
            cr * cp * cy + sr * sp * sy,
            sr * cp * cy - cr * sp * sy,
            cr * sp * cy + sr * cp * sy,
            cr * cp * sy - sr * sp * cy,
        ],
        dim=-1,
    )


def quat_from_yaw(yaw: Tensor) -> Tensor:
    """Return quaternions (..., 4) that turn by ``yaw`` (...,) about z, radians."""
    half = yaw / 2
    zero = torch.zeros_like(yaw)
    return torch.stack([torch.cos(half), zero, zero, torch.sin(half)], dim=-1)


def matrix_from_quat(q: Tensor) -> Tensor:
    """Return rotation matrices (..., 3, 3), body to world, of quaternions (..., 4)."""
    return _bilinear(q, q, _MATRIX).unflatten(-1, (3, 3))


def yaw_of(q: Tensor) -> Tensor:
    """Return the heading (...,) in (-pi, pi] of quaternions (..., 4)."""
    w, x, y, z = q.unbind(-1)
    return torch.atan2(2 * (w * z + x * y), 1 - 2 * (y * y + z * z))

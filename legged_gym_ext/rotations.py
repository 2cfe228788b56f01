"""Rotations on batched tensors. Quaternions are unit, ordered (w, x, y, z), and rotate from the body to the world."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def quat_rotate(q: Tensor, v: Tensor) -> Tensor:
    """Rotate vectors ``v`` (..., 3) by quaternions ``q`` (..., 4): v + 2w(u x v) + 2u x (u x v), with q = (w, u)."""
    w, u = q[..., :1], q[..., 1:]
    t = 2.0 * torch.linalg.cross(u, v)
    return v + w * t + torch.linalg.cross(u, t)


def quat_conjugate(q: Tensor) -> Tensor:
    """Return the inverse rotation of unit quaternions (..., 4)."""
    return torch.cat([q[..., :1], -q[..., 1:]], dim=-1)


def quat_rotate_inverse(q: Tensor, v: Tensor) -> Tensor:
    """Rotate vectors ``v`` (..., 3) by the inverse of ``q`` (..., 4): from the world to the body."""
    return quat_rotate(quat_conjugate(q), v)


def quat_multiply(a: Tensor, b: Tensor) -> Tensor:
    """Return the quaternion (..., 4) of the rotation ``b`` followed by ``a``."""
    aw, ax, ay, az = a.unbind(-1)
    bw, bx, by, bz = b.unbind(-1)
    return torch.stack(
        [
            aw * bw - ax * bx - ay * by - az * bz,
            aw * bx + ax * bw + ay * bz - az * by,
            aw * by - ax * bz + ay * bw + az * bx,
            aw * bz + ax * by - ay * bx + az * bw,
        ],
        dim=-1,
    )


def quat_from_euler(roll: Tensor, pitch: Tensor, yaw: Tensor) -> Tensor:
    """Return quaternions (..., 4) that roll about x, then pitch about y, then yaw about z (fixed axes, radians)."""
    cr, sr = torch.cos(roll / 2), torch.sin(roll / 2)
    cp, sp = torch.cos(pitch / 2), torch.sin(pitch / 2)
    cy, sy = torch.cos(yaw / 2), torch.sin(yaw / 2)
    return torch.stack(
        [
            cr * cp * cy + sr * sp * sy,
            sr * cp * cy - cr * sp * sy,
            cr * sp * cy + sr * cp * sy,
            cr * cp * sy - sr * sp * cy,
        ],
        dim=-1,
    )


def matrix_from_quat(q: Tensor) -> Tensor:
    """Return rotation matrices (..., 3, 3), body to world, of quaternions (..., 4)."""
    w, x, y, z = q.unbind(-1)
    rows = [
        *(1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)),
        *(2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)),
        *(2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)),
    ]
    return torch.stack(rows, dim=-1).unflatten(-1, (3, 3))


def yaw_of(q: Tensor) -> Tensor:
    """Return the heading (...,) in (-pi, pi] of quaternions (..., 4)."""
    w, x, y, z = q.unbind(-1)
    return torch.atan2(2 * (w * z + x * y), 1 - 2 * (y * y + z * z))


def wrap_to_pi(angle: Tensor) -> Tensor:
    """Return ``angle`` (radians) brought into (-pi, pi]."""
    return math.pi - torch.remainder(math.pi - angle, 2 * math.pi)

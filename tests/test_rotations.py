"""Rotations, against MuJoCo's own functions on random input."""

from __future__ import annotations

import math

import mujoco
import numpy as np
import pytest
import torch

from legged_gym_ext import rotations

RNG = np.random.default_rng(0)
N = 50


def random_quats() -> np.ndarray:
    quats = RNG.normal(size=(N, 4))
    return quats / np.linalg.norm(quats, axis=1, keepdims=True)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_products_and_matrices_are_mujocos(dtype: torch.dtype) -> None:
    a, b, v = random_quats(), random_quats(), RNG.normal(size=(N, 3))
    product, matrix, turned, back = np.zeros((N, 4)), np.zeros((N, 9)), np.zeros((N, 3)), np.zeros((N, 3))
    for n in range(N):
        mujoco.mju_mulQuat(product[n], a[n], b[n])
        mujoco.mju_quat2Mat(matrix[n], a[n])
        mujoco.mju_rotVecQuat(turned[n], v[n], a[n])
        back[n] = matrix[n].reshape(3, 3).T @ v[n]
    p, q, w = (torch.tensor(x, dtype=dtype) for x in (a, b, v))
    tolerance = {"rtol": 0.0, "atol": 1e-12 if dtype == torch.float64 else 2e-6}
    for mine, expected in (
        (rotations.quat_multiply(p, q), product),
        (rotations.matrix_from_quat(p).flatten(1), matrix),
        (rotations.quat_rotate(p, w), turned),
        (rotations.quat_rotate_inverse(p, w), back),
    ):
        assert mine.dtype == dtype
        torch.testing.assert_close(mine.double(), torch.tensor(expected), **tolerance)


def test_euler_angles_turn_about_fixed_axes_in_order() -> None:
    angles = RNG.uniform(-math.pi, math.pi, size=(N, 3))
    expected = np.zeros((N, 4))
    for n in range(N):
        mujoco.mju_euler2Quat(expected[n], angles[n], "XYZ")  # capitals: axes that stay where they are
    quats = rotations.quat_from_euler(*torch.tensor(angles).unbind(1))
    torch.testing.assert_close(
        quats * torch.tensor(np.sign((quats.numpy() * expected).sum(1)))[:, None],
        torch.tensor(expected),
        rtol=0.0,
        atol=1e-12,
    )
    yaw = torch.tensor(angles[:, 2])
    zero = torch.zeros_like(yaw)
    assert torch.equal(rotations.quat_from_yaw(yaw), rotations.quat_from_euler(zero, zero, yaw))
    torch.testing.assert_close(rotations.yaw_of(rotations.quat_from_yaw(yaw)), yaw)

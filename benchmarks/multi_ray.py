"""A peer for the depth kernels on a CPU: MuJoCo's ``mj_multiRay``, on one core."""

from __future__ import annotations

import statistics

import mujoco
import numpy as np
import torch
from torch import Tensor

from benchmarks.mesh_bvh import camera_rays
from benchmarks.stopwatch import median_seconds
from legged_gym_ext.sensors.depth_camera import DepthCamera
from legged_gym_ext.terrain.boxes import CENTER, HALF, QUAT

TILES = 8
"""How many of the images are cast."""


def rays_per_second(camera: DepthCamera, boxes: Tensor, position: Tensor, rotation: Tensor, repeats: int) -> float:
    """Return the rate for the rays of some of the cameras, with the far depth as their cutoff."""
    rays = camera_rays(camera).double().numpy()
    rays /= np.linalg.norm(rays, axis=-1, keepdims=True)
    geom, distance = np.zeros(len(rays), np.int32), np.zeros(len(rays))
    times = []
    for n in range(min(TILES, len(boxes))):
        spec = mujoco.MjSpec()
        for row in boxes[n].double().numpy():
            if row[HALF][0] > 0:
                spec.worldbody.add_geom(type=mujoco.mjtGeom.mjGEOM_BOX, pos=row[CENTER], quat=row[QUAT], size=row[HALF])
        model = spec.compile()
        data = mujoco.MjData(model)
        mujoco.mj_kinematics(model, data)
        origin = position[n].double().numpy()
        directions = (rays @ rotation[n].double().numpy().T).ravel()
        cutoff = camera.config.far / rays[:, 2].min()

        def cast(model=model, data=data, origin=origin, directions=directions, cutoff=cutoff) -> None:
            mujoco.mj_multiRay(model, data, origin, directions, None, True, -1, geom, distance, None, len(rays), cutoff)

        times.append(median_seconds(cast, torch.device("cpu"), repeats))
    return len(rays) / statistics.fmean(times)

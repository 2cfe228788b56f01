"""A peer for the depth kernels on a CPU: MuJoCo's ``mj_multiRay``, on one core."""

from __future__ import annotations

import mujoco
import numpy as np
from torch import Tensor

from benchmarks.mesh_bvh import camera_rays
from legged_gym_ext.sensors.depth_camera import DepthCamera
from legged_gym_ext.terrain.boxes import CENTER, HALF, QUAT

IMAGES = 8
"""How many of the images are cast, at most."""


class MultiRayDepth:
    """Casts the rays of some of the cameras, with the far depth as their cutoff; poses as for ``render_depth``."""

    def __init__(self, boxes: Tensor, camera: DepthCamera, position: Tensor, rotation: Tensor) -> None:
        rays = camera_rays(camera).double().numpy()
        rays /= np.linalg.norm(rays, axis=-1, keepdims=True)
        self._cutoff = camera.config.far / rays[:, 2].min()
        self._geom, self._distance = np.zeros(len(rays), np.int32), np.zeros(len(rays))
        self._scenes = []
        for n in range(min(IMAGES, len(boxes))):
            model = _model(boxes[n])
            data = mujoco.MjData(model)
            mujoco.mj_kinematics(model, data)
            directions = (rays @ rotation[n].double().numpy().T).ravel()
            self._scenes.append((model, data, position[n].double().numpy(), directions))
        self.num_rays = len(rays) * len(self._scenes)

    def render(self) -> None:
        """Cast them all."""
        outputs = (self._geom, self._distance, None, len(self._geom), self._cutoff)
        for scene in self._scenes:
            mujoco.mj_multiRay(*scene, None, True, -1, *outputs)


def _model(boxes: Tensor) -> mujoco.MjModel:
    spec = mujoco.MjSpec()
    for row in boxes.double().numpy():
        if row[HALF][0] > 0:
            spec.worldbody.add_geom(type=mujoco.mjtGeom.mjGEOM_BOX, pos=row[CENTER], quat=row[QUAT], size=row[HALF])
    return spec.compile()

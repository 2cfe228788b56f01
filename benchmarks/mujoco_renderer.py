"""A peer for the depth kernels: MuJoCo Warp's batch renderer, as fast as it goes.

It draws nothing but depth, on a model of nothing but boxes, without shading and back faces. The boxes stand still, so
its bounding volume hierarchy is built once, around them, and never refitted.
"""

# Kernels look like Python, but their types are Warp's.
# pyright: reportArgumentType=false, reportInvalidTypeForm=false

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

import mujoco
import mujoco_warp as mjw
import torch
import warp as wp
from torch import Tensor

from legged_gym_ext.device import warp_runtime
from legged_gym_ext.rotations import matrix_from_quat
from legged_gym_ext.sensors.depth_camera import DepthCamera
from legged_gym_ext.terrain.boxes import ABSENT, CENTER, HALF, QUAT


class MujocoWarpDepth:
    """Renders the depth images of all cameras, each of the ``boxes`` (num_envs, K, BOX_DIM) of its environment."""

    def __init__(self, boxes: Tensor, camera: DepthCamera) -> None:
        warp_runtime.init()
        num_envs = len(boxes)
        self.device = camera.device
        self._flip = torch.tensor([1.0, -1.0, -1.0], device=self.device)  # MuJoCo's cameras look along -z, with y up
        model = _model(boxes.shape[1], camera)
        with self._on_device():
            self.model = mjw.put_model(model)
            self.data = mjw.make_data(model, nworld=num_envs)
            self.context = mjw.create_render_context(
                model,
                nworld=num_envs,
                cam_res=(camera.resolution[1], camera.resolution[0]),
                render_rgb=False,
                render_depth=True,
                render_seg=False,
                use_textures=False,
                enable_backface_culling=False,
            )
            self.model.geom_size = wp.from_torch(boxes[..., HALF].contiguous(), dtype=wp.vec3)
            wp.to_torch(self.data.geom_xpos).copy_(boxes[..., CENTER])
            wp.to_torch(self.data.geom_xmat).copy_(matrix_from_quat(boxes[..., QUAT]))
            mjw.refit_bvh(self.model, self.data, self.context)
            self._rebuild()

    def render(self, position: Tensor, rotation: Tensor) -> Tensor:
        """Return planar depths (num_envs, pixels), m, 0 where nothing is hit; poses as for ``render_depth``."""
        wp.to_torch(self.data.cam_xpos)[:, 0] = position
        wp.to_torch(self.data.cam_xmat)[:, 0] = rotation * self._flip
        with self._on_device():
            mjw.render(self.model, self.data, self.context)
        return wp.to_torch(self.context.depth_data)

    @contextmanager
    def _on_device(self) -> Iterator[None]:
        """Let Warp work on the device, and on torch's stream there."""
        stream = warp_runtime.current_stream(self.device)
        with wp.ScopedDevice(wp.device_from_torch(self.device)), wp.ScopedStream(stream):
            yield

    def _rebuild(self) -> None:
        """Build the hierarchy anew: the context built it while all boxes were in one place."""
        context = self.context
        context.bvh = wp.Bvh(context.lower, context.upper, groups=context.group, constructor="sah")
        context.bvh_id = context.bvh.id
        wp.launch(_group_roots, dim=len(context.group_root), inputs=[context.bvh.id, context.group_root])


def _model(num_boxes: int, camera: DepthCamera) -> mujoco.MjModel:
    spec = mujoco.MjSpec()
    for _ in range(num_boxes):
        spec.worldbody.add_geom(type=mujoco.mjtGeom.mjGEOM_BOX, pos=ABSENT[CENTER], size=[1.0] * 3)
    rows = camera.resolution[0]
    spec.worldbody.add_camera(fovy=math.degrees(2 * math.atan(0.5 * rows / camera.focal)))
    model = spec.compile()
    model.stat.extent = 1.0
    model.vis.map.zfar = camera.config.far
    return model


@wp.kernel(enable_backward=False)
def _group_roots(
    bvh: wp.uint64,
    roots: wp.array(dtype=int),
):
    world = wp.tid()
    roots[world] = wp.bvh_get_group_root(bvh, world)

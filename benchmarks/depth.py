"""Speed of the depth camera, against MuJoCo's own rays in the same run."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import mujoco
import numba
import numpy as np
import torch
from torch import Tensor

from legged_gym_ext.config import CameraConfig, TerrainConfig
from legged_gym_ext.rotations import quat_from_euler
from legged_gym_ext.sensors.box_raycast import render_depth
from legged_gym_ext.sensors.depth_camera import DepthCamera
from legged_gym_ext.sensors.height_scan import ground_height
from legged_gym_ext.terrain.boxes import CENTER, HALF, QUAT
from legged_gym_ext.terrain.library import build_library

BASE_HEIGHT = 1.0  # m over the ground
MUJOCO_TILES = 8


def run(num_envs: int = 256, repeats: int = 10) -> dict[str, float]:
    """Print and return rays per second (medians of ``repeats``) and their ratios.

    Tiles are drawn from the whole library, robots stand anywhere along their courses. ``mj_multiRay`` gets the rays of
    some of the same images, and the far depth as its cutoff.
    """
    torch.manual_seed(0)
    config = CameraConfig()
    library = build_library(TerrainConfig())
    boxes = library.boxes[torch.randint(len(library.boxes), (num_envs,))].contiguous()
    root_pos, root_quat = _poses_along_the_course(boxes, library.length)
    camera = DepthCamera(config, num_envs, "cpu")
    state, generator = camera.initial_state(), torch.Generator().manual_seed(0)
    position, rotation = camera.pose(state, root_pos, root_quat)
    everyone, nobody = torch.ones(num_envs, dtype=torch.bool), torch.zeros(num_envs, dtype=torch.bool)
    image = torch.empty(num_envs, camera.num_pixels)
    optics = (camera.resolution, camera.focal, config.near, config.far)

    def render() -> None:
        render_depth(boxes, position, rotation, *optics, everyone, image)

    def update() -> None:
        camera.update(state, everyone, nobody, root_pos, root_quat, boxes, generator)

    rays = num_envs * camera.num_pixels
    threads = numba.get_num_threads()
    result = {"mj_multiRay": _mujoco_rate(camera, boxes, position, rotation, repeats)}
    for count in sorted({1, threads}):
        numba.set_num_threads(count)
        result[f"render_depth, {count} thread(s)"] = rays / _median_time(render, repeats)
        result[f"noisy frames, {count} thread(s)"] = rays / _median_time(update, repeats)
    print(f"depth camera, {num_envs} environments, {camera.resolution[0]}x{camera.resolution[1]}:")
    for name, rate in result.items():
        print(f"  {name:<28} {rate / 1e6:8.1f} M rays/s  {rate / result['mj_multiRay']:6.1f}x mj_multiRay on one core")
    return result


def _poses_along_the_course(boxes: Tensor, length: float) -> tuple[Tensor, Tensor]:
    num_envs = len(boxes)
    xy = torch.rand(num_envs, 2) * torch.tensor([length, 0.6]) - torch.tensor([0.0, 0.3])
    ground = ground_height(boxes, xy[:, None], missing=0.0)
    roll, pitch, yaw = (0.1 * torch.randn(3, num_envs)).unbind()
    return torch.cat([xy, ground + BASE_HEIGHT], dim=-1), quat_from_euler(roll, pitch, yaw)


def _mujoco_rate(camera: DepthCamera, boxes: Tensor, position: Tensor, rotation: Tensor, repeats: int) -> float:
    rows, columns = camera.resolution
    x, y = np.meshgrid(np.arange(columns) - 0.5 * (columns - 1), np.arange(rows) - 0.5 * (rows - 1))
    rays = np.stack([x, y, np.full_like(x, camera.focal)], axis=-1).reshape(-1, 3)
    rays /= np.linalg.norm(rays, axis=-1, keepdims=True)
    geom, distance = np.zeros(len(rays), np.int32), np.zeros(len(rays))
    times = []
    for n in range(min(MUJOCO_TILES, len(boxes))):
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

        times.append(_median_time(cast, repeats))
    return len(rays) / statistics.fmean(times)


def _median_time(function: Callable[[], None], repeats: int) -> float:
    function()  # compiles, and warms the caches
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return statistics.median(times)

"""Speed of the depth camera, against what others cast the same rays with, in the same run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numba
import torch
from torch import Tensor

from benchmarks.case import Case
from benchmarks.mesh_bvh import MeshDepth
from benchmarks.mujoco_renderer import MujocoWarpDepth
from benchmarks.multi_ray import MultiRayDepth
from benchmarks.stopwatch import median_seconds
from legged_gym_ext.config.schema import CameraConfig, TerrainConfig
from legged_gym_ext.rotations import quat_from_euler
from legged_gym_ext.sensors.depth_camera import DepthCamera
from legged_gym_ext.sensors.height_scan import ground_height
from legged_gym_ext.sensors.raster import render_depth
from legged_gym_ext.terrain.library import build_library

BASE_HEIGHT = 1.0  # m over the ground


def run(case: Case) -> dict[str, float]:
    """Print and return rays per second (medians of calls in turns), ours and the peers'.

    On a CPU, Warp and ``mj_multiRay`` use one core: ours is compared with them on one, too.
    """
    torch.manual_seed(0)
    device = case.torch_device
    view = make_view(case.num_envs, device)
    functions = _ours(view, device)
    image = torch.empty(case.num_envs, view.camera.num_pixels, device=device)
    for name, joined in (("mesh BVH, a mesh per tile", False), ("mesh BVH, one terrain", True)):
        mesh = MeshDepth(view.tiles, view.tile, view.camera, joined)
        functions[name] = partial(mesh.render, view.position, view.rotation, image)
    functions["MuJoCo Warp renderer"] = partial(
        MujocoWarpDepth(view.boxes, view.camera).render, view.position, view.rotation
    )
    rays = dict.fromkeys(functions, image.numel())
    if case.on_cpu:
        multi_ray = MultiRayDepth(view.boxes, view.camera, view.position, view.rotation)
        functions["mj_multiRay"], rays["mj_multiRay"] = multi_ray.render, multi_ray.num_rays
    seconds = median_seconds(functions, device, 3 if case.quick else 10)
    rates = {name: rays[name] / seconds[name] for name in functions}
    print(f"depth, {case.num_envs} images of {'x'.join(map(str, view.camera.resolution))} on {case.device}:")
    for name, rate in rates.items():
        print(f"  {name:<32} {rate / 1e6:10.1f} M rays/s")
    return rates


def _ours(view: View, device: torch.device) -> dict[str, Callable[[], object]]:
    """Return what draws images, and what draws images and noise; on a CPU for one core and for all of them."""
    image = torch.empty(len(view.boxes), view.camera.num_pixels, device=device)
    state, generator = view.camera.initial_state(), torch.Generator(device).manual_seed(0)
    nobody = ~view.everyone
    pose = (view.root_pos, view.root_quat, view.boxes)

    def on_cores(count: int, draw: Callable[[], object]) -> None:
        numba.set_num_threads(count)
        draw()

    functions: dict[str, Callable[[], object]] = {
        "depth images": partial(view.render, image),
        "frames with noise": partial(view.camera.update, state, view.everyone, nobody, *pose, generator),
    }
    if device.type != "cpu":
        return functions
    return {
        f"{name}, {count} core(s)": partial(on_cores, count, draw)
        for count in sorted({1, numba.get_num_threads()})
        for name, draw in functions.items()
    }


@dataclass
class View:
    """Robots anywhere along the courses of tiles that are drawn from the whole library, and their cameras."""

    tiles: Tensor
    """Boxes of every tile of the library, (tiles, K, BOX_DIM)."""
    tile: Tensor
    """Of each environment, (num_envs,) long."""
    boxes: Tensor
    """Of each environment's tile, (num_envs, K, BOX_DIM)."""
    camera: DepthCamera
    root_pos: Tensor
    root_quat: Tensor
    position: Tensor
    """Of the cameras, see ``render_depth``; (num_envs, 3)."""
    rotation: Tensor
    everyone: Tensor
    """(num_envs,) bool, all true."""

    def render(self, out: Tensor) -> None:
        """Write our depth images (num_envs, pixels)."""
        config = self.camera.config
        limits = (self.camera.resolution, self.camera.focal, config.near, config.far)
        render_depth(self.boxes, self.position, self.rotation, *limits, self.everyone, out)


def make_view(num_envs: int, device: torch.device) -> View:
    """Draw tiles and poses from torch's global generator: the same ones on every device."""
    library = build_library(TerrainConfig())
    tile = torch.randint(len(library.boxes), (num_envs,))
    boxes = library.boxes[tile].contiguous()
    xy = torch.rand(num_envs, 2) * torch.tensor([library.length, 0.6]) - torch.tensor([0.0, 0.3])
    ground = ground_height(boxes, xy[:, None], missing=0.0)
    roll, pitch, yaw = (0.1 * torch.randn(3, num_envs)).unbind()
    root_pos = torch.cat([xy, ground + BASE_HEIGHT], dim=-1).to(device)
    root_quat = quat_from_euler(roll, pitch, yaw).to(device)
    camera = DepthCamera(CameraConfig(), num_envs, device)
    pose = camera.pose(camera.initial_state(), root_pos, root_quat)
    everyone = torch.ones(num_envs, dtype=torch.bool, device=device)
    tiles = (library.boxes.to(device), tile.to(device), boxes.to(device))
    return View(*tiles, camera, root_pos, root_quat, *pose, everyone)

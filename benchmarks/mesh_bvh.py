"""A peer for the depth kernels: rays against triangle meshes in bounding volume hierarchies, through NVIDIA Warp.

This is how the ray-cast cameras of Isaac Lab and mjlab see a terrain. The rays, the depths and their limits are those
of ``render_depth`` (legged_gym_ext/sensors/raster.py); the tiles never move, so the hierarchies are built once,
with Warp's most careful constructor, before anything is timed.
"""

# Kernels look like Python, but their types are Warp's.
# pyright: reportAssignmentType=false, reportAttributeAccessIssue=false, reportGeneralTypeIssues=false
# pyright: reportInvalidTypeForm=false

from __future__ import annotations

import math

import torch
import warp as wp
from torch import Tensor

from legged_gym_ext.device import warp_runtime
from legged_gym_ext.rotations import quat_rotate
from legged_gym_ext.sensors.depth_camera import DepthCamera
from legged_gym_ext.terrain.boxes import CENTER, HALF, QUAT

GAP = 10.0
"""Free space between tiles that lie side by side, m: more than a ray's reach."""

_CORNERS = [[x, y, z] for z in (-1, 1) for y in (-1, 1) for x in (-1, 1)]
_TRIANGLES = [  # of a box with these corners, seen from outside counter-clockwise
    [0, 2, 1],
    [1, 2, 3],
    [4, 5, 6],
    [5, 7, 6],
    [0, 1, 4],
    [1, 5, 4],
    [2, 6, 3],
    [3, 6, 7],
    [0, 4, 2],
    [2, 4, 6],
    [1, 3, 5],
    [3, 7, 5],
]


class MeshDepth:
    """Casts the rays of all cameras.

    Args:
        tiles: boxes of every tile, (tiles, K, BOX_DIM).
        tile: of each environment, (num_envs,) long.
        camera: whose rays are cast.
        joined: one mesh has all tiles, laid out on a grid; otherwise each tile has a mesh of its own.
    """

    def __init__(self, tiles: Tensor, tile: Tensor, camera: DepthCamera, joined: bool) -> None:
        warp_runtime.init()
        device = wp.device_from_torch(camera.device)
        triangles = tile_triangles(tiles)
        offsets = _grid(tiles).to(tiles.device)
        if joined:
            triangles = [torch.cat([t + offset for t, offset in zip(triangles, offsets, strict=True)])]
        else:
            offsets = torch.zeros_like(offsets)
        self.meshes = [_mesh(t, device) for t in triangles]
        ids = torch.tensor([mesh.id for mesh in self.meshes], device=camera.device)
        chosen = torch.zeros_like(tile) if joined else tile
        self._mesh_ids = wp.from_torch(ids[chosen].contiguous(), dtype=wp.uint64)
        self._offsets = wp.from_torch(offsets[tile].contiguous(), dtype=wp.vec3)
        self.rays = camera_rays(camera)
        self._limits = (camera.config.near, camera.config.far)

    def render(self, position: Tensor, rotation: Tensor, out: Tensor) -> None:
        """Write planar depths (num_envs, pixels), m; poses of the cameras as for ``render_depth``."""
        wp.launch(
            _cast,
            dim=out.shape,
            inputs=[
                self._mesh_ids,
                self._offsets,
                wp.from_torch(position, dtype=wp.vec3),
                wp.from_torch(rotation, dtype=wp.mat33),
                wp.from_torch(self.rays, dtype=wp.vec3),
                *self._limits,
                wp.from_torch(out),
            ],
            device=wp.device_from_torch(out.device),
            stream=warp_runtime.current_stream(out.device),
        )


def camera_rays(camera: DepthCamera) -> Tensor:
    """Return the direction of each pixel's ray in the camera frame, (pixels, 3), with 1 along the optical axis."""
    rows, columns = camera.resolution
    i, j = torch.meshgrid(
        torch.arange(rows, device=camera.device) - 0.5 * (rows - 1),
        torch.arange(columns, device=camera.device) - 0.5 * (columns - 1),
        indexing="ij",
    )
    return torch.stack([j / camera.focal, i / camera.focal, torch.ones_like(i)], dim=-1).reshape(-1, 3)


def tile_triangles(tiles: Tensor) -> list[Tensor]:
    """Return the triangles of each tile's boxes, (triangles, 3, 3), m; rows that are no box have none."""
    corners = torch.tensor(_CORNERS, dtype=tiles.dtype, device=tiles.device)
    local = corners * tiles[:, :, None, HALF]
    points = tiles[:, :, None, CENTER] + quat_rotate(tiles[:, :, None, QUAT].expand(*local.shape[:3], 4), local)
    present = tiles[:, :, HALF.start] > 0
    faces = torch.tensor(_TRIANGLES, device=tiles.device)
    return [points[n][present[n]][:, faces].flatten(0, 1) for n in range(len(tiles))]


def _grid(tiles: Tensor) -> Tensor:
    """Return where each tile goes on a square grid about the origin, (tiles, 3), m."""
    present = tiles[..., HALF.start] > 0
    reach = (tiles[..., CENTER].abs() + tiles[..., HALF].norm(dim=-1, keepdim=True))[present].amax(dim=0)
    columns = math.ceil(math.sqrt(len(tiles)))
    place = torch.arange(len(tiles), device=tiles.device)
    grid = torch.stack([place % columns, place // columns, torch.zeros_like(place)], dim=-1) - columns // 2
    grid[:, 2] = 0
    return grid * (2 * reach + GAP)


def _mesh(triangles: Tensor, device: wp.Device) -> wp.Mesh:
    """Return the mesh of ``triangles`` (triangles, 3, 3) in which equal corners are one point."""
    points, index = torch.unique(triangles.flatten(0, 1), dim=0, return_inverse=True)
    return wp.Mesh(
        points=wp.array(points.cpu().numpy(), dtype=wp.vec3, device=device),
        indices=wp.array(index.int().cpu().numpy(), dtype=wp.int32, device=device),
        bvh_constructor="sah",
    )


@wp.kernel(enable_backward=False)
def _cast(
    mesh_ids: wp.array(dtype=wp.uint64),
    offsets: wp.array(dtype=wp.vec3),
    positions: wp.array(dtype=wp.vec3),
    rotations: wp.array(dtype=wp.mat33),
    rays: wp.array(dtype=wp.vec3),
    near: float,
    far: float,
    out: wp.array2d(dtype=float),
):
    env, pixel = wp.tid()
    # A ray that advances 1 along the optical axis: its parameter is the planar depth.
    hit = wp.mesh_query_ray(mesh_ids[env], positions[env] + offsets[env], rotations[env] * rays[pixel], far)
    depth = far
    if hit.result:
        depth = wp.max(hit.t, near)
    out[env, pixel] = depth

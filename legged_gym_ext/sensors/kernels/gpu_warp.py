"""The GPU kernels behind raster.py, which documents them: Warp. Tests run them on the CPU too.

Images are rasterized as cpu_numba.py explains, in two kernels. The first has a thread for every box: boxes that
the image cannot show drop out, and the others' faces go into a list of their environment. The second has a thread for
every few pixels of a column, which goes through that list. The list's order is not the same from run to run, but the
image is: the nearest of the boxes is the same in any order.

Nothing here waits for the GPU. Work space is allocated once for each size and stays, so that a CUDA graph can capture
the launches; two streams must not draw at the same time.
"""

# Kernels look like Python, but their types are Warp's.
# pyright: reportArgumentType=false, reportAssignmentType=false, reportCallIssue=false, reportGeneralTypeIssues=false
# pyright: reportIndexIssue=false, reportInvalidTypeForm=false, reportOperatorIssue=false

from __future__ import annotations

import functools
import sys
from typing import Any

import torch
import warp as wp
from torch import Tensor

from legged_gym_ext.device import warp_runtime
from legged_gym_ext.sensors.raster import (
    BYTES_DEVIATION,
    BYTES_MEAN,
    FACES,
    HASH_FACTORS,
    HUGE,
    MAX_ENTRIES,
    NEAREST,
    PIXEL_STEP,
    TINY,
)

warp_runtime.init()
wp.set_module_options({"enable_backward": False, "default_grid_stride": False})

COLUMN_PIXELS = wp.constant(4)  # of one thread: they share what it reads of a box
DELIVERING = wp.constant(256)  # threads that deliver one image
HASH_1, HASH_2 = wp.constant(wp.uint32(HASH_FACTORS[0])), wp.constant(wp.uint32(HASH_FACTORS[1]))
STEP = wp.constant(wp.uint32(PIXEL_STEP))
ZERO, ONE = wp.constant(wp.float64(0.0)), wp.constant(wp.float64(1.0))
FAR_AWAY = wp.constant(wp.float64(HUGE))
THIN = wp.constant(wp.float64(TINY))

LISTED = MAX_ENTRIES + FACES - 1  # faces of a box that is seen from outside
Faces = wp.types.matrix(shape=(3, LISTED), dtype=wp.float32)
"""Inverse depths of planes, entries first: in the middle of the image, their changes per column and per row."""


@wp.func
def _widen(bounds: wp.vec4d, start: wp.vec3d, step: wp.vec3d, near: wp.float64, far: wp.float64):
    """Widen left, top, -right and -bottom (slopes) to the part of an edge between two depths."""
    first, last = ZERO, ONE
    if step[2] != ZERO:
        cut_near, cut_far = (near - start[2]) / step[2], (far - start[2]) / step[2]
        first, last = wp.max(first, wp.min(cut_near, cut_far)), wp.min(last, wp.max(cut_near, cut_far))
    elif start[2] < near or start[2] > far:
        last = -ONE
    if first <= last:
        a, b = start + first * step, start + last * step
        bounds = wp.min(bounds, wp.vec4d(a[0], a[1], -a[0], -a[1]) / a[2])
        bounds = wp.min(bounds, wp.vec4d(b[0], b[1], -b[0], -b[1]) / b[2])
    return bounds


@wp.func
def _pixel(value: wp.float64, size: int):
    """Clamp a row or column, which may be far outside, to those that there are, 0 to ``size``."""
    return wp.float32(wp.clamp(value, ZERO, wp.float64(size)))


@wp.kernel
def _list_faces(
    boxes: wp.array3d(dtype=wp.float32),
    position: wp.array2d(dtype=wp.float32),
    rotation: wp.array3d(dtype=wp.float32),
    rows: int,
    columns: int,
    focal: wp.float64,
    near: wp.float64,
    far: wp.float64,
    mask: wp.array1d(dtype=wp.bool),
    counts: wp.array1d(dtype=wp.int32),
    rectangles: wp.array2d(dtype=wp.vec4),
    lists: wp.array2d(dtype=Faces),
):
    """Append the box to its environment's list, with the rectangle of pixels that it can cover."""
    n, k = wp.tid()
    if not mask[n] or boxes[n, k, 7] <= 0.0:
        return
    quat = wp.quat(boxes[n, k, 4], boxes[n, k, 5], boxes[n, k, 6], boxes[n, k, 3])
    to_box = wp.transpose(wp.quat_to_matrix(wp.quatd(quat)))
    half = wp.vec3d(wp.float64(boxes[n, k, 7]), wp.float64(boxes[n, k, 8]), wp.float64(boxes[n, k, 9]))
    turn = wp.mat33d()
    to_camera = wp.vec3d()
    for i in range(3):
        to_camera[i] = wp.float64(position[n, i]) - wp.float64(boxes[n, k, i])
        for j in range(3):
            turn[i, j] = wp.float64(rotation[n, i, j])
    axes = to_box * turn  # the box's axes in the camera frame, one in each row
    offset = to_box * to_camera  # the camera in the box frame
    center = -offset * axes  # the box in the camera frame

    reach = wp.abs(axes[0, 2]) * half[0] + wp.abs(axes[1, 2]) * half[1] + wp.abs(axes[2, 2]) * half[2]
    if not (center[2] - reach <= far and center[2] + reach >= near):  # said so, what is not a number is not drawn
        return
    bounds = wp.vec4d(FAR_AWAY, FAR_AWAY, FAR_AWAY, FAR_AWAY)
    for side in range(4):
        sign_i, sign_j = wp.float64(2 * (side % 2) - 1), wp.float64(2 * (side // 2) - 1)
        for e in range(3):
            i, j = (e + 1) % 3, (e + 2) % 3
            middle = center + sign_i * half[i] * axes[i] + sign_j * half[j] * axes[j]
            bounds = _widen(bounds, middle - half[e] * axes[e], wp.float64(2.0) * half[e] * axes[e], near, far)
    row, column = wp.float64(0.5) * wp.float64(rows - 1), wp.float64(0.5) * wp.float64(columns - 1)
    left, top = _pixel(wp.floor(column + focal * bounds[0]), columns), _pixel(wp.floor(row + focal * bounds[1]), rows)
    right = _pixel(wp.ceil(column - focal * bounds[2]) + ONE, columns)
    bottom = _pixel(wp.ceil(row - focal * bounds[3]) + ONE, rows)
    if not (left < right and top < bottom):
        return

    # Faces that are not needed neither let a ray in later nor out earlier. With none of its own, a box that the camera
    # is in is as near as can be.
    faces = Faces()
    for face in range(LISTED):
        faces[0, face] = wp.where(face < MAX_ENTRIES, HUGE, -HUGE)
    entries, exits = wp.int32(0), wp.int32(MAX_ENTRIES)
    if wp.max(wp.abs(offset[0]) - half[0], wp.max(wp.abs(offset[1]) - half[1], wp.abs(offset[2]) - half[2])) > ZERO:
        for e in range(3):
            outside = wp.abs(offset[e]) - half[e]
            toward = wp.where(offset[e] > ZERO, -ONE, ONE)
            for side in range(2):
                face = exits
                if outside > ZERO and side == 0:
                    scale = toward / wp.max(outside, THIN)
                    face = entries
                    entries += 1
                else:
                    ahead = wp.where(side == 0, -toward, toward)  # the way out that this face is
                    scale = ahead / wp.max(half[e] - ahead * offset[e], THIN)
                    exits += 1
                faces[0, face] = wp.float32(axes[e, 2] * scale)
                faces[1, face] = wp.float32(axes[e, 0] / focal * scale)
                faces[2, face] = wp.float32(axes[e, 1] / focal * scale)
    slot = wp.atomic_add(counts, n, 1)
    rectangles[n, slot] = wp.vec4(left, right, top, bottom)
    lists[n, slot] = faces


@wp.kernel
def _draw(
    counts: wp.array1d(dtype=wp.int32),
    rectangles: wp.array2d(dtype=wp.vec4),
    lists: wp.array2d(dtype=Faces),
    rows: int,
    columns: int,
    near: float,
    far: float,
    mask: wp.array1d(dtype=wp.bool),
    out: wp.array2d(dtype=wp.float32),
):
    """Draw some pixels of a column."""
    n, block, j = wp.tid()
    if not mask[n]:
        return
    row, column = block * COLUMN_PIXELS, float(j)
    x, y = column - 0.5 * float(columns - 1), float(row) - 0.5 * float(rows - 1)
    inverse_depth = wp.vec4()
    for slot in range(counts[n]):
        box = rectangles[n, slot]
        if column >= box[0] and column < box[1] and float(row + COLUMN_PIXELS) > box[2] and float(row) < box[3]:
            faces = lists[n, slot]
            first = faces[0] + faces[1] * x + faces[2] * y
            for i in range(COLUMN_PIXELS):
                face = first + faces[2] * float(i)
                entry = wp.min(wp.min(face[0], face[1]), face[2])
                leave = wp.max(wp.max(wp.max(face[3], face[4]), wp.max(face[5], face[6])), face[7])
                if leave <= entry:
                    inverse_depth[i] = wp.max(inverse_depth[i], entry)
    for i in range(COLUMN_PIXELS):
        if row + i < rows:
            out[n, (row + i) * columns + j] = wp.clamp(1.0 / inverse_depth[i], near, far)


@wp.func
def _enter_sphere(way: wp.vec3, radius: float, ray: wp.vec3):
    """Depth at which a ray enters a sphere that is ``way`` from the camera; HUGE if it misses it."""
    length, along = wp.dot(ray, ray), wp.dot(way, ray)
    across = way - along / length * ray
    root = (radius * radius - wp.dot(across, across)) / length
    depth = along / length - wp.sqrt(wp.max(root, 0.0))
    return wp.where(root >= 0.0 and depth > 0.0, depth, HUGE)


@wp.func
def _enter_capsule(a: wp.vec3, b: wp.vec3, radius: float, ray: wp.vec3):
    """Depth at which a ray enters a capsule: one of its two ends, or the cylinder between them."""
    axis = b - a
    square = wp.dot(axis, axis)
    nearest = a - wp.clamp(wp.dot(a, axis) / wp.max(square, TINY), -1.0, 0.0) * axis
    if wp.dot(nearest, nearest) <= radius * radius:
        return HUGE  # the camera is inside
    depth = wp.min(_enter_sphere(a, radius, ray), _enter_sphere(b, radius, ray))
    if square > 0.0:
        # What of the ray and of the way to the axis is across the axis decides where the ray enters the cylinder.
        ray_along, way_along = wp.dot(ray, axis) / square, wp.dot(a, axis) / square
        ray_across, way_across = ray - ray_along * axis, a - way_along * axis
        length, along = wp.dot(ray_across, ray_across), wp.dot(way_across, ray_across)
        if length > TINY:
            passing = way_across - along / length * ray_across
            root = (radius * radius - wp.dot(passing, passing)) / length
            enter = along / length - wp.sqrt(wp.max(root, 0.0))
            place = enter * ray_along - way_along
            if root >= 0.0 and enter > 0.0 and place >= 0.0 and place <= 1.0:
                depth = wp.min(depth, enter)
    return depth


@wp.kernel
def _add_capsules(
    capsules: wp.array3d(dtype=wp.float32),
    position: wp.array2d(dtype=wp.float32),
    rotation: wp.array3d(dtype=wp.float32),
    rows: int,
    columns: int,
    focal: float,
    near: float,
    mask: wp.array1d(dtype=wp.bool),
    out: wp.array2d(dtype=wp.float32),
):
    """Draw one pixel."""
    n, pixel = wp.tid()
    if not mask[n]:
        return
    row, column = pixel // columns, pixel % columns
    camera = wp.vec3(position[n, 0], position[n, 1], position[n, 2])
    turn = wp.mat33()
    for i in range(3):
        for j in range(3):
            turn[i, j] = rotation[n, i, j]
    slopes = wp.vec3(float(column) - 0.5 * float(columns - 1), float(row) - 0.5 * float(rows - 1), focal) / focal
    ray = turn * slopes  # in the tile frame, with a depth of one
    depth = out[n, pixel]
    for k in range(capsules.shape[1]):
        a = wp.vec3(capsules[n, k, 0], capsules[n, k, 1], capsules[n, k, 2]) - camera
        b = wp.vec3(capsules[n, k, 3], capsules[n, k, 4], capsules[n, k, 5]) - camera
        middle, radius = 0.5 * (a + b), capsules[n, k, 6]
        away = wp.cross(middle, ray)
        reach = 0.5 * wp.length(b - a) + radius
        if wp.dot(away, away) <= reach * reach * wp.dot(ray, ray):  # the ray meets the sphere about the capsule
            depth = wp.min(depth, _enter_capsule(a, b, radius, ray))
    out[n, pixel] = wp.max(depth, near)


@wp.func
def _hash(x: wp.uint32):
    """Mix 32 bits."""
    x = (x ^ (x >> wp.uint32(16))) * HASH_1
    x = (x ^ (x >> wp.uint32(15))) * HASH_2
    return x ^ (x >> wp.uint32(16))


@wp.kernel
def _deliver(
    seeds: wp.array1d(dtype=wp.int32),
    deviation: float,
    drop_below: wp.uint32,
    near: float,
    far: float,
    scale: float,
    shift: float,
    mask: wp.array1d(dtype=wp.bool),
    depths: wp.array2d(dtype=wp.float32),
    out: wp.array2d(dtype=Any),
):
    n, first = wp.tid()
    if not mask[n]:
        return
    byte = wp.uint32(255)
    for i in range(first, depths.shape[1], DELIVERING):
        bits = _hash(wp.uint32(seeds[n]) + wp.uint32(i) * STEP)
        total = (bits & byte) + (bits >> wp.uint32(8) & byte) + (bits >> wp.uint32(16) & byte) + (bits >> wp.uint32(24))
        depth = depths[n, i]
        noisy = wp.clamp(depth + deviation * (float(total) - BYTES_MEAN) * depth * depth, near, far)
        delivered = noisy * scale + shift
        if depth >= far or _hash(bits + wp.uint32(1)) < drop_below:
            delivered = 0.5
        out[n, i] = out.dtype(delivered)


DELIVER = {
    dtype: wp.overload(_deliver, {"out": wp.array2d(dtype=wp.dtype_from_torch(dtype))})
    for dtype in (torch.float32, torch.float16)
}


@wp.kernel
def _heights(
    boxes: wp.array3d(dtype=wp.float32),
    points: wp.array3d(dtype=wp.float32),
    missing: float,
    out: wp.array2d(dtype=wp.float32),
):
    n, p = wp.tid()
    found, highest = wp.bool(False), missing
    for k in range(boxes.shape[1]):
        dx, dy = points[n, p, 0] - boxes[n, k, 0], points[n, p, 1] - boxes[n, k, 1]
        half = wp.vec3(boxes[n, k, 7], boxes[n, k, 8], boxes[n, k, 9])
        if half[0] > 0.0 and dx * dx + dy * dy <= wp.dot(half, half):
            quat = wp.quat(boxes[n, k, 4], boxes[n, k, 5], boxes[n, k, 6], boxes[n, k, 3])
            to_box = wp.transpose(wp.quat_to_matrix(quat))
            # The line through the point, from the height of the box's centre straight up, in the box's frame.
            origin, up = to_box * wp.vec3(dx, dy, 0.0), to_box * wp.vec3(0.0, 0.0, 1.0)
            enter, leave = wp.float32(-1e30), wp.float32(1e30)
            for e in range(3):
                if wp.abs(up[e]) < TINY:
                    if wp.abs(origin[e]) > half[e]:
                        leave = -1e30
                        enter = 1e30
                else:
                    a, b = (-half[e] - origin[e]) / up[e], (half[e] - origin[e]) / up[e]
                    enter, leave = wp.max(enter, wp.min(a, b)), wp.min(leave, wp.max(a, b))
            height = boxes[n, k, 2] + leave
            if enter <= leave and (height > highest or not found):
                highest = height
                found = True
    out[n, p] = highest


@functools.cache
def _work_space(num_envs: int, num_boxes: int, device: torch.device) -> tuple[Tensor, wp.array, wp.array]:
    """Return the lengths of the lists, (num_envs,), and their rectangles and faces, (num_envs, num_boxes)."""
    with torch.inference_mode(False):  # else it could not be written to outside of that mode
        counts = torch.zeros(num_envs, dtype=torch.int32, device=device)
        rectangles = torch.zeros(num_envs, num_boxes, 4, device=device)
        faces = torch.zeros(num_envs, num_boxes, 3, LISTED, device=device)
    return counts, wp.from_torch(rectangles, dtype=wp.vec4), wp.from_torch(faces, dtype=Faces)


def _launch(kernel: Any, shape: tuple[int, ...], *inputs: Any) -> None:
    """Launch on the device of the tensors, on torch's current stream. Tensors go without their Warp wrapping."""
    device = next(value.device for value in inputs if isinstance(value, Tensor))
    arguments = [wp.from_torch(value, return_ctype=True) if isinstance(value, Tensor) else value for value in inputs]
    stream = warp_runtime.current_stream(device)
    wp.launch(kernel, shape, arguments, device=wp.device_from_torch(device), stream=stream, record_tape=False)


def warm_up(device: torch.device) -> None:
    """See raster.warm_up."""
    numbered = torch.empty(0, device=device).device  # Warp asks for the number of the GPU
    wp.load_module(sys.modules[__name__], device=wp.device_from_torch(numbered))


def render_depth(
    boxes: Tensor,
    position: Tensor,
    rotation: Tensor,
    resolution: tuple[int, int],
    focal: float,
    near: float,
    far: float,
    mask: Tensor,
    out: Tensor,
) -> None:
    """See raster.render_depth."""
    (num_envs, num_boxes, _), (rows, columns) = boxes.shape, resolution
    counts, *lists = _work_space(num_envs, num_boxes, boxes.device)
    counts.zero_()
    scene = (boxes, position, rotation, rows, columns, focal, NEAREST * near, far, mask)
    _launch(_list_faces, (num_envs, num_boxes), *scene, counts, *lists)
    blocks = -(-rows // COLUMN_PIXELS)
    _launch(_draw, (num_envs, blocks, columns), counts, *lists, rows, columns, near, far, mask, out)


def add_capsules(
    capsules: Tensor,
    position: Tensor,
    rotation: Tensor,
    resolution: tuple[int, int],
    focal: float,
    near: float,
    far: float,
    mask: Tensor,
    out: Tensor,
) -> None:
    """Draw the capsules of raster.render_depth in front of what is in the images."""
    _launch(_add_capsules, tuple(out.shape), capsules, position, rotation, *resolution, focal, near, mask, out)


def deliver_depth(
    seeds: Tensor, noise: float, dropout: float, near: float, far: float, mask: Tensor, depths: Tensor, out: Tensor
) -> None:
    """See raster.deliver_depth."""
    scale, shift = 1.0 / (far - near), -near / (far - near) - 0.5
    drop_below = int(min(dropout * 2.0**32, 2.0**32 - 1.0))
    noise_arguments = (seeds, noise / BYTES_DEVIATION, drop_below, near, far, scale, shift)
    _launch(DELIVER[out.dtype], (len(depths), DELIVERING), *noise_arguments, mask, depths, out)


def heights(boxes: Tensor, points: Tensor, missing: float, out: Tensor) -> None:
    """See raster.heights."""
    _launch(_heights, tuple(out.shape), boxes, points, missing, out)

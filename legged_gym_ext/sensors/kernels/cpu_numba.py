"""The CPU kernels behind raster.py, which documents them: numba, parallel over environments.

Depth images are rasterized rather than cast ray by ray. Along the camera's rays (x, y, 1) t the depth is t, and a plane
n . p = c is met at 1/t = n . (x, y, 1) / c: the *inverse* depth of a plane is affine in the pixel's column and row. So
each face of a box is three coefficients, the slab test of a pixel is six affine functions and comparisons without a
division, and consecutive pixels fill the lanes of the vector unit. Faces that look at the camera are where rays enter
the box, the others where they leave it; a ray hits if its last entry comes before its first exit.

The set-up of a box is in float64, so that the coefficients are right to float32.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit, prange
from numba.core import config
from torch import Tensor

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

# OpenMP, numba's usual choice, keeps its threads spinning for a while after each call, which slows the physics down.
# This one sleeps. It must be called from one thread at a time.
if config.THREADING_LAYER == "default":  # pyright: ignore[reportAttributeAccessIssue]
    config.THREADING_LAYER = "workqueue"  # pyright: ignore[reportAttributeAccessIssue]

HUGE_HEIGHT = np.float32(1e30)
PARALLEL_POINTS = 50_000  # from which on waking other threads takes less time than they save; 30 for an environment

# No NaN is ever made here; with that promise minimum and maximum are single vector instructions.
FAST_MATH = {"nnan", "nsz", "contract", "arcp"}


@njit(cache=True, error_model="numpy")
def _box_axes(box):
    """Rotation matrix of a box, row by row: the columns are the box's axes in the tile frame."""
    w, x, y, z = float(box[3]), float(box[4]), float(box[5]), float(box[6])
    return (
        (1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)),
        (2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)),
        (2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)),
    )


@njit(cache=True, error_model="numpy")
def _to_camera(box, position, rotation, axes, offset):
    """Fill ``axes`` (3, 3), the box's axes in the camera frame, and ``offset`` (3), the camera in the box frame."""
    to_tile = _box_axes(box)
    for k in range(3):
        offset[k] = 0.0
        for j in range(3):
            axes[k, j] = 0.0
        for i in range(3):
            offset[k] += to_tile[i][k] * (float(position[i]) - float(box[i]))
            for j in range(3):
                axes[k, j] += to_tile[i][k] * float(rotation[i, j])


@njit(cache=True, error_model="numpy")
def _project(box, axes, offset, rows, columns, focal, near, far):
    """First and last + 1 row and column that the part of the box between depths ``near`` and ``far`` can cover."""
    left, right, top, bottom = 1e9, -1e9, 1e9, -1e9
    deepest = shallowest = 0.0
    for k in range(3):
        deepest += abs(axes[k, 2]) * box[7 + k] - offset[k] * axes[k, 2]
        shallowest += -abs(axes[k, 2]) * box[7 + k] - offset[k] * axes[k, 2]
    if shallowest > far or deepest < near:
        return 0, 0, 0, 0
    for k in range(3):  # the four edges along each axis, cut where they leave the depths of interest
        i, j = (k + 1) % 3, (k + 2) % 3
        half_x, half_y, half_z = box[7 + k] * axes[k, 0], box[7 + k] * axes[k, 1], box[7 + k] * axes[k, 2]
        for sign_i in (-1.0, 1.0):
            for sign_j in (-1.0, 1.0):
                a, b = sign_i * box[7 + i] - offset[i], sign_j * box[7 + j] - offset[j]
                x = a * axes[i, 0] + b * axes[j, 0] - offset[k] * axes[k, 0]
                y = a * axes[i, 1] + b * axes[j, 1] - offset[k] * axes[k, 1]
                z = a * axes[i, 2] + b * axes[j, 2] - offset[k] * axes[k, 2]
                start, end = -1.0, 1.0
                if half_z != 0.0:
                    cut_near, cut_far = (near - z) / half_z, (far - z) / half_z
                    start, end = max(start, min(cut_near, cut_far)), min(end, max(cut_near, cut_far))
                elif z < near or z > far:
                    end = -2.0
                if start <= end:
                    for t in (start, end):
                        inverse = 1.0 / (z + t * half_z)
                        left = min(left, (x + t * half_x) * inverse)
                        right = max(right, (x + t * half_x) * inverse)
                        top = min(top, (y + t * half_y) * inverse)
                        bottom = max(bottom, (y + t * half_y) * inverse)
    row, column = 0.5 * (rows - 1), 0.5 * (columns - 1)  # of the optical axis
    return (
        max(math.floor(row + focal * top), 0),
        min(math.ceil(row + focal * bottom) + 1, rows),
        max(math.floor(column + focal * left), 0),
        min(math.ceil(column + focal * right) + 1, columns),
    )


@njit(cache=True, error_model="numpy")
def _faces(box, axes, offset, rows, columns, focal, faces):
    """Fill ``faces`` (MAX_ENTRIES + FACES, 3), entries first, and return whether the camera is outside the box.

    A row is the inverse depth of a face's plane: a constant, its change per column and its change per row. Rows that
    are not needed repeat another one.
    """
    entries, exits = 0, MAX_ENTRIES
    for k in range(3):
        by_column, by_row = axes[k, 0] / focal, axes[k, 1] / focal
        constant = axes[k, 2] - 0.5 * (columns - 1) * by_column - 0.5 * (rows - 1) * by_row
        half = float(box[7 + k])
        outside = abs(offset[k]) - half
        if outside > 0.0:
            toward = -1.0 if offset[k] > 0.0 else 1.0
            scale = toward / max(outside, TINY)
            faces[entries] = (constant * scale, by_column * scale, by_row * scale)
            entries += 1
            scale = toward / (outside + 2.0 * half)
            faces[exits] = (constant * scale, by_column * scale, by_row * scale)
            exits += 1
        else:
            for side in (1.0, -1.0):
                scale = side / max(half - side * offset[k], TINY)
                faces[exits] = (constant * scale, by_column * scale, by_row * scale)
                exits += 1
    for i in range(max(entries, 1), MAX_ENTRIES):
        faces[i] = faces[0]
    for i in range(exits, MAX_ENTRIES + FACES):
        faces[i] = faces[MAX_ENTRIES]
    return entries > 0


@njit(cache=True, error_model="numpy", fastmath=FAST_MATH)
def _rasterize(faces, row_start, row_end, column_start, column_end, columns, inverse_depth):
    """Raise ``inverse_depth`` (rows * columns) to the box's where a ray of the rectangle hits it."""
    b0, b1, b2, b3 = faces[0, 1], faces[1, 1], faces[2, 1], faces[3, 1]
    b4, b5, b6, b7 = faces[4, 1], faces[5, 1], faces[6, 1], faces[7, 1]
    for row in range(row_start, row_end):
        r = np.float32(row)
        a0, a1 = faces[0, 0] + faces[0, 2] * r, faces[1, 0] + faces[1, 2] * r
        a2, a3 = faces[2, 0] + faces[2, 2] * r, faces[3, 0] + faces[3, 2] * r
        a4, a5 = faces[4, 0] + faces[4, 2] * r, faces[5, 0] + faces[5, 2] * r
        a6, a7 = faces[6, 0] + faces[6, 2] * r, faces[7, 0] + faces[7, 2] * r
        line = inverse_depth[row * columns + column_start : row * columns + column_end]
        first = np.float32(column_start)
        for i in range(line.size):
            c = first + np.float32(i)
            entry = min(min(a0 + b0 * c, a1 + b1 * c), a2 + b2 * c)
            leave = max(max(max(a3 + b3 * c, a4 + b4 * c), max(a5 + b5 * c, a6 + b6 * c)), a7 + b7 * c)
            hit = entry if leave <= entry else np.float32(0.0)
            line[i] = max(line[i], hit)


@njit(cache=True, error_model="numpy", fastmath=FAST_MATH)
def _draw(boxes, position, rotation, rows, columns, focal, near, far, image):
    """Write one environment's depths into ``image``, which holds inverse depths until the end."""
    image[:] = 0.0
    axes, offset = np.empty((3, 3)), np.empty(3)
    faces = np.empty((MAX_ENTRIES + FACES, 3), np.float32)
    for k in range(boxes.shape[0]):
        if boxes[k, 7] > 0.0:
            _to_camera(boxes[k], position, rotation, axes, offset)
            top, bottom, left, right = _project(boxes[k], axes, offset, rows, columns, focal, NEAREST * near, far)
            if top < bottom and left < right:
                if _faces(boxes[k], axes, offset, rows, columns, focal, faces):
                    _rasterize(faces, top, bottom, left, right, columns, image)
                else:
                    image[:] = np.float32(HUGE)
    for i in range(image.size):
        image[i] = min(max(np.float32(1.0) / image[i], np.float32(near)), np.float32(far))


@njit(parallel=True, cache=True, error_model="numpy")
def _render_depth(boxes, position, rotation, rows, columns, focal, near, far, mask, out):
    for n in prange(boxes.shape[0]):
        if mask[n]:
            _draw(boxes[n], position[n], rotation[n], rows, columns, focal, near, far, out[n])


@njit(cache=True, error_model="numpy")
def _capsule_rectangle(start, end, radius, rows, columns, focal, near):
    """First and last + 1 row and column that a capsule in the camera frame can cover: those of a box about it."""
    square = along = outside = 0.0
    for i in range(3):
        square += (end[i] - start[i]) ** 2
        along -= start[i] * (end[i] - start[i])
    along = min(max(along / max(square, TINY), 0.0), 1.0)
    for i in range(3):
        outside += (start[i] + along * (end[i] - start[i])) ** 2
    if outside <= radius * radius:
        return 0, 0, 0, 0  # the camera is inside
    shallowest, deepest = min(start[2], end[2]) - radius, max(start[2], end[2]) + radius
    if deepest <= near:
        return 0, 0, 0, 0
    if shallowest <= near:
        return 0, rows, 0, columns
    first, last = (columns, rows), (0, 0)
    for depth in (shallowest, deepest):
        a = 0.5 * (columns - 1) + focal * (min(start[0], end[0]) - radius) / depth
        b = 0.5 * (columns - 1) + focal * (max(start[0], end[0]) + radius) / depth
        c = 0.5 * (rows - 1) + focal * (min(start[1], end[1]) - radius) / depth
        d = 0.5 * (rows - 1) + focal * (max(start[1], end[1]) + radius) / depth
        first = min(first[0], math.floor(a)), min(first[1], math.floor(c))
        last = max(last[0], math.ceil(b) + 1), max(last[1], math.ceil(d) + 1)
    return max(first[1], 0), min(last[1], rows), max(first[0], 0), min(last[0], columns)


@njit(cache=True, error_model="numpy")
def _enter_sphere(x, y, z, radius, dx, dy):
    """Depth at which the ray (dx, dy, 1) enters a sphere; HUGE if it misses it."""
    length, along = dx * dx + dy * dy + 1.0, x * dx + y * dy + z
    root = along * along - length * (x * x + y * y + z * z - radius * radius)
    depth = (along - math.sqrt(max(root, 0.0))) / length
    return depth if root >= 0.0 and depth > 0.0 else HUGE


@njit(cache=True, error_model="numpy")
def _enter_capsule(a, b, radius, dx, dy):
    """Depth at which the ray (dx, dy, 1) enters a capsule: one of its two ends, or the cylinder between them."""
    depth = min(_enter_sphere(a[0], a[1], a[2], radius, dx, dy), _enter_sphere(b[0], b[1], b[2], radius, dx, dy))
    ux, uy, uz = b[0] - a[0], b[1] - a[1], b[2] - a[2]
    square = ux * ux + uy * uy + uz * uz
    if square > 0.0:
        # What of the ray and of the way to the axis is across the axis decides where the ray enters the cylinder.
        ray_along, way_along = (dx * ux + dy * uy + uz) / square, (a[0] * ux + a[1] * uy + a[2] * uz) / square
        rx, ry, rz = dx - ray_along * ux, dy - ray_along * uy, 1.0 - ray_along * uz
        wx, wy, wz = a[0] - way_along * ux, a[1] - way_along * uy, a[2] - way_along * uz
        length, along = rx * rx + ry * ry + rz * rz, rx * wx + ry * wy + rz * wz
        root = along * along - length * (wx * wx + wy * wy + wz * wz - radius * radius)
        if length > TINY and root >= 0.0:
            enter = (along - math.sqrt(root)) / length
            if enter > 0.0 and 0.0 <= enter * ray_along - way_along <= 1.0:
                depth = min(depth, enter)
    return depth


@njit(parallel=True, cache=True, error_model="numpy")
def _add_capsules(capsules, position, rotation, rows, columns, focal, near, far, mask, out):
    for n in prange(capsules.shape[0]):
        if mask[n]:
            ends = np.empty((2, 3))
            for k in range(capsules.shape[1]):
                for end in range(2):
                    for j in range(3):
                        ends[end, j] = 0.0
                        for i in range(3):
                            way = float(capsules[n, k, 3 * end + i]) - float(position[n, i])
                            ends[end, j] += way * float(rotation[n, i, j])
                radius = float(capsules[n, k, 6])
                top, bottom, left, right = _capsule_rectangle(
                    ends[0], ends[1], radius, rows, columns, focal, NEAREST * near
                )
                for row in range(top, bottom):
                    dy = (row - 0.5 * (rows - 1)) / focal
                    for column in range(left, right):
                        depth = _enter_capsule(ends[0], ends[1], radius, (column - 0.5 * (columns - 1)) / focal, dy)
                        if depth < out[n, row * columns + column]:
                            out[n, row * columns + column] = max(depth, near)


@njit(cache=True, error_model="numpy")
def _hash(x):
    """Mix 32 bits."""
    x = np.uint32(x ^ (x >> np.uint32(16)))
    x = np.uint32(x * np.uint32(HASH_FACTORS[0]))
    x = np.uint32(x ^ (x >> np.uint32(15)))
    x = np.uint32(x * np.uint32(HASH_FACTORS[1]))
    return np.uint32(x ^ (x >> np.uint32(16)))


@njit(parallel=True, cache=True, error_model="numpy", fastmath=FAST_MATH)
def _deliver_depth(seeds, noise, dropout, near, far, mask, images):
    byte = np.uint32(255)
    limit = np.float32(far)
    scale, shift = np.float32(1.0 / (far - near)), np.float32(-near / (far - near) - 0.5)
    deviation = np.float32(noise / BYTES_DEVIATION)
    drop_below = np.uint32(min(dropout * 2.0**32, 2.0**32 - 1.0))
    for n in prange(images.shape[0]):
        if mask[n]:
            image, seed = images[n], np.uint32(seeds[n])
            for i in range(image.size):
                bits = _hash(np.uint32(seed + np.uint32(i) * np.uint32(PIXEL_STEP)))
                total = (bits & byte) + (bits >> 8 & byte) + (bits >> 16 & byte) + (bits >> 24)
                depth = image[i]
                noisy = depth + deviation * (np.float32(total) - np.float32(BYTES_MEAN)) * depth * depth
                lost = depth >= limit or _hash(np.uint32(bits + np.uint32(1))) < drop_below
                delivered = min(max(noisy, np.float32(near)), limit) * scale + shift
                image[i] = np.float32(0.5) if lost else delivered


@njit(cache=True, error_model="numpy")
def _span(origin, direction, box):
    """Parameters between which the line ``origin + t * direction``, in the box's frame, is in the box, if in order."""
    enter, leave = -1e30, 1e30
    for k in range(3):
        half = float(box[7 + k])
        if abs(direction[k]) < TINY:
            if abs(origin[k]) > half:
                leave = -1e30
                enter = 1e30
        else:
            a, b = (-half - origin[k]) / direction[k], (half - origin[k]) / direction[k]
            enter, leave = max(enter, min(a, b)), min(leave, max(a, b))
    return enter, leave


@njit(cache=True, error_model="numpy")
def _into(axes, x, y, z):
    """Components of a vector of the tile frame along the box's axes."""
    return (
        axes[0][0] * x + axes[1][0] * y + axes[2][0] * z,
        axes[0][1] * x + axes[1][1] * y + axes[2][1] * z,
        axes[0][2] * x + axes[1][2] * y + axes[2][2] * z,
    )


@njit(cache=True, error_model="numpy", fastmath=FAST_MATH)
def _raise_level(center_x, center_y, cosine, sine, half_x, half_y, top, x, y, out):
    """Raise the heights where a box is that is not tilted, as most are: no branch, so that points fill the lanes."""
    for p in range(out.size):
        dx, dy = x[p] - center_x, y[p] - center_y
        inside = (abs(cosine * dx + sine * dy) <= half_x) & (abs(cosine * dy - sine * dx) <= half_y)
        out[p] = max(out[p], top if inside else -HUGE_HEIGHT)


@njit(cache=True, error_model="numpy")
def _raise_tilted(box, x, y, out):
    """Raise the heights where a box is."""
    axes = _box_axes(box)
    up = _into(axes, 0.0, 0.0, 1.0)
    for p in range(out.size):
        # The line starts at z = 0: its parameter is the height.
        offset = _into(axes, float(x[p]) - box[0], float(y[p]) - box[1], -float(box[2]))
        enter, leave = _span(offset, up, box)
        if enter <= leave:
            out[p] = max(out[p], np.float32(leave))


@njit(cache=True, error_model="numpy")
def _highest(boxes, points, missing, x, y, height, out):
    """Write the heights under one environment's points. Boxes away from all of them drop out early."""
    low_x, low_y, high_x, high_y = HUGE_HEIGHT, HUGE_HEIGHT, -HUGE_HEIGHT, -HUGE_HEIGHT
    for p in range(out.size):
        x[p], y[p], height[p] = points[p, 0], points[p, 1], -HUGE_HEIGHT
        low_x, high_x, low_y, high_y = min(low_x, x[p]), max(high_x, x[p]), min(low_y, y[p]), max(high_y, y[p])
    for k in range(boxes.shape[0]):
        box = boxes[k]
        radius = box[7] + box[8] + box[9]
        near_x = low_x - radius <= box[0] <= high_x + radius
        if box[7] > 0.0 and near_x and low_y - radius <= box[1] <= high_y + radius:
            if box[4] == 0.0 and box[5] == 0.0:
                cosine, sine = box[3] * box[3] - box[6] * box[6], np.float32(2.0) * box[3] * box[6]
                _raise_level(box[0], box[1], cosine, sine, box[7], box[8], box[2] + box[9], x, y, height)
            else:
                _raise_tilted(box, x, y, height)
    for p in range(out.size):
        out[p] = height[p] if height[p] > -HUGE_HEIGHT else missing


@njit(cache=True, error_model="numpy")
def _heights(boxes, points, missing, out):
    size = out.shape[1]
    x, y, height = np.empty(size, np.float32), np.empty(size, np.float32), np.empty(size, np.float32)
    for n in range(boxes.shape[0]):
        _highest(boxes[n], points[n], missing, x, y, height, out[n])


@njit(parallel=True, cache=True, error_model="numpy")
def _heights_in_parallel(boxes, points, missing, out):
    for n in prange(boxes.shape[0]):
        size = out.shape[1]
        x, y, height = np.empty(size, np.float32), np.empty(size, np.float32), np.empty(size, np.float32)
        _highest(boxes[n], points[n], missing, x, y, height, out[n])


def _array(tensor: Tensor) -> np.ndarray:
    return tensor.contiguous().numpy()  # each layout would be a compilation of its own


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
    arrays = _array(boxes), _array(position), _array(rotation)
    _render_depth(*arrays, *resolution, focal, near, far, _array(mask), out.numpy())


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
    arrays = _array(capsules), _array(position), _array(rotation)
    _add_capsules(*arrays, *resolution, focal, near, far, _array(mask), out.numpy())


def deliver_depth(
    seeds: Tensor, noise: float, dropout: float, near: float, far: float, mask: Tensor, depths: Tensor, out: Tensor
) -> None:
    """See raster.deliver_depth."""
    _deliver_depth(_array(seeds), noise, dropout, near, far, _array(mask), depths.numpy())
    if out.data_ptr() != depths.data_ptr():
        rows = mask.nonzero().flatten()
        out.index_copy_(0, rows, depths.index_select(0, rows).to(out.dtype))


def heights(boxes: Tensor, points: Tensor, missing: float, out: Tensor) -> None:
    """See raster.heights."""
    num_envs, num_points = out.shape
    kernel = _heights_in_parallel if num_envs * (num_points + 30) >= PARALLEL_POINTS else _heights
    kernel(_array(boxes), _array(points), np.float32(missing), out.numpy())

"""Rays against the boxes of a tile (terrain/boxes.py) and the robot's legs: depth images and ground heights.

Every function takes torch tensors and writes into one that the caller owns, for all environments in one call. The
kernels are chosen here, and nowhere else, by the device that the boxes are on.
"""

from __future__ import annotations

import math
from types import ModuleType

import torch
from torch import Tensor

from legged_gym_ext.errors import UserError

# What the kernels of all devices agree on.
FACES = 6
MAX_ENTRIES = 3  # faces of a box that can look at a point; from outside at least one does, which leaves five exits
NEAREST = 0.01  # of the near depth: what is nearer still is cut off before projecting, which divides by depth
TINY = 1e-9  # m: a point nearer to a face's plane than this is in it
HUGE = 1e9  # 1/m: more than any inverse depth
CAPSULE_DIM = 7  # the two ends of a capsule's axis, and its radius, m
HASH_FACTORS = (0x7FEB352D, 0x846CA68B)  # of lowbias32 in C. Wellons' hash-prospector (public domain)
PIXEL_STEP = 0x9E3779B9  # from the seed of one pixel to the next one's
BYTES_MEAN = 4 * 127.5  # of the sum of four random bytes
BYTES_DEVIATION = math.sqrt(4 * (256**2 - 1) / 12)


def _kernels(device: torch.device) -> ModuleType:
    """Return the module for a device. Each takes a second or more to import, which others need not wait for."""
    if device.type == "cpu":
        from legged_gym_ext.sensors.kernels import cpu_numba

        return cpu_numba
    if device.type == "cuda":
        from legged_gym_ext.sensors.kernels import gpu_warp

        return gpu_warp
    raise UserError(f"no ray casting on device '{device}'; allowed: cpu, cuda")


def warm_up(device: torch.device) -> None:
    """Compile and load what the device needs, so that the calls that follow can be captured in a CUDA graph.

    The work space of ``render_depth`` is allocated by its first call with a number of environments: make that one
    outside of a capture.
    """
    if device.type != "cpu":
        _kernels(device).warm_up(device)


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
    capsules: Tensor | None = None,
) -> None:
    """Draw the planar depth that a pinhole camera sees of boxes and capsules, in the environments of the mask.

    The camera's frame is x to the right of the image, y down, z along the optical axis. The ray of the pixel (i, j)
    goes through its centre, with slopes x/z = (j - (columns - 1) / 2) / focal and y/z = (i - (rows - 1) / 2) / focal.

    Args:
        boxes: (num_envs, K, BOX_DIM), tile frame.
        position: of the camera in the tile frame, (num_envs, 3), m.
        rotation: camera to tile frame, (num_envs, 3, 3).
        resolution: (rows, columns).
        focal: focal length, pixels.
        near: smallest depth, m. What is nearer reads as this, and so does every pixel of a camera inside a box.
        far: largest depth, m. What is farther, and no hit at all, reads as this.
        mask: environments to draw, (num_envs,), bool. The others' images are left alone.
        out: images, (num_envs, rows * columns), row-major from the top left, m.
        capsules: (num_envs, C, CAPSULE_DIM), tile frame; None = none. One that the camera is in is not seen.
    """
    kernels, optics = _kernels(boxes.device), (position, rotation, resolution, focal, near, far, mask, out)
    kernels.render_depth(boxes, *optics)
    if capsules is not None:
        kernels.add_capsules(capsules, *optics)


def deliver_depth(
    seeds: Tensor, noise: float, dropout: float, near: float, far: float, mask: Tensor, depths: Tensor, out: Tensor
) -> None:
    """Turn depths (m) into what the sensor delivers: noise, lost pixels, normalized to [-0.5, 0.5].

    A stereo camera errs in disparity, which is why its depth error grows with the square of the depth. Pixels without
    a return, those at ``far`` and those lost, read as far: 0.5. The noise is a hash of seed and pixel (the sum of its
    four bytes: bell-shaped, never beyond 3.5 standard deviations), because drawing 4096 normal numbers per environment
    costs more than drawing the image.

    Args:
        seeds: of the noise, one per environment, (num_envs,), int32.
        noise: standard deviation at a depth of 1 m, m; 0 = none.
        dropout: probability that a pixel is lost; 0 = none.
        near: smallest depth, m; delivered as -0.5.
        far: largest depth, m; delivered as 0.5.
        mask: environments to deliver, (num_envs,), bool. The others' images are left alone.
        depths: (num_envs, pixels), float32. What they are afterwards is undefined.
        out: delivered images, (num_envs, pixels), float32 or float16; float32 ones may be ``depths`` itself.
    """
    _kernels(depths.device).deliver_depth(seeds, noise, dropout, near, far, mask, depths, out)


def heights(boxes: Tensor, points: Tensor, missing: float, out: Tensor) -> None:
    """Write the height of the highest surface on the vertical line through each point.

    Args:
        boxes: (num_envs, K, BOX_DIM), tile frame.
        points: (num_envs, points, 2), x and y in the tile frame, m.
        missing: what a point reads that is over no box, m.
        out: heights, (num_envs, points), m.
    """
    _kernels(boxes.device).heights(boxes, points, missing, out)

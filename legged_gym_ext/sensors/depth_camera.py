"""A depth camera on the base: optics, mount, frame rate, latency and noise."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from legged_gym_ext.config.schema import CameraConfig
from legged_gym_ext.device import memory
from legged_gym_ext.device.masked import assign
from legged_gym_ext.rotations import matrix_from_quat, quat_from_euler, quat_multiply, quat_rotate
from legged_gym_ext.sensors.raster import deliver_depth, render_depth, warm_up

MAX_SEED = 2**31 - 1


@dataclass
class CameraState:
    """All that changes in a camera, so that whoever owns the state can save and restore it."""

    frames: Tensor
    """Delivered images, newest first, (latency + 1, num_envs, rows * columns), of the configured precision.

    From -0.5 (near) to 0.5 (far).
    """
    mount_pos: Tensor
    """Position of the camera in the base frame, (num_envs, 3), m."""
    mount_quat: Tensor
    """Rotation from the camera's body frame (x along the optical axis, z up) to the base, (num_envs, 4)."""

    @property
    def image(self) -> Tensor:
        """The image that the policy sees now, (num_envs, rows * columns). A view: the next update overwrites it."""
        return self.frames[-1]


class DepthCamera:
    """The cameras of all robots.

    Holds constants and work space only: what changes is in the ``CameraState`` that it is given.
    """

    def __init__(self, config: CameraConfig, num_envs: int, device: torch.device | str) -> None:
        """Compute the optics: square pixels, the optical axis through the middle. CameraConfig has the limits."""
        self.config = config
        self.num_envs = num_envs
        self.device = torch.device(device)
        self.resolution = (config.resolution[0], config.resolution[1])
        self.dtype: torch.dtype = getattr(torch, config.precision)
        """Of the images."""
        self.focal = 0.5 * self.resolution[1] / math.tan(math.radians(config.horizontal_fov_degrees) / 2)
        """Focal length, pixels."""
        images = 2 * (config.latency + 2)  # the observation's too, and all once more for the lane that rests
        image_bytes = self.num_pixels * self.dtype.itemsize
        memory.require("camera images", images * image_bytes, num_envs, self.device)
        warm_up(self.device)
        zero = torch.zeros((), device=self.device)
        pitch = torch.tensor(math.radians(config.pitch_degrees), device=self.device)
        self._mount_pos = torch.tensor(config.position, device=self.device, dtype=torch.float32)
        self._mount_quat = quat_from_euler(zero, pitch, zero)
        self._depths: Tensor | None = None  # where images of a lower precision are drawn, (num_envs, num_pixels)
        if self.dtype != torch.float32:
            self._depths = torch.empty(num_envs, self.num_pixels, device=self.device)

    @property
    def num_pixels(self) -> int:
        """Length of a flattened image."""
        return self.resolution[0] * self.resolution[1]

    def initial_state(self) -> CameraState:
        """Return the state of cameras that are mounted as configured and have seen nothing."""
        shape = (self.config.latency + 1, self.num_envs, self.num_pixels)
        return CameraState(
            frames=torch.full(shape, 0.5, dtype=self.dtype, device=self.device),
            mount_pos=self._mount_pos.expand(self.num_envs, 3).clone(),
            mount_quat=self._mount_quat.expand(self.num_envs, 4).clone(),
        )

    def due(self, episode_length: Tensor) -> Tensor:
        """Return (num_envs,) bool: where a new frame is taken after that many control steps of the episode."""
        return episode_length % self.config.update_interval == 0

    def reset(self, state: CameraState, mask: Tensor, generator: torch.Generator) -> None:
        """Draw new mount poses for the environments of the mask (num_envs,), about the configured one."""
        noise = 2.0 * torch.rand(self.num_envs, 6, generator=generator, device=self.device) - 1.0
        position = self._mount_pos + self.config.position_noise * noise[:, :3]
        angles = math.radians(self.config.rotation_noise_degrees) * noise[:, 3:]
        rotation = quat_multiply(self._mount_quat.expand(self.num_envs, 4), quat_from_euler(*angles.unbind(-1)))
        assign(mask, state.mount_pos, position)
        assign(mask, state.mount_quat, rotation)

    def pose(self, state: CameraState, root_pos: Tensor, root_quat: Tensor) -> tuple[Tensor, Tensor]:
        """Return where the cameras are, (num_envs, 3), and how they are turned, (num_envs, 3, 3), see render_depth."""
        position = root_pos + quat_rotate(root_quat, state.mount_pos)
        forward, left, up = matrix_from_quat(quat_multiply(root_quat, state.mount_quat)).unbind(-1)
        return position, torch.stack([-left, -up, forward], dim=-1)

    def update(
        self,
        state: CameraState,
        due: Tensor,
        reset: Tensor,
        root_pos: Tensor,
        root_quat: Tensor,
        boxes: Tensor,
        generator: torch.Generator,
        legs: Tensor | None = None,
    ) -> None:
        """Take a frame in the environments that are ``due`` or were ``reset``, both (num_envs,) bool.

        After a reset the whole latency buffer holds the new frame. Poses (num_envs, 3) and (num_envs, 4) of the base,
        ``boxes`` (num_envs, K, BOX_DIM) and ``legs`` (num_envs, C, CAPSULE_DIM) are in the tile frame; without legs,
        the camera does not see them.
        """
        config, frames = self.config, state.frames
        taken = due | reset
        for slot in range(config.latency, 0, -1):
            assign(taken, frames[slot], frames[slot - 1])

        position, rotation = self.pose(state, root_pos, root_quat)
        depths = frames[0] if self._depths is None else self._depths
        optics = (self.resolution, self.focal, config.near, config.far)
        render_depth(boxes, position, rotation, *optics, taken, depths, legs)
        seeds = torch.randint(MAX_SEED, (self.num_envs,), generator=generator, device=self.device, dtype=torch.int32)
        noise = (seeds, config.depth_noise, config.dropout)
        deliver_depth(*noise, config.near, config.far, taken, depths, frames[0])

        for slot in range(1, config.latency + 1):
            assign(reset, frames[slot], frames[0])

"""A depth camera on the base: optics, mount, frame rate, latency and noise."""

from __future__ import annotations

import math
from collections.abc import Sequence
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
    """The last images, newest first, (frames, num_envs, rows * columns), of the configured precision.

    As many as the latest camera needs. From -0.5 (near) to 0.5 (far).
    """
    mount_pos: Tensor
    """Position of the camera in the base frame, (num_envs, 3), m."""
    mount_quat: Tensor
    """Rotation from the camera's body frame (x along the optical axis, z up) to the base, (num_envs, 4)."""
    latency: Tensor
    """Control steps by which images are late, beyond ``CameraConfig.latency``, (num_envs,), int64."""


def focal_length(config: CameraConfig) -> float:
    """Return the focal length, pixels."""
    return 0.5 * config.resolution[1] / math.tan(math.radians(config.horizontal_fov_degrees) / 2)


class DepthCamera:
    """The cameras of all robots.

    Holds constants and work space only: what changes is in the ``CameraState`` that it is given.

    A frame is taken in every ``update_interval``-th control step of an episode, and seen ``CameraConfig.latency``
    frames and ``CameraState.latency`` steps later. Until then the first one is seen: the robot has stood there.
    """

    def __init__(
        self, config: CameraConfig, num_envs: int, device: torch.device | str, longest_latency: int = 0
    ) -> None:
        """Compute the optics: square pixels, the optical axis through the middle. CameraConfig has the limits.

        Args:
            config: Optics, mount, rate, latency and noise.
            num_envs: Cameras.
            device: Of the images.
            longest_latency: That ``CameraState.latency`` may have, control steps.
        """
        self.config = config
        self.num_envs = num_envs
        self.device = torch.device(device)
        self.resolution = (config.resolution[0], config.resolution[1])
        self.dtype: torch.dtype = getattr(torch, config.precision)
        """Of the images."""
        self.focal = focal_length(config)
        self._num_frames = 1 + config.latency + math.ceil(longest_latency / config.update_interval)
        images = 2 * (self._num_frames + 1)  # the observation's too, and all once more for the lane that rests
        image_bytes = self.num_pixels * self.dtype.itemsize
        memory.require("camera images", images * image_bytes, num_envs, self.device)
        warm_up(self.device)
        zero = torch.zeros((), device=self.device)
        pitch = torch.tensor(math.radians(config.pitch_degrees), device=self.device)
        self._mount_pos = torch.tensor(config.position, device=self.device, dtype=torch.float32)
        self._mount_quat = quat_from_euler(zero, pitch, zero)
        self._rows = torch.arange(num_envs, device=self.device)
        self._depths: Tensor | None = None  # where images of a lower precision are drawn, (num_envs, num_pixels)
        if self.dtype != torch.float32:
            self._depths = torch.empty(num_envs, self.num_pixels, device=self.device)

    @property
    def num_pixels(self) -> int:
        """Length of a flattened image."""
        return self.resolution[0] * self.resolution[1]

    def initial_state(self) -> CameraState:
        """Return the state of cameras that are mounted as configured, late by no more, and have seen nothing."""
        shape = (self._num_frames, self.num_envs, self.num_pixels)
        return CameraState(
            frames=torch.full(shape, 0.5, dtype=self.dtype, device=self.device),
            mount_pos=self._mount_pos.expand(self.num_envs, 3).clone(),
            mount_quat=self._mount_quat.expand(self.num_envs, 4).clone(),
            latency=torch.zeros(self.num_envs, dtype=torch.int64, device=self.device),
        )

    def due(self, episode_length: Tensor) -> Tensor:
        """Return (num_envs,) bool: where a new frame is taken after that many control steps of the episode."""
        return episode_length % self.config.update_interval == 0

    def image(self, state: CameraState, episode_length: Tensor) -> Tensor:
        """Return what is seen after that many control steps of the episode, (num_envs, rows * columns): a copy."""
        if len(state.frames) == 1:
            return state.frames[0].clone()
        rows = self._age(state, episode_length) * self.num_envs + self._rows
        return state.frames.flatten(0, 1).index_select(0, rows)

    def images_of(self, robots: Sequence[int], state: CameraState, episode_length: Tensor) -> Tensor:
        """Return what some see after that many control steps of the episode, (len(robots), rows, columns): copies."""
        which = torch.tensor(robots, device=state.frames.device)
        return state.frames[self._age(state, episode_length)[which], which].view(-1, *self.resolution)

    def _age(self, state: CameraState, episode_length: Tensor) -> Tensor:
        """Return how many frames before the newest one each camera's image is, (num_envs,) int64."""
        interval = self.config.update_interval
        behind = episode_length // interval - (episode_length - state.latency) // interval  # frames taken in that time
        return self.config.latency + behind

    def is_new(self, state: CameraState, episode_length: Tensor) -> Tensor:
        """Return (num_envs,) bool: where another image is seen than a control step before."""
        return self.due(episode_length - state.latency) | (episode_length == 0)

    def reset(
        self, state: CameraState, mask: Tensor, generator: torch.Generator, latency: Tensor | None = None
    ) -> None:
        """Draw new mount poses for the environments of the mask (num_envs,), about the configured one.

        ``latency`` (num_envs,) int64 is the state's from now on, within the camera's longest; None = as it is.
        """
        if latency is not None:
            assign(mask, state.latency, latency)
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

        After a reset all frames are the new one. Poses (num_envs, 3) and (num_envs, 4) of the base,
        ``boxes`` (num_envs, K, BOX_DIM) and ``legs`` (num_envs, C, CAPSULE_DIM) are in the tile frame; without legs,
        the camera does not see them.
        """
        config, frames = self.config, state.frames
        taken = due | reset
        for slot in range(self._num_frames - 1, 0, -1):
            assign(taken, frames[slot], frames[slot - 1])

        position, rotation = self.pose(state, root_pos, root_quat)
        depths = frames[0] if self._depths is None else self._depths
        optics = (self.resolution, self.focal, config.near, config.far)
        render_depth(boxes, position, rotation, *optics, taken, depths, legs)
        seeds = torch.randint(MAX_SEED, (self.num_envs,), generator=generator, device=self.device, dtype=torch.int32)
        noise = (seeds, config.depth_noise, config.dropout)
        deliver_depth(*noise, config.near, config.far, taken, depths, frames[0])

        for slot in range(1, self._num_frames):
            assign(reset, frames[slot], frames[0])

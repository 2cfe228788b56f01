"""Camera frames of a rollout, each stored once."""

from __future__ import annotations

import torch
from torch import Tensor


class FramePool:
    """Stores an image only when the camera took it, and for every step and environment which image it saw.

    A camera at 10 Hz in a 50 Hz control loop shows each frame for five steps: storing and processing it once takes a
    fifth of the memory and of the work.

    Args:
        num_steps: Steps of the rollout.
        num_envs: Environments.
        pixels: Pixels of an image.
        dtype: Of the stored images.
        device: Of the stored images.
    """

    def __init__(
        self, num_steps: int, num_envs: int, pixels: int, dtype: torch.dtype, device: torch.device | str
    ) -> None:
        self.index = torch.zeros(num_steps, num_envs, dtype=torch.long, device=device)
        """Which frame was seen, (num_steps, num_envs)."""
        self.count = 0
        """Number of frames stored."""
        self._images = torch.empty(num_envs, pixels, dtype=dtype, device=device)

    @property
    def images(self) -> Tensor:
        """Return the frames, (count, pixels)."""
        return self._images[: self.count]

    def add(self, step: int, images: Tensor, new_frame: Tensor) -> None:
        """Record what the environments see at ``step``: images (num_envs, pixels), new where ``new_frame`` (num_envs,).

        All images of step 0 count as new. Later, an image that is not new must be the one of the step before.
        """
        if step == 0:
            self.count = 0
            new_frame = torch.ones_like(new_frame, dtype=torch.bool)
        new_images = images[new_frame]
        slots = self.count + torch.cumsum(new_frame, dim=0) - 1
        self.index[step] = slots if step == 0 else torch.where(new_frame, slots, self.index[step - 1])
        self._reserve(self.count + len(new_images))
        self._images[self.count : self.count + len(new_images)] = new_images
        self.count += len(new_images)

    def _reserve(self, count: int) -> None:
        """Make room for ``count`` images, keeping those that are there."""
        if count > len(self._images):
            larger = self._images.new_empty(max(count, 2 * len(self._images)), self._images.shape[1])
            larger[: self.count] = self.images
            self._images = larger

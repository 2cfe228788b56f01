"""Camera frames of a rollout, each stored once."""

from __future__ import annotations

import torch
from torch import Tensor

from legged_gym_ext.device.host_number import HostNumber

LAG = 4
"""Steps by which a GPU may be behind the host: with as many in its queue it has work while the host waits."""


class FramePool:
    """Stores an image only when the camera took it, and for every step and environment which image it saw.

    A camera at 10 Hz in a 50 Hz control loop shows each frame for five steps: storing and processing it once takes a
    fifth of the memory and of the work.

    How many frames there are is known on the device. The pool grows by what the host knew ``lag`` steps ago, and for
    all that can have come since then, so that nothing is lost while nobody waits.

    Args:
        num_steps: Steps of the rollout.
        num_envs: Environments.
        pixels: Pixels of an image.
        dtype: Of the stored images.
        device: Of the stored images.
        lag: Steps by which the device may be behind the host. At 0 the host asks for the number in every step, which
            is the best on a CPU; None = as the device likes it.
    """

    def __init__(
        self,
        num_steps: int,
        num_envs: int,
        pixels: int,
        dtype: torch.dtype,
        device: torch.device | str,
        lag: int | None = None,
    ) -> None:
        self.index = torch.zeros(num_steps, num_envs, dtype=torch.long, device=device)
        """Which frame was seen, (num_steps, num_envs)."""
        self._images = torch.empty(num_envs, pixels, dtype=dtype, device=device)
        self._lag = lag if lag is not None else LAG if self.index.is_cuda else 0
        self._total = torch.zeros((), dtype=torch.long, device=device)
        self._totals: list[HostNumber] = []  # after each step
        self._numbers = torch.arange(1, num_envs + 1, device=device)

    @property
    def count(self) -> int:
        """Number of frames stored."""
        return self._totals[-1].get() if self._totals else 0

    @property
    def images(self) -> Tensor:
        """Return the frames, (count, pixels)."""
        return self._images[: self.count]

    def add(self, step: int, images: Tensor, new_frame: Tensor) -> None:
        """Record what the environments see at ``step``: images (num_envs, pixels); ``new_frame`` (num_envs,), bool.

        All images of step 0 count as new. Later, an image that is not new must be the one of the step before.
        """
        if step == 0:
            self._totals = []
            self._total = torch.zeros_like(self._total)
            new_frame = torch.ones_like(new_frame)
        number = torch.cumsum(new_frame, dim=0)  # of the new frame that an environment has
        slots = self._total + number - 1
        self.index[step] = torch.where(new_frame, slots, self.index[step - 1])
        if self._lag == 0:
            new_images, count = images[new_frame], self.count
            self._reserve(count + len(new_images))
            self._images[count : count + len(new_images)] = new_images
        else:
            known = self._totals[-self._lag].get() if len(self._totals) >= self._lag else 0
            self._reserve(known + min(self._lag, step + 1) * len(images))
            # Behind the new images come those that are not new, which the next step overwrites.
            spare = self._total + number[-1] + self._numbers - number - 1
            self._images.index_copy_(0, torch.where(new_frame, slots, spare), images.to(self._images.dtype))
        self._total = self._total + number[-1]
        self._totals.append(HostNumber(self._total))

    def _reserve(self, count: int) -> None:
        """Make room for ``count`` images, keeping those that are there."""
        if count > len(self._images):
            larger = self._images.new_empty(max(count, len(self._images) * 5 // 4), self._images.shape[1])
            larger[: len(self._images)] = self._images
            self._images = larger

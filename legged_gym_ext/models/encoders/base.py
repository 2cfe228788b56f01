"""The interface of a depth encoder."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from legged_gym_ext.device.host_number import HostNumber
from legged_gym_ext.errors import UserError, reason_of


class EncoderStep(nn.Module):
    """An encoder as it is exported, in the two parts of :class:`Encoder`, for one step."""

    @torch.jit.export
    def encode_image(self, images: Tensor) -> Tensor:
        """Return features (batch, any size) of images (batch, rows * columns). Mark it with ``torch.jit.export``."""
        raise NotImplementedError

    def forward(self, features: Tensor, proprioception: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:
        """Make one step.

        Args:
            features: Of the newest image, (batch, size).
            proprioception: Proprioception (batch, num_proprio).
            memory: Memory before the step (memory_layers, batch, memory_size).

        Returns:
            The latent (batch, latent_dim) and the memory after the step; where ``memory_size`` is 0 the memory that was
            given, whatever its batch size.
        """
        raise NotImplementedError


class Encoder(nn.Module, ABC):
    """Turns depth images and proprioception into a latent vector, which may remember what has left the image.

    An encoder works in two parts. The first sees images and nothing else, so that each camera frame is encoded once
    and its features serve until the next one. The second makes latents from features, proprioception and the memory,
    a tensor (memory_layers, batch, memory_size) whose content nobody else knows; zeros are the memory of an episode
    that begins. An encoder that remembers nothing leaves memory_size at 0.

    Args:
        num_proprio: Size of the proprioception.
        image_shape: Rows and columns of the depth image.
        latent_dim: Size of the latent.
        options: Of this kind of encoder (options.py); subclasses read them.
    """

    memory_layers: int = 1
    memory_size: int = 0

    def __init__(self, num_proprio: int, image_shape: Sequence[int], latent_dim: int, options: Any) -> None:
        super().__init__()
        self.kind: str = options.kind
        rows, columns = image_shape
        self.num_proprio, self.image_shape, self.latent_dim = num_proprio, (rows, columns), latent_dim
        self.memory: Tensor | None = None
        """After the last step (memory_layers, batch, memory_size); None before the first, for any batch size."""
        self.image_feature: Tensor | None = None
        """Features of the last camera frames (batch, ...), None where there are none yet."""

    @abstractmethod
    def encode_image(self, images: Tensor) -> Tensor:
        """Return features (batch, any size) of images (batch, rows, columns) or (batch, rows * columns).

        Images are normalized to [-0.5, 0.5], of any precision: see :meth:`as_images`.
        """

    @abstractmethod
    def forward_sequence(
        self, features: Tensor, proprioception: Tensor, memory: Tensor, dones: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Run over a sequence, starting anew after each end of an episode.

        Args:
            features: Image features (steps, batch, size).
            proprioception: Proprioception (steps, batch, num_proprio).
            memory: Memory before the first step (memory_layers, batch, memory_size).
            dones: Whether an episode ended with the step, (steps, batch); None = none did.

        Returns:
            Latents (steps, batch, latent_dim) and the memory to go on from, zeroed where the last step was done.
        """

    @abstractmethod
    def export(self) -> EncoderStep:
        """Return a copy of the layers as a module without state that TorchScript and ONNX can take."""

    @contextmanager
    def exporting(self) -> Iterator[None]:
        """Turn what goes wrong in this context, while its copy is traced or scripted, into a UserError of its kind."""
        try:
            yield
        except (UserError, OSError):
            raise
        except Exception as error:  # whatever a stranger's layers, or torch because of them, may raise
            raise UserError(f"student.encoder.kind={self.kind} cannot be exported: {reason_of(error)}") from error

    def forward(self, depth_image: Tensor, proprioception: Tensor, new_frame: Tensor | None = None) -> Tensor:
        """Advance one step from its own memory and return the latent (batch, latent_dim).

        Args:
            depth_image: Depth images (batch, rows, columns) or (batch, rows * columns).
            proprioception: Proprioception (batch, num_proprio).
            new_frame: Which images have changed since the last call, (batch,) bool; None = all.
        """
        feature = self._current_feature(depth_image, new_frame)
        memory = self.initial_memory(len(proprioception)) if self.memory is None else self.memory
        latent, self.memory = self.forward_sequence(feature.unsqueeze(0), proprioception.unsqueeze(0), memory)
        return latent.squeeze(0)

    def initial_memory(self, batch: int) -> Tensor:
        """Return the memory of episodes that begin, zeros (memory_layers, batch, memory_size)."""
        return next(self.parameters()).new_zeros(self.memory_layers, batch, self.memory_size)

    def reset(self, dones: Tensor | None = None) -> None:
        """Start anew where ``dones`` (batch,); everywhere, and with any batch size, where it is None."""
        if dones is None:
            self.memory = self.image_feature = None
        elif self.memory is not None:
            self.memory = torch.where(dones.bool()[None, :, None], 0.0, self.memory)

    def detach_memory(self) -> None:
        """Cut the memory from the graph that made it: backpropagation through time ends here."""
        if self.memory is not None:
            self.memory = self.memory.detach()
        if self.image_feature is not None:
            self.image_feature = self.image_feature.detach()

    def forget_images(self) -> None:
        """Drop the image features: parameters have changed since they were computed."""
        self.image_feature = None

    def as_images(self, images: Tensor) -> Tensor:
        """Return images (batch, rows, columns) or (batch, rows * columns) as (batch, 1, rows, columns).

        They have the precision of the weights, unless autocast converts them later.
        """
        if not torch.is_autocast_enabled(images.device.type):
            images = images.to(next(self.parameters()).dtype)
        return images.reshape(-1, 1, *self.image_shape)

    def _current_feature(self, images: Tensor, new_frame: Tensor | None) -> Tensor:
        """Return the features of the images (batch, size), computing those of new ones only."""
        if self.image_feature is None or new_frame is None:
            self.image_feature = self.encode_image(images)
        elif count := HostNumber(new_frame.sum()).get():
            rows = torch.argsort(new_frame, descending=True, stable=True)[:count]
            feature = self.encode_image(images.index_select(0, rows))
            self.image_feature = self.image_feature.index_copy(0, rows, feature.to(self.image_feature.dtype))
        return self.image_feature

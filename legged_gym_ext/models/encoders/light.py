"""A light encoder: strided convolutions and a small GRU that reads image features and proprioception at once.

Its size is MoRE's and mjlab's (a quarter of a million parameters and less); the layers are our own.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy

import torch
from torch import Tensor, nn

from legged_gym_ext.models.encoders.base import Encoder
from legged_gym_ext.models.encoders.gru import run_gru
from legged_gym_ext.models.encoders.options import LightOptions


class LightEncoder(Encoder):
    """Three strided convolutions and a layer make the image features; the GRU's hidden state is the memory.

    Args:
        num_proprio: Size of the proprioception.
        image_shape: Rows and columns of the depth image.
        latent_dim: Size of the latent.
        options: Sizes of the image features and of the GRU.
    """

    def __init__(self, num_proprio: int, image_shape: Sequence[int], latent_dim: int, options: LightOptions) -> None:
        super().__init__(num_proprio, image_shape, latent_dim, options)
        rows, columns = (_halved(_halved(_halved(size, 5), 3), 3, padding=1) for size in self.image_shape)
        self.cnn = nn.Sequential(
            nn.Conv2d(1, 16, kernel_size=5, stride=2),
            nn.ELU(),
            nn.Conv2d(16, 32, kernel_size=3, stride=2),
            nn.ELU(),
            nn.Conv2d(32, 32, kernel_size=3, stride=2, padding=1),
            nn.ELU(),
            nn.Flatten(),
            nn.Linear(32 * rows * columns, options.image_features),
            nn.ELU(),
        )
        self.gru = nn.GRU(options.image_features + num_proprio, options.gru_hidden, batch_first=True)
        self.output = nn.Sequential(nn.Linear(options.gru_hidden, latent_dim), nn.Tanh())
        self.memory_size = options.gru_hidden

    def encode_image(self, images: Tensor) -> Tensor:
        """Return the image features (batch, image_features)."""
        return self.cnn(self.as_images(images))

    def forward_sequence(
        self, features: Tensor, proprioception: Tensor, memory: Tensor, dones: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Run the GRU over a sequence, starting anew after each end of an episode."""
        inputs = torch.cat([features, proprioception.to(features.dtype)], dim=-1)
        outputs, memory = run_gru(self.gru, inputs, memory, dones)
        return self.output(outputs), memory

    def export(self) -> nn.Module:
        """Return one step through copies of all layers."""
        return _Step(self)


def _halved(size: int, kernel: int, padding: int = 0) -> int:
    """Return what a convolution with stride 2 leaves of ``size`` pixels."""
    return (size + 2 * padding - kernel) // 2 + 1


class _Step(nn.Module):
    def __init__(self, encoder: LightEncoder) -> None:
        super().__init__()
        self.rows, self.columns = encoder.image_shape
        self.cnn = deepcopy(encoder.cnn)
        self.gru = deepcopy(encoder.gru)
        self.output = deepcopy(encoder.output)

    def forward(self, images: Tensor, proprioception: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:
        feature = self.cnn(images.reshape(-1, 1, self.rows, self.columns))
        inputs = torch.cat([feature, proprioception], dim=-1)
        outputs, memory = self.gru(inputs.unsqueeze(1), memory)
        return self.output(outputs.squeeze(1)), memory

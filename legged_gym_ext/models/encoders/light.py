"""A light encoder: strided convolutions and a small GRU that reads image features and proprioception at once.

Its size is MoRE's and mjlab's (a quarter of a million parameters and less); the layers are our own.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from legged_gym_ext.models.encoders.gru import GruEncoder
from legged_gym_ext.models.encoders.options import LightOptions


class LightEncoder(GruEncoder):
    """Three strided convolutions and a layer make the image features; the GRU's hidden state is the memory.

    Args:
        num_proprio: Size of the proprioception.
        image_shape: Rows and columns of the depth image.
        latent_dim: Size of the latent.
        options: Sizes of the image features and of the GRU.
    """

    def __init__(self, num_proprio: int, image_shape: Sequence[int], latent_dim: int, options: LightOptions) -> None:
        rows, columns = (_halved(_halved(_halved(size, 5), 3), 3, padding=1) for size in image_shape)
        cnn = nn.Sequential(
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
        fused = options.image_features + num_proprio
        super().__init__(num_proprio, image_shape, latent_dim, options, cnn, nn.Identity(), fused)


def _halved(size: int, kernel: int, padding: int = 0) -> int:
    """Return what a convolution with stride 2 leaves of ``size`` pixels."""
    return (size + 2 * padding - kernel) // 2 + 1

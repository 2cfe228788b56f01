"""The specification's encoder: CNN, fusion with proprioception, GRU.

After extreme-parkour (Cheng et al., "Extreme Parkour with Legged Robots", 2023).
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from legged_gym_ext.models.encoders.gru import GruEncoder
from legged_gym_ext.models.encoders.options import SpecOptions


class SpecEncoder(GruEncoder):
    """Image features, fused with proprioception, go through a GRU, whose hidden state is the memory.

    The image feature and the fused feature have the size of the latent.

    Args:
        num_proprio: Size of the proprioception.
        image_shape: Rows and columns of the depth image.
        latent_dim: Size of the latent.
        options: Width of the fusion MLP and of the GRU.
    """

    def __init__(self, num_proprio: int, image_shape: Sequence[int], latent_dim: int, options: SpecOptions) -> None:
        rows, columns = ((size - 4) // 2 - 2 for size in image_shape)  # left by 5x5, halving and 3x3
        cnn = nn.Sequential(
            nn.Conv2d(1, 32, kernel_size=5),
            nn.MaxPool2d(2, 2),
            nn.ELU(),
            nn.Conv2d(32, 64, kernel_size=3),
            nn.ELU(),
            nn.Flatten(),
            nn.Linear(64 * rows * columns, 128),
            nn.ELU(),
            nn.Linear(128, latent_dim),
        )
        fusion = nn.Sequential(
            nn.Linear(latent_dim + num_proprio, options.fusion_hidden),
            nn.ELU(),
            nn.Linear(options.fusion_hidden, latent_dim),
        )
        super().__init__(num_proprio, image_shape, latent_dim, options, cnn, fusion, fused=latent_dim)

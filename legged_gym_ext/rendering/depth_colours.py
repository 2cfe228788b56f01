"""The colours of depth images, the same wherever one is shown."""

from __future__ import annotations

import numpy as np
from matplotlib import colormaps
from numpy.typing import NDArray

_TABLE = (255 * colormaps["viridis_r"](np.linspace(0, 1, 256))[:, :3]).astype(np.uint8)
"""From near, yellow, to far, violet: told apart with any kind of colour blindness, and in black and white."""


def colour_depth(depth: NDArray[np.floating]) -> NDArray[np.uint8]:
    """Return depths, 0 (nearest) to 1 (farthest) of any shape, as RGB (..., 3); what is beyond is as the end."""
    return _TABLE[np.clip(255 * depth, 0, 255).astype(np.uint8)]

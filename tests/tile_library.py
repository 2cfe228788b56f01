"""A library of tiles that are written by hand, for engines."""

from __future__ import annotations

import torch
from torch import Tensor

from legged_gym_ext.terrain.library import TerrainLibrary


def library_of(boxes: Tensor) -> TerrainLibrary:
    """Return a library whose rows are the tiles ``boxes`` (T, K, BOX_DIM), each with one waypoint at the origin."""
    return TerrainLibrary(
        boxes=boxes.contiguous(),
        waypoints=torch.zeros(len(boxes), 1, 3, device=boxes.device),
        kinds=("handmade",),
        proportions=(1.0,),
        levels=1,
        variants=len(boxes),
        length=10.0,
        width=10.0,
    )

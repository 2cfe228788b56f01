"""A picture of the library, to judge the obstacles by."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from matplotlib.cm import ScalarMappable
from matplotlib.collections import PolyCollection
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from legged_gym_ext.rotations import matrix_from_quat
from legged_gym_ext.terrain.boxes import CENTER, HALF, QUAT
from legged_gym_ext.terrain.course import BEHIND, BEYOND
from legged_gym_ext.terrain.library import TerrainLibrary

_TOP = np.array([[-1, -1, 1], [1, -1, 1], [1, 1, 1], [-1, 1, 1]])  # corners of a box's faces, in half sizes
_FRONT = np.array([[-1, -1, -1], [1, -1, -1], [1, -1, 1], [-1, -1, 1]])
_BACK = _FRONT * [1, -1, 1]
_CELLS = 12  # along x and along y, that a tilted top face is cut into to be coloured by height
_BELOW, _ABOVE = -1.2, 1.4  # heights that the side view has room for


def draw(library: TerrainLibrary, path: Path, variant: int = 0) -> None:
    """Write a PNG of one variant of every kind (rows) and level (columns).

    Each tile is drawn twice, to the same scale: from above, coloured by height, and below that from its right side.
    Waypoints are red dots, the start line is a red line.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    column = BEHIND + library.length + BEYOND + 1.0
    row = library.width + (_ABOVE - _BELOW) + 1.5
    side = -library.width / 2 - _ABOVE - 0.2  # of z = 0 in the side view, seen from y = 0 in the top view
    norm, colours = Normalize(-0.5, 1.0), "viridis"
    columns, rows = column * library.levels, row * len(library.kinds)
    scale = min(0.24, 600 / columns)  # inches per metre; at 100 dpi no picture is too wide to be drawn
    figure = Figure(figsize=(columns * scale + 2.5, rows * scale + 1.0), dpi=100, layout="constrained")
    axes = figure.subplots()
    for kind in range(len(library.kinds)):
        for level in range(library.levels):
            tile = int(library.tile_index(torch.tensor(kind), torch.tensor(level), torch.tensor(variant)))
            boxes = library.boxes[tile].cpu()
            boxes = boxes[boxes[:, 7] > 0].double()
            points = library.waypoints[tile].cpu().numpy()
            at = np.array([level * column, -kind * row])
            quads, heights = _top_quads(boxes)
            axes.add_collection(
                PolyCollection(list(quads + at), array=heights, cmap=colours, norm=norm, edgecolors="face")
            )
            outlines = _faces(boxes, _TOP)[:, :, :2]
            axes.add_collection(
                PolyCollection(list(outlines + at), facecolors="none", edgecolors="black", linewidths=0.4)
            )
            below = at + np.array([0.0, side])
            for face in (_BACK, _FRONT):
                walls = _faces(boxes, face)[:, :, [0, 2]]
                axes.add_collection(
                    PolyCollection(list(walls + below), facecolors="0.75", edgecolors="0.35", linewidths=0.4)
                )
            start = [-library.width / 2, library.width / 2]
            axes.plot(at[[0, 0]], at[1] + start, color="red", linewidth=0.8)
            axes.plot(*(points[:, :2] + at).T, "o-", color="red", markersize=2.5, linewidth=0.5)
            axes.plot(*(points[:, [0, 2]] + below).T, "o", color="red", markersize=2.5)
    middle = (library.length + BEYOND - BEHIND) / 2
    axes.set_xticks(middle + column * np.arange(library.levels), [f"level {n}" for n in range(library.levels)])
    axes.set_yticks(-row * np.arange(len(library.kinds)), library.kinds)
    axes.tick_params(labelsize=16, length=0, labeltop=True)
    axes.set_aspect("equal")
    axes.set_xlim(-BEHIND - 0.5, columns - BEHIND - 0.5)
    axes.set_ylim(side + _BELOW - rows + row - 0.5, library.width / 2 + 0.5)
    axes.set_title(
        f"variant {variant}: from above (width {library.width:g} m, course {library.length:g} m) and from the side",
        fontsize=16,
    )
    bar = figure.colorbar(ScalarMappable(norm, colours), ax=axes, extend="both", shrink=0.5, pad=0.01)
    bar.set_label("height (m)", fontsize=16)
    bar.ax.tick_params(labelsize=14)
    figure.savefig(path, format="png")


def _faces(boxes: torch.Tensor, corners: np.ndarray) -> np.ndarray:
    """Return the given corners (4, 3) of boxes (n, BOX_DIM) in the tile frame: (n, 4, 3)."""
    local = boxes[:, None, HALF] * torch.from_numpy(corners)
    return (local @ matrix_from_quat(boxes[:, QUAT]).mT + boxes[:, None, CENTER]).numpy()


def _top_quads(boxes: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Return the outlines (m, 4, 2) of the top faces, lowest first, and their heights (m,); tilted ones in cells."""
    tilted = boxes[:, QUAT][:, 1:3].abs().amax(dim=1) > 0  # about x or y
    corner = np.linspace(-1, 1, _CELLS, endpoint=False)
    cells = [[x, y, 1] + (_TOP + 1) / _CELLS * [1, 1, 0] for x in corner for y in corner]
    quads = np.concatenate([_faces(boxes[~tilted], _TOP), *(_faces(boxes[tilted], cell) for cell in cells)])
    heights = quads[:, :, 2].mean(axis=1)
    order = heights.argsort()
    return quads[order, :, :2], heights[order]

"""Pictures that are drawn without a figure: what the cameras see."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from legged_gym_ext.rendering.depth_colours import colour_depth

_WIDTH, _GAP, _CAPTION, _BAR = 160, 8, 20, 10  # pixels: of an image, between images, for a caption, of the scale
_INK, _PAPER = (40, 40, 40), (255, 255, 255)


def depth_row(images: NDArray[np.floating], captions: Sequence[str], near: float, far: float) -> NDArray[np.uint8]:
    """Draw depth images side by side, with their captions above and the scale of depths below.

    Args:
        images: (k, rows, columns), -0.5 (``near``) to 0.5 (``far``).
        captions: Of each.
        near: Depth of the nearest, m.
        far: Depth of the farthest, m.

    Returns:
        RGB, (rows, columns, 3).
    """
    count, rows, columns = images.shape
    height = max(1, _WIDTH * rows // columns)
    width = count * (_WIDTH + _GAP) + _GAP
    picture = Image.new("RGB", (width, _CAPTION + height + _GAP + _BAR + _CAPTION), _PAPER)
    pen, font = ImageDraw.Draw(picture), ImageFont.load_default(13)
    for index, (image, caption) in enumerate(zip(images, captions, strict=True)):
        left = _GAP + index * (_WIDTH + _GAP)
        pen.text((left, 2), caption.replace("_", " "), _INK, font)
        seen = Image.fromarray(colour_depth(image + 0.5)).resize((_WIDTH, height), Image.Resampling.NEAREST)
        picture.paste(seen, (left, _CAPTION))
    top = _CAPTION + height + _GAP
    scale = colour_depth(np.tile(np.linspace(0, 1, _WIDTH), (_BAR, 1)))
    picture.paste(Image.fromarray(scale), (_GAP, top))
    pen.text((_GAP, top + _BAR + 1), f"{near:g} m", _INK, font)
    pen.text((_GAP + _WIDTH, top + _BAR + 1), f"{far:g} m", _INK, font, anchor="ra")
    return np.asarray(picture)

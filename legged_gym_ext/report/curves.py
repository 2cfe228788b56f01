"""The figures of a run's page."""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np
from cycler import cycler
from matplotlib.figure import Figure

from legged_gym_ext.evaluation.document import Picture, Section
from legged_gym_ext.evaluation.figures import COLORS, png
from legged_gym_ext.runs.events import Curve
from legged_gym_ext.runs.plot import draw_panel, find_panels

POINTS = 300
"""Of a line at most: more are not seen, and jump."""
_SIZE = (5.2, 3.3)
_BLACK, _WHITE = "#000000", "#ffffff"


def curves_section(curves: Mapping[str, Curve]) -> Section:
    """Return the panels of plot.py, for light and dark pages."""
    pictures = []
    width = 1
    for title, lines in find_panels(curves).items():
        thin = {label: thinned(curve) for label, curve in lines.items()}
        width = max(width, *(len(curve.steps) // len(thin[label].steps) for label, curve in lines.items()))
        light, dark = (_draw(title, thin, dark) for dark in (False, True))
        name = re.sub(r"\W+", "_", title)
        pictures.append(Picture(f"training_{name}.png", f"{title[:1].upper()}{title[1:]}.", light, dark))
    note = "The log's values by iteration" + (f", means over up to {width + 1} of them." if width > 1 else ".")
    return Section("Curves", [note] if pictures else [], pictures=pictures)


def thinned(curve: Curve) -> Curve:
    """Return a curve of at most :data:`POINTS` points: means over as many neighbours as that needs."""
    parts = min(POINTS, len(curve.steps))
    steps = [part[-1] for part in np.array_split(curve.steps, parts)]
    return Curve(np.array(steps), np.array([part.mean() for part in np.array_split(curve.values, parts)]))


def _draw(title: str, lines: Mapping[str, Curve], dark: bool) -> bytes:
    colors = [color.replace(_BLACK, _WHITE) if dark else color for color in COLORS]

    def draw(figure: Figure) -> None:
        axis = figure.subplots()
        axis.set_prop_cycle(cycler(linestyle=["-", "--"]) * cycler(color=colors))
        draw_panel(axis, title, lines)

    return png(draw, _SIZE, dark)

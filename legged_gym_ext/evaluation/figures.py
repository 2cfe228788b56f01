"""The figures of a report, as PNGs that are the same bytes for the same data."""

from __future__ import annotations

import io
import math
import textwrap
from collections.abc import Callable, Mapping, Sequence
from itertools import cycle
from typing import Any

import numpy as np
from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray
from PIL import Image

from legged_gym_ext.envs.outcome import ENDS, Outcome
from legged_gym_ext.evaluation.pairs import Pairs
from legged_gym_ext.evaluation.robustness import SweepPoint
from legged_gym_ext.evaluation.selection import ALL, kinds_to_show, levels_to_show
from legged_gym_ext.evaluation.summary import Cell
from legged_gym_ext.evaluation.wording import percent

COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Of M. Okabe and K. Ito: told apart by people with any kind of colour blindness."""
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
OUTCOME_COLORS = {
    Outcome.FINISHED: "#009E73",
    Outcome.FELL_IN: "#D55E00",
    Outcome.TIPPED: "#CC79A7",
    Outcome.SANK: "#0072B2",
    Outcome.LEFT: "#56B4E9",
    Outcome.STUCK: "#E69F00",
    Outcome.TIMED_OUT: "#F0E442",
    Outcome.DIVERGED: "#000000",
}
SETTINGS = {"font.size": 9, "axes.spines.top": False, "axes.spines.right": False, "axes.titlesize": 10}
DPI = 130
DARK: dict[Any, str] = dict.fromkeys(("figure.facecolor", "axes.facecolor", "savefig.facecolor"), "#14171a")
"""The colour of the page (templates/report.html.j2)."""
Drawing = tuple[Callable[[Figure], None], tuple[float, float]]
"""What draws a figure, and how large that is, inches."""


def heat_map(cells: Sequence[Cell], title: str) -> bytes:
    """Draw success of every kind at every level, with the sums over each.

    Args:
        cells: Of one policy under one setting.
        title: Of the figure.
    """
    kinds = kinds_to_show(cell.kind for cell in cells)
    columns = levels_to_show(cell.level for cell in cells)
    by_place = {(cell.kind, cell.level): cell.success for cell in cells}
    success = np.array([[by_place.get((kind, level), np.nan) for level in columns] for kind in kinds])
    return png(*success_map(success, kinds, columns, title))


def success_map(
    success: np.ndarray,
    kinds: Sequence[str],
    columns: Sequence[int | None],
    title: str,
    episodes: np.ndarray | None = None,
) -> Drawing:
    """Return the drawing of success by kind and level.

    Args:
        success: A share for each kind and column; NaN = an empty cell.
        kinds: Of the rows; :data:`ALL` = all of them together, the last one.
        columns: Levels; None = all of them together, the last one.
        title: Of the figure.
        episodes: How many there are of each; written below the share, where these differ.
    """

    def draw(figure: Figure) -> None:
        axis = figure.subplots()
        image = axis.imshow(success, cmap="cividis", vmin=0, vmax=1, aspect="auto")
        for (row, column), value in np.ndenumerate(success):
            if np.isfinite(value):
                color = "black" if value > 0.5 else "white"
                place: tuple[float, float] = (float(column), float(row))
                text: dict[str, Any] = {"ha": "center", "color": color}
                axis.text(*place, percent(value), va="center" if episodes is None else "bottom", fontsize=8, **text)
                if episodes is not None:
                    axis.text(*place, _short(int(episodes[row, column])), va="top", fontsize=6, **text)
        if ALL in kinds:
            axis.axhline(len(kinds) - 1.5, color="white", linewidth=3)
        if None in columns:
            axis.axvline(len(columns) - 1.5, color="white", linewidth=3)
        axis.set_xticks(range(len(columns)), [ALL if level is None else str(level) for level in columns])
        axis.set_yticks(range(len(kinds)), kinds)
        axis.tick_params(length=0)
        axis.spines[:].set_visible(False)
        axis.set_xlabel("level")
        axis.set_title(title, loc="left")
        bar = figure.colorbar(image, ax=axis, label="success, %")
        bar.set_ticks([0, 0.5, 1], labels=["0", "50", "100"])

    return draw, (3.2 + 0.42 * len(columns), 1.3 + 0.3 * len(kinds))


def curves(series: Mapping[str, Sequence[Cell]], title: str) -> bytes:
    """Draw success against the level with its interval, a panel for each kind of terrain.

    Args:
        series: Cells of each policy or run, by its name.
        title: Of the figure.
    """
    kinds = kinds_to_show(cell.kind for cells in series.values() for cell in cells)

    def draw(figure: Figure) -> None:
        panels = _grid(figure, len(kinds), columns=3)
        for axis, kind in zip(panels, kinds, strict=True):
            for index, (name, cells) in enumerate(series.items()):
                points = [cell for cell in cells if cell.kind == kind and cell.level is not None]
                _curve(axis, points, name, index, shift=0.1 * (index - (len(series) - 1) / 2))
            axis.set_title("all kinds" if kind == ALL else kind)
            axis.set_ylim(-4, 104)
            axis.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
            axis.grid(alpha=0.3)
            axis.set_xlabel("level")
        _label_left(panels, "success, %")
        figure.suptitle(title)
        _legend(figure, panels)

    rows, columns = _shape(len(kinds), 3)
    return png(draw, (1 + 2.9 * columns, 1 + 2.1 * rows))


def outcomes(series: Mapping[str, Sequence[Cell]], title: str) -> bytes:
    """Draw how the episodes end at each level, over all kinds; a panel for each policy."""
    present = {
        name: [cell for cell in cells if cell.kind == ALL and cell.level is not None] for name, cells in series.items()
    }
    ends = [end for end in OUTCOME_COLORS if end in ENDS]
    happened = [end for end in ends if any(cell.outcomes[end.word] for cells in present.values() for cell in cells)]

    def draw(figure: Figure) -> None:
        panels = _grid(figure, len(present), columns=2)
        for axis, (name, cells) in zip(panels, present.items(), strict=True):
            bottom = np.zeros(len(cells))
            labels = [str(cell.level) for cell in cells]
            for end in happened:
                share = np.array([100 * cell.outcomes[end.word] / cell.episodes for cell in cells])
                color = OUTCOME_COLORS[end]
                axis.bar(
                    labels, share, 0.8, bottom=bottom, label=end.word, color=color, edgecolor="white", linewidth=0.5
                )
                bottom += share
            axis.set_title(textwrap.fill(name, 42))
            axis.set_ylim(0, 100)
            middle, half_width = (len(cells) - 1) / 2, max(len(cells), 4) / 2 + 0.1
            axis.set_xlim(middle - half_width, middle + half_width)
            axis.set_xlabel("level")
        _label_left(panels, "episodes, %")
        figure.suptitle(title)
        _legend(figure, panels)

    rows, columns = _shape(len(present), 2)
    return png(draw, (max(1 + 3.6 * columns, 5.5), 1.4 + 2.4 * rows))


def depth_bars(pairs: Mapping[str, Sequence[Pairs]], title: str) -> bytes:
    """Draw success with the true image and with others, for each kind of terrain.

    Args:
        pairs: Of each policy, by its name, with all levels together.
        title: Of the figure.
    """

    def draw(figure: Figure) -> None:
        panels = _grid(figure, len(pairs), columns=1)
        for axis, (name, found) in zip(panels, pairs.items(), strict=True):
            kinds = kinds_to_show(pair.kind for pair in found)
            found = [pair for pair in found if pair.kind in kinds]
            sights = list(dict.fromkeys(pair.second for pair in found))
            true = {pair.kind: (pair.success_first, *pair.interval_first) for pair in found}
            groups = {found[0].first: true} | {
                sight: {p.kind: (p.success_second, *p.interval_second) for p in found if p.second == sight}
                for sight in sights
            }
            width = 0.8 / len(groups)
            for index, ((sight, values), color) in enumerate(zip(groups.items(), cycle(COLORS))):
                places = [kinds.index(kind) + (index - (len(groups) - 1) / 2) * width for kind in values]
                rates, errors = _with_errors(values.values())
                axis.bar(places, rates, 0.92 * width, label=sight, color=color)
                axis.errorbar(places, rates, errors, fmt="none", ecolor="#555555", elinewidth=0.9, capsize=1.5)
            axis.set_xticks(range(len(kinds)), ["all kinds" if kind == ALL else kind for kind in kinds])
            if len(kinds) > 5:
                axis.tick_params(axis="x", labelrotation=20)
            axis.set_ylim(0, 104)
            axis.set_title(name)
            axis.set_ylabel("success, %")
            axis.grid(axis="y", alpha=0.3)
            axis.set_axisbelow(True)
        figure.suptitle(title)
        _legend(figure, panels)

    widest = max(len(kinds_to_show(pair.kind for pair in found)) for found in pairs.values())
    return png(draw, (max(2 + 0.95 * widest, 5.0), 1 + 2.4 * len(pairs)))


def sweeps(points: Sequence[SweepPoint], nominal: Sequence[Cell], labels: Mapping[str, str], title: str) -> bytes:
    """Draw success against the strength of each disturbance, all kinds together.

    Args:
        points: Of all sweeps.
        nominal: Cells of all kinds at single levels without the disturbances.
        labels: What the values of each sweep are.
        title: Of the figure.
    """
    names = list(dict.fromkeys(point.sweep for point in points))
    lines = sorted({(point.policy, point.level) for point in points})
    policies = list(dict.fromkeys(policy for policy, _ in lines))
    levels = sorted({level for _, level in lines})
    reference = {(cell.policy, cell.level): cell for cell in nominal if cell.kind == ALL}

    def draw(figure: Figure) -> None:
        panels = _grid(figure, len(names), columns=3)
        for axis, name in zip(panels, names, strict=True):
            values = list(dict.fromkeys(point.value for point in points if point.sweep == name))
            for index, (policy, level) in enumerate(lines):
                found = [p for p in points if (p.sweep, p.policy, p.level) == (name, policy, level)]
                shift = 0.08 * (index - (len(lines) - 1) / 2)
                color = COLORS[policies.index(policy) % len(COLORS)]
                rank = levels.index(level)
                marker, fill = MARKERS[rank % len(MARKERS)], "white" if rank % 2 else color
                look: dict[str, Any] = {"color": color, "marker": marker, "markerfacecolor": fill}
                look |= {"markersize": 4.5, "capsize": 2, "elinewidth": 0.9}
                rates, errors = _with_errors((p.success, p.success_low, p.success_high) for p in found)
                places = [1 + values.index(p.value) + shift for p in found]
                axis.errorbar(places, rates, errors, label=f"{policy}, level {level}", ls=("-", "--")[rank % 2], **look)
                if cell := reference.get((policy, level)):
                    rates, errors = _with_errors([(cell.success, cell.success_low, cell.success_high)])
                    axis.errorbar([shift], rates, errors, ls="none", **look)
            axis.axvline(0.5, color="#999999", linewidth=0.8, linestyle=":")
            axis.set_xticks(range(len(values) + 1), ["nominal", *(f"{value:g}" for value in values)])
            axis.set_xlim(-0.5, len(values) + 0.5)
            axis.set_ylim(-4, 104)
            axis.grid(axis="y", alpha=0.3)
            axis.set_title(name)
            axis.set_xlabel(textwrap.fill(labels.get(name, ""), 40))
        _label_left(panels, "success, %")
        figure.suptitle(title)
        _legend(figure, panels)

    rows, columns = _shape(len(names), 3)
    return png(draw, (max(1 + 3.0 * columns, 5.0), 1.2 + 2.2 * rows))


def differences(pairs: Mapping[str, Sequence[Pairs]], title: str, label: str) -> bytes:
    """Draw differences of success with their intervals, a row for each kind of terrain.

    Args:
        pairs: Of each run, by its name, with all levels together.
        title: Of the figure.
        label: Of the horizontal axis.
    """
    kinds = kinds_to_show(pair.kind for found in pairs.values() for pair in found)
    pairs = {name: [pair for pair in found if pair.kind in kinds] for name, found in pairs.items()}

    def draw(figure: Figure) -> None:
        axis = figure.subplots()
        for index, ((name, found), color, marker) in enumerate(
            zip(pairs.items(), cycle(COLORS[1:]), cycle(MARKERS[1:]))
        ):
            shift = 0.6 * ((index + 0.5) / len(pairs) - 0.5)
            places = [kinds.index(pair.kind) + shift for pair in found]
            points = [pair.difference for pair in found]
            errors = np.array([[d.points - d.low for d in points], [d.high - d.points for d in points]])
            middle = [difference.points for difference in points]
            axis.errorbar(
                middle, places, xerr=errors.clip(min=0), fmt=marker, color=color, label=name, capsize=2, markersize=5
            )
        axis.axvline(0, color="#555555", linewidth=0.9)
        axis.set_yticks(range(len(kinds)), ["all kinds" if kind == ALL else kind for kind in kinds])
        axis.set_ylim(len(kinds) - 0.4, -0.6)
        axis.set_xlabel(label)
        axis.grid(axis="x", alpha=0.3)
        figure.suptitle(title)
        _legend(figure, [axis])

    return png(draw, (6.5, 1.7 + 0.34 * len(kinds) * max(1.0, 0.6 * len(pairs))))


def _short(count: int) -> str:
    """Return 12345 as ``12k``."""
    return f"{count / 1000:.0f}k" if count >= 9950 else f"{count / 1000:.1f}k" if count >= 1000 else str(count)


def _curve(axis: Axes, points: Sequence[Cell], name: str, index: int, shift: float) -> None:
    """Draw one curve; where it is a single point, move it aside by ``shift``."""
    levels = np.array([cell.level for cell in points])
    rates, errors = _with_errors((cell.success, cell.success_low, cell.success_high) for cell in points)
    color = COLORS[index % len(COLORS)]
    look: dict[str, Any] = {"color": color, "marker": MARKERS[index % len(MARKERS)], "markersize": 4, "label": name}
    if len(levels) == 1:
        axis.errorbar(levels + shift, rates, errors, ls="none", capsize=3, **look)
        axis.set_xlim(levels[0] - 0.5, levels[0] + 0.5)
    else:
        axis.plot(levels, rates, **look)
        axis.fill_between(levels, rates - errors[0], rates + errors[1], color=color, alpha=0.18, linewidth=0)


def _with_errors(values: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return rates (N,) and the lengths of their intervals below and above them (2, N), in percent."""
    rate, low, high = 100 * np.array(list(values), dtype=np.float64).reshape(-1, 3).T
    return rate, np.stack([rate - low, high - rate]).clip(min=0)


def _shape(panels: int, columns: int) -> tuple[int, int]:
    """Return the rows and columns of a grid with so many panels and at most so many columns."""
    columns = min(panels, columns)
    return math.ceil(panels / columns), columns


def _grid(figure: Figure, panels: int, columns: int) -> list[Axes]:
    rows, columns = _shape(panels, columns)
    axes = list(figure.subplots(rows, columns, squeeze=False).flat)
    for axis in axes[panels:]:
        axis.remove()
    return axes[:panels]


def _label_left(panels: Sequence[Axes], label: str) -> None:
    for axis in panels:
        place = axis.get_subplotspec()
        if place and place.is_first_col():
            axis.set_ylabel(label)


def _legend(figure: Figure, panels: Sequence[Axes]) -> None:
    """Put one legend for all panels below them."""
    entries = {
        label: handle for axis in panels for handle, label in zip(*axis.get_legend_handles_labels(), strict=True)
    }
    if entries:
        columns = 4 if max(map(len, entries)) < 25 else 1
        figure.legend(list(entries.values()), list(entries), loc="outside lower center", ncols=columns, frameon=False)


def png(draw: Callable[[Figure], None], size: tuple[float, float], dark: bool = False) -> bytes:
    """Return the PNG of what ``draw`` draws; neither date nor settings of the user change it.

    Args:
        draw: Draws it.
        size: Width and height, in inches.
        dark: Light lines on the dark page of reports.
    """
    image = Image.fromarray(pixels(draw, size, dark))
    buffer = io.BytesIO()
    image.quantize(256, dither=Image.Dither.NONE).save(buffer, format="png", optimize=True)  # a third of the bytes
    return buffer.getvalue()


def pixels(draw: Callable[[Figure], None], size: tuple[float, float], dark: bool = False) -> NDArray[np.uint8]:
    """Return a drawing, which is ``size`` inches large, as RGB (rows, columns, 3)."""
    with style.context(["default", *(["dark_background", DARK] if dark else []), SETTINGS]):
        figure = Figure(figsize=size, dpi=DPI, layout="constrained")
        canvas = FigureCanvasAgg(figure)
        draw(figure)
        canvas.draw()
        return np.asarray(canvas.buffer_rgba())[..., :3].copy()

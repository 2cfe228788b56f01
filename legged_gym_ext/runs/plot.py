"""Curves of a run, teacher and student together: ``python -m legged_gym_ext.runs.plot [--load_run RUN]``."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from legged_gym_ext.config.cli import main_guard, make_parser, parse
from legged_gym_ext.errors import UserError
from legged_gym_ext.runs.events import Curve, read_curves
from legged_gym_ext.runs.folder import find_saved

if TYPE_CHECKING:  # imported where it is drawn: matplotlib takes its time
    from matplotlib.axes import Axes

PANELS = {
    "return of an episode": "Return/*",
    "length of an episode, control steps": "EpisodeLength/*",
    "success rate of episodes": "SuccessRate/*",
    "progress along the course, m": "Progress/*",
    "speed toward the waypoint, m/s": "Speed/toward_waypoint/*",
    "terrain level": "TerrainLevel/*",
    "terrain level of the teacher, by kind": "TerrainLevel/*/teacher",
    "terrain level of the student, by kind": "TerrainLevel/*/student",
    "success of the teacher, by kind": "SuccessRate/*/teacher",
    "success of the student, by kind": "SuccessRate/*/student",
    "imitation of the guide": "Imitation/loss",
    "distillation loss": "Distill/loss",
    "spread of actions": "Policy/mean_std",
    "spread of actions, fine-tuning": "Finetune/mean_std",
}
"""Title and tag of each panel, if there is something to draw; several curves for all that * may stand for."""
_LOGARITHMIC = ("Imitation/loss", "Distill/loss")
_COLUMNS = 3


def plot_run(folder: Path, output: Path) -> None:
    """Draw the TensorBoard curves in a run's ``folder`` into the PNG ``output``.

    Raises:
        UserError: The folder has no TensorBoard events.
    """
    scalars = _scalars(folder)
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    panels = find_panels(scalars)
    rows = math.ceil(len(panels) / _COLUMNS)
    size = (4.4 * _COLUMNS, 3.5 * rows)
    figure, axes = pyplot.subplots(rows, _COLUMNS, figsize=size, constrained_layout=True, squeeze=False)
    for axis in axes.flat[len(panels) :]:
        axis.set_axis_off()
    for axis, (title, lines) in zip(axes.flat, panels.items(), strict=False):
        draw_panel(axis, title, lines)
    figure.suptitle(folder.name)
    figure.savefig(output, dpi=100)
    pyplot.close(figure)


def find_panels(curves: Mapping[str, Curve]) -> dict[str, dict[str, Curve]]:
    """Return the curves of each panel that has any, by title and label."""
    return {title: found for title, tag in PANELS.items() if (found := find_lines(tag, curves))}


def draw_panel(axis: Axes, title: str, lines: Mapping[str, Curve]) -> None:
    """Draw one panel with its ``lines``, by label."""
    for label, curve in lines.items():
        alone = "." if len(curve.steps) == 1 else None  # no line is drawn of one point
        axis.plot(curve.steps, curve.values, label=label, linewidth=1, marker=alone)
    if PANELS[title] in _LOGARITHMIC:
        axis.set_yscale("log")
    if len(lines) > 1:
        axis.legend(fontsize="small")
    axis.set_title(title)
    axis.set_xlabel("iteration")
    axis.grid(alpha=0.3)


def find_lines(tag: str, scalars: Mapping[str, Any]) -> dict[str, Any]:
    """Return the curves that the ``tag`` of a panel stands for, by label."""
    pattern = "([^/]+)".join(map(re.escape, tag.split("*")))
    found = {name: re.fullmatch(pattern, name) for name in scalars}
    return {match[1] if match.groups() else name: scalars[name] for name, match in found.items() if match}


def _scalars(folder: Path) -> dict[str, Curve]:
    curves = read_curves(folder)
    if not curves:
        raise UserError(f"no TensorBoard events in '{folder}'; train with --logger tensorboard")
    return curves


def main(argv: list[str]) -> None:
    """Draw the curves of the run that the flags choose."""
    parser = make_parser("Draw the curves of a run.")
    parser.add_argument("--output", type=Path, help="PNG to write; default: curves.png in the run's folder")
    args = parse(parser, argv)
    folder = find_saved(args)[1].parent
    output = args.output or folder / "curves.png"
    plot_run(folder, output)
    print(output)


if __name__ == "__main__":
    main_guard(main)

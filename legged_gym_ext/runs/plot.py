"""Curves of a run, teacher and student together: ``python -m legged_gym_ext.runs.plot [--load_run RUN]``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from legged_gym_ext.config.cli import main_guard, make_parser, parse
from legged_gym_ext.errors import UserError
from legged_gym_ext.runs.folder import find_saved

PANELS = {
    "return of an episode": ("Return/teacher", "Return/student"),
    "length of an episode, control steps": ("EpisodeLength/teacher", "EpisodeLength/student"),
    "progress along the course, m": ("Progress/teacher", "Progress/student"),
    "speed toward the waypoint, m/s": ("Speed/toward_waypoint/teacher", "Speed/toward_waypoint/student"),
    "terrain level": ("TerrainLevel/teacher", "TerrainLevel/student"),
    "distillation loss": ("Distill/loss",),
}
"""Title and tags of each panel."""


def plot_run(folder: Path, output: Path) -> None:
    """Draw the TensorBoard curves in a run's ``folder`` into the PNG ``output``.

    Raises:
        UserError: The folder has no TensorBoard events.
    """
    scalars = _scalars(folder)
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(2, 3, figsize=(13, 7), constrained_layout=True)
    for axis, (title, tags) in zip(axes.flat, PANELS.items(), strict=True):
        for tag in tags:
            if tag in scalars:
                points = scalars[tag]
                axis.plot([p.step for p in points], [p.value for p in points], label=tag.rsplit("/", 1)[1])
        if len(tags) == 1:
            axis.set_yscale("log")
        elif axis.lines:
            axis.legend()
        axis.set_title(title)
        axis.set_xlabel("PPO iteration")
        axis.grid(alpha=0.3)
    figure.suptitle(folder.name)
    figure.savefig(output, dpi=100)
    pyplot.close(figure)


def _scalars(folder: Path) -> dict[str, Any]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder), size_guidance={"scalars": 0})
    events.Reload()
    tags = events.Tags()["scalars"]
    if not tags:
        raise UserError(f"no TensorBoard events in '{folder}'; train with --logger tensorboard")
    return {tag: events.Scalars(tag) for tag in tags}


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

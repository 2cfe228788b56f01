"""Results of an evaluation, where a run's curves are: TensorBoard, and Weights & Biases."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from legged_gym_ext.config.schema import Config
from legged_gym_ext.evaluation.episodes import TRUE
from legged_gym_ext.evaluation.selection import ALL
from legged_gym_ext.evaluation.summary import Cell
from legged_gym_ext.evaluation.sweeps import setting_parts
from legged_gym_ext.recording import memory
from legged_gym_ext.recording.entries import ITERATION, Scalars, Shown
from legged_gym_ext.recording.keeper import Keeper, Sink
from legged_gym_ext.recording.media import Page, Table
from legged_gym_ext.recording.recording import PATIENCE, wandb_start
from legged_gym_ext.recording.tensorboard import TensorBoard
from legged_gym_ext.recording.wandb_sink import WandbSink
from legged_gym_ext.runs.events import PATTERN


def publish(config: Config, run: Path, folder: Path, iteration: int, title: str, cells: Sequence[Cell]) -> None:
    """Put an evaluation where the run's curves are, if it has any. What cannot be written there is told in a line.

    In W&B it is a run of its own, in the training's group.

    Args:
        config: The run's.
        run: Its folder.
        folder: The evaluation's, which has the report.
        iteration: Of the checkpoint.
        title: Of what is evaluated.
        cells: All of them.
    """
    sinks: list[Sink] = []
    if config.runner.logger != "none" and any(run.glob(PATTERN)):
        sinks.append(TensorBoard(run, ".evaluation"))
    if config.runner.logger == "wandb":
        group = memory.load(run).group or run.name
        start = wandb_start(
            config, run, secrets.token_hex(4), f"{run.name}_evaluation_{iteration}", group, job_type="evaluation"
        )
        sinks.append(WandbSink(lambda: start))
    axes = {ITERATION: float(iteration)}
    page = Page(
        f"Evaluation/{folder.name}",
        (folder / "report.md").read_text("utf-8"),
        (folder / "report.html").read_text("utf-8"),
    )
    for sink in sinks:
        keeper = Keeper(sink)
        keeper.put(Scalars(axes, scalars(cells, title)))
        keeper.put(Shown(axes, (page, _table(cells)) if isinstance(sink, WandbSink) else (page,)))
        keeper.close(PATIENCE)


def _table(cells: Sequence[Cell]) -> Table:
    """Return all cells, but for how each of their episodes ended."""
    rows = [{name: value for name, value in asdict(cell).items() if name != "outcomes"} for cell in cells]
    return Table("Evaluation/cells", list(rows[0]), [list(row.values()) for row in rows])


def scalars(cells: Sequence[Cell], title: str) -> dict[str, float]:
    """Return what of the cells makes a curve over a run's checkpoints, by tag: the success with the true image.

    Only what is evaluated alike makes one curve: ``title`` says what it is.
    """
    found = {}
    for cell in cells:
        if cell.sight == TRUE and cell.kind == ALL and not setting_parts(cell.setting):
            where = "all levels" if cell.level is None else f"level {cell.level}"
            found[f"Evaluation/{title} {cell.setting} {where}/{cell.policy}"] = cell.success
    return found

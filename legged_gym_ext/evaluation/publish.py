"""Results of an evaluation, where a run's curves are: TensorBoard or Weights & Biases."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from legged_gym_ext.config.schema import Config
from legged_gym_ext.evaluation.episodes import TRUE
from legged_gym_ext.evaluation.selection import ALL
from legged_gym_ext.evaluation.summary import Cell
from legged_gym_ext.evaluation.sweeps import setting_parts


def publish(config: Config, run: Path, folder: Path, iteration: int, title: str, cells: Sequence[Cell]) -> None:
    """Put an evaluation where the run's curves are, if it has any.

    Args:
        config: The run's.
        run: Its folder.
        folder: The evaluation's, which has the report.
        iteration: Of the checkpoint.
        title: Of what is evaluated.
        cells: All of them.
    """
    if config.runner.logger == "tensorboard" and any(run.glob("events.out.tfevents.*")):
        _to_tensorboard(run, folder, iteration, scalars(cells, title))
    elif config.runner.logger == "wandb":
        import wandb

        try:
            _to_wandb(config, run, folder, iteration, title, cells)
        except wandb.Error as error:  # no key, no network
            reason = " ".join(str(error).split())
            print(f"not published to Weights & Biases: {reason}", file=sys.stderr, flush=True)


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


def _to_tensorboard(run: Path, folder: Path, iteration: int, values: Mapping[str, float]) -> None:
    from torch.utils.tensorboard.writer import SummaryWriter

    with SummaryWriter(str(run), filename_suffix=".evaluation") as writer:
        for tag, value in values.items():
            writer.add_scalar(tag, value, iteration)
        writer.add_text(f"Evaluation/{folder.name}", (folder / "report.md").read_text("utf-8"), iteration)


def _to_wandb(config: Config, run: Path, folder: Path, iteration: int, title: str, cells: Sequence[Cell]) -> None:
    import wandb

    name, project = f"{run.name}_evaluation_{iteration}", config.runner.wandb_project
    with wandb.init(name=name, project=project, group=run.name, job_type="evaluation") as published:
        rows = [{name: value for name, value in asdict(cell).items() if name != "outcomes"} for cell in cells]
        table = wandb.Table(columns=list(rows[0]), data=[list(row.values()) for row in rows])
        published.log({"Evaluation/cells": table, "Evaluation/report": wandb.Html((folder / "report.html").open())})
        published.summary.update(scalars(cells, title))
        published.summary["iteration"] = iteration

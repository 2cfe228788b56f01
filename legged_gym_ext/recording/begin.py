"""What TensorBoard's files begin with: the configuration, as text and as hyperparameters, and the layout."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from omegaconf import OmegaConf
from torch.utils.tensorboard.summary import hparams
from torch.utils.tensorboard.writer import SummaryWriter

from legged_gym_ext.config.schema import Config
from legged_gym_ext.dashboard.custom_scalars import write
from legged_gym_ext.dashboard.layout import layout
from legged_gym_ext.runs.resume import dotted_values

METRICS = ("Return/teacher", "Return/student", "SuccessRate/teacher", "SuccessRate/student", "TerrainLevel/teacher")
"""Tags by which runs are compared."""


def begin_tensorboard(writer: SummaryWriter, config: Config) -> None:
    """Write the configuration and the layout of the curves."""
    text = OmegaConf.to_yaml(OmegaConf.structured(config))
    writer.add_text("Run/configuration", "".join(f"    {line}\n" for line in text.splitlines()), 0)
    if config.runner.wandb_notes:
        writer.add_text("Run/notes", config.runner.wandb_notes, 0)
    values = {key: _plain(value) for key, value in dotted_values(asdict(config))}
    for summary in hparams(values, dict.fromkeys(METRICS, 0.0)):
        writer._get_file_writer().add_summary(summary)  # add_hparams would make a run of its own of it
    write(writer, layout(config))


def _plain(value: Any) -> bool | float | str:
    """Return a value as a hyperparameter can be: a list as its text."""
    return value if isinstance(value, bool | int | float | str) else str(value)

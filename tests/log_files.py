"""Logs, checkpoints and evaluations as trainings leave them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch.utils.tensorboard.writer import SummaryWriter

from legged_gym_ext.runs.checkpoint import save_checkpoint


def write_log(folder: Path, curves: Mapping[str, Mapping[int, float]], suffix: str = "") -> None:
    """Write an event file: values by tag and step."""
    with SummaryWriter(str(folder), filename_suffix=suffix) as writer:
        for tag, points in curves.items():
            for step, value in points.items():
                writer.add_scalar(tag, value, step)


def write_checkpoint(folder: Path, iteration: int, **content: Any) -> Path:
    path = folder / f"model_{iteration}.pt"
    whole = {"iteration": iteration, "total_steps": 10 * iteration, "config": {}, "phases": {}, "ranks": []}
    save_checkpoint(whole | content, path)
    return path


def write_evaluation(folder: Path, name: str, iteration: int, rates: Mapping[str, float], **cell: Any) -> None:
    """Write what of a report is read: success over all kinds and levels by policy."""
    policies: Sequence[str] = list(rates)
    whole = {"kind": "all", "level": None, "sight": "true", "setting": "nominal", **cell}
    content = {
        "heading": {
            "benchmark": "parkour-v1 (quick)" if "quick" in name else "parkour-v1",
            "checkpoint": iteration,
            "policies": policies,
            "engine": "mujoco",
        },
        "cells": [{**whole, "policy": policy, "success": rate} for policy, rate in rates.items()],
    }
    path = folder / "evaluation" / name / "report.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(content), "utf-8")

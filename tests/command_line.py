"""Command lines as a user writes them, what they make of the configuration, and runs to load."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from legged_gym_ext.config.cli import make_parser, parse
from legged_gym_ext.config.files import load_config
from legged_gym_ext.config.schema import Config
from legged_gym_ext.runs.checkpoint import save_checkpoint
from legged_gym_ext.runs.folder import create_run_folder


def arguments(line: str):
    return parse(make_parser("test"), line.split())


def config_of(line: str) -> Config:
    args = arguments(line)
    return load_config(args.task or "parkour_depth", args.overrides)


def make_run(config: Config, *iterations: int, now: datetime | None = None) -> Path:
    folder = create_run_folder(config, now)
    for iteration in iterations:
        save_checkpoint({"iteration": iteration}, folder / f"model_{iteration}.pt")
    return folder

"""A run's networks in a folder of their own, small enough to be handed on.

``python -m legged_gym_ext.runs.slim --load_run RUN --output FOLDER`` leaves out optimizers and environments. The folder
is a run's: ``play.py`` and ``evaluate.py`` take it, ``train.py --resume`` and ``runner.init_from`` go on from it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from legged_gym_ext.config.cli import main_guard, make_parser, parse
from legged_gym_ext.config.files import save_config
from legged_gym_ext.errors import UserError
from legged_gym_ext.runs.folder import CONFIG_FILE, checkpoint_numbers, find_saved


def main(argv: list[str]) -> None:
    """Write the folder.

    Raises:
        UserError: There is no such checkpoint, or the folder has one already.
    """
    parser = make_parser("Write a run's networks into a small folder.")
    parser.add_argument("--output", metavar="DIR", help="the folder, which must not have a checkpoint yet")
    args = parse(parser, argv)
    if not args.output:
        raise UserError("--output: the folder to write is needed")
    output = Path(args.output)
    if output.is_dir() and checkpoint_numbers(output):
        raise UserError(f"--output {output}: there is a checkpoint in it already")

    from legged_gym_ext.runs.checkpoint import load_checkpoint, save_checkpoint  # import torch

    config, checkpoint = find_saved(args)
    path = output / checkpoint.name
    save_checkpoint(slim(load_checkpoint(checkpoint)), path)
    config.run_name = ""
    save_config(config, output / CONFIG_FILE)
    print(f"{path} ({path.stat().st_size / 1e6:.1f} MB)")


def slim(content: dict[str, Any]) -> dict[str, Any]:
    """Return a checkpoint's content without environments and without what its optimizers remember."""
    return {**content, "phases": _without_memories(content["phases"]), "ranks": []}


def _without_memories(value: Any) -> Any:
    """Return nested dictionaries in which each optimizer's state is empty."""
    if not isinstance(value, dict):
        return value
    if {"state", "param_groups"} <= value.keys():
        return {**value, "state": {}}
    return {key: _without_memories(item) for key, item in value.items()}


if __name__ == "__main__":
    main_guard(main)

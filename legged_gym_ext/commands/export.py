"""Export a trained student as a folder that a robot runs."""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path
from typing import NoReturn

from legged_gym_ext.config.cli import main_guard, make_parser, parse
from legged_gym_ext.config.schema import Config
from legged_gym_ext.errors import UserError
from legged_gym_ext.runs.folder import find_saved, results_folder
from legged_gym_ext.simulators import ENGINES

HOW_IT_RUNS = ("env.num_envs", "sim.engine", "sim.device", "runner.device")
"""Keys that say how an export is computed. All others say what was trained, which an export cannot change."""


def command() -> NoReturn:
    """Run as ``legged-gym-export``."""
    main_guard(main)


def main(argv: list[str]) -> None:
    """Export a run's student: let it walk, write what it is, and check that what is written does the same."""
    args = parse_flags(argv)
    config, checkpoint = find_saved(argparse.Namespace(**{**vars(args), "overrides": []}))
    own = results_folder(checkpoint) / "exported" / checkpoint.stem
    out = own if args.out is None else Path(args.out).expanduser()
    require_student(config)

    from legged_gym_ext.deploy import exporting, folder  # import torch

    folder.require_free(out)
    print(f"checkpoint {checkpoint}", flush=True)
    export = exporting.export(config, checkpoint, args.overrides)
    folder.write(export, out)
    seen = export.seen
    print(f"rollout    {seen.episodes} episodes, {seen.finished} reached the end of the course")
    if not seen.finished:
        print(
            "           so the limits of its targets are what was seen in all: of a policy that walks they mean little"
        )
    print(f"golden     {len(export.golden.reset)} steps, {len(export.golden.depth)} images: every format does the same")
    print(f"folder     {out}")
    print(f"check      python {shlex.quote(str(out / folder.RUNTIME_FILE))} --check", flush=True)


def require_student(config: Config) -> None:
    """Raise a UserError where a run's configuration has no student."""
    if not config.camera.enabled:
        raise UserError(
            "camera.enabled=false: the run has no depth camera, and only a student, which has one, can be exported"
        )
    if not config.distill.enabled:
        raise UserError("distill.enabled=false: the run has no student, and only a student can be exported")


def parse_flags(argv: list[str]) -> argparse.Namespace:
    """Parse the command line.

    Raises:
        UserError: There is no such flag, or it would change what was trained.
    """
    parser = make_parser("Export a trained student as a folder that a robot runs.")
    parser.add_argument("--out", metavar="DIR", help="the folder (default: in the run's, exported/<checkpoint>)")
    args = parse(parser, argv)
    allowed = (*HOW_IT_RUNS, *(f"sim.{engine}.*" for engine in ENGINES))
    for override in args.overrides:
        key = override.partition("=")[0]
        if key not in HOW_IT_RUNS and not key.startswith(tuple(f"sim.{engine}." for engine in ENGINES)):
            raise UserError(
                f"{key}: an export is of what was trained, and cannot change it; allowed: {', '.join(allowed)}"
            )
    return args

"""Evaluate trained runs on a fixed benchmark, and write reports."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NoReturn

from legged_gym_ext.config.cli import LAST_RUN, Parser, main_guard, make_parser, parse
from legged_gym_ext.errors import UserError, unknown
from legged_gym_ext.processes.join import from_rank_zero, joined
from legged_gym_ext.processes.ranks import here
from legged_gym_ext.runs.folder import find_saved
from legged_gym_ext.terrain.kinds import KINDS

POLICIES = ("student", "teacher", "both")
MAX_EPISODES, MAX_SPEED = 1000, 10.0  # as many variants of a tile as there may be; m/s


def command() -> NoReturn:
    """Run as ``legged-gym-evaluate``."""
    main_guard(main)


def main(argv: list[str]) -> None:
    """Evaluate every run that is named, and write a report of each; of several, one that compares them, too."""
    args = parse_flags(argv)
    with joined():
        from legged_gym_ext.evaluation.comparison import write_comparison  # imports torch
        from legged_gym_ext.evaluation.evaluation import Evaluation

        found = from_rank_zero(lambda: [find_saved(each) for each in of_each_run(args)])
        evaluations = [Evaluation(config, checkpoint, args, len(found) > 1) for config, checkpoint in found]
        if len({each.folder for each in evaluations}) < len(evaluations):
            raise UserError(f"--load_run {' '.join(args.load_run)}: a run is named twice")
        results = [each.run(resume=args.resume) for each in evaluations]
        if len(results) > 1 and here().rank == 0:
            first, *others = evaluations
            name = "_against_".join([first.folder.name, *(each.name for each in others)])
            folder = Path(args.output).expanduser() if args.output else first.folder.with_name(name)
            write_comparison(
                folder, [(each.heading, result) for each, result in zip(evaluations, results, strict=True)]
            )
            print(f"comparison {folder / 'report.html'}", flush=True)


def of_each_run(args: argparse.Namespace) -> list[argparse.Namespace]:
    """Return, for each run that is named, the command line as it would be for that one only."""
    none = {"pretrained": False, "wandb_run": None, "load_run": None}
    runs = [{**none, "load_run": run} for run in args.load_run]
    if args.wandb_run:
        runs = [{**none, "wandb_run": args.wandb_run}, *runs]
    if args.pretrained:
        runs = [{**none, "pretrained": True}, *runs]
    return [argparse.Namespace(**{**vars(args), **run}) for run in runs or [{"load_run": LAST_RUN}]]


def parse_flags(argv: list[str]) -> argparse.Namespace:
    """Parse the command line; ``terrain``, ``level``, ``setting`` and ``robustness`` of the result are lists or None.

    Raises:
        UserError: There is no such flag, or a value is not allowed.
    """
    from legged_gym_ext.evaluation.benchmark import PARKOUR_V1, SETTINGS, fixed_by_the_benchmark
    from legged_gym_ext.evaluation.sweeps import SWEEPS

    args = parse(flags(SETTINGS, SWEEPS), argv)
    if args.policy is not None and args.policy not in POLICIES:
        raise unknown("policy", args.policy, POLICIES)
    for flag, allowed in (("terrain", KINDS), ("setting", SETTINGS), ("robustness", SWEEPS)):
        if (given := getattr(args, flag)) is not None:
            setattr(args, flag, _choices(flag, given, allowed))
    if args.level is not None:
        args.level = _levels(args.level, PARKOUR_V1.levels)
    for flag, most in (("episodes", MAX_EPISODES), ("speed", MAX_SPEED)):
        value = getattr(args, flag)
        if value is not None and not 0 < value <= most:
            raise UserError(f"--{flag} {value}; allowed: more than 0, at most {most}")
    for override in args.overrides:
        key = override.partition("=")[0]
        if instead := fixed_by_the_benchmark(key):
            raise UserError(f"{key}: the benchmark decides it, the same for all runs; {instead}")
    return args


def flags(settings: Iterable[str], sweeps: Iterable[str]) -> Parser:
    """Return the parser."""
    parser = make_parser("Evaluate trained runs on the benchmark parkour-v1.", several_runs=True)
    parser.add_argument("--policy", metavar=f"{{{','.join(POLICIES)}}}", help="default: all that are trained")
    parser.add_argument("--quick", action="store_true", help="20 episodes at every other level, without disturbances")
    parser.add_argument("--terrain", metavar="KIND,...", help=f"of {', '.join(KINDS)} (default: all)")
    parser.add_argument("--level", metavar="N,...", help="of the terrain (default: the benchmark's)")
    parser.add_argument("--setting", metavar="NAME,...", help=f"of {', '.join(settings)} (default: the benchmark's)")
    parser.add_argument("--episodes", metavar="N", type=int, help="of each kind and level (default: the benchmark's)")
    parser.add_argument("--speed", metavar="M/S", type=float, help="commanded (default: the middle of the run's range)")
    parser.add_argument("--depth_use", action="store_true", help="only this part: what a policy does with wrong images")
    parser.add_argument(
        "--robustness",
        metavar="SWEEP,...",
        nargs="?",
        const=",".join(sweeps),
        help=f"also disturb robots ever more strongly: {', '.join(sweeps)} (default: all of them)",
    )
    parser.add_argument("--output", metavar="DIR", help="folder of the report (default: in the run's)")
    return parser


def _levels(given: str, allowed: Sequence[int]) -> list[int]:
    """Return a comma-separated list's levels, ascending."""
    for level in given.split(","):
        if level not in map(str, allowed):
            raise UserError(f"--level {level}: not a level of the benchmark; allowed: {allowed[0]} to {allowed[-1]}")
    return sorted({int(level) for level in given.split(",")})


def _choices(flag: str, given: str, allowed: Iterable[str]) -> list[str]:
    """Return a comma-separated list's entries, in the order of ``allowed``."""
    allowed, entries = list(allowed), given.split(",")
    for entry in entries:
        if entry not in allowed:
            raise unknown(flag, entry, allowed)
    return [name for name in allowed if name in entries]

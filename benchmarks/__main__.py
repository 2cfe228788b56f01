"""Measure: ``python -m benchmarks [--device cuda|cpu] [--num_envs 256,1024] [--only NAME ...] [--quick]``."""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from benchmarks import registry
from benchmarks.case import Case
from legged_gym_ext.config.cli import Parser, main_guard
from legged_gym_ext.config.files import load_config
from legged_gym_ext.config.rules import allowed
from legged_gym_ext.errors import UserError, unknown
from legged_gym_ext.runs.settle import settle, torch_device
from legged_gym_ext.tasks import DEFAULT_TASK

SIZES = {"cpu": "256,1024", "cuda": "256,1024,4096,8192"}
QUICK_SIZES = {"cpu": "32,64", "cuda": "256,1024"}


def main(argv: list[str]) -> None:
    """Run the benchmarks one after another, then print how they grow and their ratios."""
    args = parse(argv)
    from benchmarks.report import Report
    from benchmarks.worker import FAILED, measure

    device = args.sim.device
    report = Report(device, args.sim.engine, argv)
    started = time.perf_counter()
    try:
        for num_envs, name in args.plan:
            case = Case(device, args.sim.engine, num_envs, args.quick, args.out)
            left = None if args.time_limit is None else args.time_limit - (time.perf_counter() - started)
            report.records.append(measure(name, case, left))
            print(flush=True)
            if args.out:  # after each one: what was measured is kept, whatever comes
                report.write(Path(args.out))
    finally:
        print(report.text(), flush=True)
    failed = [record for record in report.records if record.status.startswith(FAILED)]
    if failed:
        raise UserError(f"{len(failed)} of {len(report.records)} benchmarks failed; see above")


def parse(argv: list[str]) -> argparse.Namespace:
    """Parse and check the command line.

    The result's ``sim`` is the settled section, ``sizes`` the numbers of environments, and ``plan`` what is measured:
    pairs of such a number and a name.
    """
    parser = Parser("python -m benchmarks", description="Ratios, each of two figures of the same run.")
    parser.add_argument("--device", metavar="DEVICE", default="auto", help="auto, cpu, cuda, cuda:N")
    engines = ",".join(allowed("sim.engine"))
    parser.add_argument("--sim", metavar=f"{{{engines}}}", default="auto", help="physics engine")
    sizes = f"default: {SIZES['cuda']} on a GPU, {SIZES['cpu']} on a CPU"
    parser.add_argument("--num_envs", metavar="N,N,...", help=f"numbers of environments, one after another; {sizes}")
    parser.add_argument(
        "--only",
        metavar="NAME",
        nargs="+",
        default=list(registry.DEFAULT),
        help=f"of {', '.join(registry.NAMES)} (default: {', '.join(registry.DEFAULT)})",
    )
    parser.add_argument("--quick", action="store_true", help="small and few, for a first look")
    parser.add_argument("--out", metavar="DIR", help="folder for results.json, tables.md and growth.png")
    parser.add_argument("--time_limit", metavar="S", type=float, help="stop after so many seconds")
    args = parser.parse_args(argv)
    for name in args.only:
        if name not in registry.NAMES:
            raise unknown("benchmark", name, registry.NAMES)
    if args.time_limit is not None and not args.time_limit > 0:
        raise UserError(f"--time_limit {args.time_limit}; allowed: more than 0")
    if args.out and Path(args.out).exists() and not Path(args.out).is_dir():
        raise UserError(f"--out {args.out}: a file, not a folder")
    settled = settle(load_config(DEFAULT_TASK, [f"sim.engine={args.sim}", f"sim.device={args.device}"]))
    args.sim = settled.sim
    kind = torch_device(args.sim.device).type
    args.sizes = _sizes(args.num_envs or (QUICK_SIZES if args.quick else SIZES)[kind])
    own = {"networks": 1}  # the networks of one robot; and the recipe as it is, if nothing else is asked for
    if not args.num_envs and not args.quick:
        own["recipe"] = settled.env.num_envs
    args.plan = list(dict.fromkeys((own.get(name, size), name) for size in args.sizes for name in args.only))
    return args


def _sizes(text: str) -> list[int]:
    """Return the numbers in a list that is separated by commas."""
    try:
        sizes = [int(word) for word in text.split(",")]
    except ValueError:
        sizes = [0]
    if min(sizes) < 1:
        raise UserError(f"--num_envs {text}; allowed: whole numbers of 1 or more, separated by commas")
    return sizes


if __name__ == "__main__":
    main_guard(main)

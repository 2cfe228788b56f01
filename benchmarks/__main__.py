"""Measure: ``python -m benchmarks [--num_envs N] [--only depth environment training feet]``."""

from __future__ import annotations

import argparse

from benchmarks import depth, environment, feet, training
from legged_gym_ext.cli import main_guard

BENCHMARKS = {"depth": depth.run, "environment": environment.run, "training": training.run, "feet": feet.run}


def main(argv: list[str]) -> None:
    """Run the benchmarks and print their tables. Every ratio is of two figures of the same run."""
    parser = argparse.ArgumentParser("python -m benchmarks", description="Ratios measured in one run.")
    parser.add_argument("--num_envs", type=int, default=256)
    parser.add_argument("--only", nargs="+", choices=BENCHMARKS, default=list(BENCHMARKS), help="default: all of them")
    args = parser.parse_args(argv)
    for name in args.only:
        BENCHMARKS[name](num_envs=args.num_envs)


if __name__ == "__main__":
    main_guard(main)

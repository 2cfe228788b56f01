"""Measure: ``python -m benchmarks [--num_envs N] [--only depth environment training feet]``."""

from __future__ import annotations

from benchmarks import depth, environment, feet, training
from legged_gym_ext.cli import Parser, main_guard
from legged_gym_ext.errors import UserError, unknown

BENCHMARKS = {"depth": depth.run, "environment": environment.run, "training": training.run, "feet": feet.run}


def main(argv: list[str]) -> None:
    """Run the benchmarks and print their tables. Every ratio is of two figures of the same run."""
    parser = Parser("python -m benchmarks", description="Ratios, each of two figures of the same run.")
    parser.add_argument("--num_envs", metavar="N", type=int, default=256, help="default: 256")
    parser.add_argument(
        "--only", metavar="NAME", nargs="+", default=list(BENCHMARKS), help=f"of {', '.join(BENCHMARKS)}"
    )
    args = parser.parse_args(argv)
    if args.num_envs < 1:
        raise UserError(f"--num_envs {args.num_envs}; allowed: 1 or more")
    for name in args.only:
        if name not in BENCHMARKS:
            raise unknown("benchmark", name, BENCHMARKS)
    for name in args.only:
        BENCHMARKS[name](num_envs=args.num_envs)


if __name__ == "__main__":
    main_guard(main)

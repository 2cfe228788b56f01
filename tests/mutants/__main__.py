"""Mutation testing: ``make mutants ARGS="listed runs/checkpoint envs/rewards"``; all of it without ``ARGS``."""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

import listed
import tool
from modules import MODULES

TOP = Path(__file__).resolve().parents[2]


def main() -> int:
    """Try the mutations that are listed and those of a tool; return 1 where a listed one went unnoticed."""
    parser = argparse.ArgumentParser(description=__doc__)
    names = ["listed", *MODULES]
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"one of {', '.join(names)} (default: all)")
    parser.add_argument("--keep", type=Path, help="work in this folder and keep it, for `mutmut browse` and to go on")
    parser.add_argument("--sample", type=int, default=0, help="try so many mutants of each module (default: all)")
    parser.add_argument("--seed", type=int, default=0, help="which ones are drawn (default: 0)")
    args = parser.parse_args()
    for name in args.names:
        if name not in names:
            parser.error(f"no module '{name}' here; allowed: {', '.join(names)}")
    unnoticed = 0
    with tempfile.TemporaryDirectory(prefix="mutants") as temporary:
        folder = args.keep or Path(temporary)
        for name in args.names or names:
            work = folder / name.replace("/", "_")
            if not work.exists():
                copy(work)
            if name == "listed":
                unnoticed += _try_listed(work)
            else:
                _report(name, tool.run(work, name, MODULES[name], args.sample, args.seed))
    return 1 if unnoticed else 0


def copy(folder: Path) -> None:
    """Put the files that git knows there, as they are now."""
    done = subprocess.run(["git", "ls-files", "-z"], cwd=TOP, capture_output=True, text=True, check=True)
    for name in done.stdout.split("\0"):
        if (TOP / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(TOP / name, folder / name)


def _try_listed(folder: Path) -> int:
    """Try the mutations in :mod:`listed` one by one; return how many went unnoticed."""
    unnoticed = 0
    for mutation in listed.LISTED:
        failed = listed.noticed_by(mutation, folder)
        print(f"{mutation.what}: {', '.join(failed) or 'NOT NOTICED'}", flush=True)
        unnoticed += not failed
    return unnoticed


def _report(name: str, mutants: dict[str, str]) -> None:
    counts = Counter(mutants.values())
    killed, tried = counts["killed"], len(mutants) - counts["not checked"] - counts["skipped"]
    print(f"{name}: {killed} of {tried} mutants noticed ({killed / max(tried, 1):.0%})", dict(counts))
    for mutant, status in mutants.items():
        if status not in (
            "killed",
            "not checked",
        ):  # endless loops and a busy machine look the same, so time-outs are for a human to judge
            print(f"  {status}: {mutant}", flush=True)


if __name__ == "__main__":
    sys.exit(main())

"""Crash tests: ``make faults ARGS="--kills 1000 --writes 100"``. What was tried, and what was lost, is printed."""

from __future__ import annotations

import argparse
import random
import shutil
import tempfile
import time
from collections import Counter
from pathlib import Path

import kills
import small_training
import writes


def main() -> None:
    """Kill trainings as often as asked for, then let writes of others fail; raise where something is lost."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=100, help="interruptions of trainings (default: 100)")
    parser.add_argument("--writes", type=int, default=10, help="trainings whose writes fail (default: 10)")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    small_training.warm_up()
    folder, began = Path(tempfile.mkdtemp(prefix="faults")), time.monotonic()
    dice, counts, chains = random.Random(args.seed), Counter[str](), 0
    undisturbed, seconds = kills.reference(folder / "reference")
    print(f"an undisturbed training takes {seconds:.1f} s", flush=True)
    while counts.total() - counts["too late"] < args.kills:
        counts += kills.chain(folder / f"chain{chains}", undisturbed, seconds, dice)
        shutil.rmtree(folder / f"chain{chains}")
        chains += 1
        done = counts.total() - counts["too late"]
        left = (time.monotonic() - began) * max(args.kills - done, 0) / max(done, 1)
        print(f"{done} of {args.kills} interruptions, {chains} trainings, {left / 60:.0f} minutes left", flush=True)
    failures = Counter[str]()
    for number in range(args.writes):
        failures += writes.training(folder / f"writes{number}", undisturbed, dice)
        shutil.rmtree(folder / f"writes{number}")
    shutil.rmtree(folder)
    print(f"\nseed {args.seed}: {chains} trainings with {counts.total()} attempts to interrupt them:")
    for how, count in sorted(counts.items()):
        print(f"  {how:12} {count:6}")
    print(f"{args.writes} trainings with {failures.total()} writes that failed:")
    for what, count in sorted(failures.items()):
        print(f"  {what:24} {count:6}")
    print("nothing was lost: each training ended with the same bits as one left alone")


if __name__ == "__main__":
    main()

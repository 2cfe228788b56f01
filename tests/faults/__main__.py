"""Crash tests and fuzzing: ``make faults ARGS="--kills 1000 --writes 100 --cases 2000"``."""

from __future__ import annotations

import argparse
import random
import shutil
import tempfile
import time
from collections import Counter
from pathlib import Path

import fuzz
import kills
import small_training
import writes

from legged_gym_ext.runs.checkpoint import load_checkpoint


def main() -> None:
    """Kill trainings, let writes of others fail, and give bad input; raise where something is lost or gets in."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=100, help="interruptions of trainings (default: 100)")
    parser.add_argument("--writes", type=int, default=10, help="trainings whose writes fail (default: 10)")
    parser.add_argument("--cases", type=int, default=100, help="cases of each kind of bad input (default: 100)")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    small_training.warm_up()
    folder = Path(tempfile.mkdtemp(prefix="faults"))
    undisturbed, seconds = kills.reference(folder / "reference")
    print(f"an undisturbed training takes {seconds:.1f} s", flush=True)
    dice = random.Random(args.seed)
    _kill(folder, undisturbed, seconds, args.kills, dice)
    _fail(folder, undisturbed, args.writes, dice)
    _give_bad_input(folder, undisturbed, args.cases, args.seed * args.cases)
    shutil.rmtree(folder)


def _kill(folder: Path, undisturbed: Path, seconds: float, wanted: int, dice: random.Random) -> None:
    """Interrupt trainings that often, whatever number of trainings that takes; Ctrl-C ends it with what was counted."""
    counts, done, trainings, began = Counter[str](), 0, 0, time.monotonic()
    while done < wanted:
        try:
            counts += kills.chain(folder / f"chain{trainings}", undisturbed, seconds, dice)
        except KeyboardInterrupt:
            break
        shutil.rmtree(folder / f"chain{trainings}")
        trainings += 1
        done = counts.total() - counts["too late"]
        left = (time.monotonic() - began) * max(wanted - done, 0) / max(done, 1)
        print(f"{done} of {wanted} interruptions, {trainings} trainings, {left / 60:.0f} minutes left", flush=True)
    _table(f"{trainings} trainings with {done} interruptions: each ended with the bits of one left alone", counts)


def _fail(folder: Path, undisturbed: Path, trainings: int, dice: random.Random) -> None:
    """Let writes of that many trainings fail."""
    counts: Counter[str] = Counter()
    for number in range(trainings):
        counts += writes.training(folder / f"writes{number}", undisturbed, dice)
        shutil.rmtree(folder / f"writes{number}")
    title = f"{trainings} trainings with {counts.total()} failing writes"
    _table(f"{title}: each ended with the bits of one left alone", counts)


def _give_bad_input(folder: Path, undisturbed: Path, cases: int, first_seed: int) -> None:
    """Give that many cases of each kind."""
    kinds = {
        "configurations": fuzz.yaml_text,
        "command lines": fuzz.command_line,
        "robots": fuzz.robot,
        "checkpoints' content": fuzz.saved(load_checkpoint(undisturbed)),
        "checkpoints' bytes": fuzz.archive(undisturbed.read_bytes()),
    }
    for name, make in kinds.items():
        counts = fuzz.count(name, make, cases, first_seed, folder / "fuzz")
        _table(f"{cases} {name}: each worked, or was refused in one line", counts)


def _table(title: str, counts: Counter[str]) -> None:
    print(f"\n{title}")
    for what, count in sorted(counts.items()):
        print(f"  {what:24} {count:6}")


if __name__ == "__main__":
    main()

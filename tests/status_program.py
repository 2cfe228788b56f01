"""A training's status without a training, for the tests of the console: status_program.py ITERATIONS."""

from __future__ import annotations

import argparse
import signal
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from legged_gym_ext.console import Board, say


def status(iteration: int, last: int, folder: str) -> Any:
    from legged_gym_ext.learning.status import Status
    from legged_gym_ext.learning.wording import words

    progress = cast(
        Any,
        SimpleNamespace(
            iteration=iteration,
            last_iteration=last,
            total_steps=7230 * iteration,
            seconds_left=1.3 * (last - iteration),
        ),
    )
    kinds = ("flat", "steps", "gaps", "hurdles", "stairs", "stepping_stones", "ramps", "beams")
    lanes = {
        "teacher": {
            "return": 13.66,
            "episode_length": 318,
            "success_rate": 0.61,
            "progress": 6.6,
            "terrain_level": 4.7,
        },
        "student": {"return": 14.92, "episode_length": 331, "success_rate": 0.62, "terrain_level": 4.86},
    }
    told = words(
        progress,
        3974.0,
        {"collection": 0.88, "learning": 0.67, "distill": 3.5},
        {"PPO": {"Loss/value": 0.336, "Policy/mean_std": 0.357}, "distillation": {"Distill/loss": 0.00178}},
        lanes,
        {"teacher": {"diverged": 0.01 * (iteration % 2)}},
    )
    logs = {
        lane: {"Speed/commanded": 1.1, **{f"TerrainLevel/{kind}": 7.5 - i for i, kind in enumerate(kinds)}}
        for lane in ("teacher", "student")
    }
    rates = {"small nominal level 2": {"teacher": 0.99, "student": 1.0}} if iteration > 10 else {}
    return Status(Path(folder), progress, told, logs, rates).drawn()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("iterations", type=int)
    parser.add_argument("--folder", default="logs/task/run")
    parser.add_argument("--done", type=Path)
    parser.add_argument("--deaf", action="store_true")
    args = parser.parse_args()
    if args.deaf:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
    board = Board()
    say("begin")
    try:
        for iteration in range(1, args.iterations + 1):
            if iteration == 10:
                say(f"a line before iteration {iteration}")
            if not board.show(lambda at=iteration: status(at, args.iterations, args.folder), at_once=True):
                say(f"plain {iteration}")
            if args.iterations > 30:
                time.sleep(0.02)
    finally:
        board.close()
    say("after")
    if args.done:
        args.done.write_text(str(iteration))


if __name__ == "__main__":
    main()

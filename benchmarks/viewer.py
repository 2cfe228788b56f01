"""What it costs a training to be watched: ``python -m benchmarks.viewer [NUM_ENVS [ROUNDS]]``.

Steps of the environment of parkour_depth with no viewer, with one that nobody has open (or whose drawing is paused),
and with one that is watched, in turns. Counted is the processor time of the process, of all its threads: it is about
the same on a busy machine. The page's own thread, which does something only while somebody watches, is not in it.
"""

from __future__ import annotations

import statistics
import sys
import time

import torch

from legged_gym_ext.config.files import load_config
from legged_gym_ext.envs.parkour_env import ParkourEnv
from legged_gym_ext.rendering.web.watcher import Watcher
from legged_gym_ext.runs.settle import settle

STEPS = 24
"""Of a rollout."""


def main(num_envs: int = 256, rounds: int = 20) -> None:
    """Measure and print the ratios: median, least and largest of the rounds."""
    config = settle(load_config("parkour_depth", [f"env.num_envs={num_envs}", "sim.device=cpu"]))
    env = ParkourEnv(config, num_envs, torch.device("cpu"))
    watcher = Watcher(env, {"teacher": "teacher"})
    actions = 0.3 * torch.randn(STEPS, num_envs, env.num_actions)

    def measure(attached: bool, wanted: bool) -> float:
        env.onlooker, watcher.wanted = watcher if attached else None, wanted
        start = time.process_time()
        for row in actions:
            env.step(row)
        return time.process_time() - start

    ways = {"no viewer": (False, False), "nobody looks": (True, False), "watched": (True, True)}
    measure(True, True)  # what is compiled at first use
    seconds = {name: [] for name in ways}
    for number in range(rounds):
        order = list(ways.items())
        for name, way in order[number % 3 :] + order[: number % 3]:
            seconds[name].append(measure(*way))
    print(f"{num_envs} environments, {rounds} rounds of {STEPS} steps, processor time over that without a viewer:")
    for name, times in seconds.items():
        ratios = [time / base for time, base in zip(times, seconds["no viewer"], strict=True)]
        print(f"{name:<14} {statistics.median(ratios):.3f} ({min(ratios):.3f} to {max(ratios):.3f})")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))

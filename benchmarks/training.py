"""Where the time of a training iteration goes."""

from __future__ import annotations

import contextlib
import io

import torch

from benchmarks.stopwatch import Stopwatch
from legged_gym_ext.config_io import load_config
from legged_gym_ext.envs.parkour_env import ParkourEnv
from legged_gym_ext.learning.runner import ParkourRunner
from legged_gym_ext.simulators.mujoco_cpu import MujocoCpuSimulator


def run(num_envs: int = 256, iterations: int = 3, task: str = "parkour_depth") -> dict[str, float]:
    """Print and return the seconds of each part of one training iteration, each followed by a distillation.

    A run distils only every ``distill.interval`` iterations: the last line spreads its time over them.
    """
    config = load_config(task, ["distill.start=0", "distill.interval=1"])
    interval = load_config(task, []).distill.interval
    env = ParkourEnv(config, num_envs, torch.device("cpu"))
    runner = ParkourRunner(env, config, None, "cpu")
    watch = Stopwatch()
    assert isinstance(env.simulator, MujocoCpuSimulator)
    assert runner.dagger is not None
    watch.watch(env.simulator.batch, "step", "physics")
    watch.watch(env.camera, "update", "camera")
    watch.watch(env, "step", "environment step")
    watch.watch(runner, "_collect", "teacher's rollout")
    watch.watch(runner.alg, "update", "PPO update")
    watch.watch(runner.dagger, "collect", "student's rollout")
    watch.watch(runner.dagger, "update", "DAgger update")
    watch.watch(runner, "_distill", "distillation")
    with contextlib.redirect_stdout(io.StringIO()):
        runner.learn(1)
        watch.clear()
        runner.learn(iterations)
    seconds = {label: total / iterations for label, total in watch.seconds.items()}

    ppo_steps, distill_steps = config.runner.num_steps_per_env, config.distill.steps_per_env
    share = ppo_steps / (ppo_steps + distill_steps)  # of the environment's steps that are the teacher's
    physics, camera, step = (seconds[label] * share for label in ("physics", "camera", "environment step"))
    parts = {
        "physics": physics,
        "camera": camera,
        "rest of the environment": step - physics - camera,
        "acting and storing": seconds["teacher's rollout"] - step,
        "PPO update": seconds["PPO update"],
        f"distillation / {interval}": seconds["distillation"] / interval,
    }
    total = sum(parts.values())
    print(f"training iteration of {task}, {num_envs} environments x {ppo_steps} steps:")
    for label, value in sorted(parts.items(), key=lambda item: -item[1]):
        print(f"  {label:<26} {value:7.3f} s  {value / total:6.1%}")
    print(f"  {'whole':<26} {total:7.3f} s  = {ppo_steps * num_envs / total:,.0f} environment steps/s")
    rollout, update = seconds["student's rollout"], seconds["DAgger update"]
    print(f"  one distillation: {seconds['distillation']:.3f} s (rollout {rollout:.3f} s, update {update:.3f} s)")
    return parts

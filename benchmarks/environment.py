"""Speed of the environment, against its own physics engine in the same run."""

from __future__ import annotations

import torch

from benchmarks.stopwatch import Stopwatch
from legged_gym_ext.config_io import load_config
from legged_gym_ext.envs.parkour_env import ParkourEnv
from legged_gym_ext.simulators.mujoco_cpu import MujocoCpuSimulator

WARM_UP = 30  # control steps: by then the robots have landed, and some have fallen and begun again


def run(num_envs: int = 256, steps: int = 200) -> dict[str, float]:
    """Print and return environment steps per second without and with camera, and their shares of bare physics.

    Bare physics is the time that ``mujoco.batch`` itself takes within those very steps: the same worlds, states, model
    and threads. Robots tremble about their default pose (random actions), as at the start of a training.
    """
    result: dict[str, float] = {}
    print(f"environment, {num_envs} environments:")
    for camera in (False, True):
        name = "with camera" if camera else "without camera"
        env = _make(num_envs, camera)
        watch = Stopwatch()
        assert isinstance(env.simulator, MujocoCpuSimulator)
        watch.watch(env.simulator.batch, "step", "physics")
        watch.watch(env, "step", "step")
        generator = torch.Generator().manual_seed(0)
        for step in range(WARM_UP + steps):
            if step == WARM_UP:
                watch.clear()
            env.step(0.3 * torch.randn(num_envs, 10, generator=generator))
        seconds = watch.seconds
        total = steps * num_envs
        result[f"bare physics, {name}"] = total / seconds["physics"]
        result[f"environment, {name}"] = total / seconds["step"]
        result[f"share, {name}"] = seconds["physics"] / seconds["step"]
        rate, bare, share = (result[f"{key}, {name}"] for key in ("environment", "bare physics", "share"))
        print(f"  {name:<15} {rate:9,.0f} steps/s = {share:5.1%} of bare physics ({bare:,.0f} steps/s)")
    return result


def _make(num_envs: int, camera: bool) -> ParkourEnv:
    without = ["camera.enabled=false", "distill.enabled=false", "teacher.kind=scandots"]
    return ParkourEnv(load_config("parkour_depth", [] if camera else without), num_envs, torch.device("cpu"))

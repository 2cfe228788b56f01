"""Speed of the environment, against its own physics engine in the same run."""

from __future__ import annotations

import statistics

import torch
from torch import Tensor

from benchmarks.case import Case
from benchmarks.stopwatch import seconds_of
from legged_gym_ext.envs.parkour_env import ParkourEnv

WARM_UP = 30  # control steps: by then the robots have landed, and some have fallen and begun again
ROUNDS = 10  # of which the medians are taken
WITHOUT_CAMERA = ("camera.enabled=false", "distill.enabled=false", "teacher.kind=scandots")


def run(case: Case) -> dict[str, float]:
    """Print and return environment steps per second without and with camera, and those of bare physics.

    Robots tremble about their default pose (random actions), as at the start of a training. Bare physics is what the
    engine does for the very same worlds and states, without the environment around it.
    """
    figures: dict[str, float] = {}
    print(f"environment, {case.num_envs} environments, engine {case.engine} on {case.device}:")
    for name, overrides in (("without camera", WITHOUT_CAMERA), ("with camera", ())):
        env = case.make_env(case.config(*overrides))
        tremble = Tremble(env)
        steps = _steps_per_round(case)
        tremble(4 if case.quick else WARM_UP)
        rounds = _in_turns(env, tremble, steps, 3 if case.quick else ROUNDS)
        total = steps * case.num_envs
        rate = total / statistics.median(env_seconds for env_seconds, _ in rounds)
        bare = total / statistics.median(physics_seconds for _, physics_seconds in rounds)
        figures |= {f"environment {name}": rate, f"bare physics {name}": bare}
        print(f"  {name:<15} {rate:11,.0f} steps/s = {rate / bare:5.1%} of bare physics ({bare:,.0f} steps/s)")
    return figures


class Tremble:
    """Steps an environment with small random actions, drawn beforehand."""

    def __init__(self, env: ParkourEnv) -> None:
        self.env = env
        generator = torch.Generator(env.device).manual_seed(0)
        shape = (WARM_UP, env.num_envs, env.num_actions)
        self._actions = 0.3 * torch.randn(shape, generator=generator, device=env.device)

    def __call__(self, steps: int) -> None:
        """Step that many times."""
        for actions in self._actions[:steps]:
            self.env.step(actions)

    def targets(self, steps: int) -> Tensor:
        """Return what those steps ask of the joints, action latency aside, (steps, num_envs, 10), rad."""
        return self.env.default_joint_pos + self.env.robot.action_scale * self._actions[:steps]


def _steps_per_round(case: Case) -> int:
    """Return control steps per round: enough to time, and few enough that no robot falls far without a reset."""
    if not case.on_cpu:
        return 20
    if case.engine != "mujoco":
        return 2
    return max(1, min(20, 5120 // case.num_envs))


def _in_turns(env: ParkourEnv, tremble: Tremble, steps: int, rounds: int) -> list[tuple[float, float]]:
    """Return seconds of the environment's steps and of as many steps of physics alone, of each round.

    Both begin in the same state and ask the same of the joints. Timed inside the environment's steps, physics would be
    slower, with caches emptied, and on a device that works behind the host's back it could not be told apart.
    """
    from benchmarks.bare_physics import bare_physics  # imports both engines

    device, targets = env.simulator.device, tremble.targets(steps)
    begin = env.snapshot()
    physics = bare_physics(env.simulator)
    env.restore(begin)
    times = []
    for _ in range(rounds):
        begin = env.snapshot()
        bare = seconds_of(lambda: physics.run(targets), device)
        env.restore(begin)
        times.append((seconds_of(lambda: tremble(steps), device), bare))
    return times

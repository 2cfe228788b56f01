"""Where the time of a training iteration goes, and the memory that it takes."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Mapping

from benchmarks.case import Case
from benchmarks.memory import device_bytes, torch_peak_bytes
from benchmarks.stopwatch import Stopwatch
from legged_gym_ext.learning.runner import ParkourRunner
from legged_gym_ext.tasks import DEFAULT_TASK

ITERATIONS = 3  # of which the median one is told
WARM_UP = 2
EVERY_ITERATION = ("guide.enabled=false", "distill.start=0", "distill.interval=1")
"""Overrides with which every iteration is followed by a distillation, from the first one on."""


class TimedTraining:
    """A training whose iterations are timed, part by part.

    Every iteration is followed by a distillation here, but a run distils only every ``distill.interval`` iterations:
    :meth:`whole` spreads its time over them.

    Args:
        case: Engine, device and number of environments.
        overrides: Of the task's configuration.
        task: Whose training.
    """

    def __init__(self, case: Case, *overrides: str, task: str = DEFAULT_TASK) -> None:
        self.interval = case.config(*overrides, task=task).distill.interval
        self.config = case.config(*overrides, *EVERY_ITERATION, task=task)
        env = case.make_env(self.config)
        runner = ParkourRunner(env, self.config, None, case.device)
        distillation = runner.phases["distillation"]
        watch = Stopwatch(case.torch_device)
        if case.on_cpu:  # elsewhere nothing inside a step can be told apart from outside
            watch.watch(env.simulator, "step", "physics")
            watch.watch(env.camera, "update", "camera")
        watch.watch(env, "step", "environment step")
        watch.watch(runner.alg, "collect", "teacher's rollout")
        watch.watch(runner.alg, "update", "PPO update")
        watch.watch(distillation, "collect", "student's rollout")
        watch.watch(distillation, "update", "DAgger update")
        watch.watch(distillation, "run", "distillation")
        watch.watch(runner, "_iterate", "iteration")
        watch.watch(runner, "_report", "report")
        self._runner, self._watch = runner, watch

    def iterate(self) -> Mapping[str, float]:
        """Train for an iteration and a distillation, and return the seconds of their parts by name."""
        self._watch.clear()
        with contextlib.redirect_stdout(io.StringIO()):
            self._runner.learn(1)
        return self._watch.seconds

    def whole(self, seconds: Mapping[str, float]) -> float:
        """Return the seconds of an iteration with its share of a distillation."""
        return seconds["iteration"] + seconds["report"] - seconds["distillation"] * (1 - 1 / self.interval)

    @property
    def teacher_steps(self) -> int:
        """Return the environment steps of an iteration that are the teacher's."""
        return self.config.runner.num_steps_per_env * self.config.env.num_envs

    @property
    def steps(self) -> float:
        """Return the environment steps of an iteration and its share of a distillation."""
        return self.teacher_steps + self.config.distill.steps_per_env / self.interval * self.config.env.num_envs


def run(case: Case) -> dict[str, float]:
    """Print and return the seconds of each part of a training iteration, its rate, and the memory in use."""
    training = TimedTraining(case)
    config, interval = training.config, training.interval
    for _ in range(1 if case.quick else WARM_UP):
        training.iterate()
    rows = [training.iterate() for _ in range(1 if case.quick else ITERATIONS)]
    # The parts of one iteration, the median one, so that they add up.
    rows.sort(key=training.whole)
    seconds = rows[len(rows) // 2]

    ppo_steps, distill_steps = config.runner.num_steps_per_env, config.distill.steps_per_env
    share = ppo_steps / (ppo_steps + distill_steps)  # of the environment's steps that are the teacher's
    inside = {label: seconds[label] * share for label in ("physics", "camera") if label in seconds}
    step = seconds["environment step"] * share
    parts = {
        **inside,
        "rest of the environment" if inside else "environment": step - sum(inside.values()),
        "acting and storing": seconds["teacher's rollout"] - step,
        "PPO update": seconds["PPO update"],
        f"distillation / {interval}": seconds["distillation"] / interval,
    }
    iteration = seconds["iteration"] - seconds["teacher's rollout"] - seconds["PPO update"] - seconds["distillation"]
    parts["losses and log"] = iteration + seconds["report"]
    whole = sum(parts.values())
    rate, teacher_rate = training.steps / whole, training.teacher_steps / whole
    print(f"training iteration of {DEFAULT_TASK}, {case.num_envs} environments x {ppo_steps} steps:")
    for label, value in sorted(parts.items(), key=lambda item: -item[1]):
        print(f"  {label:<26} {value:7.3f} s  {value / whole:6.1%}")
    print(
        f"  {'whole':<26} {whole:7.3f} s  = {rate:,.0f} environment steps/s ({teacher_rate:,.0f} of them the teacher's)"
    )
    updates = {label: seconds[label] for label in ("student's rollout", "DAgger update", "distillation")}
    print("  " + ", ".join(f"{label} {value:.3f} s" for label, value in updates.items()))
    memory = {"memory": device_bytes(case.torch_device)}
    if not case.on_cpu:
        memory["memory, torch's peak"] = torch_peak_bytes(case.torch_device)
    for label, value in memory.items():
        print(f"  {label:<26} {value / 1e9:7.2f} GB")
    rates = {"training loop": rate, "training loop, teacher's steps": teacher_rate}
    shares = {f"iteration: {label}": value for label, value in parts.items()}
    return {**rates, **memory, **shares, **updates, "iteration": whole}

"""How many environment steps a training makes in a second, against the recipe that the lean one has replaced."""

from __future__ import annotations

import statistics

from benchmarks.case import Case
from benchmarks.training import TimedTraining

TASKS = ("parkour_depth", "parkour_scandots")
OLD = (
    "teacher.hidden_dims=[512,256,128]",
    "teacher.critic_hidden_dims=[512,256,128]",
    "teacher.depth_gain=0.01",
    "teacher.depth_block=1",
    "ppo.num_learning_epochs=5",
    "ppo.num_mini_batches=4",
    "student.encoder.kind=spec",
    "distill.interval=8",
)
"""The specification's networks, and what the tasks had before the lean recipe."""
OLD_ENVS = 256
TURNS = 3
WARM_UP = 2


def run(case: Case) -> dict[str, float]:
    """Print and return the steps per second of whole iterations, each with its share of a distillation.

    Steps are those of teacher and student; medians of iterations of both recipes in turns.
    """
    figures: dict[str, float] = {}
    print(f"recipe, {case.num_envs} environments ({OLD_ENVS} of the old recipe):")
    for task in TASKS:
        old_envs = f"env.num_envs={case.num_envs if case.quick else OLD_ENVS}"
        trainings = {"lean": TimedTraining(case, task=task), "old": TimedTraining(case, *OLD, old_envs, task=task)}
        seconds: dict[str, list[float]] = {name: [] for name in trainings}
        warm_up, turns = (0, 1) if case.quick else (WARM_UP, TURNS)
        for turn in range(warm_up + turns):
            for name, training in trainings.items():
                whole = training.whole(training.iterate())
                if turn >= warm_up:
                    seconds[name].append(whole)
        rates = {name: training.steps / statistics.median(seconds[name]) for name, training in trainings.items()}
        for name, training in trainings.items():
            teachers = rates[name] * training.teacher_steps / training.steps
            print(f"  {task}, {name:<5} {rates[name]:8,.0f} steps/s ({teachers:,.0f} of them the teacher's)")
        print(f"  {task}, lean / old: {rates['lean'] / rates['old']:.2f} times")
        figures |= {f"{task}, {name}": rate for name, rate in rates.items()}
    return figures

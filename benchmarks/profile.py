"""Which operations and kernels a training iteration spends its time in: a table by torch's profiler."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path

import torch
from torch.profiler import ProfilerActivity, profile

from benchmarks.case import Case
from benchmarks.training import EVERY_ITERATION
from legged_gym_ext.learning.runner import ParkourRunner

ROWS = 60


def run(case: Case) -> dict[str, float]:
    """Print the table, and write it to ``profile.txt`` in the case's folder, if it has one; there are no figures.

    The iteration is followed by a distillation with as many steps as fall to one iteration of a run.
    """
    distill = case.config().distill
    steps = round(distill.steps_per_env / distill.interval)
    config = case.config(*EVERY_ITERATION, f"distill.steps_per_env={steps}")
    runner = ParkourRunner(case.make_env(config), config, None, case.device)
    activities, order = [ProfilerActivity.CPU], "self_cpu_time_total"
    if not case.on_cpu:
        activities, order = [*activities, ProfilerActivity.CUDA], "self_cuda_time_total"
    with contextlib.redirect_stdout(io.StringIO()):
        runner.learn(2)
        with profile(activities=activities) as profiler:
            runner.learn(1)
            if not case.on_cpu:
                torch.cuda.synchronize(case.torch_device)
    averages = profiler.key_averages()
    title = f"a training iteration and its share of a distillation, {case.num_envs} environments, {case.device}"
    table = averages.table(sort_by=order, row_limit=ROWS, max_name_column_width=80)
    print(f"{title}\n{table}")
    if case.out:
        Path(case.out).mkdir(parents=True, exist_ok=True)
        (Path(case.out) / "profile.txt").write_text(f"{title}\n{table}\n")
    return {}

"""Which operations and kernels a training iteration spends its time in: a table by torch's profiler."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path

import torch
from torch.profiler import ProfilerActivity, profile

from benchmarks.case import Case
from legged_gym_ext.learning.runner import ParkourRunner

ROWS = 60
ITERATIONS = 2


def run(case: Case) -> dict[str, float]:
    """Print the table, and write it to ``profile.txt`` in the case's folder, if it has one; there are no figures.

    Each iteration is followed by a distillation, which a run has only every ``distill.interval`` iterations.
    """
    config = case.config("distill.start=0", "distill.interval=1")
    runner = ParkourRunner(case.make_env(config), config, None, case.device)
    activities, order = [ProfilerActivity.CPU], "self_cpu_time_total"
    if not case.on_cpu:
        activities, order = [*activities, ProfilerActivity.CUDA], "self_cuda_time_total"
    with contextlib.redirect_stdout(io.StringIO()):
        runner.learn(2)
        with profile(activities=activities) as profiler:
            runner.learn(ITERATIONS)
            if not case.on_cpu:
                torch.cuda.synchronize(case.torch_device)
    averages = profiler.key_averages()
    title = f"{ITERATIONS} training iterations, each with a distillation, {case.num_envs} environments, {case.device}"
    table = averages.table(sort_by=order, row_limit=ROWS, max_name_column_width=80)
    print(f"{title}\n{table}")
    if case.out:
        Path(case.out).mkdir(parents=True, exist_ok=True)
        (Path(case.out) / "profile.txt").write_text(f"{title}\n{table}\n")
    return {}

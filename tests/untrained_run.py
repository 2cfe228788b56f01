"""A run's folder with checkpoints of networks that have learned nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
from dummy_runner import distillation
from small_env import CPU, TINY

from legged_gym_ext import paths
from legged_gym_ext.config.files import load_config
from legged_gym_ext.envs.parkour_env import ParkourEnv
from legged_gym_ext.learning.runner import ParkourRunner
from legged_gym_ext.runs.folder import create_run_folder
from legged_gym_ext.runs.settle import settle


def untrained_run(logs: Path, *overrides: str) -> Path:
    """Make a run that has no student at iteration 0, and one at iteration 3, when any guide has done its part."""
    small = (*TINY, "student.encoder.gru_hidden=16", "teacher.hidden_dims=[16]")
    config = settle(load_config("parkour_depth", [*small, *overrides]))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(paths, "LOGS", logs)
        folder = create_run_folder(config)
    runner = ParkourRunner(ParkourEnv(config, 4, CPU), config, None, "cpu")
    runner.save(str(folder / "model_0.pt"))
    for phase in runner.phases.values():
        phase.skip()
    distillation(runner).rounds = 1
    runner.current_learning_iteration = 3
    runner.save(str(folder / "model_3.pt"))
    return folder

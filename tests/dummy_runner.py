"""A runner on the dummy environment, and the comparison of what runners leave."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from dummy_env import DummyEnv, small_config
from torch import Tensor

from legged_gym_ext.config.schema import Config
from legged_gym_ext.learning.phases.distillation import Distillation
from legged_gym_ext.learning.phases.finetune import Finetune
from legged_gym_ext.learning.phases.ppo import TeacherPPO
from legged_gym_ext.learning.runner import ParkourRunner


def make(log_dir: Path | None, config: Config | None = None, seed: int = 1, num_envs: int = 4) -> ParkourRunner:
    torch.manual_seed(seed)
    config = config or small_config()
    return ParkourRunner(DummyEnv(config, num_envs), config, log_dir, "cpu")


def teacher_ppo(runner: ParkourRunner) -> TeacherPPO:
    phase = runner.phases["ppo"]
    assert isinstance(phase, TeacherPPO)
    return phase


def distillation(runner: ParkourRunner) -> Distillation:
    phase = runner.phases["distillation"]
    assert isinstance(phase, Distillation)
    return phase


def finetune(runner: ParkourRunner) -> Finetune:
    phase = runner.phases["finetune"]
    assert isinstance(phase, Finetune)
    return phase


def collect(runner: ParkourRunner) -> None:
    """Let the teacher collect a rollout."""
    teacher_ppo(runner).alg.collect(runner.env, runner.lanes["teacher"].statistics)


def flat(content: Any, path: str = "") -> dict[str, Any]:
    """Return the leaves of nested dictionaries and lists by path."""
    if isinstance(content, dict):
        content = {str(key): value for key, value in content.items()}
    elif isinstance(content, list | tuple):
        content = {str(index): value for index, value in enumerate(content)}
    else:
        return {path: content}
    return {key: leaf for name, value in content.items() for key, leaf in flat(value, f"{path}/{name}").items()}


def assert_same(ours: Any, theirs: Any) -> None:
    """Check that two nests of data are equal, tensors bit for bit."""
    ours, theirs = flat(ours), flat(theirs)
    assert ours.keys() == theirs.keys()
    for path, value in ours.items():
        same = torch.equal(value, theirs[path]) if isinstance(value, Tensor) else value == theirs[path]
        assert same, f"{path} differs"

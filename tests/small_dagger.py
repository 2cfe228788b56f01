"""A small DAgger on the dummy environment, and a recorder of what it sees."""

from __future__ import annotations

import torch
from dummy_env import NUM_ACTIONS, DummyEnv, small_config
from rsl_rl.env import VecEnv
from torch import Tensor

from legged_gym_ext.learning.phases.distillation import Distillation
from legged_gym_ext.learning.statistics import EpisodeStatistics
from legged_gym_ext.models.encoders.options import SpecOptions
from legged_gym_ext.models.student import Student
from legged_gym_ext.models.teacher import DepthTeacher, ScandotsTeacher

IMAGE = small_config().camera.resolution
GROUPS = {"depth": ["proprio", "depth", "gait_phase"], "scan": ["proprio", "scan", "gait_phase"]}


def make(kind: str = "depth", num_envs: int = 4, bfloat16: bool = False, **distill) -> tuple[DummyEnv, Distillation]:
    """Return an environment and a small DAgger on it."""
    config = small_config()
    for name, value in distill.items():
        setattr(config.distill, name, value)
    torch.manual_seed(0)
    env = DummyEnv(config, num_envs)
    obs = env.get_observations()
    arguments = {"hidden_dims": [32, 16], "activation": "elu"}
    gaussian = {"class_name": "GaussianDistribution"}
    teacher = (DepthTeacher if kind == "depth" else ScandotsTeacher)(
        obs, GROUPS, kind, NUM_ACTIONS, distribution_cfg=gaussian, **arguments
    )
    student = Student(obs, GROUPS, "depth", NUM_ACTIONS, IMAGE, 32, SpecOptions(gru_hidden=16), **arguments)
    statistics = EpisodeStatistics(num_envs, "cpu")
    arguments = (teacher, student, config.distill, "columns", num_envs, obs, NUM_ACTIONS, "cpu", statistics)
    return env, Distillation(*arguments, bfloat16)


class Recorder(VecEnv):
    """Passes everything on to an environment and keeps the observations, actions and dones."""

    def __init__(self, env: DummyEnv) -> None:
        self.env, self.device = env, env.device
        self.observations, self.actions, self.dones = [], [], []

    def get_observations(self):
        self.observations.append(self.env.get_observations())
        return self.observations[-1].clone()

    def step(self, actions: Tensor):
        result = self.env.step(actions)
        self.actions.append(actions.clone())
        self.observations.append(result[0].clone())
        self.dones.append(result[2].clone())
        return result

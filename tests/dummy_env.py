"""A small environment with ParkourEnv's interface: the right action is a linear function of what the camera shows."""

from __future__ import annotations

from typing import Any

import torch
from tensordict import TensorDict
from torch import Tensor

from legged_gym_ext.config.schema import Config
from legged_gym_ext.envs.base import Environment
from legged_gym_ext.models.encoders.options import SpecOptions
from legged_gym_ext.runs.settle import settle

NUM_PROPRIO, NUM_SCAN, NUM_PRIVILEGED, NUM_ACTIONS = 43, 12, 5, 10


def small_config(**runner: Any) -> Config:
    """Return a configuration that trains the dummy environment in moments: every iteration distils."""
    config = settle(Config())
    config.teacher.hidden_dims = [32, 16]
    config.teacher.critic_hidden_dims = [32, 16]
    config.student.encoder = SpecOptions(gru_hidden=16)
    config.camera.resolution = [20, 16]
    config.ppo.num_learning_epochs = 2
    config.ppo.num_mini_batches = 2
    config.distill.start = 1
    config.distill.interval = 1
    config.distill.steps_per_env = 6
    config.distill.bptt_steps = 4
    config.distill.mini_batches = 2
    config.distill.epochs = 1
    config.observations.others = ["gait_phase"]
    config.runner.num_steps_per_env = 6
    config.runner.logger = "none"
    for name, value in runner.items():
        setattr(config.runner, name, value)
    return config


class DummyEnv(Environment):
    """Random targets that the camera shows every third step; the reward is for actions near to them."""

    def __init__(self, config: Config, num_envs: int = 4, seed: int = 0, frame_interval: int = 3) -> None:
        self.cfg, self.num_envs, self.num_actions, self.device = config, num_envs, NUM_ACTIONS, "cpu"
        self.max_episode_length = 11
        self.frame_interval = frame_interval
        fixed = torch.Generator().manual_seed(123)
        coarse = torch.randn(1, 3, 4, 4, generator=fixed)
        self.basis = torch.nn.functional.interpolate(coarse, size=config.camera.resolution, mode="bilinear")
        self.basis = 2.0 * self.basis.view(3, -1)
        self.scan_basis = torch.randn(3, NUM_SCAN, generator=fixed)
        self.generator = torch.Generator().manual_seed(seed)
        self.episode_length_buf = torch.zeros(num_envs, dtype=torch.long)
        self.target = torch.zeros(num_envs, 3)
        self.proprio = torch.zeros(num_envs, NUM_PROPRIO)
        self.depth = torch.zeros(num_envs, self.basis.shape[1])
        self.new_frame = torch.ones(num_envs, 1)
        self.level = torch.zeros(num_envs, dtype=torch.long)
        self.reset()

    def reset(self) -> None:
        """Put all environments to fresh episodes."""
        self._reset(torch.ones(self.num_envs, dtype=torch.bool))
        self._look(torch.ones(self.num_envs, dtype=torch.bool))

    def get_observations(self) -> TensorDict:
        """Return the observation groups."""
        phase = 0.3 * self.episode_length_buf[:, None]
        return TensorDict(
            {
                "proprio": self.proprio.clone(),
                "depth": self.depth.to(getattr(torch, self.cfg.camera.precision), copy=True),
                "scan": self.target @ self.scan_basis,
                "privileged": self.target.repeat(1, 2)[:, :NUM_PRIVILEGED],
                "gait_phase": torch.cat([phase.sin(), phase.cos()], dim=1),
                "new_frame": self.new_frame.clone(),
            },
            batch_size=[self.num_envs],
        )

    def step(self, actions: Tensor) -> tuple[TensorDict, Tensor, Tensor, dict]:
        """Advance one step."""
        noise = torch.randn(self.proprio.shape, generator=self.generator)
        self.proprio = 0.8 * self.proprio + 0.1 * noise
        self.proprio[:, :NUM_ACTIONS] += 0.1 * actions
        rewards = -(actions[:, :3] - self.target).square().mean(dim=1)
        self.episode_length_buf = self.episode_length_buf + 1
        time_outs = self.episode_length_buf >= self.max_episode_length
        dones = time_outs | (torch.rand(self.num_envs, generator=self.generator) < 0.05)
        extras = {
            "time_outs": time_outs,
            "success": rewards > -1.0,
            "progress": self.proprio[:, 0].clone(),
            "terrain_level": self.level.clone(),
            "log": {"Reward/target": rewards.mean()},
        }
        self.level = torch.where(dones, self.level + 1, self.level)
        self._reset(dones)
        self._look(dones | (self.episode_length_buf % self.frame_interval == 0))
        return self.get_observations(), rewards, dones, extras

    def snapshot(self) -> dict[str, Tensor]:
        """Return all that decides the future."""
        names = ("episode_length_buf", "target", "proprio", "depth", "new_frame", "level")
        return {"generator": self.generator.get_state()} | {name: getattr(self, name).clone() for name in names}

    def restore(self, snapshot: dict[str, Tensor]) -> None:
        """Return to a snapshot."""
        for name, value in snapshot.items():
            if name == "generator":
                self.generator.set_state(value)
            else:
                setattr(self, name, value.clone())

    def _reset(self, mask: Tensor) -> None:
        target = torch.rand(self.num_envs, 3, generator=self.generator) - 0.5
        self.target = torch.where(mask[:, None], target, self.target)
        self.proprio = torch.where(mask[:, None], 0.0, self.proprio)
        self.episode_length_buf = torch.where(mask, 0, self.episode_length_buf)

    def _look(self, mask: Tensor) -> None:
        image = (0.5 * torch.tanh(self.target @ self.basis)).clamp(-0.5, 0.5)
        self.depth = torch.where(mask[:, None], image, self.depth)
        self.new_frame = mask[:, None].float()

"""The depth teacher begins as an image of its guide: it acts, the guide says what it would have done there.

DAgger, as the student's distillation is, but of a policy without memory, whose samples need no sequences.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from typing import Any, Self

import torch
import torch.nn.functional as F
from rsl_rl.env import VecEnv
from rsl_rl.models import MLPModel
from torch import nn

from legged_gym_ext.config.schema import Config, GuideConfig
from legged_gym_ext.envs.parkour_env import ParkourEnv
from legged_gym_ext.learning import networks
from legged_gym_ext.learning.lanes import Lane
from legged_gym_ext.learning.phases.base import Outcome, Setting
from legged_gym_ext.learning.phases.guide import Guide
from legged_gym_ext.learning.phases.ppo import ParkourPPO
from legged_gym_ext.learning.phases.preparation import Preparation
from legged_gym_ext.learning.statistics import EpisodeStatistics
from legged_gym_ext.learning.storage import LabelStorage
from legged_gym_ext.learning.symmetry import BatchMirror
from legged_gym_ext.learning.updates import SoundUpdates
from legged_gym_ext.models.teacher import DepthTeacher
from legged_gym_ext.processes.collectives import average_gradients, barrier, broadcast_module

_LAST_RATE = 0.1
"""The learning rate of the last round, as a share of the first one's."""


class Imitation(Preparation):
    """Once the guide is good enough, the teacher learns to do the same; then PPO goes on with it.

    Args:
        guide: The phase of the guide.
        alg: The teacher's PPO, which goes on from the guide's critic, noise and learning rate.
        storage: For a round.
        mirror: Makes mirror images of mini-batches; None = no symmetry.
        config: How long, and how.
    """

    title = "imitation"

    def __init__(
        self, guide: Guide, alg: ParkourPPO, storage: LabelStorage, mirror: BatchMirror | None, config: GuideConfig
    ) -> None:
        super().__init__()
        self.guide, self.alg, self.storage, self.mirror, self.config = guide, alg, storage, mirror, config
        assert isinstance(alg.actor, DepthTeacher)
        self.teacher = alg.actor
        self.optimizer = torch.optim.Adam(self.teacher.mlp.parameters(), lr=config.learning_rate, fused=True)
        self.updates = SoundUpdates(self.optimizer)

    @classmethod
    def steps(cls, config: Config) -> int:
        """Return the steps of a round."""
        return config.guide.steps_per_env

    @classmethod
    def stores(cls, config: Config) -> Collection[str]:
        """Return what the teacher reads."""
        return networks.actor_groups(config, config.teacher.kind)

    @classmethod
    def make(cls, setting: Setting) -> Self:
        """Make the phase for the teacher of rsl_rl's algorithm."""
        config, env, device, alg = setting.config, setting.env, setting.device, setting.alg
        guide = setting.phases["guide"]
        assert isinstance(guide, Guide) and isinstance(alg, ParkourPPO)
        steps = cls.steps(config) if cls.learns(config) else 0
        image_dtype = torch.bfloat16 if setting.bfloat16 else None
        groups = cls.stores(config)
        storage = LabelStorage(env.num_envs, steps, setting.obs, groups, env.num_actions, device, image_dtype)
        mirror = None
        if config.ppo.symmetry:
            assert isinstance(env, ParkourEnv)
            mirror = BatchMirror(env, device)
        return cls(guide, alg, storage, mirror, config.guide)

    @property
    def beta(self) -> float:
        """Return the share of environments that the guide acts in."""
        return self.config.beta * self.config.beta_decay**self.rounds

    def due(self, iteration: int) -> bool:
        """Return whether the guide has learned enough, and the teacher not yet."""
        return self.guide.done and not self.done

    def run(self, lane: Lane) -> Outcome:
        """Collect and learn; at first begin with what guide and teacher have in common."""
        start = time.perf_counter()
        if self.rounds == 0:
            self.teacher.begin_as(self.guide.actor)
            broadcast_module(self.teacher)  # what reads pixels is random
        with lane.turn() as env:
            self.collect(env, lane.statistics)
        barrier()
        losses = {f"Imitation/{name}": value for name, value in self.update().items()}
        counts, spoiled = self.updates.pop("Imitation")
        self.rounds += 1
        if self.rounds >= self.config.rounds:
            self._hand_over()
        return Outcome(losses | counts, {"imitation": time.perf_counter() - start}, spoiled)

    @torch.no_grad()
    def collect(self, env: VecEnv, statistics: EpisodeStatistics) -> None:
        """Let the teacher act for a round, in some environments the guide, and store what the guide would have done."""
        device = self.storage.device
        guide_acts = torch.rand(self.storage.num_envs, 1, device=device) < self.beta
        obs = env.get_observations().to(device)
        self.storage.clear()
        for _ in range(self.config.steps_per_env):
            labels = self.guide.actor(obs)
            self.storage.add_label(obs, labels)
            actions = torch.where(guide_acts, labels, self.teacher(obs))
            obs, rewards, dones, extras = env.step(actions.to(env.device))
            obs = obs.to(device)
            statistics.add(rewards.to(device), dones.to(device), extras)

    def update(self) -> dict[str, float]:
        """Learn from the round and return the means of what happened, by name."""
        rate = self.config.learning_rate * (1 - (1 - _LAST_RATE) * min(self.rounds / self.config.rounds, 1.0))
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        losses, parameters = [], list(self.teacher.mlp.parameters())
        for batch in self.storage.mini_batch_generator(self.config.mini_batches, self.config.epochs):
            obs, labels = batch.observations, batch.actions
            assert obs is not None and labels is not None
            if self.mirror is not None:
                obs, labels = self.mirror.observations(obs), self.mirror.actions(labels)
            loss = F.mse_loss(self.teacher(obs), labels)
            self.optimizer.zero_grad()
            loss.backward()
            average_gradients(parameters)
            nn.utils.clip_grad_norm_(parameters, self.config.max_grad_norm)
            self.optimizer.step()
            losses.append(loss.detach())
        return {"loss": torch.stack(losses).mean().item(), "learning_rate": rate, "beta": self.beta}

    def policy(self) -> MLPModel | None:
        """Return the teacher, before it has begun its guide; None as long as that learns, and when PPO has gone on."""
        if not self.guide.done or self.done:
            return None
        return self.teacher if self.rounds > 0 else self.guide.actor

    @property
    def policy_name(self) -> str:
        """Return whose network it is."""
        return self.lane if self.rounds > 0 else self.guide.policy_name

    def count_anew(self) -> None:
        """Begin anew, if it is not over: its rounds build on each other, and do not take long."""
        self.rounds = 0
        self.optimizer.state.clear()

    def modules(self) -> Sequence[nn.Module]:
        """Return the teacher."""
        return (self.teacher,)

    def state_dict(self) -> dict[str, Any]:
        """Return the optimizer and how far it is; the teacher is in PPO's state."""
        return {"rounds": self.rounds, "done": self.done, "optimizer": self.optimizer.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what :meth:`state_dict` returned."""
        self.load_progress(state)
        self.optimizer.load_state_dict(state["optimizer"])
        self.updates.check_loaded()

    def _hand_over(self) -> None:
        """Give PPO what the guide has besides its actor: the noise, the critic, and the learning rate."""
        self.done = True
        guide, alg = self.guide.alg, self.alg
        alg.critic.load_state_dict(guide.critic.state_dict())
        alg.go_on_from(guide.learning_rate, alg.optimizer.param_groups[0]["initial_lr"], alg.schedule)

"""PPO of the student itself, once it is distilled: it learns what its teacher could not show.

Imitation ends where the student sees less than its teacher, or comes to where the teacher never was. That PPO goes on
from there is after Rudin et al., "Parkour in the Wild", 2025; that the critic at first learns alone, after mjlab. The
critic sees what the student does not, and begins as the teacher's.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from copy import deepcopy
from typing import Any, Self

import torch
from rsl_rl.env import VecEnv
from rsl_rl.models import MLPModel
from torch import nn

from legged_gym_ext.config.schema import Config, FinetuneConfig, PPOConfig
from legged_gym_ext.errors import UserError
from legged_gym_ext.groups import DEPTH
from legged_gym_ext.learning import networks
from legged_gym_ext.learning.lanes import Lane
from legged_gym_ext.learning.phases.base import Outcome, Phase, Setting
from legged_gym_ext.learning.phases.distillation import Distillation
from legged_gym_ext.learning.phases.ppo import ParkourPPO, rsl_rl_ppo
from legged_gym_ext.learning.statistics import EpisodeStatistics
from legged_gym_ext.learning.storage import SequenceStorage
from legged_gym_ext.models.exploring import ExploringStudent
from legged_gym_ext.processes.collectives import barrier


class Finetune(Phase):
    """In every iteration the student acts for a rollout and learns from it, or at first its critic does.

    Args:
        alg: The algorithm, with the student as its actor and a storage of sequences.
        teacher_critic: What the critic begins as.
        distillation: Whose student it is.
        config: What differs from the teacher's PPO.
        ppo: The teacher's.
    """

    title = "fine-tuning"
    lane = Distillation.lane

    def __init__(
        self,
        alg: ParkourPPO,
        teacher_critic: MLPModel,
        distillation: Distillation,
        config: FinetuneConfig,
        ppo: PPOConfig,
    ) -> None:
        self.alg, self.teacher_critic, self.distillation = alg, teacher_critic, distillation
        self.config, self.ppo = config, ppo
        self.rounds = 0
        """Updates done so far, those of the critic alone included."""

    @classmethod
    def enabled(cls, config: Config) -> bool:
        """Return whether the student is to be fine-tuned."""
        return config.finetune.enabled

    @classmethod
    def steps(cls, config: Config) -> int:
        """Return the steps of a rollout."""
        return config.finetune.num_steps_per_env

    @classmethod
    def stores(cls, config: Config) -> Collection[str]:
        """Return what student and critic read."""
        return {*Distillation.stores(config), *networks.critic_groups(config)}

    @classmethod
    def make(cls, setting: Setting) -> Self:
        """Make the phase for the student of the distillation, with a critic of its own."""
        config, device, teacher = setting.config, setting.device, setting.alg
        distillation = setting.phases["distillation"]
        assert isinstance(distillation, Distillation)
        student = distillation.student
        num_envs, num_actions = setting.env.num_envs, setting.env.num_actions
        image_dtype = torch.bfloat16 if setting.bfloat16 else setting.obs[DEPTH].dtype
        actor = ExploringStudent(student, num_actions, config.finetune.init_noise_std, image_dtype)
        storage = SequenceStorage(
            student.encoder.initial_memory(num_envs),
            num_envs,
            cls.steps(config),
            setting.obs,
            cls.stores(config),
            num_actions,
            device,
            image_dtype,
        )
        assert isinstance(teacher, ParkourPPO)
        algorithm = rsl_rl_ppo(config.ppo) | {
            "num_learning_epochs": config.finetune.num_learning_epochs,
            "num_mini_batches": config.finetune.num_mini_batches,
            "learning_rate": config.finetune.learning_rate,
        }
        # Without symmetry: nobody knows the mirror image of a memory.
        alg = teacher.another(actor, deepcopy(teacher.critic), storage, algorithm)
        return cls(alg, teacher.critic, distillation, config.finetune, config.ppo)

    def check(self) -> None:
        """Raise a UserError where the student has not learned anything yet."""
        if self.policy() is None:
            raise UserError(
                "finetune.enabled: there is no trained student to begin with; --phase finetune --load_run chooses a run"
            )

    def due(self, iteration: int) -> bool:
        """Return True."""
        return True

    def run(self, lane: Lane) -> Outcome:
        """Collect a rollout and learn from it; the first time, begin with the teacher's critic."""
        if self.rounds == 0:
            self.alg.critic.load_state_dict(self.teacher_critic.state_dict())
        start = time.perf_counter()
        with lane.turn() as env:
            self.collect(env, lane.statistics)
        barrier()
        collected = time.perf_counter()
        losses = {f"Finetune/{name}": value for name, value in self.update().items()}
        counts, spoiled = self.alg.updates.pop("Finetune")
        seconds = {"finetune_collection": collected - start, "finetune_learning": time.perf_counter() - collected}
        return Outcome(losses | counts, seconds, spoiled)

    def collect(self, env: VecEnv, statistics: EpisodeStatistics) -> None:
        """Let the student act for a rollout from its own memory, and store it."""
        self.distillation.student.encoder.forget_images()  # which other weights have encoded
        self.alg.collect(env, statistics)

    def update(self) -> dict[str, float]:
        """Learn from the stored rollout and return the means of what happened, by name.

        While the critic alone learns, its learning rate does not follow the change of the policy, which is none, and
        its values may move as far as they have to.
        """
        alg, warming_up = self.alg, self.rounds < self.config.warmup
        rate = self.ppo.learning_rate if warming_up else alg.learning_rate
        for group in alg.optimizer.param_groups:
            group["lr"] = rate
        alg.schedule = "fixed" if warming_up else self.ppo.schedule
        alg.use_clipped_value_loss = self.ppo.use_clipped_value_loss and not warming_up
        self.actor.freeze(warming_up)
        result = {name: float(value) for name, value in alg.update().items()}
        self.rounds += 1
        return result | {
            "learning_rate": alg.optimizer.param_groups[0]["lr"],
            "mean_std": self.actor.output_std.mean().item(),
            "warmup_left": float(max(self.config.warmup - self.rounds, 0)),
        }

    @property
    def actor(self) -> ExploringStudent:
        """Return the student with its noise."""
        actor = self.alg.actor
        assert isinstance(actor, ExploringStudent)
        return actor

    def policy(self) -> MLPModel | None:
        """Return the student, which is the distillation's."""
        return self.distillation.policy()

    def modules(self) -> Sequence[nn.Module]:
        """Return the student with its noise, and its critic."""
        return self.alg.actor, self.alg.critic

    def state_dict(self) -> dict[str, Any]:
        """Return what the distillation does not have: critic, noise, optimizer, learning rate, number of updates."""
        return {
            "rounds": self.rounds,
            "learning_rate": self.alg.learning_rate,
            "noise": self.actor.noise.state_dict(),
            "critic": self.alg.critic.state_dict(),
            "optimizer": self.alg.optimizer.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what :meth:`state_dict` returned, but with the learning rate that this run was given."""
        self.rounds = state["rounds"]
        self.actor.noise.load_state_dict(state["noise"])
        self.alg.critic.load_state_dict(state["critic"])
        self.alg.optimizer.load_state_dict(state["optimizer"])
        self.alg.updates.check_loaded()
        self.alg.go_on_from(state["learning_rate"], self.config.learning_rate, self.ppo.schedule)

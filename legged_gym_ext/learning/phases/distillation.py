"""DAgger: the student acts, the teacher labels what the student saw, the student learns to do the same.

After Ross et al., "A Reduction of Imitation Learning and Structured Prediction to No-Regret Online Learning", 2011,
with a recurrent student and truncated backpropagation through time.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from typing import Any, Self

import torch
import torch.nn.functional as F
from rsl_rl.env import VecEnv
from rsl_rl.models import MLPModel
from tensordict import TensorDict
from torch import Tensor, nn

from legged_gym_ext.config.schema import Config, DistillConfig
from legged_gym_ext.groups import DEPTH, NEW_FRAME
from legged_gym_ext.learning import networks
from legged_gym_ext.learning.frames import FramePool
from legged_gym_ext.learning.lanes import Lane
from legged_gym_ext.learning.phases.base import Outcome, Phase, Setting
from legged_gym_ext.learning.phases.ppo import TeacherPPO
from legged_gym_ext.learning.statistics import EpisodeStatistics
from legged_gym_ext.learning.updates import SoundUpdates
from legged_gym_ext.models.actor import ParkourActor
from legged_gym_ext.models.student import Student
from legged_gym_ext.models.teacher import ScandotsTeacher
from legged_gym_ext.processes import collectives
from legged_gym_ext.processes.collectives import average_gradients, barrier, broadcast_module

LOSSES = {"l2": F.mse_loss, "l1": F.l1_loss, "huber": F.huber_loss}
"""By the names in ``distill.loss``."""


def make_student(setting: Setting) -> Student:
    """Make the student that the configuration describes."""
    config = setting.config
    return Student(
        setting.obs,
        setting.obs_groups,
        "student",
        setting.env.num_actions,
        image_shape=config.camera.resolution,
        latent_dim=config.student.latent_dim,
        encoder=config.student.encoder,
        hidden_dims=list(config.teacher.hidden_dims),
        activation=config.teacher.activation,
        obs_normalization=config.teacher.normalize_observations,
    ).to(setting.device)


class Distillation(Phase):
    """Collects the student's experience and updates encoder and actor together.

    The update runs the student again over the stored sequences, in mini-batches of environments: the graph of a whole
    rollout of thousands of environments would not fit in memory. Each camera frame of a mini-batch is encoded once.

    Args:
        teacher: Labels the observations with its mean action.
        student: Learns.
        config: Schedule, steps, losses, learning rates.
        init_from_teacher: How the student begins, see :func:`create_depth_actor_from_teacher`.
        num_envs: Environments.
        obs: Observations by group, each (num_envs, size).
        num_actions: Size of an action.
        device: Of the networks and the stored experience.
        teacher_statistics: Of the teacher's own episodes; None where it plays none, and nothing is distilled.
        bfloat16: Run the student under bfloat16 autocast, and store images so.
        ready: Tells whether there is a teacher to learn from.
    """

    title = "distillation"
    lane = "student"

    def __init__(
        self,
        teacher: ParkourActor,
        student: Student,
        config: DistillConfig,
        init_from_teacher: str,
        num_envs: int,
        obs: TensorDict,
        num_actions: int,
        device: torch.device | str,
        teacher_statistics: EpisodeStatistics | None,
        bfloat16: bool = False,
        ready: Callable[[], bool] = lambda: True,
    ) -> None:
        self.teacher, self.student, self.config = teacher, student, config
        self.init_from_teacher = init_from_teacher
        self.num_envs = num_envs
        self.device = torch.device(device)
        self.autocast = torch.autocast(self.device.type, torch.bfloat16, enabled=bfloat16)
        self.teacher_statistics = teacher_statistics
        self.ready = ready
        self.rounds = 0
        """Distillations done so far."""
        self.first_round = 0
        """Of this run: those before were of the run that it began with."""
        self.optimizer = torch.optim.Adam(
            [
                {"params": list(student.encoder.parameters()), "lr": config.encoder_learning_rate},
                {"params": list(student.mlp.parameters()), "lr": config.actor_learning_rate},
            ],
            fused=True,
        )
        self.updates = SoundUpdates(self.optimizer)
        steps, shape = config.steps_per_env, (config.steps_per_env, num_envs)
        self.observations = {
            group: torch.zeros(*shape, obs[group].shape[-1], device=device) for group in student.obs_groups
        }
        image_dtype = torch.bfloat16 if bfloat16 else obs[DEPTH].dtype
        self.frames = FramePool(steps, num_envs, obs[DEPTH].shape[-1], image_dtype, device)
        self.teacher_actions = torch.zeros(*shape, num_actions, device=device)
        self.dones = torch.zeros(shape, dtype=torch.bool, device=device)
        self.follows_scan = isinstance(teacher, ScandotsTeacher) and config.feature_loss_weight > 0
        self.scan_latents = torch.zeros(*shape, student.terrain_dim if self.follows_scan else 0, device=device)
        self.first_memory = student.encoder.initial_memory(num_envs)
        self.action_difference = torch.zeros((), device=device)

    @classmethod
    def enabled(cls, config: Config) -> bool:
        """Return whether there is to be a student."""
        return config.distill.enabled

    @classmethod
    def learns(cls, config: Config) -> bool:
        """Return whether the student is still being distilled."""
        return not config.finetune.enabled

    @classmethod
    def steps(cls, config: Config) -> int:
        """Return the steps of a distillation."""
        return config.distill.steps_per_env

    @classmethod
    def stores(cls, config: Config) -> Collection[str]:
        """Return what the student reads."""
        return networks.actor_groups(config, "depth")

    @classmethod
    def make(cls, setting: Setting) -> Self:
        """Make the student, and the phase in which it learns from the teacher."""
        config, env, teacher = setting.config, setting.env, setting.alg.get_policy()
        assert isinstance(teacher, ParkourActor)
        teacher_lane = setting.lanes.get(TeacherPPO.lane)
        return cls(
            teacher,
            make_student(setting),
            config.distill if cls.learns(config) else replace(config.distill, steps_per_env=0),  # stores nothing
            config.student.init_from_teacher,
            env.num_envs,
            setting.obs,
            env.num_actions,
            setting.device,
            teacher_lane.statistics if teacher_lane else None,
            setting.bfloat16,
            setting.teacher_is_ready,
        )

    def due(self, iteration: int) -> bool:
        """Return whether the schedule has a distillation after PPO's update of that iteration.

        It waits for a teacher that is good enough, though not for ever: what a beginner does need not be learned, and
        is soon outdated.
        """
        start, start_level = self.config.start, self.config.start_level
        if (iteration - start) % self.config.interval or not self.ready():
            return False
        if self.rounds > 0 or iteration >= start:
            return True
        if start_level == 0:
            return False
        assert self.teacher_statistics is not None
        return collectives.mean(self.teacher_statistics.level) >= start_level

    def run(self, lane: Lane) -> Outcome:
        """Collect and learn; the first time, begin with the teacher's weights and where the teacher is."""
        start = time.perf_counter()
        if self.rounds == 0:
            self.student.init_from_teacher(self.teacher, self.init_from_teacher)
            broadcast_module(self.student)  # some of its weights are random
            lane.join()  # it follows within a few rounds: from level 0 it would climb for hundreds of iterations
        with lane.turn() as env:
            self.collect(env, lane.statistics)
        barrier()
        losses = {f"Distill/{name}": value for name, value in self.update().items()}
        counts, spoiled = self.updates.pop("Distill")
        return Outcome(losses | counts, {"distill": time.perf_counter() - start}, spoiled)

    @property
    def beta(self) -> float:
        """Return the share of environments that the teacher acts in."""
        return self.config.beta * self.config.beta_decay ** (self.rounds - self.first_round)

    @torch.no_grad()
    def collect(self, env: VecEnv, statistics: EpisodeStatistics) -> None:
        """Let the student act for ``steps_per_env`` steps, and store what it saw and what the teacher would have done.

        The student goes on from its own memory, so ``env`` must be where the last call left it, or reset together with
        the student.
        """
        memory = self.student.encoder.memory
        self.first_memory.copy_(self.student.encoder.initial_memory(self.num_envs) if memory is None else memory)
        self.student.encoder.forget_images()
        self.action_difference.zero_()
        teacher_acts = torch.rand(self.num_envs, 1, device=self.device) < self.beta
        obs = env.get_observations().to(self.device)
        for step in range(self.config.steps_per_env):
            teacher_actions = self.teacher(obs)
            with self.autocast:
                student_actions = self.student(obs).float()
            self._record(step, obs, teacher_actions, student_actions)
            actions = torch.where(teacher_acts, teacher_actions, student_actions)
            obs, rewards, dones, extras = env.step(actions.to(env.device))
            obs, dones = obs.to(self.device), dones.to(self.device)
            statistics.add(rewards.to(self.device), dones, extras)
            self.dones[step] = dones.bool()
            self.student.reset(dones)

    def update(self) -> dict[str, float]:
        """Learn from the collected experience and return the means of what happened, by name."""
        sums = torch.zeros(3, device=self.device)
        updates = 0
        for _ in range(self.config.epochs):
            for envs in torch.randperm(self.num_envs, device=self.device).chunk(self.config.mini_batches):
                memory = self.first_memory[:, envs]
                for start in range(0, self.config.steps_per_env, self.config.bptt_steps):
                    steps = slice(start, min(start + self.config.bptt_steps, self.config.steps_per_env))
                    action_loss, feature_loss, memory = self.losses(steps, envs, memory)
                    self.optimizer.zero_grad()
                    (action_loss + self.config.feature_loss_weight * feature_loss).backward()
                    average_gradients(self._parameters())
                    norm = torch.nn.utils.clip_grad_norm_(self._parameters(), self.config.max_grad_norm)
                    self.optimizer.step()
                    memory = memory.detach()
                    sums += torch.stack([action_loss.detach(), feature_loss.detach(), norm])
                    updates += 1
        seen = {group: values.flatten(0, 1) for group, values in self.observations.items()}
        self.student.update_normalization(TensorDict(seen, batch_size=[self.dones.numel()]))
        loss, feature_loss, gradient_norm = (sums / updates).tolist()
        result = {
            "loss": loss,
            "gradient_norm": gradient_norm,
            "action_difference": self.action_difference.item() / self.config.steps_per_env,
            "beta": self.beta,
        }
        if self.follows_scan:
            result["feature_loss"] = feature_loss
        self.rounds += 1
        return result

    def losses(self, steps: slice, envs: Tensor, memory: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Run the student over stored experience.

        Args:
            steps: Which steps.
            envs: Indices of the environments, (batch,).
            memory: The encoder's memory before the first of the steps, (layers, batch, size).

        Returns:
            The action loss, the feature loss (0 where there is none), and the memory to go on from.
        """
        seen, index = torch.unique(self.frames.index[steps, envs], return_inverse=True)
        obs = {group: values[steps, envs] for group, values in self.observations.items()}
        with self.autocast:
            actions, latents, memory = self.student.forward_sequence(
                TensorDict(obs, batch_size=index.shape),
                self.frames.images.index_select(0, seen),
                index,
                memory,
                self.dones[steps, envs],
            )
        targets = self.teacher_actions[steps, envs]
        action_loss = LOSSES[self.config.loss](actions.to(targets.dtype), targets)
        feature_loss = action_loss.new_zeros(())
        if self.follows_scan:
            feature_loss = F.mse_loss(latents.to(targets.dtype), self.scan_latents[steps, envs])
        return action_loss, feature_loss, memory.to(targets.dtype)

    def policy(self) -> MLPModel | None:
        """Return the student, once it has learned."""
        return self.student if self.rounds > 0 else None

    def count_anew(self) -> None:
        """Let the teacher act as in the first round, for as long as this run says."""
        self.first_round = self.rounds

    def modules(self) -> Sequence[nn.Module]:
        """Return the student."""
        return (self.student,)

    def own_state(self) -> Tensor | None:
        """Return a copy of the encoder's memory where the lane is, (layers, num_envs, size); None at its start."""
        memory = self.student.encoder.memory
        return None if memory is None else memory.clone()

    def load_own_state(self, state: Tensor | None) -> None:
        """Give the student that memory."""
        self.student.reset(hidden_state=None if state is None else state.to(self.device))

    def state_dict(self) -> dict[str, Any]:
        """Return the student, the optimizer and the number of distillations."""
        return {
            "rounds": self.rounds,
            "first_round": self.first_round,
            "student": self.student.state_dict(),
            "optimizer": self.optimizer.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what :meth:`state_dict` returned, with the learning rates of the configuration."""
        self.rounds, self.first_round = state["rounds"], state.get("first_round", 0)
        self.student.load_state_dict(state["student"])
        rates = [group["lr"] for group in self.optimizer.param_groups]
        self.optimizer.load_state_dict(state["optimizer"])  # brings the old rates, too
        self.updates.check_loaded()
        for group, rate in zip(self.optimizer.param_groups, rates, strict=True):
            group["lr"] = rate

    def _parameters(self) -> list[torch.nn.Parameter]:
        return [parameter for group in self.optimizer.param_groups for parameter in group["params"]]

    def _record(self, step: int, obs: TensorDict, teacher_actions: Tensor, student_actions: Tensor) -> None:
        """Store what was seen at ``step`` and what both would do."""
        for group, values in self.observations.items():
            values[step] = obs[group]
        self.frames.add(step, obs[DEPTH], obs[NEW_FRAME].squeeze(-1) > 0)
        self.teacher_actions[step] = teacher_actions
        if self.follows_scan:
            assert isinstance(self.teacher, ScandotsTeacher)
            self.scan_latents[step] = self.teacher.scan_latent(obs)
        self.action_difference += (teacher_actions - student_actions).abs().mean()

"""PPO of the teacher, and what its algorithm shares with the student's.

After Schulman et al., "Proximal Policy Optimization Algorithms", 2017. The algorithm is rsl_rl's.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict
from typing import Any, Self

import torch
from rsl_rl.algorithms import PPO
from rsl_rl.env import VecEnv
from rsl_rl.models import MLPModel
from rsl_rl.utils import resolve_class, resolve_obs_groups
from tensordict import TensorDict
from torch import nn

from legged_gym_ext.config.schema import Config, PPOConfig
from legged_gym_ext.envs.parkour_env import ParkourEnv
from legged_gym_ext.errors import UserError
from legged_gym_ext.groups import PRIVILEGED, PROPRIO
from legged_gym_ext.learning import networks
from legged_gym_ext.learning.lanes import Lane
from legged_gym_ext.learning.nan_check import NanCheck
from legged_gym_ext.learning.phases.base import Outcome, Phase, Setting
from legged_gym_ext.learning.statistics import EpisodeStatistics
from legged_gym_ext.learning.storage import ParkourRolloutStorage
from legged_gym_ext.learning.symmetry import MirrorAugmentation
from legged_gym_ext.learning.updates import SoundUpdates
from legged_gym_ext.processes import collectives
from legged_gym_ext.processes.collectives import average_gradients, barrier, mean_and_std
from legged_gym_ext.terrain.curriculum import share_of


def rsl_rl_ppo(config: PPOConfig) -> dict[str, Any]:
    """Return the arguments of rsl_rl's PPO; what else our configuration says, the phases do."""
    ours = ("start_entropy_coef", "full_at_level", "symmetry")
    return {name: value for name, value in asdict(config).items() if name not in ours}


class ParkourPPO(PPO):
    """PPO whose update by several ranks is the update by one that has all of their samples.

    rsl_rl averages the gradients and the KL divergence over the ranks, but each rank normalizes its advantages by
    itself, and not all gradients can be packed.
    """

    updates: SoundUpdates

    @classmethod
    def make(
        cls,
        actor: MLPModel,
        critic: MLPModel,
        storage: ParkourRolloutStorage,
        device: str,
        multi_gpu: dict[str, Any] | None,
        **algorithm: Any,
    ) -> Self:
        """Make the algorithm with an optimizer that does not walk through the parameters one by one."""
        alg = cls(actor, critic, storage, device=device, **algorithm, multi_gpu_cfg=multi_gpu)
        for group in alg.optimizer.param_groups:
            group |= {"fused": True, "initial_lr": alg.learning_rate}
        assert isinstance(alg.optimizer, torch.optim.Adam)
        alg.updates = SoundUpdates(alg.optimizer)
        return alg

    def another(
        self, actor: MLPModel, critic: MLPModel, storage: ParkourRolloutStorage, arguments: dict[str, Any]
    ) -> Self:
        """Make the algorithm for another policy, with the same ranks; rsl_rl's ``arguments``."""
        ranks = {"global_rank": self.gpu_global_rank, "world_size": self.gpu_world_size}
        return self.make(actor, critic, storage, self.device, ranks if self.is_multi_gpu else None, **arguments)

    @staticmethod
    def construct_algorithm(obs: TensorDict, env: VecEnv, cfg: dict, device: str) -> ParkourPPO:
        """Construct actor, critic, storage and algorithm from ``cfg``, :func:`build.rsl_rl_config`'s dictionary.

        rsl_rl's own makes a storage that has an image for every step.
        """
        _, algorithm = resolve_class(cfg["algorithm"])
        actor_class, actor_arguments = resolve_class(cfg["actor"])
        critic_class, critic_arguments = resolve_class(cfg["critic"])
        symmetry = algorithm.pop("symmetry")
        groups = cfg["obs_groups"] = resolve_obs_groups(obs, cfg["obs_groups"], ["actor", "critic"])
        actor = actor_class(obs, groups, "actor", env.num_actions, **actor_arguments).to(device)
        critic = critic_class(obs, groups, "critic", 1, **critic_arguments).to(device)
        storage = ParkourRolloutStorage(
            env.num_envs,
            cfg["num_steps_per_env"],
            obs,
            groups["actor"] + groups["critic"],
            env.num_actions,
            device,
            torch.bfloat16 if cfg["bfloat16"] else None,
        )
        alg = ParkourPPO.make(actor, critic, storage, device, cfg["multi_gpu"], **algorithm)
        if symmetry:
            if not isinstance(env, ParkourEnv):
                raise UserError(
                    f"ppo.symmetry: only of ParkourEnv the mirror image is known, not of {type(env).__name__}"
                )
            alg.symmetry = MirrorAugmentation(env, device)
        return alg

    def compute_returns(self, obs: TensorDict) -> None:
        """Compute return and advantage targets from the stored transitions and the observations after the last one."""
        super().compute_returns(obs)
        if self.is_multi_gpu:
            advantages = self.storage.returns - self.storage.values
            mean, std = mean_and_std(advantages)
            self.storage.advantages = (advantages - mean) / (std + 1e-8)

    @torch.no_grad()
    def collect(self, env: VecEnv, statistics: EpisodeStatistics) -> None:
        """Let the actor act for a rollout, and store it.

        Raises:
            ValueError: The environment returned NaN.
        """
        device = self.device
        obs = env.get_observations().to(device)
        nan_check = NanCheck((PROPRIO, PRIVILEGED), device)
        for _ in range(self.storage.num_transitions_per_env):
            actions = self.act(obs)
            obs, rewards, dones, extras = env.step(actions.to(env.device))
            obs, rewards, dones = obs.to(device), rewards.to(device), dones.to(device)
            nan_check.add(obs, rewards, dones)
            self.process_env_step(obs, rewards, dones, extras)
            statistics.add(rewards, dones, extras)
        nan_check.report()
        self.compute_returns(obs)

    def reduce_parameters(self) -> None:
        """Replace gradients by their means over the ranks; rsl_rl's own cannot pack those of convolutions."""
        average_gradients([*self.actor.parameters(), *self.critic.parameters()])

    def go_on_from(self, saved_rate: float, begin: float, schedule: str) -> None:
        """Take up the learning rate that was saved with the optimizer which is loaded.

        An adaptive one goes on from where it was, unless this run was given another to begin with.

        Args:
            saved_rate: Where it was.
            begin: What this run was given to begin with.
            schedule: This run's.
        """
        changed = self.optimizer.param_groups[0]["initial_lr"] != begin
        self.learning_rate = begin if schedule == "fixed" or changed else saved_rate
        for group in self.optimizer.param_groups:
            group |= {"lr": self.learning_rate, "initial_lr": begin}


def act_and_learn(alg: ParkourPPO, lane: Lane, config: PPOConfig, section: str, activity: str = "") -> Outcome:
    """Let a policy act for a rollout, and learn from it.

    Args:
        alg: The algorithm, with the networks and the storage.
        lane: Where the policy acts.
        config: Of the algorithm.
        section: Of the log.
        activity: What the names of the measured seconds begin with.
    """
    start = time.perf_counter()
    with lane.turn() as env:
        alg.collect(env, lane.statistics)
    alg.entropy_coef = entropy_coef(config, collectives.mean(lane.statistics.level))
    barrier()  # what runs for the first time is compiled, which takes one rank longer than another
    collected = time.perf_counter()
    losses = {f"{section}/{name}": float(value) for name, value in alg.update().items() if name != "symmetry"}
    losses |= {
        f"{section}/learning_rate": alg.learning_rate,
        "Policy/mean_std": alg.get_policy().output_std.mean().item(),
    }
    counts, spoiled = alg.updates.pop(section)
    seconds = {
        f"{activity}collection": collected - start,
        f"{activity}learning": time.perf_counter() - collected,
    }
    return Outcome(losses | counts, seconds, spoiled)


def entropy_coef(config: PPOConfig, level: float) -> float:
    """Return the weight of the entropy with the environments at a terrain level, on average.

    Who begins must try out much to find a gait; on a hard course much noise is a fall. It moves with the level.
    """
    share = share_of(torch.tensor(level, dtype=torch.float64), config.full_at_level).item()
    return config.start_entropy_coef + (config.entropy_coef - config.start_entropy_coef) * share


class TeacherPPO(Phase):
    """In every iteration the teacher acts for a rollout and learns from it.

    Args:
        alg: The algorithm, with the networks and the storage.
        config: Its configuration.
        ready: Tells whether the teacher may begin.
    """

    title = "PPO"
    lane = "teacher"

    def __init__(self, alg: ParkourPPO, config: PPOConfig, ready: Callable[[], bool]) -> None:
        self.alg, self.config, self.ready = alg, config, ready

    @classmethod
    def learns(cls, config: Config) -> bool:
        """Return whether the teacher is still being trained."""
        return not config.finetune.enabled

    @classmethod
    def steps(cls, config: Config) -> int:
        """Return the steps of a rollout."""
        return config.runner.num_steps_per_env

    @classmethod
    def stores(cls, config: Config) -> Collection[str]:
        """Return what actor and critic read."""
        return {*networks.actor_groups(config, config.teacher.kind), *networks.critic_groups(config)}

    @classmethod
    def make(cls, setting: Setting) -> Self:
        """Make the phase of rsl_rl's algorithm."""
        assert isinstance(setting.alg, ParkourPPO)
        return cls(setting.alg, setting.config.ppo, setting.teacher_is_ready)

    def due(self, iteration: int) -> bool:
        """Return whether the teacher has begun, where it begins as somebody's image."""
        return self.ready()

    def run(self, lane: Lane) -> Outcome:
        """Collect a rollout and learn from it."""
        return act_and_learn(self.alg, lane, self.config, "Loss")

    def policy(self) -> MLPModel:
        """Return the teacher."""
        return self.alg.get_policy()

    def modules(self) -> Sequence[nn.Module]:
        """Return actor and critic."""
        return self.alg.actor, self.alg.critic

    def state_dict(self) -> dict[str, Any]:
        """Return rsl_rl's state of networks and optimizer."""
        return self.alg.save()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a state, but with the learning rate that this run was given."""
        self.alg.load(state, load_cfg=None, strict=True)
        self.alg.updates.check_loaded()
        self.alg.go_on_from(self.alg.learning_rate, self.config.learning_rate, self.config.schedule)

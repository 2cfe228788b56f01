"""PPO of a guide: a policy that sees a height scan, and learns before the depth teacher does.

That who sees heights learns first, and who sees pixels learns from that, is after Agarwal et al., "Legged Locomotion in
Challenging Terrains using Egocentric Vision", 2022; here it is the teacher that begins so, too.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from copy import deepcopy
from typing import Any, Self

from rsl_rl.models import MLPModel
from rsl_rl.utils import resolve_class
from torch import nn

from legged_gym_ext.config.schema import Config, GuideConfig, PPOConfig
from legged_gym_ext.learning import networks
from legged_gym_ext.learning.lanes import Lane
from legged_gym_ext.learning.phases.base import Outcome, Setting
from legged_gym_ext.learning.phases.ppo import ParkourPPO, TeacherPPO, act_and_learn, rsl_rl_ppo
from legged_gym_ext.learning.phases.preparation import Preparation
from legged_gym_ext.learning.storage import ParkourRolloutStorage
from legged_gym_ext.models.teacher import ScandotsTeacher
from legged_gym_ext.processes import collectives

_KIND = "scandots"
"""Of ``teacher.kind``, what it is."""


class Guide(Preparation):
    """In every iteration, until it is good enough, the guide acts on the teacher's lane and learns from it.

    Args:
        alg: The algorithm, with the networks and the storage.
        config: When it is good enough at the latest.
        enough: Terrain level of its environments, on average, at which it is.
        ppo: The configuration of the algorithm.
    """

    title = "guide"

    def __init__(self, alg: ParkourPPO, config: GuideConfig, enough: float, ppo: PPOConfig) -> None:
        super().__init__()
        self.alg, self.config, self.enough, self.ppo = alg, config, enough, ppo

    @classmethod
    def steps(cls, config: Config) -> int:
        """Return the steps of a rollout."""
        return TeacherPPO.steps(config)

    @classmethod
    def stores(cls, config: Config) -> Collection[str]:
        """Return what guide and critic read: no images."""
        return {*networks.actor_groups(config, _KIND), *networks.critic_groups(config)}

    @classmethod
    def make(cls, setting: Setting) -> Self:
        """Make the guide, and its PPO, which is as the teacher's."""
        config, env, device, teacher = setting.config, setting.env, setting.device, setting.alg
        assert isinstance(teacher, ParkourPPO)
        groups = {"guide": networks.actor_groups(config, _KIND), "critic": networks.critic_groups(config)}
        actor_class, arguments = resolve_class(networks.actor(config, _KIND))
        actor = actor_class(setting.obs, groups, "guide", env.num_actions, **arguments).to(device)
        steps = cls.steps(config) if cls.learns(config) else 0
        storage = ParkourRolloutStorage(env.num_envs, steps, setting.obs, cls.stores(config), env.num_actions, device)
        alg = teacher.another(actor, deepcopy(teacher.critic), storage, rsl_rl_ppo(config.ppo))
        alg.symmetry = teacher.symmetry
        return cls(alg, config.guide, level_that_is_enough(config), config.ppo)

    @property
    def actor(self) -> ScandotsTeacher:
        """Return the guide itself."""
        actor = self.alg.actor
        assert isinstance(actor, ScandotsTeacher)
        return actor

    def due(self, iteration: int) -> bool:
        """Return whether it has not learned enough."""
        return not self.done

    def run(self, lane: Lane) -> Outcome:
        """Collect a rollout and learn from it."""
        outcome = act_and_learn(self.alg, lane, self.ppo, "Guide", "guide_")
        self.rounds += 1
        level = collectives.mean(lane.statistics.level)
        self.done = level >= self.enough or self.rounds >= self.config.iterations
        return outcome

    def policy(self) -> MLPModel | None:
        """Return the guide, as long as it acts."""
        return None if self.done else self.actor

    @property
    def policy_name(self) -> str:
        """Return that it is the guide, and not the teacher."""
        return self.title

    def count_anew(self) -> None:
        """Learn on for as long as this run says, if it has not learned enough."""
        self.rounds = 0

    def modules(self) -> Sequence[nn.Module]:
        """Return guide and critic."""
        return self.alg.actor, self.alg.critic

    def state_dict(self) -> dict[str, Any]:
        """Return rsl_rl's state of networks and optimizer, and how far it is."""
        return {"rounds": self.rounds, "done": self.done, "algorithm": self.alg.save()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a state, but with the learning rate that this run was given."""
        self.load_progress(state)
        self.alg.load(state["algorithm"], load_cfg=None, strict=True)
        self.alg.updates.check_loaded()
        self.alg.go_on_from(self.alg.learning_rate, self.ppo.learning_rate, self.ppo.schedule)


def level_that_is_enough(config: Config) -> float:
    """Return the mean terrain level at which a guide has learned enough; infinite where no level can tell.

    Where all levels are mastered the mean settles at two thirds of the highest, as who passes that gets a random one:
    a higher mean is not waited for.
    """
    highest = config.terrain.levels - 1 if config.curriculum.enabled else 0
    return min(config.guide.level, 2 * highest / 3) or math.inf

"""A small, fixed part of the benchmark, now and then in a training: curves that mean the same in every run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch

from legged_gym_ext.config.schema import Config
from legged_gym_ext.evaluation.benchmark import PARKOUR_V1, commanded_speed
from legged_gym_ext.evaluation.episodes import NOMINAL, TRUE, Unit
from legged_gym_ext.evaluation.plan import Plan
from legged_gym_ext.evaluation.publish import scalars
from legged_gym_ext.evaluation.session import Session
from legged_gym_ext.evaluation.summary import summarize
from legged_gym_ext.evaluation.trial import Policy
from legged_gym_ext.tasks import get_factories
from legged_gym_ext.terrain.kinds import KINDS

LEVELS = (2, 5, 8)
EPISODES = 5
"""On each kind of terrain at each level."""


def success_rates(config: Config, policies: Mapping[str, Policy], device: torch.device) -> dict[str, float]:
    """Return the success of each policy by level, by the tag of its curve.

    The training's own environments and random numbers stay as they are. All ranks must call this alike.

    Args:
        config: Of the training, settled.
        policies: By name, with a memory of their own.
        device: Of the policies.
    """
    benchmark = replace(PARKOUR_V1, levels=LEVELS, episodes=EPISODES)
    plan = Plan(benchmark, tuple(KINDS), LEVELS, (NOMINAL,), commanded_speed(config), EPISODES)
    units = [Unit(NOMINAL, name, TRUE, level) for name in policies for level in LEVELS]
    results = Session(plan, config, get_factories(config.task).make_env, policies, device).run(units)
    return scalars(summarize(results, plan.config(config, NOMINAL).terrain.length), "small")

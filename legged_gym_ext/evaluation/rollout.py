"""Playing a trained policy: what it changes in a run's configuration, where the robots start, and the loop."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from rsl_rl.models import MLPModel
from torch import Tensor

from legged_gym_ext.errors import UserError
from legged_gym_ext.evaluation.benchmark import CAMERA_NOISE, PARKOUR_V1, command, commanded_speed
from legged_gym_ext.terrain.kinds import only

if TYPE_CHECKING:
    from tensordict import TensorDict

    from legged_gym_ext.config.schema import Config
    from legged_gym_ext.envs.parkour_env import ParkourEnv
    from legged_gym_ext.evaluation.outcomes import EpisodeCount
    from legged_gym_ext.learning.runner import ParkourRunner
    from legged_gym_ext.rendering.show import Show

NUM_ENVS = 64
HELD_LEVELS = ("curriculum.enabled=false",)
AS_IN_THE_BENCHMARK = (
    f"env.episode_length_s={PARKOUR_V1.time_limit}",
    f"terminations.stuck_time={PARKOUR_V1.stuck_time}",
)
"""When an episode ends, as evaluate.py has it."""
NOTHING_RANDOM = (
    "observations.noise.enabled=false",
    "randomization.enabled=false",
    *(f"camera.{name}=0.0" for name in CAMERA_NOISE),
)
"""Changes to a run's configuration that switch noise, domain randomization, latency and pushes off.

Robots still start at slightly random places, headings and joint angles.
"""


def overrides(terrain: str | None, randomize: bool) -> list[str]:
    """Return what playing changes in a run's configuration.

    Args:
        terrain: The only kind of terrain to play on; None = the run's mix.
        randomize: Keep noise, domain randomization and pushes as in training.
    """
    changes = [f"env.num_envs={NUM_ENVS}", *HELD_LEVELS, *AS_IN_THE_BENCHMARK]
    if not randomize:
        changes += NOTHING_RANDOM
    if terrain is not None:
        changes += only([terrain])
    return changes


def hold_speed(config: Config, overrides: Sequence[str]) -> None:
    """Command one speed at all levels, the middle of a run's range, unless the ``overrides`` say which."""
    if not any(override.partition("=")[0] in ("commands", "commands.forward_speed") for override in overrides):
        command(config, commanded_speed(config))
    config.commands.full_at_level = 0


def check_level(level: int | None, levels: int) -> None:
    """Raise a UserError where a run of so many levels has no such ``level``."""
    if level is not None and not 0 <= level < levels:
        raise UserError(f"--level {level}: not a level of this run; allowed: 0 to {levels - 1} (terrain.levels)")


def choose_policy(runner: ParkourRunner, name: str | None) -> tuple[MLPModel, str]:
    """Return the policy of that name, and how to call it; without a name, the student where it is trained.

    Raises:
        UserError: The run has no trained student, and no other policy would do.
    """
    if name is None:
        if runner.is_trained("student"):
            return runner.get_inference_policy("student"), "student"
        told = f"{runner.policy_name('teacher')} (this run has no trained student yet)"
        return runner.get_inference_policy("teacher"), told
    return runner.get_inference_policy(name), runner.policy_name(name)


def place(env: ParkourEnv, level: int | None) -> Tensor:
    """Start all robots on the run's mix of terrains, and return each one's kind, (num_envs,) long.

    Args:
        env: The environment.
        level: Of all; None = spread over all levels within every kind.
    """
    kinds = env.library.assign_kinds(env.num_envs)
    levels = spread_levels(kinds, env.config.terrain.levels) if level is None else torch.full_like(kinds, level)
    env.place(kinds, levels)
    return kinds


def spread_levels(kinds: Tensor, levels: int) -> Tensor:
    """Return a level for each environment, (num_envs,) long: evenly over 0 .. ``levels`` - 1 within every kind.

    The j-th of a kind's n environments, j = 0 .. n - 1, gets level floor((j + 1/2) levels / n).
    """
    same = kinds[:, None] == kinds
    rank = torch.tril(same, diagonal=-1).sum(dim=1)
    return ((2 * rank + 1) * levels) // (2 * same.sum(dim=1))


def examples(kinds: Tensor) -> list[int]:
    """Return one environment of every kind, the middle one: of a middling level, where levels are spread."""
    members = [(kinds == kind).nonzero()[:, 0].tolist() for kind in kinds.unique()]
    return [environments[len(environments) // 2] for environments in members]


@dataclass(frozen=True)
class Step:
    """A control step of all environments, each tensor (num_envs, ...)."""

    observations: TensorDict
    """What the policy saw."""
    actions: Tensor
    """As the policy gave them, before they are clipped."""
    rewards: Tensor
    dones: Tensor
    """Whether the episode ends with this step, bool."""
    extras: dict[str, Any]


def play(env: ParkourEnv, policy: MLPModel, device: torch.device) -> Iterator[Step]:
    """Let ``policy`` act in ``env`` from fresh episodes."""
    observations = env.get_observations()
    policy.reset()
    while True:
        with torch.no_grad():
            actions = policy(observations.to(device)).to(env.device)
            following, rewards, dones, extras = env.step(actions)
            policy.reset(dones.to(device))
        yield Step(observations, actions, rewards, dones.bool(), extras)
        observations = following


def run(env: ParkourEnv, policy: MLPModel, device: torch.device, count: EpisodeCount, show: Show) -> None:
    """Play until all episodes that count have ended; where somebody watches, until the viewer is closed or Ctrl-C."""
    try:
        for step in play(env, policy, device):
            count.add(step.rewards, step.dones, step.extras)
            show.add(step.dones)
            if not show.live.is_open() if show.live else count.complete:
                break
    except KeyboardInterrupt:
        if not show.live:
            raise
    finally:
        show.close()

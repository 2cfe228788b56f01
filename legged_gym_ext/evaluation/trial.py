"""Running a unit of an evaluation: every robot makes one episode, all at the same time."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch
from tensordict import TensorDict
from torch import Tensor

from legged_gym_ext.config.schema import Config
from legged_gym_ext.envs.outcome import Outcome
from legged_gym_ext.envs.parkour_env import ParkourEnv
from legged_gym_ext.evaluation.episodes import Episodes, Unit
from legged_gym_ext.evaluation.measures import MEASURES, Meter
from legged_gym_ext.evaluation.sight import Sight
from legged_gym_ext.runs.settle import torch_device

if TYPE_CHECKING:
    from legged_gym_ext.tasks import EnvFactory

_LOOK_EVERY = 10  # steps from one look at whether all have ended to the next, which waits for a GPU


class Policy(Protocol):
    """What acts: a ``ParkourActor``, or anything else that does the same."""

    terrain_group: str
    """The observation group in which it sees the terrain."""

    def reset(self, dones: Tensor | None = None) -> None:
        """Forget the episodes of the environments that are ``dones`` (num_envs,); of all, where it is None."""
        ...

    def __call__(self, observations: TensorDict) -> Tensor:
        """Return actions (num_envs, 10)."""
        ...


@contextmanager
def benchmark_env(make_env: EnvFactory, config: Config) -> Iterator[ParkourEnv]:
    """Make an environment that measures its episodes; the configuration is one of ``benchmark_config``."""
    env = make_env(config, config.env.num_envs, torch_device(config.sim.device))
    try:
        env.meter = Meter(env)
        yield env
    finally:
        env.close()


def run_unit(env: ParkourEnv, policy: Policy, unit: Unit, device: torch.device) -> Episodes:
    """Play one episode on every tile of the unit's level.

    All that is random follows from the level and the number of robots alone: it is the same for every policy, whatever
    was run before. On a CPU the starts of fewer tiles of the same kinds are those of the first ones of more tiles.

    Args:
        env: Of :func:`benchmark_env`, with one robot for each tile of a level.
        policy: The policy that acts, with its mean actions.
        unit: What is to be run.
        device: Of the policy.
    """
    tiles, kinds = env.library.variants, len(env.library.kinds)
    # Tile by tile: random numbers are drawn row by row, so that more tiles leave the first ones' as they are.
    kind = torch.arange(kinds, device=env.device).repeat(tiles)
    tile = torch.arange(tiles, device=env.device).repeat_interleave(kinds)
    level = torch.full_like(kind, unit.level)
    observations = env.place(kind, level, tile, seed=zlib.crc32(f"level {unit.level}".encode()))
    sight = Sight(env, policy.terrain_group, unit.sight)
    begins = torch.ones_like(kind, dtype=torch.bool)
    outcome = torch.full_like(kind, Outcome.RUNNING)
    results = torch.zeros(len(kind), 2 + len(MEASURES), device=env.device)
    overflow = torch.zeros((), device=env.device)
    policy.reset()
    with torch.no_grad():
        for step in range(1, int(env.max_episode_length) + 1):
            actions = policy(sight.show(observations, begins).to(device)).to(env.device)
            observations, _, dones, extras = env.step(actions)
            policy.reset(dones.to(device))
            begins = dones.bool()
            ends = begins & (outcome == Outcome.RUNNING)
            outcome = torch.where(ends, extras["outcome"], outcome)
            time = torch.full_like(extras["progress"], step * env.dt)
            row = torch.cat([torch.stack([time, extras["progress"]], dim=1), extras["measures"]], dim=1)
            results = torch.where(ends[:, None], row, results)
            overflow += extras["log"]["Health/overflow"]
            if step % _LOOK_EVERY == 0 and bool((outcome != Outcome.RUNNING).all()):
                break
    if overflow > 0:
        print(f"contacts were dropped in {overflow:.0f} steps of robots: see sim.mujoco_warp.nconmax and njmax")
    return _table(env.library.kinds, kind, tile, outcome, results)


def _table(kinds: Sequence[str], kind: Tensor, tile: Tensor, outcome: Tensor, results: Tensor) -> Episodes:
    values = dict(zip(("time", "distance", *MEASURES), results.double().cpu().numpy().T, strict=True))
    return Episodes(
        kind=np.array(kinds)[kind.cpu().numpy()], tile=tile.cpu().numpy(), outcome=outcome.cpu().numpy(), **values
    )

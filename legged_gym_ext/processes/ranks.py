"""The processes of one training: torchrun starts one per GPU, each of them a rank; without torchrun there is one."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TypeVar

from legged_gym_ext.config.schema import Config
from legged_gym_ext.errors import UserError

T = TypeVar("T")


@dataclass(frozen=True)
class Ranks:
    """Which of how many ranks this process is, in all and on its machine."""

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    local_size: int = 1

    def share(self, num_envs: int) -> int:
        """Return each rank's part of ``num_envs`` environments.

        Raises:
            UserError: They cannot be split evenly.
        """
        if num_envs % self.size:
            below = num_envs - num_envs % self.size
            fitting = " or ".join(str(n) for n in (below, below + self.size) if n)
            raise UserError(
                f"env.num_envs={num_envs} counts the environments of all {self.size} ranks, which must have equally "
                f"many: {fitting} would do"
            )
        return num_envs // self.size

    def config(self, config: Config, cores: int) -> Config:
        """Return the configuration of this rank's environment.

        It draws its tiles and all else that is random from seeds of its own, and has its part of the machine's cores.

        Args:
            config: The run's configuration.
            cores: Of this machine, for all of its ranks.
        """
        if self.size == 1:
            return config
        return replace(
            config,
            seed=self.seed(config.seed),
            terrain=replace(config.terrain, seed=self.seed(config.terrain.seed)),
            sim=replace(config.sim, threads=config.sim.threads or self.threads(cores)),
        )

    def seed(self, seed: int) -> int:
        """Return this rank's seed. Those of the others are not ``seed`` + 1, ..., which another run may have."""
        import numpy as np

        return seed if self.rank == 0 else int(np.random.SeedSequence([seed, self.rank]).generate_state(1)[0])

    def threads(self, cores: int) -> int:
        """Return how many of a machine's ``cores`` each of its ranks takes."""
        return max(1, cores // self.local_size)


_here = Ranks()


def here() -> Ranks:
    """Return this process's place among the ranks; the only one, outside of :func:`joined`."""
    return _here


@contextmanager
def joined() -> Iterator[None]:
    """Be one of the processes that torchrun started, until the context ends; without torchrun, do nothing.

    An exception that leaves the context in one process ends all of them: see ``learning/distributed.py``.
    """
    global _here
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield
        return
    names = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")
    _here = Ranks(*(int(os.environ[name]) for name in names))

    from legged_gym_ext.processes.session import Session  # imports torch

    with Session():
        yield


def from_first(function: Callable[[], T]) -> T:
    """Return what ``function`` returns on rank 0, where alone it is called."""
    if _here.size == 1:
        return function()
    from legged_gym_ext.processes.session import broadcast

    return broadcast(function() if _here.rank == 0 else None)

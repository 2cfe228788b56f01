"""Which of how many processes this is: torchrun starts one per GPU, each a rank; without torchrun there is one."""

from __future__ import annotations

from dataclasses import dataclass

from legged_gym_ext.errors import UserError


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

    def seed(self, seed: int) -> int:
        """Return this rank's seed. Those of the others are not ``seed`` + 1, ..., which another run may have."""
        import numpy as np

        return seed if self.rank == 0 else int(np.random.SeedSequence([seed, self.rank]).generate_state(1)[0])

    def threads(self, cores: int) -> int:
        """Return how many of a machine's ``cores`` each of its ranks takes."""
        return max(1, cores // self.local_size)


_here = Ranks()


def here() -> Ranks:
    """Return this process's place among the ranks; the only one, outside of :func:`join.joined`."""
    return _here


def be(ranks: Ranks) -> None:
    """Let this process be the one that ``ranks`` says."""
    global _here
    _here = ranks

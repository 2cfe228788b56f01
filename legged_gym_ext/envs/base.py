"""What the learners need of an environment."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

from rsl_rl.env import VecEnv


class Environment(VecEnv):
    """rsl_rl's vectorized environment, which besides can be put back to where it was.

    ``get_observations`` and ``step`` must return tensors that later steps do not change. Besides rsl_rl's ``time_outs``
    and ``log``, ``extras`` must have ``terrain_level`` (num_envs,) and, of episodes that end with the step,
    ``success`` and ``progress``, both (num_envs,). Where there are kinds of terrain, it has ``terrain_kind``, too, a
    number for each environment, (num_envs,).
    """

    terrain_kinds: Sequence[str] = ()
    """Names of the kinds of terrain, in the order of their numbers."""
    terrain_levels: int = 0
    """Of each kind; the levels are from 0 on."""

    def close(self) -> None:
        """End the environment; nothing may be called afterwards."""

    @abstractmethod
    def snapshot(self) -> dict[str, Any]:
        """Return copies of everything that decides the future; ``generator`` is the random generator's state."""

    @abstractmethod
    def restore(self, snapshot: dict[str, Any]) -> None:
        """Return to a snapshot, whose tensors may be on another device."""

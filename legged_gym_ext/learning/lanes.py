"""Lanes: each policy has its own episodes on the one environment."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from legged_gym_ext.envs.base import Environment
from legged_gym_ext.learning.statistics import EpisodeStatistics


class Lane:
    """The episodes of one policy, with a curriculum and statistics of their own.

    Lanes share an environment in turns. The first one's episodes are in the environment whenever no other has its turn.

    Args:
        env: The environment.
        device: Of the statistics.
    """

    def __init__(self, env: Environment, device: torch.device | str) -> None:
        self.statistics = EpisodeStatistics(env.num_envs, device, len(env.terrain_kinds), env.terrain_levels)
        self.snapshot: dict[str, Any] | None = None
        """Where the lane left the environment; None = where the environment is between turns."""
        self._env = env

    def begin(self) -> None:
        """Have episodes of its own from now on, which begin where the environment is."""
        self.snapshot = self._env.snapshot()

    def join(self) -> None:
        """Go on from where the environment is between turns: at the levels that the first lane has climbed to."""
        if self.snapshot is not None:
            self.begin()

    def state(self) -> dict[str, Any]:
        """Return where the lane left the environment."""
        return self._env.snapshot() if self.snapshot is None else self.snapshot

    @contextmanager
    def turn(self) -> Iterator[Environment]:
        """Put the environment to where the lane left it, and afterwards back to where it was."""
        if self.snapshot is None:
            yield self._env
            return
        between_turns = self._env.snapshot()
        self._env.restore(self.snapshot)
        yield self._env
        self.snapshot = self._env.snapshot()
        self._env.restore(between_turns)

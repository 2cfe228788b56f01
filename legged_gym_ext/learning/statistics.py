"""How the episodes of one lane go."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

MEASURES = ("return", "episode_length", "success_rate", "progress")
_STATE = ("running", "last", "finished", "level", "kind", "last_kind", "places")

COUNTS = "Health/"
"""Beginning of the names under which an environment logs how many there are of something, rather than a mean."""


class EpisodeStatistics:
    """Means over environments of each one's last finished episode.

    That weighs all environments alike, where the mean of the last hundred episodes to finish favours short ones, and
    it needs nothing from the host while steps are added.

    Besides, it counts episodes and successes by kind of terrain and level, where the environment tells of them. There
    each episode counts, as in evaluate.py, but for each environment's first one, which may have begun at a random age.

    Args:
        num_envs: Environments.
        device: Of the tensors.
        kinds: How many kinds of terrain ``extras["terrain_kind"]`` tells apart; 0 = it is not there.
        levels: How many levels these have.
    """

    def __init__(self, num_envs: int, device: torch.device | str, kinds: int = 0, levels: int = 0) -> None:
        self.running = torch.zeros(2, num_envs, device=device)
        """Return and length of the episodes under way."""
        self.last = torch.zeros(len(MEASURES), num_envs, device=device)
        """The measures of each environment's last finished episode; zeros where none is."""
        self.finished = torch.zeros(num_envs, dtype=torch.bool, device=device)
        """Whether an environment has finished one."""
        self.level = torch.zeros(num_envs, device=device)
        """Terrain level of each environment."""
        self.kind = torch.full((num_envs,), -1, dtype=torch.int64, device=device)
        """Kind of terrain of each environment; -1 as long as it has not told."""
        self.last_kind = self.kind.clone()
        """Kind of terrain of each environment's last finished episode; -1 = none is finished, or it is not known."""
        self.places = torch.zeros(2, kinds, levels, dtype=torch.int64, device=device)
        """Episodes, and successful ones among them, that ended since the last ``pop_places``."""
        self._log: dict[str, tuple[Tensor, int]] = {}

    def add(self, rewards: Tensor, dones: Tensor, extras: dict) -> None:
        """Add a step of all environments: rewards and dones (num_envs,), and the environment's extras."""
        done = dones.bool()
        self.running[0] += rewards
        self.running[1] += 1
        episode = torch.stack(
            [*self.running, extras["success"].to(self.running).flatten(), extras["progress"].to(self.running).flatten()]
        )
        if self.places.numel():
            self._count(done & self.finished, episode[2] > 0, extras)
            self.last_kind = torch.where(done, self.kind, self.last_kind)
        self.last = torch.where(done, episode, self.last)
        self.finished = self.finished | done
        self.running = torch.where(done, 0.0, self.running)
        self.level = extras["terrain_level"].to(self.running)
        for key, value in extras.get("log", {}).items():
            total, count = self._log.get(key, (torch.zeros_like(self.level[0]), 0))
            mean = value.to(self.running).mean() if isinstance(value, Tensor) else value
            self._log[key] = (total + mean, count + 1)

    def _count(self, ended: Tensor, success: Tensor, extras: dict) -> None:
        """Count the episodes that ``ended``, (num_envs,) bool, where they were."""
        self.kind, level = (extras[name].to(self.kind) for name in ("terrain_kind", "terrain_level"))
        counts = torch.stack([ended, ended & success]).to(self.places)
        self.places.view(2, -1).index_add_(1, self.kind * self.places.shape[2] + level, counts)

    def pop_places(self) -> list[list[list[int]]]:
        """Return episodes and successful ones, by kind and level, and begin to count anew."""
        counts = self.places.tolist()
        self.places.zero_()
        return counts

    def by_kind(self) -> list[list[float]]:
        """Return how many of the last finished episodes were on each kind of terrain, and successful; (K, 2)."""
        if not self.places.numel():
            return []
        counts = torch.zeros(2, self.places.shape[1], device=self.last.device)
        known = self.last_kind >= 0
        success = self.last[MEASURES.index("success_rate")]
        counts.index_add_(1, self.last_kind.clamp(min=0), torch.stack([known, known * success]))
        return counts.T.tolist()

    def totals(self) -> list[float]:
        """Return what :func:`summarize` wants: environments, finished ones, sums of levels and of the measures."""
        sums = self.last.sum(dim=1)
        return [len(self.level), *torch.stack([self.finished.sum(), self.level.sum(), *sums]).tolist()]

    def summary(self) -> dict[str, float]:
        """Return the means by name; those of episodes only once one is finished."""
        return summarize([self.totals()])

    def pop_log(self) -> dict[str, float]:
        """Return the means of the environment's own log since the last call, by name."""
        keys = list(self._log)
        means = torch.stack([total / count for total, count in self._log.values()]).tolist() if keys else []
        self._log = {}
        return dict(zip(keys, means, strict=True))

    def state_dict(self) -> dict[str, Tensor]:
        """Return copies of all that the next summary depends on."""
        return {name: getattr(self, name).clone() for name in _STATE}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Go on from what :meth:`state_dict` returned."""
        for name, value in state.items():
            setattr(self, name, value.to(self.running.device, copy=True))


def summarize(totals: Sequence[Sequence[float]]) -> dict[str, float]:
    """Return the means over all ranks by name; those of episodes only once one is finished."""
    envs, finished, levels, *sums = (sum(column) for column in zip(*totals, strict=True))
    result = {"terrain_level": levels / envs}
    if finished > 0:
        result |= {name: value / finished for name, value in zip(MEASURES, sums, strict=True)}
    return result


def merge_logs(logs: Sequence[dict[str, float]]) -> dict[str, float]:
    """Return one log from all ranks': means of means, sums of counts."""
    return {name: sum(log[name] for log in logs) / (1 if name.startswith(COUNTS) else len(logs)) for name in logs[0]}

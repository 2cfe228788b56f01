"""How the episodes of one lane go."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

MEASURES = ("return", "episode_length", "success_rate", "progress")

COUNTS = "Health/"
"""Beginning of the names under which an environment logs how many there are of something, rather than a mean."""


class EpisodeStatistics:
    """Means over environments of each one's last finished episode.

    That weighs all environments alike, where the mean of the last hundred episodes to finish favours short ones, and
    it needs nothing from the host while steps are added.

    Args:
        num_envs: Environments.
        device: Of the tensors.
    """

    def __init__(self, num_envs: int, device: torch.device | str) -> None:
        self.running = torch.zeros(2, num_envs, device=device)
        """Return and length of the episodes under way."""
        self.last = torch.zeros(len(MEASURES), num_envs, device=device)
        """The measures of each environment's last finished episode."""
        self.finished = torch.zeros(num_envs, dtype=torch.bool, device=device)
        """Whether an environment has finished one."""
        self.level = torch.zeros(num_envs, device=device)
        """Terrain level of each environment."""
        self._log: dict[str, tuple[Tensor, int]] = {}

    def add(self, rewards: Tensor, dones: Tensor, extras: dict) -> None:
        """Add a step of all environments: rewards and dones (num_envs,), and the environment's extras."""
        done = dones.bool()
        self.running[0] += rewards
        self.running[1] += 1
        episode = torch.stack(
            [*self.running, extras["success"].to(self.running).flatten(), extras["progress"].to(self.running).flatten()]
        )
        self.last = torch.where(done, episode, self.last)
        self.finished = self.finished | done
        self.running = torch.where(done, 0.0, self.running)
        self.level = extras["terrain_level"].to(self.running)
        for key, value in extras.get("log", {}).items():
            total, count = self._log.get(key, (torch.zeros_like(self.level[0]), 0))
            mean = value.to(self.running).mean() if isinstance(value, Tensor) else value
            self._log[key] = (total + mean, count + 1)

    def totals(self) -> list[float]:
        """Return what :func:`summarize` wants: environments, finished ones, sums of levels and of the measures."""
        sums = torch.where(self.finished, self.last, 0.0).sum(dim=1)
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
        return {name: getattr(self, name).clone() for name in ("running", "last", "finished", "level")}

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

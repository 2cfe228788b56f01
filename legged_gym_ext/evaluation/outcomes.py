"""Counting how the episodes of a policy end, and the table of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from legged_gym_ext.envs.outcome import SUMMARY
from legged_gym_ext.learning.statistics import COUNTS


def share_out(episodes: int, num_envs: int) -> Tensor:
    """Return how many of ``episodes`` each environment plays, (num_envs,) long: as equal shares as possible."""
    return episodes // num_envs + (torch.arange(num_envs) < episodes % num_envs).long()


@dataclass(frozen=True)
class Summary:
    """Means over episodes."""

    episodes: int
    shares: dict[str, float]
    """How many ended how, by the words of ``SUMMARY``."""
    distance: float
    """Furthest along the course, m."""
    time: float
    """Length of an episode, s."""
    total_reward: float
    """Return of an episode, undiscounted."""
    speed: float
    """All distance over all time, m/s."""


class EpisodeCount:
    """The results of each environment's first episodes, a number that is fixed beforehand.

    To take whichever episodes end first would favour short ones: falls.

    Args:
        kinds: Terrain kind of each environment, (num_envs,) long.
        quota: Episodes of each environment that count, (num_envs,) long.
        step_time: Length of a control step, s.
    """

    def __init__(self, kinds: Tensor, quota: Tensor, step_time: float) -> None:
        self.kinds, self.quota = kinds.cpu(), quota.cpu()
        self._step_time = step_time
        self._ended = torch.zeros_like(self.quota)
        self._steps = torch.zeros_like(self.quota)
        self._return = torch.zeros(len(self.quota))
        self._results: list[Tensor] = []
        self.health: dict[str, float] = {}
        """In how many steps of environments something went wrong, by name."""

    @property
    def complete(self) -> bool:
        """Whether all episodes that count have ended."""
        return bool((self._ended >= self.quota).all())

    def add(self, rewards: Tensor, dones: Tensor, extras: dict[str, Any]) -> None:
        """Add a step of all environments: rewards (num_envs,), dones (num_envs,) bool and the environment's extras."""
        dones = dones.cpu()
        self._steps += 1
        self._return += rewards.cpu()
        counts = dones & (self._ended < self.quota)
        columns = [
            self.kinds,
            extras["outcome"].cpu(),
            extras["progress"].cpu(),
            self._steps * self._step_time,
            self._return,
        ]
        for key, count in extras.get("log", {}).items():
            if key.startswith(COUNTS):
                name = key.removeprefix(COUNTS)
                self.health[name] = self.health.get(name, 0.0) + float(count)
        self._results.append(torch.stack([column[counts].double() for column in columns], dim=1))
        self._ended += dones
        self._steps[dones] = 0
        self._return[dones] = 0.0

    def summary(self, kind: int | None = None) -> Summary | None:
        """Return the means over the episodes on terrain ``kind``, on all where it is None; None if there are none."""
        results = torch.cat(self._results) if self._results else torch.zeros(0, 5)
        if kind is not None:
            results = results[results[:, 0] == kind]
        if not len(results):
            return None
        outcome = results[:, 1].long()
        shares = {
            word: torch.isin(outcome, torch.tensor(ends)).double().mean().item() for word, ends in SUMMARY.items()
        }
        distance, time, total_reward = results[:, 2:].mean(dim=0).tolist()
        return Summary(len(results), shares, distance, time, total_reward, speed=distance / time)


def table(episodes: EpisodeCount, kinds: Sequence[str]) -> str:
    """Return the means as text: a line for each kind of terrain, and one for all episodes where there are several.

    Where the physics diverged or overflowed, a last line says how often.
    """
    summaries = {name: episodes.summary(kind) for kind, name in enumerate(kinds)}
    if len(summaries) > 1:
        summaries["all"] = episodes.summary()
    rows = [("terrain", "episodes", *SUMMARY, "distance", "length", "speed", "return")]
    for name, mean in summaries.items():
        if mean:
            distance, time, speed = f"{mean.distance:.2f} m", f"{mean.time:.1f} s", f"{mean.speed:.2f} m/s"
            shares = [f"{share:.0%}" for share in mean.shares.values()]
            rows.append((name, str(mean.episodes), *shares, distance, time, speed, f"{mean.total_reward:.2f}"))
    lines = [f"{name:<16}" + "".join(f"{cell:>10}" for cell in cells) for name, *cells in rows]
    if missing := [name for name, mean in summaries.items() if not mean]:
        lines.append(f"no episodes: {', '.join(missing)}")
    if wrong := [f"{name} {count:.0f}" for name, count in episodes.health.items() if count > 0]:
        lines.append(
            f"health: {', '.join(wrong)} (steps of environments; overflow: see sim.mujoco_warp.nconmax and njmax)"
        )
    return "\n".join(lines)

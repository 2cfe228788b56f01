"""What there is to be seen on a lane, on the host."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from legged_gym_ext.envs.parkour_env import ParkourEnv
from legged_gym_ext.evaluation.rollout import examples
from legged_gym_ext.learning.lanes import Lane


@dataclass(frozen=True)
class View:
    """A lane of one rank, or of several together."""

    places: NDArray[np.int64]
    """Episodes, and successful ones among them, by kind of terrain and level, since the last view; (2, K, L)."""
    kind: NDArray[np.int64]
    """Number of the kind of terrain that each environment has, (num_envs,)."""
    level: NDArray[np.int64]
    """Its level, (num_envs,)."""
    actions: NDArray[np.float32]
    """The newest ones, (n, 10), n <= num_envs: of the robots whose episode has had a step."""
    images: NDArray[np.float32] | None
    """What the policy sees, of one robot of each kind, as far as there is one: (k, rows, columns), -0.5 (near) to 0.5
    (far); None without a camera."""
    robots: NDArray[np.int64]
    """Whose images these are, (k,)."""


def look(env: ParkourEnv, lane: Lane) -> View | None:
    """Look at a lane, and begin to count its episodes anew; None where it has not begun."""
    statistics = lane.statistics
    kind = _host(statistics.kind)
    if (kind < 0).any():
        return None
    robots = examples(torch.from_numpy(kind))
    actions, images = env.glimpse(robots, lane.snapshot)
    return View(
        places=np.array(statistics.pop_places()),
        kind=kind,
        level=_host(statistics.level).astype(np.int64),
        actions=_host(actions),
        images=None if images is None else _host(images.float()),
        robots=np.array(robots),
    )


def join(views: Sequence[View]) -> View:
    """Return what the lane of all ranks shows; the images are the first one's."""
    first = views[0]
    return View(
        places=np.sum([view.places for view in views], axis=0),
        kind=np.concatenate([view.kind for view in views]),
        level=np.concatenate([view.level for view in views]),
        actions=np.concatenate([view.actions for view in views]),
        images=first.images,
        robots=first.robots,
    )


def _host(tensor: Tensor) -> NDArray:
    return tensor.detach().cpu().numpy().copy()

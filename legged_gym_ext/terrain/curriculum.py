"""The game-inspired curriculum: who crosses a course gets a harder one, who gets nowhere an easier one.

After Rudin et al., "Learning to Walk in Minutes Using Massively Parallel Deep Reinforcement Learning" (CoRL 2022).
Pure functions of tensors that never wait for a GPU; ``random`` is uniform in [0, 1), (N,).
"""

from __future__ import annotations

import torch
from torch import Tensor

from legged_gym_ext.config.schema import CurriculumConfig

_LEAST = 1.0  # m of the course that one must have crossed to move up, however little the commands asked for


def choose(random: Tensor, count: int) -> Tensor:
    """Turn random numbers into choices among 0 .. ``count`` - 1, (N,) long: of a variant, for example."""
    return (random * count).long()  # below count: the largest float32 under 1, times count, does not round up to it


def first_level(random: Tensor, config: CurriculumConfig) -> Tensor:
    """Return the levels (N,) long in [0, config.start_level] that environments start the training at."""
    return choose(random, config.start_level + 1)


def share_of(level: Tensor, full_at_level: float) -> Tensor:
    """Return how much of something that grows with the level there is at levels (N,): 0 to 1, (N,).

    Args:
        level: Levels, (N,).
        full_at_level: Level from which there is all of it, in equal steps from none at level 0; 0 = all everywhere.
    """
    if full_at_level == 0:
        return torch.ones_like(level, dtype=torch.float32)
    return (level / full_at_level).clamp(max=1.0)


def next_level(
    level: Tensor,
    finished: Tensor,
    progress: Tensor,
    commanded: Tensor,
    random: Tensor,
    levels: int,
    course_length: float,
    config: CurriculumConfig,
) -> Tensor:
    """Return the levels (N,) long of the next episodes.

    Args:
        level: Levels of the episodes so far, (N,) long.
        finished: Whether the episode is over, (N,) bool; the others keep their level.
        progress: Metres of the course that were crossed in the episode, (N,).
        commanded: Metres that the commands ask for in a whole episode, (N,).
        random: Uniform in [0, 1), (N,).
        levels: Number of levels. An environment that is promoted from the highest gets a random one, so that none is
            forgotten.
        course_length: Metres from the start line to the last waypoint.
        config: Shares, of the course or of the commanded distance if that is less, that promote and demote.
    """
    if not config.enabled:
        return level
    asked = commanded.clamp(max=course_length)  # who is told to walk slowly cannot reach the end in time
    promoted = progress >= (config.promote * asked).clamp(min=_LEAST)
    demoted = progress < config.demote * asked
    moved = (level + promoted.long() - demoted.long()).clamp(min=0)
    moved = torch.where(moved >= levels, choose(random, levels), moved)
    return torch.where(finished, moved, level)

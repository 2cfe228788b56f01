"""The game-inspired curriculum: who crosses a course gets a harder one, who gets nowhere an easier one.

After Rudin et al., "Learning to Walk in Minutes Using Massively Parallel Deep Reinforcement Learning" (CoRL 2022).
Pure functions of tensors that never wait for a GPU; ``random`` is uniform in [0, 1), (N,).
"""

from __future__ import annotations

import torch
from torch import Tensor

from legged_gym_ext.config.schema import CurriculumConfig

_LEAST = 1.0  # m of the course that one must have crossed to move up, however little the commands asked for


def choose(random: Tensor, count: int | Tensor) -> Tensor:
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
) -> tuple[Tensor, Tensor]:
    """Return the levels (N,) long of the next episodes, and who is promoted from the highest, (N,) bool.

    Args:
        level: Levels of the episodes so far, (N,) long.
        finished: Whether the episode is over, (N,) bool; the others keep their level.
        progress: Metres of the course that were crossed in the episode, (N,).
        commanded: Metres that the commands ask for in a whole episode, (N,).
        random: Uniform in [0, 1), (N,).
        levels: Number of levels. An environment that is promoted from the highest gets a random one, so that none is
            forgotten; and so does a share of the others, up to the level that they have reached.
        course_length: Metres from the start line to the last waypoint.
        config: Shares, of the course or of the commanded distance if that is less, that promote and demote; and the
            share that reviews.
    """
    if not config.enabled:
        return level, torch.zeros_like(finished)
    asked = commanded.clamp(max=course_length)  # who is told to walk slowly cannot reach the end in time
    promoted = progress >= (config.promote * asked).clamp(min=_LEAST)
    demoted = progress < config.demote * asked
    moved = (level + promoted.long() - demoted.long()).clamp(min=0)
    mastered = moved >= levels
    if config.review:
        again = random / config.review  # of those below 1, who review, as uniform as random is
        moved = torch.where(random < config.review, choose(again, moved + 1), moved)
    moved = torch.where(mastered, choose(random, levels), moved)
    return torch.where(finished, moved, level), mastered & finished


def by_kind(kind: Tensor, level: Tensor, kinds: int) -> tuple[Tensor, Tensor]:
    """Return how many environments are on each kind of terrain, and their mean level, 0 of a kind without any.

    Args:
        kind: Of each environment, (N,) long.
        level: Of each, (N,).
        kinds: How many there are, K.

    Returns:
        Both (K,), float32.
    """
    level = level.float()
    count, summed = level.new_zeros(2, kinds).index_add_(1, kind, torch.stack([torch.ones_like(level), level]))
    return count, summed / count.clamp(min=1)


def reassign(
    kind: Tensor, level: Tensor, mastered: Tensor, random: Tensor, levels: int, shares: Tensor, even_share: float
) -> tuple[Tensor, Tensor]:
    """Send environments that have mastered their kind of terrain to where more is to be learned.

    Of all environments, ``even_share`` is for the kinds in their proportions; the rest is for them in proportion to the
    levels that they have still to climb, on average. Who has mastered a kind that has more than that goes to one
    that has less, at a random level up to the mean one there.

    Args:
        kind: Of terrain, (N,) long.
        level: Of the next episodes, (N,) long.
        mastered: Who may go, (N,) bool.
        random: Uniform in [0, 1), (N,).
        levels: Number of levels.
        shares: The kinds' proportions, (K,), more than 0.
        even_share: 0 to 1.

    Returns:
        Kinds and levels, each (N,) long.
    """
    count, mean = by_kind(kind, level, len(shares))
    to_climb = (levels - mean) * shares
    wanted = len(kind) * torch.lerp(to_climb / to_climb.sum(), shares / shares.sum(), even_share)
    short = (wanted - count).clamp(min=0)
    # The kind in whose part of the sum of all shortages the random number falls.
    ends = short.cumsum(0)
    place = random * ends[-1]
    chosen = torch.searchsorted(ends, place, right=True).clamp(max=len(shares) - 1)
    within = ((place - (ends - short)[chosen]) / short[chosen].clamp(min=1e-6)).clamp(0, 1 - 1e-6)
    goes = mastered & (count > wanted.clamp(min=1))[kind] & (ends[-1] > 0)
    lowered = choose(within, mean[chosen].long() + 1)
    return torch.where(goes, chosen, kind), torch.where(goes, lowered, level)

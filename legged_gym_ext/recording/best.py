"""The best values of a training so far, and which of its checkpoints is the best."""

from __future__ import annotations

import math
from collections.abc import Mapping
from fnmatch import fnmatchcase

HIGHEST = ("SuccessRate/*", "Progress/*", "Return/*", "TerrainLevel/teacher", "TerrainLevel/student", "Evaluation/*")
LOWEST = ("Distill/loss",)
"""Patterns of the tags whose best value is kept."""
_EVALUATED, _LEVEL = "Evaluation/*all levels/{lane}", "TerrainLevel/{lane}"


def improve(best: dict[str, float], scalars: Mapping[str, float]) -> bool:
    """Put into ``best`` what of the scalars is better; return whether there was any."""
    improved = False
    for tag, value in scalars.items():
        sign = _sign(tag)
        if sign and math.isfinite(value) and (tag not in best or sign * value > sign * best[tag]):
            best[tag] = value
            improved = True
    return improved


def _sign(tag: str) -> int:
    """Return 1 where high values are good, -1 where low ones are, 0 where neither is."""
    if any(fnmatchcase(tag, pattern) for pattern in HIGHEST):
        return 1
    return -1 if any(fnmatchcase(tag, pattern) for pattern in LOWEST) else 0


def quality(newest: Mapping[str, float], lane: str, evaluated: bool) -> float | None:
    """Return how good a checkpoint is, None where that is not known.

    It is the success in the last evaluation of the training, where there are such (``runner.evaluate_every``), else the
    terrain level: in a curriculum the rate of success stays about the same while levels rise.

    Args:
        newest: Newest value of each tag.
        lane: Of the policy that counts.
        evaluated: Whether the training evaluates.
    """
    pattern = (_EVALUATED if evaluated else _LEVEL).format(lane=lane)
    values = [value for tag, value in newest.items() if fnmatchcase(tag, pattern) and math.isfinite(value)]
    return max(values, default=None)

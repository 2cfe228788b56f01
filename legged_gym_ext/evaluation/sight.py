"""What a policy is shown in place of what it sees: whoever does as well with a wrong image does not use the image."""

from __future__ import annotations

from collections.abc import Callable

import torch
from tensordict import TensorDict
from torch import Tensor

from legged_gym_ext.evaluation.episodes import TRUE
from legged_gym_ext.groups import DEPTH, NEW_FRAME, SCAN

Replacement = Callable[[Tensor, Tensor, Tensor], Tensor]
"""From the images, those at the start of each episode, and a blank one, all (num_envs, size), to what is shown."""

REPLACEMENTS: dict[str, Replacement] = {
    "blank": lambda images, first, blank: blank,
    "frozen": lambda images, first, blank: first,
    "other": lambda images, first, blank: images.roll(len(images) // 2 + 1, dims=0),
}
"""By name: nothing in sight; what was seen at the start of the episode; what a robot on another tile sees, of another
kind where there are several."""

_NOTHING = {DEPTH: 0.5, SCAN: 0.0}
"""A blank reading of each group: an image in which nothing is near enough; a scan of level ground."""


class Sight:
    """Replaces what a policy sees of the terrain, its depth image or its height scan.

    Args:
        group: The observation group that is the policy's view of the terrain.
        name: ``true``, or one of ``REPLACEMENTS``.
    """

    def __init__(self, group: str, name: str) -> None:
        self._group = group
        self._replace = None if name == TRUE else REPLACEMENTS[name]
        self._first: Tensor | None = None

    def show(self, observations: TensorDict, begins: Tensor) -> TensorDict:
        """Return the observations as the policy is to see them.

        Args:
            observations: By group, (num_envs, ...).
            begins: Whose episode begins with them, (num_envs,) bool.
        """
        if self._replace is None:
            return observations
        images = observations[self._group]
        first = images if self._first is None else torch.where(begins[:, None], images, self._first)
        self._first = first
        blank = torch.full_like(images, _NOTHING[self._group])
        shown = observations.clone(recurse=False)
        shown[self._group] = self._replace(images, first, blank)
        if NEW_FRAME in shown.keys():  # noqa: SIM118  # not in the keys themselves: a TensorDict compares tensors
            shown[NEW_FRAME] = torch.ones_like(shown[NEW_FRAME])
        return shown

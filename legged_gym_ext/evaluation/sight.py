"""What a policy is shown in place of what it sees: whoever does as well with a wrong image does not use the image."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from tensordict import TensorDict
from torch import Tensor

from legged_gym_ext.evaluation.episodes import TRUE
from legged_gym_ext.groups import DEPTH, NEW_FRAME, SCAN
from legged_gym_ext.sensors.depth_camera import CameraState
from legged_gym_ext.terrain.boxes import CENTER
from legged_gym_ext.terrain.solids import THICKNESS, block

if TYPE_CHECKING:
    from legged_gym_ext.envs.parkour_env import ParkourEnv

_NOTHING = {DEPTH: 0.5, SCAN: 0.0}
"""A blank reading of each group: an image in which nothing is near enough; a scan of level ground."""
_FAR = 100.0
"""m from the start to the end of the level ground: farther than any robot walks and camera sees."""


class Sight:
    """Replaces what a policy sees of the terrain, its depth image or its height scan.

    Args:
        env: The environment, right after its reset.
        group: The observation group that is the policy's view of the terrain.
        name: ``true``, or one of ``REPLACEMENTS``.
    """

    def __init__(self, env: ParkourEnv, group: str, name: str) -> None:
        self._env, self._group = env, group
        self._replace = None if name == TRUE else REPLACEMENTS[name]
        self._first: Tensor | None = None
        level = torch.tensor(block(-_FAR, _FAR, -_FAR, _FAR), dtype=torch.float32, device=env.device)
        self._ground = level.repeat(env.num_envs, 1, 1)
        self._camera: CameraState | None = None  # which looks at it
        self._generator = torch.Generator(env.device)  # of its noise: that of the environment's camera stays as it is

    def show(self, observations: TensorDict, begins: Tensor) -> TensorDict:
        """Return the observations as the policy is to see them; to be called once for each step.

        Args:
            observations: By group, (num_envs, ...).
            begins: Whose episode begins with them, (num_envs,) bool.
        """
        if self._replace is None:
            return observations
        shown = observations.clone(recurse=False)
        shown[self._group] = self._replace(self, observations[self._group], begins)
        if NEW_FRAME in shown.keys():  # noqa: SIM118  # not in the keys themselves: a TensorDict compares tensors
            shown[NEW_FRAME] = torch.ones_like(shown[NEW_FRAME])
        return shown

    def blank(self, images: Tensor, begins: Tensor) -> Tensor:
        """Return a view in which nothing is."""
        return torch.full_like(images, _NOTHING[self._group])

    def ground(self, images: Tensor, begins: Tensor) -> Tensor:
        """Return the view of level ground without an end, at the height of the robot's lower sole.

        It is drawn by the robot's own camera, at its true pose, rate, latency and noise: all that the robot feels of
        itself agrees with it, and it says nothing of the terrain. At the height of the start, ground would be far below
        a robot on a hill, as over a cliff.
        """
        env, sim = self._env, self._env.sim_state
        self._ground[:, 0, CENTER][:, 2] = sim.foot_pos[..., 2].amin(dim=1) - THICKNESS / 2
        if self._group == SCAN:
            return env.height_scan.scan(self._ground, sim.root_pos, sim.root_quat)
        camera = env.state.camera
        frames = torch.empty_like(camera.frames) if self._camera is None else self._camera.frames
        self._camera = replace(camera, frames=frames)  # mount and latency are the robot's
        env.take_frames(self._camera, begins, self._ground, self._generator)
        return env.camera.image(self._camera, env.state.episode_length)

    def frozen(self, images: Tensor, begins: Tensor) -> Tensor:
        """Return what was seen at the start of the episode."""
        self._first = images if self._first is None else torch.where(begins[:, None], images, self._first)
        return self._first

    def other(self, images: Tensor, begins: Tensor) -> Tensor:
        """Return what a robot on another tile sees, of another kind where there are several."""
        return images.roll(len(images) // 2 + 1, dims=0)


REPLACEMENTS: dict[str, Callable[[Sight, Tensor, Tensor], Tensor]] = {
    "blank": Sight.blank,
    "ground": Sight.ground,
    "frozen": Sight.frozen,
    "other": Sight.other,
}
"""By name: from the true images (num_envs, size), and whose episode begins (num_envs,) bool, to what is shown."""

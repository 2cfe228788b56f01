"""Watching a training: its own environments, as they are stepped, without changing or stopping anything."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from torch import Tensor

from legged_gym_ext.rendering.web.controls import Choice, Control, Slider, Switch, Value, checked, which_environment
from legged_gym_ext.rendering.web.sight import Sight, see

if TYPE_CHECKING:
    from legged_gym_ext.envs.parkour_env import ParkourEnv

_KEPT = 10.0  # s of what was seen that wait to be shown; older moments are dropped


class Watcher:
    """Looks on while a training steps an environment (it is a ``ParkourEnv.onlooker``).

    A rollout takes less time than it lasts in the simulation, and then the networks learn for a while: what was seen is
    kept and shown in real time meanwhile. The training's thread calls the object and ``begin``, the page's all else.

    Args:
        env: Whose steps.
        names: What the policies of the lanes, which take turns on it, are called, by lane.
    """

    def __init__(self, env: ParkourEnv, names: Mapping[str, str]) -> None:
        self.wanted = False
        """Whether somebody watches. If not, nothing is looked at: a step costs one look at this."""
        self.paused = False
        self.pace = 1.0
        """Shown time over real time."""
        self.index = 0
        """The environment that is watched."""
        self.iteration = 0
        """Of the training."""
        self._env, self._names = env, names
        self._lane = self._turn = next(iter(names))
        self._tape: deque[Sight] = deque(maxlen=round(_KEPT / env.dt))

    # ------------------------------------------------------------------ the training's thread

    def begin(self, lane: str, names: Mapping[str, str], iteration: int) -> None:
        """Note whose turn it is, and what the policies are called by now."""
        self._turn, self._names, self.iteration = lane, names, iteration

    def __call__(self, actions: Tensor, extras: Mapping[str, Any]) -> None:
        """Look at the environment after a step with ``actions`` (num_envs, 10) that brought the ``extras``."""
        if self.wanted and self._turn == self._lane:
            self._tape.append(see(self._env, self.index, {self._names[self._turn]: actions}, extras))

    # ------------------------------------------------------------------ the page's thread

    def controls(self) -> Sequence[Control]:
        """Return all controls; none of them changes what is trained."""
        names = self._names  # of one moment
        return [
            Switch("paused", "pause drawing", self.paused),
            Slider("pace", "times real time", 0.1, 4.0, 0.1, self.pace),
            *which_environment(self._env.num_envs, self.index),
            Choice("lane", "whose turns", tuple(names.values()), names[self._lane]),
        ]

    def set(self, name: str, value: Value) -> None:
        """Do what a control says.

        Raises:
            UserError: There is no such control, or its value is not allowed.
        """
        value = checked(self.controls(), name, value)
        match name:
            case "paused":
                self.paused = bool(value)
                self._tape.clear()
            case "pace":
                self.pace = float(value)
            case "environment":
                self.index = int(value)
                self._tape.clear()
            case "lane":
                self._lane = next(lane for lane, name in self._names.items() if name == value)
                self._tape.clear()

    def next(self) -> Sight | None:
        """Return the next moment to show; None where nothing new has been seen."""
        try:
            return self._tape.popleft()
        except IndexError:
            return None

    def status(self) -> str:
        """Return, in Markdown, what is watched."""
        return f"training, iteration {self.iteration + 1}: the **{self._names[self._lane]}**'s environments"

"""The interface of a learning phase."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from rsl_rl.algorithms import PPO
from rsl_rl.models import MLPModel
from tensordict import TensorDict
from torch import nn

from legged_gym_ext.config.schema import Config
from legged_gym_ext.envs.base import Environment
from legged_gym_ext.learning.lanes import Lane


@dataclass(frozen=True)
class Setting:
    """What phases are made from."""

    config: Config
    env: Environment
    obs: TensorDict
    """Observations by group, each (num_envs, size), on the networks' device."""
    obs_groups: dict[str, list[str]]
    """Which observation groups each network reads."""
    alg: PPO
    """PPO of the teacher, which rsl_rl's runner makes."""
    device: str
    """Of the networks."""
    bfloat16: bool
    """Whether to compute the costly layers, and to store images, in bfloat16."""
    lanes: Mapping[str, Lane]
    """Of all phases."""
    phases: Mapping[str, Phase]
    """Those made before."""

    def teacher_is_ready(self) -> bool:
        """Return whether the teacher is what PPO and the student begin with: no phase prepares it any more."""
        return all(phase.done for phase in self.phases.values())


@dataclass(frozen=True)
class Outcome:
    """What came of one run of a phase."""

    losses: dict[str, float]
    """What the log gets, by tag, ``section/name``; the console shows it by name."""
    seconds: dict[str, float]
    """What took how long, by activity, a name that no other phase uses."""
    spoiled: int = 0
    """Updates that were left out, up to the last one and without a sound one in between (updates.py)."""


class Phase(ABC):
    """Something that is learned, in turns with other phases: one object, of a class in one file.

    All ranks make the same calls in the same order, so every method may use ``collectives``.
    """

    title: ClassVar[str]
    """Name of its row on the console."""
    lane: ClassVar[str]
    """Whose episodes it plays. Phases of one lane go on with the same episodes; a new name makes a new lane."""
    done: bool = True
    """Whether nothing is left to be prepared for the phases that wait for that; most prepare nothing."""

    @classmethod
    def enabled(cls, config: Config) -> bool:
        """Return whether the configuration wants the phase; else it is not made."""
        return True

    @classmethod
    def learns(cls, config: Config) -> bool:
        """Return whether it takes turns. A phase that is enabled but rests is made for its networks, which are kept."""
        return True

    @classmethod
    def steps(cls, config: Config) -> int:
        """Return how many steps each environment takes in a run."""
        return 0

    @classmethod
    def stores(cls, config: Config) -> Collection[str]:
        """Return the observation groups of which it keeps each step of a run; there must be memory for that."""
        return ()

    @classmethod
    def make(cls, setting: Setting) -> Self:
        """Make the phase."""
        return cls()

    @property
    def over(self) -> bool:
        """Return whether it does not run any more: nobody needs to see on and on how it ended."""
        return False

    def skip(self) -> None:
        """Prepare nothing: what is loaded is of a run without this phase, whose teacher has learned without it."""
        return

    def count_anew(self) -> None:
        """Begin a new run with the networks that are loaded: what it was on the way to, it is on the way to from 0."""
        return

    def check(self) -> None:
        """Raise a UserError where it cannot begin with what is loaded."""
        return

    @abstractmethod
    def due(self, iteration: int) -> bool:
        """Return whether it runs in an iteration, the first of which is 0. All ranks must return the same.

        It is asked when the phases before it have run. What the answer depends on must survive a restart: it belongs
        to its state, or to a lane's statistics.
        """

    @abstractmethod
    def run(self, lane: Lane) -> Outcome:
        """Do its part of an iteration.

        Args:
            lane: Its lane. It acts within ``lane.turn()``, and adds each step to ``lane.statistics``.
        """

    def policy(self) -> MLPModel | None:
        """Return the network that acts on its lane, None as long as that has not learned anything."""
        return None

    @property
    def policy_name(self) -> str:
        """Return what people are told that :meth:`policy` is; in the log its numbers are the lane's."""
        return self.lane

    def modules(self) -> Sequence[nn.Module]:
        """Return the networks that it trains, which must be the same on all ranks."""
        return ()

    def state_dict(self) -> dict[str, Any]:
        """Return what decides how it goes on, tensors and plain data, as far as it is the same on all ranks."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what :meth:`state_dict` returned, with the configuration of this run."""
        if state:
            raise ValueError(f"a state of the phase '{self.title}', which keeps none")

    def own_state(self) -> Any:
        """Return what only this rank has, tensors and plain data: what belongs to its environments."""
        return None

    def load_own_state(self, state: Any) -> None:
        """Go on from what :meth:`own_state` returned."""
        if state is not None:
            raise ValueError(f"a state of the phase '{self.title}', which keeps none")

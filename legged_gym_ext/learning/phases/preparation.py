"""What the phases have in common that prepare the teacher: they take their turns on its lane until they are done."""

from __future__ import annotations

from typing import Any

from legged_gym_ext.config.schema import Config
from legged_gym_ext.learning.phases.base import Phase
from legged_gym_ext.learning.phases.ppo import TeacherPPO


class Preparation(Phase):
    """A phase for which the teacher's own learning waits, and the student."""

    lane = TeacherPPO.lane

    def __init__(self) -> None:
        self.rounds = 0
        """Iterations so far."""
        self.done = False

    @classmethod
    def enabled(cls, config: Config) -> bool:
        """Return whether the teacher is to be guided."""
        return config.guided

    @classmethod
    def learns(cls, config: Config) -> bool:
        """Return whether the teacher is still being trained."""
        return TeacherPPO.learns(config)

    @property
    def over(self) -> bool:
        """Return whether it is done."""
        return self.done

    def skip(self) -> None:
        """Leave the teacher as it is."""
        self.done = True

    def load_progress(self, state: dict[str, Any]) -> None:
        """Go on from where a state is."""
        self.rounds, self.done = int(state["rounds"]), bool(state["done"])

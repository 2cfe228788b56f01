"""The phases of learning, one file each (their interface: base.py)."""

from __future__ import annotations

from legged_gym_ext.config.schema import Config
from legged_gym_ext.learning.phases.base import Phase
from legged_gym_ext.learning.phases.distillation import Distillation
from legged_gym_ext.learning.phases.finetune import Finetune
from legged_gym_ext.learning.phases.guide import Guide
from legged_gym_ext.learning.phases.imitation import Imitation
from legged_gym_ext.learning.phases.ppo import TeacherPPO

PHASES: dict[str, type[Phase]] = {
    "guide": Guide,
    "imitation": Imitation,
    "ppo": TeacherPPO,
    "distillation": Distillation,
    "finetune": Finetune,
}
"""By name, in the order in which they run in an iteration. A phase's state is in the checkpoint by this name."""


def register(name: str, phase: type[Phase]) -> None:
    """Add a phase from outside of the package; it runs after those that are there.

    Raises:
        ValueError: There is a phase of that name, or the class is none, or has no title or lane.
    """
    if name in PHASES:
        raise ValueError(f"there is a phase '{name}' already")
    if not issubclass(phase, Phase) or not hasattr(phase, "title") or not hasattr(phase, "lane"):
        raise ValueError(f"phase '{name}': expected a subclass of Phase with title and lane, got {phase.__name__}")
    PHASES[name] = phase


def enabled_phases(config: Config) -> dict[str, type[Phase]]:
    """Return the phases that the configuration wants."""
    return {name: phase for name, phase in PHASES.items() if phase.enabled(config)}

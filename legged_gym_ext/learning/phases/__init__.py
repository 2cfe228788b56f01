"""The phases of learning, one file each (their interface: base.py)."""

from __future__ import annotations

from legged_gym_ext.config.schema import Config
from legged_gym_ext.learning.phases.base import Phase
from legged_gym_ext.learning.phases.distillation import Distillation
from legged_gym_ext.learning.phases.ppo import TeacherPPO

PHASES: dict[str, type[Phase]] = {
    "ppo": TeacherPPO,
    "distillation": Distillation,
}
"""By name, in the order in which they run in an iteration. A phase's state is in the checkpoint by this name."""


def register(name: str, phase: type[Phase]) -> None:
    """Add a phase, which runs after those that are there, or replace the one of that name."""
    PHASES[name] = phase


def enabled_phases(config: Config) -> dict[str, type[Phase]]:
    """Return the phases that the configuration wants."""
    return {name: phase for name, phase in PHASES.items() if phase.enabled(config)}

"""What in a training somebody should look at: physics or updates that diverge, a curriculum that stands still."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

DIVERGED, LEFT_OUT = "Health/diverged/", "updates_left_out"
_LEVEL = "TerrainLevel/"
WORSE = 10.0
"""How many times as many there must be for another alert."""
PATIENCE, RISE = 500, 0.1
"""Iterations within which the level of a lane rises by so much, or else stands still."""
ENOUGH = 0.6
"""Share of the highest level from which a curriculum may stand still: where all are mastered the mean settles at 0.67,
a little lower with ``curriculum.even_share``, as who passes the last one gets a random one."""


@dataclass
class Watch:
    """Looks at each iteration's scalars.

    Args:
        highest: Terrain level, the last one of the curriculum; 0 = there is no curriculum.
    """

    highest: int
    _told: dict[str, float] = field(default_factory=dict)
    """The largest number that was told, by tag."""
    _level: dict[str, tuple[float, int]] = field(default_factory=dict)
    """Level of each lane when it last rose, and the iteration."""
    _phases: dict[str, set[str]] = field(default_factory=dict)
    """The phases that each lane has had turns of."""

    def look(
        self, scalars: Mapping[str, float], iteration: int, turns: Mapping[str, Collection[str]]
    ) -> list[tuple[str, str]]:
        """Return alerts, each with its title and its text.

        Args:
            scalars: Of the iteration, by tag.
            iteration: The iteration.
            turns: The phases that ran in it, by their lane, which may have had none.
        """
        return [*self._diverging(scalars, iteration), *self._standing_still(scalars, iteration, turns)]

    def _diverging(self, scalars: Mapping[str, float], iteration: int) -> list[tuple[str, str]]:
        alerts = []
        for tag, value in scalars.items():
            physics = tag.startswith(DIVERGED)
            if not (physics or tag.endswith(LEFT_OUT)) or not value > WORSE * self._told.get(tag, 0.0):
                continue
            self._told[tag] = value
            what = (
                "environments per step, whose physics diverged"
                if physics
                else "updates, whose gradients were not finite"
            )
            alerts.append(("diverged", f"iteration {iteration}: {value:.3g} {what} ({tag})"))
        return alerts

    def _standing_still(
        self, scalars: Mapping[str, float], iteration: int, turns: Mapping[str, Collection[str]]
    ) -> list[tuple[str, str]]:
        """Look at the lanes that train: who waits does not stand still, and who is new begins from where it is."""
        alerts = []
        for lane, phases in turns.items():
            level, known = scalars.get(_LEVEL + lane), self._phases.setdefault(lane, set())
            if level is None or not phases:
                continue
            if not known.issuperset(phases):
                known.update(phases)
                self._level.pop(lane, None)
            best, since = self._level.get(lane, (level - RISE, iteration))
            if level >= best + RISE or level >= ENOUGH * self.highest or iteration < since:
                self._level[lane] = (level, iteration)
            elif iteration - since >= PATIENCE:
                self._level[lane] = (best, iteration)  # which is told again after as long a time
                alerts.append(
                    (
                        "curriculum stands still",
                        f"iteration {iteration}: the {lane}'s terrain level, {level:.2f} of {self.highest}, has not "
                        f"risen by {RISE} within {PATIENCE} iterations",
                    )
                )
        return alerts

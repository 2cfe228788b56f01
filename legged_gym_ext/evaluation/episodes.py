"""What is known of single episodes: the table that all figures of a report are computed from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np

from legged_gym_ext.envs.outcome import Outcome

NOMINAL, RANDOMIZED = "nominal", "randomized"
"""Settings without and with all disturbances, see benchmark.py."""
TRUE = "true"
"""The sight of a policy that is shown its image itself."""


@dataclass(frozen=True)
class Unit:
    """A piece of an evaluation that is run at once: one level of all kinds of terrain, under the same conditions."""

    setting: str
    """``nominal``, ``randomized``, or a robustness sweep's ``<sweep>=<value>``."""
    policy: str
    """``student`` or ``teacher``."""
    sight: str
    """What the policy is shown in place of its image, see sight.py; ``true`` is the image itself."""
    level: int

    @property
    def name(self) -> str:
        """Of its file."""
        return f"{self.setting}_{self.policy}_{self.sight}_level{self.level}"


@dataclass(frozen=True)
class Episodes:
    """A row for each episode, (E,) arrays. Units with the same level have the same tiles and starts, row for row."""

    kind: np.ndarray
    """Name of the kind of terrain, str."""
    tile: np.ndarray
    """Which of its tiles at this level, int64."""
    outcome: np.ndarray
    """:class:`Outcome`, int64."""
    time: np.ndarray
    """Length of the episode, s, float64; as all that follows."""
    distance: np.ndarray
    """Furthest along the course, m."""
    waypoints: np.ndarray
    """Share of the waypoints that were reached."""
    edge_violations: np.ndarray
    """Mean number of feet that stand near an edge, over the control steps."""
    speed: np.ndarray
    """Mean speed toward the next waypoint, m/s."""
    speed_error: np.ndarray
    """Mean of the absolute difference between that speed and the commanded one, m/s."""
    work: np.ndarray
    """Of all joints, sum of abs(torque x velocity) over time, J."""
    weight: np.ndarray
    """Of the robot with its payload, N."""
    foot_slip: np.ndarray
    """Mean horizontal speed of the feet that touch the ground, m/s."""
    torque_peak: np.ndarray
    """Largest torque of any joint as a share of that joint's limit."""

    def __len__(self) -> int:
        """Return the number of episodes."""
        return len(self.kind)

    @property
    def success(self) -> np.ndarray:
        """Whether the last waypoint was reached, (E,) bool."""
        return self.outcome == Outcome.FINISHED

    def of_kind(self, kind: str) -> Episodes:
        """Return the episodes on one kind of terrain, in their order."""
        return self.where(self.kind == kind)

    def where(self, rows: np.ndarray) -> Episodes:
        """Return the rows (E,) bool."""
        return Episodes(**{column: values[rows] for column, values in self.columns().items()})

    def columns(self) -> dict[str, np.ndarray]:
        """Return the arrays by name."""
        return {item.name: getattr(self, item.name) for item in fields(self)}

    @staticmethod
    def join(parts: Sequence[Episodes]) -> Episodes:
        """Return one table of several, which must not be none."""
        return Episodes(
            **{item.name: np.concatenate([getattr(part, item.name) for part in parts]) for item in fields(Episodes)}
        )

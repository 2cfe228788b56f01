"""The figures of a report: success and other measures of every cell, computed from its episodes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from legged_gym_ext.envs.outcome import ENDS
from legged_gym_ext.evaluation.episodes import TRUE, Episodes, Unit
from legged_gym_ext.evaluation.intervals import wilson
from legged_gym_ext.evaluation.selection import ALL, Results, in_order, kinds_in
from legged_gym_ext.evaluation.sweeps import setting_parts


@dataclass(frozen=True)
class Cell:
    """Episodes of one policy under the same conditions. Measures are None where no episode has a finite value."""

    setting: str
    policy: str
    sight: str
    kind: str
    """Of terrain; :data:`ALL` = all kinds together."""
    level: int | None
    """None = all levels together."""
    episodes: int
    success: float
    """Share of the episodes that reached the last waypoint."""
    success_low: float
    """Lower end of its 95 % Wilson interval."""
    success_high: float
    """Upper end of its 95 % Wilson interval."""
    distance: float | None
    """Mean of the furthest distance as a share of the course: extreme-parkour's MXD."""
    waypoints: float | None
    """Mean share of the waypoints that were reached."""
    edge_violations: float | None
    """Mean number of feet that stand near an edge: extreme-parkour's MEV."""
    speed: float | None
    """Mean speed toward the next waypoint, m/s."""
    speed_error: float | None
    """Mean absolute difference from the commanded speed, m/s."""
    cost_of_transport: float | None
    """Work of all joints in all episodes / sum of weight x distance; None where the distances sum to 0."""
    foot_slip: float | None
    """Mean horizontal speed of feet that touch the ground, m/s."""
    torque_peak: float | None
    """Mean of the episodes' peaks, as a share of the joint's limit."""
    torque_peak_max: float | None
    """Largest of the episodes' peaks."""
    time: float | None
    """Mean length of an episode, s."""
    outcomes: Mapping[str, int]
    """Number of episodes by the word for their end, those that did not happen too."""

    @property
    def failures(self) -> int:
        """Number of episodes that did not reach the last waypoint."""
        return self.episodes - round(self.success * self.episodes)


def summarize(results: Results, course_length: float, kinds: Sequence[str] = ()) -> list[Cell]:
    """Return a cell for each unit and kind, and one for all kinds of each unit.

    For the settings that are no sweep, with true sight, also the same of all levels together.

    Args:
        results: The episodes of each unit.
        course_length: Of all tiles, m.
        kinds: Order of the kinds; others follow as they appear in the results.
    """
    ordered = in_order(results)
    order = kinds_in(ordered, kinds)
    cells: list[Cell] = []
    levels: dict[tuple[str, str], list[Episodes]] = {}
    for unit, episodes in ordered.items():
        cells += _of_kinds(unit, unit.level, episodes, course_length, order)
        if unit.sight == TRUE and not setting_parts(unit.setting):
            levels.setdefault((unit.setting, unit.policy), []).append(episodes)
    for (setting, policy), parts in levels.items():
        unit = Unit(setting, policy, TRUE, level=-1)
        cells += _of_kinds(unit, None, Episodes.join(parts), course_length, order)
    return cells


def find(
    cells: Sequence[Cell], setting: str, policy: str, kind: str = ALL, level: int | None = None, sight: str = TRUE
) -> Cell | None:
    """Return the cell of these conditions; None where there is none."""
    wanted = (setting, policy, sight, kind, level)
    return next(
        (cell for cell in cells if (cell.setting, cell.policy, cell.sight, cell.kind, cell.level) == wanted), None
    )


def _of_kinds(
    unit: Unit, level: int | None, episodes: Episodes, course_length: float, order: Sequence[str]
) -> list[Cell]:
    parts = {kind: episodes.of_kind(kind) for kind in order} | {ALL: episodes}
    return [_cell(unit, kind, level, part, course_length) for kind, part in parts.items() if len(part)]


def _cell(unit: Unit, kind: str, level: int | None, episodes: Episodes, course_length: float) -> Cell:
    successes = int(episodes.success.sum())
    low, high = wilson(successes, len(episodes))
    return Cell(
        setting=unit.setting,
        policy=unit.policy,
        sight=unit.sight,
        kind=kind,
        level=level,
        episodes=len(episodes),
        success=successes / len(episodes),
        success_low=low,
        success_high=high,
        distance=_mean(episodes.distance / course_length),
        waypoints=_mean(episodes.waypoints),
        edge_violations=_mean(episodes.edge_violations),
        speed=_mean(episodes.speed),
        speed_error=_mean(episodes.speed_error),
        cost_of_transport=_cost_of_transport(episodes),
        foot_slip=_mean(episodes.foot_slip),
        torque_peak=_mean(episodes.torque_peak),
        torque_peak_max=_largest(episodes.torque_peak),
        time=_mean(episodes.time),
        outcomes={end.word: int((episodes.outcome == end).sum()) for end in ENDS},
    )


def _mean(values: np.ndarray) -> float | None:
    """Return the mean of the finite values: where the physics diverged, a measure may be none."""
    finite = values[np.isfinite(values)]
    return float(finite.mean()) if len(finite) else None


def _largest(values: np.ndarray) -> float | None:
    finite = values[np.isfinite(values)]
    return float(finite.max()) if len(finite) else None


def _cost_of_transport(episodes: Episodes) -> float | None:
    carried = episodes.weight * episodes.distance
    finite = np.isfinite(carried) & np.isfinite(episodes.work)
    total = float(carried[finite].sum())
    return float(episodes.work[finite].sum()) / total if total > 0 else None

"""What is told of a run: while it goes on, and at its end."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import numpy as np

from legged_gym_ext.deploy.runtime import Latency, LatencyHistogram, RobotState

PICTURE = 4, 8
"""Rows and columns in which an image is shown."""


@dataclass
class Report:
    """What happened in a run of the loop."""

    period: float
    """Of the loop, s."""
    phases: list[tuple[float, str]] = field(default_factory=list)
    """When, s after the start, which phase began."""
    reason: str = ""
    """Why the run ended."""
    failed: str = ""
    """The same if it was a fault; empty if the run ended as it should."""
    faults: Counter[str] = field(default_factory=Counter)
    """In how many cycles something was wrong, by what it was."""
    sent: int = 0
    """Commands."""
    limited: int = 0
    """Commands whose targets were held within their ranges or rates."""
    overruns: int = 0
    """Cycles that ended after the next one should have begun."""
    longest_overrun: float = 0.0
    """s."""
    seconds: float = 0.0
    """That the run took."""
    delays: LatencyHistogram = field(default_factory=LatencyHistogram)
    """By how much cycles began after their deadlines."""
    latency: Latency = field(default_factory=Latency)
    """Of the policy's parts."""

    def overran(self, late: float) -> None:
        """Count a cycle that ended ``late`` s after the next one should have begun."""
        self.overruns += 1
        self.longest_overrun = max(self.longest_overrun, late)

    def lines(self) -> list[str]:
        """Return the report as text."""
        ms = 1e3
        phases = ", ".join(f"{name} from {time:.2f} s" for time, name in self.phases) or "dry run only"
        wrong = ", ".join(f"{what} ({count} x)" for what, count in self.faults.most_common(5)) or "none"
        return [
            f"end: {self.failed or self.reason}",
            f"phases: {phases}",
            f"{self.delays.count} cycles of {self.period * ms:g} ms in {self.seconds:.1f} s; "
            f"{self.sent} commands sent, {self.limited} of them limited",
            f"cycles began late by: {self.delays}",
            f"policy: {self.latency.act}",
            f"images: {self.latency.set_depth}",
            f"overruns: {self.overruns}, longest {self.longest_overrun * ms:.1f} ms",
            f"faults: {wrong}",
        ]


def picture(image: np.ndarray, scale: float) -> str:
    """Return an image as a few rows of numbers, metres: the median of what has a depth in each part of it.

    Args:
        image: Planar depth, (height, width), uint16 or float metres.
        scale: Metres of one unit of uint16.
    """
    metres = image * scale if image.dtype.kind == "u" else image
    lines = []
    for strip in np.array_split(metres, PICTURE[0], axis=0):
        cells = []
        for part in np.array_split(strip, PICTURE[1], axis=1):
            seen = part[np.isfinite(part) & (part > 0)]
            cells.append(f"{np.median(seen):6.2f}" if len(seen) else "     -")
        lines.append("".join(cells))
    return "\n".join(lines)


def table(
    names: tuple[str, ...], state: RobotState, target: np.ndarray, stiffness: np.ndarray, damping: np.ndarray
) -> str:
    """Return what a robot measures, and what a command would make of it: targets, gains, and the motors' torques."""
    width = max(len(name) for name in names)
    lines = [
        f"{name:{width}}  " + "  ".join(f"{value:8.3f}" for value in getattr(state, name)) + unit
        for name, unit in (("projected_gravity", ""), ("base_ang_vel", "  rad/s"), ("base_lin_vel", "  m/s"))
    ]
    lines.append(f"{'joint':{width}}  measured    target      kp      kd  torque")
    torque = stiffness * (target - state.joint_pos) - damping * state.joint_vel
    rows = zip(names, state.joint_pos, target, stiffness, damping, torque, strict=True)
    lines += [f"{name:{width}}  {q:8.3f}  {t:8.3f}  {kp:6.1f}  {kd:6.2f}  {u:6.1f}" for name, q, t, kp, kd, u in rows]
    return "\n".join(lines)

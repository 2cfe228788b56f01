"""What is compared with what, the targets, and the tables made of the measured figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

Figures = Mapping[str, float]

TARGET_DEVICE, TARGET_ENVS = "H100", 4096
"""The targets for a GPU are of one such, with that many environments."""
CPU = "CPU"
"""Part of every CPU's name, see ``Case.device_name``. The targets for it hold for every number of environments."""

UNITS = {"steps/s": 1.0, "M rays/s": 1e6, "GB": 1e9, "s": 1.0, "us": 1e-6}


@dataclass(frozen=True)
class Target:
    """What a figure or its ratio shall reach."""

    value: float
    of_ratio: bool
    at_least: bool = True

    def is_met(self, figure: float, ratio: float | None) -> bool:
        """Return whether it is; a ratio that was not measured is none."""
        value = ratio if self.of_ratio else figure
        if value is None:
            return False
        return value >= self.value if self.at_least else value < self.value

    def text(self, unit: str) -> str:
        """Return it in the unit of the figure."""
        sign = ">=" if self.at_least else "<"
        return f"{sign} {_ratio(self.value)}" if self.of_ratio else f"{sign} {self.value / UNITS[unit]:,.0f} {unit}"


@dataclass(frozen=True)
class Comparison:
    """A figure beside its limit or its peers of the same run."""

    what: str
    figures: tuple[str, ...]
    """Names; the first that was measured counts."""
    unit: str
    against: str = ""
    peers: tuple[str, ...] = ()
    """Names; the largest that was measured counts."""
    target: Target | None = None
    """On a GPU."""
    cpu_target: Target | None = None


_BOXES = ("depth images", "depth images, 1 core(s)")
_BARE = ("bare physics with camera",)
COMPARISONS = (
    Comparison(
        "environment without camera",
        ("environment without camera",),
        "steps/s",
        "bare physics",
        ("bare physics without camera",),
        cpu_target=Target(0.85, of_ratio=True),
    ),
    Comparison(
        "environment with camera",
        ("environment with camera",),
        "steps/s",
        "bare physics",
        _BARE,
        Target(0.6, of_ratio=True),
    ),
    Comparison("training loop", ("training loop",), "steps/s", "bare physics", _BARE, Target(300e3, of_ratio=False)),
    Comparison("training loop", ("training loop",), "steps/s", "environment with camera", ("environment with camera",)),
    Comparison(
        "depth images",
        _BOXES,
        "M rays/s",
        target=Target(10e9, of_ratio=False),
        cpu_target=Target(60e6, of_ratio=False),
    ),
    Comparison(
        "depth images",
        _BOXES,
        "M rays/s",
        "Warp mesh BVH",
        ("mesh BVH, a mesh per tile", "mesh BVH, one terrain"),
        Target(10.0, of_ratio=True),
    ),
    Comparison("depth images", _BOXES, "M rays/s", "MuJoCo Warp renderer", ("MuJoCo Warp renderer",)),
    Comparison(
        "depth images",
        _BOXES,
        "M rays/s",
        "mj_multiRay",
        ("mj_multiRay",),
        cpu_target=Target(10.0, of_ratio=True),
    ),
    Comparison(
        "light student, control step",
        ("light student",),
        "us",
        "spec teacher",
        ("spec teacher",),
        cpu_target=Target(0.3, of_ratio=True, at_least=False),
    ),
    Comparison("spec student, control step", ("spec student",), "us", "spec teacher", ("spec teacher",)),
    Comparison("lean teacher, control step", ("lean teacher",), "us", "spec teacher", ("spec teacher",)),
    *(
        Comparison(
            f"{task}, lean",
            (f"{task}, lean",),
            "steps/s",
            "old recipe",
            (f"{task}, old",),
            cpu_target=Target(2.5, of_ratio=True),
        )
        for task in ("parkour_depth", "parkour_scandots")
    ),
    Comparison("memory of training", ("memory",), "GB", target=Target(20e9, of_ratio=False, at_least=False)),
)

GROWTH = {
    "bare physics, steps/s": ("bare physics with camera", "steps/s"),
    "environment, steps/s": ("environment without camera", "steps/s"),
    "with camera, steps/s": ("environment with camera", "steps/s"),
    "training loop, steps/s": ("training loop", "steps/s"),
    "PPO update, s": ("iteration: PPO update", "s"),
    "DAgger update, s": ("DAgger update", "s"),
    "memory, GB": ("memory", "GB"),
}
"""Columns of the table by number of environments: title -> figure and unit. Depth has columns of its own."""

DEPTH = (*_BOXES, "mesh BVH, a mesh per tile", "mesh BVH, one terrain", "MuJoCo Warp renderer", "mj_multiRay")


@dataclass(frozen=True)
class Row:
    """A comparison of one size."""

    num_envs: int
    comparison: Comparison
    figure: float
    peer: float | None
    target: Target | None
    """For this kind of device."""
    on_target: bool
    """Whether this is the device and the size that it is of."""

    @property
    def ratio(self) -> float | None:
        """Return figure / peer; None where there is no peer."""
        return self.figure / self.peer if self.peer else None

    @property
    def verdict(self) -> str:
        """Return met or missed, on the device and with the size that the target is of only."""
        if self.target is None or not self.on_target:
            return ""
        return "met" if self.target.is_met(self.figure, self.ratio) else "missed"

    def cells(self) -> list[str]:
        """Return the row's cells."""
        one, scale = self.comparison, UNITS[self.comparison.unit]
        peer = "" if self.peer is None else f"{one.against}: {_number(self.peer / scale)}"
        ratio = "" if self.ratio is None else _ratio(self.ratio)
        target = self.target.text(one.unit) if self.target else ""
        return [
            f"{self.num_envs}",
            one.what,
            f"{_number(self.figure / scale)} {one.unit}",
            peer,
            ratio,
            target,
            self.verdict,
        ]


def rows(figures: Mapping[int, Figures], device: str) -> list[Row]:
    """Return what can be compared of the ``figures`` by number of environments, measured on ``device`` (its name)."""
    result = []
    for num_envs, measured in sorted(figures.items()):
        for comparison in COMPARISONS:
            names = [name for name in comparison.figures if name in measured]
            peers = [measured[name] for name in comparison.peers if name in measured]
            if names and (peers or not comparison.peers):
                figure, peer = measured[names[0]], max(peers, default=None)
                if CPU in device:
                    result.append(Row(num_envs, comparison, figure, peer, comparison.cpu_target, on_target=True))
                else:
                    on_target = TARGET_DEVICE in device and num_envs == TARGET_ENVS
                    result.append(Row(num_envs, comparison, figure, peer, comparison.target, on_target))
    return result


def ratio_table(figures: Mapping[int, Figures], device: str) -> str:
    """Return the table of ratios, each of two figures of the same run."""
    title = ["environments", "what", "measured", "limit or peer", "ratio"]
    where = CPU if CPU in device else f"{TARGET_DEVICE}, {TARGET_ENVS} environments"
    title += [f"target ({where})", "verdict"]
    return table([title, *(row.cells() for row in rows(figures, device))])


def growth_table(figures: Mapping[int, Figures]) -> str:
    """Return how everything grows with the number of environments."""
    columns = dict(GROWTH) | {f"{name}, M rays/s": (name, "M rays/s") for name in DEPTH}
    columns = {title: c for title, c in columns.items() if any(c[0] in measured for measured in figures.values())}
    sizes = sorted(figures)
    lines = [["environments", *(str(size) for size in sizes)]]
    for title, (name, unit) in columns.items():
        values = (figures[size].get(name) for size in sizes)
        lines.append([title, *("" if value is None else _number(value / UNITS[unit]) for value in values)])
    return table(lines)


def table(lines: Sequence[Sequence[str]]) -> str:
    """Return rows of cells, the title first, as a Markdown table that can be read as it is."""
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    padded = ["| " + " | ".join(cell.ljust(w) for cell, w in zip(line, widths, strict=True)) + " |" for line in lines]
    return "\n".join([padded[0], "|" + "|".join("-" * (w + 2) for w in widths) + "|", *padded[1:]])


def _ratio(value: float) -> str:
    """Return a share as a percentage, a multiple as one."""
    return f"{value:.1%}" if value < 2 else f"{value:,.1f} x"


def _number(value: float) -> str:
    """Return three digits or more."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"

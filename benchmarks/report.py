"""What a run leaves behind: machine, figures and tables, as text, JSON and a picture."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

from benchmarks import ratios
from benchmarks.worker import OK, Record
from legged_gym_ext.device.cpu import available_cores

PACKAGES = ("torch", "mujoco", "mujoco-warp", "warp-lang", "numba", "rsl-rl-lib")
PANELS = {
    "environment steps/s": ("bare physics, steps/s", "environment, steps/s", "with camera, steps/s"),
    "training loop, environment steps/s": ("training loop, steps/s",),
    "memory of training, GB": ("memory, GB",),
}


@dataclass
class Report:
    """A run's records, in the order in which they were made."""

    device: str
    engine: str
    arguments: Sequence[str]
    records: list[Record] = field(default_factory=list)

    @property
    def device_name(self) -> str:
        """Return what the device is called, as far as a benchmark has told."""
        return next((record.device_name for record in self.records if record.device_name), self.device)

    @property
    def figures(self) -> dict[int, dict[str, float]]:
        """Return the measured figures of all benchmarks by number of environments."""
        result: dict[int, dict[str, float]] = {}
        for record in self.records:
            if record.status == OK and record.figures:
                result.setdefault(record.num_envs, {}).update(record.figures)
        return result

    def text(self) -> str:
        """Return the tables, and a line for everything that was not measured."""
        figures = self.figures
        parts = [f"{self.device_name}, engine {self.engine}"]
        if figures:
            parts += [ratios.growth_table(figures), ratios.ratio_table(figures, self.device_name)]
        missing = [record for record in self.records if record.status != OK]
        parts += [f"{record.benchmark}, {record.num_envs} environments: {record.status}" for record in missing]
        return "\n\n".join(parts)

    def write(self, folder: Path) -> None:
        """Write results.json, tables.md and growth.png into ``folder``."""
        folder.mkdir(parents=True, exist_ok=True)
        content = {"machine": machine(self.device_name), **asdict(self), "ratios": self._ratios()}
        (folder / "results.json").write_text(json.dumps(content, indent=1) + "\n")
        (folder / "tables.md").write_text(self.text() + "\n")
        if self.figures:
            draw(self.figures, folder / "growth.png", f"{self.device_name}, engine {self.engine}")

    def _ratios(self) -> list[dict[str, Any]]:
        return [
            {"num_envs": row.num_envs, "what": row.comparison.what, "against": row.comparison.against}
            | {"figure": row.figure, "peer": row.peer, "ratio": row.ratio, "verdict": row.verdict}
            for row in ratios.rows(self.figures, self.device_name)
        ]


def machine(device_name: str) -> dict[str, Any]:
    """Return what the figures depend on besides the code."""
    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            versions[package] = None
    return {
        "device": device_name,
        "cores": available_cores(),
        "load_average": os.getloadavg()[0],
        "python": sys.version.split()[0],
        **versions,
    }


def draw(figures: dict[int, dict[str, float]], path: Path, title: str) -> None:
    """Draw how what was measured grows with the number of environments, a panel for each kind of figure."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    sizes = sorted(figures)
    lines = {name: {t: ratios.GROWTH[t] for t in titles} for name, titles in PANELS.items()}
    lines["depth, M rays/s"] = {name: (name, "M rays/s") for name in ratios.DEPTH}
    panels: dict[str, dict[str, list[tuple[int, float]]]] = {}
    for panel, figure_of in lines.items():
        for label, (name, unit) in figure_of.items():
            points = [(size, figures[size][name] / ratios.UNITS[unit]) for size in sizes if name in figures[size]]
            if points:
                panels.setdefault(panel, {})[label.removesuffix(", steps/s")] = points
    if not panels:
        return
    picture, axes = pyplot.subplots(
        1, len(panels), figsize=(5.5 * len(panels), 4.5), layout="constrained", squeeze=False
    )
    for axis, (panel, curves) in zip(axes.flat, panels.items(), strict=True):
        for label, points in curves.items():
            axis.plot(*zip(*points, strict=True), marker="o", label=label)
        axis.set(title=panel, xlabel="environments", xscale="log", xticks=sizes, xticklabels=sizes)
        axis.minorticks_off()
        if panel.startswith("depth"):  # ours and the peers' are orders of magnitude apart
            axis.set_yscale("log")
        else:
            axis.set_ylim(bottom=0)
        axis.grid(alpha=0.3)
        if len(curves) > 1:
            axis.legend()
    picture.suptitle(title)
    picture.savefig(path, dpi=100)
    pyplot.close(picture)

"""Pages of the API: one for each group of modules that a program of one's own imports; mkdocstrings fills them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from legged_gym_ext.paths import ROOT

GROUPS = {
    "tasks": (
        "Tasks and configuration",
        ["tasks", "config.fields", "config.sections", "config.files", "config.cli", "errors"],
    ),
    "terrain": (
        "Terrain",
        ["terrain.kinds", "terrain.course", "terrain.solids", "terrain.boxes", "terrain.library", "terrain.curriculum"],
    ),
    "environment": (
        "Environment",
        [
            "envs.parkour_env",
            "envs.state",
            "envs.derived",
            "envs.observations",
            "envs.rewards",
            "envs.terminations",
            "envs.randomization",
            "envs.commands",
            "robot",
            "rotations",
        ],
    ),
    "engines": ("Physics engines", ["simulators", "simulators.base"]),
    "sensors": ("Sensors", ["sensors.depth_camera", "sensors.height_scan", "sensors.raster"]),
    "networks": (
        "Networks",
        [
            "models.actor",
            "models.teacher",
            "models.student",
            "models.encoders",
            "models.encoders.base",
            "models.encoders.options",
        ],
    ),
    "learning": (
        "Learning",
        [
            "learning.runner",
            "learning.lanes",
            "learning.phases",
            "learning.phases.base",
            "runs.checkpoint",
            "runs.folder",
        ],
    ),
    "deployment": (
        "Deployment",
        ["deploy.runtime", "deploy.hardware.driver", "deploy.hardware.loop", "deploy.hardware.protocol"],
    ),
}
"""Title and modules of each page."""


def pages() -> dict[str, Callable[[], str]]:
    """Return what writes each page, by where it would be if somebody had written it."""
    return {f"docs/reference/{name}.md": partial(_page, title, modules) for name, (title, modules) in GROUPS.items()}


def _page(title: str, modules: list[str]) -> str:
    parts = [f"# {title}"]
    for module in modules:
        path = ROOT / "legged_gym_ext" / module.replace(".", "/")
        source = (
            f"{path.relative_to(ROOT)}.py"
            if path.with_suffix(".py").is_file()
            else f"{path.relative_to(ROOT)}/__init__.py"
        )
        parts += [f"## `legged_gym_ext.{module}`", f"[Source](../../{source})", f"::: legged_gym_ext.{module}"]
    return "\n\n".join(parts) + "\n"

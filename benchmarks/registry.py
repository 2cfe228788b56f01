"""The benchmarks by name. Their modules are imported when they run."""

from __future__ import annotations

from importlib import import_module

from benchmarks.case import Case

DEFAULT = ("environment", "depth", "training")
OTHERS = ("networks", "recipe", "feet", "profile", "boundary")
NAMES = (*DEFAULT, *OTHERS)


def run(name: str, case: Case) -> dict[str, float]:
    """Print and return what the benchmark ``name`` measures: figures by name."""
    return import_module(f"benchmarks.{name}").run(case)

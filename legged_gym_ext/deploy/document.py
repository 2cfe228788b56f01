"""The README of an exported folder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

TEMPLATES = Path(__file__).parent / "templates"


def render(template: str, **values: Any) -> str:
    """Fill in a template of this package."""
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        undefined=StrictUndefined,
    )
    environment.filters["number"] = number
    environment.filters["numbers"] = numbers
    return environment.get_template(template).render(**values)


def number(value: float) -> str:
    """Return a number with at most four digits."""
    return f"{value:.4g}"


def numbers(values: list[float]) -> str:
    """Return numbers side by side, or the only one if all are the same."""
    return number(values[0]) if len(set(values)) == 1 else ", ".join(map(number, values))


def readme(values: Mapping[str, Any]) -> str:
    """Return the README for the engineer of a robot, in Markdown."""
    return render("README.md.j2", **values)

"""Blocks of code in a page, as a reader would use them: files with a title are written, commands are typed."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

_BLOCK = re.compile(r"^```(\w+)(?: title=\"([^\"]+)\")?\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass
class Recipe:
    title: str
    files: dict[str, str] = field(default_factory=dict)
    commands: list[str] = field(default_factory=list)


def recipes_in(text: str) -> list[Recipe]:
    """Return the sections of a page that have commands, each with its files and its commands, one a line."""
    found = []
    for section in re.split(r"^## ", text, flags=re.MULTILINE)[1:]:
        recipe = Recipe(section.split("\n", 1)[0])
        for language, title, code in _BLOCK.findall(section):
            if title:
                recipe.files[title] = code
            elif language == "sh":
                recipe.commands += [line for line in code.splitlines() if line and not line.startswith("#")]
        if recipe.commands:
            found.append(recipe)
    return found

"""Sections that a registry adds to the configuration: of an obstacle kind, an engine, a learning phase."""

from __future__ import annotations

from dataclasses import MISSING, dataclass, field, fields, is_dataclass
from keyword import iskeyword

_GENERATED = ("__init__", "__repr__", "__eq__", "__match_args__")
"""What ``dataclass`` writes by the fields, and leaves alone where it is there already."""


def add_section(owner: type, name: str, section: type) -> None:
    """Give the configuration section ``owner`` one more section, ``name``, with the defaults of ``section``.

    Both are dataclasses; ``owner`` stays the same class, so that every configuration that is made from now on has it.

    Raises:
        ValueError: ``name`` cannot be a key, or ``owner`` has something of that name; ``section`` is no dataclass, or
            has a field without a default. ``owner`` is then as it was.
    """
    present = fields(owner)
    if not name.isidentifier() or iskeyword(name):
        raise ValueError(f"'{name}' cannot be a key of the configuration: expected a name as in Python")
    if name in {item.name for item in present} or hasattr(owner, name):
        raise ValueError(f"{owner.__name__} has a '{name}' already")
    if not isinstance(section, type) or not is_dataclass(section):
        raise ValueError(f"the section '{name}' of the configuration: expected a dataclass, got {section!r}")
    for item in fields(section):
        if item.default is MISSING and item.default_factory is MISSING:
            raise ValueError(f"the section '{name}' of the configuration: its field '{item.name}' has no default")

    for item in present:  # dataclass() took those away that have a default_factory
        setattr(owner, item.name, item)
    owner.__annotations__[name] = section
    setattr(owner, name, field(default_factory=section))
    for attribute in _GENERATED:
        delattr(owner, attribute)
    dataclass(owner)

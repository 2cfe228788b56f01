"""Sections that a registry adds to the configuration: of an obstacle kind, an engine, a learning phase."""

from __future__ import annotations

from dataclasses import dataclass, field, fields

_GENERATED = ("__init__", "__repr__", "__eq__", "__match_args__")
"""What ``dataclass`` writes by the fields, and leaves alone where it is there already."""


def add_section(owner: type, name: str, section: type) -> None:
    """Give the configuration section ``owner`` one more section, ``name``, with the defaults of ``section``.

    Both are dataclasses; ``owner`` stays the same class, so that every configuration that is made from now on has it.

    Raises:
        ValueError: ``owner`` has a field of that name.
    """
    present = fields(owner)
    if name in {item.name for item in present}:
        raise ValueError(f"{owner.__name__} has a field '{name}' already")
    for item in present:  # dataclass() took those away that have a default_factory
        setattr(owner, item.name, item)
    owner.__annotations__[name] = section
    setattr(owner, name, field(default_factory=section))
    for attribute in _GENERATED:
        delattr(owner, attribute)
    dataclass(owner)

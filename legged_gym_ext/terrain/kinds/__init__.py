"""The kinds of obstacles: each a file with its configuration section and the function that makes its tiles."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, fields, is_dataclass
from typing import TYPE_CHECKING, Any

from numpy.random import Generator

from legged_gym_ext.config.sections import add_section
from legged_gym_ext.terrain.course import Tile
from legged_gym_ext.terrain.kinds.beams import BeamsConfig, beams
from legged_gym_ext.terrain.kinds.flat import FlatConfig, flat
from legged_gym_ext.terrain.kinds.gaps import GapsConfig, gaps
from legged_gym_ext.terrain.kinds.hurdles import HurdlesConfig, hurdles
from legged_gym_ext.terrain.kinds.ramps import RampsConfig, ramps
from legged_gym_ext.terrain.kinds.stairs import StairsConfig, stairs
from legged_gym_ext.terrain.kinds.stepping_stones import SteppingStonesConfig, stepping_stones
from legged_gym_ext.terrain.kinds.steps import StepsConfig, steps

if TYPE_CHECKING:
    from legged_gym_ext.terrain.config import TerrainConfig

    MakeTile = Callable[[float, Generator, Any, TerrainConfig], Tile]


@dataclass(frozen=True)
class Kind:
    """A kind of obstacle."""

    section: type
    """Its configuration, a dataclass with ``proportion`` among its fields: ``terrain.<name>`` in YAML."""
    make: MakeTile
    """``make(difficulty, rng, section, terrain)`` is a tile of a difficulty from 0 to 1."""


KINDS: dict[str, Kind] = {
    "flat": Kind(FlatConfig, flat),
    "steps": Kind(StepsConfig, steps),
    "gaps": Kind(GapsConfig, gaps),
    "hurdles": Kind(HurdlesConfig, hurdles),
    "stairs": Kind(StairsConfig, stairs),
    "stepping_stones": Kind(SteppingStonesConfig, stepping_stones),
    "ramps": Kind(RampsConfig, ramps),
    "beams": Kind(BeamsConfig, beams),
}
"""Every kind by name, which is also the name of its section in the configuration."""


def register(name: str, section: type, make: MakeTile) -> None:
    """Add a kind from outside of the package, before a configuration that uses it is read.

    Raises:
        ValueError: The section has no ``proportion: float``, or cannot be one of ``terrain`` (see ``add_section``), as
            where there is a kind of that name.
    """
    from legged_gym_ext.terrain.config import TerrainConfig  # which has a section for each of KINDS

    types = {item.name: item.type for item in fields(section)} if is_dataclass(section) else {}
    if types.get("proportion") not in (float, "float"):
        raise ValueError(f"the section of a kind of obstacle has a 'proportion: float'; that of '{name}' has none")
    add_section(TerrainConfig, name, section)
    KINDS[name] = Kind(section, make)


def only(kinds: Collection[str]) -> tuple[str, ...]:
    """Return the changes to a configuration that leave no kind of tile but ``kinds``, those in equal proportions."""
    return tuple(f"terrain.{kind}.proportion={float(kind in kinds)}" for kind in KINDS)

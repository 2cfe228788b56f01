"""The configuration section ``terrain``, apart from the others: a world of tiles needs no engine and no network."""

from __future__ import annotations

from dataclasses import dataclass

from legged_gym_ext.config.fields import count, number
from legged_gym_ext.config.sections import add_section
from legged_gym_ext.terrain.kinds import KINDS


@dataclass
class TerrainConfig:
    """The library of tiles. Besides what is here it has a section for each kind of obstacle (terrain/kinds)."""

    seed: int = number(0, at_least=0, at_most=2**63 - 1)  # larger ones are the benchmarks' (evaluation)
    levels: int = count(10, at_most=1000)  # difficulties, from 0 at the first to 1 at the last
    variants: int = count(4, at_most=1000)  # random variants of every (kind, level)
    length: float = number(12.0, at_least=1, at_most=1000)  # of the course, from the start line to the last waypoint
    width: float = number(4.0, at_least=1)  # of a tile
    waypoints: int = count(8, at_least=3)  # along the course


for _name, _kind in KINDS.items():
    add_section(TerrainConfig, _name, _kind.section)

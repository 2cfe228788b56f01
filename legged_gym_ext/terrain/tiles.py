"""Single tiles, by kind, level and number."""

from __future__ import annotations

import zlib

import numpy as np

from legged_gym_ext.errors import UserError
from legged_gym_ext.terrain.config import TerrainConfig
from legged_gym_ext.terrain.course import Tile
from legged_gym_ext.terrain.kinds import KINDS


def make(config: TerrainConfig, kind: str, level: int, variant: int) -> Tile:
    """Make one tile of a checked configuration. Its difficulty is 0 at level 0 and 1 at the top level."""
    difficulty = level / max(config.levels - 1, 1)
    rng = np.random.default_rng([config.seed, zlib.crc32(kind.encode()), level, variant])
    try:
        return KINDS[kind].make(difficulty, rng, getattr(config, kind), config)
    except UserError as error:
        raise UserError(f"terrain.{kind} at level {level}: {error}") from error

"""Single tiles, by kind, level and number."""

from __future__ import annotations

import zlib

import numpy as np

from legged_gym_ext.errors import UserError
from legged_gym_ext.terrain.boxes import BOX_DIM, MAX_BOXES
from legged_gym_ext.terrain.config import TerrainConfig
from legged_gym_ext.terrain.course import Tile
from legged_gym_ext.terrain.kinds import KINDS


def make(config: TerrainConfig, kind: str, level: int, variant: int) -> Tile:
    """Make one tile of a checked configuration. Its difficulty is 0 at level 0 and 1 at the top level.

    Raises:
        UserError: The configuration leaves no room for it, or the kind's function makes no tile.
    """
    difficulty = level / max(config.levels - 1, 1)
    rng = np.random.default_rng([config.seed, zlib.crc32(kind.encode()), level, variant])
    try:
        return _checked(KINDS[kind].make(difficulty, rng, getattr(config, kind), config), config)
    except UserError as error:
        raise UserError(f"terrain.{kind} at level {level}: {error}") from error


def _checked(tile: object, config: TerrainConfig) -> Tile:
    """Return what a kind's function has returned, which may be of a stranger, if it is a tile."""
    if not isinstance(tile, Tile):
        raise UserError(f"expected its function to return a Tile, got {type(tile).__name__}")
    number, *size = np.shape(tile.boxes)
    if size != [BOX_DIM] or not 0 < number <= MAX_BOXES:
        raise UserError(f"expected boxes (1 to {MAX_BOXES}, {BOX_DIM}), got {np.shape(tile.boxes)}")
    if np.shape(tile.waypoints) != (config.waypoints, 3):
        raise UserError(f"expected waypoints ({config.waypoints}, 3), got {np.shape(tile.waypoints)}")
    return tile

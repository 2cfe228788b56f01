"""The layout of a tile's boxes, which the collision geometry, the camera, the height scan and the viewer all read.

A box is one row of ``BOX_DIM`` numbers: centre (3, m), quaternion (4, (w, x, y, z), box to tile frame) and half sizes
(3, m). A tile has K rows; the rows that it does not need are ``ABSENT``: half sizes of zero, far below the ground.
"""

from __future__ import annotations

BOX_DIM = 10
CENTER = slice(0, 3)
QUAT = slice(3, 7)
HALF = slice(7, 10)
ABSENT = (0.0, 0.0, -1000.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
"""A row that is no box. Whether a row is one is told by its first half size alone: ``row[7] > 0``."""

MAX_BOXES = 32
"""K: rows of every tile."""

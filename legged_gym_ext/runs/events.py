"""The curves in a run's folder, read from TensorBoard's event files.

TensorBoard's own reader computes the check sum of each record in Python, which takes minutes for a long training.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

PATTERN = "events.out.tfevents.*"
_LONGEST = 1 << 16
"""Bytes of a record that may be a step's scalars; images and films are longer."""
_LENGTH, _SUM = struct.Struct("<Q"), 4
"""A record is its length, that one's check sum, the event, and the event's check sum."""


@dataclass(frozen=True)
class Curve:
    """A scalar over the steps of the log."""

    steps: NDArray[np.int64]
    """(n,), n > 0, ascending."""
    values: NDArray[np.float64]
    """(n,)"""

    @property
    def last(self) -> float:
        """The value at the last step."""
        return float(self.values[-1])


def read_curves(folder: Path, containing: Sequence[str] = ("",)) -> dict[str, Curve]:
    """Return the curves of a run's folder by tag, as they were begun; none where it has no event files.

    Of several values of a step the last one written counts: a training may have gone back to a checkpoint. What is cut
    short, as by a full disk, ends a file.

    Args:
        folder: The run's.
        containing: Only tags that contain one of these are looked at, which is faster.
    """
    from google.protobuf.message import DecodeError
    from tensorboard.compat.proto.event_pb2 import Event  # pyright: ignore[reportAttributeAccessIssue]

    wanted = [text.encode() for text in containing]
    found: dict[str, dict[int, float]] = {}
    for path in sorted(folder.glob(PATTERN)):
        try:
            for record in _records(path):
                if not any(text in record for text in wanted):
                    continue
                event = Event.FromString(record)
                for value in event.summary.value:
                    if value.HasField("simple_value") and any(text in value.tag for text in containing):
                        found.setdefault(value.tag, {})[event.step] = value.simple_value
        except (OSError, ValueError, DecodeError):  # gone meanwhile, or damaged from here on
            continue
    return {tag: _curve(points) for tag, points in found.items()}


def _records(path: Path) -> Iterator[bytes]:
    """Yield the records of a file that are short enough to be of scalars."""
    with path.open("rb") as file:
        if not (size := path.stat().st_size):  # which cannot be mapped
            return
        with mmap.mmap(file.fileno(), size, access=mmap.ACCESS_READ) as content:
            place = 0
            while (start := place + _LENGTH.size + _SUM) <= size:
                (length,) = _LENGTH.unpack_from(content, place)
                place = start + length + _SUM
                if place > size:  # it is not written whole
                    return
                if length <= _LONGEST:
                    yield content[start : start + length]


def _curve(points: dict[int, float]) -> Curve:
    steps = np.array(sorted(points), dtype=np.int64)
    return Curve(steps, np.array([points[int(step)] for step in steps], dtype=np.float64))

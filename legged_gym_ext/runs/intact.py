"""Whether a checkpoint file is as it was written.

PyTorch writes a zip archive with a check sum (CRC-32) of each of its parts, but does not look at them when it reads.
"""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path

FORMAT = "legged_gym_ext checkpoint"
"""What a checkpoint's entry of that name says."""
READ_ERRORS = (zipfile.BadZipFile, zlib.error, OSError, EOFError, ValueError, NotImplementedError, RuntimeError)
"""What the reader raises of archives that are damaged, or that never were of PyTorch."""


def damage(path: Path) -> str:
    """Return what is wrong with a checkpoint file, in words; empty where every part of it is as it was written.

    It takes no more memory than a part of the archive, whatever sizes that claims to have.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            for part in archive.infolist():
                if part.compress_type != zipfile.ZIP_STORED or part.flag_bits & 1:
                    return f"its part '{part.filename}' is packed or locked, as PyTorch writes none"
            wrong = archive.testzip()
    except READ_ERRORS:
        return "it is cut short or damaged, or no checkpoint at all"
    return f"it is damaged: the check sum of its part '{wrong}' is wrong" if wrong else ""

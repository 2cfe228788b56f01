"""Writing a file so that it is either whole or what it was before."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from legged_gym_ext.errors import UserError

_MODE = 0o644


@contextmanager
def replacing(path: Path) -> Iterator[IO[bytes]]:
    """Give a file to write, which takes the place of ``path`` once it is on the disk; the folder is made if need be.

    Where the context fails, or the process is killed, ``path`` is as it was, and nothing is left behind: the file has
    no name until it is whole. (Where the file system cannot do that, it has one, which a killed process leaves.)
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        with _nameless(path.parent) or _named(path.parent, path.name) as file:
            yield file
            file.flush()
            os.fchmod(file.fileno(), _MODE)
            os.fsync(file.fileno())
            _give_name(file, path, folder)
        os.fsync(folder)  # the name, too
    finally:
        os.close(folder)


def write_file(path: Path, content: str | bytes) -> None:
    """Write ``content``, text as UTF-8, making the folder where there is none.

    Raises:
        UserError: The file cannot be written. Nothing is left behind.
    """
    try:
        with replacing(path) as file:
            file.write(content.encode() if isinstance(content, str) else content)
    except OSError as error:
        raise UserError(f"cannot write '{path}': {error.strerror}") from error


def _nameless(folder: Path) -> IO[bytes] | None:
    """Return a file in ``folder`` that is gone when it is closed; None where the system has no such files."""
    if not hasattr(os, "O_TMPFILE") or not os.path.isdir("/proc/self/fd"):
        return None
    try:
        return os.fdopen(os.open(folder, os.O_TMPFILE | os.O_RDWR), "w+b")
    except OSError:
        return None


@contextmanager
def _named(folder: Path, name: str) -> Iterator[IO[bytes]]:
    """Give a file with a name of its own, which is deleted in the end if it still has it."""
    with tempfile.NamedTemporaryFile(dir=folder, prefix=f".{name}.", delete=False) as file:
        try:
            yield file
        finally:
            with suppress(FileNotFoundError):
                os.unlink(file.name)


def _give_name(file: IO[bytes], path: Path, folder: int) -> None:
    """Let ``path``, in the folder with this descriptor, be the ``file``."""
    if isinstance(file.name, str):
        os.replace(file.name, path)
        return
    nameless = f"/proc/self/fd/{file.fileno()}"
    try:  # descriptors of folders make Python follow the link, to the file itself
        os.link(nameless, path.name, src_dir_fd=folder, dst_dir_fd=folder)
    except FileExistsError:
        other = f".{path.name}.{os.getpid()}"
        with suppress(FileNotFoundError):
            os.unlink(other, dir_fd=folder)
        os.link(nameless, other, src_dir_fd=folder, dst_dir_fd=folder)
        try:
            os.replace(other, path.name, src_dir_fd=folder, dst_dir_fd=folder)
        except OSError:  # as where a folder has the name
            os.unlink(other, dir_fd=folder)
            raise

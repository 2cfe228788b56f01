"""The folder of an exported policy: written whole or not at all."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.metadata import distribution
from pathlib import Path

import numpy as np
import yaml

from legged_gym_ext import paths
from legged_gym_ext.deploy.specification import FORMAT
from legged_gym_ext.errors import UserError

POLICY_FILE = "policy.yaml"
"""Comes last, with the checksums of all others: a folder that has it is whole."""
CARD = "MODEL_CARD.md"


def is_exported(folder: Path) -> bool:
    """Return whether there is an exported policy."""
    try:
        content = yaml.safe_load((folder / POLICY_FILE).read_text("utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        return False
    return isinstance(content, dict) and content.get("format") == FORMAT


def require_free(folder: Path) -> None:
    """Raise a UserError where an export to ``folder`` would destroy anything but an exported policy."""
    if folder.is_dir():
        if any(folder.iterdir()) and not is_exported(folder):
            raise UserError(f"--out {folder}: there is something in it that is no exported policy; give a new folder")
    elif folder.exists() or folder.is_symlink():
        raise UserError(f"--out {folder}: it is no folder")


@contextmanager
def replacing_folder(folder: Path) -> Iterator[Path]:
    """Give an empty folder to fill, which takes the place of ``folder`` once the context ends.

    Where it fails, ``folder`` is as it was, and nothing is left behind.

    Raises:
        UserError: ``folder`` holds something else than an exported policy, or cannot be written.
    """
    require_free(folder)
    folder = folder.resolve()
    made: list[Path] = []
    try:
        for parent in reversed([folder.parent, *folder.parent.parents]):
            if not parent.exists():
                parent.mkdir()
                made.append(parent)
        temporary = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
        made.append(temporary)
        new, old = temporary / "new", temporary / "old"
        new.mkdir()
        yield new
        if folder.exists():
            os.replace(folder, old)
        try:
            os.replace(new, folder)
        except BaseException:
            if old.exists():
                os.replace(old, folder)
            raise
        shutil.rmtree(temporary)
    except BaseException as error:
        for path in reversed(made):
            shutil.rmtree(path, ignore_errors=True) if path is made[-1] else _remove_if_empty(path)
        if isinstance(error, OSError):
            raise UserError(f"cannot write '{folder}': {error.strerror or error}") from error
        raise


def _remove_if_empty(folder: Path) -> None:
    with suppress(OSError):
        folder.rmdir()


def checksums(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of every file in a folder but its ``policy.yaml``, by its path in the folder."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != POLICY_FILE)
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def licence() -> str:
    """Return the text of the licence: a checkout's file, or what a wheel was installed with."""
    file = paths.ROOT / "LICENSE"
    if file.is_file():
        return file.read_text("utf-8")
    text = distribution("legged_gym_ext").read_text("licenses/LICENSE")
    assert text is not None
    return text


def npz(arrays: dict[str, np.ndarray]) -> bytes:
    """Return an uncompressed .npz file."""
    file = io.BytesIO()
    np.savez(file, allow_pickle=False, **arrays)
    return file.getvalue()

"""Runs of Weights & Biases, downloaded into a cache: ``--wandb_run ENTITY/PROJECT/RUN[:VERSION]``.

What is downloaded is a stranger's: of an artifact, only the checkpoint and the configuration are taken, under the names
that a run's folder has for them, and both are read by what reads them in any folder (see SECURITY.md).
"""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from legged_gym_ext import paths
from legged_gym_ext.errors import UserError, unknown
from legged_gym_ext.recording import memory
from legged_gym_ext.runs.folder import CONFIG_FILE
from legged_gym_ext.runs.intact import damage

FORM = "ENTITY/PROJECT/RUN[:VERSION]"
LATEST = "latest"
MOST = 8 * 2**30
"""Bytes of a file."""
_NAME = r"[\w][\w.-]{0,127}"
_FORM = re.compile(rf"({_NAME})/({_NAME})/({_NAME})(?::({_NAME}))?")
_CHECKPOINT = re.compile(r"model_\d{1,12}\.pt")
_PATIENCE, _LISTED = 30, 40


@dataclass(frozen=True)
class Name:
    """What a run's checkpoint is called in W&B."""

    entity: str
    project: str
    run: str
    """Its id, or the name that it is shown by."""
    version: str
    """``v3``, or an alias such as ``latest`` and ``best``."""


def parse_name(text: str) -> Name:
    """Return a name's parts.

    Raises:
        UserError: It is none.
    """
    match = _FORM.fullmatch(text)
    if match is None:
        raise UserError(f"--wandb_run {text}: expected {FORM}; a version is latest (default), best, or v<number>")
    entity, project, run, version = match.groups()
    return Name(entity, project, run, version or LATEST)


def download(text: str, connect: Callable[[], Any] | None = None) -> Path:
    """Return a run's folder with that checkpoint, and no other, from the cache, or downloaded into it.

    Args:
        text: As in FORM.
        connect: Returns W&B's API.

    Raises:
        UserError: There is no such run or version, it is no run of this project's, or W&B cannot be reached.
    """
    name = parse_name(text)
    try:
        api = (connect or _connect)()
        run, artifact = _find(api, name, text)
        folder = paths.DOWNLOADS / name.entity / name.project / _plain(run.id) / _plain(artifact.version)
        if not _complete(folder):
            _fetch(artifact, folder, text)
            memory.save(memory.Memory(run.id, name.entity, name.project, run.group or ""), folder)
    except UserError:
        raise
    except Exception as error:  # W&B's own, its transport's, and the file system's
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        raise UserError(f"--wandb_run {text}: {reason}") from error
    return folder


def _connect() -> Any:
    import wandb

    return wandb.Api(timeout=_PATIENCE)


def _find(api: Any, name: Name, text: str) -> tuple[Any, Any]:
    """Return the run and the artifact."""
    from legged_gym_ext.recording.wandb_start import artifact_name

    project = f"{name.entity}/{name.project}"
    try:
        run = api.run(f"{project}/{name.run}")
    except Exception:  # there is none of that id, or no network: then neither is there a list of runs
        called_so = list(api.runs(project, filters={"display_name": name.run}))
        if not called_so:
            others = [run.name for run in islice(api.runs(project), _LISTED)]
            raise unknown(f"run in '{project}'", name.run, others) from None
        if len(called_so) > 1:
            ids = ", ".join(run.id for run in called_so)
            raise UserError(f"--wandb_run {text}: several runs have that name; give an id: {ids}") from None
        (run,) = called_so
    try:
        return run, api.artifact(f"{project}/{artifact_name(run.id)}:{name.version}", type="model")
    except Exception as error:
        raise UserError(
            f"--wandb_run {text}: the run has no checkpoint '{name.version}' ({' '.join(str(error).split())[:200]})"
        ) from error


def _fetch(artifact: Any, folder: Path, text: str) -> None:
    """Download the artifact's checkpoint and configuration into a folder, which is there only when it is whole."""
    entries = dict(artifact.manifest.entries)
    checkpoints = [name for name in entries if _CHECKPOINT.fullmatch(name)]
    if len(checkpoints) != 1 or CONFIG_FILE not in entries:
        raise UserError(
            f"--wandb_run {text}: expected model_<iteration>.pt and {CONFIG_FILE}, got {', '.join(entries)[:200]}"
        )
    wanted = [*checkpoints, CONFIG_FILE]
    for name in wanted:
        if (entries[name].size or 0) > MOST:
            raise UserError(f"--wandb_run {text}: {name} has {entries[name].size:,} bytes, more than {MOST:,}")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".download") as temporary:
        for name in wanted:
            got = Path(artifact.get_entry(name).download(root=temporary, skip_cache=True))
            if got.resolve() != (Path(temporary) / name).resolve() or got.is_symlink():
                raise UserError(f"--wandb_run {text}: {name} was downloaded to somewhere else")
        if wrong := damage(Path(temporary) / checkpoints[0]):
            raise UserError(f"--wandb_run {text}: {checkpoints[0]} cannot be read: {wrong}")
        whole = Path(temporary) / "whole"
        whole.mkdir()
        for name in wanted:
            (Path(temporary) / name).rename(whole / name)
        if folder.exists():  # of a download that was interrupted, or of another that was faster
            shutil.rmtree(folder, ignore_errors=True)
        whole.rename(folder)


def _complete(folder: Path) -> bool:
    """Return whether a folder of the cache has what it should have."""
    names = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    checkpoints = [name for name in names if _CHECKPOINT.fullmatch(name)]
    return CONFIG_FILE in names and len(checkpoints) == 1 and not damage(folder / checkpoints[0])


def _plain(text: str) -> str:
    """Return what comes from elsewhere as the name of a folder."""
    if not re.fullmatch(_NAME, text):
        raise UserError(f"'{text[:80]}' cannot name a folder")
    return text

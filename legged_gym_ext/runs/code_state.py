"""Which repositories hold the code that runs, and in which state they are."""

from __future__ import annotations

import contextlib
import functools
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import git

import legged_gym_ext
from legged_gym_ext.runs.atomic import write_file

FOLDER = "git"
"""In a run's."""


@dataclass(frozen=True)
class Repository:
    """A repository's state."""

    name: str
    commit: str
    remote: str
    """Address of ``origin``, without a password that may be in it; empty where there is none."""
    status: str
    diff: str
    """From the commit, of the files that git knows."""

    @property
    def text(self) -> str:
        """All of it."""
        parts = {"commit": self.commit, "status": self.status, "diff": self.diff}
        return "\n\n\n".join(f"--- git {name} ---\n{part}" for name, part in parts.items())


def tracked_files() -> list[str]:
    """Return, of this package and of the program that was started, a file of each that a git repository keeps.

    One that merely lies in a repository's folder, as an installed package in a virtual environment, is not of it.
    """
    program = getattr(sys.modules["__main__"], "__file__", None)
    files = [legged_gym_ext.__file__, *([program] if program else [])]
    return [file for file in files if _is_tracked(Path(file).resolve())]


def repositories() -> list[Repository]:
    """Return the state of each repository of :func:`tracked_files`, the package's first, if that is of one."""
    found: dict[str, Repository] = {}
    for file in tracked_files():
        with contextlib.suppress(git.GitError, OSError, ValueError, TypeError), _repository(Path(file)) as repository:
            folder = str(repository.working_dir)
            commit = repository.head.commit
            diff = repository.git.diff(commit.tree)
            found.setdefault(
                folder, Repository(Path(folder).name, commit.hexsha, _remote(repository), repository.git.status(), diff)
            )
    return list(found.values())


@functools.cache
def at_start() -> tuple[Repository, ...]:
    """Return :func:`repositories` as they were when a program that trains first asked: what it runs since then."""
    return tuple(repositories())


def store(states: Iterable[Repository], run: Path) -> list[Path]:
    """Write the states into a run's folder, where they are not there yet; return the files.

    Raises:
        UserError: They cannot be written.
    """
    files = {run / FOLDER / f"{state.name}.diff": state for state in states}
    for file, state in files.items():
        if not file.exists():
            write_file(file, state.text)
    return list(files)


def code_state(states: Iterable[Repository]) -> list[dict[str, str | bool]]:
    """Return, of each repository, its name, its commit, and whether it is changed since.

    Files that git does not keep do not count as a change.
    """
    return [{"repository": state.name, "commit": state.commit, "changed": bool(state.diff)} for state in states]


def _is_tracked(file: Path) -> bool:
    try:
        with _repository(file) as repository:
            return bool(repository.git.ls_files("--", str(file)))
    except (git.GitError, OSError, ValueError):  # no repository, none that git trusts, or no git
        return False


def _repository(file: Path) -> git.Repo:
    return git.Repo(file, search_parent_directories=True)


def _remote(repository: git.Repo) -> str:
    urls = [remote.url for remote in repository.remotes if remote.name == "origin"]
    if not urls:
        return ""
    scheme, separator, rest = urls[0].partition("://")
    return f"{scheme}{separator}{rest.rpartition('@')[2]}" if separator else urls[0]

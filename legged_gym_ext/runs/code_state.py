"""Which repositories hold the code that runs."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path

import git

import legged_gym_ext


def tracked_files() -> list[str]:
    """Return, of this package and of the program that was started, a file of each that a git repository keeps.

    One that merely lies in a repository's folder, as an installed package in a virtual environment, is not of it.
    """
    program = getattr(sys.modules["__main__"], "__file__", None)
    files = [legged_gym_ext.__file__, *([program] if program else [])]
    return [file for file in files if _is_tracked(Path(file).resolve())]


def code_state() -> list[dict[str, str | bool]]:
    """Return, of each repository that holds the code, its name, its commit, and whether it is changed since.

    Files that git does not keep do not count as a change.
    """
    found: dict[str, dict[str, str | bool]] = {}
    for file in tracked_files():
        with (
            contextlib.suppress(git.GitError, OSError, ValueError),  # as for a repository without a commit
            git.Repo(file, search_parent_directories=True) as repository,
        ):
            top = Path(repository.working_dir)
            state = {"commit": repository.head.commit.hexsha, "changed": repository.is_dirty()}
            found[str(top)] = {"repository": top.name, **state}
    return list(found.values())


def _is_tracked(file: Path) -> bool:
    try:
        with git.Repo(file, search_parent_directories=True) as repository:
            return bool(repository.git.ls_files("--", str(file)))
    except (git.GitError, OSError, ValueError):  # no repository, none that git trusts, or no git
        return False

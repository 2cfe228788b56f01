"""Whose state ``git/`` in a run's folder tells: that of repositories which keep the code, not of those around it."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import git
import pytest

import legged_gym_ext
from legged_gym_ext.runs.code_state import code_state, tracked_files

PACKAGE = Path(legged_gym_ext.__file__).resolve()


def test_a_repository_that_merely_holds_the_package_is_not_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed = tmp_path / "venv" / "legged_gym_ext" / "__init__.py"
    installed.parent.mkdir(parents=True)
    shutil.copy(PACKAGE, installed)
    monkeypatch.setattr(legged_gym_ext, "__file__", str(installed))
    monkeypatch.setattr(sys.modules["__main__"], "__file__", str(tmp_path / "mine.py"), raising=False)
    (tmp_path / "mine.py").touch()
    assert tracked_files() == []
    repository = git.Repo.init(tmp_path)
    assert tracked_files() == []
    repository.index.add(["mine.py"])
    assert tracked_files() == [str(tmp_path / "mine.py")]
    repository.index.add(["venv/legged_gym_ext/__init__.py"])
    assert tracked_files() == [str(installed), str(tmp_path / "mine.py")]


def test_the_state_is_the_commit_and_whether_files_have_changed_since(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "mine" / "program.py"
    program.parent.mkdir()
    program.touch()
    monkeypatch.setattr(legged_gym_ext, "__file__", str(program))
    monkeypatch.setattr(sys.modules["__main__"], "__file__", str(program), raising=False)
    assert code_state() == []
    repository = git.Repo.init(program.parent)
    repository.index.add(["program.py"])
    assert code_state() == []  # no commit yet
    author = git.Actor("a", "a@b")
    commit = repository.index.commit("first", author=author, committer=author).hexsha
    state = {"repository": "mine", "commit": commit, "changed": False}
    assert code_state() == [state]
    (program.parent / "notes").touch()  # git does not keep it
    assert code_state() == [state]
    program.write_text("1", "utf-8")
    assert code_state() == [{**state, "changed": True}]


@pytest.mark.skipif(not (PACKAGE.parents[1] / ".git").exists(), reason="no clone")
def test_this_package_is_kept_by_its_own_repository() -> None:
    program = "from legged_gym_ext.runs.code_state import tracked_files; print(tracked_files())"
    out = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert out.strip() == str([legged_gym_ext.__file__])

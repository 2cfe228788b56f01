"""Whose state ``git/`` in a run's folder tells: that of repositories which keep the code, not of those around it."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import git
import pytest
from dummy_env import small_config

import legged_gym_ext
from legged_gym_ext.recording.recording import Recording
from legged_gym_ext.runs import code_state as module
from legged_gym_ext.runs.code_state import Repository, at_start, code_state, repositories, store, tracked_files
from legged_gym_ext.runs.origin import read_origin, write_origin

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
    assert code_state(repositories()) == []
    repository = git.Repo.init(program.parent)
    repository.index.add(["program.py"])
    assert code_state(repositories()) == []  # no commit yet
    author = git.Actor("a", "a@b")
    commit = repository.index.commit("first", author=author, committer=author).hexsha
    state = {"repository": "mine", "commit": commit, "changed": False}
    assert code_state(repositories()) == [state]
    (program.parent / "notes").touch()  # git does not keep it
    assert code_state(repositories()) == [state]
    program.write_text("1", "utf-8")
    assert code_state(repositories()) == [{**state, "changed": True}]


def test_a_repository_is_told_with_its_commit_its_address_and_its_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "mine" / "legged_gym_ext" / "__init__.py"
    source.parent.mkdir(parents=True)
    shutil.copy(PACKAGE, source)
    monkeypatch.setattr(legged_gym_ext, "__file__", str(source))
    monkeypatch.setattr(sys.modules["__main__"], "__file__", str(source), raising=False)
    repository = git.Repo.init(tmp_path / "mine")
    repository.index.add(["legged_gym_ext/__init__.py"])
    assert repositories() == []  # there is no commit that it could be told by
    commit = repository.index.commit("first", author=git.Actor("a", "b"), committer=git.Actor("a", "b"))
    repository.create_remote("origin", "https://name:secret@example.org/mine.git")
    with source.open("a") as file:
        file.write("CHANGED = 1\n")
    (state,) = repositories()
    assert (state.name, state.commit, state.remote) == ("mine", commit.hexsha, "https://example.org/mine.git")
    assert "+CHANGED = 1" in state.diff and "modified:" in state.status
    (file,) = store([state], tmp_path / "run")
    assert file == tmp_path / "run" / "git" / "mine.diff"
    text = file.read_text()
    assert commit.hexsha in text and "+CHANGED = 1" in text and "secret" not in text
    file.write_text("that of the beginning")
    assert store([state], tmp_path / "run") == [file] and file.read_text() == "that of the beginning"


@pytest.mark.skipif(not (PACKAGE.parents[1] / ".git").exists(), reason="no clone")
def test_this_package_is_kept_by_its_own_repository() -> None:
    program = "from legged_gym_ext.runs.code_state import tracked_files; print(tracked_files())"
    out = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert out.strip() == str([legged_gym_ext.__file__])


def test_a_training_asks_git_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """For origin.json and for the log."""
    asked: list[Repository] = []

    def ask() -> list[Repository]:
        asked.append(Repository("mine", f"{len(asked)}", "", "", "changed"))
        return asked[-1:]

    monkeypatch.setattr(module, "repositories", ask)
    at_start.cache_clear()
    try:
        write_origin(tmp_path)
        log = Recording(small_config(logger="tensorboard"), tmp_path)
        log.open()
        log.close()
    finally:
        at_start.cache_clear()
    assert len(asked) == 1
    assert read_origin(tmp_path)["code"] == [{"repository": "mine", "commit": "0", "changed": True}]
    assert (tmp_path / "git" / "mine.diff").read_text() == asked[0].text

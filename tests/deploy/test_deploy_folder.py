"""An exported folder is written whole or not at all, and nothing else is ever replaced."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from legged_gym_ext import paths
from legged_gym_ext.deploy import folder
from legged_gym_ext.deploy.folder import is_exported, replacing_folder, require_free
from legged_gym_ext.errors import UserError

EXPORTED = "format: legged_gym_ext.policy\nversion: 1\n"


def tree(top: Path) -> dict[str, bytes | None]:
    """Return the content of all files below a folder, hidden ones too; None of a folder."""
    return {str(path.relative_to(top)): path.read_bytes() if path.is_file() else None for path in top.rglob("*")}


def fill(new: Path, text: str = "new") -> None:
    (new / "cpp").mkdir()
    (new / "cpp" / "main.cpp").write_text(text)
    (new / "policy.yaml").write_text(EXPORTED)


def exported(path: Path, text: str = "old") -> Path:
    path.mkdir(parents=True)
    fill(path, text)
    (path / "from the older version").write_text("")
    return path


@pytest.mark.parametrize("there", ["nothing", "empty", "exported"])
def test_a_folder_is_made_or_replaced_whole(there: str, tmp_path: Path) -> None:
    out = tmp_path / "runs" / "deep" / "out"
    if there == "exported":
        exported(out)
    elif there == "empty":
        out.mkdir(parents=True)
    with replacing_folder(out) as new:
        fill(new)
        assert not (out / "cpp").exists() or (out / "cpp" / "main.cpp").read_text() == "old"  # until it is done
    assert tree(out) == {"cpp": None, "cpp/main.cpp": b"new", "policy.yaml": EXPORTED.encode()}
    assert list(out.parent.iterdir()) == [out]
    assert is_exported(out)


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError, OSError, UserError])
@pytest.mark.parametrize("there", ["nothing", "empty", "exported"])
def test_what_fails_leaves_everything_as_it_was(there: str, error: type[BaseException], tmp_path: Path) -> None:
    out = tmp_path / "runs" / "deep" / "out"
    if there == "exported":
        exported(out)
    elif there == "empty":
        out.mkdir(parents=True)
    before = tree(tmp_path)
    with pytest.raises(UserError if error is OSError else error), replacing_folder(out) as new:
        fill(new)
        raise error("full")
    assert tree(tmp_path) == before


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError])
@pytest.mark.parametrize("which", [1, 2])
def test_an_interrupted_replacement_leaves_one_of_both(which: int, error, tmp_path: Path, monkeypatch) -> None:
    out, count, replace = exported(tmp_path / "out"), 0, os.replace

    def interrupted(source: Path, target: Path) -> None:
        nonlocal count
        count += 1
        if count == which:
            raise error()
        replace(source, target)

    monkeypatch.setattr(folder.os, "replace", interrupted)
    before = tree(tmp_path)
    with pytest.raises(UserError if error is OSError else error), replacing_folder(out) as new:
        fill(new)
    assert tree(tmp_path) == before


@pytest.mark.parametrize("there", ["file inside", "other policy.yaml", "broken policy.yaml", "file", "broken link"])
def test_what_is_no_exported_policy_is_refused_in_one_line(there: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    if there == "file":
        out.write_text("mine")
    elif there == "broken link":
        out.symlink_to(tmp_path / "nowhere")
    else:
        out.mkdir()
        name, text = {
            "file inside": ("notes.txt", "mine"),
            "other policy.yaml": ("policy.yaml", "format: something else\n"),
            "broken policy.yaml": ("policy.yaml", "format: [\n"),
        }[there]
        (out / name).write_text(text)
    before = tree(tmp_path)
    with pytest.raises(UserError) as caught, replacing_folder(out):
        pytest.fail("it was given a folder")
    assert str(out) in str(caught.value) and "\n" not in str(caught.value)
    assert tree(tmp_path) == before


def test_a_place_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="'.*/file' is no folder"), replacing_folder(tmp_path / "file" / "out"):
        pytest.fail("it was given a folder")


def test_a_place_where_nothing_can_be_written_is_told_before_anything_is_computed(tmp_path: Path, monkeypatch) -> None:
    """Tests may run as somebody who may write everywhere."""
    (tmp_path / "locked").mkdir()
    access = os.access
    monkeypatch.setattr(folder.os, "access", lambda path, mode: path != tmp_path / "locked" and access(path, mode))
    require_free(tmp_path / "deep" / "out")
    with pytest.raises(UserError, match="nothing can be written in '.*/locked'"):
        require_free(tmp_path / "locked" / "deep" / "out")


def test_a_disk_that_is_full_is_one_line(tmp_path: Path, monkeypatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(folder.os, "replace", full)
    with pytest.raises(UserError, match="cannot write '.*/out': No space left"), replacing_folder(tmp_path / "out"):
        pass
    assert not list(tmp_path.iterdir())


def test_a_linked_folder_is_replaced_where_it_is(tmp_path: Path) -> None:
    exported(tmp_path / "elsewhere" / "out")
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere" / "out")
    with replacing_folder(tmp_path / "link") as new:
        fill(new)
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "elsewhere" / "out" / "cpp" / "main.cpp").read_text() == "new"


def test_the_licence_is_the_projects() -> None:
    assert folder.licence() == (paths.ROOT / "LICENSE").read_text("utf-8")

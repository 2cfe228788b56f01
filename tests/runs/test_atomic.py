"""Files are whole or what they were before, whatever the file system can do."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from legged_gym_ext.errors import UserError
from legged_gym_ext.runs.atomic import replacing, write_file


@pytest.fixture(params=["nameless", "named", "without_proc"])
def nameless(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> bool:
    """What a file system, or a system, lacks; and a working directory that is not the folder of the file."""
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    if request.param == "named":
        monkeypatch.delattr(os, "O_TMPFILE")
    elif request.param == "without_proc":
        isdir = os.path.isdir
        monkeypatch.setattr(os.path, "isdir", lambda path: not str(path).startswith("/proc") and isdir(path))
    return request.param == "nameless"


def test_a_file_takes_its_place_when_it_is_whole_and_nothing_else_is_left(tmp_path: Path, nameless: bool) -> None:
    path = tmp_path / "new folder" / "file"
    for content in (b"first", b"the second"):  # in the place of nothing, and of a file
        before = path.read_bytes() if path.exists() else None
        with replacing(path) as file:
            file.write(content)
            others = [name for name in os.listdir(path.parent) if name != "file"]
            assert len(others) == (0 if nameless else 1) and all(name.startswith(".file.") for name in others)
            assert (path.read_bytes() if path.exists() else None) == before
            file.seek(0)
            assert file.read() == content
        assert path.read_bytes() == content
        assert path.stat().st_mode & 0o777 == 0o644
        assert os.listdir(path.parent) == ["file"] and os.listdir() == []


def test_what_fails_leaves_what_was_there(tmp_path: Path, nameless: bool) -> None:
    path = tmp_path / "folder" / "file"
    write_file(path, "before")
    with pytest.raises(ZeroDivisionError), replacing(path) as file:
        file.write(b"half")
        raise ZeroDivisionError
    assert path.read_text("utf-8") == "before" and os.listdir(path.parent) == ["file"]


def test_what_a_killed_process_of_the_same_number_left_is_in_nobodys_way(tmp_path: Path, nameless: bool) -> None:
    path, left = tmp_path / "folder" / "file", f".file.{os.getpid()}"
    write_file(path, "before")
    (path.parent / left).write_text("left over", "utf-8")
    Path(left).write_text("somebody else's", "utf-8")
    write_file(path, "after")
    assert path.read_text("utf-8") == "after"
    assert Path(left).read_text("utf-8") == "somebody else's"
    assert os.listdir(path.parent) == ["file"] or not nameless


@pytest.mark.parametrize("content", ["wörter\r\n", b"\x00\xff\r\n"], ids=["text", "bytes"])
def test_text_is_written_as_utf_8_and_bytes_as_they_are(tmp_path: Path, content: str | bytes) -> None:
    write_file(tmp_path / "file", content)
    expected = content if isinstance(content, bytes) else bytes(content, "utf-8")
    assert (tmp_path / "file").read_bytes() == expected


def test_what_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "folder"
    (path / "in it").mkdir(parents=True)
    with pytest.raises(UserError) as caught:
        write_file(path, "text")
    assert str(caught.value).startswith(f"cannot write '{path}': ") and "irectory" in str(caught.value)
    assert os.listdir(tmp_path) == ["folder"] and os.listdir(path) == ["in it"]

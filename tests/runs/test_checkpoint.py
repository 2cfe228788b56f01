"""Checkpoint files: what is no checkpoint, other versions, and disks that are full."""

from __future__ import annotations

import errno
import os
import pickle
import resource
from pathlib import Path
from typing import Any

import pytest
import torch
from dummy_runner import make

from legged_gym_ext.errors import UserError
from legged_gym_ext.runs import checkpoint as checkpoint_module
from legged_gym_ext.runs.checkpoint import FORMAT, VERSION, load_checkpoint, save_checkpoint


class Bomb:
    """Pickles to a call that would create a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return (os.system, (f"touch {self.path}",))


def test_what_is_no_checkpoint_gives_one_line_and_runs_nothing(tmp_path: Path) -> None:
    good = tmp_path / "model_1.pt"
    save_checkpoint({"iteration": 1, "tensor": torch.arange(1000)}, good)
    whole = good.read_bytes()
    victim = tmp_path / "executed"
    files: dict[str, bytes] = {f"cut{n}": whole[:n] for n in (0, 1, 10, len(whole) // 2, len(whole) - 1)}
    files["text"] = b"hello, world\n" * 100
    files["pickle_bomb"] = pickle.dumps(Bomb(victim))
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    torch.save({"model": Bomb(victim)}, tmp_path / "torch_bomb")
    torch.save({"actor_state_dict": {}, "iter": 3}, tmp_path / "foreign")
    torch.save(torch.zeros(3), tmp_path / "tensor")
    (tmp_path / "folder").mkdir()
    for name in [*files, "torch_bomb", "foreign", "tensor", "folder", "missing"]:
        with pytest.raises(UserError) as error:
            load_checkpoint(tmp_path / name)
        assert name in str(error.value) and "\n" not in str(error.value)
    assert not victim.exists()
    assert torch.equal(load_checkpoint(good)["tensor"], torch.arange(1000))


@pytest.mark.parametrize("version", [1, 2, VERSION + 1, None])
def test_files_of_other_versions_are_refused_in_one_line(version: int | None, tmp_path: Path) -> None:
    path = tmp_path / "model_1.pt"
    torch.save({"format": FORMAT, "version": version, "iteration": 1}, path)
    with pytest.raises(UserError) as error:
        make(None).load(str(path))
    assert str(error.value) == f"checkpoint '{path}' has version {version}; this program reads version {VERSION}"


@pytest.mark.parametrize("fail_in", ["torch.save", "fsync"])
def test_full_disk_leaves_the_earlier_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fail_in: str) -> None:
    path = tmp_path / "model_1.pt"
    save_checkpoint({"iteration": 1}, path)
    before = path.read_bytes()

    def full(*arguments: Any) -> None:
        if fail_in == "torch.save":
            arguments[1].write(b"half of it")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    target = checkpoint_module.torch if fail_in == "torch.save" else os
    monkeypatch.setattr(target, "save" if fail_in == "torch.save" else "fsync", full)
    with pytest.raises(UserError, match="no space left on the disk") as error:
        save_checkpoint({"iteration": 2}, path)
    assert str(path) in str(error.value)
    assert os.listdir(tmp_path) == ["model_1.pt"] and path.read_bytes() == before


def test_a_write_that_the_system_refuses_is_told(tmp_path: Path) -> None:
    """The real thing: the system's limit on the size of files."""
    path = tmp_path / "model_1.pt"
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        with pytest.raises(UserError, match="cannot write checkpoint") as error:
            save_checkpoint({"tensor": torch.zeros(1_000_000)}, path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert str(path) in str(error.value) and "\n" not in str(error.value)
    assert os.listdir(tmp_path) == []

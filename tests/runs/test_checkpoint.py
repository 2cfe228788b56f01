"""Checkpoint files: what is no checkpoint, other versions, and disks that are full."""

from __future__ import annotations

import errno
import os
import pickle
import resource
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from dummy_runner import make

from legged_gym_ext.errors import UserError
from legged_gym_ext.runs import checkpoint as checkpoint_module
from legged_gym_ext.runs.checkpoint import FORMAT, VERSION, load_checkpoint, map_tensors, save_checkpoint


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
    because = dict.fromkeys(files, "cut short or damaged") | {
        "torch_bomb": "more than tensors",
        "foreign": "it holds no entry format='legged_gym_ext checkpoint'",
        "tensor": "it holds no entry format='legged_gym_ext checkpoint'",
        "folder": "does not exist",
        "missing": "does not exist",
    }
    for name, reason in because.items():
        with pytest.raises(UserError, match=reason) as error:
            load_checkpoint(tmp_path / name)
        assert f"'{tmp_path / name}'" in str(error.value) and "\n" not in str(error.value)
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
    with pytest.raises(UserError) as error:
        save_checkpoint({"iteration": 2}, path)
    assert str(error.value) == reason_given(path, "no space left on the disk")
    assert os.listdir(tmp_path) == ["model_1.pt"] and path.read_bytes() == before


def test_a_write_that_the_system_refuses_is_told(tmp_path: Path) -> None:
    """The real thing: the system's limit on the size of files."""
    path = tmp_path / "model_1.pt"
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        with pytest.raises(UserError) as error:
            save_checkpoint({"tensor": torch.zeros(1_000_000)}, path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert str(error.value) == reason_given(path, os.strerror(errno.EFBIG))
    assert os.listdir(tmp_path) == []


FULL = OSError(errno.ENOSPC, "")


def follows(error: BaseException, *, cause: BaseException | None = None, context: BaseException | None = None) -> Any:
    """Return the error with what it was raised from, or while handling."""
    error.__cause__, error.__context__ = cause, context
    return error


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        pytest.param(OSError(errno.ENOSPC, "the system's"), "no space left on the disk", id="full"),
        pytest.param(OSError(errno.EDQUOT, "the system's"), "no space left on the disk", id="quota"),
        pytest.param(OSError(errno.EIO, "the system's"), "the system's", id="disk"),
        pytest.param(OSError("two\nlines"), "two", id="nameless"),
        pytest.param(RuntimeError("two\nlines"), "two", id="torch"),
        pytest.param(follows(RuntimeError("torch's"), cause=FULL), "no space left on the disk", id="from_full"),
        pytest.param(follows(RuntimeError("torch's"), context=FULL), "no space left on the disk", id="after_full"),
        pytest.param(follows(RuntimeError("torch's"), cause=OSError(errno.EIO, "")), "torch's", id="from_disk"),
    ],
)
def test_why_a_checkpoint_could_not_be_written_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, reason: str
) -> None:
    def fails(*arguments: Any) -> None:
        raise error

    monkeypatch.setattr(torch, "save", fails)
    with pytest.raises(UserError) as caught:
        save_checkpoint({"iteration": 2}, tmp_path / "model_2.pt")
    assert str(caught.value) == reason_given(tmp_path / "model_2.pt", reason)


def reason_given(path: Path, reason: str) -> str:
    return f"cannot write checkpoint '{path}': {reason}; earlier checkpoints are as they were"


def test_what_was_saved_on_a_gpu_is_read_where_there_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:  # which device a tensor was on is all that the file says of it
        patch.setattr(torch.serialization, "location_tag", lambda storage: "cuda:0")
        save_checkpoint({"iteration": 1, "tensor": torch.arange(3)}, tmp_path / "model_1.pt")
    tensor = load_checkpoint(tmp_path / "model_1.pt")["tensor"]
    assert tensor.device.type == "cpu" and tensor.tolist() == [0, 1, 2]


def test_no_variable_of_the_environment_lets_a_checkpoint_run_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    torch.save({"format": FORMAT, "version": VERSION, "model": Bomb(tmp_path / "executed")}, tmp_path / "model_1.pt")
    with pytest.raises(UserError, match="more than tensors"):
        load_checkpoint(tmp_path / "model_1.pt")
    assert not (tmp_path / "executed").exists()


def test_nobody_is_warned_of_what_is_in_a_foreign_file(tmp_path: Path) -> None:
    content = {"format": FORMAT, "version": VERSION, "iteration": 1}
    torch.save(content, tmp_path / "model_1.pt", pickle_protocol=3)  # of which PyTorch's reader warns
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        assert load_checkpoint(tmp_path / "model_1.pt") == content
    assert warned == []


def test_a_function_is_applied_to_every_tensor_and_to_nothing_else() -> None:
    one, two = torch.ones(2), torch.arange(3)
    content = {"one": one, "list": [two, {"deep": [one]}, 7], "plain": "text", "nothing": None}
    doubled = map_tensors(content, lambda tensor: tensor * 2)
    assert doubled["one"].tolist() == [2, 2] and doubled["list"][0].tolist() == [0, 2, 4]
    assert doubled["list"][1]["deep"][0].tolist() == [2, 2] and doubled["list"][2] == 7
    assert {key: doubled[key] for key in ("plain", "nothing")} == {"plain": "text", "nothing": None}
    assert list(doubled) == list(content) and one.tolist() == [1, 1]

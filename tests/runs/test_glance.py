"""A checkpoint's small data: the same as PyTorch reads, with nothing in the file executed."""

from __future__ import annotations

import os
import pickle
import zipfile
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
from dummy_env import small_config
from dummy_runner import make
from log_files import write_checkpoint

from legged_gym_ext.errors import UserError
from legged_gym_ext.runs.checkpoint import load_checkpoint
from legged_gym_ext.runs.glance import glance


def test_it_is_what_the_whole_checkpoint_says(tmp_path: Path) -> None:
    runner = make(tmp_path, small_config())
    runner.learn(2)
    found, whole = glance(tmp_path / "model_2.pt"), load_checkpoint(tmp_path / "model_2.pt")
    assert (found.iteration, found.total_steps) == (2, whole["total_steps"]) == (2, runner.total_steps)
    assert found.config == whole["config"] == asdict(runner.config)
    assert found.ranks == len(whole["ranks"]) == 1


def test_what_is_no_checkpoint_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "model_1.pt"
    for content in (b"", b"text", b"PK\x03\x04"):
        path.write_bytes(content)
        with pytest.raises(UserError, match="cannot be read"):
            glance(path)
    torch.save({"iteration": 1}, path)
    with pytest.raises(UserError, match="cannot be read"):
        glance(path)
    write_checkpoint(tmp_path, 1, total_steps="many")
    with pytest.raises(UserError, match="cannot be read"):
        glance(path)
    with pytest.raises(UserError, match="cannot be read"):
        glance(tmp_path / "model_2.pt")


def test_a_file_cut_short_anywhere_is_one_line(tmp_path: Path) -> None:
    path = write_checkpoint(tmp_path, 3, phases={"a": {"weight": torch.zeros(50)}})
    whole = path.read_bytes()
    for length in range(0, len(whole), 97):
        path.write_bytes(whole[:length])
        with pytest.raises(UserError, match="cannot be read"):
            glance(path)


class _Evil:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_no_code_in_a_file_runs(tmp_path: Path) -> None:
    path, made = tmp_path / "model_1.pt", tmp_path / "made"
    content = {"format": "legged_gym_ext checkpoint", "iteration": 1, "total_steps": 1, "config": {}, "ranks": []}
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps({**content, "evil": _Evil(made)}))
    assert glance(path).iteration == 1
    assert not made.exists()
    with zipfile.ZipFile(path) as archive:  # what would have run
        pickle.loads(archive.read("archive/data.pkl"))
    assert made.exists()

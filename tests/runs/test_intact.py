"""Damaged checkpoints are recognized, and the newest intact one is taken."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from command_line import arguments, config_of, make_run
from dummy_runner import assert_same, make

from legged_gym_ext.errors import UserError
from legged_gym_ext.runs.checkpoint import load_checkpoint
from legged_gym_ext.runs.folder import find_checkpoint, find_saved
from legged_gym_ext.runs.intact import damage


def test_flipped_bytes_are_noticed_wherever_they_matter(tmp_path: Path) -> None:
    """Some bytes say nothing: padding, dates. A file that passes must hold what was saved, to the bit."""
    runner = make(tmp_path)
    runner.learn(1)
    path = find_checkpoint(tmp_path)
    whole, saved = path.read_bytes(), load_checkpoint(path)
    rng, noticed = np.random.default_rng(0), 0
    for trial in range(300):
        content = bytearray(whole)
        for place in rng.integers(len(content), size=1 if trial % 2 else 200):
            content[place] ^= 1 << int(rng.integers(8))
        path.write_bytes(content)
        try:
            assert_same(load_checkpoint(path), saved)
        except UserError as error:
            noticed += 1
            assert str(path) in str(error) and "\n" not in str(error)
    assert noticed > 250


def test_the_newest_intact_checkpoint_is_taken_and_that_is_told(logs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = make_run(config_of("--task=walk_flat"), 3, 9, 20)
    last = run / "model_20.pt"
    last.write_bytes(last.read_bytes()[:-30])
    assert find_saved(arguments("--load_run"))[1].name == "model_9.pt"
    told = capsys.readouterr().err
    assert "model_20.pt' cannot be read" in told and told.endswith("taking model_9.pt instead\n")
    assert find_checkpoint(run, 3).name == "model_3.pt"
    assert capsys.readouterr().err == ""
    (run / "model_9.pt").write_bytes(b"")
    (run / "model_3.pt").unlink()
    with pytest.raises(UserError, match="model_20.pt.*model_9.pt"):
        find_checkpoint(run)


def test_an_archive_that_unpacks_to_more_than_it_is_is_not_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "model_1.pt"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", bytes(50_000_000))
    assert path.stat().st_size < 100_000 and "packed" in damage(path)


def test_what_is_in_order_is_not_called_damaged(tmp_path: Path) -> None:
    torch.save({"a": torch.arange(10)}, tmp_path / "a.pt")
    assert damage(tmp_path / "a.pt") == ""
    assert damage(tmp_path / "missing.pt") and damage(tmp_path)


def test_what_is_wrong_with_a_file_is_told(tmp_path: Path) -> None:
    path, values = tmp_path / "model_1.pt", torch.arange(1000)
    torch.save({"a": values}, path)
    whole = path.read_bytes()
    place = whole.index(values.numpy().tobytes()) + 99
    path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
    assert damage(path) == "it is damaged: the check sum of its part 'model_1/data/0' is wrong"
    path.write_bytes(whole[:-1])
    assert damage(path) == "it is cut short or damaged, or no checkpoint at all"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", b"stored")
    locked, entry = bytearray(path.read_bytes()), path.read_bytes().index(b"PK\x01\x02")
    assert damage(path) == ""
    locked[entry + 8] |= 1  # the flags in the directory at the archive's end
    path.write_bytes(locked)
    assert damage(path) == "its part 'archive/data.pkl' is packed or locked, as PyTorch writes none"

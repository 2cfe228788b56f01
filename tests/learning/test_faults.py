"""Disks that are full or away, and terminals that close, in mid-training."""

from __future__ import annotations

import errno
import io
import math
import os
import pty
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch
from dummy_env import small_config
from dummy_runner import assert_same, distillation, make, teacher_ppo
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.summary.writer.record_writer import RecordWriter

from legged_gym_ext.errors import UserError
from legged_gym_ext.learning import runner as runner_module
from legged_gym_ext.learning import saving
from legged_gym_ext.learning.runner import ParkourRunner
from legged_gym_ext.learning.updates import SoundUpdates
from legged_gym_ext.runs import atomic, checkpoint
from legged_gym_ext.runs.checkpoint import load_checkpoint
from legged_gym_ext.runs.folder import CONFIG_FILE, checkpoint_numbers

TESTS = Path(__file__).resolve().parents[1]


class Disk:
    """A disk that is full when it is told to be: for checkpoints, and for the log."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.full = False
        monkeypatch.setattr(checkpoint.torch, "save", self._unless_full(checkpoint.torch.save))
        monkeypatch.setattr(RecordWriter, "write", self._unless_full(RecordWriter.write))

    def _unless_full(self, write: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*args: Any) -> Any:
            if self.full:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return write(*args)

        return wrapped


def before_iteration(runner: ParkourRunner, events: dict[int, Callable[[], None]]) -> None:
    """Have events take place before the iterations with these numbers, 0 being the first."""
    iterate = runner._iterate

    def wrapped() -> Any:
        if runner.iteration in events:
            runner.journal.recording.drain(3.0)  # what came before is on the disk, unless that is full
            events[runner.iteration]()
        return iterate()

    runner._iterate = wrapped


def steps_of(folder: Path, tag: str = "Return/teacher") -> list[int]:
    """Return the steps that the log has of a tag, each once, ascending."""
    log = EventAccumulator(str(folder))
    log.Reload()
    return sorted({event.step for event in log.Scalars(tag)})


def test_a_full_disk_ends_no_training_and_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    undisturbed = make(None)
    undisturbed.learn(6)
    disk = Disk(monkeypatch)
    runner = make(tmp_path, small_config(save_interval=2, logger="tensorboard"))
    before_iteration(runner, {1: lambda: setattr(disk, "full", True), 4: lambda: setattr(disk, "full", False)})
    runner.learn(6)
    assert checkpoint_numbers(tmp_path) == [5, 6]  # that of 2 when there was room again
    assert steps_of(tmp_path) == [1, 2, 3, 4, 5, 6]
    assert_same(load_checkpoint(tmp_path / "model_6.pt")["phases"], undisturbed.saving.content([])["phases"])
    out, err = capfd.readouterr()
    assert out.count("no space left on the disk") == 1 and out.count("saved again") == 1
    assert out.count("log: not recorded (No space left on device)") == 1 and out.count("log: recorded again") == 1
    assert "Traceback" not in out + err


def test_why_a_checkpoint_cannot_be_written_is_told_in_the_systems_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """torch's own words, of an error within a write, are about positions in its archive."""

    class Broken(io.BufferedRandom):
        def write(self, content: object) -> int:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    def broken(folder: Path) -> io.BufferedRandom:
        return Broken(io.FileIO(os.open(folder, os.O_TMPFILE | os.O_RDWR), "w+"))

    monkeypatch.setattr(atomic, "_nameless", broken)
    with pytest.raises(UserError, match=r"model_1.pt': Input/output error; earlier checkpoints"):
        make(None).save(str(tmp_path / "model_1.pt"))


def test_a_deleted_run_folder_comes_back(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    runner = make(folder, small_config(save_interval=2, logger="tensorboard"))
    before_iteration(runner, {1: lambda: shutil.rmtree(folder)})
    runner.learn(4)
    assert checkpoint_numbers(folder) == [2, 4] and (folder / CONFIG_FILE).is_file()
    assert steps_of(folder)[-1] == 4
    assert "Traceback" not in "".join(capfd.readouterr())


def test_the_last_checkpoint_waits_for_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    disk = Disk(monkeypatch)
    monkeypatch.setattr(saving, "RETRY", 0.05)
    runner = make(tmp_path)
    before_iteration(runner, {1: lambda: setattr(disk, "full", True)})
    room = threading.Timer(1.0, lambda: setattr(disk, "full", False))
    room.start()
    runner.learn(2)
    room.join()
    assert checkpoint_numbers(tmp_path) == [2]

    monkeypatch.setattr(saving, "PATIENCE", 0.2)
    disk.full = True
    with pytest.raises(UserError, match="no space left on the disk"):
        runner.learn(1)


def test_phases_that_a_resumed_run_does_without_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make(tmp_path).learn(1)
    config = small_config()
    config.distill.enabled = False
    capsys.readouterr()
    make(None, config).load(str(tmp_path / "model_1.pt"))
    assert "without what" in (told := capsys.readouterr().out) and "of distillation: this run has no such phase" in told
    make(None).load(str(tmp_path / "model_1.pt"))
    assert capsys.readouterr().out == ""


_SAVES_FOR_EVER = """
import sys, time
from pathlib import Path
from legged_gym_ext.runs.atomic import replacing
with replacing(Path(sys.argv[1])) as file:
    file.write(bytes(1_000_000))
    file.flush()
    print("writing", flush=True)
    time.sleep(60)
"""


@pytest.mark.parametrize("before", [None, b"what was there"])
def test_a_process_killed_in_mid_save_leaves_nothing(tmp_path: Path, before: bytes | None) -> None:
    path = tmp_path / "model_1.pt"
    if before:
        path.write_bytes(before)
    with subprocess.Popen([sys.executable, "-c", _SAVES_FOR_EVER, path], stdout=subprocess.PIPE) as process:
        assert process.stdout and process.stdout.readline() == b"writing\n"
        process.kill()
    assert [entry.name for entry in tmp_path.iterdir()] == ([path.name] if before else [])
    assert not before or path.read_bytes() == before


_TRAINS = """
import sys
sys.path.insert(0, sys.argv[2])
from pathlib import Path
from dummy_runner import make
from dummy_env import small_config
make(Path(sys.argv[1])).learn(100_000)
"""


@contextmanager
def training(folder: Path, *before: str, **how: Any) -> Iterator[subprocess.Popen[bytes]]:
    """Start a long training in a process of its own, which does not outlive the context."""
    with subprocess.Popen([*before, sys.executable, "-c", _TRAINS, folder, TESTS], **how) as process:
        try:
            yield process
        finally:
            process.kill()


def test_a_closed_terminal_ends_a_training_as_ctrl_c_does(tmp_path: Path) -> None:
    ours, theirs = pty.openpty()

    def hear() -> None:  # though the tests themselves may run under nohup
        signal.signal(signal.SIGHUP, signal.SIG_DFL)

    with training(tmp_path, stdout=theirs, stderr=theirs, start_new_session=True, preexec_fn=hear) as process:
        os.close(theirs)
        told = b""
        while not re.search(rb"iteration ([3-9]|\d\d+)/", told):  # a terminal is not shown each of them
            told += os.read(ours, 10_000)
        os.close(ours)  # what is written there from now on is an error
        process.send_signal(signal.SIGHUP)
        assert process.wait(60) == 0
    (number,) = checkpoint_numbers(tmp_path)
    assert number >= 3


def test_a_training_under_nohup_does_not_hear_the_terminal_close(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with (
        log.open("wb") as out,
        training(tmp_path, "nohup", stdout=out, stderr=out, stdin=subprocess.DEVNULL) as process,
    ):
        while b"iteration 2/" not in log.read_bytes():
            assert process.poll() is None
            time.sleep(0.05)
        process.send_signal(signal.SIGHUP)
        reached = log.read_bytes().count(b"iteration ")
        while log.read_bytes().count(b"iteration ") < reached + 3:
            assert process.poll() is None
            time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0


def spoil(parameter: Any, bad: Callable[[], bool], value: float) -> None:
    """Have a parameter's gradient be ``value`` in one place while it is ``bad``."""

    def hook(gradient: torch.Tensor) -> torch.Tensor:
        if bad():
            gradient = gradient.clone()
            gradient.view(-1)[0] = value
        return gradient

    parameter.register_hook(hook)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_an_update_with_gradients_that_are_not_finite_is_left_out(value: float) -> None:
    torch.manual_seed(0)
    first = torch.nn.Sequential(torch.nn.Linear(5, 4), torch.nn.Tanh(), torch.nn.Linear(4, 1))
    second, bad = deepcopy(first), [False]
    optimizers = [torch.optim.Adam(network.parameters(), fused=True) for network in (first, second)]
    updates = SoundUpdates(optimizers[1])
    spoil(second[2].weight, lambda: bad[0], value)
    for step in range(12):
        batch = torch.randn(8, 5)
        bad[0] = step in (1, 5, 6, 11)
        for network, optimizer in zip((first, second), optimizers, strict=True):
            optimizer.zero_grad()
            network(batch).square().mean().backward()
            if network is second or not bad[0]:
                optimizer.step()
    for ours, theirs in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(ours, theirs)
    assert_same(*(optimizer.state_dict()["state"] for optimizer in optimizers))
    assert updates.pop("Loss") == ({"Loss/updates_left_out": 4.0}, 1)
    assert updates.pop("Loss") == ({}, 1)


@pytest.mark.parametrize("phase", ["teacher", "student"])
def test_spoiled_updates_are_told_and_harm_nobody(phase: str, capsys: pytest.CaptureFixture[str]) -> None:
    runner = make(None)
    network = teacher_ppo(runner).alg.actor if phase == "teacher" else distillation(runner).student
    spoil(network.mlp[0].bias, lambda: runner.iteration == 2, math.nan)
    runner.learn(4)
    assert all(parameter.isfinite().all() for parameter in network.parameters())
    assert "updates left out" in capsys.readouterr().out


def test_networks_that_learn_no_more_go_back_to_the_last_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(runner_module, "SPOILED", 8)  # two iterations
    runner, returns = make(tmp_path, small_config(save_interval=3)), [0]
    load = runner.load

    def counted(path: str, resume: bool = True) -> Any:
        returns[0] += 1
        assert path.endswith("model_3.pt")
        return load(path, resume)

    monkeypatch.setattr(runner, "load", counted)
    spoil(teacher_ppo(runner).alg.actor.mlp[0].bias, lambda: runner.iteration >= 4 and returns[0] < 2, math.nan)
    runner.learn(8)
    assert returns == [2] and runner.iteration == 8 and checkpoint_numbers(tmp_path)[-1] == 8
    assert capsys.readouterr().out.count("going back from iteration 6 to") == 2

    hopeless = make(None)
    spoil(teacher_ppo(hopeless).alg.actor.mlp[0].bias, lambda: True, math.nan)
    with pytest.raises(UserError, match="gradients were not finite.*there is no checkpoint to return to"):
        hopeless.learn(8)

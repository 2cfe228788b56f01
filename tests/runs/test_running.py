"""A run is running while a process trains it, and no longer, however that ends."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

from legged_gym_ext.runs.running import is_running, marked_as_running

TRAINING = """
import sys, time
from pathlib import Path
from legged_gym_ext.runs.running import marked_as_running
with marked_as_running(Path(sys.argv[1])):
    print("marked", flush=True)
    time.sleep(100)
"""


def test_a_run_is_running_while_its_process_lives(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("task: x\n", "utf-8")
    assert not is_running(tmp_path)
    command = [sys.executable, "-c", TRAINING, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as training:
        assert training.stdout and training.stdout.readline() == "marked\n"
        assert is_running(tmp_path)
        assert is_running(tmp_path)  # to look changes nothing
        training.send_signal(signal.SIGKILL)
    assert not is_running(tmp_path)


def test_several_processes_may_train_it(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").touch()
    first, second = marked_as_running(tmp_path), marked_as_running(tmp_path)
    for step in (first.__enter__, second.__enter__, lambda: first.__exit__(None, None, None)):
        step()
        assert is_running(tmp_path)
    second.__exit__(None, None, None)
    assert not is_running(tmp_path)


def test_a_folder_that_is_gone_keeps_nobody_from_training(tmp_path: Path) -> None:
    with marked_as_running(tmp_path / "gone"):
        assert not is_running(tmp_path / "gone")

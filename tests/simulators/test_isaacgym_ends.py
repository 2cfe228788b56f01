"""How Isaac Gym's worker fails to start, ends and hangs, and what is left then: a line, a checkpoint, no process."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from gym_python import GYM_PYTHON
from test_simulator import flat_tile, make, stand

from legged_gym_ext.config.schema import RobotConfig, SimConfig
from legged_gym_ext.errors import EngineFault, UserError, exit_code_and_line
from legged_gym_ext.paths import ROOT
from legged_gym_ext.robot import Robot, load_robot
from legged_gym_ext.runs.checkpoint import load_checkpoint
from legged_gym_ext.simulators.isaacgym import process
from legged_gym_ext.simulators.isaacgym.engine import IsaacGymSimulator
from legged_gym_ext.simulators.isaacgym.options import IsaacGymOptions

FAULT = "ISAACGYM_DOUBLE_FAULT"
_PATIENCE = 300.0
"""s for a training to end: it takes ten, but a machine may have much else to do."""


@pytest.fixture(scope="module")
def robot() -> Robot:
    return load_robot(RobotConfig())


def start(robot: Robot, **options: float | str) -> IsaacGymSimulator:
    simulator = make(SimConfig(engine="isaacgym", isaacgym=IsaacGymOptions(**options)), robot, 2, flat_tile(2))  # type: ignore[arg-type]
    assert isinstance(simulator, IsaacGymSimulator)
    return simulator


def alive(pid: int) -> bool:
    """Whether the process runs; one that has ended and is not waited for does not."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


def ends(pid: int) -> bool:
    """Whether the process, which was killed, is gone within seconds: only who waits for a child knows when it is."""
    until = time.monotonic() + 20.0
    while alive(pid) and time.monotonic() < until:
        time.sleep(0.02)
    return not alive(pid)


# The start -----------------------------------------------------------------------------------------------------------


def test_nothing_configured_is_one_line_that_says_what_to_set_and_where_to_read(
    robot: Robot, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(process.PYTHON)
    with pytest.raises(UserError, match=r"set ISAACGYM_PYTHON=/path/to/env/bin/python .*docs/isaacgym\.md$") as caught:
        start(robot)
    code, line = exit_code_and_line(caught.value)
    assert code == 2 and "\n" not in line


def test_an_interpreter_that_is_none_is_told_with_the_nearest_one(
    robot: Robot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UserError, match="^sim.isaacgym.python: expected the path of a Python interpreter, got '/no'"):
        start(robot, python="/no")
    (tmp_path / "bin").mkdir()
    inside = tmp_path / "bin" / "python"
    inside.symlink_to(sys.executable)
    monkeypatch.setenv(process.PYTHON, str(tmp_path))
    with pytest.raises(UserError, match=rf"^ISAACGYM_PYTHON: .* got '{tmp_path}'; did you mean '{inside}'\?$"):
        start(robot)
    monkeypatch.setenv("PATH", str(inside.parent), prepend=os.pathsep)
    with pytest.raises(UserError, match=rf"got 'python'; did you mean '{inside}'\?$"):
        start(robot, python="python")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert process.find_python("~/bin/python") == str(inside)
    text = tmp_path / "text"
    text.write_text("not a program")
    text.chmod(0o755)
    with pytest.raises(UserError, match="Exec format error: not an interpreter that Isaac Gym could run in"):
        start(robot, python=str(text))


@pytest.mark.parametrize(
    ("does", "told"),
    [
        ("exit 0", "it ended with exit code 0; how to make a Python that has it is in docs/isaacgym.md$"),
        ("echo '  File x'; echo 'SyntaxError: invalid'; exit 1", "SyntaxError: invalid; likely: .* older than 3.6"),
        (
            r"printf 'a\001b\033[1m\377c\r\n'; exit 1",
            "its last words: a b \\[1m\N{REPLACEMENT CHARACTER}c; how to make",
        ),
        ('cat "$1"; exit 1', "it ended with exit code 1; its last words: main.*; how to make"),
        ("head -c 10000000 /dev/zero; echo end; exit 1", "its last words: end; how to make"),
        (
            "sleep 1000 & echo $! >&2; wait; exit 1",
            r"it did not answer within 2 s \(sim.isaacgym.start_limit\); its last words: \d+; how",
        ),
    ],
)
def test_a_program_that_is_no_python_is_one_line_and_leaves_nothing(
    does: str, told: str, robot: Robot, tmp_path: Path
) -> None:
    program = tmp_path / "a program"
    program.write_text(f"#!/bin/sh\n{does}\n")
    program.chmod(0o755)
    with pytest.raises(UserError, match=rf"^{program}: the worker of Isaac Gym failed at 'start': .*{told}") as caught:
        start(robot, python=str(program), start_limit=2.0 if "sleep" in does else 300.0)
    line = exit_code_and_line(caught.value)[1]
    assert line.isprintable()
    if sleeper := re.search(r"words: (\d+)", line):  # what the program has started
        assert ends(int(sleeper[1]))


@pytest.mark.parametrize(
    ("kind", "cause"),
    [
        ("libpython", "LD_LIBRARY_PATH"),
        ("glibcxx", "libstdcxx-ng"),
        ("numpy", "numpy<1.24"),
        ("segfault", "it was ended by SIGSEGV"),
        ("exit", "it ended with exit code 0"),
        ("hang", r"it did not answer within 4 s \(sim.isaacgym.start_limit\)"),
    ],
)
def test_each_failure_to_import_is_told_apart(
    kind: str, cause: str, robot: Robot, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(FAULT, f"import:1:{kind}")
    with pytest.raises(UserError, match=rf"^{GYM_PYTHON}: the worker of Isaac Gym failed at 'start': .*{cause}"):
        start(robot, start_limit=4.0 if kind == "hang" else 300.0)


def test_a_python_without_isaac_gym_and_one_that_has_imported_torch_before(
    robot: Robot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sitecustomize.py").write_text("import torch")
    doubles = os.environ[process.PATH]
    monkeypatch.setenv(process.PATH, f"{tmp_path}{os.pathsep}{doubles}")
    with pytest.raises(UserError, match="PyTorch was imported before isaacgym.*likely: something in that Python"):
        start(robot)
    monkeypatch.delenv(process.PATH)
    # What is not installed in a Python that it cannot be installed in needs another Python.
    cause = "Isaac Gym has bindings" if sys.executable == GYM_PYTHON else "Isaac Gym is not installed there"
    with pytest.raises(UserError, match=rf"No module named 'isaacgym' \(Python [\d.]+\); likely: {cause}"):
        start(robot)


def test_a_worker_of_another_version_is_refused(robot: Robot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = tmp_path / "worker.py"
    text = process._PROGRAM.read_text()
    assert text.count("\nPROTOCOL = 1\n") == 1
    other.write_text(text.replace("\nPROTOCOL = 1\n", "\nPROTOCOL = 0\n"))
    monkeypatch.setattr(process, "_PROGRAM", other)
    with pytest.raises(UserError, match="protocol 1 is not protocol 0; likely: the worker is another version"):
        start(robot)


def test_the_worker_is_told_of_nothing_of_our_python(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", "/ours")
    monkeypatch.setenv("PYTHONHOME", "/ours")
    monkeypatch.setenv("LD_LIBRARY_PATH", "/before")
    monkeypatch.setenv(process.PATH, "/theirs")
    environment = process._environment("/env/bin/python")
    assert environment["PYTHONPATH"] == "/theirs" and "PYTHONHOME" not in environment
    assert environment["LD_LIBRARY_PATH"] == f"/env/lib{os.pathsep}/before"


# The end -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        (
            "create_sim:1:none",
            "failed at 'load': its last words: RuntimeError: create_sim failed; likely: PhysX does not",
        ),
        ("simulate:9:segfault", "failed at 'step': it was ended by SIGSEGV; its last words: "),
        ("simulate:9:memory", "it was ended by SIGABRT; .*likely: the GPU has too little memory: fewer environments"),
        ("simulate:9:access", "it was ended by SIGABRT; .*likely: a robot's state was not finite"),
        ("simulate:9:exit", "it ended with exit code 0; its last words: "),
        ("simulate:9:hang", r"it did not answer within 2 s \(sim.isaacgym.step_limit\)"),
    ],
)
def test_what_ends_the_worker_is_one_line_and_exit_code_3(
    fault: str, told: str, robot: Robot, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(FAULT, fault)
    simulator = start(robot, step_limit=2.0)
    pose = stand(simulator, robot)
    with pytest.raises(EngineFault, match=told) as caught:
        for _ in range(4):
            simulator.step(pose)
    code, line = exit_code_and_line(caught.value)
    assert code == 3 and line.startswith("error: the worker of Isaac Gym failed at") and "\n" not in line
    assert not alive(simulator.worker.pid)
    assert simulator.snapshot()["root_pos"].isfinite().all()  # a checkpoint can still be made
    with pytest.raises(EngineFault, match="the worker of Isaac Gym has ended"):
        simulator.step(pose)


def test_a_worker_that_is_stopped_is_given_up_and_killed(robot: Robot) -> None:
    """It neither answers nor takes any other signal."""
    simulator = start(robot, step_limit=2.0)
    pose = stand(simulator, robot)
    simulator.step(pose)
    os.kill(simulator.worker.pid, signal.SIGSTOP)
    with pytest.raises(EngineFault, match=r"failed at 'step': it did not answer within 2 s"):
        simulator.step(pose)
    assert not alive(simulator.worker.pid)


def test_an_engine_that_is_closed_or_forgotten_leaves_no_process(robot: Robot) -> None:
    closed, forgotten = start(robot), start(robot)
    pids = closed.worker.pid, forgotten.worker.pid
    assert all(map(alive, pids))
    closed.close()
    closed.close()
    del forgotten
    assert not any(map(alive, pids))


def test_the_memory_has_no_name_and_ctrl_c_does_not_reach_the_worker(robot: Robot) -> None:
    simulator = start(robot)
    stand(simulator, robot)
    pose = torch.tensor(robot.default_joint_pos, dtype=torch.float32).repeat(2, 1)
    simulator.step(pose)
    maps = Path(f"/proc/{simulator.worker.pid}/maps").read_text()
    assert "/memfd:legged_gym_ext" in maps and "/dev/shm/" not in maps
    for number in (signal.SIGINT, signal.SIGTERM):
        os.kill(simulator.worker.pid, number)
    simulator.step(pose)
    simulator.close()


# In a training --------------------------------------------------------------------------------------------------------

PROGRAM = """
import sys
from pathlib import Path
from legged_gym_ext import paths
paths.LOGS = Path(sys.argv.pop(1))
from legged_gym_ext.commands import train
from legged_gym_ext.config.cli import main_guard
main_guard(train.main)
"""
SMALL = [
    *("--task=walk_flat", "--sim=isaacgym", "--num_envs=4", "--logger=none", "runner.num_steps_per_env=4"),
    *("teacher.hidden_dims=[16]", "teacher.critic_hidden_dims=[16]", "terrain.levels=2", "terrain.variants=1"),
]


@pytest.fixture
def train(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    started: list[subprocess.Popen[str]] = []

    def run(*arguments: str, **environment: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", PROGRAM, str(tmp_path / "logs"), *SMALL, *arguments]
        started.append(
            subprocess.Popen(
                command,
                env={**os.environ, **environment},
                cwd=ROOT,
                text=True,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
            )
        )
        return started[-1]

    yield run
    for child in started:
        child.kill()
        child.wait()


def wait_for_iteration(trainer: subprocess.Popen[str], iteration: int) -> None:
    assert trainer.stdout is not None
    for line in trainer.stdout:
        if line.startswith(f"iteration {iteration}/"):
            return
    assert trainer.stderr is not None
    raise AssertionError(trainer.stderr.read())


def worker_of(trainer: subprocess.Popen[str]) -> int:
    for task in Path(f"/proc/{trainer.pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            if "worker.py" in Path(f"/proc/{child}/cmdline").read_text():
                return int(child)
    raise AssertionError("no worker")


def saved_by(trainer: subprocess.Popen[str], how: str) -> Path:
    """Check that the trainer ends as it should when its engine does; return its checkpoint."""
    _, errors = trainer.communicate(timeout=_PATIENCE)
    assert trainer.returncode == 3, errors
    (line,) = errors.strip().splitlines()
    found = re.fullmatch(rf"error: the worker of Isaac Gym failed at 'step': .*{how}.*; saved (\S+)", line)
    assert found, line
    return Path(found[1])


def test_a_worker_that_is_killed_leaves_a_checkpoint_to_go_on_from(
    train: Callable[..., subprocess.Popen[str]],
) -> None:
    trainer = train("--max_iterations=100000")
    wait_for_iteration(trainer, 2)
    os.kill(worker_of(trainer), signal.SIGKILL)
    path = saved_by(trainer, "it was ended by SIGKILL")
    content = load_checkpoint(path)
    assert content["iteration"] >= 2 and content["ranks"][0]["lanes"]["teacher"]["simulator"]["tile"].shape == (4,)
    again = train("--resume", "--max_iterations=1")
    out, errors = again.communicate(timeout=_PATIENCE)
    assert again.returncode == 0, errors
    assert f"resumed    {path}" in out and f"iteration {content['iteration'] + 1}/" in out
    assert "start new episodes" not in out


def test_a_trainer_that_is_killed_takes_its_worker_along(train: Callable[..., subprocess.Popen[str]]) -> None:
    trainer = train("--max_iterations=100000")
    wait_for_iteration(trainer, 1)
    worker = worker_of(trainer)
    trainer.kill()
    trainer.wait()
    assert ends(worker)


def test_a_worker_that_hangs_is_told_within_its_limit(train: Callable[..., subprocess.Popen[str]]) -> None:
    steps = 4 * (1 + 4 + 4 + 2)  # the engine's own first one, two iterations, and half of the third
    trainer = train("--max_iterations=5", "sim.isaacgym.step_limit=2", **{FAULT: f"simulate:{steps}:hang"})
    path = saved_by(trainer, r"it did not answer within 2 s \(sim.isaacgym.step_limit\)")
    assert path.name == "model_2.pt"

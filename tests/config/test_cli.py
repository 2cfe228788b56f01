"""The command line: legged_gym's flags reach the configuration, and every mistake is one line with exit code 2."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import pytest
import torch

import train
from legged_gym_ext import paths
from legged_gym_ext.config.cli import main_guard, make_parser, parse
from legged_gym_ext.config.files import load_config, load_saved_config
from legged_gym_ext.config.schema import Config
from legged_gym_ext.device.cpu import available_cores
from legged_gym_ext.errors import UserError
from legged_gym_ext.runs.checkpoint import save_checkpoint
from legged_gym_ext.runs.folder import create_run_folder, find_saved
from legged_gym_ext.runs.settle import GPU_ENVS, Runtime, resolve_runtime, seed_everything
from legged_gym_ext.tasks import register


def arguments(line: str):
    return parse(make_parser("test"), line.split())


def config_of(line: str) -> Config:
    args = arguments(line)
    return load_config(args.task or "parkour_depth", args.overrides)


@pytest.fixture
def logs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(paths, "LOGS", tmp_path / "logs")
    return tmp_path / "logs"


@pytest.fixture
def exit_of(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> Callable[[str], tuple[int, str]]:
    """Run train.py's main as its last lines do; return exit code and what it wrote to stderr."""

    def run(line: str) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["train.py", *line.split()])
        with pytest.raises(SystemExit) as caught:
            main_guard(train.main)
        return int(caught.value.code or 0), capsys.readouterr().err

    return run


# Flags --------------------------------------------------------------------------------------------------------------


def test_legged_gyms_flags_reach_the_configuration() -> None:
    config = config_of(
        "--task=parkour_scandots --num_envs=16 --max_iterations 7 --seed=5 --headless --experiment_name ex "
        "--run_name=r1 --sim mujoco --sim_device=cpu --rl_device=cuda:1 --logger none"
    )
    assert (config.task, config.env.num_envs, config.runner.max_iterations, config.seed) == (
        "parkour_scandots",
        16,
        7,
        5,
    )
    assert (config.experiment_name, config.run_name, config.sim.engine) == ("ex", "r1", "mujoco")
    assert (config.sim.device, config.runner.device, config.runner.logger) == ("cpu", "cuda:1", "none")


@pytest.mark.parametrize(
    "line",
    [
        "distill.interval=3 rewards.weights.alive=0.5",
        "--distill.interval=3 --rewards.weights.alive 0.5",
        "--seed 1 distill.interval=3 --headless rewards.weights.alive=0.5",
        "--distill.interval 3 --seed=1 --rewards.weights.alive=0.5",
    ],
)
def test_any_configuration_key_is_an_argument(line: str) -> None:
    config = config_of(line)
    assert (config.distill.interval, config.rewards.weights["alive"]) == (3, 0.5)


def test_dashes_in_flags_are_underscores() -> None:
    config = config_of("--num-envs=8 --max-iterations 2 --ppo.learning-rate=0.5")
    assert (config.env.num_envs, config.runner.max_iterations, config.ppo.learning_rate) == (8, 2, 0.5)


def test_explicit_keys_win_over_flags_and_later_ones_over_earlier_ones() -> None:
    assert config_of("seed=2 --seed=3").seed == 2
    assert config_of("seed=2 seed=4").seed == 4


@pytest.mark.parametrize(
    ("line", "load_run", "checkpoint"),
    [
        ("", None, -1),
        ("--load_run", "-1", -1),
        ("--load_run -1", "-1", -1),
        ("--load_run=-1 --checkpoint=-1", "-1", -1),
        ("--load_run --num_envs=4", "-1", -1),
        ("--load_run seed=3", "-1", -1),
        ("--load_run --distill.start 3 --checkpoint -1", "-1", -1),
        ("--load_run 2026-11-22_13-05-59_a --checkpoint 40", "2026-11-22_13-05-59_a", 40),
        ("--checkpoint=0 --load_run=a", "a", 0),
    ],
)
def test_load_run_and_checkpoint(line: str, load_run: str | None, checkpoint: int) -> None:
    args = arguments(line)
    assert (args.load_run, args.checkpoint) == (load_run, checkpoint)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("--num_env=3", "did you mean '--num_envs'?"),
        ("--taks=parkour_depth", "did you mean '--task'?"),
        ("--seed", "--seed"),
        ("--headless=maybe", "--headless"),
        ("--seed=abc", "seed: expected a whole number, got 'abc'"),
        ("--num_envs=0", "env.num_envs: expected a whole number >= 1, or auto, got 0"),
        ("--num_envs -2", "env.num_envs"),
        ("--max_iterations=0", "runner.max_iterations"),
        ("--task=parkour_dept", "did you mean 'parkour_depth'?"),
        ("--sim=isaac", "sim.engine"),
        ("--logger=wandbb", "did you mean 'wandb'?"),
        ("--sim_device=tpu", "sim.device"),
        ("--sim_device=cuda:99", "cuda:99"),
        ("--sim=mujoco_warp --sim_device=cuda:99", "sim.device: this machine has no 'cuda:99'; it has: cpu"),
        ("--sim=mujoco_warp --sim_device=cpu --num_envs=100000000", "physics of 100000000 environments needs"),
        ("--rl_device=cuda:99", "runner.device: this machine has no 'cuda:99'; it has: cpu"),
        ("--checkpoint=best --resume", "--checkpoint"),
        ("--checkpoint=3", "--resume"),
        ("--load_run", "--resume"),
        ("--resume", "no run with a checkpoint"),
        ("--resume --task=parkour_dept", "did you mean 'parkour_depth'?"),
        ("--resume --load_run=nothing", "'nothing'"),
        ("distil.start=1", "did you mean 'distill.start'?"),
        ("--distil.start=1", "did you mean 'distill.start'?"),
        ("--distill.start", "needs a value"),
        ("parkour_depth", "cannot read 'parkour_depth'"),
        ("sim.dt=soon", "sim.dt: expected a number, got 'soon'"),
    ],
)
def test_mistakes_are_one_line_and_exit_code_2(line: str, expected: str, exit_of, logs: Path) -> None:
    code, err = exit_of(line)
    assert code == 2
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert expected in err
    assert not logs.exists()


def test_from_a_shell_a_mistake_shows_no_traceback_and_needs_no_heavy_import() -> None:
    code = (
        "import sys, runpy; sys.argv = ['train.py', '--num_envs=0']\n"
        "try: runpy.run_path('train.py', run_name='__main__')\n"
        "finally: print(sorted({'torch', 'mujoco', 'numba'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=paths.ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr == "error: env.num_envs: expected a whole number >= 1, or auto, got 0\n"
    assert done.stdout == "[]\n"


def test_help_needs_no_heavy_import() -> None:
    code = (
        "import sys, runpy; sys.argv = ['train.py', '--help']\n"
        "try: runpy.run_path('train.py', run_name='__main__')\n"
        "finally: print(sorted({'torch', 'mujoco', 'numba', 'numpy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=paths.ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert "{auto,mujoco,mujoco_warp}" in done.stdout
    assert done.stdout.endswith("\n[]\n")


def test_guard_tells_interrupts_from_defects(exit_of, monkeypatch: pytest.MonkeyPatch, logs: Path) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    def defective(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("legged_gym_ext.tasks._registered", {})
    register("interrupted", paths.CONFIGS / "walk_flat.yaml", make_env=interrupted)
    register("defective", paths.CONFIGS / "walk_flat.yaml", make_env=defective)
    assert exit_of("--task=interrupted") == (130, "interrupted\n")
    monkeypatch.setattr(sys, "argv", ["train.py", "--task=defective"])
    with pytest.raises(ZeroDivisionError):
        main_guard(train.main)
    assert not logs.exists()  # no folder for a run that could not be set up


# Run folders --------------------------------------------------------------------------------------------------------


def make_run(config: Config, *iterations: int, now: datetime | None = None) -> Path:
    folder = create_run_folder(config, now)
    for iteration in iterations:
        save_checkpoint({"iteration": iteration}, folder / f"model_{iteration}.pt")
    return folder


def test_run_folder_holds_the_whole_configuration(logs: Path) -> None:
    config = config_of("--task=walk_flat --run_name=first --seed=7")
    folder = create_run_folder(config, datetime(2026, 11, 22, 13, 5, 59))
    assert folder == logs / "walk_flat" / "2026-11-22_13-05-59_first"
    assert load_saved_config(folder / "config.yaml") == config
    assert create_run_folder(config_of("--experiment_name=mine")).parent == logs / "mine"


def test_runs_that_start_in_the_same_second_sort_in_their_order(logs: Path) -> None:
    now = datetime(2026, 12, 31, 23, 59, 58)
    names = ["b", "a", "", "b"]
    folders = [create_run_folder(config_of(f"--run_name={name}"), now) for name in names]
    assert len(set(folders)) == len(folders)
    assert sorted(folders) == folders


def test_a_run_folder_that_cannot_be_made_is_one_line(logs: Path) -> None:
    logs.write_text("a file where the folder should be", "utf-8")
    with pytest.raises(UserError, match="cannot create a run folder"):
        create_run_folder(Config())


def test_a_start_that_fails_leaves_no_run_folder(logs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither where the runner cannot be built nor where the checkpoint does not fit."""

    class Fails:
        def __init__(self, env: object, config: Config, log_dir: Path, device: object) -> None:
            assert (log_dir / "config.yaml").is_file()
            if config.run_name == "in_runner":
                raise UserError("no memory")

        def load(self, path: str) -> None:
            raise UserError("does not fit")

    monkeypatch.setattr("legged_gym_ext.tasks._registered", {})
    register("failing", paths.CONFIGS / "walk_flat.yaml", lambda *_: None, Fails)  # type: ignore[arg-type]
    with pytest.raises(UserError, match="no memory"):
        train.main(["--task=failing", "--num_envs=1", "--run_name=in_runner"])
    run = make_run(config_of("--task=failing --num_envs=1"), 1)
    with pytest.raises(UserError, match="does not fit"):
        train.main(["--resume"])
    assert list((logs / "failing").iterdir()) == [run]


def test_load_run_finds_runs_by_name_path_and_time(logs: Path) -> None:
    old = make_run(config_of("--task=walk_flat"), 2, 10, now=datetime(2026, 1, 1))
    last = make_run(config_of("--seed=8"), 5, now=datetime(2026, 1, 2))
    empty = make_run(config_of(""), now=datetime(2026, 1, 3))

    assert find_saved(arguments("--load_run"))[1] == last / "model_5.pt"
    assert find_saved(arguments("--task=walk_flat"))[1] == old / "model_10.pt"
    assert find_saved(arguments(f"--load_run={old.name} --checkpoint=2"))[1] == old / "model_2.pt"
    assert find_saved(arguments(f"--load_run={old}"))[1] == old / "model_10.pt"
    with pytest.raises(UserError, match=empty.name):
        find_saved(arguments(f"--load_run={empty.name}"))
    with pytest.raises(UserError, match=r"no checkpoint 3 .*nearest: 2"):
        find_saved(arguments(f"--load_run={old.name} --checkpoint=3"))
    with pytest.raises(UserError, match=f"did you mean '{old.name}'"):
        find_saved(arguments(f"--load_run={old.name}x"))


def test_a_loaded_run_has_its_own_configuration_with_the_command_lines_changes(logs: Path) -> None:
    make_run(config_of("--task=walk_flat --seed=8 --num_envs=6 ppo.gamma=0.5"), 1)
    config, _ = find_saved(arguments("--load_run --num_envs=3"))
    assert (config.task, config.seed, config.env.num_envs, config.ppo.gamma) == ("walk_flat", 8, 3, 0.5)


# This machine -------------------------------------------------------------------------------------------------------


@pytest.fixture
def gpus(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Make the machine one with that many GPUs, to whoever asks torch."""

    def have(count: int) -> None:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: count)

    return have


def test_auto_without_a_gpu(gpus: Callable[[int], None]) -> None:
    gpus(0)
    runtime = resolve_runtime(config_of(""))
    assert isinstance(runtime, Runtime)
    assert runtime.engine == "mujoco"
    assert runtime.sim_device == torch.device("cpu")
    assert 1 <= runtime.num_envs <= 128 * available_cores()
    assert resolve_runtime(config_of("--num_envs=3")).num_envs == 3


@pytest.mark.parametrize(
    ("line", "engine", "device", "num_envs"),
    [
        ("", "mujoco_warp", "cuda:0", GPU_ENVS),
        ("--sim_device=cuda:1", "mujoco_warp", "cuda:1", GPU_ENVS),
        ("--sim_device=cuda", "mujoco_warp", "cuda:0", GPU_ENVS),
        ("--sim=mujoco_warp --num_envs=5", "mujoco_warp", "cuda:0", 5),
        ("--sim_device=cpu --num_envs=5", "mujoco", "cpu", 5),
        ("--sim=mujoco --num_envs=5", "mujoco", "cpu", 5),
        ("--sim=mujoco_warp --sim_device=cpu --num_envs=5", "mujoco_warp", "cpu", 5),
    ],
)
def test_auto_with_gpus(line: str, engine: str, device: str, num_envs: int, gpus: Callable[[int], None]) -> None:
    gpus(2)
    runtime = resolve_runtime(config_of(line))
    assert (runtime.engine, str(runtime.sim_device), runtime.num_envs) == (engine, device, num_envs)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("--sim=mujoco_warp --sim_device=cuda:7", "sim.device: this machine has no 'cuda:7'; it has: cpu, cuda:0"),
        ("--sim=mujoco --sim_device=cuda:0", "sim.device: the mujoco engine runs on cpu, got 'cuda:0'; --sim=mujoco_"),
    ],
)
def test_devices_that_do_not_do(line: str, message: str, gpus: Callable[[int], None]) -> None:
    gpus(1)
    with pytest.raises(UserError, match=re.escape(message)):
        resolve_runtime(config_of(line))


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no processor affinity on this system")
def test_num_envs_auto_follows_the_cores_that_may_be_used() -> None:
    cores = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(cores)})
        one = resolve_runtime(config_of("")).num_envs
    finally:
        os.sched_setaffinity(0, cores)
    assert one * len(cores) == resolve_runtime(config_of("")).num_envs or len(cores) > 16


def test_seeds_decide_all_global_generators() -> None:
    import random

    import numpy as np

    def draw(seed: int) -> tuple:
        seed_everything(seed)
        return random.random(), float(np.random.rand()), float(torch.rand(1))

    assert draw(3) == draw(3)
    assert all(a != b for a, b in zip(draw(3), draw(4), strict=True))


def test_train_builds_env_then_folder_then_runner_and_resumes(logs: Path, monkeypatch, capsys) -> None:
    """The order of things in train.py, with stand-ins that record what they were given."""
    calls: list[tuple] = []

    class Recorder:
        def __init__(self, env, config, log_dir, device) -> None:
            self.log_dir = log_dir
            calls.append(("runner", env, config.env.num_envs, log_dir, str(device)))

        def load(self, path: str) -> None:
            calls.append(("load", path))

        def learn(self, iterations: int) -> None:
            calls.append(("learn", iterations))
            save_checkpoint({"iteration": iterations}, self.log_dir / f"model_{iterations}.pt")

    def make_env(config: Config, num_envs: int, device: torch.device) -> str:
        calls.append(("env", num_envs, str(device)))
        return "env"

    monkeypatch.setattr("legged_gym_ext.tasks._registered", {})
    register("recorded", paths.CONFIGS / "walk_flat.yaml", make_env, Recorder)  # type: ignore[arg-type]

    train.main(["--task=recorded", "--num_envs=5", "--max_iterations=3"])
    first = calls[1][3]
    assert calls == [("env", 5, "cpu"), ("runner", "env", 5, first, "cpu"), ("learn", 3)]
    assert str(first) in capsys.readouterr().out

    calls.clear()
    train.main(["--resume", "--max_iterations=4"])
    second = calls[1][3]
    assert calls[2:] == [("load", str(first / "model_3.pt")), ("learn", 4)]
    assert second != first
    assert second.parent == first.parent
    assert load_saved_config(second / "config.yaml").env.num_envs == 5

"""The command line: legged_gym's flags reach the configuration, and every mistake is one line with exit code 2."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from command_line import arguments, config_of

from legged_gym_ext import paths
from legged_gym_ext.commands import train
from legged_gym_ext.config.cli import main_guard
from legged_gym_ext.tasks import register


@pytest.fixture
def exit_of(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> Callable[[str], tuple[int, str]]:
    """Run train.py's main as its last lines do; return exit code and what it wrote to stderr."""

    def run(line: str) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["train.py", *line.split()])
        with pytest.raises(SystemExit) as caught:
            main_guard(train.main)
        return int(caught.value.code or 0), capsys.readouterr().err

    return run


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


@pytest.mark.parametrize("program", ["train.py", "play.py"])
def test_help_needs_no_heavy_import(program: str) -> None:
    code = (
        f"import sys, runpy; sys.argv = ['{program}', '--help']\n"
        f"try: runpy.run_path('{program}', run_name='__main__')\n"
        "finally: print(sorted({'torch', 'mujoco', 'numba', 'warp', 'rsl_rl', 'matplotlib'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=paths.ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert done.stdout.startswith(f"usage: {program} ")
    assert "{auto,mujoco,mujoco_warp,isaacgym}" in done.stdout
    assert done.stdout.endswith("\n[]\n")


def test_guard_tells_interrupts_from_defects(exit_of, monkeypatch: pytest.MonkeyPatch, logs: Path) -> None:
    def terminated(*_: object) -> None:
        os.kill(os.getpid(), signal.SIGTERM)

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    def defective(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("legged_gym_ext.tasks._registered", {})
    register("interrupted", paths.CONFIGS / "walk_flat.yaml", make_env=interrupted)
    register("defective", paths.CONFIGS / "walk_flat.yaml", make_env=defective)
    assert exit_of("--task=interrupted") == (130, "interrupted\n")
    register("terminated", paths.CONFIGS / "walk_flat.yaml", make_env=terminated)
    assert exit_of("--task=terminated") == (130, "interrupted\n")
    monkeypatch.setattr(sys, "argv", ["train.py", "--task=defective"])
    with pytest.raises(ZeroDivisionError):
        main_guard(train.main)
    assert not logs.exists()  # no folder for a run that could not be set up

"""The train command: the order of things, a start that fails, and that the environment is closed."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
import torch
from command_line import config_of, make_run

from legged_gym_ext import paths
from legged_gym_ext.commands import train
from legged_gym_ext.config.files import load_saved_config
from legged_gym_ext.config.schema import Config
from legged_gym_ext.errors import UserError
from legged_gym_ext.runs.checkpoint import save_checkpoint
from legged_gym_ext.tasks import register


class StandIn:
    """For an environment."""

    closed = False

    def close(self) -> None:
        self.closed = True


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

    env = StandIn()

    def make_env(config: Config, num_envs: int, device: torch.device) -> StandIn:
        calls.append(("env", num_envs, str(device)))
        return env

    monkeypatch.setattr("legged_gym_ext.tasks._registered", {})
    register("recorded", paths.CONFIGS / "walk_flat.yaml", make_env, Recorder)  # type: ignore[arg-type]

    train.main(["--task=recorded", "--num_envs=5", "--max_iterations=3"])
    first = calls[1][3]
    assert calls == [("env", 5, "cpu"), ("runner", env, 5, first, "cpu"), ("learn", 3)]
    assert env.closed
    assert str(first) in capsys.readouterr().out

    calls.clear()
    train.main(["--resume", "--max_iterations=4"])
    second = calls[1][3]
    assert calls[2:] == [("load", str(first / "model_3.pt")), ("learn", 4)]
    assert second != first
    assert second.parent == first.parent
    assert load_saved_config(second / "config.yaml").env.num_envs == 5


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
    register("failing", paths.CONFIGS / "walk_flat.yaml", lambda *_: StandIn(), Fails)  # type: ignore[arg-type]
    with pytest.raises(UserError, match="no memory"):
        train.main(["--task=failing", "--num_envs=1", "--run_name=in_runner"])
    run = make_run(config_of("--task=failing --num_envs=1"), 1)
    with pytest.raises(UserError, match="does not fit"):
        train.main(["--resume"])
    assert list((logs / "failing").iterdir()) == [run]


@pytest.mark.parametrize("error", [None, UserError, KeyboardInterrupt, ZeroDivisionError])
def test_the_environment_is_closed_however_training_ends(
    error: type[BaseException] | None, logs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed: list[int] = []

    class Env:
        def close(self) -> None:
            closed.append(1)

    class Runner:
        def __init__(self, *_: object) -> None: ...

        def learn(self, iterations: int) -> None:
            assert not closed
            if error:
                raise error

    monkeypatch.setattr("legged_gym_ext.tasks._registered", {})
    register("closing", paths.CONFIGS / "walk_flat.yaml", lambda *_: Env(), Runner)  # type: ignore[arg-type]
    with pytest.raises(error) if error else contextlib.nullcontext():
        train.main(["--task=closing", "--num_envs=1"])
    assert closed == [1]

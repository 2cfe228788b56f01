"""The train command: the order of things, a start that fails, and that the environment is closed."""

from __future__ import annotations

import contextlib
from datetime import datetime
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
from legged_gym_ext.runs.origin import read_origin
from legged_gym_ext.runs.running import is_running
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
            assert is_running(self.log_dir) and read_origin(self.log_dir)["versions"]["torch"] == torch.__version__
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
    assert env.closed and not is_running(first)
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


def test_fine_tuning_is_a_new_run_with_another_ones_configuration_and_networks(logs: Path) -> None:
    config = config_of("--task=parkour_scandots --seed=5 --num_envs=3 --run_name=first distill.interval=7")
    config.runner.init_from = "some/other/run"
    run = make_run(config, 1, 4)
    asked, checkpoint, networks = train.read(["--phase", "finetune", "--load_run", run.name, "ppo.gamma=0.9"])
    assert checkpoint is None and networks == run / "model_4.pt"
    assert asked.finetune.enabled and asked.runner.init_from == str(networks) and asked.run_name == "finetune"
    assert (asked.seed, asked.env.num_envs, asked.distill.interval, asked.ppo.gamma) == (5, 3, 7, 0.9)

    line = f"--phase=finetune --load_run={run} --checkpoint=1 --run_name=mine --num_envs=2"
    asked, _, networks = train.read(line.split())
    assert networks == run / "model_1.pt" and (asked.run_name, asked.env.num_envs) == ("mine", 2)
    again = make_run(asked)  # its configuration is enough to begin alike
    assert train.read([f"--task={again / 'config.yaml'}"])[2] == networks
    assert train.read(["--phase=finetune"])[2] == run / "model_4.pt"  # the last run that has a checkpoint
    assert train.read(["--phase=train"])[0].finetune.enabled is False


def test_the_policy_that_comes_with_the_package_can_be_fine_tuned(logs: Path) -> None:
    asked, checkpoint, networks = train.read(["--phase=finetune", "--pretrained"])
    assert checkpoint is None and networks is not None and networks.parent == paths.PRETRAINED
    assert asked.finetune.enabled and asked.task == "parkour_scandots"


def test_a_fine_tuning_is_resumed_as_any_run(logs: Path) -> None:
    make_run(config_of("--num_envs=3"), 2, now=datetime(2026, 1, 1))
    plain = make_run(config_of("--num_envs=3"), 2, now=datetime(2026, 1, 2))
    tuned = make_run(config_of("--num_envs=3 finetune.enabled=true"), 5, now=datetime(2026, 1, 3))
    for line in ("--resume", "--resume --phase=finetune", f"--resume --load_run={tuned.name}"):
        asked, checkpoint, networks = train.read(line.split())
        assert checkpoint == tuned / "model_5.pt" and networks is None and asked.finetune.enabled
    for line in ("--resume --phase=train", f"--resume --phase=finetune --load_run={plain}"):
        with pytest.raises(UserError, match=r"--phase \w+: --resume goes on with a run in its own phase"):
            train.read(line.split())


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("--phase=fintune", r"unknown phase 'fintune' \(did you mean 'finetune'\?\); allowed: finetune, train"),
        ("--phase", r"expected one argument"),
        ("--phase=finetune --load_run=nothing", r"unknown run 'nothing'"),
        ("--phase=finetune --pretrained --load_run=x", r"--pretrained and --load_run both say what to load"),
        ("--phase=finetune --pretrained runner.init_from=x", r"runner.init_from: --phase finetune begins with"),
        ("--phase=finetune --pretrained distill.enabled=false", r"finetune.enabled: expected false with distill"),
        ("--phase=finetune --pretrained finetune.warmup=-1", r"finetune.warmup: expected a number >= 0, got -1"),
        ("finetune.enabled=true", r"finetune.enabled: .* begins with a student: --phase finetune --load_run RUN"),
        ("--phase=train --pretrained", r"or --phase finetune begins with; give one of these, too"),
        ("--load_run=x", r"choose what --resume goes on with, or --phase finetune begins with"),
        ("runner.init_from=nowhere", r"no checkpoint \(model_<iteration>.pt\) in '.*nowhere'"),
    ],
)
def test_what_cannot_be_fine_tuned_is_one_clear_line(line: str, message: str, logs: Path) -> None:
    with pytest.raises(UserError, match=message) as error:
        train.read(line.split())
    assert "\n" not in str(error.value)

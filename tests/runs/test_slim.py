"""Networks in a folder of their own: small, playable, and a place to start from."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from small_env import TINY
from untrained_run import untrained_run

from legged_gym_ext import paths
from legged_gym_ext.commands import evaluate, play, train
from legged_gym_ext.errors import UserError
from legged_gym_ext.runs import slim
from legged_gym_ext.runs.checkpoint import load_checkpoint
from legged_gym_ext.runs.folder import find_run, results_folder

SMALL = [
    *TINY,
    "student.encoder.kind=light",
    "student.encoder.gru_hidden=16",
    "teacher.hidden_dims=[16]",
    "distill.start=0",
    "distill.interval=1",
    "distill.steps_per_env=4",
    "distill.mini_batches=1",
    "runner.num_steps_per_env=4",
]


@pytest.fixture
def policy(logs: Path, tmp_path: Path) -> Path:
    """Return the slim folder of a run that has trained for two iterations."""
    run = untrained_run(logs, *SMALL)
    train.main(["--resume", f"--load_run={run}", "--max_iterations=2", "--logger=none", *SMALL])
    trained = find_run(logs / "parkour_depth")
    slim.main([f"--load_run={trained}", f"--output={tmp_path / 'policy'}"])
    return tmp_path / "policy"


def networks(content: dict) -> dict[str, torch.Tensor]:
    states = content["phases"]
    parts = {"actor": states["ppo"]["actor_state_dict"], "critic": states["ppo"]["critic_state_dict"]}
    parts["student"] = states["distillation"]["student"]
    return {f"{part}.{name}": tensor for part, state in parts.items() for name, tensor in state.items()}


def test_only_the_networks_are_left_and_all_of_them(policy: Path, logs: Path) -> None:
    small = load_checkpoint(policy / "model_5.pt")
    whole = load_checkpoint(find_run(logs / "parkour_depth") / "model_5.pt")
    for name, tensor in networks(whole).items():
        assert torch.equal(networks(small)[name], tensor), name
    weights = sum(tensor.numel() * tensor.element_size() for tensor in networks(small).values())
    assert (policy / "model_5.pt").stat().st_size < weights + 60_000
    assert {path.name for path in policy.iterdir()} == {"config.yaml", "model_5.pt"}


def test_it_plays_goes_on_and_can_be_begun_with(policy: Path, logs: Path, capsys) -> None:
    play.main([f"--load_run={policy}", "--headless", "--num_envs=2", "env.episode_length_s=0.2"])
    assert "policy     student" in capsys.readouterr().out
    train.main(["--resume", f"--load_run={policy}", "--max_iterations=1", "--logger=none"])
    assert (find_run(logs / "parkour_depth") / "model_6.pt").is_file()
    slow = ["ppo.learning_rate=1e-9", "ppo.schedule=fixed", "distill.encoder_learning_rate=1e-9",
            "distill.actor_learning_rate=1e-9"]  # fmt: skip
    train.main(["--max_iterations=1", "--logger=none", f"runner.init_from={policy}", *SMALL, *slow])
    content = load_checkpoint(find_run(logs / "parkour_depth") / "model_1.pt")
    assert content["iteration"] == 1 and content["total_steps"] == (4 + 4) * 4
    for name, tensor in networks(load_checkpoint(policy / "model_5.pt")).items():
        torch.testing.assert_close(networks(content)[name], tensor, rtol=1e-4, atol=1e-5, msg=name)


def test_the_packages_own_policy_is_pretrained(policy: Path, logs: Path, monkeypatch, capsys, tmp_path: Path) -> None:
    home = tmp_path / "policies"
    shutil.copytree(policy, home / "parkour_depth")
    monkeypatch.setattr(paths, "POLICIES", home)
    monkeypatch.setattr(paths, "PRETRAINED", home / "parkour_depth")
    before = sorted(home.rglob("*"))
    play.main(["--pretrained", "--headless", "--num_envs=2", "env.episode_length_s=0.2"])
    evaluate.main(["--pretrained", "--terrain=flat", "--level=1", "--episodes=1", "--policy=teacher"])
    assert (logs / "parkour_depth" / "evaluation").is_dir() and sorted(home.rglob("*")) == before
    assert results_folder(policy / "model_5.pt") == policy
    with pytest.raises(UserError, match="--pretrained and --load_run both say what to load"):
        play.main(["--pretrained", "--load_run=x"])


def test_mistakes_are_one_line(policy: Path, tmp_path: Path) -> None:
    for flags, line in (
        ([], "--output: the folder to write is needed"),
        ([f"--output={policy}"], "there is a checkpoint in it already"),
    ):
        with pytest.raises(UserError, match=line):
            slim.main([f"--load_run={policy}", *flags])
    with pytest.raises(UserError, match="no checkpoint"):
        train.main([f"runner.init_from={tmp_path / 'nowhere'}", *SMALL])
    with pytest.raises(UserError, match=r"teacher.hidden_dims=\[16\] there and \[8\] here"):
        train.main([f"runner.init_from={policy}", *SMALL, "teacher.hidden_dims=[8]"])

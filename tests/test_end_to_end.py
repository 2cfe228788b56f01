"""The whole program on the real environment: training, resuming, and the files that a run leaves."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from legged_gym_ext.config.files import load_config
from legged_gym_ext.config.schema import Config
from legged_gym_ext.envs.parkour_env import ParkourEnv
from legged_gym_ext.learning.runner import ParkourRunner
from legged_gym_ext.paths import PRETRAINED, ROOT
from legged_gym_ext.runs.settle import seed_everything, settle

TINY = [
    *("terrain.levels=2", "terrain.variants=1", "runner.num_steps_per_env=6", "teacher.hidden_dims=[32,16]"),
    "student.encoder.gru_hidden=16",
    *("guide.iterations=1", "guide.rounds=1", "guide.steps_per_env=6", "guide.mini_batches=2"),
    *("distill.start=1", "distill.interval=2", "distill.steps_per_env=7", "distill.beta=0.5"),
    *("distill.bptt_steps=4", "env.episode_length_s=0.5", "ppo.num_learning_epochs=2", "runner.logger=none"),
]


def make_runner(config: Config, folder: Path | None = None) -> ParkourRunner:
    return ParkourRunner(ParkourEnv(config, 6, torch.device("cpu")), config, folder, "cpu")


def flatten(value: object, path: str = "") -> dict[str, object]:
    if isinstance(value, dict):
        return {k: v for key, item in value.items() for k, v in flatten(item, f"{path}/{key}").items()}
    if isinstance(value, (list, tuple)):
        return {k: v for key, item in enumerate(value) for k, v in flatten(item, f"{path}/{key}").items()}
    return {path: value}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("task", "engine"),
    [("parkour_depth", "mujoco"), ("parkour_scandots", "mujoco"), ("parkour_depth", "mujoco_warp")],
)
def test_resuming_goes_on_bit_for_bit(task: str, engine: str, tmp_path: Path) -> None:
    """3 iterations and 3 more after a restart leave the same checkpoint as 6 in one go."""
    config = settle(load_config(task, [*TINY, f"sim.engine={engine}"]))
    seed_everything(config.seed)
    whole = make_runner(config, tmp_path / "whole")
    whole.learn(6)

    seed_everything(config.seed)
    make_runner(config, tmp_path / "parts").learn(3)
    seed_everything(999)  # a new process does not know the old one's generators
    resumed = make_runner(config, tmp_path / "parts")
    resumed.load(str(tmp_path / "parts" / "model_3.pt"))
    resumed.learn(3)

    assert {p.name for p in (tmp_path / "parts").glob("*.pt")} == {"model_3.pt", "model_6.pt"}
    contents = [flatten(torch.load(tmp_path / name / "model_6.pt", weights_only=True)) for name in ("whole", "parts")]
    assert contents[0].keys() == contents[1].keys()
    assert any("student" in key for key in contents[0]) and any("simulator" in key for key in contents[0])
    for key, value in contents[0].items():
        same = torch.equal(value, contents[1][key]) if isinstance(value, torch.Tensor) else value == contents[1][key]
        assert same, key


@pytest.mark.parametrize(
    "changes",
    [
        ["terrain.seed=5"],
        ["terrain.levels=20"],
        ["terrain.gaps.proportion=0"],
        ["randomization.action_latency=[2,2]"],
        ["randomization.camera_latency=[2,12]"],
        pytest.param(["sim.engine=mujoco_warp"], marks=pytest.mark.slow),
    ],
)
def test_resuming_in_another_world_starts_new_episodes_in_it(changes: list[str], tmp_path: Path, capsys: Any) -> None:
    config = settle(load_config("parkour_depth", [*TINY, "sim.engine=mujoco"]))
    make_runner(config, tmp_path).learn(1)
    runner = make_runner(settle(load_config("parkour_depth", [*TINY, "sim.engine=mujoco", *changes])))
    capsys.readouterr()
    runner.load(str(tmp_path / "model_1.pt"))
    assert capsys.readouterr().out.endswith(f" has other values of {changes[0].partition('=')[0]}\n")
    assert isinstance(runner.env, ParkourEnv)
    assert torch.equal(runner.env.boxes, runner.env.library.boxes[runner.env.simulator.snapshot()["tile"]])
    runner.learn(1)
    assert runner.iteration == 2


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["auto", "mujoco_warp"])
def test_the_newcomers_run_leaves_what_the_readme_says(engine: str) -> None:
    command = [sys.executable, "train.py", "--task=parkour_depth", "--num_envs=4", "--max_iterations=2", "--seed=1"]
    command += [f"--sim={engine}", "--sim_device=cpu"]
    extra = [
        "guide.iterations=1",
        "guide.rounds=1",
        "distill.start=0",
        "distill.interval=1",
        "distill.steps_per_env=4",
        "distill.bptt_steps=4",
    ]
    name = f"_test_{os.getpid()}"
    experiment = ROOT / "logs" / name
    try:
        done = subprocess.run(
            [*command, f"--experiment_name={name}", *extra, "env.episode_length_s=0.3"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert done.returncode == 0, done.stderr
        assert "teacher     student" in done.stdout and "time left" in done.stdout
        (folder,) = experiment.iterdir()
        assert {"config.yaml", "model_2.pt"} <= {path.name for path in folder.iterdir()}
        assert load_config(str(folder / "config.yaml"), []).seed == 1

        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

        events = EventAccumulator(str(folder))
        events.Reload()
        tags = set(events.Tags()["scalars"])
        for tag in ("Return", "EpisodeLength", "SuccessRate", "TerrainLevel", "Reward/alive", "Health/diverged"):
            assert {f"{tag}/teacher", f"{tag}/student"} <= tags, tag
        assert "Distill/loss" in tags
    finally:
        shutil.rmtree(experiment, ignore_errors=True)


@pytest.mark.slow
def test_a_student_is_fine_tuned_played_and_evaluated() -> None:
    """As a user does it, from the policy that comes with the package, whose checkpoint has no environments."""
    name = f"_test_finetune_{os.getpid()}"
    experiment = ROOT / "logs" / name

    def run(program: str, *arguments: str) -> str:
        command = [sys.executable, program, f"--experiment_name={name}", "--sim_device=cpu", *arguments]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr
        return done.stdout

    small = ["--num_envs=4", "terrain.variants=1", "finetune.num_steps_per_env=6", "finetune.warmup=1"]
    try:
        out = run("train.py", "--phase=finetune", "--pretrained", "--max_iterations=2", *small)
        assert f"begins as  {PRETRAINED}" in out and "fine-tuning     value" in out
        (first,) = experiment.iterdir()
        assert first.name.endswith("_finetune")
        out = run("train.py", "--resume", f"--load_run={first}", "--max_iterations=1")
        assert "resumed" in out and "iteration 3/3" in out and "new episodes" not in out
        (tuned,) = set(experiment.iterdir()) - {first}
        for policy in ("student", "teacher"):
            out = run("play.py", f"--load_run={tuned}", f"--policy={policy}", "--episodes=2", "--headless")
            assert f"policy     {policy}" in out
        few = ["--terrain=flat", "--level=0", "--setting=nominal", "--episodes=2"]
        run("evaluate.py", f"--load_run={tuned}", *few)
        (report,) = tuned.glob("evaluation/3_*/report.md")
        assert "student" in report.read_text("utf-8") and "teacher" in report.read_text("utf-8")
    finally:
        shutil.rmtree(experiment, ignore_errors=True)

"""Which changes of the configuration let episodes go on with a resumed run, and which do not."""

from __future__ import annotations

import functools
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import pytest
import torch
from dummy_env import small_config
from dummy_runner import assert_same, distillation, make

from legged_gym_ext.config.files import load_saved_config
from legged_gym_ext.config.schema import Config, TeacherConfig
from legged_gym_ext.paths import PRETRAINED
from legged_gym_ext.runs.checkpoint import load_checkpoint, save_checkpoint
from legged_gym_ext.runs.resume import keys_that_forbid_it, other_networks


@pytest.mark.parametrize(
    "key", ["terrain.seed", "terrain.gaps.proportion", "sim.dt", "camera.near", "height_scan.clip", "robot.armature"]
)
def test_another_world_starts_new_episodes_and_says_why(key: str, tmp_path: Path, capsys: Any) -> None:
    make(tmp_path).learn(2)
    path = str(tmp_path / "model_2.pt")
    config = small_config()
    *sections, name = key.split(".")
    section = functools.reduce(getattr, sections, config)
    setattr(section, name, getattr(section, name) + 1)
    config.sim.mujoco.threads = 7  # does not matter
    other = make(None, config)
    capsys.readouterr()
    other.load(path)
    assert capsys.readouterr().out == f"environments start new episodes: '{path}' has other values of {key}\n"
    assert other.lanes["student"].snapshot is None and other.iteration == 2
    assert_same(other.alg.save(), load_checkpoint(path)["phases"]["ppo"])
    other.learn(1)
    assert distillation(other).rounds == 2


def test_another_engine_starts_new_episodes_whatever_auto_meant(tmp_path: Path, capsys: Any) -> None:
    make(tmp_path).learn(1)
    path = tmp_path / "model_1.pt"
    config = small_config()
    config.sim.engine, config.sim.device = "mujoco", "cpu"  # what auto means here
    same = make(None, config)
    capsys.readouterr()
    same.load(str(path))
    assert capsys.readouterr().out == "" and same.lanes["student"].snapshot is not None
    content = load_checkpoint(path)
    content["config"]["sim"] |= {"engine": "mujoco_warp", "device": "cuda:3"}  # what auto meant on another machine
    save_checkpoint(content, path)
    other = make(None)
    other.load(str(path))
    assert "has other values of sim.engine, sim.device\n" in capsys.readouterr().out
    assert other.lanes["student"].snapshot is None


def test_a_student_can_be_added_to_a_run_without_one(tmp_path: Path, capsys: Any) -> None:
    config = small_config()
    config.distill.enabled = False
    make(tmp_path, config).learn(1)
    runner = make(None)
    runner.load(str(tmp_path / "model_1.pt"))
    assert "has other values of distill.enabled\n" in capsys.readouterr().out
    runner.learn(1)
    assert distillation(runner).rounds == 1


def test_episodes_go_on_where_the_configuration_changes_other_things(tmp_path: Path, capsys: Any) -> None:
    make(tmp_path).learn(1)
    config = small_config(max_iterations=7)
    config.rewards.weights = {"alive": 1.0}
    config.ppo.gamma, config.curriculum.promote, config.env.episode_length_s = 0.9, 0.7, 9.0
    other = make(None, config)
    capsys.readouterr()
    other.load(str(tmp_path / "model_1.pt"))
    assert capsys.readouterr().out == ""
    assert_same(other.env.snapshot(), load_checkpoint(tmp_path / "model_1.pt")["ranks"][0]["lanes"]["teacher"])


def test_a_checkpoint_from_before_cameras_could_be_late_goes_on_with_cameras_that_are_not() -> None:
    saved, now = asdict(small_config()), small_config()
    del saved["randomization"]["camera_latency"]
    assert keys_that_forbid_it(saved, now) == []
    now.randomization.camera_latency = [0, 7]
    assert keys_that_forbid_it(saved, now) == ["randomization.camera_latency"]
    old = load_saved_config(PRETRAINED / "config.yaml")
    assert old.randomization.camera_latency == [0, 0] and old.camera.latency == 0


OTHER_TEACHERS = {
    "kind": "scandots", "hidden_dims": [24, 16], "critic_hidden_dims": [24, 16], "activation": "relu",
    "normalize_observations": True, "init_noise_std": 0.5, "depth_gain": 1.0, "depth_block": 4,
    "scan_encoder_dims": [9],
}  # fmt: skip
"""Another value of each key of the section ``teacher``."""


@pytest.mark.parametrize("kind", ["depth", "scandots"])
def test_every_key_of_the_teacher_that_changes_its_networks_is_named(kind: str) -> None:
    def shapes(config: Config) -> dict[str, torch.Size]:
        alg = make(None, config).alg
        return {
            f"{name}.{key}": value.shape
            for name, module in (("actor", alg.actor), ("critic", alg.critic))
            for key, value in module.state_dict().items()
        }

    def config_of() -> Config:
        config = small_config()
        config.teacher.kind, config.teacher.depth_block = kind, 2
        return config

    before, named = config_of(), []
    for name, value in OTHER_TEACHERS.items():
        now = config_of()
        setattr(now.teacher, name, value)
        told = other_networks(asdict(before), now)
        if shapes(now) != shapes(before):
            assert told == f"teacher.{name}={getattr(before.teacher, name)} there and {value} here"
            named.append(name)
    assert named == [
        *(["kind"] if kind == "depth" else []),
        *("hidden_dims", "critic_hidden_dims", "normalize_observations"),
        "depth_block" if kind == "depth" else "scan_encoder_dims",
    ]
    assert OTHER_TEACHERS.keys() == {field.name for field in fields(TeacherConfig)}

"""policy.yaml, against what the configuration and the URDF say, read in another way."""

from __future__ import annotations

import hashlib
import math
import re
import xml.etree.ElementTree as ET
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from random_export import make_export, make_student, random_steps, small_student_config, write

from legged_gym_ext import paths
from legged_gym_ext.deploy import folder
from legged_gym_ext.deploy.specification import velocity_limits
from legged_gym_ext.envs import observations
from legged_gym_ext.envs.observations import PRIVILEGED_TERMS
from legged_gym_ext.errors import UserError
from legged_gym_ext.models.encoders.options import LightOptions
from legged_gym_ext.robot import load_robot

URDF = paths.ROOT / "resources" / "robots" / "biped10" / "biped10.urdf"


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A policy whose every number is another one than by default."""
    config = small_student_config("gait_phase")
    config.student.encoder = LightOptions(gru_hidden=12, image_features=8)
    config.sim.dt, config.sim.decimation = 0.004, 5
    config.robot.stiffness = {"hip": 120.0, "hip_pitch": 130.0, "knee": 210.0, "left_knee": 220.0, "ankle": 45.0}
    config.robot.damping = {"hip": 3.0, "knee": 5.0, "ankle": 1.5}
    config.robot.armature = 0.02
    config.observations.clip = 50.0
    config.observations.noise.joint_vel = 1.25
    config.rewards.gait_period = 0.7
    config.commands.forward_speed, config.commands.max_yaw_rate, config.commands.heading_gain = [0.3, 0.9], 0.8, 1.1
    camera = config.camera
    camera.pitch_degrees, camera.horizontal_fov_degrees, camera.position = 40.0, 70.0, [0.1, 0.02, 0.3]
    camera.near, camera.update_interval, camera.latency = 0.1, 4, 2
    config.randomization.camera_latency, config.randomization.action_latency = [1, 3], [0, 2]
    path = tmp_path_factory.mktemp("exported") / "out"
    write(path, config, 30)
    return path


@pytest.fixture(scope="module")
def content(exported: Path) -> dict[str, Any]:
    return yaml.safe_load((exported / "policy.yaml").read_text("utf-8"))


def test_the_robot_is_the_urdfs_and_the_configurations(content: dict[str, Any]) -> None:
    robot = content["robot"]
    names = [f"{side}_{joint}_joint" for side in ("left", "right") for joint in ("hip_yaw", "hip_roll", "hip_pitch")]
    names = [*names[:3], "left_knee_joint", "left_ankle_joint", *names[3:], "right_knee_joint", "right_ankle_joint"]
    assert robot["joint_names"] == names
    limits = {
        joint.get("name"): {key: float(value) for key, value in joint.find("limit").attrib.items()}  # type: ignore[union-attr]
        for joint in ET.parse(URDF).getroot().iter("joint")
        if joint.get("type") == "revolute"
    }
    np.testing.assert_allclose(robot["joint_pos_limits"], [[limits[n]["lower"], limits[n]["upper"]] for n in names])
    np.testing.assert_allclose(robot["torque_limits"], [limits[name]["effort"] for name in names])
    np.testing.assert_allclose(robot["joint_vel_limits"], [limits[name]["velocity"] for name in names])
    assert robot["joint_stiffness"] == [120.0, 120.0, 130.0, 220.0, 45.0, 120.0, 120.0, 130.0, 210.0, 45.0]
    assert robot["joint_damping"] == [3.0, 3.0, 3.0, 5.0, 1.5] * 2
    assert robot["default_joint_pos"] == [0.0, 0.0, -0.25, 0.55, -0.3] * 2
    assert (robot["armature"], robot["feet"]) == (0.02, ["left_ankle_link", "right_ankle_link"])
    # Of the URDF: pelvis to hip, thigh and shank of the bent leg, ankle to sole.
    joints = {joint.get("name"): joint.find("origin") for joint in ET.parse(URDF).getroot().iter("joint")}
    drop = {name: -float(origin.get("xyz").split()[2]) for name, origin in joints.items()}  # type: ignore[union-attr]
    hip = sum(drop[f"left_{joint}_joint"] for joint in ("hip_yaw", "hip_roll", "hip_pitch"))
    thigh, shank, foot = drop["left_knee_joint"], drop["left_ankle_joint"], 0.07
    bent = hip + thigh * math.cos(0.25) + shank * math.cos(0.55 - 0.25) + foot
    assert robot["base_height"] == pytest.approx(bent, abs=0.01)
    assert robot["urdf"] == "robot.urdf"


def test_control_actions_and_commands_are_the_configurations(content: dict[str, Any]) -> None:
    assert (content["format"], content["version"]) == ("legged_gym_ext.policy", 1)
    assert content["control"] == {"period": pytest.approx(0.02), "physics_dt": 0.004, "action_latency": [0, 2]}
    assert content["action"] == {"scale": [0.25] * 10, "offset": [0.0, 0.0, -0.25, 0.55, -0.3] * 2, "clip": 10.0}
    assert (content["observation_clip"], content["normalizer"], content["gait"]) == (50.0, None, {"period": 0.7})
    commands = content["commands"]
    assert commands["ranges"] == [[0.3, 0.9], [0.0, 0.0], [-0.8, 0.8], [-math.pi, math.pi]]
    assert (commands["heading_gain"], commands["max_yaw_rate"]) == (1.1, 0.8)
    assert len(commands["names"]) == len(commands["units"]) == len(commands["seen"]) == 4
    assert content["memory"] == {"shape": [1, 1, 12], "initial": 0.0}


def test_observations_are_raw_with_their_scales(content: dict[str, Any]) -> None:
    table = {row["name"]: row for row in content["observations"]}
    expected = {  # scale, offset, noise
        "base_lin_vel": ([2.0] * 3, [0.0] * 3, 0.1),
        "base_ang_vel": ([0.25] * 3, [0.0] * 3, 0.2),
        "projected_gravity": ([1.0] * 3, [0.0] * 3, 0.05),
        "commands": ([2.0, 2.0, 0.25, 1.0], [0.0] * 4, 0.0),
        "joint_pos": ([1.0] * 10, [0.0, 0.0, 0.25, -0.55, 0.3] * 2, 0.01),
        "joint_vel": ([0.05] * 10, [0.0] * 10, 1.25),
        "actions": ([1.0] * 10, [0.0] * 10, 0.0),
        "gait_phase": ([1.0] * 2, [0.0] * 2, 0.0),
    }
    assert list(table) == list(expected)
    for name, (scale, offset, noise) in expected.items():
        row = table[name]
        assert (row["scale"], row["offset"], row["noise"], row["size"]) == (scale, offset, noise, len(scale))
        assert row["unit"] and row["meaning"]
    assert {name for name, row in table.items() if row["frame"] == "base"} == set(list(expected)[:3])


def test_the_camera_is_where_and_what_the_configuration_says(content: dict[str, Any]) -> None:
    camera = content["camera"]
    assert (camera["rows"], camera["columns"], camera["near"], camera["far"]) == (20, 16, 0.1, 3.0)
    assert camera["horizontal_fov"] == pytest.approx(math.radians(70))
    assert math.atan(8 / camera["focal"]) == pytest.approx(math.radians(35))  # from the middle to the edge
    assert camera["position"] == [0.1, 0.02, 0.3]
    w, x, y, z = camera["quat"]
    axis = [1 - 2 * (y * y + z * z), 2 * (x * y + w * z), 2 * (x * z - w * y)]  # where its x axis looks
    np.testing.assert_allclose(axis, [math.cos(math.radians(40)), 0, -math.sin(math.radians(40))], atol=1e-9)
    assert camera["period"] == pytest.approx(0.08)
    np.testing.assert_allclose(camera["latency"], [2 * 0.08 + 0.02, 2 * 0.08 + 0.06])
    assert (camera["depth_noise"], camera["dropout"], camera["position_noise"]) == (0.005, 0.005, 0.01)
    assert camera["rotation_noise"] == pytest.approx(math.radians(1)) and camera["missing"] == "far"


def test_every_file_has_its_checksum(exported: Path, content: dict[str, Any]) -> None:
    there = {path.relative_to(exported).as_posix() for path in exported.rglob("*") if path.is_file()}
    assert set(content["files"]) == there - {"policy.yaml"}
    for name, checksum in content["files"].items():
        assert hashlib.sha256((exported / name).read_bytes()).hexdigest() == checksum
    networks = {f"{part}.{kind}" for part in ("policy", "depth_encoder", "student_actor") for kind in ("onnx", "pt")}
    documents = {"policy.yaml", "golden.npz", "policy_runtime.py", "robot.urdf", "README.md", "LICENSE"}
    expected = networks | documents | {"depth_encoder.pth", "student_actor.pth"}
    assert {name for name in there if not name.startswith("cpp/")} == expected
    assert {name for name in there if name.startswith("cpp/")}
    assert (exported / "robot.urdf").read_bytes() == URDF.read_bytes()
    assert (exported / "policy_runtime.py").read_bytes() == folder.RUNTIME.read_bytes()
    assert (exported / "LICENSE").read_text() == (paths.ROOT / "LICENSE").read_text()


def test_the_readme_says_what_a_robot_must_provide(exported: Path) -> None:
    text = (exported / "README.md").read_text("utf-8")
    for words in (
        "base_lin_vel",
        "state estimator",
        "never been on a robot",
        "python policy_runtime.py --check",
        "reset()",
    ):
        assert words in text
    assert "40 degrees down" in text and "70 degrees across" in text and "0.3 to 0.9" in text
    assert not re.search(r"\{\{|\{%|None|Undefined", text)
    assert str(exported) not in text and str(paths.ROOT) not in text


def test_nothing_in_a_folder_names_a_path_of_the_machine_it_was_made_on(exported: Path) -> None:
    for path in exported.rglob("*"):
        if path.is_file():
            contents = [path.read_bytes()]
            if zipfile.is_zipfile(path):
                with zipfile.ZipFile(path) as archive:
                    contents += [archive.read(name) for name in archive.namelist()]
            assert not any(str(paths.ROOT).encode() in content or b"site-packages" in content for content in contents)


def test_the_card_of_a_run_goes_with_its_policy(tmp_path: Path) -> None:
    config = small_student_config("gait_phase")
    config.student.encoder = LightOptions(gru_hidden=12, image_features=8)
    student = make_student(config)
    export = make_export(student, config, random_steps(student, config, 30))
    (tmp_path / "card").write_text("what it can do")
    folder.write(replace(export, card=tmp_path / "card"), tmp_path / "out")
    assert (tmp_path / "out" / "MODEL_CARD.md").read_text() == "what it can do"
    assert "MODEL_CARD.md" in (tmp_path / "out" / "README.md").read_text()
    assert (paths.PRETRAINED / folder.CARD).is_file()


def test_a_robots_meshes_go_with_it(tmp_path: Path) -> None:
    config = small_student_config("gait_phase")
    config.student.encoder = LightOptions(gru_hidden=12, image_features=8)
    student = make_student(config)
    export = make_export(student, config, random_steps(student, config, 30))
    (tmp_path / "robot" / "meshes").mkdir(parents=True)
    (tmp_path / "robot" / "meshes" / "foot.stl").write_bytes(b"a mesh")
    (tmp_path / "robot" / "meshes" / "hand.stl").write_bytes(b"not named")
    visual = '<visual><geometry><mesh filename="package://robot/meshes/foot.stl"/></geometry></visual>'
    text = URDF.read_text("utf-8").replace('<link name="pelvis">', f'<link name="pelvis">{visual}')
    (tmp_path / "robot" / "mine.urdf").write_text(text, "utf-8")
    folder.write(replace(export, urdf=tmp_path / "robot" / "mine.urdf"), tmp_path / "out")
    assert (tmp_path / "out" / "robot.urdf").read_text("utf-8") == text
    assert (tmp_path / "out" / "meshes" / "foot.stl").read_bytes() == b"a mesh"
    assert [path.name for path in (tmp_path / "out" / "meshes").iterdir()] == ["foot.stl"]
    assert "meshes/foot.stl" in yaml.safe_load((tmp_path / "out" / "policy.yaml").read_text("utf-8"))["files"]


def test_the_same_student_gives_the_same_folder(tmp_path: Path) -> None:
    """Byte for byte, but for TorchScript's, which numbers the modules of a process."""
    config = small_student_config("gait_phase")
    config.student.encoder = LightOptions(gru_hidden=12, image_features=8)
    for name in ("one", "two"):
        torch.manual_seed(0)
        write(tmp_path / name, config, 30)
    one, two = (yaml.safe_load((tmp_path / name / "policy.yaml").read_text()) for name in ("one", "two"))
    for content in (one, two):
        content["files"] = {name: sum for name, sum in content["files"].items() if not name.endswith(".pt")}
        del content["sha256"]  # of them, too
    assert one == two


def test_a_joint_without_a_speed_limit_has_none(tmp_path: Path) -> None:
    text = URDF.read_text("utf-8")
    without = re.sub(r'(<joint name="left_knee_joint".*?) velocity="[\d.]+"', r"\1", text, flags=re.DOTALL)
    (tmp_path / "robot.urdf").write_text(without, "utf-8")
    limits = velocity_limits(tmp_path / "robot.urdf", ["left_hip_yaw_joint", "left_knee_joint"])
    assert limits == [23.0, math.inf]


def test_an_observation_that_no_robot_has_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    config = small_student_config("gait_phase")
    student = make_student(config)
    robot_knows_not = next(term for term in PRIVILEGED_TERMS if term.name == "friction")
    monkeypatch.setitem(observations.OTHERS, "gait_phase", robot_knows_not)
    assert load_robot(config.robot)
    with pytest.raises(UserError, match="'friction' cannot be exported"):
        make_export(student, config, random_steps(student, config, 3))

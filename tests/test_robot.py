"""The robot's description: what the shipped URDF is, and what a user's own may be."""

from __future__ import annotations

import re
from pathlib import Path

import mujoco
import numpy as np
import pytest
import yaml

from legged_gym_ext.config.files import load_config, load_saved_config, save_config
from legged_gym_ext.config.schema import RobotConfig
from legged_gym_ext.errors import UserError
from legged_gym_ext.paths import resolve
from legged_gym_ext.robot import load_robot
from legged_gym_ext.simulators.mujoco.model import build_model
from legged_gym_ext.simulators.mujoco.options import SolverOptions

URDF = resolve(RobotConfig().urdf).read_text()


def test_weighs_47_kg_and_stands_on_level_soles_at_its_base_height() -> None:
    robot = load_robot(RobotConfig())
    model, layout = build_model(robot, 0.005, SolverOptions())
    assert abs(model.body_mass.sum() - 47.0) < 0.1
    data = mujoco.MjData(model)
    data.qpos[2] = robot.base_height
    data.qpos[layout.qpos] = robot.default_joint_pos
    mujoco.mj_forward(model, data)
    soles = data.sensordata[layout.foot_pos].reshape(2, 3)
    np.testing.assert_allclose(soles[:, 2], 0.0, atol=1e-6)
    assert soles[0, 1] > 0 > soles[1, 1]
    for foot in robot.feet:
        up = data.body(foot).xmat.reshape(3, 3)[:, 2]
        np.testing.assert_allclose(up, [0, 0, 1], atol=1e-3)


def test_motors_and_joints_are_those_of_the_maker() -> None:
    """Unitree's H1, whose legs these are: torques (N m) and ranges (rad) from its description, two decimals."""
    robot = load_robot(RobotConfig())
    limits = {"hip_yaw": 200, "hip_roll": 200, "hip_pitch": 200, "knee": 300, "ankle": 40}
    ranges = {"hip_yaw": (-0.43, 0.43), "hip_roll": (-0.43, 0.43), "knee": (-0.26, 2.05), "ankle": (-0.87, 0.52)}
    for joint, torque, (low, high) in zip(robot.joints, robot.torque_limit, robot.joint_range, strict=True):
        name = re.sub("^(left|right)_|_joint$", "", joint)
        assert torque == limits[name]
        assert name == "hip_pitch" or (low, high) == ranges[name]


def test_is_mirror_symmetric() -> None:
    """Left and right links and joints are each other's mirror image in the x-z plane."""
    model = mujoco.MjSpec.from_file(str(resolve(RobotConfig().urdf))).compile()
    mirror = np.diag([1.0, -1.0, 1.0])
    for body in range(model.nbody):
        name = model.body(body).name
        if not name.startswith("left_"):
            continue
        other = model.body(name.replace("left_", "right_")).id
        assert model.body_mass[body] == model.body_mass[other]
        np.testing.assert_allclose(mirror @ model.body_pos[body], model.body_pos[other], atol=1e-9)
        np.testing.assert_allclose(mirror @ model.body_ipos[body], model.body_ipos[other], atol=1e-9)
        inertia = [_inertia(model, b) for b in (body, other)]
        np.testing.assert_allclose(mirror @ inertia[0] @ mirror, inertia[1], atol=1e-9)


def _inertia(model: mujoco.MjModel, body: int) -> np.ndarray:
    rotation = np.empty(9)
    mujoco.mju_quat2Mat(rotation, model.body_iquat[body])
    rotation = rotation.reshape(3, 3)
    return rotation @ np.diag(model.body_inertia[body]) @ rotation.T


def test_links_that_are_fixed_to_others_are_links_whatever_the_urdf_says(tmp_path: Path) -> None:
    """MuJoCo's way with URDFs merges them into their parents, and the root into the world, unless told otherwise."""
    plain = re.sub(r"<mujoco>.*?</mujoco>", "", URDF, flags=re.DOTALL)
    assert plain != URDF
    models = []
    for config in (_write(tmp_path, plain), RobotConfig()):
        model, layout = build_model(load_robot(config), 0.005, SolverOptions())
        assert layout.base_bodies.tolist() == [model.body(name).id for name in ("torso_link", "pelvis")]
        models.append(model)
    for name in ("body_mass", "body_inertia", "body_pos", "body_parentid", "jnt_range", "dof_armature"):
        np.testing.assert_array_equal(getattr(models[0], name), getattr(models[1], name))
    sizes = [model.geom_size[(model.geom_contype | model.geom_conaffinity) > 0] for model in models]
    np.testing.assert_array_equal(*sizes)


def test_a_link_that_cannot_touch_is_told_as_that(tmp_path: Path) -> None:
    start = URDF.index("<collision>", URDF.index('<link name="torso_link">'))
    end = URDF.index("</link>", start)
    config = _write(tmp_path, URDF[:start] + URDF[end:])
    with pytest.raises(UserError, match="no_contact_bodies: link 'torso_link' of robot.urdf has no collision shape"):
        load_robot(config)
    config.no_contact_bodies.remove("torso_link")
    load_robot(config)


def _write(tmp_path: Path, text: str) -> RobotConfig:
    path = tmp_path / "robot.urdf"
    path.write_text(text)
    return RobotConfig(urdf=str(path))


def test_another_robot_with_its_own_names_gains_pose_and_order(tmp_path: Path) -> None:
    """A URDF with other names works, and joints that it lists in another order than the actions do too."""
    config = _write(tmp_path, URDF.replace("left_", "l_").replace("right_", "r_").replace("_ankle_", "_fuss_"))
    parts = ("hip_yaw", "hip_roll", "hip_pitch", "knee", "fuss")
    config.joints = [f"{side}_{part}_joint" for part in parts for side in ("r", "l")]
    config.feet = ["l_fuss_link", "r_fuss_link"]
    config.no_contact_bodies = ["torso_link"]
    config.default_pose = {"hip": 0.0, "hip_pitch": -0.2, "knee": 0.4, "fuss": -0.2}
    config.stiffness = {"joint": 80.0, "l_knee": 90.0}
    config.damping = {"joint": 3.0}
    robot = load_robot(config)
    assert robot.default_joint_pos.tolist() == [0, 0, 0, 0, -0.2, -0.2, 0.4, 0.4, -0.2, -0.2]
    assert robot.stiffness.tolist() == [80] * 7 + [90] + [80] * 2
    model, layout = build_model(robot, 0.005, SolverOptions())
    for column, joint in enumerate(config.joints):
        assert model.jnt_qposadr[model.joint(joint).id] == layout.qpos[column]
        assert model.actuator(column).name == joint


def test_a_robot_with_other_names_is_configured_in_yaml(tmp_path: Path) -> None:
    """Its mappings replace those of the default robot, whose joints it does not have; a saved run keeps them."""
    (tmp_path / "robot.urdf").write_text(URDF.replace("_knee_", "_knie_").replace("_ankle_", "_fuss_"))
    joints = [f"{side}_{part}_joint" for side in ("left", "right") for part in ("hip_yaw", "hip_roll", "hip_pitch")]
    joints += [f"{side}_{part}_joint" for side in ("left", "right") for part in ("knie", "fuss")]
    robot = {
        "urdf": str(tmp_path / "robot.urdf"),
        "joints": joints,
        "feet": ["left_fuss_link", "right_fuss_link"],
        "no_contact_bodies": ["pelvis"],
        "default_pose": {"hip": 0.0, "knie": 0.4, "fuss": -0.2},
        "stiffness": {"joint": 100.0, "knie_joint": 120.0},
        "damping": {"joint": 2.0},
    }
    path = tmp_path / "my_robot.yaml"
    path.write_text(yaml.safe_dump({"base": "parkour_depth", "robot": robot}))
    config = load_config(str(path), ["robot.stiffness.fuss_joint=30"])
    save_config(config, tmp_path / "config.yaml")
    for read in (config, load_saved_config(tmp_path / "config.yaml")):
        made = load_robot(read.robot)
        assert made.default_joint_pos.tolist() == [0] * 6 + [0.4, -0.2] * 2
        assert made.stiffness.tolist() == [100] * 6 + [120, 30] * 2
        assert made.damping.tolist() == [2] * 10


def test_a_gain_that_no_joint_takes_is_one_clear_line() -> None:
    message = r"robot.stiffness.hip has no effect: longer keys name all of its joints: hip_yaw, hip_roll, hip_pitch"
    with pytest.raises(UserError, match=message):
        load_robot(load_config("parkour_depth", ["robot.stiffness.hip=80"]).robot)
    with pytest.raises(UserError, match="name part in robot.damping 'kneee'"):
        load_robot(load_config("parkour_depth", ["robot.damping.kneee=80"]).robot)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text.replace('knee_joint" type="revolute"', 'knee_joint" type="fixed"'), "8 actuated"),
        (lambda text: text.replace('"torso_joint" type="fixed"', '"torso_joint" type="revolute"'), "11 actuated"),
        (lambda text: text.replace("left_knee_joint", "left_kneel_joint"), "did you mean 'left_kneel_joint'"),
        (lambda text: text.replace("left_ankle_link", "left_foot_link"), "link in robot.feet"),
        (lambda text: text.replace("</robot>", ""), "robot.urdf"),
        (lambda text: "", "robot.urdf"),
        (lambda text: re.sub(r'lower="-0.87"', 'lower="-0.1"', text), "default_pose: outside the range of left_ankle"),
    ],
)
def test_a_urdf_that_does_not_fit_is_one_clear_line(tmp_path: Path, change, message: str) -> None:
    with pytest.raises(UserError, match=message) as error:
        load_robot(_write(tmp_path, change(URDF)))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("urdf", "no/such.urdf", "no such file"),
        ("joints", ["left_knee_joint"], "10 names"),
        ("feet", ["left_ankle_link"], "2 names"),
        ("no_contact_bodies", ["pelvi"], "did you mean 'pelvis'"),
        ("default_pose", {"hip_yaw": 0.0}, "no key is part of the joint name 'left_hip_roll_joint'"),
        ("hips", ["hip_roll", "elbow"], "unknown joint name part in robot.hips 'elbow'"),
        ("stiffness", {"joint": 1.0, "elbow": 2.0}, "unknown joint name part in robot.stiffness 'elbow'"),
    ],
)
def test_a_configuration_that_does_not_fit_is_one_clear_line(field: str, value: object, message: str) -> None:
    config = RobotConfig()
    setattr(config, field, value)
    with pytest.raises(UserError, match=message):
        load_robot(config)

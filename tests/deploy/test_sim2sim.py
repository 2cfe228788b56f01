"""Sim-to-sim: its world, camera, operator and judge, each against an independent computation or the training's own."""

from __future__ import annotations

import json
import math
import os
import re
import shutil
import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import imageio_ffmpeg
import mujoco
import numpy as np
import pytest
import torch
from small_folder import write_small_folder

from legged_gym_ext.commands import export
from legged_gym_ext.config.schema import Config, RobotConfig, TerrainConfig
from legged_gym_ext.deploy.runtime import JointCommand, read_specification
from legged_gym_ext.deploy.sim2sim import __main__ as command
from legged_gym_ext.deploy.sim2sim import course, episodes, report
from legged_gym_ext.deploy.sim2sim.camera import DepthCamera, Eyes, Stream
from legged_gym_ext.deploy.sim2sim.course import End, Guide, Judge, Situation, benchmark_tile
from legged_gym_ext.deploy.sim2sim.episodes import places, run
from legged_gym_ext.deploy.sim2sim.robot import Robot, read_robot
from legged_gym_ext.deploy.sim2sim.walk import Conditions, Episode, Motors, Walker, measure, walk
from legged_gym_ext.deploy.sim2sim.watch import Viewer
from legged_gym_ext.deploy.sim2sim.world import LEGS, TERRAIN, World
from legged_gym_ext.envs import commands, terminations
from legged_gym_ext.envs.outcome import ENDS
from legged_gym_ext.envs.parkour_env import ParkourEnv
from legged_gym_ext.errors import UserError
from legged_gym_ext.evaluation.benchmark import PARKOUR_V1, benchmark_config
from legged_gym_ext.evaluation.intervals import holm, independent_difference, wilson
from legged_gym_ext.evaluation.wording import percent
from legged_gym_ext.paths import ROOT
from legged_gym_ext.robot import load_robot
from legged_gym_ext.rotations import matrix_from_quat
from legged_gym_ext.runs.settle import settle
from legged_gym_ext.sensors.depth_camera import DepthCamera as TrainedCamera
from legged_gym_ext.sensors.height_scan import ground_height
from legged_gym_ext.sensors.raster import render_depth
from legged_gym_ext.terrain.boxes import BOX_DIM, CENTER, HALF, QUAT
from legged_gym_ext.terrain.course import Tile
from legged_gym_ext.terrain.kinds import KINDS
from legged_gym_ext.terrain.library import build_library

CPU = torch.device("cpu")
TRAINED = load_robot(RobotConfig())
SHUFFLED = [3, 1, 0, 9, 8, 2, 4, 5, 7, 6]
"""The policy's order of joints in these tests, by the URDF's."""


def specification() -> dict[str, Any]:
    """policy.yaml as far as the simulation reads it, with the joints in another order than the URDF's."""
    camera = TrainedCamera(Config().camera, 1, CPU)
    mount = camera.initial_state()
    urdf = ElementTree.parse(TRAINED.urdf).getroot()
    speed = {
        joint.attrib["name"]: float(limit.attrib["velocity"])
        for joint in urdf.iter("joint")
        for limit in joint.iter("limit")
    }

    def values(array: np.ndarray) -> list[Any]:
        return array[SHUFFLED].tolist()

    return {
        "robot": {
            "urdf": "robot.urdf",
            "joint_names": [TRAINED.joints[i] for i in SHUFFLED],
            "default_joint_pos": values(TRAINED.default_joint_pos),
            "joint_stiffness": values(TRAINED.stiffness),
            "joint_damping": values(TRAINED.damping),
            "joint_pos_limits": values(TRAINED.joint_range),
            "joint_vel_limits": [speed[TRAINED.joints[i]] for i in SHUFFLED],
            "torque_limits": values(TRAINED.torque_limit),
            "armature": TRAINED.armature,
            "base_height": TRAINED.base_height,
            "feet": list(TRAINED.feet),
        },
        "control": {"period": 0.02, "physics_dt": 0.005, "action_latency": [0, 1]},
        "camera": {"position": mount.mount_pos[0].tolist(), "quat": mount.mount_quat[0].tolist()},
    }


@pytest.fixture(scope="module")
def robot(tmp_path_factory: pytest.TempPathFactory) -> Robot:
    folder = tmp_path_factory.mktemp("policy")
    (folder / "robot.urdf").write_bytes(TRAINED.urdf.read_bytes())
    return read_robot(folder, specification())


@pytest.fixture(scope="module")
def flat(robot: Robot) -> World:
    return World(robot, tile_of([slab(0.0)]), friction=1.0)


def slab(top: float) -> np.ndarray:
    return np.array([5.0, 0.0, top - 0.5, 1, 0, 0, 0, 20.0, 20.0, 0.5])


def tile_of(boxes: list[np.ndarray]) -> Tile:
    points = np.stack([np.linspace(1.5, 12, 8), np.zeros(8), np.zeros(8)], axis=1)
    return Tile(np.stack(boxes), points)


def random_rotations(rng: np.random.Generator, count: int) -> np.ndarray:
    """Unit quaternions, uniform, (count, 4)."""
    quats = rng.standard_normal((count, 4))
    return quats / np.linalg.norm(quats, axis=1, keepdims=True)


def matrices(quats: np.ndarray) -> np.ndarray:
    return matrix_from_quat(torch.from_numpy(quats)).numpy()


# ---- the model


def test_the_model_is_the_urdf(robot: Robot, flat: World) -> None:
    """Against the URDF as read by an XML parser: masses, joint order and ranges, shapes; free base, torque motors."""
    model, urdf = flat.model, ElementTree.parse(TRAINED.urdf).getroot()
    masses = {link.attrib["name"]: float(link.find("inertial/mass").attrib["value"]) for link in urdf.findall("link")}
    for name, mass in masses.items():
        assert model.body(name).mass[0] == pytest.approx(mass), name
    assert model.body_mass.sum() == pytest.approx(sum(masses.values()))
    joints = [joint for joint in urdf.findall("joint") if joint.attrib["type"] == "revolute"]
    assert [joint.attrib["name"] for joint in joints] == list(robot.joints)
    assert model.jnt_type[0] == mujoco.mjtJoint.mjJNT_FREE and model.njnt == 1 + len(joints)
    for i, joint in enumerate(joints):
        limit = {name: float(value) for name, value in joint.find("limit").attrib.items()}
        assert model.joint(robot.joints[i]).range == pytest.approx([limit["lower"], limit["upper"]])
        assert robot.joint_pos_limits[i] == pytest.approx([limit["lower"], limit["upper"]])
        assert robot.joint_vel_limits[i] == limit["velocity"]
        assert robot.torque_limits[i] == limit["effort"]
        assert model.dof_armature[model.joint(robot.joints[i]).dofadr[0]] == TRAINED.armature
        assert model.actuator(i).trnid[0] == model.joint(robot.joints[i]).id
    assert (model.actuator_biastype == int(mujoco.mjtBias.mjBIAS_NONE)).all()
    assert (model.actuator_gainprm[:, 0] == 1).all() and (model.dof_damping == 0).all()
    collisions = [
        (link.attrib["name"], shape.find("geometry/cylinder"))
        for link in urdf.findall("link")
        for shape in link.findall("collision")
    ]
    of_robot = np.flatnonzero((model.geom_contype > 0) & (model.geom_group != TERRAIN))
    assert len(of_robot) == len(collisions)
    for geom, (link, cylinder) in zip(of_robot, collisions, strict=True):
        assert model.geom_type[geom] == mujoco.mjtGeom.mjGEOM_CAPSULE
        assert model.body(int(model.geom_bodyid[geom])).name == link
        sizes = float(cylinder.attrib["radius"]), float(cylinder.attrib["length"]) / 2
        assert model.geom_size[geom, :2] == pytest.approx(sizes)


def test_the_robot_is_the_trained_one(robot: Robot, flat: World) -> None:
    np.testing.assert_allclose(flat._soles, TRAINED.sole, atol=1e-5)
    for ours, theirs in (
        (robot.default_joint_pos, TRAINED.default_joint_pos),
        (robot.joint_stiffness, TRAINED.stiffness),
        (robot.joint_damping, TRAINED.damping),
        (robot.torque_limits, TRAINED.torque_limit),
    ):
        order = [TRAINED.joints.index(name) for name in robot.joints]
        np.testing.assert_array_equal(ours, theirs[order])


def test_the_default_pose_touches_nothing_but_ground_and_weighs_what_it_weighs(robot: Robot, flat: World) -> None:
    flat.place(np.array([0.0, 0.0, robot.base_height + 0.2]), 0.3, robot.default_joint_pos)
    assert flat.data.ncon == 0
    flat.place(np.array([0.0, 0.0, robot.base_height]), 0.3, robot.default_joint_pos)
    for _ in range(100):
        flat.step(robot.default_joint_pos, robot.joint_stiffness, robot.joint_damping)
    assert flat.data.ncon > 0


def test_torques_are_those_of_a_pd_law_within_the_limits(robot: Robot, flat: World) -> None:
    rng = np.random.default_rng(1)
    cut = 0
    for _ in range(200):
        flat.place(np.array([0.0, 0.0, 3.0]), 0.0, rng.uniform(-1, 1, 10))
        flat.data.qvel[6:] = 5 * rng.standard_normal(10)
        target, stiffness, damping = rng.uniform(-2, 2, 10), rng.uniform(0, 300, 10), rng.uniform(0, 10, 10)
        expected = []
        for joint, name in enumerate(robot.joints):
            angle, rate = flat.data.joint(name).qpos[0], flat.data.joint(name).qvel[0]
            wanted = stiffness[joint] * (target[joint] - angle) - damping[joint] * rate
            limit = robot.torque_limits[joint]
            cut += abs(wanted) > limit
            expected.append(min(max(wanted, -limit), limit))
        np.testing.assert_allclose(flat.torques(target, stiffness, damping)[0], expected, rtol=1e-12)
        before = dict(flat.limits)
        flat.step(target, stiffness, damping)
        np.testing.assert_allclose(flat.data.actuator_force, expected, rtol=1e-12)
        saturated = int((np.abs(expected) == robot.torque_limits).sum())
        assert flat.limits["torque"] - before["torque"] == saturated
    assert cut > 100


def test_motors_that_fade_drive_no_joint_beyond_its_speed_limit(robot: Robot, flat: World) -> None:
    world = World(robot, tile_of([slab(0.0)]), fading=True)
    pose, gains = robot.default_joint_pos, (np.full(10, 1e4), np.zeros(10))
    for share, left in ((0.0, 1.0), (0.4, 1.0), (0.6, 0.8), (0.75, 0.5), (0.9, 0.2), (1.0, 0.0), (1.4, 0.0)):
        for sign in (-1, 1):
            world.place(np.array([0.0, 0.0, 3.0]), 0.0, pose)
            world.data.qvel[6:] = sign * share * robot.joint_vel_limits
            drives, brakes = (world.torques(pose + direction * sign, *gains)[0] for direction in (1.0, -1.0))
            np.testing.assert_allclose(drives, sign * left * robot.torque_limits, atol=1e-9)
            np.testing.assert_allclose(brakes, -sign * robot.torque_limits)
    before = world.limits["torque"]
    world.step(pose + 1.0, *gains)  # at 1.4 times the limits, backward: all of them drive what they can
    assert world.limits["torque"] == before + 10


def test_speeds_and_positions_beyond_the_limits_are_counted(robot: Robot, flat: World) -> None:
    zero, pose = np.zeros(10), np.zeros(10)
    pose[robot.joints.index("left_knee_joint")] = 2.0501  # its range ends at 2.05
    flat.place(np.array([0.0, 0.0, 3.0]), 0.0, pose)
    flat.data.joint("right_hip_yaw_joint").qvel[0] = 40.0
    before = dict(flat.limits)
    flat.step(pose, zero, zero)
    assert {name: flat.limits[name] - before[name] for name in before} == {"torque": 0, "speed": 1, "position": 1}


def test_joints_have_hard_stops(robot: Robot, flat: World) -> None:
    """As on a robot; by MuJoCo's own softness a quick knee goes on for 0.3 rad, which the runtime takes for a fault."""
    knee = robot.joints.index("left_knee_joint")
    flat.place(np.array([0.0, 0.0, 3.0]), 0.0, robot.default_joint_pos)
    target, farthest = robot.default_joint_pos.copy(), 0.0
    target[knee] = 4.0
    for _ in range(200):
        flat.step(target, robot.joint_stiffness, robot.joint_damping)
        farthest = max(farthest, float(flat.joint_pos[knee]))
    assert 2.05 < farthest < 2.15


def test_constant_targets_hold_the_robot_upright(robot: Robot, flat: World) -> None:
    """With other gains: the policy's ankles, of 2 x 40 N m/rad, cannot hold 47 kg that tip with 370.

    And with the feet a little further back than in the default pose, where the weight is close to the heels.
    """
    stiffness, damping, pose = 10 * robot.joint_stiffness, 3 * robot.joint_damping, robot.default_joint_pos.copy()
    for joint, name in enumerate(robot.joints):
        pose[joint] += 0.05 * ("hip_pitch" in name) - 0.05 * ("ankle" in name)
    flat.place(np.zeros(3), 0.0, pose)
    height = -flat.soles()[:, 2].min()
    flat.place(np.array([0.0, 0.0, height]), 0.0, pose)
    weights = []
    for _ in range(round(3.0 / flat.period)):
        flat.step(pose, stiffness, damping)
        weights.append(sum(contact_force(flat, i)[2] for i in range(flat.data.ncon)))
        assert flat.sound and flat.rotation[2, 2] > 0.99
    assert abs(flat.position[2] - height) < 0.01 and np.linalg.norm(flat.position[:2]) < 0.1
    assert np.mean(weights[500:]) == pytest.approx(9.81 * TRAINED.mass, rel=0.01)
    np.testing.assert_allclose(flat.soles()[:, 2], 0.0, atol=2e-3)


def contact_force(world: World, contact: int) -> np.ndarray:
    """Of the ground on the robot, in the world frame, (3,), N."""
    force = np.zeros(6)
    mujoco.mj_contactForce(world.model, world.data, contact, force)
    pair = world.data.contact[contact]
    sign = 1.0 if world.model.geom_group[pair.geom2] != TERRAIN else -1.0
    return sign * force[:3] @ pair.frame.reshape(3, 3)


def test_a_base_that_is_thrown_flies_as_newton_says(robot: Robot, flat: World) -> None:
    """Without torques the centre of mass falls freely, and the state is told in the frames that it should be in."""
    flat.place(np.array([0.0, 0.0, 5.0]), 0.7, robot.default_joint_pos)
    flat.data.qvel[:6] = [1.0, -0.5, 2.0, 0.3, -0.2, 0.4]
    np.testing.assert_array_equal(flat.velocity, [1.0, -0.5, 2.0])
    np.testing.assert_array_equal(flat.angular_velocity, [0.3, -0.2, 0.4])
    mujoco.mj_forward(flat.model, flat.data)
    mujoco.mj_subtreeVel(flat.model, flat.data)
    start, speed = flat.data.subtree_com[0].copy(), flat.data.subtree_linvel[0].copy()
    steps = 200
    for _ in range(steps):
        flat.step(np.zeros(10), np.zeros(10), np.zeros(10))
    mujoco.mj_forward(flat.model, flat.data)
    time = steps * flat.period
    fallen = start + speed * time - [0, 0, 9.81 * time * (time + flat.period) / 2]  # of semi-implicit Euler steps
    np.testing.assert_allclose(flat.data.subtree_com[0], fallen, atol=2e-3)


@pytest.mark.parametrize("kind", ["ramps", "steps", "stepping_stones"])
def test_the_ground_is_the_trainings(robot: Robot, kind: str) -> None:
    tile = benchmark_tile(kind, 7, 3)
    world = World(robot, tile, 1.0)
    rng = np.random.default_rng(2)
    points = np.stack([rng.uniform(-2.5, 14, 300), rng.uniform(-2.3, 2.3, 300)], axis=1)
    boxes = torch.as_tensor(tile.boxes, dtype=torch.float32)[None]
    expected = ground_height(boxes, torch.as_tensor(points, dtype=torch.float32)[None])[0].numpy()
    found = world.ground(points)
    nothing = expected < -100
    np.testing.assert_array_equal(np.isinf(found), nothing)
    assert 0 < nothing.sum() < 250
    np.testing.assert_allclose(found[~nothing], expected[~nothing], atol=1e-4)


# ---- the camera


def rays_and_boxes(place: np.ndarray, rays: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Distances along rays (n, 3) from one place to the first box, inf where there is none: slab by slab."""
    nearest = np.full(len(rays), np.inf)
    for box, rotation in zip(boxes, matrices(boxes[:, QUAT]), strict=True):
        origin, direction = (place - box[CENTER]) @ rotation, rays @ rotation
        with np.errstate(divide="ignore"):
            near, far = (-box[HALF] - origin) / direction, (box[HALF] - origin) / direction
        enter, leave = np.minimum(near, far).max(axis=1), np.maximum(near, far).min(axis=1)
        nearest = np.where((enter <= leave) & (enter > 0), np.minimum(nearest, enter), nearest)
    return nearest


def test_depth_is_that_of_rays_against_boxes(robot: Robot) -> None:
    rng = np.random.default_rng(3)
    eyes = Eyes(width=21, height=12, farthest=4.0)
    camera = DepthCamera(eyes, robot)
    seen = 0
    for _ in range(12):
        boxes = np.zeros((9, BOX_DIM))
        boxes[:, CENTER] = rng.uniform(-3, 3, (9, 3))
        boxes[:, QUAT] = random_rotations(rng, 9)
        boxes[:, HALF] = rng.uniform(0.1, 0.8, (9, 3))
        world = World(robot, tile_of(list(boxes)), 1.0)
        world.data.qpos[:3] = rng.uniform(-1, 1, 3)
        world.data.qpos[3:7] = random_rotations(rng, 1)[0]
        base = matrices(world.data.qpos[None, 3:7])[0]
        mount = matrices(robot.camera_quat[None])[0]
        place = world.data.qpos[:3] + base @ robot.camera_position
        inside = (
            np.abs(np.einsum("bi,bij->bj", place - boxes[:, CENTER], matrices(boxes[:, QUAT]))) < boxes[:, HALF]
        ).all(axis=1)
        if inside.any():
            continue
        fx = eyes.width / 2 / math.tan(math.radians(87.0) / 2)
        v, u = np.mgrid[: eyes.height, : eyes.width]
        optical = np.stack([(u - 10.0) / fx, (v - 5.5) / fx, np.ones(u.shape)], axis=-1).reshape(-1, 3)
        body = np.stack([optical[:, 2], -optical[:, 0], -optical[:, 1]], axis=1)  # x ahead, y left, z up
        expected = rays_and_boxes(place, body @ (base @ mount).T, boxes)  # multiples of rays with depth 1: planar
        found = camera.draw(world).ravel()
        clear = np.abs(expected - 4.0) > 1e-6
        np.testing.assert_allclose(found[clear], np.where(expected > 4.0, 0.0, expected)[clear], atol=1e-9)
        seen += int((found > 0).sum())
    assert seen > 300


def test_with_its_optics_it_sees_what_the_training_sees(robot: Robot) -> None:
    tile = benchmark_tile("steps", 6, 0)
    world = World(robot, tile, 1.0)
    eyes = Eyes(width=64, height=64, horizontal_fov=math.radians(53.5))
    config = Config().camera
    trained = TrainedCamera(config, 1, CPU)
    rng = np.random.default_rng(4)
    boxes = torch.as_tensor(tile.boxes, dtype=torch.float32)[None]
    everywhere = torch.ones(1, dtype=torch.bool)
    for _ in range(4):
        world.place(
            np.array([rng.uniform(0, 10), rng.uniform(-0.5, 0.5), 1.2]), rng.uniform(-0.5, 0.5), robot.default_joint_pos
        )
        root = [
            torch.as_tensor(world.data.qpos[None, part], dtype=torch.float32) for part in (slice(0, 3), slice(3, 7))
        ]
        out = torch.zeros(1, 64 * 64)
        render_depth(
            boxes,
            *trained.pose(trained.initial_state(), *root),
            (64, 64),
            trained.focal,
            config.near,
            config.far,
            everywhere,
            out,
        )
        found = DepthCamera(eyes, robot).draw(world).ravel()
        expected = out[0].numpy()
        alike = np.isclose(np.where(found == 0, 3.0, np.minimum(found, 3.0)), expected, atol=1e-3)
        assert alike.mean() > 0.995  # all but pixels on edges


def test_legs_are_seen_only_if_asked_for(robot: Robot, flat: World) -> None:
    pose = robot.default_joint_pos.copy()
    pose[robot.joints.index("left_hip_pitch_joint")] = -1.4  # a knee in front of the camera
    flat.place(np.array([3.0, 0.0, 1.2]), 0.0, pose)
    without, with_legs = (DepthCamera(Eyes(see_robot=see), robot).draw(flat) for see in (False, True))
    changed = with_legs != without
    assert 50 < changed.sum() < 0.8 * changed.size
    assert (with_legs[changed] < without[changed]).all()
    # A pixel of the leg lies on a capsule of the model: its point is a radius away from the axis.
    rows, columns = np.nonzero(changed)
    eyes = Eyes()
    column, row = eyes.principal
    depth = with_legs[rows, columns]
    body = np.stack([depth, -(columns - column) / eyes.focal * depth, -(rows - row) / eyes.focal * depth], axis=1)
    points = flat.position + (robot.camera_position + body @ matrices(robot.camera_quat[None])[0].T) @ flat.rotation.T
    surfaces = []
    for geom in np.flatnonzero(flat.model.geom_group == LEGS):
        radius, half = flat.model.geom_size[geom, :2]
        offset, axis = points - flat.data.geom_xpos[geom], flat.data.geom_xmat[geom].reshape(3, 3)[:, 2]
        along = np.clip(offset @ axis, -half, half)
        surfaces.append(np.abs(np.linalg.norm(offset - along[:, None] * axis, axis=1) - radius))
    assert np.min(surfaces, axis=0).max() < 1e-6


def test_the_sensor_errs_as_stereo_cameras_do(robot: Robot) -> None:
    eyes = Eyes(width=200, height=100, holes=0.02, patches=0.0)
    camera, rng = DepthCamera(eyes, robot), np.random.default_rng(5)
    spreads = []
    for depth in (1.0, 2.0):
        image = camera.deliver(np.full((100, 200), depth), rng)
        assert image.dtype == np.uint16 and image.shape == (100, 200)
        assert np.mean(image == 0) == pytest.approx(0.02, abs=0.004)
        values = image[image > 0] / 1000
        assert values.mean() == pytest.approx(depth, abs=2e-3)
        spreads.append(values.std())
    # z^2 / (f B) of 0.1 pixels; 848 columns over 87 degrees and a baseline of 5 cm.
    assert spreads[0] == pytest.approx(0.1 / (424 / math.tan(math.radians(43.5)) * 0.05), rel=0.05)
    assert spreads[1] / spreads[0] == pytest.approx(4, rel=0.05)
    depth = np.full((100, 200), 1.0)
    depth[:50] = 0.0
    depth[50, 0], depth[50, 1] = 0.05, 20.0  # too near, too far
    image = camera.deliver(depth, rng)
    assert not image[:50].any() and not image[50, :2].any()
    torn = DepthCamera(Eyes(width=200, height=100, holes=0.0, patches=8.0), robot)
    holes = [int((torn.deliver(np.full((100, 200), 1.0), rng) == 0).sum()) for _ in range(20)]
    assert 0 < np.mean(holes) < 8 * 5 * 10 and max(holes) > 1


def test_images_come_at_their_own_rate_and_late(robot: Robot, flat: World) -> None:
    eyes = Eyes(width=4, height=3, latency=0.05, latency_jitter=0.01)
    flat.place(np.array([0.0, 0.0, robot.base_height]), 0.0, robot.default_joint_pos)
    stream = Stream(DepthCamera(eyes, robot), np.random.default_rng(6))
    asked, arrived = [], []
    for tick in range(5000):
        now = tick * 0.002
        for image in stream.advance(now, flat, lambda taken: asked.append(taken) or len(asked) % 3 == 0):
            arrived.append((now, image))
    assert stream.turns == len(asked) == pytest.approx(300, abs=1) and stream.drawn == len(asked) // 3
    gaps = np.diff(asked)
    assert gaps.mean() == pytest.approx(1 / 30, abs=2e-4)
    assert gaps.min() > 1 / 30 - 0.009 and gaps.max() < 1 / 30 + 0.009 and gaps.std() > 1e-3
    late = np.array([now - image.stamp for now, image in arrived])
    assert late.min() >= 0.04 and late.max() < 0.063 and late.std() > 2e-3
    assert len(arrived) >= stream.drawn - 1
    assert asked[0] % 0.02 > 1e-6 or asked[1] % 0.02 > 1e-6


# ---- operator and judge


def test_the_course_is_the_benchmarks() -> None:
    config = benchmark_config(settle(Config()), PARKOUR_V1, ["ramps", "beams"], "nominal", 1.0, 3)
    library = build_library(config.terrain)
    for number in range(3):
        for kind in ("ramps", "beams"):
            tile = benchmark_tile(kind, 8, number)
            row = int(
                library.tile_index(torch.tensor(library.kinds.index(kind)), torch.tensor(8), torch.tensor(number))
            )
            np.testing.assert_array_equal(library.boxes[row, : len(tile.boxes)].numpy(), tile.boxes.astype(np.float32))
            assert (library.boxes[row, len(tile.boxes) :, 7] == 0).all()
            np.testing.assert_array_equal(library.waypoints[row].numpy(), tile.waypoints.astype(np.float32))
    assert PARKOUR_V1.name == course.BENCHMARK and PARKOUR_V1.levels == course.LEVELS
    assert [end.word for end in ENDS] == [*End]
    assert config.randomization.initial_yaw == course.START_YAW
    assert config.randomization.initial_joint_pos == course.START_JOINTS
    from legged_gym_ext.envs import parkour_env

    assert parkour_env._PLATFORM == course.START_SPREAD
    assert parkour_env._SPAWN_CLEARANCE == course.START_CLEARANCE


def test_commands_are_the_trainings() -> None:
    rng = np.random.default_rng(7)
    n = 500
    config = Config().commands
    waypoints = np.sort(rng.uniform(0, 12, (n, 8, 3)), axis=1)
    waypoints[..., 1] = rng.uniform(-0.5, 0.5, (n, 8))
    position = rng.uniform([-1, -2, 0.8], [12, 2, 1.2], (n, 3))
    rotation = matrices(random_rotations(rng, n))
    reached = rng.integers(0, 8, n)
    speed = rng.uniform(0.4, 1.4, n)
    # Some are right at their waypoint.
    near = rng.random(n) < 0.3
    position[near, :2] = waypoints[near, reached[near], :2] + rng.uniform(-0.4, 0.4, (near.sum(), 2))
    env: Any = SimpleNamespace(
        config=SimpleNamespace(commands=config, terrain=TerrainConfig()),
        state=SimpleNamespace(waypoint=torch.as_tensor(reached.copy()), forward_speed=torch.as_tensor(speed)),
        waypoints=torch.as_tensor(waypoints),
        sim_state=SimpleNamespace(root_pos=torch.as_tensor(position)),
    )
    commands.count_waypoints(env)
    expected = commands.velocity_commands(env, commands.offset_to_waypoint(env), torch.as_tensor(rotation)).numpy()
    counts = set()
    for i in range(n):
        guide = Guide(waypoints[i], speed[i], config.heading_gain, config.max_yaw_rate)
        guide.reached = int(reached[i])
        guide.look(position[i])
        assert guide.reached == int(env.state.waypoint[i])
        counts.add(guide.reached - reached[i])
        assert guide.finished == (guide.reached == 8)
        np.testing.assert_allclose(guide.command(position[i], rotation[i]), expected[i], atol=1e-9)
    assert counts == {0, 1}


def test_episodes_end_as_the_trainings_do() -> None:
    """Random walks along a course, judged step by step by both."""
    rng = np.random.default_rng(8)
    n, period = 120, 0.02
    config = benchmark_config(settle(Config()), PARKOUR_V1, ["flat"], "nominal", 1.0, 1)
    waypoints = np.tile(tile_of([slab(0.0)]).waypoints, (n, 1, 1))
    waypoints[..., 2] = rng.uniform(-0.2, 0.3, (n, 8))
    lowest = waypoints[..., 2].min(axis=1)
    speed = rng.choice([-0.8, 0.0, 0.0187, 0.0213, 0.3, 1.0, 3.0], n)
    drift, sinking, tilting, in_gap = (rng.choice([0.0, 0.0, 0.0, top], n) for top in (0.5, 0.1, 0.2, 0.1))
    explodes = rng.choice([10_000, 10_000, 10_000, 10_000, 400], n)
    place = np.stack([rng.uniform(-0.3, 0.3, n), rng.uniform(-0.3, 0.3, n), lowest + 1.0], axis=1)

    env: Any = SimpleNamespace(
        config=config,
        dt=period,
        max_episode_length=math.ceil(PARKOUR_V1.time_limit / period),
        lowest_waypoint=torch.as_tensor(lowest),
        waypoints=torch.as_tensor(waypoints),
        state=SimpleNamespace(
            episode_length=torch.zeros(n, dtype=torch.int64),
            contact=torch.zeros(n, 2, dtype=torch.bool),
            waypoint=torch.zeros(n, dtype=torch.int64),
            **{name: torch.zeros(n, 2) for name in ("contact_time", "air_time")},
            **{name: torch.zeros(n) for name in ("progress", "milestone", "stalled_time")},
        ),
        sim_state=SimpleNamespace(foot_force=torch.zeros(n, 2, 3)),
        derived=SimpleNamespace(),
        _derive=lambda: None,
    )
    guides = [Guide(points, 1.0, 1.5, 1.0) for points in waypoints]
    judges = [Judge(points, period) for points in waypoints]
    expected: dict[int, tuple[str, int]] = {}
    found: dict[int, tuple[str, int]] = {}
    for step in range(1, env.max_episode_length + 1):
        time = step * period
        place = place + period * np.stack([speed, drift, -sinking], axis=1)
        tilt = tilting * time
        soles = np.stack([place, place], axis=1)
        soles[:, 0, 2], soles[:, 1, 2] = lowest, lowest - in_gap * time
        ground = np.stack([lowest + 0.1, np.where(in_gap > 0, -np.inf, lowest), lowest], axis=1)
        sim = env.sim_state
        sim.root_pos, sim.foot_pos = torch.as_tensor(place), torch.as_tensor(soles)
        sim.diverged = torch.as_tensor(explodes <= step)
        env.derived.projected_gravity = torch.as_tensor(np.stack([0 * tilt, -np.sin(tilt), -np.cos(tilt)], axis=1))
        floor = np.maximum(ground, lowest[:, None] - 0.5)  # as in envs/derived.py, which has the floor so deep
        env.derived.base_height = torch.as_tensor(place[:, 2] - floor.min(axis=1))
        ParkourEnv._advance(env)
        outcome = terminations.check(env).tolist()
        for i in range(n):
            if i not in expected and outcome[i] < len(ENDS):
                expected[i] = ENDS[outcome[i]].word, step
            if i not in found:
                guides[i].look(place[i])
                rotation = np.eye(3)
                rotation[2, 2] = math.cos(tilt[i])
                now = Situation(place[i], rotation, soles[i], ground[i], bool(explodes[i] > step), guides[i].finished)
                if (end := judges[i].judge(now)) is not None:
                    found[i] = end, step
                    assert judges[i].time == pytest.approx(time)
                    if end is not End.DIVERGED:  # where it is then nobody knows
                        assert judges[i].progress == pytest.approx(float(env.state.progress[i]), abs=1e-5)
    assert found == expected
    assert {end for end, _ in found.values()} == set(End)


# ---- the command


def test_it_imports_neither_torch_nor_the_training() -> None:
    program = (
        "import sys, legged_gym_ext.deploy.sim2sim.__main__\n"
        "from legged_gym_ext.deploy.sim2sim import camera, course, episodes, report, robot, walk, watch, web, world\n"
        "course.benchmark_tile('ramps', 9, 0), course.benchmark_tile('steps', 9, 0)\n"
        "print(*sorted(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    loaded = done.stdout.split()
    ours = "envs", "sensors", "models", "learning", "simulators", "rsl_rl"
    forbidden = ("torch", "rsl_rl", "tensordict", "warp", *(f"legged_gym_ext.{name}" for name in ours))
    assert [name for name in loaded if any(name == one or name.startswith(f"{one}.") for one in forbidden)] == []
    assert "legged_gym_ext.deploy.runtime" in loaded


def test_a_urdf_without_mujocos_own_section_is_the_same_robot(robot: Robot, flat: World, tmp_path: Path) -> None:
    """MuJoCo would merge its root into the world."""
    plain = re.sub(r"<mujoco>.*?</mujoco>", "", robot.urdf.read_text("utf-8"), flags=re.DOTALL)
    path = tmp_path / "robot.urdf"
    path.write_text(plain, "utf-8")
    model = World(replace(robot, urdf=path), tile_of([slab(0.0)])).model
    assert plain != robot.urdf.read_text("utf-8")
    assert [model.body(i).name for i in range(model.nbody)] == [flat.model.body(i).name for i in range(model.nbody)]
    np.testing.assert_array_equal(model.body_mass, flat.model.body_mass)


# ---- the report


def episode(kind: str, level: int, tile: int, end: End, **others: Any) -> Episode:
    limits = dict.fromkeys(("torque", "speed", "position", "target_range", "target_rate"), 0.01)
    rest = {"damping": {}, "limits": limits, "images": 100, "refused": 0, "image_age": 0.08, "seconds": 2.0}
    return Episode(kind, level, tile, end, time=10.0, distance=11.8, waypoints=8, **{**rest, **others})


def some_episodes() -> list[Episode]:
    ends = [End.FINISHED] * 7 + [End.TIPPED, End.TIPPED, End.FELL_IN]
    return [
        *(episode("gaps", 3, tile, end) for tile, end in enumerate(ends)),
        *(episode("gaps", 5, tile, End.FINISHED) for tile in range(4)),
        episode("flat", 3, 0, End.FINISHED),
        episode("flat", 3, 1, End.SANK, damping={"no depth image yet": 1}),
    ]


def evaluation(path: Path, successes: dict[tuple[str, int], tuple[int, int]], **others: str) -> Path:
    """A report.json as evaluate.py writes it, as far as it is read, with what must not be read in between."""
    cells = []
    for (kind, level), (finished, number) in successes.items():
        outcomes = {**dict.fromkeys([*End], 0), "finished": finished, "tipped over": number - finished}
        cell = {"setting": "nominal", "policy": "student", "sight": "true", "kind": kind, "level": level}
        cells.append({**cell, "episodes": number, "outcomes": outcomes, **others})
        for change in (
            {"policy": "teacher"},
            {"sight": "blank"},
            {"setting": "friction=0.3"},
            {"kind": "all"},
            {"level": None},
        ):
            cells.append({**cells[0], **change, "episodes": 7})
    heading = {"run": "a_run", "checkpoint": 3, "seed": 2**64, "time_limit": 30.0, "commanded_speed": 1.15}
    path.write_text(json.dumps({"heading": heading, "cells": cells}))
    return path


def test_cells_and_their_sums() -> None:
    cells = report.count_episodes(some_episodes())
    assert cells["gaps", 3] == report.Count(7, 10) and cells["gaps", 5] == report.Count(4, 4)
    assert cells["gaps", None] == report.Count(11, 14) and cells["all", 3] == report.Count(8, 12)
    assert cells["all", None] == report.Count(12, 16) and len(cells) == 8
    assert cells["gaps", 3].interval == wilson(7, 10)
    table = report.success_text(cells, ["flat", "beams", "gaps"], [3, 5]).splitlines()
    assert table[1].split() == ["flat", "50", "50"] and table[3].split() == ["gaps", "70", "100", "79"]
    assert table[5].split() == ["all", "kinds", "67", "100", "75"]
    assert "40 to 89" in table[4]


def test_a_comparison_is_of_two_samples_cell_by_cell(tmp_path: Path) -> None:
    there = evaluation(
        tmp_path / "report.json", {("gaps", 3): (100, 100), ("gaps", 5): (90, 100), ("ramps", 3): (1, 2)}
    )
    heading, cells = report.read_evaluation(there)
    assert heading["run"] == "a_run" and cells.keys() == {"nominal"}
    rows = report.compare(report.count_episodes(some_episodes()), cells)
    by_place = {(row.kind, row.level): row for row in rows}
    assert list(by_place) == [("gaps", 3), ("gaps", 5), ("gaps", None), ("all", 3), ("all", 5), ("all", None)]
    # Only what both have: flat is not there, ramps not here.
    row = by_place["gaps", 3]
    assert row.here == report.Count(7, 10) and row.there == report.Count(100, 100)
    assert row.difference == independent_difference(7, 10, 100, 100)
    singles = holm([by_place["gaps", level].difference.p_value for level in (3, 5)])
    assert [by_place["gaps", level].p_adjusted for level in (3, 5)] == singles
    assert row.beyond_chance and not by_place["gaps", 5].beyond_chance
    assert by_place["all", None].here == report.Count(11, 14) and by_place["all", None].there == report.Count(190, 200)
    text = report.comparison_text(rows)
    assert re.search(r"gaps, level 3 +70 +100 +-30\.0 .*, beyond chance", text)


def test_the_published_evaluation_is_compared_with_as_a_table() -> None:
    heading, cells = report.read_evaluation(ROOT / "docs" / "evaluation" / "report.csv")
    assert heading == {} and cells.keys() == {"nominal", "randomized"}
    lines = (ROOT / "docs" / "evaluation" / "report.md").read_text("utf-8").splitlines()
    table = lines[lines.index("**Student, randomized: success in % by level**") + 4 :]
    for line, kind in zip(table, KINDS, strict=False):
        name, *shares = (cell.strip() for cell in line.strip("|").split("|"))
        assert name == kind
        found = [cells["randomized"][kind, level] for level in (*range(10), None)]
        assert [percent(one.share) for one in found] == [share.replace("\\", "") for share in shares]
        assert [one.episodes for one in found] == [100] * 10 + [1000]


def test_what_is_no_evaluation_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    (tmp_path / "text.json").write_text("no json")
    (tmp_path / "list.json").write_text("[1]")
    evaluation(tmp_path / "teacher.json", {("gaps", 3): (1, 2)}, policy="teacher")
    for name in ("text.json", "list.json", "teacher.json", "missing.json", "other.csv"):
        with pytest.raises(UserError, match=f"^--compare.*{name}") as caught:
            report.read_evaluation(tmp_path / name)
        assert "\n" not in str(caught.value)


def test_the_report_says_it_all(tmp_path: Path) -> None:
    found = some_episodes()
    _, cells = report.read_evaluation(evaluation(tmp_path / "report.json", {("gaps", 3): (100, 100)}))
    against = report.compare(report.count_episodes(found), cells)
    report.write(tmp_path, {"policy": "a run", "seed": 3, "levels": [3, 5]}, found, against)
    content = json.loads((tmp_path / "sim2sim.json").read_text())
    assert content["facts"] == {"policy": "a run", "seed": 3, "levels": [3, 5]}
    assert [one["end"] for one in content["episodes"]] == [one.end for one in found]
    gaps = next(cell for cell in content["cells"] if (cell["kind"], cell["level"]) == ("gaps", 3))
    assert (gaps["successes"], gaps["episodes"]) == (7, 10) and (gaps["low"], gaps["high"]) == wilson(7, 10)
    assert [row["beyond_chance"] for row in content["against"]] == [True] * len(against)
    page = (tmp_path / "sim2sim.md").read_text()
    assert "| gaps | 70 (40 to 89 %) | 100 (51 to 100 %) |" in page
    assert "tipped over 2, fell into a gap 1 and sank down 1" in page
    assert "DAMPING) in 1 of the episodes: no depth image yet 1" in page
    assert "| gaps | 14 | 0 | 1 | 2 | 0 | 0 | 0 | 11 | 0 |" in page
    assert "| gaps, level 3 | 70 of 10 | 100 of 100 | -30.0" in page


# ---- walking


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a random policy, which falls within a second."""
    folder = tmp_path_factory.mktemp("small") / "policy"
    write_small_folder(folder)
    return folder


def conditions(small: Path, *flags: str) -> Conditions:
    return command.make_conditions(command.parse([str(small), *flags]), read_specification(small))


def without_clock(episodes: list[Episode]) -> list[Episode]:
    return [replace(one, seconds=0.0) for one in episodes]


def test_an_episode_is_the_same_whatever_came_before(small: Path) -> None:
    walker = Walker(small, conditions(small))
    first, other, again = (walk(walker, *place) for place in (("gaps", 3, 0), ("steps", 5, 1), ("gaps", 3, 0)))
    assert first and other and again
    assert without_clock([first]) == without_clock([again])
    assert (other.kind, other.level, other.tile) == ("steps", 5, 1)
    assert first.end in (End.TIPPED, End.SANK, End.FELL_IN) and 0.1 < first.time < 3
    assert first.images >= 1 and 0.02 < first.image_age < 0.2 and not first.damping
    for flag in (
        "--seed=1",
        "--speed=1.3",
        "--friction=0.3",
        "--noise=0",
        "--action_delay=0.02",
        "--holes=0.3",
    ):
        changed = walk(Walker(small, conditions(small, flag)), "gaps", 3, 0)
        assert changed and without_clock([changed]) != without_clock([first]), flag


@pytest.mark.parametrize(("flags", "fading"), [((), False), (("--fading",), True)])
def test_motors_fade_if_asked_to(small: Path, flags: tuple[str, ...], fading: bool) -> None:
    found: list[bool] = []

    def watch(world: World, guide: Guide, image: np.ndarray | None) -> bool:
        found.append(world._fading)
        return False

    assert walk(Walker(small, conditions(small, *flags)), "flat", 0, 0, watch) is None and found == [fading]


def test_images_are_as_old_as_they_are_late(small: Path) -> None:
    for latency in (0.0, 0.12):
        one = walk(Walker(small, conditions(small, f"--camera_latency={latency}", "--camera_jitter=0")), "flat", 0, 0)
        assert one and not one.damping and one.images > 2
        # An image is used until the next one comes, 0.1 s later, and comes up to a control step before it is used.
        assert latency + 0.03 < one.image_age < latency + 0.075


def test_episodes_are_the_same_in_other_processes(small: Path) -> None:
    todo = places(["flat", "ramps"], [2, 9], 1)
    assert todo == [("flat", 2, 0), ("ramps", 2, 0), ("flat", 9, 0), ("ramps", 9, 0)]
    told: list[str] = []
    here, there = (run(small, conditions(small), todo, workers, told.append) for workers in (1, 2))
    assert [(one.kind, one.level, one.tile) for one in here] == todo
    assert without_clock(here) == without_clock(there)
    assert told[-1].startswith("[4/4] success 0%   time left 0:00:00")


def test_ctrl_c_keeps_what_is_finished(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def walk_or_stop(walker: Walker, *place: Any) -> Episode | None:
        if place == ("flat", 1, 0):
            raise KeyboardInterrupt
        return episode(*place, End.FINISHED)

    monkeypatch.setattr(episodes, "walk", walk_or_stop)
    told: list[str] = []
    done = run(small, conditions(small), places(["flat", "gaps"], [0, 1], 1), 1, told.append)
    assert [(one.kind, one.level) for one in done] == [("flat", 0), ("gaps", 0)]
    assert told == ["interrupted: 2 of 4 episodes are finished"]


def test_a_process_that_dies_ends_it_and_keeps_what_is_finished(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(episodes, "_begin", os._exit)  # what a process is begun with is no exit code: it dies
    told: list[str] = []
    assert run(small, conditions(small), places(["flat"], [0, 1], 1), 2, told.append) == []
    assert told == ["a process has ended, for want of memory?: 0 of 2 episodes are finished"]


def test_a_policy_whose_camera_is_late_lets_go_and_that_is_told(small: Path) -> None:
    """Older than 0.3 s: the robot goes down with damped joints."""
    one = walk(Walker(small, conditions(small, "--camera_latency=0.5")), "flat", 0, 0)
    assert one and one.end in (End.SANK, End.TIPPED)
    assert list(one.damping.values()) == [1] and "depth image is 0." in next(iter(one.damping))


def test_whoever_watches_sees_every_step_and_can_end_it(small: Path) -> None:
    walker = Walker(small, conditions(small))
    seen: list[float] = []

    def watch(world: World, guide: Guide, image: np.ndarray | None) -> bool:
        assert image is not None and image.shape == (60, 106) and image.dtype == np.uint16
        seen.append(world.data.time)
        return len(seen) < 5

    assert walk(walker, "flat", 0, 0, watch) is None
    np.testing.assert_allclose(np.diff(seen), 0.02, atol=1e-9)

    def explode(world: World, guide: Guide, image: np.ndarray | None) -> bool:
        if world.data.time > 0.1:
            world.data.qvel[3] = math.inf
        return True

    one = walk(walker, "flat", 0, 0, explode)
    assert one and one.end is End.DIVERGED and one.time < 0.2


def test_sensors_tell_the_state_in_the_bases_frame_within_their_noise(robot: Robot, flat: World) -> None:
    rng = np.random.default_rng(9)
    guide = Guide(np.array([[5.0, 1.0, 0.0]]), 1.0, 1.5, 1.0)
    flat.data.qpos[:7] = [0.3, 0.2, 1.0, *random_rotations(rng, 1)[0]]
    flat.data.qpos[7:], flat.data.qvel[:] = rng.uniform(-1, 1, 10), rng.standard_normal(16)
    rotation = matrices(flat.data.qpos[None, 3:7])[0]
    true = {
        "base_lin_vel": rotation.T @ flat.data.qvel[:3],
        "base_ang_vel": flat.data.qvel[3:6],
        "projected_gravity": rotation.T @ [0, 0, -1],
        "joint_pos": flat.data.qpos[7:],
        "joint_vel": flat.data.qvel[6:],
    }
    quiet = measure(flat, guide, dict.fromkeys(true, 0.0), rng)
    for name, value in true.items():
        np.testing.assert_allclose(getattr(quiet, name), value, atol=1e-12)
    np.testing.assert_array_equal(quiet.command, guide.command(flat.position, flat.rotation))
    noise = {"base_lin_vel": 0.1, "base_ang_vel": 0.2, "projected_gravity": 0.05, "joint_pos": 0.01, "joint_vel": 1.0}
    errors: dict[str, list[np.ndarray]] = {name: [] for name in true}
    for _ in range(300):
        state = measure(flat, guide, noise, rng)
        assert np.linalg.norm(state.projected_gravity) == pytest.approx(1)
        for name, value in true.items():
            errors[name].append(getattr(state, name) - value)
    for name, found in errors.items():
        largest = np.abs(found).max()
        assert 0.9 * noise[name] < largest <= noise[name] * (1.8 if name == "projected_gravity" else 1), name
        assert abs(np.mean(found)) < 0.1 * noise[name]


def test_drives_get_their_targets_late() -> None:
    robot = SimpleNamespace(joint_stiffness=np.full(1, 5.0), joint_damping=np.full(1, 2.0))
    steps: list[tuple[float, ...]] = []

    def step(*values: np.ndarray) -> None:
        steps.append(tuple(float(value[0]) for value in values))

    world: Any = SimpleNamespace(robot=robot, joint_pos=np.full(1, 0.5), step=step)
    motors = Motors(world, 3)
    sent = JointCommand(np.full(1, 7.0), np.full(1, 8.0), np.full(1, 9.0))
    motors.send(sent)
    sent.position[:], sent.stiffness[:] = -1.0, -1.0  # the policy's memory, used again
    for _ in range(5):
        motors.step()
    assert steps == [(0.5, 5.0, 2.0)] * 3 + [(7.0, 8.0, 9.0)] * 2


def test_the_command_writes_its_report(small: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    there = evaluation(tmp_path / "report.json", {("flat", 0): (10, 10)})
    flags = ("--terrain=flat", "--level=0", "--episodes=2", "--workers=1", f"--out={tmp_path}", f"--compare={there}")
    command.main([str(small), *flags, "--speed=0.7", "--noise=joint_vel=0.5", "--camera=40x30", "--holes=0"])
    printed = capsys.readouterr().out
    assert "0 of 2 episodes ended at the last waypoint" in printed and "against nominal" in printed
    assert "not alike: commanded speed: 1.15 there, 0.7 here" in printed
    facts = json.loads((tmp_path / "sim2sim.json").read_text())["facts"]
    assert facts["runtime"] == "the folder's own, byte by byte"
    assert facts["speed"] == "0.7 m/s" and facts["episodes"] == "2 of 2" and facts["seed"] == 0
    assert (facts["camera"]["width"], facts["camera"]["height"]) == (40, 30)
    assert facts["camera"]["holes"] == facts["camera"]["patches"] == 0
    trained = {term["name"]: term["noise"] for term in read_specification(small)["observations"]}
    assert facts["noise"] == {**{name: trained[name] for name in facts["noise"]}, "joint_vel": 0.5}
    assert {"mujoco", "onnxruntime", "legged_gym_ext"} <= facts["versions"].keys()


def test_flags_change_the_conditions(small: Path) -> None:
    default = conditions(small)
    ranges = read_specification(small)["commands"]["ranges"]
    assert default.speed == pytest.approx(sum(ranges[0]) / 2) and default.eyes == Eyes()
    assert set(conditions(small, "--noise=0").noise.values()) == {0.0}
    assert conditions(small, "--noise=2").noise == {name: 2 * value for name, value in default.noise.items()}
    for flag, value, name in (
        ("camera_fov", 60, "horizontal_fov"),
        ("camera_rate", 60, "rate"),
        ("camera_latency", 0.1, "latency"),
        ("camera_jitter", 0.01, "jitter"),
        ("disparity_noise", 0.5, "disparity_noise"),
        ("holes", 0.1, "holes"),
    ):
        expected = math.radians(value) if flag == "camera_fov" else value
        assert conditions(small, f"--{flag}={value}").eyes == replace(Eyes(), **{name: expected})
    assert conditions(small, "--see_robot").eyes.see_robot
    changed = conditions(small, "--action_delay=0.01", "--friction=0.5", "--seed=4", "--camera_latency=0")
    assert conditions(small, "--fading").fading and not changed.fading
    assert (changed.action_delay, changed.friction, changed.seed) == (0.01, 0.5, 4)
    assert changed.eyes.latency == changed.eyes.latency_jitter == 0
    args = command.parse([str(small)])
    assert args.terrain == list(KINDS) and args.level == list(range(10))


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--terrain=flta"], r"unknown terrain 'flta' \(did you mean 'flat'\?\)"),
        (["--level=10"], "--level 10; allowed: 0 to 9"),
        (["--level=2,x"], "--level x"),
        (["--episodes=0"], "--episodes 0; allowed: 1 to 1000"),
        (["--speed=nan"], "--speed nan"),
        (["--workers=x"], "invalid int value"),
        (["--viewer=wbe"], r"unknown viewer 'wbe' \(did you mean 'web'\?\)"),
        (["--noise=-1"], "--noise -1"),
        (["--noise=some"], "--noise some; expected a number"),
        (["--noise=joint_ps=1"], "did you mean 'joint_pos'"),
        (["--camera=10"], "--camera 10; expected columns and rows"),
        (["--compare=/nowhere.json"], "--compare: cannot read"),
        (["--video=/tmp/x.avi"], "mp4"),
        (["--out=/dev/null/x"], "--out /dev/null/x: "),
        (["--nothing"], "unrecognized arguments: --nothing"),
    ],
)
def test_bad_input_is_one_line(small: Path, flags: list[str], words: str) -> None:
    with pytest.raises(UserError, match=words) as caught:
        command.main([str(small), "--level=0", "--terrain=flat", "--episodes=1", "--workers=1", *flags])
    assert "\n" not in str(caught.value)


def test_what_is_no_folder_of_a_policy_ends_with_2(small: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(small, broken)
    (broken / "depth_encoder.onnx").write_bytes(b"")
    for folder in (tmp_path / "nowhere", broken):
        with pytest.raises(UserError, match=str(folder)) as caught:
            command.main([str(folder), "--level=0", "--terrain=flat"])
        assert "\n" not in str(caught.value)
    done = subprocess.run(
        [sys.executable, "-m", "legged_gym_ext.deploy.sim2sim", str(tmp_path)], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 2 and done.stderr.startswith("error: ") and len(done.stderr.splitlines()) == 1


@pytest.mark.slow
def test_the_pretrained_policy_walks_by_its_folder_alone(tmp_path: Path) -> None:
    """Exported by the training, walked in a process without it, under noise, delays and another camera's images."""
    folder = tmp_path / "policy"
    export.main(["--pretrained", f"--out={folder}", "env.num_envs=8"])
    flags = ("--terrain=flat,stairs", "--level=0", "--episodes=1", "--workers=1", f"--out={tmp_path / 'report'}")
    line = [sys.executable, "-m", "legged_gym_ext.deploy.sim2sim", str(folder), *flags]
    done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    content = json.loads((tmp_path / "report" / "sim2sim.json").read_text())
    assert content["facts"]["runtime"] == "the folder's own, byte by byte"
    for one in content["episodes"]:
        assert one["end"] == "finished" and one["waypoints"] == 8 and not one["damping"]
        assert 9.0 < one["images"] / one["time"] < 11.0  # the policy's 10 Hz of the camera's 30


@pytest.mark.slow
def test_the_web_viewer_shows_each_episode_in_real_time(small: Path) -> None:
    walker, seen = Walker(small, conditions(small)), []
    with closing(Viewer("web")) as viewer:
        began = time.perf_counter()
        for level in (0, 1):  # two models, one page
            one = walk(walker, "flat", level, 0, viewer)
            assert one
            seen.append(one.time)
        assert time.perf_counter() - began > sum(seen) - 0.1
        assert viewer._handle.is_running()


@pytest.mark.slow
def test_a_film_has_what_the_policy_sees(small: Path, tmp_path: Path) -> None:
    path = tmp_path / "films" / "one.mp4"
    line = [sys.executable, "-m", "legged_gym_ext.deploy.sim2sim", str(small), "--terrain=flat", "--level=0"]
    done = subprocess.run([*line, "--episodes=1", f"--video={path}"], cwd=ROOT, capture_output=True, text=True)
    if "no OpenGL works here" in done.stderr:
        pytest.skip("no OpenGL")
    assert done.returncode == 0, done.stderr
    frames = imageio_ffmpeg.read_frames(str(path))
    size = next(frames)["size"]
    pictures = [np.frombuffer(frame, np.uint8).reshape(size[1], size[0], 3) for frame in frames]
    assert "flat, level 0, tile 0: " in done.stdout and len(pictures) > 5
    inset = pictures[2][20:170, 20:300].astype(int)
    assert (np.ptp(inset, axis=2) > 60).mean() > 0.8  # colours, which nothing else has

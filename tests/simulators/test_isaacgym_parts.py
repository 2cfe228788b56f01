"""What the Isaac Gym engine computes itself: kinematics, the mesh, the merged base, what error messages mean."""

from __future__ import annotations

import dataclasses
import signal
from pathlib import Path

import mujoco
import numpy as np
import pytest
import torch
from tile_library import library_of

from legged_gym_ext.config.schema import RobotConfig, TerrainConfig
from legged_gym_ext.paths import resolve
from legged_gym_ext.robot import NUM_JOINTS, Robot, load_robot
from legged_gym_ext.simulators.base import SimulatorState
from legged_gym_ext.simulators.isaacgym import faults
from legged_gym_ext.simulators.isaacgym.bodies import collapse
from legged_gym_ext.simulators.isaacgym.kinematics import Soles
from legged_gym_ext.simulators.isaacgym.mesh import GAP, lay_out
from legged_gym_ext.terrain.boxes import ABSENT, BOX_DIM, CENTER, HALF, MAX_BOXES
from legged_gym_ext.terrain.library import build_library
from legged_gym_ext.urdf import parse_urdf

URDF = resolve(RobotConfig().urdf)


@pytest.fixture(scope="module")
def robot() -> Robot:
    return load_robot(RobotConfig())


# Kinematics ----------------------------------------------------------------------------------------------------------


def test_places_and_velocities_of_the_soles_are_mujocos(robot: Robot) -> None:
    n, generator = 20, torch.Generator().manual_seed(0)
    state = SimulatorState.zeros(n, len(robot.no_contact_bodies), "cpu")
    for name in ("root_pos", "root_quat", "root_lin_vel", "root_ang_vel", "joint_pos", "joint_vel"):
        tensor = getattr(state, name)
        tensor.copy_(torch.randn(tensor.shape, generator=generator))
    state.root_quat /= state.root_quat.norm(dim=1, keepdim=True)
    Soles(robot, torch.device("cpu")).refresh(state)

    spec = parse_urdf(robot.urdf)
    spec.worldbody.first_body().add_freejoint()
    for foot, sole in zip(robot.feet, robot.sole, strict=True):
        spec.body(foot).add_site(name=foot, pos=sole)
    model = spec.compile()
    data, velocity = mujoco.MjData(model), np.zeros(6)
    for env in range(n):
        data.qpos[:7] = torch.cat([state.root_pos[env], state.root_quat[env]]).numpy()
        data.qvel[:3] = state.root_lin_vel[env].numpy()
        rotation = np.zeros(9)
        mujoco.mju_quat2Mat(rotation, data.qpos[3:7])
        data.qvel[3:6] = rotation.reshape(3, 3).T @ state.root_ang_vel[env].numpy()  # MuJoCo has it in the body's frame
        for joint, name in enumerate(robot.joints):
            data.joint(name).qpos, data.joint(name).qvel = state.joint_pos[env, joint], state.joint_vel[env, joint]
        mujoco.mj_forward(model, data)
        for foot, name in enumerate(robot.feet):
            site = model.site(name).id
            mujoco.mj_objectVelocity(model, data, mujoco.mjtObj.mjOBJ_SITE, site, velocity, 0)
            np.testing.assert_allclose(state.foot_pos[env, foot], data.site_xpos[site], atol=1e-5)
            np.testing.assert_allclose(state.foot_vel[env, foot], velocity[3:], atol=2e-5)


# The mesh ------------------------------------------------------------------------------------------------------------


def test_the_mesh_is_the_boxes_of_all_tiles_closed_and_seen_from_outside() -> None:
    boxes = build_library(TerrainConfig(levels=3, variants=2)).boxes
    world = lay_out(boxes)
    present = boxes[..., HALF][..., 0] > 0
    count = int(present.sum())
    assert world.vertices.shape == (8 * count, 3) and world.vertices.dtype == np.float32
    assert world.triangles.shape == (12 * count, 3) and world.triangles.dtype == np.uint32
    a, b, c = (world.vertices[world.triangles[:, i]].astype(float) for i in range(3))
    middle = world.vertices.reshape(-1, 8, 3).mean(axis=1).repeat(12, axis=0)
    # By the divergence theorem; positive where the normals point outward.
    volumes = ((a - middle) * np.cross(b - middle, c - middle)).sum(axis=1) / 6
    assert (volumes > 0).all()
    half = boxes[present][:, HALF].double().numpy()
    np.testing.assert_allclose(volumes.reshape(-1, 12).sum(axis=1), 8 * half.prod(axis=1), rtol=1e-3)
    edges = np.concatenate([world.triangles[:, [0, 1]], world.triangles[:, [1, 2]], world.triangles[:, [2, 0]]])
    assert len(np.unique(edges, axis=0)) == len(edges) == 36 * count  # each once in each direction: closed
    assert len(np.unique(np.sort(edges, axis=1), axis=0)) == 18 * count


def test_the_mesh_has_the_corners_that_mujoco_gives_the_boxes() -> None:
    boxes = build_library(TerrainConfig(levels=2, variants=1)).boxes
    world = lay_out(boxes)
    vertices = iter(world.vertices.reshape(-1, 8, 3))
    for tile, origin in zip(boxes.double().numpy(), world.origins.double().numpy(), strict=True):
        for row in tile[tile[:, 7] > 0]:
            rotation = np.zeros(9)
            mujoco.mju_quat2Mat(rotation, row[3:7])
            signs = np.array(np.meshgrid([-1, 1], [-1, 1], [-1, 1])).reshape(3, -1).T
            expected = origin + row[CENTER] + (signs * row[HALF]) @ rotation.reshape(3, 3).T
            found = next(vertices)
            distance = np.linalg.norm(expected[:, None] - found[None], axis=2)
            assert distance.min(axis=0).max() < 1e-4 and distance.min(axis=1).max() < 1e-4


def test_tiles_are_apart_in_whole_metres_and_nobody_is_on_anothers() -> None:
    boxes = build_library(TerrainConfig(levels=5, variants=3)).boxes
    world = lay_out(boxes)
    assert torch.equal(world.origins, world.origins.round())
    present = (boxes[..., HALF][..., 0] > 0).sum(dim=1)
    tiles = np.split(world.vertices, 8 * present.cumsum(0).numpy()[:-1])
    bounds = np.array([[tile.min(axis=0)[:2], tile.max(axis=0)[:2]] for tile in tiles])
    low, high = bounds[:, 0], bounds[:, 1]
    apart = np.maximum(low[None] - high[:, None], low[:, None] - high[None]).max(axis=2)
    np.fill_diagonal(apart, np.inf)
    assert apart.min() >= GAP - 1e-3
    extent = bounds.max(axis=(0, 1)) - bounds.min(axis=(0, 1))
    assert 0.6 < extent[0] / extent[1] < 1.6  # about a square: coordinates stay small


def test_a_library_without_boxes_has_no_mesh() -> None:
    world = lay_out(torch.tensor(ABSENT).repeat(3, MAX_BOXES, 1))
    assert world.triangles.shape == (0, 3) and world.vertices.shape == (0, 3) and world.origins.shape == (3, 3)
    assert library_of(torch.zeros(1, MAX_BOXES, BOX_DIM)).boxes.shape[0] == 1


# The base ------------------------------------------------------------------------------------------------------------


def fused(path: Path, text: str) -> tuple[float, np.ndarray, np.ndarray]:
    """Mass, centre of mass and inertia about it, in the root's frame, of what MuJoCo makes of pelvis and torso."""
    path.write_text(text.replace('fusestatic="false"', 'fusestatic="true"'))
    spec = mujoco.MjSpec.from_file(str(path))
    spec.worldbody.first_body().add_freejoint()  # or it would be fused with the world
    model = spec.compile()
    rotation = np.zeros(9)
    body = 1
    assert model.nbody == 1 + 1 + NUM_JOINTS
    mujoco.mju_quat2Mat(rotation, model.body_iquat[body])
    axes = rotation.reshape(3, 3)
    return model.body_mass[body], model.body_ipos[body], axes @ np.diag(model.body_inertia[body]) @ axes.T


def test_the_base_and_its_changes_are_those_of_mujocos_fused_body(robot: Robot, tmp_path: Path) -> None:
    text, bodies = URDF.read_text(), collapse(robot)
    added, offset = 3.0, np.array([0.03, -0.02, 0.05])
    mass, com, inertia = fused(tmp_path / "nominal.urdf", text)
    np.testing.assert_allclose(bodies.mass, mass)
    np.testing.assert_allclose(bodies.com, com, atol=1e-9)
    changed = text.replace('<mass value="19.807"/>', f'<mass value="{19.807 + added}"/>')
    for old in ("-0.0002 4e-05 -0.04522", "0.01194 0 0.2231"):
        new = " ".join(str(value) for value in np.array(old.split(), float) + offset)
        assert changed.count(f'xyz="{old}"') == 1
        changed = changed.replace(f'xyz="{old}"', f'xyz="{new}"')
    other_mass, other_com, other_inertia = fused(tmp_path / "changed.urdf", changed)
    com_change, inertia_change = bodies.change(np.array([0.0, added]), np.stack([0 * offset, offset]))
    np.testing.assert_allclose(other_mass - mass, added)
    np.testing.assert_allclose(com_change, [[0, 0, 0], other_com - com], atol=1e-7)
    np.testing.assert_allclose(inertia_change, [np.zeros((3, 3)), other_inertia - inertia], atol=1e-6)


def test_links_that_are_fixed_share_a_sensor_unless_the_joint_says_otherwise(robot: Robot, tmp_path: Path) -> None:
    bodies = collapse(robot)
    assert bodies.base == "pelvis" and "torso_link" not in bodies.sensors
    assert [bodies.sensors[i] for i in bodies.feet] == list(robot.feet)
    expected = ["pelvis" if name == "torso_link" else name for name in robot.no_contact_bodies]
    assert [bodies.sensors[i] for i in bodies.no_contact] == expected
    path = tmp_path / "robot.urdf"
    path.write_text(URDF.read_text().replace('type="fixed"', 'type="fixed" dont_collapse="true"'))
    apart = collapse(load_robot(dataclasses.replace(RobotConfig(), urdf=str(path))))
    assert [apart.sensors[i] for i in apart.no_contact] == list(robot.no_contact_bodies)
    assert apart.mass < bodies.mass


def test_legs_meet_each_other_and_nothing_else_of_the_robot(robot: Robot) -> None:
    """As MuJoCo's bits have it: two shapes meet if the one's kinds have one in common with the other's partners."""
    from legged_gym_ext.simulators.mujoco.model import make_spec
    from legged_gym_ext.simulators.mujoco.options import SolverOptions

    model = make_spec(robot, 0.005, SolverOptions()).compile()
    filters = collapse(robot).filters
    shapes = [geom for geom in range(model.ngeom) if model.geom_bodyid[geom] and model.geom_conaffinity[geom]]
    kinds, partners = model.geom_contype, model.geom_conaffinity
    pairs = [(a, b) for a in shapes for b in shapes if model.geom_bodyid[a] != model.geom_bodyid[b]]
    assert len(pairs) > 50
    for a, b in pairs:
        meet = bool(kinds[a] & partners[b] or kinds[b] & partners[a])
        first, second = (filters[model.body(model.geom_bodyid[geom]).name] for geom in (a, b))
        assert meet == ((first & second) == 0), (model.geom(a), model.geom(b))


# What error messages mean -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "cause"),
    [
        ("ImportError: PyTorch was imported before isaacgym modules.", "imports torch at its start"),
        ("ImportError: libpython3.8.so.1.0: cannot open shared object file: No such file", "LD_LIBRARY_PATH"),
        ("ImportError: /lib/libstdc++.so.6: version `GLIBCXX_3.4.29' not found (required by x.so)", "libstdcxx-ng"),
        ("AttributeError: module 'numpy' has no attribute 'float'.", "numpy<1.24"),
        ("ModuleNotFoundError: No module named 'isaacgym' (Python 3.8.18)", "ISAACGYM_PATH"),
        ("ModuleNotFoundError: No module named 'isaacgym' (Python 3.11.7)", "name such a Python"),
        ("ModuleNotFoundError: No module named 'isaacgym' (Python 3.9.1)", "name such a Python"),
        ("RuntimeError: protocol 2 is not protocol 1", "another version of legged_gym_ext"),
        ("RuntimeError: No gym module found for the active version of Python (3.11)", "3.6 to 3.8"),
        ("ModuleNotFoundError: No module named 'torch'", "pip install torch"),
        ("RuntimeError: Ninja is required to load C++ extensions", "ninja"),
        ("RuntimeError: CUDA error: no kernel image is available for execution on the device", "pipeline=cpu"),
        ("PxgCudaDeviceMemoryAllocator fail to allocate memory 339738624 bytes!! Result = 2", "--num_envs"),
        ("increase PxgDynamicsMemoryConfig::foundLostAggregatePairsCapacity to 5", "buffer_multiplier"),
        ("Gym cuda error: an illegal memory access was encountered: GymPhysXCuda.cu: 991", "not finite"),
        ("RuntimeError: create_sim failed", "pipeline=cpu"),
    ],
)
def test_each_known_message_has_its_cause(line: str, cause: str) -> None:
    told = faults.describe(1, ["Importing module 'gym_38' (gym_38.so)", line])
    assert cause in told.partition("likely: ")[2] and line.split(":")[0] in told and "\n" not in told
    others = [fault.cause for fault in faults.FAULTS if fault.cause != faults.cause([line])]
    assert not any(other in told for other in others)


def test_how_it_ended_and_what_it_said_last() -> None:
    crash = ["Physics Device: cuda:0", "+++ Using GPU PhysX", "Fatal Python error: Segmentation fault", "", "  File x"]
    told = faults.describe(-signal.SIGSEGV, crash)
    assert told.startswith("it was ended by SIGSEGV; its last words: +++ Using GPU PhysX; likely: a GPU that its PhysX")
    assert faults.describe(-signal.SIGKILL, []) == "it was ended by SIGKILL, perhaps for want of memory"
    assert faults.describe(3, ["something new"]) == "it ended with exit code 3; its last words: something new"
    assert faults.describe(None, []) == ""
    assert faults.describe(1, ["Traceback", "banner"], "ValueError: x") == "its last words: ValueError: x"

"""Properties that every physics engine must have, against MuJoCo's own single world and against mechanics."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import mujoco
import numpy as np
import pytest
import torch
from tile_library import library_of

from legged_gym_ext.config.schema import RobotConfig, SimConfig
from legged_gym_ext.paths import resolve
from legged_gym_ext.robot import NUM_JOINTS, Robot, load_robot
from legged_gym_ext.rotations import quat_multiply, quat_rotate
from legged_gym_ext.simulators import ENGINES, make_simulator
from legged_gym_ext.simulators.base import DomainParameters, Simulator
from legged_gym_ext.simulators.mujoco import kernels
from legged_gym_ext.simulators.mujoco.model import build_model, make_spec
from legged_gym_ext.simulators.mujoco.options import MujocoOptions, SolverOptions
from legged_gym_ext.terrain.boxes import ABSENT, BOX_DIM, CENTER, HALF, MAX_BOXES, QUAT

GRAVITY = 9.81


@pytest.fixture(scope="module")
def robot() -> Robot:
    return load_robot(RobotConfig())


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> SimConfig:
    return SimConfig(engine=request.param)


def steps_tile(num_envs: int, seed: int) -> torch.Tensor:
    """A floor at height 0 with a random, partly turned slab on it, in each environment."""
    generator = torch.Generator().manual_seed(seed)
    boxes = torch.tensor(ABSENT).repeat(num_envs, MAX_BOXES, 1)
    boxes[:, 0, CENTER] = torch.tensor([0.0, 0.0, -0.5])
    boxes[:, 0, HALF] = torch.tensor([5.0, 5.0, 0.5])
    yaw = torch.rand(num_envs, generator=generator)
    boxes[:, 1, CENTER] = torch.rand(num_envs, 3, generator=generator) * torch.tensor([0.3, 0.3, 0.05])
    boxes[:, 1, QUAT] = torch.stack([torch.cos(yaw / 2), 0 * yaw, 0 * yaw, torch.sin(yaw / 2)], dim=1)
    boxes[:, 1, HALF] = 0.02 + 0.3 * torch.rand(num_envs, 3, generator=generator) * torch.tensor([1.0, 1.0, 0.2])
    return boxes


def flat_tile(num_envs: int) -> torch.Tensor:
    boxes = steps_tile(num_envs, 0)
    boxes[:, 1] = torch.tensor(ABSENT)
    return boxes


def stand(simulator: Simulator, robot: Robot, mask: torch.Tensor | None = None, height: float = 0.02) -> torch.Tensor:
    """Place the masked robots at rest in the default pose; returns the pose (num_envs, 10)."""
    n = simulator.num_envs
    mask = torch.ones(n, dtype=torch.bool) if mask is None else mask
    position, quat, zero = torch.zeros(n, 3), torch.zeros(n, 4), torch.zeros(n, 3)
    position[:, 2], quat[:, 0] = robot.base_height + height, 1.0
    pose = torch.tensor(robot.default_joint_pos, dtype=torch.float32).repeat(n, 1)
    simulator.reset(mask, position, quat, zero, zero, pose, torch.zeros(n, NUM_JOINTS))
    return pose


def make(engine: SimConfig, robot: Robot, num_envs: int, *tiles: torch.Tensor) -> Simulator:
    """Make an engine whose environments are on the first of ``tiles`` (num_envs, K, BOX_DIM); see ``rows``."""
    library = library_of(torch.cat(tiles))
    simulator = make_simulator(engine, robot, library, num_envs, torch.device("cpu"))
    simulator.set_tiles(torch.ones(num_envs, dtype=torch.bool), rows(num_envs, 0))
    return simulator


def rows(num_envs: int, number: int) -> torch.Tensor:
    """Return each environment's row of the library in the tiles of that number."""
    return number * num_envs + torch.arange(num_envs)


def test_agrees_with_a_single_world_whose_boxes_are_compiled_in(robot: Robot, engine: SimConfig) -> None:
    """Tiles that are set while it runs act like geometry that was there from the start."""
    num_envs, tiles = 3, steps_tile(3, seed=1)
    simulator = make(engine, robot, num_envs, tiles)
    pose = stand(simulator, robot)
    generator = torch.Generator().manual_seed(0)
    targets = [pose + 0.3 * torch.randn(num_envs, NUM_JOINTS, generator=generator) for _ in range(15)]
    for target in targets:
        simulator.step(target)
    # The double of Isaac Gym has another version of MuJoCo, which finds other points of contact.
    solver, close = (engine.options, 1e-5) if isinstance(engine.options, SolverOptions) else (SolverOptions(), 2e-2)
    _, layout = build_model(robot, engine.dt, solver)
    for env in range(num_envs):
        spec = make_spec(robot, engine.dt, solver)
        for index, row in enumerate(tiles[env].double().numpy()):
            geom = spec.geom(f"box{index}")
            if row[HALF][0] > 0:
                geom.pos, geom.quat, geom.size = row[CENTER], row[QUAT], row[HALF]
            else:
                spec.delete(geom)
        model = spec.compile()
        data = mujoco.MjData(model)
        data.qpos[2] = np.float32(robot.base_height + 0.02)
        data.qpos[layout.qpos] = robot.default_joint_pos.astype(np.float32)
        for target in targets:
            data.ctrl[:] = target[env].numpy()
            mujoco.mj_step(model, data, engine.decimation)
        np.testing.assert_allclose(simulator.state.root_pos[env], data.qpos[:3], atol=close)
        np.testing.assert_allclose(simulator.state.joint_pos[env], data.qpos[layout.qpos], atol=10 * close)


def test_robots_that_were_randomized_far_from_any_box_still_land_on_one(robot: Robot, engine: SimConfig) -> None:
    """The engine leaves out boxes that are far, but must not forget them."""
    simulator = make(engine, robot, 2, flat_tile(2))
    pose = stand(simulator, robot, height=50.0)
    simulator.step(pose)
    simulator.randomize(torch.ones(2, dtype=torch.bool), DomainParameters.nominal(2, "cpu"))
    stand(simulator, robot)
    for _ in range(25):
        simulator.step(pose)
    assert (simulator.state.root_pos[:, 2] > 0.9 * robot.base_height).all()
    simulator.close()


def test_standing_robots_press_with_their_weight(robot: Robot, engine: SimConfig) -> None:
    simulator = make(engine, robot, 2, flat_tile(2))
    parameters = DomainParameters.nominal(2, "cpu")
    parameters.added_mass[1] = 5.0
    simulator.randomize(torch.ones(2, dtype=torch.bool), parameters)
    pose = stand(simulator, robot)
    total = torch.zeros(2)
    for step in range(60):
        simulator.step(pose)
        if step >= 20:
            total += simulator.state.foot_force[..., 2].sum(dim=1) / 40
    mass = sum(mujoco.MjSpec.from_file(str(robot.urdf)).compile().body_mass)
    torch.testing.assert_close(total, torch.tensor([mass, mass + 5.0]).float() * GRAVITY, rtol=0.05, atol=0.0)
    assert (simulator.state.body_force == 0).all()
    assert (simulator.state.foot_pos[..., 2].abs() < 0.01).all()


def test_velocities_are_the_derivatives_of_positions_in_the_world_frame(robot: Robot, engine: SimConfig) -> None:
    simulator = make(engine, robot, 4, torch.tensor(ABSENT).repeat(4, MAX_BOXES, 1))  # in free fall
    pose = stand(simulator, robot)
    generator = torch.Generator().manual_seed(3)
    spin, n = torch.randn(4, 3, generator=generator), 4
    quat = torch.nn.functional.normalize(torch.randn(4, 4, generator=generator), dim=1)
    every, velocity = torch.ones(n, dtype=torch.bool), torch.randn(n, 3, generator=generator)
    simulator.reset(every, torch.zeros(n, 3), quat, velocity, spin, pose, pose * 0)
    torch.testing.assert_close(simulator.state.root_ang_vel, spin, atol=1e-5, rtol=1e-5)
    before = {name: tensor.clone() for name, tensor in simulator.state.tensors().items()}
    simulator.step(pose)
    after, dt = simulator.state, engine.dt * engine.decimation
    middle = (before["root_lin_vel"] + after.root_lin_vel) / 2
    torch.testing.assert_close((after.root_pos - before["root_pos"]) / dt, middle, atol=0.05, rtol=0.0)
    conjugate = before["root_quat"] * torch.tensor([1.0, -1.0, -1.0, -1.0])
    turn = quat_multiply(after.root_quat, conjugate)
    rate = 2 * turn[:, 1:] * turn[:, :1].sign() / dt
    torch.testing.assert_close(rate, (before["root_ang_vel"] + after.root_ang_vel) / 2, atol=0.05, rtol=0.0)
    middle = (before["joint_vel"] + after.joint_vel) / 2
    torch.testing.assert_close((after.joint_pos - before["joint_pos"]) / dt, middle, atol=0.15, rtol=0.0)


def test_feet_are_where_the_kinematics_of_the_urdf_put_them(robot: Robot, engine: SimConfig) -> None:
    simulator = make(engine, robot, 3, flat_tile(3))
    generator = torch.Generator().manual_seed(5)
    low, high = torch.tensor(robot.joint_range.T, dtype=torch.float32)
    joints = low + (high - low) * torch.rand(3, NUM_JOINTS, generator=generator)
    quat = torch.nn.functional.normalize(torch.randn(3, 4, generator=generator), dim=1)
    position, zero = torch.tensor([[0.0, 0.0, 3.0]]).repeat(3, 1), torch.zeros(3, 3)
    simulator.reset(torch.ones(3, dtype=torch.bool), position, quat, zero, zero, joints, joints * 0)
    model = mujoco.MjSpec.from_file(str(robot.urdf)).compile()
    data = mujoco.MjData(model)
    for env in range(3):
        for joint, value in zip(robot.joints, joints[env], strict=True):
            data.joint(joint).qpos = value
        mujoco.mj_kinematics(model, data)
        for foot, name in enumerate(robot.feet):
            body = data.body(name)
            in_base = torch.tensor(body.xpos + body.xmat.reshape(3, 3) @ robot.sole[foot], dtype=torch.float32)
            expected = position[env] + quat_rotate(quat[env], in_base)
            torch.testing.assert_close(simulator.state.foot_pos[env, foot], expected, atol=1e-4, rtol=0.0)


def test_a_mask_leaves_the_other_environments_alone(robot: Robot, engine: SimConfig) -> None:
    simulator = make(engine, robot, 4, flat_tile(4), steps_tile(4, 2))
    pose = stand(simulator, robot)
    for _ in range(5):
        simulator.step(pose + 0.2)
    before = {name: tensor.clone() for name, tensor in simulator.state.tensors().items()}
    mask = torch.tensor([True, False, False, True])
    stand(simulator, robot, mask)
    parameters = DomainParameters.nominal(4, "cpu", friction=0.1)
    simulator.randomize(mask, parameters)
    simulator.set_tiles(mask, rows(4, 1))
    assert simulator.tile.tolist() == [4, 1, 2, 7]
    simulator.push(mask, torch.ones(4, 3))
    for name, tensor in simulator.state.tensors().items():
        torch.testing.assert_close(tensor[~mask], before[name][~mask], atol=0.0, rtol=0.0, msg=name)
    torch.testing.assert_close(simulator.state.root_lin_vel[mask], torch.ones(2, 3))
    untouched = make(engine, robot, 4, flat_tile(4), steps_tile(4, 2))
    stand(untouched, robot)
    for _ in range(5):
        untouched.step(pose + 0.2)
    for _ in range(5):
        simulator.step(pose)
        untouched.step(pose)
    torch.testing.assert_close(simulator.state.root_pos[~mask], untouched.state.root_pos[~mask], atol=0.0, rtol=0.0)
    assert not torch.equal(simulator.state.root_pos[mask], untouched.state.root_pos[mask])


def test_gains_motor_strength_and_limits_make_the_torque(robot: Robot, engine: SimConfig) -> None:
    simulator = make(engine, robot, 3, torch.tensor(ABSENT).repeat(3, MAX_BOXES, 1))
    parameters = DomainParameters.nominal(3, "cpu")
    parameters.stiffness[1] = 0.5
    parameters.motor_strength[2] = 0.5
    simulator.randomize(torch.ones(3, dtype=torch.bool), parameters)
    pose = stand(simulator, robot)
    simulator.step(pose + 50.0)  # far away: the limit acts
    limit = torch.tensor(robot.torque_limit, dtype=torch.float32)
    torch.testing.assert_close(simulator.state.joint_torque, limit * torch.tensor([[1.0], [1.0], [0.5]]))


def test_friction_decides_how_far_a_robot_slides(robot: Robot, engine: SimConfig) -> None:
    simulator = make(engine, robot, 2, flat_tile(2))
    parameters = DomainParameters.nominal(2, "cpu")
    parameters.friction[:] = torch.tensor([0.05, 1.0])
    simulator.randomize(torch.ones(2, dtype=torch.bool), parameters)
    pose = stand(simulator, robot, height=0.0)
    simulator.push(torch.ones(2, dtype=torch.bool), torch.tensor([[0.0, 0.3, 0.0]]).repeat(2, 1))
    start = simulator.state.foot_pos[..., 1].clone()
    for _ in range(15):
        simulator.step(pose)
    slid = (simulator.state.foot_pos[..., 1] - start).mean(dim=1)
    assert slid[0] > 5 * slid[1].abs()


def test_the_centre_of_mass_moves_as_asked(robot: Robot, engine: SimConfig) -> None:
    """A base that is heavier in front tips forward: its feet press further ahead (measured by pitching over)."""
    simulator = make(engine, robot, 2, flat_tile(2))
    parameters = DomainParameters.nominal(2, "cpu")
    parameters.mass_offset[:, 0] = torch.tensor([-0.08, 0.08])
    simulator.randomize(torch.ones(2, dtype=torch.bool), parameters)
    pose = stand(simulator, robot)
    for _ in range(25):
        simulator.step(pose)
    assert simulator.state.root_lin_vel[1, 0] > simulator.state.root_lin_vel[0, 0] + 0.05


def test_how_the_torso_is_turned_in_the_urdf_does_not_matter(tmp_path: Path, engine: SimConfig) -> None:
    """The centre of mass of a base of two links moves in the root's frame, whatever frames its links have."""
    text, quarter = resolve(RobotConfig().urdf).read_text(), str(math.pi / 2)
    joint = '"torso_joint" type="fixed">\n    <origin xyz="0 0 0" rpy="0 0 {}"/>'
    inertia = '<origin xyz="{}" rpy="0 0 {}"/>'
    old, new = inertia.format("0.01194 0 0.2231", "0"), inertia.format("0 -0.01194 0.2231", f"-{quarter}")
    assert text.count(joint.format("0")) == text.count(old) == 1
    turned = text.replace(joint.format("0"), joint.format(quarter)).replace(old, new)
    states = []
    for name, urdf in (("as_it_is", text), ("turned", turned)):
        (tmp_path / f"{name}.urdf").write_text(urdf)
        robot = load_robot(dataclasses.replace(RobotConfig(), urdf=str(tmp_path / f"{name}.urdf")))
        simulator = make(engine, robot, 1, flat_tile(1))
        parameters = DomainParameters.nominal(1, "cpu")
        parameters.mass_offset[:] = torch.tensor([0.08, -0.05, 0.1])
        simulator.randomize(torch.ones(1, dtype=torch.bool), parameters)
        pose = stand(simulator, robot)
        for _ in range(15):
            simulator.step(pose)
        states.append(simulator.state)
    torch.testing.assert_close(states[1].root_pos, states[0].root_pos, atol=1e-4, rtol=0.0)
    torch.testing.assert_close(states[1].root_quat, states[0].root_quat, atol=1e-4, rtol=0.0)


def test_a_reset_leaves_nothing_of_the_past(robot: Robot, engine: SimConfig) -> None:
    used, new = make(engine, robot, 2, steps_tile(2, 5)), make(engine, robot, 2, steps_tile(2, 5))
    pose = stand(used, robot)
    for _ in range(10):
        used.step(pose + 0.3 * torch.randn(2, NUM_JOINTS))
    for simulator in (used, new):
        stand(simulator, robot)
        for step in range(5):
            simulator.step(pose + 0.05 * step)
    for name, tensor in new.state.tensors().items():
        torch.testing.assert_close(used.state.tensors()[name], tensor, atol=0.0, rtol=0.0, msg=name)


def test_restore_gives_the_same_future_bit_for_bit(robot: Robot, engine: SimConfig) -> None:
    simulator = make(engine, robot, 3, steps_tile(3, 7), flat_tile(3))
    pose = stand(simulator, robot)
    generator = torch.Generator().manual_seed(1)
    targets = [pose + 0.3 * torch.randn(3, NUM_JOINTS, generator=generator) for _ in range(20)]
    for target in targets[:10]:
        simulator.step(target)
    snapshot = simulator.snapshot()

    def future() -> dict[str, torch.Tensor]:
        for target in targets[10:]:
            simulator.step(target)
        return {name: tensor.clone() for name, tensor in simulator.state.tensors().items()}

    first = future()
    # Spoil everything that a snapshot must bring back.
    every = torch.ones(3, dtype=torch.bool)
    simulator.set_tiles(every, rows(3, 1))
    simulator.randomize(every, DomainParameters.nominal(3, "cpu", friction=0.2))
    stand(simulator, robot)
    simulator.restore(snapshot)
    second = future()
    for name in first:
        torch.testing.assert_close(second[name], first[name], atol=0.0, rtol=0.0, msg=name)
    assert simulator.tile.tolist() == [0, 1, 2] and torch.equal(simulator.parameters.friction, torch.ones(3))
    assert not any(tensor.shape[1:] == (MAX_BOXES, BOX_DIM) for tensor in snapshot.values())  # tiles by number
    simulator.close()


def test_a_new_engine_stands_on_the_first_tile_of_the_library(robot: Robot, engine: SimConfig) -> None:
    tiles = torch.cat([flat_tile(1), steps_tile(1, 1)])
    simulator = make_simulator(engine, robot, library_of(tiles), 2, torch.device("cpu"))
    assert simulator.tile.tolist() == [0, 0]
    pose = stand(simulator, robot, height=0.0)
    for _ in range(20):
        simulator.step(pose)
    assert (simulator.state.foot_force[..., 2].sum(dim=1) > 50.0).all()


def test_a_world_that_diverges_is_told_and_harms_no_other(robot: Robot, engine: SimConfig) -> None:
    simulator = make(engine, robot, 3, flat_tile(3))
    pose = stand(simulator, robot)
    twin = make(engine, robot, 3, flat_tile(3))
    stand(twin, robot)
    bad = torch.tensor([False, True, False])
    n, zero = 3, torch.zeros(3, 3)
    quat = torch.tensor([[1.0, 0.0, 0.0, 0.0]]).repeat(n, 1)
    simulator.reset(bad, zero + 1.0, quat, zero, zero, pose, torch.full((n, NUM_JOINTS), 1e8))
    simulator.step(pose)
    twin.step(pose)
    assert simulator.state.diverged.tolist() == [False, True, False]
    for name, tensor in simulator.state.tensors().items():
        assert tensor.isfinite().all(), name
        torch.testing.assert_close(tensor[~bad], twin.state.tensors()[name][~bad], atol=0.0, rtol=0.0, msg=name)
    stand(simulator, robot, bad)
    simulator.step(pose)
    assert not simulator.state.diverged.any()


def test_what_is_finite_but_far_too_fast_has_diverged(robot: Robot, engine: SimConfig) -> None:
    simulator = make(engine, robot, 2, flat_tile(2))
    pose = stand(simulator, robot, height=5.0)
    simulator.push(torch.tensor([True, False]), torch.tensor([[0.0, 3000.0, 0.0]]).repeat(2, 1))
    simulator.step(pose)
    assert simulator.state.diverged.tolist() == [True, False]


def test_each_sign_of_a_broken_world_is_enough() -> None:
    """An error, a warning, a velocity that is NaN or too high: by what ``mujoco.batch`` reports of each world."""
    bad, num_envs = np.array([2, 5]), 6
    qvel, status, warning = np.zeros((num_envs, 16)), np.zeros(num_envs, np.int32), np.zeros((num_envs, 7, 2), np.int32)
    status[0], warning[1, 2, 1], warning[2, 5, 1], qvel[3, 7], qvel[4, 0] = 1, 1, 3, np.nan, -11.0
    warning[5, 3, 1] = 1  # none of the bad ones
    found = np.zeros(num_envs, bool)
    assert kernels.find_broken(qvel, status, warning, bad, 10.0, found)
    assert found.tolist() == [True] * 5 + [False]
    assert not kernels.find_broken(qvel[5:], status[5:], warning[5:], bad, 10.0, found[5:])


def test_the_number_of_threads_does_not_matter(robot: Robot) -> None:
    results = []
    for threads in (1, 2):
        simulator = make(SimConfig(engine="mujoco", mujoco=MujocoOptions(threads=threads)), robot, 5, steps_tile(5, 3))
        pose = stand(simulator, robot)
        for step in range(10):
            simulator.step(pose + 0.02 * step)
        results.append(simulator.state.root_pos.clone())
    assert torch.equal(results[0], results[1])

"""MuJoCo Warp against the CPU engine and against MuJoCo itself; what it promises besides the physics."""

from __future__ import annotations

import copy
import sys
import time
from pathlib import Path

import mujoco
import numpy as np
import pytest
import torch
import warp as wp
from no_sync import NoSync
from torch import Tensor

from legged_gym_ext.config.schema import Config, RobotConfig, SimConfig, TerrainConfig
from legged_gym_ext.device import warp_runtime
from legged_gym_ext.envs.randomization import UniformColumns, episode_ranges
from legged_gym_ext.errors import UserError
from legged_gym_ext.robot import NUM_JOINTS, Robot, load_robot
from legged_gym_ext.rotations import quat_from_euler
from legged_gym_ext.sensors.height_scan import ground_height
from legged_gym_ext.simulators import make_simulator
from legged_gym_ext.simulators.base import DomainParameters, Simulator
from legged_gym_ext.simulators.mujoco_warp import kernels
from legged_gym_ext.simulators.mujoco_warp import parameters as parameter_kernels
from legged_gym_ext.simulators.mujoco_warp.arrays import _bytes, bytes_per_world, capacities
from legged_gym_ext.simulators.mujoco_warp.engine import MujocoWarpSimulator
from legged_gym_ext.terrain.kinds import KINDS
from legged_gym_ext.terrain.library import build_library

N = 16
CPU = torch.device("cpu")
EVERY = torch.ones(N, dtype=torch.bool)


@pytest.fixture(scope="module")
def robot() -> Robot:
    return load_robot(RobotConfig())


def make(robot: Robot, engine: str = "mujoco_warp", **settings: int) -> Simulator:
    return make_simulator(SimConfig(engine=engine, **settings), robot, N, CPU)


def both(robot: Robot) -> tuple[Simulator, Simulator]:
    return make(robot, "mujoco"), make(robot)


def hardest_tiles(generator: torch.Generator) -> Tensor:
    """The hardest tiles of all kinds in turn, (N, K, BOX_DIM)."""
    library = build_library(TerrainConfig(), CPU)
    level = torch.full((N,), TerrainConfig().levels - 1)
    variant = torch.randint(0, TerrainConfig().variants, (N,), generator=generator)
    return library.boxes[library.tile_index(torch.arange(N) % len(KINDS), level, variant)]


def random_parameters(generator: torch.Generator) -> DomainParameters:
    domain = {"domain": episode_ranges(Config(), [0.0], 0.0, 0.0)["domain"]}
    return DomainParameters.of(UniformColumns(domain, torch.device("cpu")).draw(N, generator)["domain"])


def place(
    simulators: tuple[Simulator, ...], robot: Robot, boxes: Tensor, generator: torch.Generator, tilt: float = 0.05
) -> Tensor:
    """Set the tiles and drop the robots at random places of the courses; returns the default pose (N, 10)."""
    pose = torch.tensor(robot.default_joint_pos, dtype=torch.float32).repeat(N, 1)
    position = torch.rand(N, 3, generator=generator) * torch.tensor([10.0, 1.0, 0.0])
    ground = ground_height(boxes, position[:, None, :2])[:, 0].clamp(min=-1.0)
    position[:, 2] = ground + robot.base_height + 0.03 + tilt
    quat = quat_from_euler(*(tilt * torch.randn(3, N, generator=generator)))
    for simulator in simulators:
        simulator.set_tiles(EVERY, boxes)
        zero = torch.zeros(N, 3)
        simulator.reset(EVERY, position, quat, zero, zero, pose, torch.zeros(N, NUM_JOINTS))
    return pose


def random_targets(pose: Tensor, steps: int, generator: torch.Generator, size: float = 0.3) -> list[Tensor]:
    return [pose + size * torch.randn(N, NUM_JOINTS, generator=generator) for _ in range(steps)]


def test_agrees_with_the_cpu_engine_over_the_first_steps(robot: Robot) -> None:
    """Hardest tiles of every kind, tilted ramps among them, random parameters, a push; float32 against float64."""
    generator = torch.Generator().manual_seed(0)
    engines = both(robot)
    boxes, parameters = hardest_tiles(generator), random_parameters(generator)
    for engine in engines:
        engine.randomize(EVERY, parameters)
    pose = place(engines, robot, boxes, generator)
    push, pushed = torch.randn(N, 3, generator=generator), torch.arange(N) % 2 == 0
    tolerance = {"root_pos": 1e-4, "root_quat": 1e-4, "joint_pos": 5e-4, "foot_pos": 5e-4}
    tolerance |= {"root_lin_vel": 1e-3, "root_ang_vel": 1e-2, "joint_vel": 2e-2, "foot_vel": 1e-2}
    tolerance |= {"joint_torque": 0.1, "foot_force": 1.0, "body_force": 1.0}
    touching = torch.zeros(N, dtype=torch.bool)
    for step, targets in enumerate(random_targets(pose, 15, generator)):
        for engine in engines:
            engine.step(targets)
            if step == 10:
                engine.push(pushed, push)
        expected, states = (engine.state.tensors() for engine in engines)
        for name, atol in tolerance.items():
            torch.testing.assert_close(states[name], expected[name], atol=atol, rtol=0.0, msg=f"{name}, step {step}")
        touching |= (states["foot_force"].norm(dim=-1) > 20.0).any(dim=1)
    assert touching.float().mean() > 0.7


def test_the_same_statistics_as_the_cpu_engine_over_two_seconds(robot: Robot) -> None:
    results = []
    for engine in both(robot):
        generator = torch.Generator().manual_seed(1)
        pose = place((engine,), robot, hardest_tiles(generator), generator)
        height, speed, contact, spin = [], [], [], []
        for targets in random_targets(pose, 100, generator, size=0.2):
            engine.step(targets)
            state = engine.state
            height.append(state.foot_pos[..., 2].mean())
            speed.append(state.root_lin_vel.norm(dim=1).clamp(max=3.0).mean())
            spin.append(state.joint_vel.abs().mean())
            contact.append((state.foot_force.norm(dim=-1) > 1.0).float().mean())
        results.append([torch.stack(values).mean().item() for values in (height, speed, spin, contact)])
    expected, found = np.array(results)
    np.testing.assert_allclose(found, expected, rtol=0.05, atol=0.02)
    assert 0.1 < found[3] < 0.9


def test_a_reset_gives_what_the_cpu_engine_gives(robot: Robot) -> None:
    """Feet and torques of the new pose and velocities; nothing touches."""
    generator = torch.Generator().manual_seed(2)
    engines = both(robot)
    parameters = random_parameters(generator)
    low, high = torch.tensor(robot.joint_range.T, dtype=torch.float32)
    joints = low + (high - low) * torch.rand(N, NUM_JOINTS, generator=generator)
    quat = torch.nn.functional.normalize(torch.randn(N, 4, generator=generator), dim=1)
    position, velocity, spin = torch.randn(3, N, 3, generator=generator)
    mask = torch.rand(N, generator=generator) < 0.5
    for engine in engines:
        engine.randomize(EVERY, parameters)
        pose = place((engine,), robot, hardest_tiles(torch.Generator().manual_seed(0)), torch.Generator())
        for _ in range(8):
            engine.step(pose)
        motion = 50 * torch.randn(N, NUM_JOINTS, generator=torch.Generator().manual_seed(3))
        engine.reset(mask, position + torch.tensor([0.0, 0.0, 30.0]), quat, velocity, spin, joints, motion)
    expected, found = (engine.state.tensors() for engine in engines)
    for name in found:
        torch.testing.assert_close(found[name][mask], expected[name][mask], atol=2e-5, rtol=1e-5, msg=name)
    assert (found["foot_force"][~mask] != 0).any() and (found["foot_vel"][mask] != 0).all()


def test_derived_constants_are_those_that_mujoco_computes(robot: Robot) -> None:
    """Inverse inertias and subtree masses of randomized worlds, and nothing where the mask is not."""
    generator = torch.Generator().manual_seed(4)
    simulator = make(robot)
    assert isinstance(simulator, MujocoWarpSimulator)
    parameters = random_parameters(generator)
    parameters.added_mass = 6 * torch.rand(N, generator=generator) - 2
    parameters.mass_offset = 0.3 * torch.randn(N, 3, generator=generator)
    mask = torch.arange(N) % 2 == 0
    simulator.randomize(mask, parameters)
    base, layout = simulator.layout.base_bodies, simulator.layout
    for world in range(4):
        model = copy.copy(simulator.model)
        if mask[world]:
            model.body_mass[base[0]] += parameters.added_mass[world].item()
            model.body_ipos[base] += layout.root_to_base @ parameters.mass_offset[world].double().numpy()
        mujoco.mj_setConst(model, mujoco.MjData(model))
        for name in ("body_mass", "body_ipos", "body_subtreemass", "body_invweight0", "dof_invweight0"):
            found = getattr(simulator._parameters, name).numpy()[world]
            np.testing.assert_allclose(found, getattr(model, name), rtol=1e-5, atol=1e-6, err_msg=f"{name} {world}")


def test_nothing_is_left_of_what_was_before_a_reset(robot: Robot) -> None:
    """A used simulator that is set up like a fresh one has the same future, bit for bit."""
    fresh, used = make(robot), make(robot)
    generator = torch.Generator().manual_seed(5)
    pose = place((used,), robot, hardest_tiles(generator), generator, tilt=1.0)
    used.randomize(EVERY, random_parameters(generator))
    for targets in random_targets(pose, 20, generator, size=1.0):
        used.step(targets)
    used.push(EVERY, torch.full((N, 3), float("nan")))
    used.step(pose)
    assert used.state.diverged.all()
    boxes = hardest_tiles(generator)
    for simulator in (fresh, used):
        simulator.randomize(EVERY, DomainParameters.nominal(N, CPU))
        place((simulator,), robot, boxes, torch.Generator().manual_seed(6))
    for targets in random_targets(pose, 15, generator):
        fresh.step(targets)
        used.step(targets)
    for name, tensor in fresh.state.tensors().items():
        torch.testing.assert_close(used.state.tensors()[name], tensor, atol=0.0, rtol=0.0, msg=name)


def test_the_captured_step_is_the_physics_step_by_step(robot: Robot) -> None:
    generator = torch.Generator().manual_seed(7)
    simulator = make(robot)
    assert isinstance(simulator, MujocoWarpSimulator)
    pose = place((simulator,), robot, hardest_tiles(generator), generator)
    for targets in random_targets(pose, 10, generator):
        simulator.step(targets)
    snapshot = simulator.snapshot()
    simulator.step(pose)
    replayed = simulator._data.qvel.numpy().copy()
    simulator.restore(snapshot)
    simulator.ctrl.copy_(pose)
    with wp.ScopedDevice("cpu"):
        simulator.substeps(simulator.decimation)
    np.testing.assert_array_equal(simulator._data.qvel.numpy(), replayed)


def test_addresses_stay_and_nothing_waits_for_the_host(robot: Robot) -> None:
    generator = torch.Generator().manual_seed(8)
    simulator = make(robot)
    boxes, parameters = hardest_tiles(generator), random_parameters(generator)
    pose = place((simulator,), robot, boxes, generator)
    mask = torch.arange(N) % 3 == 0
    zero, joints = torch.zeros(N, 3), torch.zeros(N, NUM_JOINTS)
    quat = torch.tensor([[1.0, 0.0, 0.0, 0.0]]).expand(N, 4)
    addresses = {name: tensor.data_ptr() for name, tensor in simulator.state.tensors().items()}
    snapshot = simulator.snapshot()
    with NoSync():
        simulator.step(pose)
        simulator.set_tiles(mask, boxes)
        simulator.randomize(mask, parameters)
        simulator.reset(mask, zero, quat, zero, zero, pose, joints)
        simulator.push(mask, zero)
        simulator.restore(snapshot)
        simulator.snapshot()
    assert {name: tensor.data_ptr() for name, tensor in simulator.state.tensors().items()} == addresses


@pytest.mark.parametrize("settings", [{"nconmax": 1}, {"njmax": 8}])
def test_dropped_contacts_are_counted(robot: Robot, settings: dict[str, int]) -> None:
    generator = torch.Generator().manual_seed(9)
    simulator = make(robot, **settings)
    pose = place((simulator,), robot, hardest_tiles(generator), generator, tilt=0.0)
    assert not simulator.state.overflow.any()
    told = torch.zeros(N, dtype=torch.bool)
    for _ in range(15):
        simulator.step(pose)
        told |= simulator.state.overflow
    assert told.float().mean() > 0.5
    simulator.set_tiles(EVERY, torch.zeros_like(simulator.snapshot()["boxes"]))
    for _ in range(2):
        simulator.step(pose)
    assert not simulator.state.overflow.any()


@pytest.mark.slow
def test_there_is_room_for_the_contacts_of_falls_on_the_hardest_tiles(robot: Robot) -> None:
    simulator = make(robot)
    assert isinstance(simulator, MujocoWarpSimulator)
    most = 0
    for seed in range(4):
        generator = torch.Generator().manual_seed(seed)
        pose = place((simulator,), robot, hardest_tiles(generator), generator, tilt=0.3 * seed)
        for targets in random_targets(pose, 60, generator, size=1.0):
            simulator.step(targets)
            assert not simulator.state.overflow.any()
            most = max(most, int(simulator._data.nefc.numpy().max()))
    assert most > 20


def test_memory_estimate_is_what_the_arrays_take(robot: Robot) -> None:
    simulator = make(robot)
    assert isinstance(simulator, MujocoWarpSimulator)
    room = capacities(simulator.model, simulator.layout, SimConfig())
    arrays = _bytes(simulator._model) + _bytes(simulator._data)
    assert arrays < N * bytes_per_world(simulator.model, *room) < 3 * arrays


def test_a_missing_package_is_one_clear_line(robot: Robot, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "legged_gym_ext.simulators.mujoco_warp.engine")
    monkeypatch.setitem(sys.modules, "mujoco_warp", None)
    with pytest.raises(UserError, match=r"mujoco_warp needs the package 'mujoco_warp', which is not installed"):
        make(robot)


def test_a_long_compilation_is_announced(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    monkeypatch.setattr(warp_runtime, "_SLOW", 0.05)
    with warp_runtime.notice_of_compilation("test"):
        pass
    time.sleep(0.1)
    assert capsys.readouterr().err == ""
    with warp_runtime.notice_of_compilation("test"):
        time.sleep(0.2)
    assert capsys.readouterr().err == "compiling test kernels, about a minute the first time\n"


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "darwin", reason="Warp has no CUDA compiler there")
def test_kernels_compile_for_cuda_without_a_gpu(tmp_path: Path) -> None:
    warp_runtime.init()
    for module in (kernels, parameter_kernels):
        wp.compile_aot_module(module, arch=90, module_dir=tmp_path, use_ptx=True)
    code = "".join(path.read_text("utf-8") for path in tmp_path.glob("*.ptx"))
    for kernel in ("settle", "refresh", "place_boxes", "randomize"):
        assert f".entry {kernel}_" in code

"""Isaac Gym's engine, on its double: what the suite of all engines (test_simulator.py) cannot see."""

from __future__ import annotations

import ast
import dataclasses
import os
import shutil
import sys
from pathlib import Path

import pytest
import torch
from gym_python import DOUBLES
from no_sync import NoSync
from test_simulator import flat_tile, make, rows, stand, steps_tile
from torch import Tensor

from legged_gym_ext.config.schema import Config, RobotConfig, SimConfig, TerrainConfig
from legged_gym_ext.envs.randomization import UniformColumns, episode_ranges
from legged_gym_ext.errors import EngineFault, UserError
from legged_gym_ext.paths import resolve
from legged_gym_ext.robot import NUM_JOINTS, Robot, load_robot
from legged_gym_ext.simulators import make_simulator
from legged_gym_ext.simulators.base import DomainParameters, Simulator
from legged_gym_ext.simulators.isaacgym import engine as engine_module
from legged_gym_ext.simulators.isaacgym import process
from legged_gym_ext.simulators.isaacgym.engine import IsaacGymSimulator
from legged_gym_ext.simulators.isaacgym.options import IsaacGymOptions
from legged_gym_ext.terrain.boxes import ABSENT, MAX_BOXES
from legged_gym_ext.terrain.kinds import KINDS
from legged_gym_ext.terrain.library import build_library

CPU = torch.device("cpu")
ISAACGYM = SimConfig(engine="isaacgym")
MUJOCO = SimConfig(engine="mujoco")


@pytest.fixture(scope="module")
def robot() -> Robot:
    return load_robot(RobotConfig())


def random_parameters(n: int, seed: int) -> DomainParameters:
    domain = {"domain": episode_ranges(Config(), [0.0], 0.0, 0.0)["domain"]}
    columns = UniformColumns(domain, CPU).draw(n, torch.Generator().manual_seed(seed))["domain"]
    parameters = DomainParameters.of(columns)
    parameters.friction.copy_((parameters.friction * 100).round() / 100)  # as Isaac Gym's buckets have it
    return parameters


def isaacgym(robot: Robot, n: int, *tiles: Tensor, **options: float) -> IsaacGymSimulator:
    config = SimConfig(engine="isaacgym", isaacgym=IsaacGymOptions(**options))  # type: ignore[arg-type]
    simulator = make(config, robot, n, *tiles)
    assert isinstance(simulator, IsaacGymSimulator)
    return simulator


def copies(simulator: Simulator) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in simulator.state.tensors().items()}


# The same physics ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", ["", "reversed"])
def test_agrees_with_the_cpu_engine_on_all_kinds_whatever_the_order_of_the_joints(
    order: str, robot: Robot, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Hardest tiles of every kind, parameters before and after the first step, a push, other tiles in between.

    As long as nothing touches, to the last digits; then contacts of capsules on boxes, which MuJoCo's versions find
    differently, make a difference in some robots.
    """
    monkeypatch.setenv("ISAACGYM_DOUBLE_ORDER", order)
    library = build_library(TerrainConfig(levels=2, variants=2), CPU)
    n = 2 * len(KINDS)
    every, kinds = torch.ones(n, dtype=torch.bool), torch.arange(n) % len(KINDS)
    generator = torch.Generator().manual_seed(0)
    pose = torch.tensor(robot.default_joint_pos, dtype=torch.float32).repeat(n, 1)
    engines = [make_simulator(config, robot, library, n, CPU) for config in (MUJOCO, ISAACGYM)]
    position, zero = torch.zeros(n, 3), torch.zeros(n, 3)
    position[:, :2] = 0.2 * torch.rand(n, 2, generator=generator)
    position[:, 2] = robot.base_height + 0.1
    quat = torch.nn.functional.normalize(torch.randn(n, 4, generator=generator) * 0.03 + torch.eye(4)[0], dim=1)
    push, pushed = 0.3 * torch.randn(n, 3, generator=generator), torch.arange(n) % 2 == 0
    for episode in range(2):
        parameters = random_parameters(n, episode)
        tiles = library.tile_index(kinds, torch.ones_like(kinds), torch.full_like(kinds, episode))
        for simulator in engines:
            simulator.set_tiles(every, tiles)
            simulator.randomize(every, parameters)
            simulator.reset(every, position, quat, zero, zero, pose, 0 * pose)
        for step in range(16):
            targets = pose + 0.2 * torch.randn(n, NUM_JOINTS, generator=generator)
            for simulator in engines:
                simulator.step(targets)
            reference, state = (simulator.state for simulator in engines)
            for name in ("root_pos", "root_quat", "root_lin_vel", "root_ang_vel", "joint_pos", "joint_vel"):
                difference = (getattr(state, name) - getattr(reference, name)).abs().amax(dim=1)
                where = f"{name}, episode {episode}, step {step}: {difference.tolist()}"
                if step < 3:
                    assert not reference.foot_force.any()
                    assert difference.max() < 1e-3, where
                elif not name.endswith("vel"):
                    assert difference.median() < 1e-3 and (name != "root_pos" or difference.max() < 0.03), where
            if step < 3:
                torch.testing.assert_close(state.joint_torque, reference.joint_torque, atol=0.05, rtol=0.0)
            if step == 1:
                for simulator in engines:
                    simulator.push(pushed, push)
        loads = [simulator.state.foot_force[..., 2].sum(dim=1) for simulator in engines]
        assert (loads[1] > 50.0).float().mean() > 0.7
        assert ((loads[1] - loads[0]).abs() < 20.0).float().mean() > 0.7
        for name, tensor in parameters.tensors().items():
            torch.testing.assert_close(engines[1].parameters.tensors()[name], tensor, msg=name)


def test_friction_is_that_of_the_pair(robot: Robot) -> None:
    """Of feet that slide: the share of the load that acts along the ground. Given at creation, and again later."""
    frictions = torch.tensor([0.05, 0.1, 0.2])
    n, every = 3, torch.ones(3, dtype=torch.bool)
    simulator = isaacgym(robot, n, flat_tile(n))
    for values in (frictions, frictions.flip(0)):
        parameters = DomainParameters.nominal(n, "cpu")
        parameters.friction.copy_(values)
        simulator.randomize(every, parameters)
        pose = stand(simulator, robot, height=0.0)
        for _ in range(10):
            simulator.step(pose)
        simulator.push(every, torch.tensor([[1.0, 0.0, 0.0]]).repeat(n, 1))
        simulator.step(pose)
        force = simulator.state.foot_force.sum(dim=1)
        torch.testing.assert_close(-force[:, 0] / force[:, 2], values, rtol=0.02, atol=0.0)


def test_legs_meet_each_other_but_no_leg_meets_itself_or_the_base(robot: Robot) -> None:
    """Poses in which a thigh is in the pelvis, and in which the shanks are in each other."""
    crossed = [0.247, -0.224, 1.182, -0.125, -0.403, -0.301, -0.043, 0.930, 0.273, -0.798]
    pelvis = [0.3, 0.43, 1.57, 1.49, 0.49, -0.31, -0.04, -1.17, 0.76, -0.80]
    poses = torch.tensor([crossed, pelvis])
    simulator = isaacgym(robot, 2, torch.tensor(ABSENT).repeat(2, MAX_BOXES, 1))
    zero, every = torch.zeros(2, 3), torch.ones(2, dtype=torch.bool)
    simulator.reset(every, zero, torch.eye(4)[:1].repeat(2, 1), zero, zero, poses, 0 * poses)
    simulator.step(poses)
    shanks = [name.endswith("knee_link") for name in robot.no_contact_bodies]
    assert (simulator.state.body_force[0][torch.tensor(shanks)] > 10.0).all()
    assert (simulator.state.body_force[1] == 0).all() and (simulator.state.foot_force[1] == 0).all()


def test_bodies_that_are_fixed_to_each_other_share_what_they_touch(robot: Robot) -> None:
    """A robot that lies on its back: pelvis and torso, which Isaac Gym merges, have the same force."""
    simulator = isaacgym(robot, 1, flat_tile(1))
    pose, zero = torch.tensor(robot.default_joint_pos, dtype=torch.float32)[None], torch.zeros(1, 3)
    back = torch.tensor([[2**-0.5, 0.0, -(2**-0.5), 0.0]])
    simulator.reset(torch.tensor([True]), torch.tensor([[0.0, 0.0, 0.2]]), back, zero, zero, pose, 0 * pose)
    for _ in range(30):
        simulator.step(pose)
    force = dict(zip(robot.no_contact_bodies, simulator.state.body_force[0].tolist(), strict=True))
    assert force["pelvis"] == force["torso_link"] > 50.0


def test_what_is_changed_later_acts_as_if_it_had_been_so_from_the_start(robot: Robot) -> None:
    """Mass and centre of mass among it, which the CPU pipeline can change."""
    n, every = 4, torch.ones(4, dtype=torch.bool)
    parameters, states = random_parameters(n, 5), []
    for before in (True, False):
        simulator = isaacgym(robot, n, flat_tile(n))
        if before:
            simulator.randomize(every, parameters)
        pose = stand(simulator, robot)
        simulator.step(pose)
        simulator.randomize(every, parameters)
        stand(simulator, robot)
        for _ in range(10):
            simulator.step(pose + 0.1)
        states.append(copies(simulator))
    for name, tensor in states[0].items():
        torch.testing.assert_close(states[1][name], tensor, atol=0.0, rtol=0.0, msg=name)
    nominal = isaacgym(robot, n, flat_tile(n))
    stand(nominal, robot)
    for _ in range(10):
        nominal.step(pose + 0.1)
    assert ((nominal.state.root_pos - states[0]["root_pos"]).abs().amax(dim=1) > 1e-4).all()


@pytest.mark.parametrize("frame", ["centre of mass", "origin"])
def test_the_frame_of_linear_velocities_is_found_out(frame: str, robot: Robot, monkeypatch: pytest.MonkeyPatch) -> None:
    """The real one's is not documented: with either, a robot that tumbles does what it does in MuJoCo."""
    monkeypatch.setenv("ISAACGYM_DOUBLE_VELOCITY", "link" if frame == "origin" else "")
    states = []
    n = 3
    generator = torch.Generator().manual_seed(2)
    quat = torch.nn.functional.normalize(torch.randn(n, 4, generator=generator), dim=1)
    velocity, spin = torch.randn(2, n, 3, generator=generator)
    for config in (MUJOCO, ISAACGYM):
        simulator = make(config, robot, n, torch.tensor(ABSENT).repeat(n, MAX_BOXES, 1))
        every = torch.ones(n, dtype=torch.bool)
        pose = stand(simulator, robot)
        states.append([])
        for episode in range(3):  # each with other centres of mass, which is what the velocities of a reset depend on
            simulator.randomize(every, random_parameters(n, 1 + episode))
            simulator.reset(every, torch.zeros(n, 3), quat, velocity, 3 * spin, pose, 0 * pose)
            simulator.step(pose)
            states[-1].append(copies(simulator))
            for _ in range(9 * (episode == 0)):
                simulator.step(pose)
            simulator.push(every, velocity)
            simulator.step(pose)
            states[-1].append(copies(simulator))
    assert isinstance(simulator, IsaacGymSimulator) and simulator._velocity_of_com == (frame == "centre of mass")
    for there, here in zip(*states, strict=True):
        for name in ("root_pos", "root_quat", "root_lin_vel", "root_ang_vel", "joint_pos"):
            torch.testing.assert_close(here[name], there[name], atol=2e-3, rtol=0.0, msg=name)


def test_another_robot_than_the_urdfs_is_refused(robot: Robot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As an importer might read joints, limits or the links of the base otherwise."""
    for old, new, told in (
        ("arg0.dof_properties()", "_wider(arg0)", "its limits of the joints are"),
        ('return [body.joint.get("name") for', 'return [body.joint.get("name") + "x" for', "its joints are"),
    ):
        folder = tmp_path / told.split()[1]
        shutil.copytree(DOUBLES, folder)
        gym = folder / "isaacgym" / "gym.py"
        text = gym.read_text()
        assert old in text
        wider = "\n\ndef _wider(asset):\n    p = asset.dof_properties()\n    p['upper'] += 0.1\n    return p\n"
        gym.write_text(text.replace(old, new) + wider)
        monkeypatch.setenv(process.PATH, str(folder))
        simulator = isaacgym(robot, 1, flat_tile(1))
        with pytest.raises(EngineFault, match=f"another robot of the URDF: {told}"):
            simulator.step(stand(simulator, robot))


def test_joints_without_limits_have_none_there_either(tmp_path: Path) -> None:
    """What Isaac Gym says of the limits of such a joint means nothing."""
    urdf, n = tmp_path / "robot.urdf", 2
    text = resolve(RobotConfig().urdf).read_text()
    revolute = '_hip_yaw_joint" type="revolute">'
    assert text.count(revolute) == 2
    text = text.replace(revolute, '_hip_yaw_joint" type="continuous">')
    urdf.write_text(text)
    robot, states = load_robot(dataclasses.replace(RobotConfig(), urdf=str(urdf))), []
    for config in (MUJOCO, ISAACGYM):
        simulator = make(config, robot, n, torch.tensor(ABSENT).repeat(n, MAX_BOXES, 1))
        pose = stand(simulator, robot)
        pose[:, [joint.endswith("hip_yaw_joint") for joint in robot.joints]] = 1.2
        for _ in range(15):
            simulator.step(pose)
        states.append(simulator.state.joint_pos.clone())
    assert (states[0] > 0.6).any()  # the others' limit is 0.43
    torch.testing.assert_close(states[1], states[0], atol=2e-3, rtol=0.0)


# The GPU pipeline ----------------------------------------------------------------------------------------------------


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """The double's GPU: its rules hold, its tensors are in main memory."""
    monkeypatch.setenv("ISAACGYM_DOUBLE_GPU", "1")
    monkeypatch.setattr(engine_module, "_on_gpu", lambda options, device: True)


@pytest.mark.usefixtures("gpu")
def test_the_gpu_pipeline_keeps_masses_and_says_so_once(robot: Robot, capsys: pytest.CaptureFixture[str]) -> None:
    n, every = 2, torch.ones(2, dtype=torch.bool)
    simulator = isaacgym(robot, n, flat_tile(n))
    first, second = DomainParameters.nominal(n, "cpu"), random_parameters(n, 2)
    first.added_mass.copy_(torch.tensor([3.0, -2.0]))
    simulator.randomize(every, first)
    pose = stand(simulator, robot)
    simulator.step(pose)
    simulator.randomize(every, second)
    simulator.step(pose)
    for name, tensor in simulator.parameters.tensors().items():
        expected = first if name in ("added_mass", "mass_offset") else second
        assert torch.equal(tensor, expected.tensors()[name]), name
    second.mass_offset.zero_()
    simulator.randomize(every, second)
    stand(simulator, robot)
    load = torch.zeros(n)
    for step in range(60):
        simulator.step(pose)
        load += simulator.state.foot_force[..., 2].sum(dim=1) / 40 * (step >= 20)
    torch.testing.assert_close(load, 9.81 * (robot.mass + first.added_mass), rtol=0.05, atol=0.0)
    out = capsys.readouterr().out
    assert out == "isaacgym   GPU pipeline: added_mass and mass_offset stay as they are in the first episode\n"


@pytest.mark.usefixtures("gpu")
def test_both_pipelines_do_the_same(robot: Robot, monkeypatch: pytest.MonkeyPatch) -> None:
    states = []
    for on_gpu in (True, False):
        monkeypatch.setattr(engine_module, "_on_gpu", lambda options, device, on_gpu=on_gpu: on_gpu)
        simulator = isaacgym(robot, 3, steps_tile(3, 1), flat_tile(3))
        pose = stand(simulator, robot)
        for step in range(10):
            simulator.step(pose + 0.02 * step)
            if step == 5:
                stand(simulator, robot, torch.tensor([False, True, False]))
                simulator.set_tiles(torch.tensor([False, True, True]), rows(3, 1))
        states.append(copies(simulator))
    for name, tensor in states[0].items():
        assert torch.equal(states[1][name], tensor), name


def test_the_gpu_pipeline_needs_a_gpu(robot: Robot) -> None:
    with pytest.raises(UserError, match="sim.isaacgym.pipeline: expected auto or cpu with sim.device=cpu, got 'gpu'"):
        isaacgym(robot, 1, flat_tile(1), pipeline="gpu")  # type: ignore[arg-type]


# The boundary --------------------------------------------------------------------------------------------------------


def test_a_control_step_crosses_once_whatever_happens_in_it(robot: Robot, monkeypatch: pytest.MonkeyPatch) -> None:
    simulator = isaacgym(robot, 4, flat_tile(4), steps_tile(4, 1))
    pose = stand(simulator, robot)
    simulator.step(pose)
    calls: list[tuple[int, int, int]] = []
    monkeypatch.setattr(simulator.worker, "_send", lambda *_: pytest.fail("another packet"))
    monkeypatch.setattr(simulator.worker, "step", lambda *counts: calls.append(counts))
    mask, other = torch.tensor([True, False, False, True]), torch.tensor([False, False, True, True])
    stand(simulator, robot, mask)
    simulator.set_tiles(mask, rows(4, 1))
    simulator.randomize(mask, random_parameters(4, 0))
    simulator.push(other, torch.ones(4, 3))
    simulator.push(other, torch.ones(4, 3))
    stand(simulator, robot, mask)
    simulator.snapshot()["root_pos"].zero_()
    assert calls == []
    simulator.step(pose)
    assert calls == [(4, 4, 2)]  # after a snapshot all are put to what it says
    simulator.push(other, torch.ones(4, 3))
    simulator.step(pose)
    simulator.step(pose)
    assert calls[1:] == [(2, 0, 0), (0, 0, 0)]


def test_what_a_graph_records_does_not_wait_and_stays_in_its_place(robot: Robot) -> None:
    """All but the step itself, which speaks to the worker, is part of the environment's graphs on a GPU."""
    n, every = 3, torch.ones(3, dtype=torch.bool)
    simulator = isaacgym(robot, n, flat_tile(n))
    pose = stand(simulator, robot)
    simulator.step(pose)
    parameters, tiles, zero = random_parameters(n, 0), rows(n, 0), torch.zeros(n, 3)
    upright, still = torch.eye(4)[:1].repeat(n, 1), 0 * pose
    own = {**simulator.state.tensors(), **simulator.parameters.tensors(), "tile": simulator.tile}
    addresses = {name: tensor.data_ptr() for name, tensor in own.items()}
    with NoSync():
        simulator.set_tiles(every, tiles)
        simulator.randomize(every, parameters)
        simulator.reset(every, zero, upright, zero, zero, pose, still)
        simulator.push(every, zero)
        simulator.restore(simulator.snapshot())
    simulator.step(pose)
    own = {**simulator.state.tensors(), **simulator.parameters.tensors(), "tile": simulator.tile}
    assert {name: tensor.data_ptr() for name, tensor in own.items()} == addresses


def test_a_robot_that_is_pushed_goes_on_from_where_it_is(robot: Robot) -> None:
    """A push goes over as a whole root state: it must be the very state that came back."""
    simulator, twin = (isaacgym(robot, 2, flat_tile(2)) for _ in range(2))
    for engine in (simulator, twin):
        pose = stand(engine, robot)
        for _ in range(5):
            engine.step(pose + 0.1)
    simulator.push(torch.tensor([True, True]), torch.zeros(2, 3))
    for engine in (simulator, twin):
        engine.step(pose + 0.1)
    for name, tensor in twin.state.tensors().items():
        torch.testing.assert_close(simulator.state.tensors()[name], tensor, atol=1e-2, rtol=1e-4, msg=name)
    torch.testing.assert_close(simulator.state.root_pos, twin.state.root_pos, atol=1e-5, rtol=0.0)


def test_the_worker_is_python_3_6_and_imports_only_what_is_there() -> None:
    tree = ast.parse(process._PROGRAM.read_text(), feature_version=(3, 6))
    imported = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            imported |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            imported.add(node.module)
    assert imported - set(sys.stdlib_module_names) == {"numpy", "isaacgym", "torch"}
    newer = {"dataclasses", "contextvars", "importlib.resources", "importlib.metadata", "graphlib", "zoneinfo"}
    assert not imported & newer  # than 3.6
    assert not any(isinstance(node, ast.NamedExpr) for node in ast.walk(tree))


WATCHED = """
import json, sys
from pathlib import Path
program, log = sys.argv[1], Path({log!r})
sys.argv = sys.argv[1:]
seen = set()
def watch():
    from torch.utils._python_dispatch import TorchDispatchMode
    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, function, types, arguments=(), keywords=None):
            seen.add(str(function))
            log.write_text(json.dumps(sorted(seen)))
            return function(*arguments, **(keywords or {{}}))
    Watch().__enter__()
code = Path(program).read_text().replace("torch.set_num_threads(1)", "watch()")
exec(compile(code, program, "exec"), {{"__name__": "__main__", "__file__": program, "watch": watch}})
"""


def test_the_workers_torch_only_copies(robot: Robot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All that torch is asked for in the worker: memory without a value, views, whole copies. In the tests' Python."""
    import json

    log = tmp_path / "calls.json"
    (tmp_path / "watched.py").write_text(WATCHED.format(log=str(log)))
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nexec {sys.executable} {tmp_path}/watched.py "$@"\n')
    python.chmod(0o755)
    monkeypatch.setenv(process.PYTHON, str(python))
    simulator = isaacgym(robot, 2, flat_tile(2))
    pose = stand(simulator, robot)
    for _ in range(3):
        simulator.step(pose)
        simulator.randomize(torch.ones(2, dtype=torch.bool), random_parameters(2, 0))
        simulator.push(torch.ones(2, dtype=torch.bool), torch.ones(2, 3))
    simulator.close()
    calls = {call.partition(".")[2].partition(".")[0] for call in json.loads(log.read_text())}
    assert {"copy_"} <= calls <= {"copy_", "empty", "detach", "lift_fresh"}


def test_states_that_are_not_finite_are_told_and_go_no_further(robot: Robot, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ISAACGYM_DOUBLE_FAULT", "simulate:12:nan")  # the engine's own first step, one, and the second
    simulator = isaacgym(robot, 3, flat_tile(3))
    pose = stand(simulator, robot)
    simulator.step(pose)
    assert not simulator.state.diverged.any()
    simulator.step(pose)
    assert simulator.state.diverged.all()
    assert all(tensor.isfinite().all() for tensor in simulator.state.tensors().values())
    assert torch.equal(simulator.state.root_pos, torch.tensor([0.0, 0.0, robot.base_height]).repeat(3, 1))


def test_no_environment_variable_of_the_tests_is_needed(robot: Robot, monkeypatch: pytest.MonkeyPatch) -> None:
    python = os.environ[process.PYTHON]
    monkeypatch.delenv(process.PYTHON)
    simulator = isaacgym(robot, 1, flat_tile(1), python=python)  # type: ignore[arg-type]
    assert simulator.worker.versions["torch"]

"""Mistakes that a worker of Isaac Gym can make without an error: the double's strictness must show each of them.

Each mutant is the worker with one change, and goes through a short story beside MuJoCo. The worker itself agrees to the
end; a mutant fails, or is told apart by some value of the state.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from test_simulator import flat_tile, make
from torch import Tensor

from legged_gym_ext.config.schema import RobotConfig, SimConfig
from legged_gym_ext.errors import EngineFault, UserError
from legged_gym_ext.robot import Robot, load_robot
from legged_gym_ext.simulators.base import DomainParameters, Simulator
from legged_gym_ext.simulators.isaacgym import engine as engine_module
from legged_gym_ext.simulators.isaacgym import process

NUM_ENVS = 4
TOLERANCE = {
    **{"root_pos": 0.002, "root_quat": 0.004, "root_lin_vel": 0.02, "root_ang_vel": 0.2, "joint_pos": 0.01},
    **{"joint_vel": 0.5, "joint_torque": 5.0, "foot_force": 10.0, "body_force": 10.0},
}
"""By how much the worker may differ from MuJoCo in the story, in the units of the state; where the feet are it does not
tell."""
CROSSED = [0.247, -0.224, 1.182, -0.125, -0.403, -0.301, -0.043, 0.930, 0.273, -0.798]
"""A pose in which the shanks are in each other."""
FOLDED = [0.3, 0.43, 1.57, 1.49, 0.49, -0.31, -0.04, -1.17, 0.76, -0.80]
"""A pose in which a thigh is in the pelvis, which it does not meet."""


@pytest.fixture(scope="module")
def robot() -> Robot:
    return load_robot(RobotConfig())


def story(simulator: Simulator, robot: Robot) -> list[dict[str, Tensor]]:
    """Robots in the air that spin, fold and cross their legs, then some of them on the ground, where they slide."""
    n = NUM_ENVS
    every, zero = torch.ones(n, dtype=torch.bool), torch.zeros(n, 3)
    pose = torch.tensor(robot.default_joint_pos, dtype=torch.float32).repeat(n, 1)
    parameters = DomainParameters.nominal(n, "cpu")
    parameters.friction.copy_(torch.tensor([0.1, 0.2, 0.3, 0.4]))
    parameters.added_mass.copy_(torch.tensor([0.0, 3.0, 0.0, 3.0]))
    parameters.mass_offset.copy_(torch.tensor([0.05, -0.1, 0.0]))
    parameters.motor_strength.copy_(torch.tensor([[0.5], [1.0], [1.0], [1.0]]))
    simulator.randomize(every, parameters)
    states = []

    def run(steps: int, targets: Tensor) -> None:
        for _ in range(steps):
            simulator.step(targets)
            states.append({name: t.clone() for name, t in simulator.state.tensors().items() if name in TOLERANCE})

    high = zero + torch.tensor([0.0, 0.0, 5.0])
    oblique = torch.nn.functional.normalize(torch.tensor([0.9, 0.1, 0.2, 0.3]), dim=0).repeat(n, 1)
    spin = zero + torch.tensor([0.5, -1.0, 2.0])
    simulator.reset(every, high, oblique, zero, spin, pose, 0 * pose)
    run(10, pose)
    poses = torch.tensor([FOLDED, CROSSED]).repeat(2, 1)
    some = torch.tensor([True, True, False, False])
    simulator.reset(some, high, oblique, zero, zero, poses, 0 * pose)
    run(1, torch.where(some[:, None], poses, pose))
    simulator.reset(some, high, oblique, zero, spin, pose, 0 * pose)
    run(1, pose)
    upright = torch.eye(4)[:1].repeat(n, 1)
    ground, fast = zero.clone(), zero + torch.tensor([2.0, 0.0, 0.0])
    ground[:, 2] = robot.base_height + 0.005
    simulator.reset(~some, ground, upright, fast, zero, pose, 0 * pose)
    simulator.push(some, zero + 0.3)
    run(5, pose)
    pose[:2, 2::5] += 1.6  # hips, with as much torque as there is
    run(1, pose)
    return states


def differences(found: list[dict[str, Tensor]], wanted: list[dict[str, Tensor]]) -> list[str]:
    """Return where two stories differ by more than they may: names of the state's tensors, by step."""
    return [
        f"{name} at {step}"
        for step, (ours, theirs) in enumerate(zip(found, wanted, strict=True))
        for name, allowed in TOLERANCE.items()
        if not ((ours[name] - theirs[name]).abs() <= allowed).all()
    ]


@pytest.fixture(scope="module")
def wanted(robot: Robot) -> list[dict[str, Tensor]]:
    return story(make(SimConfig(engine="mujoco"), robot, NUM_ENVS, flat_tile(NUM_ENVS)), robot)


def told_by_isaacgym(robot: Robot) -> list[dict[str, Tensor]]:
    simulator = make(SimConfig(engine="isaacgym"), robot, NUM_ENVS, flat_tile(NUM_ENVS))
    try:
        return story(simulator, robot)
    finally:
        simulator.close()


def test_the_worker_itself_agrees(robot: Robot, wanted: list[dict[str, Tensor]]) -> None:
    assert differences(told_by_isaacgym(robot), wanted) == []


PLACE = 'gym.set_actor_root_state_tensor_indexed(sim, self.given["root"], self.given["place_actors"], places)'
MUTANTS = {
    # What is wrong by default
    "Y up": ("        params.up_axis = api.UP_AXIS_Z\n", ""),
    "Flex": ("graphics, api.SIM_PHYSX, params)", "graphics, params=params)"),
    "substeps": (", params.substeps = wanted", ", _ = wanted"),
    "links not collapsed": ("        options.collapse_fixed_joints = True\n", ""),
    "cylinders": ("        options.replace_cylinder_with_capsule = True\n", ""),
    "damping of the links": ("        options.linear_damping = options.angular_damping = 0.0\n", ""),
    "drives without a mode": (
        "        options.default_dof_drive_mode = int(api.DOF_MODE_POS)\n",
        "        api.DOF_MODE_POS = api.DOF_MODE_NONE\n",
    ),
    "gravity in force sensors": ("        props.enable_forward_dynamics_forces = False  # gravity and the like\n", ""),
    "force sensors in the body's frame": ("        props.use_world_frame = True\n", ""),
    "no joint force sensors": ("            gym.enable_actor_dof_force_sensors(env, actor)\n", ""),
    # Who meets whom
    "filter 0": ('"robot", i, -1, 0)', '"robot", i, 0, 0)'),
    "no self-collision": ('"robot", i, -1, 0)', '"robot", i, 1, 0)'),
    "one collision group": ('"robot", i, -1, 0)', '"robot", 0, -1, 0)'),
    "ground inside out": ('triangles.flatten("C")', 'triangles[:, ::-1].flatten("C")'),
    "friction of the ground": ("mesh.dynamic_friction = friction", "mesh.dynamic_friction = 1.0"),
    # Tensors
    "no fetch_results": ("                gym.fetch_results(sim, True)\n", "                pass\n"),
    "no refresh of roots": ("        gym.refresh_actor_root_state_tensor(sim)\n", ""),
    "no refresh of joints": ("        gym.refresh_dof_state_tensor(sim)\n", ""),
    "no refresh of forces": ("        gym.refresh_force_sensor_tensor(sim)\n", ""),
    "no refresh of torques": ("        gym.refresh_dof_force_tensor(sim)\n", ""),
    "a refresh too early": (
        "        gym.refresh_actor_root_state_tensor(sim)\n",
        "",
        "        for _ in range(self.decimation):\n",
        "        gym.refresh_actor_root_state_tensor(sim)\n        for _ in range(self.decimation):\n",
    ),
    "a setter called twice": (
        f"            done = {PLACE}\n",
        f"            done = {PLACE}\n"
        "            done = gym.set_actor_root_state_tensor_indexed(\n"
        '                sim, self.given["root"], self.given["place_actors"], 1)\n',
    ),
    "int64 indices": (
        "        self.given = {",
        '        self.own["place_actors"] = self.own["place_actors"].long()\n        self.given = {',
    ),
    "indices that nobody holds": (
        "            done = gym.set_actor_root",
        '            self.given["place_actors"] = self.interop.unwrap_tensor(self.own["place_actors"].clone())\n'
        "            done = gym.set_actor_root",
    ),
    "only the first robot is placed": (PLACE, PLACE.replace(", places)", ", 1)")),
    "joints are not placed": ("        if joints:\n", "        if False:\n"),
    # Parameters
    "centre of mass of the base": ('(com + self.shared["com"][i])', "(com + 0 * np.ones(3))"),
    "mass of the base": (' + float(self.shared["mass"][i])', ""),
    "friction is not set": ("            shape.friction = self.friction[i]\n", "            pass\n"),
    "effort is not set": ('("stiffness", "damping", "effort")', '("stiffness", "damping")'),
    "joints' armature": (
        '        joints["armature"].fill(asset["armature"])\n',
        '        joints["armature"].fill(0.5)\n',
    ),
}
"""What is replaced in the worker, in pairs of old and new text."""


@pytest.mark.slow
@pytest.mark.parametrize("mutant", MUTANTS)
def test_a_mutant_is_found_out(
    mutant: str, robot: Robot, wanted: list[dict[str, Tensor]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = process._PROGRAM.read_text("utf-8")
    changes = MUTANTS[mutant]
    for old, new in zip(changes[::2], changes[1::2], strict=True):
        assert program.count(old) == 1, old
        program = program.replace(old, new)
    (tmp_path / "worker.py").write_text(program, "utf-8")
    monkeypatch.setattr(process, "_PROGRAM", tmp_path / "worker.py")
    try:
        found = told_by_isaacgym(robot)
    except (EngineFault, UserError):
        return
    assert differences(found, wanted)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "value"),
    [("_XYZW", [0, 1, 2, 3]), ("_WXYZ", [0, 1, 2, 3]), ("_TERRAIN_FRICTION", 1.0)],
    ids=["quaternions that go over", "quaternions that come back", "friction of the pair"],
)
def test_a_mutant_of_this_side_is_found_out(
    name: str, value: object, robot: Robot, wanted: list[dict[str, Tensor]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Friction of the ground is told to the worker, but the robot's is as if it were zero: the average is wrong."""
    if name == "_TERRAIN_FRICTION":
        original = engine_module.IsaacGymSimulator._write_parameters

        def forgetful(self, rows) -> None:
            original(self, rows)
            self.worker.arrays["friction"][rows] /= 2

        monkeypatch.setattr(engine_module.IsaacGymSimulator, "_write_parameters", forgetful)
    else:
        monkeypatch.setattr(engine_module, name, value)
    assert differences(told_by_isaacgym(robot), wanted)

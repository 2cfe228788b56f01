"""The CPU engine leaves boxes out of reach out of its collisions, which nothing must notice."""

from __future__ import annotations

import mujoco
import numpy as np
import pytest
import torch

from legged_gym_ext.config.schema import RobotConfig, SimConfig, TerrainConfig
from legged_gym_ext.robot import load_robot
from legged_gym_ext.rotations import quat_from_euler
from legged_gym_ext.simulators import make_simulator
from legged_gym_ext.simulators.base import Simulator
from legged_gym_ext.simulators.mujoco.engine import MujocoSimulator
from legged_gym_ext.terrain.library import build_library

N, CPU = 96, torch.device("cpu")


def thrown() -> Simulator:
    """Robots all over the hardest tiles, on, in and beside the boxes, at up to 5 m/s, in any pose."""
    robot, library = load_robot(RobotConfig()), build_library(TerrainConfig(), CPU)
    simulator = make_simulator(SimConfig(engine="mujoco"), robot, library, N, CPU)
    random = torch.Generator().manual_seed(3)

    def uniform(low: float, high: float, *shape: int) -> torch.Tensor:
        return low + (high - low) * torch.rand(N, *shape, generator=random)

    every = torch.ones(N, dtype=torch.bool)
    simulator.set_tiles(every, torch.randint(len(library.boxes), (N,), generator=random))
    position = torch.stack([uniform(-1, 13), uniform(-3, 3), uniform(0.2, 2.0)], dim=1)
    turned = quat_from_euler(uniform(-1, 1), uniform(-1, 1), uniform(-3, 3))
    joints = torch.tensor(robot.default_joint_pos, dtype=torch.float32) + uniform(-0.5, 0.5, 10)
    simulator.reset(every, position, turned, uniform(-5, 5, 3), uniform(-5, 5, 3), joints, uniform(-5, 5, 10))
    return simulator


def states(simulator: Simulator) -> list[dict[str, torch.Tensor]]:
    random = torch.Generator().manual_seed(4)
    found = [{name: t.clone() for name, t in simulator.state.tensors().items()}]
    for _ in range(40):
        simulator.step(0.5 * torch.randn(N, 10, generator=random))
        found.append({name: t.clone() for name, t in simulator.state.tensors().items()})
    return found


def test_what_is_out_of_reach_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    simulator = thrown()
    assert isinstance(simulator, MujocoSimulator)
    some = states(simulator)
    boxes = simulator._model_fields["geom_contype"][:, simulator.layout.boxes]
    assert 0 < (boxes > 0).sum(axis=1).mean() < 8  # of 32
    assert (some[-1]["foot_force"] > 0).any() and (some[-1]["body_force"] > 0).any()

    def all_boxes(engine: MujocoSimulator) -> None:
        engine._model_fields["geom_contype"][:, engine.layout.boxes] = 1

    monkeypatch.setattr(MujocoSimulator, "_choose_boxes", all_boxes)
    for step, (few, every) in enumerate(zip(some, states(thrown()), strict=True)):
        for name, tensor in every.items():
            assert torch.equal(few[name], tensor), (step, name)


def test_the_reach_is_as_far_as_the_robot_can_stretch() -> None:
    simulator = thrown()
    assert isinstance(simulator, MujocoSimulator)
    model, layout = simulator.model, simulator.layout
    data, rng = mujoco.MjData(model), np.random.default_rng(0)
    farthest = 0.0
    for _ in range(300):
        data.qpos[layout.qpos] = rng.uniform(*simulator.robot.joint_range.T)
        mujoco.mj_kinematics(model, data)
        for geom in layout.robot_geoms:
            corners = model.geom_aabb[geom, :3] + model.geom_aabb[geom, 3:] * np.array(
                np.meshgrid(*[[-1, 1]] * 3)
            ).T.reshape(-1, 3)
            points = data.geom_xpos[geom] + corners @ data.geom_xmat[geom].reshape(3, 3).T
            farthest = max(farthest, np.linalg.norm(points - data.qpos[:3], axis=1).max())
    assert farthest <= layout.reach <= 1.6 * farthest

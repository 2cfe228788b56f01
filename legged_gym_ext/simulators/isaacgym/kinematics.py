"""Where the soles are, by the robot's kinematics: Isaac Gym's tensors are stale between a reset and the next step."""

from __future__ import annotations

import torch

from legged_gym_ext.kinematics import Kinematics, turned
from legged_gym_ext.robot import Robot
from legged_gym_ext.simulators.base import SimulatorState


class Soles:
    """Keeps the state's foot positions and velocities those of its pose.

    Args:
        robot: The robot.
        device: Of the state.
    """

    def __init__(self, robot: Robot, device: torch.device) -> None:
        self._kinematics = Kinematics(robot, device)
        self._feet = torch.tensor(self._kinematics.numbers(robot.feet), device=device)
        self._sole = torch.tensor(robot.sole.T, dtype=torch.float32, device=device)[..., None].contiguous()

    def refresh(self, state: SimulatorState) -> None:
        """Write ``foot_pos`` and ``foot_vel`` of all robots, by the rest of the ``state``."""
        poses = self._kinematics.poses(state.root_pos, state.root_quat, state.joint_pos)
        rates = self._kinematics.velocities(poses, state.root_lin_vel, state.root_ang_vel, state.joint_vel)
        rotation, position, velocity, spin = (values.index_select(-2, self._feet) for values in (*poses, *rates))
        arm = turned(rotation, self._sole)
        state.foot_pos.copy_((position + arm).permute(2, 1, 0))
        state.foot_vel.copy_((velocity + torch.linalg.cross(spin, arm, dim=0)).permute(2, 1, 0))

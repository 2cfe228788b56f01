"""Forward kinematics of the robot's links on batched tensors."""

from __future__ import annotations

from collections.abc import Iterable

import mujoco
import numpy as np
import torch
from torch import Tensor

from legged_gym_ext.robot import Robot
from legged_gym_ext.rotations import matrix_from_quat
from legged_gym_ext.urdf import parse_urdf


class Kinematics:
    """Poses and velocities of all links, level by level of the tree, so that both legs are one operation.

    Environments are the last dimension of all that is returned: with 3 x 3 numbers for each that is quicker than
    products of many small matrices, by five times on a CPU. A joint of a URDF turns its link about the link's origin.

    Args:
        robot: The robot.
        device: Of the tensors.
    """

    def __init__(self, robot: Robot, device: torch.device | str) -> None:
        self.model = model = parse_urdf(robot.urdf).compile()
        root = int(model.body_rootid[-1])
        depth = {root: 0}
        for body in range(root + 1, model.nbody):  # parents come first
            depth[body] = depth[model.body_parentid[body]] + 1
        self.bodies = sorted(depth, key=lambda body: (depth[body], body))
        """The model's number of each link, in the order of all that is returned; the root is the first."""
        place = {body: number for number, body in enumerate(self.bodies)}
        joint = {int(model.joint(name).bodyid[0]): number for number, name in enumerate(robot.joints)}

        count = len(self.bodies)
        still, sine, versine = np.zeros((3, count, 3, 3))
        axes = np.zeros((count, 3))
        for i, body in enumerate(self.bodies):
            still[i] = matrix(model.body_quat[body])
            if body in joint:
                x, y, z = axes[i] = model.jnt_axis[model.body_jntadr[body]]
                cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
                sine[i], versine[i] = still[i] @ cross, still[i] @ cross @ cross

        def constant(values: np.ndarray) -> Tensor:  # (links, ...) -> (..., links, 1)
            return torch.tensor(values, dtype=torch.float32, device=device).movedim(0, -1)[..., None].contiguous()

        self._levels: list[tuple[slice, Tensor]] = []
        """Of each level below the root: its links, and the place of each one's parent in the level above."""
        first, last = 0, 1
        while last < count:
            end = last + sum(depth[body] == len(self._levels) + 1 for body in self.bodies)
            parents = [place[model.body_parentid[body]] - first for body in self.bodies[last:end]]
            self._levels.append((slice(last, end), torch.tensor(parents, device=device)))
            first, last = last, end
        self._joints = torch.tensor([joint.get(body, 0) for body in self.bodies], device=device)
        self._still, self._sine, self._versine = constant(still), constant(sine), constant(versine)
        self._axes, self._places = constant(axes), constant(model.body_pos[self.bodies])

    def numbers(self, links: Iterable[str]) -> list[int]:
        """Return the numbers of the links of these names in what is returned."""
        return [self.bodies.index(self.model.body(link).id) for link in links]

    def poses(self, root_pos: Tensor, root_quat: Tensor, joint_pos: Tensor) -> tuple[Tensor, Tensor]:
        """Return the links' rotations (3, 3, links, num_envs) and positions (3, links, num_envs).

        ``root_pos`` is (num_envs, 3), ``root_quat`` (num_envs, 4), ``joint_pos`` (num_envs, 10) in the order of the
        actions.
        """
        angles = joint_pos.T.index_select(0, self._joints)
        turns = self._still + torch.sin(angles) * self._sine + (1 - torch.cos(angles)) * self._versine
        rotations = [matrix_from_quat(root_quat).movedim(0, -1)[:, :, None]]
        positions = [root_pos.T[:, None]]
        for links, parents in self._levels:
            rotation, position = (values[-1].index_select(-2, parents) for values in (rotations, positions))
            positions.append(position + turned(rotation, self._places[:, links]))
            rotations.append((rotation[:, :, None] * turns[None, :, :, links]).sum(dim=1))
        return torch.cat(rotations, dim=2), torch.cat(positions, dim=1)

    def velocities(
        self, poses: tuple[Tensor, Tensor], root_lin_vel: Tensor, root_ang_vel: Tensor, joint_vel: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return the links' linear and angular velocities, each (3, links, num_envs), in the world frame.

        The linear one is that of the link's origin, m/s. ``poses`` is what :meth:`poses` returned; the root's
        velocities are (num_envs, 3), ``joint_vel`` is (num_envs, 10).
        """
        rotations, positions = poses
        turning = turned(rotations, self._axes) * joint_vel.T.index_select(0, self._joints)
        linear, angular = [root_lin_vel.T[:, None]], [root_ang_vel.T[:, None]]
        above = slice(0, 1)
        for links, parents in self._levels:
            velocity, rate = (values[-1].index_select(1, parents) for values in (linear, angular))
            arm = positions[:, links] - positions[:, above].index_select(1, parents)
            linear.append(velocity + torch.linalg.cross(rate, arm, dim=0))
            angular.append(rate + turning[:, links])  # a joint leaves its axis as it is
            above = links
        return torch.cat(linear, dim=1), torch.cat(angular, dim=1)


def turned(rotations: Tensor, vectors: Tensor) -> Tensor:
    """Return ``vectors`` (3, ...), turned by ``rotations`` (3, 3, ...)."""
    return (rotations * vectors).sum(dim=1)


def matrix(quat: np.ndarray) -> np.ndarray:
    """Return the rotation matrix (3, 3) of one quaternion (4,)."""
    values = np.zeros(9)
    mujoco.mju_quat2Mat(values, quat)
    return values.reshape(3, 3)

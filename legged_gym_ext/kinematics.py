"""Forward kinematics of the robot's links on batched tensors."""

from __future__ import annotations

import mujoco
import numpy as np
import torch
from torch import Tensor

from legged_gym_ext.robot import Robot, parse_urdf
from legged_gym_ext.rotations import matrix_from_quat


class Kinematics:
    """Poses and velocities of all links, level by level of the tree, so that both legs are one operation.

    A joint of a URDF turns its link about the link's own origin.

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
        axes, above = np.zeros((count, 3)), np.eye(count)
        for i, body in enumerate(self.bodies):
            still[i] = matrix(model.body_quat[body])
            if body in joint:
                x, y, z = axes[i] = model.jnt_axis[model.body_jntadr[body]]
                cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
                sine[i], versine[i] = still[i] @ cross, still[i] @ cross @ cross
            if i > 0:
                above[i] += above[place[model.body_parentid[body]]]

        def constant(values: np.ndarray) -> Tensor:
            return torch.tensor(values, dtype=torch.float32, device=device)

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
        self._above = constant(above)
        """Whether the second link is the first one or above it, (links, links)."""

    def numbers(self, links: tuple[str, ...]) -> list[int]:
        """Return the numbers of the links of these names in what is returned."""
        return [self.bodies.index(self.model.body(link).id) for link in links]

    def poses(self, root_pos: Tensor, root_quat: Tensor, joint_pos: Tensor) -> tuple[Tensor, Tensor]:
        """Return the links' rotations (num_envs, links, 3, 3) and positions (num_envs, links, 3).

        ``root_pos`` is (num_envs, 3), ``root_quat`` (num_envs, 4), ``joint_pos`` (num_envs, 10) in the order of the
        actions.
        """
        angles = joint_pos.index_select(1, self._joints)[..., None, None]
        turns = self._still + torch.sin(angles) * self._sine + (1 - torch.cos(angles)) * self._versine
        rotations, positions = [matrix_from_quat(root_quat)[:, None]], [root_pos[:, None]]
        for links, parents in self._levels:
            rotation, position = (values[-1].index_select(1, parents) for values in (rotations, positions))
            positions.append(position + (rotation @ self._places[links, :, None]).squeeze(-1))
            rotations.append(rotation @ turns[:, links])
        return torch.cat(rotations, dim=1), torch.cat(positions, dim=1)

    def velocities(
        self,
        links: Tensor,
        points: Tensor,
        poses: tuple[Tensor, Tensor],
        root_lin_vel: Tensor,
        root_ang_vel: Tensor,
        joint_vel: Tensor,
    ) -> Tensor:
        """Return the velocities (num_envs, P, 3) of points that are fixed to links, m/s in the world frame.

        ``links`` (P,) are their numbers, ``points`` (num_envs, P, 3) where they are, ``poses`` what :meth:`poses`
        returned. Each joint above a point turns it about the joint's own link.
        """
        rotations, positions = poses
        axes = (rotations @ self._axes[..., None]).squeeze(-1)  # a joint leaves its axis as it is
        rates = axes * joint_vel.index_select(1, self._joints)[..., None]
        arms = points[:, :, None] - positions[:, None]
        turning = torch.linalg.cross(rates[:, None], arms, dim=-1)
        by_joints = (turning * self._above.index_select(0, links)[..., None]).sum(dim=2)
        by_root = torch.linalg.cross(root_ang_vel[:, None], points - positions[:, :1], dim=-1)
        return root_lin_vel[:, None] + by_root + by_joints


def matrix(quat: np.ndarray) -> np.ndarray:
    """Return the rotation matrix (3, 3) of one quaternion (4,)."""
    values = np.zeros(9)
    mujoco.mju_quat2Mat(values, quat)
    return values.reshape(3, 3)

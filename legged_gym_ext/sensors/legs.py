"""Where the robot's legs are, for a camera that sees them."""

from __future__ import annotations

import mujoco
import numpy as np
import torch
from torch import Tensor

from legged_gym_ext.errors import UserError
from legged_gym_ext.kinematics import Kinematics, matrix, turned
from legged_gym_ext.robot import Robot


class Legs:
    """The collision shapes of all links that move against the base.

    Args:
        robot: The robot. The shapes must be capsules (which cylinders are, see robot.py) or spheres.
        device: Of the tensors.

    Raises:
        UserError: A shape is neither.
    """

    def __init__(self, robot: Robot, device: torch.device | str) -> None:
        self._kinematics = Kinematics(robot, device)
        model = self._kinematics.model
        ends, radii, links = [], [], []
        for geom in np.flatnonzero(model.geom_contype | model.geom_conaffinity):
            body = model.geom_bodyid[geom]
            if model.body_weldid[body] != 0:  # the root, and what is fixed to it, counts as fixed to the world here
                if model.geom_type[geom] not in (int(mujoco.mjtGeom.mjGEOM_CAPSULE), int(mujoco.mjtGeom.mjGEOM_SPHERE)):
                    raise UserError(
                        f"camera.see_robot: link '{model.body(body).name}' of {robot.urdf.name} has a shape that is "
                        "no cylinder and no sphere"
                    )
                axis = matrix(model.geom_quat[geom])[:, 2] * model.geom_size[geom][1]  # 0 of a sphere
                ends.append(model.geom_pos[geom] + np.array([[-1], [1]]) * axis)
                radii.append(model.geom_size[geom][0])
                links.append(self._kinematics.bodies.index(body))
        self._links = torch.tensor(links, device=device)
        points = torch.tensor(np.array(ends), dtype=torch.float32, device=device)  # (shapes, 2, 3)
        self._ends = points.permute(1, 2, 0)[..., None].contiguous()
        self._radii = torch.tensor(radii, dtype=torch.float32, device=device)

    def capsules(self, root_pos: Tensor, root_quat: Tensor, joint_pos: Tensor) -> Tensor:
        """Return the shapes as render_depth takes them, (num_envs, C, CAPSULE_DIM), in the frame of the base's pose.

        ``root_pos`` is (num_envs, 3), ``root_quat`` (num_envs, 4), ``joint_pos`` (num_envs, 10) in the order of the
        actions.
        """
        poses = self._kinematics.poses(root_pos, root_quat, joint_pos)
        rotation, position = (values.index_select(-2, self._links) for values in poses)
        ends = [turned(rotation, end) + position for end in self._ends]
        radii = self._radii[:, None].expand(-1, len(root_pos))
        return torch.cat([*ends, radii[None]], dim=0).permute(2, 1, 0).contiguous()

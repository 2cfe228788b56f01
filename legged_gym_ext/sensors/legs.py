"""Where the robot's legs are, for a camera that sees them."""

from __future__ import annotations

import mujoco
import numpy as np
import torch
from torch import Tensor

from legged_gym_ext.errors import UserError
from legged_gym_ext.robot import Robot, parse_urdf
from legged_gym_ext.rotations import matrix_from_quat


class Legs:
    """Forward kinematics of the collision shapes of all links that move against the base.

    A joint of a URDF turns its link about the link's own origin.

    Args:
        robot: The robot. The shapes must be capsules (which cylinders are, see robot.py) or spheres.
        device: Of the tensors.

    Raises:
        UserError: A shape is neither.
    """

    def __init__(self, robot: Robot, device: torch.device | str) -> None:
        model = parse_urdf(robot.urdf).compile()
        base = model.body_rootid[-1]
        links = [body for body in range(1, model.nbody) if body != base]
        joint = {model.joint(name).bodyid[0]: number for number, name in enumerate(robot.joints)}
        moving = {base: False}
        for body in links:  # parents come first
            moving[body] = body in joint or moving[model.body_parentid[body]]
        self._parents = [links.index(parent) if parent != base else None for parent in model.body_parentid[links]]

        still, sine, versine = np.zeros((3, len(links), 3, 3))
        for i, body in enumerate(links):
            still[i] = _matrix(model.body_quat[body])
            if body in joint:
                x, y, z = model.jnt_axis[model.body_jntadr[body]]
                cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
                sine[i], versine[i] = still[i] @ cross, still[i] @ cross @ cross
        ends, radii, shape_links = [], [], []
        for geom in np.flatnonzero(model.geom_contype | model.geom_conaffinity):
            body = model.geom_bodyid[geom]
            if moving[body]:
                if model.geom_type[geom] not in (int(mujoco.mjtGeom.mjGEOM_CAPSULE), int(mujoco.mjtGeom.mjGEOM_SPHERE)):
                    raise UserError(
                        f"camera.see_robot: link '{model.body(body).name}' of {robot.urdf.name} has a shape that is "
                        "no cylinder and no sphere"
                    )
                axis = _matrix(model.geom_quat[geom])[:, 2] * model.geom_size[geom][1]  # 0 of a sphere
                ends.append(model.geom_pos[geom] + np.array([[-1], [1]]) * axis)
                radii.append(model.geom_size[geom][0])
                shape_links.append(links.index(body))

        def constant(values: np.ndarray | list) -> Tensor:
            return torch.tensor(np.asarray(values), dtype=torch.float32, device=device)

        self._joints = torch.tensor([joint.get(body, 0) for body in links], device=device)
        self._still, self._sine, self._versine = constant(still), constant(sine), constant(versine)
        self._places = constant(model.body_pos[links])
        self._shape_links = torch.tensor(shape_links, device=device)
        self._ends = constant(ends)
        self._radii = constant(radii)

    def capsules(self, root_pos: Tensor, root_quat: Tensor, joint_pos: Tensor) -> Tensor:
        """Return the shapes as render_depth takes them, (num_envs, C, CAPSULE_DIM), in the frame of the base's pose.

        ``root_pos`` is (num_envs, 3), ``root_quat`` (num_envs, 4), ``joint_pos`` (num_envs, 10) in the order of the
        actions.
        """
        angles = joint_pos.index_select(1, self._joints)[..., None, None]
        turns = self._still + torch.sin(angles) * self._sine + (1 - torch.cos(angles)) * self._versine
        root = matrix_from_quat(root_quat)
        rotations, positions = [], []
        for i, parent in enumerate(self._parents):
            rotation, position = (root, root_pos) if parent is None else (rotations[parent], positions[parent])
            rotations.append(rotation @ turns[:, i])
            positions.append(position + rotation @ self._places[i])
        rotation = torch.stack(rotations, dim=1).index_select(1, self._shape_links)
        position = torch.stack(positions, dim=1).index_select(1, self._shape_links)
        ends = (rotation[:, :, None] @ self._ends[..., None]).squeeze(-1) + position[:, :, None]
        return torch.cat([ends.flatten(2), self._radii.expand(len(ends), -1)[..., None]], dim=-1)


def _matrix(quat: np.ndarray) -> np.ndarray:
    """Return the rotation matrix of a quaternion."""
    matrix = np.zeros(9)
    mujoco.mju_quat2Mat(matrix, quat)
    return matrix.reshape(3, 3)

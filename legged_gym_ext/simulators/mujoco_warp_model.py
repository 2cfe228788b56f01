"""What the MuJoCo Warp engine's kernels must know of the model, computed once in float64."""

from __future__ import annotations

import mujoco
import mujoco_warp as mjw
import numpy as np
import warp as wp

from legged_gym_ext.config import SimConfig
from legged_gym_ext.robot import Robot
from legged_gym_ext.simulators import mujoco_warp_kernels as kernels
from legged_gym_ext.simulators.mujoco_model import MAX_SPEED, ModelLayout

_BASE_DOFS, _JOINT_DOFS = slice(0, 6), slice(6, None)


def capacities(model: mujoco.MjModel, layout: ModelLayout, config: SimConfig) -> tuple[int, int]:
    """Return for how many contacts (on average over the worlds) and constraint rows each world gets room."""
    contacts = config.nconmax or 4 * len(layout.robot_geoms)
    rows_per_contact = 4  # two edges of the friction pyramid for each of two tangents
    return contacts, config.njmax or rows_per_contact * contacts + int(model.jnt_limited.sum())


def fill_layout(
    model: mujoco.MjModel, device_model: mjw.Model, layout: ModelLayout, robot: Robot, overflow_mask: int
) -> kernels.Layout:
    """Return where things are in MuJoCo's arrays, and the robot's kinematics."""
    result = kernels.Layout()
    result.joint_qpos, result.joint_dof = _integers(layout.qpos), _integers(layout.dofs)
    result.default_qpos = _floats(layout.default_qpos)
    result.force_limited = wp.array(model.actuator_forcelimited.astype(bool), dtype=bool)
    result.foot_pos, result.foot_vel = layout.foot_pos.start, layout.foot_vel.start
    result.foot_force, result.body_force = layout.foot_force.start, layout.body_force.start
    result.foot_body = _integers([model.body(foot).id for foot in robot.feet])
    result.sole = wp.array(robot.sole, dtype=wp.vec3)
    result.root = int(layout.base_bodies.min())
    result.body_parent = device_model.body_parentid
    result.body_pos, result.body_quat = device_model.body_pos, device_model.body_quat
    result.body_joint, result.body_joints = device_model.body_jntadr, device_model.body_jntnum
    result.hinge_qpos, result.hinge_dof = device_model.jnt_qposadr, device_model.jnt_dofadr
    result.hinge_pos, result.hinge_axis = device_model.jnt_pos, device_model.jnt_axis
    result.max_speed, result.overflow_mask = MAX_SPEED, overflow_mask
    return result


def fill_nominal(model: mujoco.MjModel, layout: ModelLayout, robot: Robot) -> kernels.Nominal:
    """Return the robot as it is without domain randomization."""
    result = kernels.Nominal()
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    base, root = layout.base_bodies, layout.base_bodies.min()
    result.robot_geoms, result.base_bodies = _integers(layout.robot_geoms), _integers(base)
    result.base_com = wp.array((data.xipos[base] - data.xpos[root]) @ data.xmat[root].reshape(3, 3), dtype=wp.vec3)
    result.root_to_base = wp.array(layout.root_to_base, dtype=wp.mat33)
    result.body_parent, result.body_ipos = _integers(model.body_parentid), wp.array(model.body_ipos, dtype=wp.vec3)
    result.body_mass, result.body_subtreemass = _floats(model.body_mass), _floats(model.body_subtreemass)
    result.stiffness, result.damping = _floats(robot.stiffness), _floats(robot.damping)
    result.forcerange = _floats(model.actuator_forcerange)
    inertia, constant, factor = inverse_weight_rows(model, data)
    result.base_inertia, result.row_constant, result.row_factor = _floats(inertia), _floats(constant), _floats(factor)
    return result


def inverse_weight_rows(model: mujoco.MjModel, data: mujoco.MjData) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return what kernels._invweights needs: base_inertia (6, 6), row_constant (rows,), row_factor (rows, 6, 6).

    ``data`` is in the reference pose. Rows: translation and rotation of each body, then the degrees of freedom.
    """
    mass = np.zeros((model.nv, model.nv))
    mujoco.mj_fullM(model, data, mass)
    joints_inverse = np.linalg.inv(mass[_JOINT_DOFS, _JOINT_DOFS])
    coupling = mass[_BASE_DOFS, _JOINT_DOFS] @ joints_inverse
    inertia = mass[_BASE_DOFS, _BASE_DOFS] - coupling @ mass[_JOINT_DOFS, _BASE_DOFS]

    def of(jacobian: np.ndarray) -> tuple[float, np.ndarray]:
        """Return the means of k and h'h over the rows of a Jacobian (rows, nv)."""
        joints = jacobian[:, _JOINT_DOFS]
        h = jacobian[:, _BASE_DOFS] - joints @ coupling.T
        return float(np.einsum("ri,ij,rj->r", joints, joints_inverse, joints).mean()), h.T @ h / len(h)

    means = [(0.0, np.zeros((6, 6)))] * 2  # the world
    for body in range(1, model.nbody):
        translation, rotation = np.zeros((3, model.nv)), np.zeros((3, model.nv))
        mujoco.mj_jacBodyCom(model, data, translation, rotation, body)
        means += [of(translation), of(rotation)]
    unit = np.eye(model.nv)
    means += [of(unit[0:3])] * 3 + [of(unit[3:6])] * 3 + [of(unit[[dof]]) for dof in range(6, model.nv)]
    return inertia, np.array([k for k, _ in means]), np.array([factor for _, factor in means])


def _integers(values: np.ndarray | list[int]) -> wp.array:
    return wp.array(np.asarray(values), dtype=int)


def _floats(values: np.ndarray) -> wp.array:
    return wp.array(values, dtype=float)

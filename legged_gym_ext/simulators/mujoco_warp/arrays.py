"""The arrays of the MuJoCo Warp engine, and what its kernels must know of the model, computed once in float64."""

from __future__ import annotations

import dataclasses
from typing import Any

import mujoco
import mujoco_warp as mjw
import numpy as np
import warp as wp

from legged_gym_ext.robot import Robot
from legged_gym_ext.simulators.mujoco.model import MAX_SPEED, ModelLayout
from legged_gym_ext.simulators.mujoco_warp import kernels, parameters
from legged_gym_ext.simulators.mujoco_warp.options import MujocoWarpOptions

TERRAIN_FIELDS = ("geom_size", "geom_aabb", "geom_rbound")
PARAMETER_FIELDS = (
    "geom_friction",
    "body_mass",
    "body_ipos",
    "body_subtreemass",
    "body_invweight0",
    "dof_invweight0",
    "actuator_gainprm",
    "actuator_biasprm",
    "actuator_forcerange",
)
"""Fields of the model that each world has of its own: what tiles and what domain parameters change."""

_CONTACTS_PER_SHAPE = 3
"""Contacts, and pairs that may touch, for which there is room, per colliding shape of the robot. Seen at most, over the
hardest tiles with falls from all sides: 1.9 and 2.2 in one world, 0.25 and 0.31 as the mean of 256 worlds."""
_ROWS_PER_CONTACT = 4
"""Constraint rows of a contact: the edges of its friction pyramid."""
_BASE_DOFS, _JOINT_DOFS = slice(0, 6), slice(6, None)


def capacities(model: mujoco.MjModel, layout: ModelLayout, options: MujocoWarpOptions) -> tuple[int, int]:
    """Return for how many contacts (worlds share them) and for how many constraint rows each world gets room."""
    contacts = options.nconmax or _CONTACTS_PER_SHAPE * len(layout.robot_geoms)
    return contacts, options.njmax or _ROWS_PER_CONTACT * contacts + int(model.jnt_limited.sum())


def allocate(model: mujoco.MjModel, num_envs: int, nconmax: int, njmax: int) -> tuple[mjw.Model, mjw.Data]:
    """Allocate model and data of all worlds on Warp's current device."""
    batch_sizes: dict[str, int] = dict.fromkeys([*TERRAIN_FIELDS, *PARAMETER_FIELDS], num_envs)
    device_model = mjw.put_model(model, batch_sizes=batch_sizes)
    return device_model, mjw.make_data(model, nworld=num_envs, nconmax=nconmax, njmax=njmax)


def bytes_per_world(model: mujoco.MjModel, nconmax: int, njmax: int) -> int:
    """Return how much memory each world takes: its arrays, and as much again for what the steps allocate."""
    with wp.ScopedDevice("cpu"):
        one, two = (sum(map(_bytes, allocate(model, num_envs, nconmax, njmax))) for num_envs in (1, 2))
    return 2 * (two - one)


def _bytes(arrays: object) -> int:
    """Return the size of all Warp arrays in a (nested) dataclass."""
    if isinstance(arrays, wp.array):
        return arrays.capacity
    if dataclasses.is_dataclass(arrays):
        return sum(_bytes(getattr(arrays, field.name, None)) for field in dataclasses.fields(arrays))
    return 0


def fill_layout(
    model: mujoco.MjModel, device_model: mjw.Model, layout: ModelLayout, robot: Robot, overflow_mask: int
) -> Any:
    """Return, as ``kernels.Layout``, where things are in MuJoCo's arrays, and the robot's kinematics."""
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


def fill_nominal(model: mujoco.MjModel, layout: ModelLayout, robot: Robot) -> Any:
    """Return, as ``parameters.Nominal``, the robot without domain randomization."""
    result = parameters.Nominal()
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
    """Return base_inertia (6, 6), row_constant (rows,) and row_factor (rows, 6, 6) of parameters.Nominal.

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

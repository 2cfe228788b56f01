"""What the CPU engine does around the physics steps: numba, one loop over the worlds each.

With a few hundred worlds a step leaves no time for the dozens of small array operations that the same would take.
Arguments named like fields of ``SimulatorState``, ``DomainParameters``, ``ModelLayout`` or MuJoCo are those, with one
row for each world where they have rows; ``mask`` (worlds,) names the worlds meant.
"""

from __future__ import annotations

import numpy as np
from numba import njit

STATE = (
    "root_pos",
    "root_quat",
    "root_lin_vel",
    "root_ang_vel",
    "joint_pos",
    "joint_vel",
    "joint_torque",
    "foot_pos",
    "foot_vel",
    "foot_force",
    "body_force",
)
"""The tensors of ``SimulatorState`` that ``read_state`` fills, in its order."""


@njit(cache=True, error_model="numpy")
def _rotate(quat, sign, v, out):
    """Rotate ``v`` by the quaternion (w, x, y, z), or with ``sign`` -1 by its inverse: v + w t + u x t, t = 2 u x v."""
    w, x, y, z = quat[0], sign * quat[1], sign * quat[2], sign * quat[3]
    tx, ty, tz = 2 * (y * v[2] - z * v[1]), 2 * (z * v[0] - x * v[2]), 2 * (x * v[1] - y * v[0])
    out[0] = v[0] + w * tx + y * tz - z * ty
    out[1] = v[1] + w * ty + z * tx - x * tz
    out[2] = v[2] + w * tz + x * ty - y * tx


@njit(cache=True, error_model="numpy")
def read_state(qpos, qvel, actuator_force, sensordata, joint_qpos, joint_dof, sensor_rows, state):
    """Write what the engine computed into the state, ``STATE``; ``sensor_rows`` (4,) are where its last four begin."""
    root_pos, root_quat, lin_vel, ang_vel, joint_pos, joint_vel, torque, foot_pos, foot_vel, foot_force, bodies = state
    foot, foot_speed, foot_load, body_load = sensor_rows
    for n in range(qpos.shape[0]):
        for k in range(3):
            root_pos[n, k], lin_vel[n, k] = qpos[n, k], qvel[n, k]
        for k in range(4):
            root_quat[n, k] = qpos[n, 3 + k]
        _rotate(qpos[n, 3:7], 1.0, qvel[n, 3:6], ang_vel[n])  # MuJoCo has it in the body's frame
        for j in range(joint_qpos.size):
            joint_pos[n, j], joint_vel[n, j] = qpos[n, joint_qpos[j]], qvel[n, joint_dof[j]]
            torque[n, j] = actuator_force[n, j]
        for f in range(foot_pos.shape[1]):
            for k in range(3):
                foot_pos[n, f, k] = sensordata[n, foot + 3 * f + k]
                foot_vel[n, f, k] = sensordata[n, foot_speed + 3 * f + k]
                foot_force[n, f, k] = sensordata[n, foot_load + 3 * f + k]
        for b in range(bodies.shape[1]):
            square = 0.0
            for k in range(3):
                square += sensordata[n, body_load + 3 * b + k] ** 2
            bodies[n, b] = np.sqrt(square)


@njit(cache=True, error_model="numpy")
def find_broken(qvel, status, warning, bad, max_speed, broken):
    """Write whether the last step of each world failed into ``broken``; return whether any did.

    One did that ended in an error (``status``), left one of the ``bad`` warnings, or ended not finite or too fast.
    """
    some = False
    for n in range(qvel.shape[0]):
        sound = status[n] == 0
        for kind in bad:
            sound &= warning[n, kind, 1] == 0
        for i in range(qvel.shape[1]):
            sound &= abs(qvel[n, i]) < max_speed  # false for NaN, too
        broken[n] = not sound
        some |= not sound
    return some


@njit(cache=True, error_model="numpy")
def place(mask, fresh, placement, joint_qpos, joint_dof, engine):
    """Place the robots of the masked worlds, which begin anew from the state ``fresh`` (see ``mujoco.batch``).

    ``placement`` is what follows the mask in ``Simulator.reset``, ``engine`` are the engine's state, qpos, qvel and
    ctrl. The motors hold the pose until the first step, which sets its own targets.
    """
    state, qpos, qvel, ctrl = engine
    root_pos, root_quat, root_lin_vel, root_ang_vel, joint_pos, joint_vel = placement
    for n in range(mask.size):
        if not mask[n]:
            continue
        state[n] = fresh
        qpos[n, :3], qpos[n, 3:7], qvel[n, :3] = root_pos[n], root_quat[n], root_lin_vel[n]
        _rotate(root_quat[n], -1.0, root_ang_vel[n], qvel[n, 3:6])
        for j in range(joint_qpos.size):
            qpos[n, joint_qpos[j]], qvel[n, joint_dof[j]] = joint_pos[n, j], joint_vel[n, j]
            ctrl[n, j] = joint_pos[n, j]


@njit(cache=True, error_model="numpy")
def set_boxes(mask, tile, boxes, floor, first, fields):
    """Let the geoms from ``first`` on be the boxes of each world's tile.

    ``tile`` (worlds,) are rows of ``boxes``: centres, quaternions and half sizes (tiles, K, ...) of the library. In the
    model half sizes are at least ``floor``. ``fields`` are geom_pos, geom_quat, geom_size, geom_aabb and geom_rbound.
    """
    center, quat, half = boxes
    geom_pos, geom_quat, geom_size, geom_aabb, geom_rbound = fields
    for n in range(mask.size):
        if not mask[n]:
            continue
        row = tile[n]
        for k in range(center.shape[1]):
            g, square = first + k, 0.0
            geom_pos[n, g], geom_quat[n, g] = center[row, k], quat[row, k]
            for i in range(3):
                size = max(half[row, k, i], floor)
                geom_size[n, g, i], geom_aabb[n, g, 3 + i] = size, size
                square += size * size
            geom_rbound[n, g] = np.sqrt(square)


@njit(cache=True, error_model="numpy")
def choose_boxes(qpos, tile, boxes, reach, first, bit, contype):
    """Let only those boxes collide of which a point is within ``reach`` (m) of the root; the others cost nothing then.

    ``bit`` is what the geoms' ``contype`` is where they collide; the rest is as for ``set_boxes``.
    """
    center, quat, half = boxes
    to_root, local = np.empty(3), np.empty(3)
    for n in range(qpos.shape[0]):
        row = tile[n]
        for k in range(center.shape[1]):
            for i in range(3):
                to_root[i] = qpos[n, i] - center[row, k, i]
            _rotate(quat[row, k], -1.0, to_root, local)
            square = 0.0
            for i in range(3):
                outside = max(abs(local[i]) - half[row, k, i], 0.0)
                square += outside * outside
            contype[n, first + k] = bit if square < reach * reach else 0


@njit(cache=True, error_model="numpy")
def set_parameters(mask, parameters, kept, layout, nominal, fields):
    """Write the physical parameters into the model's ``fields``, and keep a copy.

    ``parameters`` and ``kept`` are the tensors of ``DomainParameters``; ``layout`` are robot_geoms, base_bodies and
    root_to_base; ``nominal`` are the model's own body_mass,
    body_ipos and actuator_forcerange and the motors' stiffness and damping; ``fields`` are geom_friction, body_mass,
    body_ipos, actuator_gainprm, actuator_biasprm and actuator_forcerange; each in this order.
    """
    robot_geoms, base_bodies, root_to_base = layout
    friction, added_mass, mass_offset, strength, stiffness, damping = parameters
    nominal_mass, nominal_ipos, nominal_range, nominal_stiffness, nominal_damping = nominal
    geom_friction, body_mass, body_ipos, gainprm, biasprm, forcerange = fields
    kept_friction, kept_mass, kept_offset, kept_strength, kept_stiffness, kept_damping = kept
    for n in range(mask.size):
        if not mask[n]:
            continue
        kept_friction[n], kept_mass[n], kept_offset[n] = friction[n], added_mass[n], mass_offset[n]
        kept_strength[n], kept_stiffness[n], kept_damping[n] = strength[n], stiffness[n], damping[n]
        for g in robot_geoms:
            geom_friction[n, g, 0] = friction[n]
        body_mass[n, base_bodies[0]] = nominal_mass[base_bodies[0]] + added_mass[n]
        for b in range(base_bodies.size):
            for i in range(3):
                offset = 0.0
                for j in range(3):
                    offset += root_to_base[b, i, j] * mass_offset[n, j]
                body_ipos[n, base_bodies[b], i] = nominal_ipos[base_bodies[b], i] + offset
        for m in range(nominal_stiffness.size):
            gain = nominal_stiffness[m] * stiffness[n, m] * strength[n, m]
            gainprm[n, m, 0], biasprm[n, m, 1] = gain, -gain
            biasprm[n, m, 2] = -nominal_damping[m] * damping[n, m] * strength[n, m]
            for side in range(2):
                forcerange[n, m, side] = nominal_range[m, side] * strength[n, m]

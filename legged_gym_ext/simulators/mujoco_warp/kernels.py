# type: ignore  (kernels are programs in Warp's language, which shares only Python's syntax)
# ruff: noqa: UP018  (there, only float(0.0) makes a variable that a loop may change)
"""What the MuJoCo Warp engine does around the physics steps: kernels with one thread for each world (and box).

Quaternions are MuJoCo's (w, x, y, z), also where they are held in Warp's type, whose own order is another.
"""

import warp as wp

wp.set_module_options({"enable_backward": False, "default_grid_stride": False, "max_unroll": 1})


@wp.struct
class Worlds:
    """What changes in each world: MuJoCo's arrays, then those of the simulator's state that are no views of them."""

    qpos: wp.array2d[float]
    qvel: wp.array2d[float]
    ctrl: wp.array2d[float]
    warmstart: wp.array2d[float]
    time: wp.array[float]
    sensordata: wp.array2d[float]
    actuator_force: wp.array2d[float]
    actuator_biasprm: wp.array3d[float]
    actuator_forcerange: wp.array3d[float]
    overflow_bits: wp.array[int]
    root_ang_vel: wp.array2d[float]
    joint_pos: wp.array2d[float]
    joint_vel: wp.array2d[float]
    body_force: wp.array2d[float]
    diverged: wp.array[bool]
    overflow: wp.array[bool]


@wp.struct
class Layout:
    """Where things are in those arrays, and the robot's kinematics (hinges below one free root)."""

    joint_qpos: wp.array[int]
    joint_dof: wp.array[int]
    default_qpos: wp.array[float]
    force_limited: wp.array[bool]
    foot_pos: int
    foot_vel: int
    foot_force: int
    body_force: int
    foot_body: wp.array[int]
    sole: wp.array[wp.vec3]
    root: int
    body_parent: wp.array[int]
    body_pos: wp.array2d[wp.vec3]
    body_quat: wp.array2d[wp.quat]
    body_joint: wp.array[int]
    body_joints: wp.array[int]
    hinge_qpos: wp.array[int]
    hinge_dof: wp.array[int]
    hinge_pos: wp.array2d[wp.vec3]
    hinge_axis: wp.array2d[wp.vec3]
    max_speed: float
    overflow_mask: int


@wp.func
def _rotate(q: wp.quat, v: wp.vec3) -> wp.vec3:
    u = wp.vec3(q[1], q[2], q[3])
    t = 2.0 * wp.cross(u, v)
    return v + q[0] * t + wp.cross(u, t)


@wp.func
def _settle(w: int, worlds: Worlds, layout: Layout):
    """Let everything in world ``w`` follow from its base pose and velocity and its joints, as after a fresh start.

    Feet are where the kinematics put them, nothing touches, the motors hold the pose (their targets until the next
    step), and the solver starts from nothing.
    """
    qpos, qvel = worlds.qpos, worlds.qvel
    quat = wp.quat(qpos[w, 3], qpos[w, 4], qpos[w, 5], qpos[w, 6])
    back = wp.quat(quat[0], -quat[1], -quat[2], -quat[3])
    spin = _rotate(back, wp.vec3(worlds.root_ang_vel[w, 0], worlds.root_ang_vel[w, 1], worlds.root_ang_vel[w, 2]))
    for i in range(3):
        qvel[w, 3 + i] = spin[i]
    for joint in range(layout.joint_qpos.shape[0]):
        qpos[w, layout.joint_qpos[joint]] = worlds.joint_pos[w, joint]
        qvel[w, layout.joint_dof[joint]] = worlds.joint_vel[w, joint]
        worlds.ctrl[w, joint] = worlds.joint_pos[w, joint]
        force = worlds.actuator_biasprm[w, joint, 2] * worlds.joint_vel[w, joint]
        if layout.force_limited[joint]:
            limit = worlds.actuator_forcerange[w, joint]
            force = wp.clamp(force, limit[0], limit[1])
        worlds.actuator_force[w, joint] = force
    for dof in range(worlds.warmstart.shape[1]):
        worlds.warmstart[w, dof] = 0.0
    worlds.time[w] = 0.0

    position = wp.vec3(qpos[w, 0], qpos[w, 1], qpos[w, 2])
    velocity = wp.vec3(qvel[w, 0], qvel[w, 1], qvel[w, 2])
    for foot in range(layout.foot_body.shape[0]):
        # The sole and its velocity, carried up the leg from frame to frame.
        point = layout.sole[foot]
        moving = wp.vec3(0.0)
        body = layout.foot_body[foot]
        while body != layout.root:
            for up in range(layout.body_joints[body]):
                hinge = layout.body_joint[body] + layout.body_joints[body] - 1 - up
                axis, anchor = layout.hinge_axis[0, hinge], layout.hinge_pos[0, hinge]
                turn = wp.quat_from_axis_angle(axis, qpos[w, layout.hinge_qpos[hinge]])
                arm = wp.quat_rotate(turn, point - anchor)
                point = arm + anchor
                moving = wp.quat_rotate(turn, moving) + qvel[w, layout.hinge_dof[hinge]] * wp.cross(axis, arm)
            frame = layout.body_quat[0, body]
            point = layout.body_pos[0, body] + _rotate(frame, point)
            moving = _rotate(frame, moving)
            body = layout.body_parent[body]
        at = position + _rotate(quat, point)
        speed = velocity + _rotate(quat, moving + wp.cross(spin, point))
        for i in range(3):
            worlds.sensordata[w, layout.foot_pos + 3 * foot + i] = at[i]
            worlds.sensordata[w, layout.foot_vel + 3 * foot + i] = speed[i]
            worlds.sensordata[w, layout.foot_force + 3 * foot + i] = 0.0
    for body in range(worlds.body_force.shape[1]):
        worlds.body_force[w, body] = 0.0


@wp.kernel
def settle(mask: wp.array[bool], worlds: Worlds, layout: Layout):
    """Do that in the masked worlds, whose base and joints have been placed."""
    w = wp.tid()
    if mask[w]:
        worlds.diverged[w] = False
        _settle(w, worlds, layout)


@wp.kernel
def refresh(worlds: Worlds, layout: Layout):
    """After the physics steps: fill the state's arrays that are no views; put worlds that broke down at rest."""
    w = wp.tid()
    qpos, qvel = worlds.qpos, worlds.qvel
    worlds.overflow[w] = (worlds.overflow_bits[w] & layout.overflow_mask) != 0
    worlds.overflow_bits[w] = 0
    sound = bool(True)
    for i in range(qpos.shape[1]):
        sound = sound and wp.isfinite(qpos[w, i])
    for i in range(qvel.shape[1]):
        sound = sound and wp.abs(qvel[w, i]) < layout.max_speed  # false of NaN
    worlds.diverged[w] = not sound
    if sound:
        quat = wp.quat(qpos[w, 3], qpos[w, 4], qpos[w, 5], qpos[w, 6])
        spin = _rotate(quat, wp.vec3(qvel[w, 3], qvel[w, 4], qvel[w, 5]))
        for i in range(3):
            worlds.root_ang_vel[w, i] = spin[i]
        for joint in range(layout.joint_qpos.shape[0]):
            worlds.joint_pos[w, joint] = qpos[w, layout.joint_qpos[joint]]
            worlds.joint_vel[w, joint] = qvel[w, layout.joint_dof[joint]]
        for body in range(worlds.body_force.shape[1]):
            start = layout.body_force + 3 * body
            data = worlds.sensordata[w]
            worlds.body_force[w, body] = wp.length(wp.vec3(data[start], data[start + 1], data[start + 2]))
    else:
        for i in range(7):
            qpos[w, i] = layout.default_qpos[i]
        for i in range(3):
            qvel[w, i] = 0.0
            worlds.root_ang_vel[w, i] = 0.0
        for joint in range(layout.joint_qpos.shape[0]):
            worlds.joint_pos[w, joint] = layout.default_qpos[layout.joint_qpos[joint]]
            worlds.joint_vel[w, joint] = 0.0
        _settle(w, worlds, layout)


@wp.kernel
def place_boxes(
    mask: wp.array[bool],
    tile: wp.array[wp.int64],
    boxes: wp.array3d[float],
    first: int,
    floor: float,
    geom_size: wp.array2d[wp.vec3],
    geom_aabb: wp.array3d[wp.vec3],
    geom_rbound: wp.array2d[float],
    geom_xpos: wp.array2d[wp.vec3],
    geom_xmat: wp.array2d[wp.mat33],
):
    """Give the masked worlds the boxes of their tiles, which are rows of the library's ``boxes``.

    Sizes are in the model, poses in the data: static geoms keep what is there.
    """
    w, index = wp.tid()
    if not mask[w]:
        return
    box, geom = boxes[int(tile[w]), index], first + index
    half = wp.vec3(wp.max(box[7], floor), wp.max(box[8], floor), wp.max(box[9], floor))
    geom_size[w, geom] = half
    geom_aabb[w, geom, 1] = half
    geom_rbound[w, geom] = wp.length(half)
    geom_xpos[w, geom] = wp.vec3(box[0], box[1], box[2])
    geom_xmat[w, geom] = wp.quat_to_matrix(wp.quat(box[4], box[5], box[6], box[3]))

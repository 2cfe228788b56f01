"""MuJoCo as the physics: a world for each robot, with the boxes of the triangle mesh that are near it.

The robot comes from the double's own importer (asset.py), not from the package's reader of URDFs. PhysX's rules where
they differ from MuJoCo's: friction of a pair is the average, quaternions are (x, y, z, w), all velocities are in the
world frame, and the root's linear velocity is that of its centre of mass.
"""

import copy
import os

os.environ.setdefault("MUJOCO_GL", "disable")  # nothing is drawn, and what drawing needs is not installed

import mujoco
import numpy as np

from isaacgym.asset import axis_of
from isaacgym.binding import Misuse
from isaacgym.enums import DofDriveMode
from isaacgym.structures import matrix, vector

SLOTS = 64
"""Boxes that a world can have near its robot."""
_NEAR = 2.5
"""m around the root in which there must be no box missing: the robot's own size and ``_DRIFT``."""
_DRIFT = 0.5
"""m that the root may move before the boxes are looked up again."""
_TERRAIN_BIT = 1 << 30
VELOCITY = "ISAACGYM_DOUBLE_VELOCITY"
"""``link``: the root's linear velocity is that of its frame's origin, not of its centre of mass."""
_ANY = 2 * _TERRAIN_BIT - 1
"""All collision bits."""
_MODELS = {}


class Terrain:
    """Static boxes, found in triangle meshes: position, rotation and half sizes of each, and friction."""

    def __init__(self):
        self.pos, self.rotation, self.half = np.zeros((0, 3)), np.zeros((0, 3, 3)), np.zeros((0, 3))
        self.friction = 1.0

    def add(self, vertices, triangles, offset, friction):
        """Add a mesh, ``vertices`` (V, 3) and ``triangles`` (T, 3). Faces hold things from their front side only."""
        self.friction = friction
        boxes = [_as_box(*part) for part in _components(vertices.astype(float) + offset, triangles)]
        boxes = [box for box in boxes if box is not None]
        if boxes:
            parts = zip((self.pos, self.rotation, self.half), zip(*boxes))
            self.pos, self.rotation, self.half = (np.concatenate([old, np.array(new)]) for old, new in parts)

    def near(self, point):
        """Return which boxes are within ``_NEAR`` of a point."""
        extent = np.einsum("nij,nj->ni", np.abs(self.rotation), self.half)
        gap = np.maximum(np.abs(point - self.pos) - extent, 0.0)
        rows = np.flatnonzero((gap**2).sum(axis=1) < _NEAR**2)
        if len(rows) > SLOTS:
            raise Misuse(f"{len(rows)} boxes around {point}: the double has room for {SLOTS}")
        return rows


class World:
    """One robot and the ground around it."""

    def __init__(self, actor, params, terrain):
        self.terrain, self.asset, self.dt = terrain, actor.asset, params.dt
        self.substeps = params.substeps
        self.model = copy.copy(_model(actor.asset, params))
        self.data = mujoco.MjData(self.model)
        self._boxes = slice(0, SLOTS)
        self._looked_at = None
        self._com = None  # of the root in its frame, or 0 where velocities are those of the frame itself
        self.set_shapes(actor.shape_properties, actor.filter)
        self.set_bodies(actor.body_properties)
        self.set_joints(actor.dof_properties)

    # -- properties

    def set_joints(self, properties):
        """Set drives, limits and armature."""
        model = self.model
        for index, row in enumerate(properties):
            if row["driveMode"] not in (DofDriveMode.DOF_MODE_NONE, DofDriveMode.DOF_MODE_POS):
                raise Misuse("the double drives positions only")
            drives = row["driveMode"] == DofDriveMode.DOF_MODE_POS
            gain, damping = (float(row[key]) if drives else 0.0 for key in ("stiffness", "damping"))
            model.actuator_gainprm[index, 0] = gain
            model.actuator_biasprm[index, :3] = 0.0, -gain, -damping
            model.actuator_forcerange[index] = -float(row["effort"]), float(row["effort"])
            model.jnt_range[index + 1] = row["lower"], row["upper"]
            model.jnt_limited[index + 1] = bool(row["hasLimits"])
            model.dof_armature[index + 6] = row["armature"]
        self._update_constants()

    def set_bodies(self, properties):
        """Set mass, centre of mass and inertia; None leaves them what the asset says."""
        model = self.model
        for index, row in enumerate(properties or ()):
            values, axes = np.linalg.eigh(matrix(row.inertia))
            axes[:, 0] *= np.linalg.det(axes)
            model.body_mass[index + 1], model.body_ipos[index + 1] = row.mass, vector(row.com)
            model.body_inertia[index + 1] = values
            mujoco.mju_mat2Quat(model.body_iquat[index + 1], axes.ravel())
        model.body_sameframe[:] = 0
        self._com = model.body_ipos[1] * (os.environ.get(VELOCITY) != "link")
        self._update_constants()

    def set_shapes(self, properties, filter_):
        """Set friction and who may touch whom: shapes whose filters share a bit do not."""
        model, first = self.model, SLOTS
        filters = [row.filter if filter_ < 0 else filter_ for row in properties]
        kinds = sorted(set(filters))
        if len(kinds) > 30:
            raise Misuse("the double knows 30 different collision filters")
        for geom, (row, own) in enumerate(zip(properties, filters), first):
            model.geom_contype[geom] = 1 << kinds.index(own)
            meets = sum(1 << bit for bit, other in enumerate(kinds) if own & other == 0)
            model.geom_conaffinity[geom] = meets | _TERRAIN_BIT
            # Of the pair of robot and ground: MuJoCo takes the robot's, whose priority is higher.
            model.geom_friction[geom, 0] = (row.friction + self.terrain.friction) / 2

    def _update_constants(self):
        """Let what MuJoCo derives from masses follow; it forgets nothing else."""
        state = self.data.qpos.copy(), self.data.qvel.copy()
        mujoco.mj_setConst(self.model, self.data)
        self.data.qpos[:], self.data.qvel[:] = state
        self.model.geom_sameframe[self._boxes] = 0
        # A first filter, by body: from the shapes as they are now, but boxes come and go.
        self.model.body_contype[:] = self.model.body_conaffinity[:] = _ANY

    # -- state

    def place_root(self, row):
        """Set the root's state from a row of the root tensor."""
        row = row.astype(float)
        self.data.qpos[:3] = row[:3]
        self.data.qpos[3:7] = row[[6, 3, 4, 5]]
        rotation = self._rotation()
        self.data.qvel[:3] = row[7:10] - np.cross(row[10:13], rotation @ self._com)
        self.data.qvel[3:6] = rotation.T @ row[10:13]
        self._looked_at = None

    def place_joints(self, rows):
        """Set positions and velocities of the joints, (n, 2)."""
        self.data.qpos[7:], self.data.qvel[6:] = rows.T

    def root(self):
        """Return the row of the root tensor."""
        data, rotation = self.data, self._rotation()
        angular = rotation @ data.qvel[3:6]
        linear = data.qvel[:3] + np.cross(angular, rotation @ self._com)
        return np.concatenate([data.qpos[:3], data.qpos[[4, 5, 6, 3]], linear, angular])

    def joints(self):
        """Return positions and velocities of the joints, (n, 2)."""
        return np.stack([self.data.qpos[7:], self.data.qvel[6:]], axis=1)

    def joint_forces(self):
        """Return what the drives did in the last step, (n,)."""
        return self.data.qfrc_actuator[6:]

    def step(self, targets):
        """Take a step of ``dt`` with position targets (n,)."""
        self._choose_boxes()
        self.data.ctrl[:] = targets
        options = self.asset.options
        for _ in range(self.substeps):
            mujoco.mj_step(self.model, self.data)
            self.data.qvel[:3] *= 1 - options.linear_damping * self.model.opt.timestep
            self.data.qvel[3:6] *= 1 - options.angular_damping * self.model.opt.timestep

    def sensor_forces(self):
        """Return force and torque of each force sensor, (sensors, 6)."""
        model, data, sensors = self.model, self.data, self.asset.sensors
        readings = np.zeros((len(sensors), 6))
        watched = {body + 1: number for number, (body, *_) in enumerate(sensors)}
        if len(watched) < len(sensors):
            raise Misuse("the double has one force sensor for each body")
        wrench = np.zeros(6)
        for number in range(data.ncon):
            contact = data.contact[number]
            bodies = model.geom_bodyid[contact.geom1], model.geom_bodyid[contact.geom2]
            if not any(body in watched for body in bodies):
                continue
            mujoco.mj_contactForce(model, data, number, wrench)
            force = contact.frame.reshape(3, 3).T @ wrench[:3]
            for body, sign in zip(bodies, (-1, 1)):
                if body in watched and sensors[watched[body]][3].enable_constraint_solver_forces:
                    _, offset, _, _ = sensors[watched[body]]
                    place = data.xpos[body] + data.xmat[body].reshape(3, 3) @ offset
                    readings[watched[body], :3] += sign * force
                    readings[watched[body], 3:] += np.cross(contact.pos - place, sign * force)
        for reading, (body, _, turn, properties) in zip(readings, sensors):
            if properties.enable_forward_dynamics_forces:
                reading[:3] += model.body_mass[body + 1] * model.opt.gravity
            if not properties.use_world_frame:
                frame = data.xmat[body + 1].reshape(3, 3) @ turn
                reading[:3], reading[3:] = frame.T @ reading[:3], frame.T @ reading[3:]
        return readings

    def _rotation(self):
        rotation = np.empty(9)
        mujoco.mju_quat2Mat(rotation, self.data.qpos[3:7])
        return rotation.reshape(3, 3)

    def _choose_boxes(self):
        """Put the boxes that are near into the model's slots."""
        place = self.data.qpos[:3]
        if self._looked_at is not None and not np.linalg.norm(place - self._looked_at) > _DRIFT:
            return
        self._looked_at = place.copy()
        model, terrain, rows = self.model, self.terrain, self.terrain.near(place)
        model.geom_contype[self._boxes] = 0
        for slot, row in enumerate(rows):
            model.geom_contype[slot] = _TERRAIN_BIT
            model.geom_pos[slot], model.geom_size[slot] = terrain.pos[row], terrain.half[row]
            mujoco.mju_mat2Quat(model.geom_quat[slot], terrain.rotation[row].ravel())
            model.geom_rbound[slot] = np.linalg.norm(terrain.half[row])
            model.geom_aabb[slot, 3:] = terrain.half[row]


def _model(asset, params):
    """Return the compiled model of an asset, that all worlds are copies of."""
    key = id(asset), params.dt, params.substeps, tuple(vector(params.gravity))
    if key not in _MODELS:
        _MODELS[key] = asset, mujoco.MjModel.from_xml_string(_mjcf(asset, params))
    return _MODELS[key][1]


def _mjcf(asset, params):
    """Write the model of an asset: slots for boxes, then the robot, with a motor for each joint."""
    children = {}
    for index, body in enumerate(asset.bodies):
        children.setdefault(body.parent, []).append(index)
    slots = "".join(
        f'<geom type="box" size=".001 .001 .001" pos="0 0 -1000" contype="{_TERRAIN_BIT}" conaffinity="0"/>'
        for _ in range(SLOTS)
    )
    motors = "".join(
        f'<general joint="{body.joint.get("name")}" biastype="affine" forcelimited="true" forcerange="-1 1"/>'
        for body in asset.dofs
    )
    gravity = np.zeros(3) if asset.options.disable_gravity else vector(params.gravity)
    return f"""<mujoco>
      <compiler angle="radian" autolimits="false"/>
      <option timestep="{params.dt / params.substeps!r}" gravity="{_text(gravity)}" integrator="implicitfast"
        cone="pyramidal"><flag midphase="disable" autoreset="disable"/></option>
      <worldbody>{slots}{_body(asset, children, 0)}</worldbody>
      <actuator>{motors}</actuator>
    </mujoco>"""


def _body(asset, children, index):
    body = asset.bodies[index]
    inertia = body.inertia[[0, 1, 2, 0, 0, 1], [0, 1, 2, 1, 2, 2]]
    if body.parent is None:
        joint = "<freejoint/>"
    elif body.joint is None:
        joint = ""
    elif body.joint.get("type") in ("revolute", "continuous"):
        joint = (
            f'<joint name="{body.joint.get("name")}" axis="{_text(axis_of(body.joint))}" limited="true" range="-1 1"/>'
        )
    else:
        raise Misuse(f"the double knows no joints of type {body.joint.get('type')}")
    geoms = "".join(
        f'<geom type="{shape.kind}" size="{_text(shape.size)}" pos="{_text(shape.pos)}" '
        f'quat="{_text(_quat(shape.rotation))}" condim="3" priority="1" '
        f'contype="1" conaffinity="{_TERRAIN_BIT}"/>'
        for shape in body.shapes
    )
    below = "".join(_body(asset, children, child) for child in children.get(index, ()))
    return (
        f'<body name="{body.name}" pos="{_text(body.pos)}" quat="{_text(_quat(body.rotation))}">{joint}'
        f'<inertial pos="{_text(body.com)}" mass="{body.mass!r}" fullinertia="{_text(inertia)}"/>{geoms}{below}</body>'
    )


def _text(numbers):
    return " ".join(repr(float(number)) for number in numbers)


def _quat(rotation):
    quat = np.empty(4)
    mujoco.mju_mat2Quat(quat, np.ascontiguousarray(rotation).ravel())
    return quat


def _components(vertices, triangles):
    """Split a mesh into its connected parts: (vertices, triangles) of each, with the triangles renumbered."""
    label = np.arange(len(vertices))
    while True:  # every vertex takes the smallest number among its neighbours'
        lowest = label[triangles].min(axis=1)
        new = label.copy()
        np.minimum.at(new, triangles.ravel(), np.repeat(lowest, 3))
        new = new[new]
        if (new == label).all():
            break
        label = new
    order = np.argsort(label[triangles[:, 0]], kind="stable")
    ordered = triangles[order]
    for part in np.split(ordered, np.flatnonzero(np.diff(label[ordered[:, 0]])) + 1):
        used, renumbered = np.unique(part, return_inverse=True)
        yield vertices[used], renumbered.reshape(part.shape)


def _as_box(vertices, triangles):
    """Return position, rotation and half sizes of the box that the mesh is; None if its faces point inwards."""
    if len(vertices) != 8 or len(triangles) != 12:
        raise Misuse(
            f"the double's ground is boxes: 8 vertices and 12 triangles, not {len(vertices)}, {len(triangles)}"
        )
    centre = vertices.mean(axis=0)
    a, b, c = (vertices[triangles[:, corner]] - centre for corner in range(3))
    normals = np.cross(b - a, c - a)
    outwards = np.einsum("ij,ij->i", normals, a) > 0
    if not outwards.all():
        if outwards.any():
            raise Misuse("a box whose faces point both ways")
        return None
    # The three shortest ways between corners at right angles: the edges from one corner.
    units = normals / np.linalg.norm(normals, axis=1, keepdims=True)
    first = units[0]
    second = units[np.abs(units @ first) < 0.5][0]
    rotation = np.stack([first, second, np.cross(first, second)], axis=1)
    local = (vertices - centre) @ rotation
    half = np.abs(local).max(axis=0)
    if np.abs(np.abs(local) - half).max() > 1e-3 * max(half.max(), 1.0):
        raise Misuse("the double's ground is boxes, and this mesh of 8 vertices is none")
    return centre, rotation, half

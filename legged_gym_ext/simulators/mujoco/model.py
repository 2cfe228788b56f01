"""The MuJoCo model that both MuJoCo engines step: the URDF's robot on K boxes, with motors and sensors."""

from __future__ import annotations

from dataclasses import dataclass

import mujoco
import numpy as np

from legged_gym_ext.robot import Robot
from legged_gym_ext.simulators.mujoco.options import SolverOptions
from legged_gym_ext.terrain.boxes import ABSENT, CENTER, MAX_BOXES
from legged_gym_ext.urdf import parse_urdf

# Collision bits: terrain meets the robot, one leg meets the other, nothing meets its own side or the torso.
_TERRAIN, _LEGS = 1, (2, 4)
BOX_FLOOR = 1e-3
"""Half size that an absent box has in the model, m: MuJoCo wants a positive one."""
MAX_SPEED = 1e3
"""Generalized velocity (m/s or rad/s) beyond which a world counts as diverged although it is finite."""


@dataclass(frozen=True)
class ModelLayout:
    """Where the robot's things are in the model's arrays."""

    base_bodies: np.ndarray
    """Bodies that make up the base: the root and what is fixed to it, the heaviest first."""
    root_to_base: np.ndarray
    """Rotations from the root's frame into each of theirs, (bodies, 3, 3)."""
    default_qpos: np.ndarray
    """The robot in its default pose with a sole on the ground, at the origin, (17,)."""
    qpos: np.ndarray
    """Addresses of the joints' positions in qpos, (10,), in the order of the actions."""
    dofs: np.ndarray
    """Addresses of the joints' velocities in qvel, (10,)."""
    boxes: slice
    """Geoms that are the terrain's boxes."""
    robot_geoms: np.ndarray
    """Geoms of the robot that collide."""
    reach: float
    """No point of those is farther from the root than this, in whatever pose, m."""
    foot_pos: slice
    """Rows of sensordata: position of each sole, (2 x 3)."""
    foot_vel: slice
    """Rows of sensordata: linear velocity of each sole, (2 x 3)."""
    foot_force: slice
    """Rows of sensordata: net contact force on each foot, (2 x 3)."""
    body_force: slice
    """Rows of sensordata: net contact force on each body that must not touch, (bodies x 3)."""


def build_model(robot: Robot, dt: float, solver: SolverOptions) -> tuple[mujoco.MjModel, ModelLayout]:
    """Build the model of ``robot`` on ``MAX_BOXES`` boxes, all absent until a tile is set.

    Args:
        robot: The robot.
        dt: Time of a physics step, s.
        solver: Limits of the constraint solver.
    """
    spec = make_spec(robot, dt, solver)
    model = spec.compile()
    order = [model.joint(joint).id for joint in robot.joints]
    first = model.geom("box0").id
    base = np.flatnonzero(model.body_weldid == model.body(spec.worldbody.first_body().name).id)
    base = base[np.argsort(-model.body_mass[base], kind="stable")]
    collides = (model.geom_contype > 0) | (model.geom_conaffinity > 0)
    data = mujoco.MjData(model)
    mujoco.mj_kinematics(model, data)
    rotations = data.xmat.reshape(-1, 3, 3)
    qpos = model.jnt_qposadr[order].astype(np.int64)
    default_qpos = model.qpos0.copy()
    default_qpos[2] = robot.base_height
    default_qpos[qpos] = robot.default_joint_pos
    return model, ModelLayout(
        base_bodies=base,
        root_to_base=rotations[base].transpose(0, 2, 1) @ rotations[base.min()],
        default_qpos=default_qpos,
        qpos=qpos,
        dofs=model.jnt_dofadr[order].astype(np.int64),
        boxes=slice(first, first + MAX_BOXES),
        robot_geoms=(robot_geoms := np.flatnonzero(collides & (model.geom_bodyid > 0))),
        reach=_reach(model, robot_geoms),
        foot_pos=_sensor_rows(model, [f"{foot}_pos" for foot in robot.feet]),
        foot_vel=_sensor_rows(model, [f"{foot}_vel" for foot in robot.feet]),
        foot_force=_sensor_rows(model, [f"{foot}_force" for foot in robot.feet]),
        body_force=_sensor_rows(model, [f"{body}_force" for body in robot.no_contact_bodies]),
    )


def _reach(model: mujoco.MjModel, geoms: np.ndarray) -> float:
    """Return how far the farthest point of the ``geoms`` can be from the root: as if all links were stretched out."""
    root = model.body_rootid[model.geom_bodyid[geoms[0]]]
    lengths = np.zeros(model.nbody)
    for body in range(root + 1, model.nbody):  # a body comes after its parent
        lengths[body] = lengths[model.body_parentid[body]] + np.linalg.norm(model.body_pos[body])
    ends = lengths[model.geom_bodyid[geoms]] + np.linalg.norm(model.geom_pos[geoms], axis=1) + model.geom_rbound[geoms]
    return float(ends.max())


def make_spec(robot: Robot, dt: float, solver: SolverOptions) -> mujoco.MjSpec:
    """Return the specification of that model, for those who want to add to it before they compile it."""
    spec = parse_urdf(robot.urdf)
    spec.modelname = "parkour"
    option = spec.option
    option.timestep = dt
    option.integrator = mujoco.mjtIntegrator.mjINT_IMPLICITFAST
    option.cone = mujoco.mjtCone.mjCONE_PYRAMIDAL
    option.iterations, option.ls_iterations = solver.iterations, solver.ls_iterations

    spec.worldbody.first_body().add_freejoint(name="root")
    _set_collision_bits(spec, robot)
    for joint, stiffness, damping, limit in zip(
        robot.joints, robot.stiffness, robot.damping, robot.torque_limit, strict=True
    ):
        spec.joint(joint).armature = robot.armature
        motor = spec.add_actuator(name=joint, target=joint, trntype=mujoco.mjtTrn.mjTRN_JOINT)
        motor.set_to_position(kp=stiffness, kv=damping)
        motor.forcerange = [-limit, limit] if np.isfinite(limit) else [0, 0]
    for index in range(MAX_BOXES):
        spec.worldbody.add_geom(
            name=f"box{index}",
            type=mujoco.mjtGeom.mjGEOM_BOX,
            pos=ABSENT[CENTER],
            size=[BOX_FLOOR] * 3,
            contype=_TERRAIN,
            conaffinity=0,
            group=2,
            rgba=[0.55, 0.57, 0.6, 1],
        )
    _add_sensors(spec, robot)
    return spec


def leg_of(spec: mujoco.MjSpec, robot: Robot) -> dict[str, int]:
    """Return for each link of a leg, by name, which foot's leg that is: 0 or 1."""
    legs: dict[str, int] = {}
    for leg, foot in enumerate(robot.feet):
        body = spec.body(foot)
        while body.parent.name != "world":
            legs[body.name] = leg
            body = body.parent
    return legs


def _set_collision_bits(spec: mujoco.MjSpec, robot: Robot) -> None:
    """Let the robot's shapes meet the terrain, and the legs each other; its own friction decides a contact's."""
    legs = {name: _LEGS[leg] for name, leg in leg_of(spec, robot).items()}
    for geom in spec.geoms:
        if not (geom.contype or geom.conaffinity):
            continue
        bit = legs.get(geom.parent.name, 0)
        geom.contype = bit
        geom.conaffinity = _TERRAIN | (_LEGS[0] if bit == _LEGS[1] else 0)
        geom.priority = 1
        geom.condim = 3


def _add_sensors(spec: mujoco.MjSpec, robot: Robot) -> None:
    """Add place and velocity of the soles and net contact forces, each kind in one block of sensordata."""
    frame, contact = mujoco.mjtObj.mjOBJ_SITE, [2, 3, 1]  # the contact sensor's codes: force, net force, one slot
    for foot, sole in zip(robot.feet, robot.sole, strict=True):
        spec.body(foot).add_site(name=f"{foot}_sole", pos=sole, group=4)
    for suffix, kind in (("pos", mujoco.mjtSensor.mjSENS_FRAMEPOS), ("vel", mujoco.mjtSensor.mjSENS_FRAMELINVEL)):
        for foot in robot.feet:
            spec.add_sensor(name=f"{foot}_{suffix}", type=kind, objtype=frame, objname=f"{foot}_sole")
    for body in (*robot.feet, *robot.no_contact_bodies):
        # As the sensor's second body: then the force is the one that acts on it, in the world frame.
        spec.add_sensor(
            name=f"{body}_force",
            type=mujoco.mjtSensor.mjSENS_CONTACT,
            reftype=mujoco.mjtObj.mjOBJ_BODY,
            refname=body,
            intprm=contact,
        )


def _sensor_rows(model: mujoco.MjModel, names: list[str]) -> slice:
    """Return the rows of sensordata of 3-D sensors that were added one after another."""
    start = int(model.sensor(names[0]).adr[0]) if names else 0
    return slice(start, start + 3 * len(names))

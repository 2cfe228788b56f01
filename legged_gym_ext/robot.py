"""The robot: what its URDF and its configuration say about it. Every engine builds its model from this."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import mujoco
import numpy as np

from legged_gym_ext.config.schema import RobotConfig
from legged_gym_ext.errors import UserError, unknown
from legged_gym_ext.paths import resolve
from legged_gym_ext.urdf import parse_urdf

NUM_JOINTS = 10
NUM_FEET = 2
UNLIMITED = (-np.pi, np.pi)
"""The range of a joint without limits, rad."""


@dataclass(frozen=True)
class Robot:
    """A robot with ten actuated joints and two feet. Arrays are float64 and in the order of the actions."""

    urdf: Path
    joints: tuple[str, ...]
    feet: tuple[str, ...]
    no_contact_bodies: tuple[str, ...]
    default_joint_pos: np.ndarray
    """Pose of action zero, (10,), rad."""
    joint_range: np.ndarray
    """Lower and upper limit of each joint, (10, 2), rad."""
    torque_limit: np.ndarray
    """Largest torque of each motor, (10,), N m."""
    stiffness: np.ndarray
    """Proportional gains, (10,), N m/rad."""
    damping: np.ndarray
    """Derivative gains, (10,), N m s/rad."""
    sole: np.ndarray
    """Centre of each sole in its foot link's frame, (2, 3), m."""
    sole_size: np.ndarray
    """Length and width of each sole, (2, 2), m."""
    base_height: float
    """Height of the base over level ground in the default pose with the lower sole on the ground, m."""
    mass: float
    """Of all links, kg."""
    armature: float
    action_scale: float
    soft_limit: float
    hips: np.ndarray
    """Which joints are to stay near the default pose, (10,) bool."""
    mirror: tuple[np.ndarray, np.ndarray] | None
    """For each joint the one that is its mirror image in the x-z plane, (10,), and the sign with which its angle takes
    the other's place, (10,); None where the robot is not symmetric."""

    @property
    def soft_range(self) -> np.ndarray:
        """The joint ranges shrunk about their middles by ``soft_limit``, (10, 2), rad."""
        middle = self.joint_range.mean(axis=1, keepdims=True)
        return middle + (self.joint_range - middle) * self.soft_limit


def load_robot(config: RobotConfig) -> Robot:
    """Read the URDF and check a configuration, whose values are allowed (rules.py), against it.

    Raises:
        UserError: The file is missing or is no URDF, has another number of actuated joints than ten, or lacks a
            joint or link that the configuration names.
    """
    path = resolve(config.urdf)
    spec = parse_urdf(path)
    model = spec.compile()
    actuated = [model.joint(i).name for i in range(model.njnt)]
    if len(actuated) != NUM_JOINTS:
        raise UserError(
            f"robot.urdf: {path.name} has {len(actuated)} actuated joints ({', '.join(actuated) or 'none'}); "
            f"{NUM_JOINTS} are needed: make the others fixed"
        )
    if len(config.joints) != NUM_JOINTS:
        raise UserError(f"robot.joints: {NUM_JOINTS} names are needed, not {len(config.joints)}")
    if len(config.feet) != NUM_FEET:
        raise UserError(f"robot.feet: {NUM_FEET} names are needed, not {len(config.feet)}")
    for joint in config.joints:
        if joint not in actuated:
            raise unknown(f"joint in robot.joints ({path.name})", joint, actuated)
    links = [model.body(i).name for i in range(1, model.nbody)]
    for section, names in (("feet", config.feet), ("no_contact_bodies", config.no_contact_bodies)):
        for link in names:
            if link not in links:
                raise unknown(f"link in robot.{section} ({path.name})", link, links)
            if not _collides(model, model.body(link).id):
                raise UserError(
                    f"robot.{section}: link '{link}' of {path.name} has no collision shape, so it can touch nothing"
                )

    order = [model.joint(joint).id for joint in config.joints]
    limited = model.jnt_limited[order].astype(bool)[:, None]
    joint_range = np.where(limited, model.jnt_range[order], UNLIMITED)
    force_limited = model.jnt_actfrclimited[order].astype(bool)
    torque_limit = np.where(force_limited, model.jnt_actfrcrange[order, 1], np.inf)
    pose = _per_joint("default_pose", config.default_pose, config.joints)
    outside = [j for j, q, (lo, hi) in zip(config.joints, pose, joint_range, strict=True) if not lo <= q <= hi]
    if outside:
        raise UserError(f"robot.default_pose: outside the range of {', '.join(outside)} in {path.name}")

    # The soles: found in the default pose, where the feet are level.
    data = mujoco.MjData(model)
    data.qpos[model.jnt_qposadr[order]] = pose
    mujoco.mj_kinematics(model, data)
    soles, sizes, lowest = [], [], []
    for link in config.feet:
        body = model.body(link).id
        corners = _collision_corners(model, data, body)
        low, high = corners.min(axis=0), corners.max(axis=0)
        centre = np.array([(low[0] + high[0]) / 2, (low[1] + high[1]) / 2, low[2]])
        soles.append(data.xmat[body].reshape(3, 3).T @ (centre - data.xpos[body]))
        sizes.append((high - low)[:2])
        lowest.append(low[2])
    return Robot(
        urdf=path,
        joints=tuple(config.joints),
        feet=tuple(config.feet),
        no_contact_bodies=tuple(config.no_contact_bodies),
        default_joint_pos=pose,
        joint_range=joint_range,
        torque_limit=torque_limit,
        stiffness=_per_joint("stiffness", config.stiffness, config.joints),
        damping=_per_joint("damping", config.damping, config.joints),
        sole=np.array(soles),
        sole_size=np.array(sizes),
        base_height=float(-min(lowest)),
        mass=float(model.body_mass.sum()),
        armature=config.armature,
        action_scale=config.action_scale,
        soft_limit=config.soft_limit,
        hips=_hips(config),
        mirror=_mirror(model, order),
    )


def _mirror(model: mujoco.MjModel, joints: list[int]) -> tuple[np.ndarray, np.ndarray] | None:
    """Pair the joints whose anchors and axes are mirror images (an axis is a pseudovector: its reflection turns)."""
    data = mujoco.MjData(model)
    mujoco.mj_kinematics(model, data)
    reflect = np.array([1.0, -1.0, 1.0])
    anchors, axes = data.xanchor[joints], data.xaxis[joints]
    partners, signs = [], []
    for anchor, axis in zip(anchors * reflect, -axes * reflect, strict=True):
        alignment = axes @ axis
        match = np.flatnonzero((np.abs(anchors - anchor).max(axis=1) < 1e-3) & (np.abs(alignment) > 0.999))
        if len(match) != 1:
            return None
        partners.append(match[0])
        signs.append(np.sign(alignment[match[0]]))
    return np.array(partners), np.array(signs)


def _hips(config: RobotConfig) -> np.ndarray:
    """Return which joints' names contain one of the parts in ``robot.hips``, (10,) bool."""
    for part in config.hips:
        if not any(part in joint for joint in config.joints):
            raise unknown("joint name part in robot.hips", part, config.joints)
    return np.array([any(part in joint for part in config.hips) for joint in config.joints])


def _per_joint(section: str, values: dict[str, float], joints: list[str]) -> np.ndarray:
    """Return the value of each joint (10,): of the longest key that its name contains."""
    chosen = []
    for joint in joints:
        keys = [key for key in values if key in joint]
        if not keys:
            raise UserError(f"robot.{section}: no key is part of the joint name '{joint}'; keys: {', '.join(values)}")
        chosen.append(max(keys, key=len))
    for key in values:
        named = [longer for joint, longer in zip(joints, chosen, strict=True) if key in joint]
        if not named:
            raise unknown(f"joint name part in robot.{section}", key, joints)
        if key not in chosen:
            longer = ", ".join(dict.fromkeys(named))
            raise UserError(f"robot.{section}.{key} has no effect: longer keys name all of its joints: {longer}")
    return np.array([float(values[key]) for key in chosen])


def _collides(model: mujoco.MjModel, body: int) -> bool:
    """Return whether a body has a shape that can touch others."""
    geoms = model.geom_bodyid == body
    return bool(((model.geom_contype | model.geom_conaffinity)[geoms] > 0).any())


def _collision_corners(model: mujoco.MjModel, data: mujoco.MjData, body: int) -> np.ndarray:
    """Return corners (n, 3), in the root's frame, of the bounding boxes of a body's collision shapes."""
    signs = np.array(np.meshgrid([-1, 1], [-1, 1], [-1, 1])).reshape(3, -1).T
    corners = []
    for geom in range(model.body_geomadr[body], model.body_geomadr[body] + model.body_geomnum[body]):
        if model.geom_contype[geom] or model.geom_conaffinity[geom]:
            box = model.geom_aabb[geom]
            rotation = data.geom_xmat[geom].reshape(3, 3)
            corners.append(data.geom_xpos[geom] + (box[:3] + signs * box[3:]) @ rotation.T)
    return np.concatenate(corners) if corners else np.empty((0, 3))

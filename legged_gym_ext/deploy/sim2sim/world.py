"""The robot on a tile in plain MuJoCo. Its motors give torques; a PD loop of our own says which.

Unlike training, which has MuJoCo's position actuators at 200 Hz, pyramidal friction cones and ten solver iterations,
the physics has a period of 2 ms, Euler steps, elliptic cones and MuJoCo's default solver. 2 ms are the period at which
robots of this class take joint commands, and ten steps in a control period let torques follow the joints as their
drives do: damping is explicit here, and stable while it is well below twice the inertia at a joint over the period
(the ankle has 0.016 kg m^2, armature included: 16 N m s/rad, eight times its damping).
"""

from __future__ import annotations

import math

import mujoco
import numpy as np

from legged_gym_ext.deploy.sim2sim.robot import Robot
from legged_gym_ext.terrain.boxes import CENTER, HALF, QUAT
from legged_gym_ext.terrain.course import Tile
from legged_gym_ext.urdf import parse_urdf

PHYSICS_PERIOD = 0.002
"""s, at most."""
LEGS, VISUALS, TERRAIN, BODY = 0, 1, 2, 3
"""Groups of geoms: collision shapes of the legs, what the URDF only shows, the tile, collision shapes of the base."""
_GROUND, _ROBOT = 1, 2  # collision bits: the robot meets the ground and itself
_STOP = [0.95, 0.99, 0.001, 0.5, 2.0]  # impedance of a joint's stop: MuJoCo's own gives way by 0.3 rad to a quick knee
_FASTEST = 1e3  # m/s or rad/s: what is faster is no motion any more
_SKY = 100.0  # m: from where the ground is looked at


def substeps(control_period: float) -> int:
    """Return the number of physics steps in a control period, s."""
    return math.ceil(control_period / PHYSICS_PERIOD - 1e-9)


class World:
    """A robot on a tile.

    Args:
        robot: The robot.
        tile: The tile.
        friction: Coefficient of sliding friction between the robot and anything.
        fading: Whether a motor drives the less the quicker its joint turns: with all of its torque up to half of the
            joint's speed limit, not at all from the limit on. It brakes as ever. In training it drives at any speed.
    """

    def __init__(self, robot: Robot, tile: Tile, friction: float = 1.0, fading: bool = False) -> None:
        self.robot = robot
        self._fading = fading
        self.substeps = substeps(robot.control_period)
        """Physics steps in a control period."""
        self.period = robot.control_period / self.substeps
        """Of physics, s."""
        self.model = _specify(robot, tile, friction, self.period).compile()
        self.data = mujoco.MjData(self.model)
        self.base = int(self.model.body_rootid[self.model.body(robot.feet[0]).id])
        """Number of the base's body."""
        self.limits: dict[str, int] = dict.fromkeys(("torque", "speed", "position"), 0)
        """How often a joint was at its limit in a physics step: its torque was cut, it was faster, it was beyond."""
        self._joint_qpos = np.array([self.model.joint(name).qposadr[0] for name in robot.joints])
        self._joint_dofs = np.array([self.model.joint(name).dofadr[0] for name in robot.joints])
        self._feet = [self.model.body(foot).id for foot in robot.feet]
        self._soles = self._find_soles()
        self._terrain = np.array([group == TERRAIN for group in range(mujoco.mjNGROUP)], np.uint8)

    # ------------------------------------------------------------------ state

    @property
    def position(self) -> np.ndarray:
        """Of the base, (3,), m."""
        return self.data.qpos[:3]

    @property
    def rotation(self) -> np.ndarray:
        """Base to world, (3, 3)."""
        matrix = np.empty(9)
        mujoco.mju_quat2Mat(matrix, self.data.qpos[3:7])
        return matrix.reshape(3, 3)

    @property
    def velocity(self) -> np.ndarray:
        """Of the base in the world frame, (3,), m/s."""
        return self.data.qvel[:3]

    @property
    def angular_velocity(self) -> np.ndarray:
        """Of the base in its own frame, (3,), rad/s: how MuJoCo has it."""
        return self.data.qvel[3:6]

    @property
    def joint_pos(self) -> np.ndarray:
        """(J,), rad."""
        return self.data.qpos[self._joint_qpos]

    @property
    def joint_vel(self) -> np.ndarray:
        """(J,), rad/s."""
        return self.data.qvel[self._joint_dofs]

    @property
    def sound(self) -> bool:
        """Whether the physics is finite."""
        return bool(np.isfinite(self.data.qpos).all() and (np.abs(self.data.qvel) < _FASTEST).all())

    def soles(self) -> np.ndarray:
        """Return the centres of the soles, (2, 3), m."""
        mujoco.mj_kinematics(self.model, self.data)  # after a step, MuJoCo's frames are those from before it
        rotations = self.data.xmat[self._feet].reshape(-1, 3, 3)
        return self.data.xpos[self._feet] + np.einsum("fij,fj->fi", rotations, self._soles)

    def ground(self, points: np.ndarray) -> np.ndarray:
        """Return the height of the ground at points (n, 2 or more), (n,), m; -inf where there is none."""
        heights = np.full(len(points), -np.inf)
        down, hit = np.array([0.0, 0.0, -1.0]), np.zeros(1, np.int32)
        for i, point in enumerate(points):
            start = np.array([point[0], point[1], _SKY])
            distance = mujoco.mj_ray(self.model, self.data, start, down, self._terrain, True, -1, hit)
            if distance >= 0:
                heights[i] = _SKY - distance
        return heights

    # ------------------------------------------------------------------ action

    def place(self, position: np.ndarray, yaw: float, joint_pos: np.ndarray) -> None:
        """Put the robot upright at a position (3,) of its base, m, with joints at (J,), rad, at rest."""
        mujoco.mj_resetData(self.model, self.data)
        self.data.qpos[:3] = position
        self.data.qpos[3:7] = math.cos(yaw / 2), 0.0, 0.0, math.sin(yaw / 2)
        self.data.qpos[self._joint_qpos] = joint_pos
        mujoco.mj_forward(self.model, self.data)

    def torques(self, target: np.ndarray, stiffness: np.ndarray, damping: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return what the motors do now, (J,), N m, and whether they were asked for more than they can, (J,) bool.

        PD toward targets (J,), rad, at rest, with gains (J,).
        """
        speed = self.joint_vel
        wanted = stiffness * (target - self.joint_pos) - damping * speed
        limit = self.robot.torque_limits
        if self._fading:
            left = np.clip(2 - 2 * np.abs(speed) / self.robot.joint_vel_limits, 0.0, 1.0)
            limit = np.where(wanted * speed > 0, limit * left, limit)
        return np.clip(wanted, -limit, limit), np.abs(wanted) > limit

    def step(self, target: np.ndarray, stiffness: np.ndarray, damping: np.ndarray) -> None:
        """Advance one physics step with joint targets (J,), rad, and gains (J,) of the moment."""
        robot, joint_pos = self.robot, self.joint_pos
        low, high = robot.joint_pos_limits.T
        self.data.ctrl[:], cut = self.torques(target, stiffness, damping)
        for name, at_limit in (
            ("torque", cut),
            ("speed", np.abs(self.joint_vel) > robot.joint_vel_limits),
            ("position", (joint_pos < low) | (joint_pos > high)),
        ):
            self.limits[name] += int(np.count_nonzero(at_limit))
        mujoco.mj_step(self.model, self.data)

    def _find_soles(self) -> np.ndarray:
        """Return the middle of the lowest plane of each foot in the default pose, in the foot's frame, (2, 3), m."""
        model, data = self.model, self.data
        self.place(np.zeros(3), 0.0, self.robot.default_joint_pos)
        soles = []
        for foot in self._feet:
            low, high = np.full(3, np.inf), np.full(3, -np.inf)
            for geom in np.flatnonzero((model.geom_bodyid == foot) & (model.geom_group == LEGS)):
                # Capsules and spheres: ends of the axis, and the radius about them.
                radius, half = model.geom_size[geom, 0], model.geom_size[geom, 1]
                is_capsule = model.geom_type[geom] == mujoco.mjtGeom.mjGEOM_CAPSULE
                axis = data.geom_xmat[geom].reshape(3, 3)[:, 2] * (half if is_capsule else 0.0)
                for end in (data.geom_xpos[geom] + axis, data.geom_xpos[geom] - axis):
                    low, high = np.minimum(low, end - radius), np.maximum(high, end + radius)
            middle = np.array([(low[0] + high[0]) / 2, (low[1] + high[1]) / 2, low[2]])
            soles.append(data.xmat[foot].reshape(3, 3).T @ (middle - data.xpos[foot]))
        return np.array(soles)


def _specify(robot: Robot, tile: Tile, friction: float, period: float) -> mujoco.MjSpec:
    """Return the model: the URDF on a free joint, a torque motor for each joint, and the tile's boxes."""
    spec = parse_urdf(robot.urdf)
    spec.option.timestep = period
    spec.option.integrator = mujoco.mjtIntegrator.mjINT_EULER
    spec.option.cone = mujoco.mjtCone.mjCONE_ELLIPTIC
    spec.option.disableflags |= mujoco.mjtDisableBit.mjDSBL_AUTORESET  # what diverges is to be seen
    root = spec.worldbody.first_body()
    root.add_freejoint(name="root")
    legs = {body.name for foot in robot.feet for body in _up_to(spec.body(foot), root)}
    for geom in spec.geoms:
        if not (geom.contype or geom.conaffinity):
            geom.group = VISUALS
            continue
        geom.group = LEGS if geom.parent.name in legs else BODY
        geom.contype, geom.conaffinity = _ROBOT, _GROUND | _ROBOT
        geom.friction[0] = friction
        geom.priority = 1  # its friction is that of the contact, whatever it stands on
        geom.condim = 3
    for name in robot.joints:
        joint = spec.joint(name)
        joint.armature = robot.armature
        joint.solref_limit, joint.solimp_limit = [2 * period, 1.0], _STOP
        motor = spec.add_actuator(name=name, target=name, trntype=mujoco.mjtTrn.mjTRN_JOINT)
        motor.set_to_motor()
    headlight = spec.visual.headlight  # for those who watch; so are the waypoints
    headlight.ambient, headlight.diffuse = [0.45] * 3, [0.5] * 3
    for point in tile.waypoints:
        spec.worldbody.add_site(pos=point, size=[0.05] * 3, rgba=[1, 0.6, 0.05, 1])
    for box in tile.boxes:
        spec.worldbody.add_geom(
            type=mujoco.mjtGeom.mjGEOM_BOX,
            pos=box[CENTER],
            quat=box[QUAT],
            size=box[HALF],
            contype=_GROUND,
            conaffinity=0,
            group=TERRAIN,
            rgba=[0.55, 0.57, 0.6, 1],
        )
    return spec


def _up_to(body: mujoco.MjsBody, root: mujoco.MjsBody) -> list[mujoco.MjsBody]:
    """Return a body and those that carry it, without the root."""
    chain = []
    while body.name != root.name:
        chain.append(body)
        body = body.parent
    return chain

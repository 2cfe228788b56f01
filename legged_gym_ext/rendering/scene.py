"""What a picture shows: one environment's robot, terrain and waypoints, from the engine-neutral state."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import mujoco
import numpy as np
import torch

from legged_gym_ext.groups import DEPTH
from legged_gym_ext.robot import Robot
from legged_gym_ext.rotations import matrix_from_quat, quat_rotate_inverse
from legged_gym_ext.simulators.mujoco.model import make_spec
from legged_gym_ext.simulators.mujoco.options import SolverOptions
from legged_gym_ext.terrain.boxes import CENTER, HALF, MAX_BOXES, QUAT

if TYPE_CHECKING:
    from legged_gym_ext.envs.parkour_env import ParkourEnv

_SKY, _HAZE = [0.36, 0.55, 0.78], [0.93, 0.95, 0.97]
_SHELL, _DARK, _LEFT, _RIGHT = [0.92, 0.92, 0.94, 1], [0.16, 0.17, 0.2, 1], [0.1, 0.52, 0.78, 1], [0.93, 0.45, 0.13, 1]
_GROUND = (0.80, 0.80, 0.78, 1.0)
_REACHED, _NEXT, _AHEAD = (0.34, 0.71, 0.91, 0.6), (1.0, 0.62, 0.05, 1.0), (1.0, 1.0, 1.0, 0.85)
_JOINT_RADIUS = 0.05
_MARKER_RADIUS, _MARKER_HEIGHT = 0.05, 0.12
VISUAL_GROUP = 1
"""Geom group of a URDF's visual shapes in a MuJoCo model; its collision shapes are in group 0."""


@dataclass(frozen=True)
class Moment:
    """One environment at one moment, on the host: all that a picture of it needs, from whatever engine."""

    root_pos: np.ndarray
    """Position of the base, (3,), m."""
    root_quat: np.ndarray
    """Orientation of the base, (4,), (w, x, y, z)."""
    joint_pos: np.ndarray
    """(10,), rad, in the order of the actions."""
    boxes: np.ndarray
    """The tile, (K, BOX_DIM)."""
    waypoints: np.ndarray
    """(W, 3), m."""
    waypoint: int
    """Index of the next one."""
    depth: np.ndarray | None
    """The image that the policy sees, (rows, columns), -0.5 (near) to 0.5 (far); None where there is no camera."""
    kind: str
    level: int
    time: float
    """Since the episode began, s."""
    speed: float
    """Forward, in the base frame, m/s."""


def look_at(env: ParkourEnv, index: int) -> Moment:
    """Copy what environment ``index`` shows now to the host."""
    state, sim = env.state, env.sim_state

    def copy(tensor: torch.Tensor) -> np.ndarray:
        return tensor[index].detach().cpu().numpy().copy()

    rows, columns = env.camera.resolution
    return Moment(
        root_pos=copy(sim.root_pos),
        root_quat=copy(sim.root_quat),
        joint_pos=copy(sim.joint_pos),
        boxes=copy(env.boxes),
        waypoints=env.library.waypoints[env.simulator.tile[index]].cpu().numpy(),
        waypoint=int(state.waypoint[index]),
        depth=copy(env.get_observations()[DEPTH]).reshape(rows, columns) if env.config.camera.enabled else None,
        kind=env.library.kinds[int(state.terrain_kind[index])],
        level=int(state.terrain_level[index]),
        time=int(state.episode_length[index]) * env.dt,
        speed=float(quat_rotate_inverse(sim.root_quat[index], sim.root_lin_vel[index])[0]),
    )


@dataclass(frozen=True)
class Shape:
    """A shape to draw that is not in the model."""

    kind: mujoco.mjtGeom
    size: np.ndarray
    """Half sizes, (3,), m."""
    position: np.ndarray
    """(3,), m."""
    rotation: np.ndarray
    """(3, 3), shape to world."""
    colour: tuple[float, float, float, float]
    material: int = -1
    """Of the scene's model; -1 = none."""

    def write(self, geom: mujoco.MjvGeom) -> None:
        """Make ``geom`` this shape."""
        size, position, rotation = (
            np.asarray(a, np.float64).ravel() for a in (self.size, self.position, self.rotation)
        )
        mujoco.mjv_initGeom(geom, int(self.kind), size, position, rotation, np.array(self.colour, np.float32))
        geom.category = int(mujoco.mjtCatBit.mjCAT_STATIC)  # decoration would cast no shadow
        geom.matid = self.material


def draw(shapes: list[Shape], scene: mujoco.MjvScene) -> None:
    """Add the shapes to a scene."""
    for shape in shapes:
        shape.write(scene.geoms[scene.ngeom])
        scene.ngeom += 1


class RobotScene:
    """A MuJoCo model of the robot alone, made to be looked at.

    Terrain and waypoints are not in the model: they are ``shapes`` that every MuJoCo viewer can draw on top, and that,
    unlike a model's geoms, may have another size in every frame.
    """

    def __init__(self, robot: Robot) -> None:
        spec = make_spec(robot, dt=0.01, solver=SolverOptions())  # nothing is simulated
        for index in range(MAX_BOXES):
            spec.delete(spec.geom(f"box{index}"))
        _paint(spec, robot)
        _light(spec)
        self.model = spec.compile()
        self.data = mujoco.MjData(self.model)
        self.root_body = self.model.body(spec.worldbody.first_body().name).id
        self._joints = np.array([self.model.joint(joint).qposadr[0] for joint in robot.joints])
        self._ground = self.model.material("ground").id

    def pose(self, moment: Moment) -> None:
        """Put the robot, the lights and the cameras where they are at that moment."""
        self.data.qpos[0:3] = moment.root_pos
        self.data.qpos[3:7] = moment.root_quat
        self.data.qpos[self._joints] = moment.joint_pos
        mujoco.mj_kinematics(self.model, self.data)
        mujoco.mj_comPos(self.model, self.data)
        mujoco.mj_camlight(self.model, self.data)

    def shapes(self, moment: Moment) -> list[Shape]:
        """Return the terrain's boxes and the waypoints."""
        boxes = moment.boxes[moment.boxes[:, HALF.start] > 0]
        rotations = matrix_from_quat(torch.from_numpy(boxes[:, QUAT])).numpy()
        result = [
            Shape(mujoco.mjtGeom.mjGEOM_BOX, box[HALF], box[CENTER], rotation, _GROUND, self._ground)
            for box, rotation in zip(boxes, rotations, strict=True)
        ]
        size = np.full(3, _MARKER_RADIUS)
        for index, waypoint in enumerate(moment.waypoints):
            colour = _REACHED if index < moment.waypoint else _NEXT if index == moment.waypoint else _AHEAD
            place = waypoint + [0, 0, _MARKER_HEIGHT]
            result.append(Shape(mujoco.mjtGeom.mjGEOM_SPHERE, size, place, np.eye(3), colour))
        return result


def _paint(spec: mujoco.MjSpec, robot: Robot) -> None:
    """Colour the robot and cover its joints; add the sky, and a material for the ground."""
    for geom in spec.geoms:
        name = geom.parent.name
        geom.rgba = _LEFT if "left" in name else _RIGHT if "right" in name else _SHELL
    for joint in robot.joints:
        spec.joint(joint).parent.add_geom(
            type=mujoco.mjtGeom.mjGEOM_SPHERE,
            size=[_JOINT_RADIUS, 0, 0],
            group=VISUAL_GROUP,
            contype=0,
            conaffinity=0,
            mass=0,
            rgba=_DARK,
        )
    spec.add_texture(
        name="sky",
        type=mujoco.mjtTexture.mjTEXTURE_SKYBOX,
        builtin=mujoco.mjtBuiltin.mjBUILTIN_GRADIENT,
        rgb1=_SKY,
        rgb2=_HAZE,
        width=256,
        height=256,
    )
    spec.add_texture(
        name="ground",
        type=mujoco.mjtTexture.mjTEXTURE_2D,
        builtin=mujoco.mjtBuiltin.mjBUILTIN_FLAT,
        mark=mujoco.mjtMark.mjMARK_EDGE,
        rgb1=[1.0, 1.0, 1.0],
        markrgb=[0.8, 0.81, 0.84],
        width=256,
        height=256,
    )
    material = spec.add_material(name="ground", texuniform=True, texrepeat=[2, 2], specular=0.1, shininess=0.1)
    material.textures[mujoco.mjtTextureRole.mjTEXROLE_RGB] = "ground"


def _light(spec: mujoco.MjSpec) -> None:
    """Add a sun that goes along with the robot, and the quality of shadows and edges."""
    spec.worldbody.first_body().add_light(
        pos=[-3.0, -1.2, 6.0],
        dir=[0.5, 0.2, -1.0],
        type=mujoco.mjtLightType.mjLIGHT_DIRECTIONAL,
        mode=mujoco.mjtCamLight.mjCAMLIGHT_TRACK,
        diffuse=[0.6, 0.58, 0.55],
        specular=[0.2, 0.2, 0.2],
        castshadow=True,
    )
    visual = spec.visual
    visual.headlight.ambient, visual.headlight.diffuse = [0.38, 0.39, 0.42], [0.22, 0.22, 0.22]
    visual.headlight.specular = [0.05, 0.05, 0.05]
    visual.quality.shadowsize, visual.quality.offsamples = 2048, 4
    visual.map.znear, visual.map.zfar, visual.map.shadowclip = 0.05, 20.0, 1.5
    spec.stat.extent, spec.stat.center = 2.0, [0, 0, 1]  # m: what the clipping planes above are multiples of

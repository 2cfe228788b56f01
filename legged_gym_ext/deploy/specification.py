"""What ``policy.yaml`` says: what is needed to run a policy besides its networks. The format: docs/policy_folder.md.

Vectors of joints are in the order of the actions. SI units; quaternions (w, x, y, z); angles in rad.
"""

from __future__ import annotations

import math
import platform
import xml.etree.ElementTree as ET
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from rsl_rl.modules import EmpiricalNormalization

from legged_gym_ext import __version__
from legged_gym_ext.config.schema import CameraConfig, Config
from legged_gym_ext.deploy.runtime import FORMAT, VERSION, seal
from legged_gym_ext.envs.observations import OTHERS, PROPRIO_TERMS, Term
from legged_gym_ext.errors import UserError
from legged_gym_ext.groups import PROPRIO
from legged_gym_ext.models.student import Student
from legged_gym_ext.robot import Robot
from legged_gym_ext.rotations import quat_from_euler
from legged_gym_ext.sensors.depth_camera import focal_length

URDF = "robot.urdf"
COMMANDS = (("forward speed", "m/s"), ("lateral speed", "m/s"), ("yaw rate", "rad/s"), ("heading error", "rad"))
"""Names and units of the numbers of the observation ``commands``."""

Interval = tuple[float, float]


@dataclass(frozen=True)
class RobotPart:
    """The robot that the policy was trained with."""

    urdf: str
    joint_names: list[str]
    default_joint_pos: list[float]
    joint_stiffness: list[float]
    joint_damping: list[float]
    joint_pos_limits: list[Interval]
    joint_vel_limits: list[float]
    torque_limits: list[float]
    armature: float
    base_height: float
    feet: list[str]


@dataclass(frozen=True)
class Control:
    """Times of control, s; the latency of actions that was trained, control steps."""

    period: float
    physics_dt: float
    action_latency: tuple[int, int]


@dataclass(frozen=True)
class Action:
    """Joint targets are offset + scale * clamp(action, -clip, clip)."""

    scale: list[float]
    offset: list[float]
    clip: float


@dataclass(frozen=True)
class Normalizer:
    """Networks read (observation - mean) / std of the scaled observations."""

    mean: list[float]
    std: list[float]


@dataclass(frozen=True)
class Observation:
    """A vector that goes in raw. Networks read clamp((raw + offset) * scale)."""

    name: str
    size: int
    unit: str
    frame: str
    scale: list[float]
    offset: list[float]
    noise: float
    """Largest error in training, in its unit."""
    meaning: str


@dataclass(frozen=True)
class Commands:
    """The numbers of the observation ``commands``, and how training makes a yaw rate of a heading error."""

    names: list[str]
    units: list[str]
    ranges: list[Interval]
    """That training can command."""
    seen: list[Interval]
    """In the export's rollout."""
    heading_gain: float
    max_yaw_rate: float


@dataclass(frozen=True)
class Gait:
    """The gait clock."""

    period: float


@dataclass(frozen=True)
class Camera:
    """The depth camera. Latencies in s; ``frame_latency`` is that of the newest frame at least."""

    rows: int
    columns: int
    horizontal_fov: float
    focal: float
    position: list[float]
    quat: list[float]
    near: float
    far: float
    period: float
    latency: Interval
    depth_noise: float
    dropout: float
    position_noise: float
    rotation_noise: float
    missing: str


@dataclass(frozen=True)
class Memory:
    """What goes from one step to the next."""

    shape: list[int]
    initial: float


@dataclass(frozen=True)
class Safety:
    """Between which targets a limiter leaves the policy as it was in the export's rollout, rad and rad/s."""

    target_range: list[Interval]
    target_rate: list[float]


@dataclass(frozen=True)
class Trained:
    """Where the policy comes from; ``versions`` are those of the export."""

    task: str
    run: str
    checkpoint: str
    iterations: int
    environment_steps: int
    engine: str
    seed: int
    versions: dict[str, str]


@dataclass(frozen=True)
class Specification:
    """All of it."""

    robot: RobotPart
    control: Control
    action: Action
    observation_clip: float
    normalizer: Normalizer | None
    observations: list[Observation]
    commands: Commands
    gait: Gait | None
    camera: Camera
    memory: Memory | None
    safety: Safety
    trained: Trained


def to_yaml(specification: Specification, files: Mapping[str, str]) -> str:
    """Return the text of ``policy.yaml``, with the checksums of the folder's other ``files`` and of its own lines."""
    content = {"format": FORMAT, "version": VERSION, **asdict(specification)}
    text = yaml.safe_dump(_plain(content), sort_keys=False, default_flow_style=None, width=120, allow_unicode=True)
    text += yaml.safe_dump({"files": dict(files)}, sort_keys=False, default_flow_style=False, width=120)
    return text + seal(text.encode()).decode()


def specify(
    config: Config,
    robot: Robot,
    student: Student,
    safety: Safety,
    commands_seen: Sequence[Interval],
    trained: Trained,
) -> Specification:
    """Put together what a run's own configuration, its robot and its student say.

    Raises:
        UserError: The student reads an observation that no robot has.
    """
    dt = config.sim.dt * config.sim.decimation
    memory = student.encoder.initial_memory(1)
    random = config.randomization
    has_clock = any(term.name == "gait_phase" for term in terms(student))
    return Specification(
        robot=_robot(robot),
        control=Control(
            dt, config.sim.dt, (random.action_latency[0], random.action_latency[1]) if random.enabled else (0, 0)
        ),
        action=action_of(config, robot),
        observation_clip=config.observations.clip,
        normalizer=_normalizer(student),
        observations=observations_of(config, robot, student),
        commands=_commands(config, commands_seen),
        gait=Gait(config.rewards.gait_period) if has_clock else None,
        camera=camera_of(config),
        memory=Memory(list(memory.shape), 0.0) if student.is_recurrent else None,
        safety=safety,
        trained=trained,
    )


def terms(student: Student) -> list[Term]:
    """Return the terms of the student's vectors, in the order in which it reads them.

    Raises:
        UserError: One of them cannot be had on a robot.
    """
    rows = [row for group in student.obs_groups for row in (PROPRIO_TERMS if group == PROPRIO else (OTHERS[group],))]
    for row in rows:
        if row.sensor is None:
            raise UserError(
                f"observations.others: '{row.name}' cannot be exported, because its Term does not say what sensor a "
                "robot has for it"
            )
    return rows


def action_of(config: Config, robot: Robot) -> Action:
    """Return what becomes of the student's actions."""
    scale = [robot.action_scale] * len(robot.joints)
    return Action(scale, robot.default_joint_pos.tolist(), config.observations.clip_actions)


def observations_of(config: Config, robot: Robot, student: Student) -> list[Observation]:
    """Return what the student reads besides the depth image, in its order."""
    noise, rows = config.observations.noise, []
    for term in terms(student):
        sensor = term.sensor
        assert sensor is not None
        rows.append(
            Observation(
                name=term.name,
                size=term.size,
                unit=sensor.unit,
                frame=sensor.frame,
                scale=term.scales,
                offset=list(sensor.offset(robot)) if sensor.offset else [0.0] * term.size,
                noise=getattr(noise, term.noise) if term.noise and noise.enabled else 0.0,
                meaning=sensor.meaning,
            )
        )
    return rows


def versions() -> dict[str, str]:
    """Return the versions of what an export depends on."""
    packages = ("torch", "mujoco", "onnx", "onnxruntime", "numpy")
    return {
        "legged_gym_ext": __version__,
        "python": platform.python_version(),
        **{name: version(name) for name in packages},
    }


def _robot(robot: Robot) -> RobotPart:
    return RobotPart(
        urdf=URDF,
        joint_names=list(robot.joints),
        default_joint_pos=robot.default_joint_pos.tolist(),
        joint_stiffness=robot.stiffness.tolist(),
        joint_damping=robot.damping.tolist(),
        joint_pos_limits=[(low, high) for low, high in robot.joint_range.tolist()],
        joint_vel_limits=velocity_limits(robot.urdf, robot.joints),
        torque_limits=robot.torque_limit.tolist(),
        armature=robot.armature,
        base_height=robot.base_height,
        feet=list(robot.feet),
    )


def velocity_limits(urdf: Path, joints: Sequence[str]) -> list[float]:
    """Return what a URDF allows each joint, rad/s; infinite where it says nothing. MuJoCo reads no such limit."""
    limits = {joint.get("name"): joint.find("limit") for joint in ET.parse(urdf).getroot().iter("joint")}
    given = (limits.get(joint) for joint in joints)
    return [math.inf if limit is None else float(limit.get("velocity", math.inf)) for limit in given]


def _normalizer(student: Student) -> Normalizer | None:
    normalizer = student.obs_normalizer
    if not isinstance(normalizer, EmpiricalNormalization):
        return None
    return Normalizer(normalizer.mean.tolist(), (normalizer.std + normalizer.eps).tolist())


def _commands(config: Config, seen: Sequence[Interval]) -> Commands:
    commands = config.commands
    turn = commands.max_yaw_rate
    low, high = commands.forward_speed
    return Commands(
        names=[name for name, _ in COMMANDS],
        units=[unit for _, unit in COMMANDS],
        ranges=[(low, high), (0.0, 0.0), (-turn, turn), (-math.pi, math.pi)],
        seen=list(seen),
        heading_gain=commands.heading_gain,
        max_yaw_rate=turn,
    )


def camera_of(config: Config) -> Camera:
    """Return the camera that a run was trained with."""
    camera: CameraConfig = config.camera
    random, dt = config.randomization, config.sim.dt * config.sim.decimation
    rows, columns = camera.resolution
    period = camera.update_interval * dt
    late = [dt * steps for steps in random.camera_latency] if random.enabled else [0.0, 0.0]
    zero = torch.zeros((), dtype=torch.float64)
    pitch = torch.tensor(math.radians(camera.pitch_degrees), dtype=torch.float64)
    return Camera(
        rows=rows,
        columns=columns,
        horizontal_fov=math.radians(camera.horizontal_fov_degrees),
        focal=focal_length(camera),
        position=list(camera.position),
        quat=quat_from_euler(zero, pitch, zero).tolist(),
        near=camera.near,
        far=camera.far,
        period=period,
        latency=(camera.latency * period + late[0], camera.latency * period + late[1]),
        depth_noise=camera.depth_noise,
        dropout=camera.dropout,
        position_noise=camera.position_noise,
        rotation_noise=math.radians(camera.rotation_noise_degrees),
        missing="far",
    )


def _plain(value: Any) -> Any:
    """Return nested dataclass dictionaries with lists for tuples, and numbers of Python's for NumPy's."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value.item() if isinstance(value, np.generic) else value

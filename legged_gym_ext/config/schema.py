"""The configuration: one dataclass for every section. Defaults are here; a task's YAML states what it changes.

Lengths in m, angles in rad (degrees where the name says so), times in s. A ``Range`` is ``[low, high]``: of a uniform
distribution, or, in the terrain sections, the values at difficulty 0 and at difficulty 1.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


def _range(low: float, high: float) -> Any:
    return field(default_factory=lambda: [low, high])


@dataclass
class SimConfig:
    """Physics engine."""

    engine: str = "auto"  # auto (mujoco_warp on CUDA, else mujoco), mujoco, mujoco_warp
    device: str = "auto"  # auto, cpu, cuda:N
    threads: int = 0  # physics threads; 0 = every core that this process may use
    dt: float = 0.005
    decimation: int = 4  # physics steps per control step
    iterations: int = 10  # of the constraint solver, at most; 7 were needed at most, 2 on average
    ls_iterations: int = 10  # of its line search, at most
    nconmax: int = 0  # contacts that there is room for (mujoco_warp), per environment on average; 0 = by the model
    njmax: int = 0  # constraint rows that there is room for in each environment (mujoco_warp); 0 = by the model


@dataclass
class RobotConfig:
    """The robot. Names are the URDF's; the joints are in the order of the actions."""

    urdf: str = "resources/robots/biped10/biped10.urdf"
    joints: list[str] = field(
        default_factory=lambda: [
            f"{side}_{joint}_joint"
            for side in ("left", "right")
            for joint in ("hip_yaw", "hip_roll", "hip_pitch", "knee", "ankle")
        ]
    )
    feet: list[str] = field(default_factory=lambda: ["left_ankle_link", "right_ankle_link"])
    no_contact_bodies: list[str] = field(  # bodies that must not touch anything: the collision reward
        default_factory=lambda: [
            "pelvis",
            "torso_link",
            "left_hip_pitch_link",
            "left_knee_link",
            "right_hip_pitch_link",
            "right_knee_link",
        ]
    )
    # The next three map a part of a joint's name to the value of each joint that contains it, the longest part if there
    # are several. One that a YAML gives replaces the whole of it.
    default_pose: dict[str, float] = field(
        default_factory=lambda: {"hip_yaw": 0.0, "hip_roll": 0.0, "hip_pitch": -0.25, "knee": 0.55, "ankle": -0.30}
    )
    stiffness: dict[str, float] = field(
        default_factory=lambda: {"hip_yaw": 150.0, "hip_roll": 150.0, "hip_pitch": 150.0, "knee": 200.0, "ankle": 40.0}
    )
    damping: dict[str, float] = field(
        default_factory=lambda: {"hip_yaw": 2.0, "hip_roll": 2.0, "hip_pitch": 2.0, "knee": 4.0, "ankle": 2.0}
    )
    armature: float = 0.01  # rotor inertia seen at the joint, kg m^2
    action_scale: float = 0.25
    soft_limit: float = 0.9  # share of the joint range that is free of the joint-limit reward
    hips: list[str] = field(default_factory=lambda: ["hip_yaw", "hip_roll"])  # name parts: the hip deviation reward


@dataclass
class FlatConfig:
    """Level ground with bumps of the given height."""

    proportion: float = 1.0
    height: list[float] = _range(0.01, 0.05)


@dataclass
class StepsConfig:
    """Platforms up and down, one or two on top of each other."""

    proportion: float = 1.0
    height: list[float] = _range(0.015, 0.45)  # of one step
    length: list[float] = _range(1.4, 0.9)  # of a platform, and of the ground between two


@dataclass
class GapsConfig:
    """Gaps between platforms."""

    proportion: float = 1.0
    width: list[float] = _range(0.02, 0.8)
    length: list[float] = _range(1.4, 1.0)  # of a platform, at least


@dataclass
class HurdlesConfig:
    """Bars to climb over."""

    proportion: float = 1.0
    height: list[float] = _range(0.015, 0.4)
    thickness: list[float] = _range(0.3, 0.12)
    spacing: list[float] = _range(1.8, 1.4)  # free ground between two bars, at least


@dataclass
class StairsConfig:
    """Flights of stairs, up and down again."""

    proportion: float = 1.0
    rise: list[float] = _range(0.01, 0.2)
    run: list[float] = _range(0.5, 0.3)


@dataclass
class SteppingStonesConfig:
    """Fields of stones in two rows, left and right, staggered the more the harder; platforms between the fields."""

    proportion: float = 1.0
    count: int = 3  # stones in a row of a field
    size: list[float] = _range(0.8, 0.32)  # of a stone along the course
    width: list[float] = _range(2.0, 0.32)  # and across it
    gap: list[float] = _range(0.02, 0.3)  # between two stones of a row
    offset: list[float] = _range(0.0, 0.12)  # of a stone outward, and of its top from the ground, +-; at most


@dataclass
class RampsConfig:
    """Pairs of plates: tilted to the left and to the right, or up and down again."""

    proportion: float = 1.0
    tilt_degrees: list[float] = _range(0.25, 22.0)
    length: list[float] = _range(1.0, 0.8)  # of a plate
    gap: list[float] = _range(0.0, 0.3)  # before and after a pair, and between plates that tilt sideways


@dataclass
class BeamsConfig:
    """Narrow paths between platforms."""

    proportion: float = 1.0
    width: list[float] = _range(4.0, 0.3)
    length: list[float] = _range(1.5, 2.0)


@dataclass
class TerrainConfig:
    """The library of tiles."""

    seed: int = 0
    levels: int = 10
    variants: int = 4  # random variants of every (kind, level)
    length: float = 12.0  # of the course, from the start line to the last waypoint
    width: float = 4.0
    waypoints: int = 8
    flat: FlatConfig = field(default_factory=FlatConfig)
    steps: StepsConfig = field(default_factory=StepsConfig)
    gaps: GapsConfig = field(default_factory=GapsConfig)
    hurdles: HurdlesConfig = field(default_factory=HurdlesConfig)
    stairs: StairsConfig = field(default_factory=StairsConfig)
    stepping_stones: SteppingStonesConfig = field(default_factory=SteppingStonesConfig)
    ramps: RampsConfig = field(default_factory=RampsConfig)
    beams: BeamsConfig = field(default_factory=BeamsConfig)


@dataclass
class CurriculumConfig:
    """Which level an environment is given next."""

    enabled: bool = True
    start_level: int = 0  # environments start at levels 0 .. start_level, at random
    # Shares of the course, or of what the robot is commanded to walk in an episode if that is less.
    promote: float = 0.8  # who crosses at least this moves up
    demote: float = 0.4  # who crosses less than this moves down


@dataclass
class CameraConfig:
    """Depth camera on the base."""

    enabled: bool = True
    resolution: list[int] = field(default_factory=lambda: [64, 64])  # rows, columns
    position: list[float] = field(default_factory=lambda: [0.12, 0.0, 0.35])  # in the base frame
    # With the base 1 m over the ground, the next two see the ground from 0.3 m to 2.5 m ahead of it.
    pitch_degrees: float = 56.0  # down from the horizon
    horizontal_fov_degrees: float = 53.5
    near: float = 0.1
    far: float = 3.0
    update_interval: int = 5  # control steps from frame to frame
    latency: int = 0  # frames
    position_noise: float = 0.01  # mount position, drawn each episode, +- uniform
    rotation_noise_degrees: float = 1.0  # mount roll, pitch and yaw, drawn each episode, +- uniform
    depth_noise: float = 0.005  # standard deviation per pixel at 1 m, m, growing with the square of the depth
    dropout: float = 0.005  # probability that a pixel reads as far
    precision: str = "float32"  # of the images: float32, float16
    see_robot: bool = False  # draw the robot's own legs, too


@dataclass
class HeightScanConfig:
    """Terrain heights on a grid about the base, turned with its heading."""

    x: list[float] = field(default_factory=lambda: [-0.4, 1.6])  # first and last column of points
    y: list[float] = field(default_factory=lambda: [-0.5, 0.5])
    shape: list[int] = field(default_factory=lambda: [12, 11])  # points along x and along y
    clip: float = 1.0  # heights below and above the base's nominal ground are clipped to this


@dataclass
class CommandsConfig:
    """Velocity commands that follow the waypoints."""

    forward_speed: list[float] = _range(0.4, 1.0)
    heading_gain: float = 1.5  # 1/s: yaw rate per heading error
    max_yaw_rate: float = 1.0
    waypoint_radius: float = 0.25  # a waypoint counts as reached within this distance or once it is behind


@dataclass
class NoiseConfig:
    """Noise on the proprioception, +- uniform, before scaling."""

    enabled: bool = True
    lin_vel: float = 0.1
    ang_vel: float = 0.2
    gravity: float = 0.05
    joint_pos: float = 0.01
    joint_vel: float = 1.0


@dataclass
class ObservationsConfig:
    """What the policies see besides proprioception and depth."""

    others: list[str] = field(default_factory=list)  # of observations.OTHERS, for teacher and student
    clip: float = 100.0
    clip_actions: float = 10.0
    noise: NoiseConfig = field(default_factory=NoiseConfig)


@dataclass
class RewardsConfig:
    """Weights (per second) and parameters of the reward terms; each weight is a function of that name in rewards.py."""

    weights: dict[str, float] = field(default_factory=dict)
    tracking_sigma: float = 0.25
    yaw_sigma: float = 0.25
    air_time_target: float = 0.4  # s
    marching_share: float = 0.3  # of the air time reward that a robot earns without moving forward
    swing_height: float = 0.12  # of the sole over the terrain at mid-swing
    gait_period: float = 0.8  # s
    stance_share: float = 0.55  # of the period
    edge_distance: float = 0.05  # a foot nearer to an edge than this counts as near
    edge_height: float = 0.06  # a drop or rise of the terrain by at least this is an edge
    only_positive: bool = False  # clip the sum at zero, as legged_gym does


@dataclass
class TerminationsConfig:
    """When an episode ends early."""

    min_height: float = 0.6  # of the base over the terrain under it
    max_tilt_degrees: float = 45.0
    lateral_margin: float = 0.3  # beyond the tile's side edge
    behind: float = 1.5  # behind the start line


@dataclass
class RandomizationConfig:
    """Domain randomization, drawn anew at each reset."""

    enabled: bool = True
    full_at_level: int = 3  # terrain level from which all of it applies; none at level 0; 0 = everywhere
    friction: list[float] = _range(0.6, 1.5)
    added_mass: list[float] = _range(-1.0, 3.0)
    mass_offset: float = 0.03  # +- uniform on each axis
    motor_strength: list[float] = _range(0.9, 1.1)
    stiffness: list[float] = _range(0.9, 1.1)
    damping: list[float] = _range(0.9, 1.1)
    push_interval: float = 6.0  # s between pushes; 0 = none
    push_velocity: float = 0.5  # largest horizontal change of the base's velocity
    action_latency: list[int] = field(default_factory=lambda: [0, 1])  # control steps, drawn each episode
    initial_yaw: float = 0.2  # +- uniform
    initial_joint_pos: float = 0.05  # +- uniform about the default pose


@dataclass
class EnvConfig:
    """The vectorized environment."""

    num_envs: Any = "auto"  # a number >= 1, or auto: chosen by device
    episode_length_s: float = 20.0
    scandots: bool = True  # compute the height scan (the critic and the scandots teacher see it)


@dataclass
class TeacherConfig:
    """The policy that PPO trains, and its critic."""

    kind: str = "depth"  # depth, scandots
    hidden_dims: list[int] = field(default_factory=lambda: [512, 256, 128])
    critic_hidden_dims: list[int] = field(default_factory=lambda: [512, 256, 128])
    activation: str = "elu"
    normalize_observations: bool = False
    init_noise_std: float = 1.0
    depth_gain: float = 0.01  # on the teacher's image, about 43 / 4096: Adam moves many pixels too fast; 1 = the spec
    scan_encoder_dims: list[int] = field(default_factory=lambda: [128, 64])  # hidden layers; the latent has latent_dim


@dataclass
class StudentConfig:
    """Depth encoder and actor that learn from the teacher."""

    latent_dim: int = 32
    gru_hidden: int = 512
    fusion_hidden: int = 128
    init_from_teacher: str = "columns"  # columns, spec (the first columns as they are), none


@dataclass
class PPOConfig:
    """rsl_rl's PPO, with its names."""

    num_learning_epochs: int = 5
    num_mini_batches: int = 4
    clip_param: float = 0.2
    gamma: float = 0.99
    lam: float = 0.95
    value_loss_coef: float = 1.0
    entropy_coef: float = 0.005
    learning_rate: float = 1e-3
    max_grad_norm: float = 1.0
    use_clipped_value_loss: bool = True
    schedule: str = "adaptive"
    desired_kl: float = 0.01
    symmetry: bool = False  # also learn from the mirror image of each sample: for robots with mirror symmetry


@dataclass
class DistillConfig:
    """DAgger, interleaved with PPO."""

    enabled: bool = True
    start: int = 200  # first PPO iteration that is followed by distillation
    interval: int = 10  # PPO iterations from one distillation to the next
    steps_per_env: int = 48
    mini_batches: int = 4  # of environments
    epochs: int = 2
    bptt_steps: int = 24  # truncation of backpropagation through time
    loss: str = "l2"  # l2, l1, huber
    feature_loss_weight: float = 0.1  # only with the scandots teacher, whose latent the depth latent can follow
    encoder_learning_rate: float = 1e-3
    actor_learning_rate: float = 1e-3
    max_grad_norm: float = 1.0
    beta: float = 0.0  # share of environments that the teacher acts in, at first
    beta_decay: float = 0.9  # of that share, per distillation


@dataclass
class RunnerConfig:
    """The training loop."""

    num_steps_per_env: int = 24
    max_iterations: int = 3000
    save_interval: int = 100
    keep_checkpoints: int = 0  # newest ones kept; 0 = all
    logger: str = "tensorboard"  # tensorboard, wandb, none
    wandb_project: str = "legged_gym_ext"
    precision: str = "auto"  # of the costly layers: auto (bfloat16 where the device has it), bfloat16, float32
    device: str = "auto"  # of the networks: auto, cpu, cuda:N
    init_at_random_ep_len: bool = True


@dataclass
class Config:
    """Everything that decides a run."""

    task: str = "parkour_depth"
    seed: int = 1
    experiment_name: str = ""  # the task's name where empty
    run_name: str = ""
    sim: SimConfig = field(default_factory=SimConfig)
    env: EnvConfig = field(default_factory=EnvConfig)
    robot: RobotConfig = field(default_factory=RobotConfig)
    terrain: TerrainConfig = field(default_factory=TerrainConfig)
    curriculum: CurriculumConfig = field(default_factory=CurriculumConfig)
    camera: CameraConfig = field(default_factory=CameraConfig)
    height_scan: HeightScanConfig = field(default_factory=HeightScanConfig)
    commands: CommandsConfig = field(default_factory=CommandsConfig)
    observations: ObservationsConfig = field(default_factory=ObservationsConfig)
    rewards: RewardsConfig = field(default_factory=RewardsConfig)
    terminations: TerminationsConfig = field(default_factory=TerminationsConfig)
    randomization: RandomizationConfig = field(default_factory=RandomizationConfig)
    teacher: TeacherConfig = field(default_factory=TeacherConfig)
    student: StudentConfig = field(default_factory=StudentConfig)
    ppo: PPOConfig = field(default_factory=PPOConfig)
    distill: DistillConfig = field(default_factory=DistillConfig)
    runner: RunnerConfig = field(default_factory=RunnerConfig)

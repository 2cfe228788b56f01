"""The configuration: one dataclass for every section, each field with its default and the rule for its values.

A task's YAML states what it changes. Lengths in m, angles in rad (degrees where the name says so), times in s. An
interval is ``[low, high]``, mostly of a uniform distribution.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from legged_gym_ext.config.fields import (
    AT_LEAST_ONE,
    NOT_NEGATIVE,
    POSITIVE,
    by_kind,
    by_name,
    choice,
    count,
    count_or_auto,
    device_name,
    folder_name,
    interval,
    layers,
    names,
    not_negative,
    number,
    pair,
    positive,
    share,
    triple,
)
from legged_gym_ext.config.sections import add_section
from legged_gym_ext.models.encoders import EncoderOptions, option_classes
from legged_gym_ext.simulators import ENGINES, engine_names
from legged_gym_ext.terrain.config import TerrainConfig


@dataclass
class SimConfig:
    """Physics engine. Besides what is here, the options of each engine are a section of its name (simulators)."""

    engine: str = choice("auto", engine_names)  # auto: mujoco_warp on CUDA, else mujoco
    device: str = device_name()  # of the simulation; auto: a GPU where there is one
    dt: float = number(0.005, at_least=1e-5)  # of a physics step
    decimation: int = count(4)  # physics steps per control step

    @property
    def options(self) -> Any:
        """The options of the chosen engine, its own section."""
        return getattr(self, self.engine)


for _name, _engine in ENGINES.items():
    add_section(SimConfig, _name, _engine.options)


@dataclass
class RobotConfig:
    """The robot. Names are the URDF's; the joints are in the order of the actions."""

    urdf: str = "resources/robots/biped10/biped10.urdf"  # path, from the current folder or from the checkout's top
    joints: list[str] = names(
        [
            f"{side}_{joint}_joint"
            for side in ("left", "right")
            for joint in ("hip_yaw", "hip_roll", "hip_pitch", "knee", "ankle")
        ]
    )
    feet: list[str] = names(["left_ankle_link", "right_ankle_link"])  # links that stand on the ground
    no_contact_bodies: list[str] = names(  # bodies that must not touch anything: the collision reward
        [
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
    default_pose: dict[str, float] = by_name(
        {"hip_yaw": 0.0, "hip_roll": 0.0, "hip_pitch": -0.25, "knee": 0.55, "ankle": -0.30}
    )
    stiffness: dict[str, float] = by_name(
        {"hip_yaw": 150.0, "hip_roll": 150.0, "hip_pitch": 150.0, "knee": 200.0, "ankle": 40.0}, NOT_NEGATIVE
    )
    damping: dict[str, float] = by_name(
        {"hip_yaw": 2.0, "hip_roll": 2.0, "hip_pitch": 2.0, "knee": 4.0, "ankle": 2.0}, NOT_NEGATIVE
    )
    armature: float = not_negative(0.01)  # rotor inertia seen at the joint, kg m^2
    action_scale: float = positive(0.25)  # rad per unit of an action
    soft_limit: float = share(0.9)  # share of the joint range that is free of the joint-limit reward
    hips: list[str] = field(default_factory=lambda: ["hip_yaw", "hip_roll"])  # name parts: the hip deviation reward


@dataclass
class CurriculumConfig:
    """Which level an environment is given next."""

    enabled: bool = True
    start_level: int = not_negative(0)  # environments start at levels 0 .. start_level, at random
    # Shares of the course, or of what the robot is commanded to walk in an episode if that is less.
    promote: float = share(0.8)  # who crosses at least this moves up
    demote: float = not_negative(0.4)  # who crosses less than this moves down
    # Of the episodes, the share after which the next is at a random level up to the own one, so that what was learned
    # on the way is not forgotten while all robots are on hard levels.
    review: float = share(0.0)
    # Of the environments, how many stay with their kind of terrain; the others, as they master theirs, go where the
    # levels are lowest. 1 = all stay.
    even_share: float = share(1.0)


@dataclass
class CameraConfig:
    """Depth camera on the base."""

    enabled: bool = True  # without it there is no depth teacher and no student
    resolution: list[int] = pair(64, 64, AT_LEAST_ONE)  # rows, columns
    position: list[float] = triple(0.12, 0.0, 0.35)  # in the base frame
    # With the base 1 m over the ground, the next two see the ground from 0.3 m to 2.5 m ahead of it.
    pitch_degrees: float = 56.0  # down from the horizon
    horizontal_fov_degrees: float = number(53.5, above=0, below=180)
    near: float = positive(0.1)  # depths are clipped to near .. far, m along the optical axis
    far: float = 3.0  # more than near
    update_interval: int = count(5)  # control steps from frame to frame
    latency: int = not_negative(0)  # frames; randomization.camera_latency comes on top
    position_noise: float = not_negative(0.01)  # mount position, drawn each episode, +- uniform
    rotation_noise_degrees: float = not_negative(1.0)  # mount roll, pitch and yaw, drawn each episode, +- uniform
    depth_noise: float = not_negative(0.005)  # standard deviation per pixel at 1 m, m; grows as the depth squared
    dropout: float = share(0.005)  # probability that a pixel reads as far
    precision: str = choice("float32", ("float32", "float16"))  # of the images
    see_robot: bool = False  # draw the robot's own legs, too


@dataclass
class HeightScanConfig:
    """Terrain heights on a grid about the base, turned with its heading."""

    enabled: bool = True  # compute it: the critic and the scandots teacher see it
    x: list[float] = interval(-0.4, 1.6)  # first and last column of points
    y: list[float] = interval(-0.5, 0.5)  # first and last row
    shape: list[int] = pair(12, 11, AT_LEAST_ONE)  # points along x and along y
    clip: float = positive(1.0)  # heights below and above the base's nominal ground are clipped to this


@dataclass
class CommandsConfig:
    """Velocity commands that follow the waypoints."""

    forward_speed: list[float] = interval(0.4, 1.0, NOT_NEGATIVE)  # m/s, drawn each episode
    start_speed: list[float] = interval(0.4, 1.0, NOT_NEGATIVE)  # that range at level 0
    full_at_level: int = not_negative(0)  # terrain level from which forward_speed holds; 0 = everywhere
    heading_gain: float = not_negative(1.5)  # 1/s: yaw rate per heading error
    max_yaw_rate: float = not_negative(1.0)  # rad/s
    waypoint_radius: float = positive(0.25)  # a waypoint counts as reached within this distance or once it is behind


@dataclass
class NoiseConfig:
    """Noise on the proprioception, +- uniform, before scaling."""

    enabled: bool = True
    lin_vel: float = not_negative(0.1)  # m/s
    ang_vel: float = not_negative(0.2)  # rad/s
    gravity: float = not_negative(0.05)  # of a unit vector
    joint_pos: float = not_negative(0.01)  # rad
    joint_vel: float = not_negative(1.0)  # rad/s


@dataclass
class ObservationsConfig:
    """What the policies see besides proprioception and depth."""

    others: list[str] = names()  # of observations.OTHERS, for teacher and student
    clip: float = positive(100.0)  # largest magnitude of an observation, after scaling
    clip_actions: float = positive(10.0)  # and of an action
    noise: NoiseConfig = field(default_factory=NoiseConfig)


@dataclass
class RewardsConfig:
    """Weights (per second) and parameters of the reward terms; each weight is a function of that name in rewards.py."""

    weights: dict[str, float] = by_name({})  # by the names of the terms
    start_weights: dict[str, float] = by_name({})  # those that some terms have at level 0
    full_at_level: int = not_negative(0)  # terrain level from which weights hold; 0 = everywhere
    tracking_sigma: float = positive(0.25)  # width of the Gaussian of tracking_lin_vel, (m/s)^2
    yaw_sigma: float = positive(0.25)  # and of tracking_yaw, rad^2
    air_time_target: float = positive(0.4)  # s
    marching_share: float = share(0.3)  # of the air time reward that a robot earns without moving forward
    swing_height: float = not_negative(0.12)  # of the sole over the terrain at mid-swing
    gait_period: float = positive(0.8)  # s
    stance_share: float = share(0.55)  # of the period
    edge_distance: float = not_negative(0.05)  # a foot nearer to an edge than this counts as near
    edge_height: float = not_negative(0.06)  # a drop or rise of the terrain by at least this is an edge
    only_positive: bool = False  # clip the sum at zero, as legged_gym does


@dataclass
class TerminationsConfig:
    """When an episode ends early."""

    min_height: float = not_negative(0.6)  # of the base over the terrain under it
    max_tilt_degrees: float = not_negative(45.0)  # of the base from upright
    lateral_margin: float = not_negative(0.3)  # beyond the tile's side edge
    behind: float = not_negative(1.5)  # behind the start line
    stuck_time: float = not_negative(0.0)  # s without 0.1 m of progress; 0 = a robot may stand as long as it likes


@dataclass
class RandomizationConfig:
    """Domain randomization, drawn anew at each reset."""

    enabled: bool = True
    full_at_level: int = not_negative(3)  # terrain level from which all of it applies; none at level 0; 0 = everywhere
    friction: list[float] = interval(0.6, 1.5, POSITIVE)  # of the pair of foot and ground
    added_mass: list[float] = interval(-1.0, 3.0)  # kg, to the base
    mass_offset: float = not_negative(0.03)  # +- uniform on each axis
    motor_strength: list[float] = interval(0.9, 1.1, POSITIVE)  # factor on motors' torques
    stiffness: list[float] = interval(0.9, 1.1, POSITIVE)  # factor
    damping: list[float] = interval(0.9, 1.1, POSITIVE)  # factor
    push_interval: float = not_negative(6.0)  # s between pushes; 0 = none
    push_velocity: float = not_negative(0.5)  # largest horizontal change of the base's velocity
    action_latency: list[int] = interval(0, 1, NOT_NEGATIVE)  # control steps, drawn each episode
    camera_latency: list[int] = interval(0, 0, NOT_NEGATIVE)  # control steps beyond camera.latency, drawn each episode
    initial_yaw: float = not_negative(0.2)  # +- uniform
    initial_joint_pos: float = not_negative(0.05)  # +- uniform about the default pose


@dataclass
class EnvConfig:
    """The vectorized environment."""

    num_envs: Any = count_or_auto()  # auto: chosen by device
    episode_length_s: float = positive(20.0)  # the longest episode


@dataclass
class TeacherConfig:
    """The policy that PPO trains, and its critic."""

    kind: str = choice("depth", ("depth", "scandots"))  # whether it sees the image or the height scan
    hidden_dims: list[int] = layers(512, 256, 128)  # of the actor
    critic_hidden_dims: list[int] = layers(512, 256, 128)
    activation: str = choice(  # rsl_rl's names
        "elu",
        ("elu", "selu", "relu", "crelu", "lrelu", "tanh", "sigmoid", "softplus", "gelu", "swish", "mish", "identity"),
    )
    normalize_observations: bool = False  # by their running mean and deviation
    init_noise_std: float = positive(1.0)  # of actions, at first
    # On the teacher's image, about 43 / 4096: Adam moves many pixels too fast; 1 = the spec.
    depth_gain: float = positive(0.01)
    depth_block: int = count(1)  # and blocks of so many pixels, squared, share a weight; 1 = the spec
    scan_encoder_dims: list[int] = layers(128, 64)  # hidden layers; the latent has latent_dim


@dataclass
class StudentConfig:
    """Depth encoder and actor that learn from the teacher."""

    latent_dim: int = count(32)  # numbers that the encoder makes of images
    encoder: EncoderOptions = by_kind("spec", option_classes)  # its options are those of its ``kind``
    init_from_teacher: str = choice("columns", ("columns", "spec", "none"))  # spec: the first columns as they are


@dataclass
class PPOConfig:
    """rsl_rl's PPO, with its names."""

    num_learning_epochs: int = count(5)  # passes over a rollout
    num_mini_batches: int = count(4)
    clip_param: float = positive(0.2)  # of the probability ratio, and of values
    gamma: float = share(0.99)  # discount per control step
    lam: float = share(0.95)  # of generalized advantage estimation
    value_loss_coef: float = not_negative(1.0)
    entropy_coef: float = not_negative(0.005)  # weight of the entropy
    start_entropy_coef: float = not_negative(0.005)  # with the teacher's environments at level 0, on average
    full_at_level: float = not_negative(0.0)  # level from which entropy_coef holds; 0 = from the beginning
    learning_rate: float = positive(1e-3)  # at first, where the schedule is adaptive
    max_grad_norm: float = positive(1.0)  # longer gradients are shortened to it
    use_clipped_value_loss: bool = True  # values move by clip_param at most
    schedule: str = choice("adaptive", ("adaptive", "fixed"))  # adaptive: the learning rate follows desired_kl
    desired_kl: float = positive(0.01)  # KL divergence of an update
    symmetry: bool = False  # also learn from the mirror image of each sample: for robots with mirror symmetry


@dataclass
class GuideConfig:
    """A policy that sees a height scan and learns by PPO before the depth teacher does, which then begins as its image.

    A teacher that sees a height scan itself has none.
    Pixels tell PPO little about where to step, but much to a network that is shown what to do (docs/LEARNING.md).
    """

    enabled: bool = False
    # Terrain level of its environments, on average, at which it has learned enough, at most two thirds of the last one:
    # there the mean settles where all are mastered (of ten levels at 6, at 5.7 with curriculum.even_share=0.4), as who
    # passes the last one gets a random one. 0, a single level, or curriculum.enabled=false: only ``iterations`` count.
    level: float = not_negative(6.0)
    iterations: int = count(2800)  # and when it has at the latest
    rounds: int = count(120)  # of imitation: in each the teacher acts, and learns what the guide would have done
    steps_per_env: int = count(48)  # of a round
    epochs: int = count(3)
    mini_batches: int = count(12)
    learning_rate: float = positive(1e-3)  # in the first round; a tenth of it in the last
    max_grad_norm: float = positive(1.0)
    beta: float = share(1.0)  # share of environments that the guide acts in, at first
    beta_decay: float = share(0.8)  # of that share, per round


@dataclass
class DistillConfig:
    """DAgger, interleaved with PPO."""

    enabled: bool = True
    start: int = not_negative(200)  # PPO iteration that is followed by the first distillation, at the latest
    # And it begins as soon as the teacher's environments are at this level, on average; 0 = not before ``start``.
    start_level: float = not_negative(0.0)
    interval: int = count(10)  # PPO iterations from one distillation to the next
    steps_per_env: int = count(48)  # control steps of a turn of the student
    mini_batches: int = count(4)  # of environments
    epochs: int = count(2)  # passes over them
    bptt_steps: int = count(24)  # truncation of backpropagation through time
    loss: str = choice("l2", ("l2", "l1", "huber"))  # between the student's actions and the teacher's
    # Only with the scandots teacher, whose latent the depth latent can follow.
    feature_loss_weight: float = not_negative(0.1)
    encoder_learning_rate: float = positive(1e-3)
    actor_learning_rate: float = positive(1e-3)
    max_grad_norm: float = positive(1.0)
    beta: float = share(0.0)  # share of environments that the teacher acts in, at first
    beta_decay: float = share(0.9)  # of that share, per distillation


@dataclass
class FinetuneConfig:
    """PPO on the student itself, once it is distilled. What is not here is as in ``ppo``, but for its symmetry."""

    enabled: bool = False  # teacher and distillation rest then; train.py --phase finetune sets it
    warmup: int = not_negative(25)  # first iterations, in which the critic alone learns, at ppo.learning_rate
    init_noise_std: float = positive(0.2)  # of the student's actions, at first
    num_steps_per_env: int = count(48)  # backpropagation through time goes over all of them
    num_learning_epochs: int = count(2)  # passes over a rollout
    num_mini_batches: int = count(4)  # of environments
    learning_rate: float = positive(1e-4)


@dataclass
class RunnerConfig:
    """The training loop."""

    num_steps_per_env: int = count(24)
    max_iterations: int = count(3000)
    init_from: str = ""  # a run's folder, for its newest networks, or a checkpoint: what a new run begins with
    save_interval: int = count(100)
    keep_checkpoints: int = not_negative(0)  # newest ones kept; 0 = all
    evaluate_every: int = not_negative(0)  # iterations from one small evaluation (evaluation) to the next; 0 = none
    # Iterations from one look at the lanes to the next: success by kind and level, depth images, histograms (showing).
    media_every: int = not_negative(100)  # 0 = none
    # Iterations from one film of each policy, made beside the training, to the next; auto: none where all is on a CPU.
    video_every: Any = count_or_auto(at_least=0)  # 0 = none
    video_length: float = positive(24.0)  # s
    logger: str = choice("tensorboard", ("tensorboard", "wandb", "none"))
    # Weights & Biases. What is empty is as W&B itself is configured.
    wandb_project: str = "legged_gym_ext"
    wandb_entity: str = ""  # user or team
    wandb_group: str = ""  # empty: the name of the first of the runs that go on with each other
    wandb_tags: list[str] = names()
    wandb_notes: str = ""
    wandb_mode: str = choice("auto", ("auto", "offline"))  # auto: offline, too, where there is no login or network
    wandb_resume: str = choice("same", ("same", "new"))  # what --resume goes on with: the W&B run, or one in its group
    # Iterations, at least, from one checkpoint that is uploaded to the next; the last one is, too; 0 = none.
    wandb_checkpoint_every: int = not_negative(500)
    # Of the costly layers; auto: bfloat16 where the device has it.
    precision: str = choice("auto", ("auto", "bfloat16", "float32"))
    device: str = device_name()  # of the networks
    init_at_random_ep_len: bool = True


@dataclass
class Config:
    """Everything that decides a run."""

    task: str = "parkour_depth"  # its name, or the path of its YAML: --task
    seed: int = number(1, at_least=0, at_most=2**63 - 1)  # the same seed gives the same run on a CPU, bit for bit
    experiment_name: str = folder_name()  # the task's name where empty
    run_name: str = folder_name()  # added to the name of the run's folder
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
    guide: GuideConfig = field(default_factory=GuideConfig)
    distill: DistillConfig = field(default_factory=DistillConfig)
    finetune: FinetuneConfig = field(default_factory=FinetuneConfig)
    runner: RunnerConfig = field(default_factory=RunnerConfig)

    @property
    def guided(self) -> bool:
        """Return whether the teacher begins as the image of a guide."""
        return self.guide.enabled and self.teacher.kind == "depth"

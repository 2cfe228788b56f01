"""Which values a configuration may have, beyond their types: tables of rules. A breach is one error line."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Iterator
from typing import Any

from legged_gym_ext.config.schema import Config, TerrainConfig
from legged_gym_ext.errors import UserError, unknown
from legged_gym_ext.terrain.boxes import MAX_BOXES

CHOICES = {
    "sim.engine": ("auto", "mujoco", "mujoco_warp"),
    "camera.precision": ("float32", "float16"),
    "teacher.kind": ("depth", "scandots"),
    "teacher.activation": (  # rsl_rl's names
        *("elu", "selu", "relu", "crelu", "lrelu", "tanh"),
        *("sigmoid", "softplus", "gelu", "swish", "mish", "identity"),
    ),
    "student.init_from_teacher": ("columns", "spec", "none"),
    "ppo.schedule": ("adaptive", "fixed"),
    "distill.loss": ("l2", "l1", "huber"),
    "runner.logger": ("tensorboard", "wandb", "none"),
    "runner.precision": ("auto", "bfloat16", "float32"),
}
DEVICES = ("sim.device", "runner.device")
FOLDER_NAMES = ("experiment_name", "run_name")

# Section -> its keys that the rule holds for; of a key that is a section, a list or a dict, every number in it.
AT_LEAST_ONE = {
    "sim": "decimation iterations ls_iterations",
    "terrain": "levels variants length width stepping_stones.count",
    "camera": "update_interval",
    "height_scan": "shape",
    "teacher": "hidden_dims critic_hidden_dims scan_encoder_dims",
    "student": "latent_dim gru_hidden fusion_hidden",
    "ppo": "num_learning_epochs num_mini_batches",
    "distill": "interval steps_per_env mini_batches epochs bptt_steps",
    "runner": "num_steps_per_env max_iterations save_interval",
}
POSITIVE = {
    "sim": "dt",
    "robot": "action_scale",
    "terrain": (
        "steps.length gaps.length hurdles.thickness hurdles.spacing stairs.run stepping_stones.size "
        "stepping_stones.width ramps.length beams.width beams.length"
    ),
    "camera": "horizontal_fov_degrees near",
    "height_scan": "clip",
    "commands": "waypoint_radius",
    "observations": "clip clip_actions",
    "rewards": "tracking_sigma yaw_sigma gait_period air_time_target",
    "randomization": "friction motor_strength stiffness damping",
    "env": "episode_length_s",
    "teacher": "init_noise_std depth_gain",
    "ppo": "clip_param learning_rate max_grad_norm desired_kl",
    "distill": "encoder_learning_rate actor_learning_rate max_grad_norm",
}
NOT_NEGATIVE = {
    "": "seed terminations",
    "sim": "threads nconmax njmax",
    "robot": "stiffness damping armature",
    "terrain": "seed flat steps gaps hurdles stairs stepping_stones ramps beams",
    "curriculum": "start_level demote",
    "camera": "latency position_noise rotation_noise_degrees depth_noise",
    "commands": "forward_speed heading_gain max_yaw_rate",
    "observations": "noise",
    "rewards": "swing_height edge_distance edge_height",
    "randomization": (
        "full_at_level mass_offset push_interval push_velocity action_latency initial_yaw initial_joint_pos"
    ),
    "ppo": "value_loss_coef entropy_coef",
    "distill": "start feature_loss_weight",
    "runner": "keep_checkpoints",
}
SHARES = {
    "robot": "soft_limit",
    "curriculum": "promote",
    "camera": "dropout",
    "rewards": "stance_share marching_share",
    "ppo": "gamma lam",
    "distill": "beta beta_decay",
}
LARGEST = 1e9
"""Of all numbers but those in ``AT_MOST``: what is larger is a slip, and overflows somewhere later."""
AT_LEAST = {
    "sim.dt": 1e-5,
    "terrain.waypoints": 3,
    "camera.resolution": 10,  # what the depth encoder leaves a pixel of
}
AT_MOST = {
    "seed": 2**63 - 1,
    "terrain.length": 1000,
    "terrain.levels": 1000,
    "terrain.variants": 1000,
    "terrain.stepping_stones.count": (MAX_BOXES - 2) // 2,  # two rows, and the platforms before and after them
    "terrain.ramps.tilt_degrees": 60,
}
ORDERED = {
    "height_scan": "x y",
    "commands": "forward_speed",
    "randomization": "friction added_mass motor_strength stiffness damping action_latency",
}
PAIRS = {"camera": "resolution", "height_scan": "shape"}
NOT_EMPTY = ("teacher.hidden_dims", "teacher.critic_hidden_dims", "teacher.scan_encoder_dims")
EACH_ONCE = ("observations.others", "robot.joints", "robot.feet", "robot.no_contact_bodies")
TERRAIN_KINDS = tuple(name for name, value in vars(TerrainConfig()).items() if dataclasses.is_dataclass(value))


def validate(config: Config) -> None:
    """Raise :class:`UserError` at the first value that is not allowed."""
    for key, value in _numbers("", config):
        _require(math.isfinite(value), key, "a finite number", value)
        _require(key in AT_MOST or abs(value) <= LARGEST, key, f"a number from {-LARGEST:g} to {LARGEST:g}", value)
    for rule, wanted, table in (
        (lambda x: x >= 1, ">= 1", AT_LEAST_ONE),
        (lambda x: x > 0, "> 0", POSITIVE),
        (lambda x: x >= 0, ">= 0", NOT_NEGATIVE),
        (lambda x: 0 <= x <= 1, "from 0 to 1", SHARES),
    ):
        for key in keys_of(table):
            for name, value in _numbers(key, get(config, key)):
                _require(rule(value), name, f"a number {wanted}", value)
    for bounds, sign, wanted in ((AT_LEAST, 1, ">="), (AT_MOST, -1, "<=")):
        for key, bound in bounds.items():
            for name, value in _numbers(key, get(config, key)):
                _require(sign * value >= sign * bound, name, f"a number {wanted} {bound}", value)
    for key, choices in CHOICES.items():
        if get(config, key) not in choices:
            raise unknown(key, get(config, key), choices)
    _check_names(config)
    _check_lists(config)
    _check_combinations(config)


def keys_of(table: dict[str, str]) -> list[str]:
    """Return the full keys that a table of rules names."""
    return [f"{section}.{key}" if section else key for section, keys in table.items() for key in keys.split()]


def get(config: Any, key: str) -> Any:
    """Return the value of a dotted ``key``."""
    for name in key.split("."):
        config = getattr(config, name)
    return config


def _require(condition: bool, key: str, wanted: str, value: Any) -> None:
    if not condition:
        raise UserError(f"{key}: expected {wanted}, got {value!r}")


def _numbers(key: str, value: Any) -> Iterator[tuple[str, float]]:
    """Yield each number in ``value`` (a section, a list, a dict or a number itself) with its full key."""
    if dataclasses.is_dataclass(value):
        for field in dataclasses.fields(value):
            yield from _numbers(f"{key}.{field.name}" if key else field.name, getattr(value, field.name))
    elif isinstance(value, dict):
        for name, item in value.items():
            yield from _numbers(f"{key}.{name}", item)
    elif isinstance(value, list):
        for i, item in enumerate(value):
            yield from _numbers(f"{key}[{i}]", item)
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        yield key, value


def _check_names(config: Config) -> None:
    num_envs = config.env.num_envs
    is_count = isinstance(num_envs, int) and not isinstance(num_envs, bool) and num_envs >= 1
    _require(is_count or num_envs == "auto", "env.num_envs", "a whole number >= 1, or auto", num_envs)
    for key in DEVICES:
        wanted = "auto, cpu or cuda:N"
        _require(re.fullmatch(r"auto|cpu|cuda(:\d+)?", get(config, key)) is not None, key, wanted, get(config, key))
    for key in FOLDER_NAMES:
        wanted = "letters, digits, '.', '_' and '-' (it names a folder)"
        _require(re.fullmatch(r"(\w[\w.-]*)?", get(config, key)) is not None, key, wanted, get(config, key))


def _check_lists(config: Config) -> None:
    for key in keys_of(PAIRS) + keys_of(ORDERED):
        _require(len(get(config, key)) == 2, key, "two values", get(config, key))
    for key in keys_of(ORDERED):
        low, high = get(config, key)
        _require(low <= high, key, "[low, high] with low <= high", [low, high])
    for key in NOT_EMPTY:
        _require(len(get(config, key)) > 0, key, "one number at least", get(config, key))
    for key in EACH_ONCE:
        names = get(config, key)
        _require(len(set(names)) == len(names), key, "each name once", names)
    _require(len(config.camera.position) == 3, "camera.position", "three values", config.camera.position)
    for kind in TERRAIN_KINDS:
        section = get(config, f"terrain.{kind}")
        for field in dataclasses.fields(section):
            value = getattr(section, field.name)
            if isinstance(value, list):
                key = f"terrain.{kind}.{field.name}"
                _require(len(value) == 2, key, "two values, at difficulty 0 and at difficulty 1", value)


def _check_combinations(config: Config) -> None:
    if not any(get(config, f"terrain.{kind}").proportion > 0 for kind in TERRAIN_KINDS):
        raise UserError("terrain: expected a proportion > 0 for one kind at least, got none")
    if config.camera.far <= config.camera.near:
        raise UserError(f"camera.far: expected more than camera.near = {config.camera.near}, got {config.camera.far}")
    if not 0 < config.camera.horizontal_fov_degrees < 180:
        raise UserError(
            "camera.horizontal_fov_degrees: expected a number from 0 to 180, "
            f"got {config.camera.horizontal_fov_degrees}"
        )
    if config.curriculum.start_level >= config.terrain.levels:
        raise UserError(
            f"curriculum.start_level: expected a level below terrain.levels = {config.terrain.levels}, "
            f"got {config.curriculum.start_level}"
        )
    if not config.camera.enabled:
        if config.teacher.kind == "depth":
            raise UserError("teacher.kind: expected another teacher than 'depth' with camera.enabled=false")
        if config.distill.enabled:
            raise UserError("distill.enabled: expected false with camera.enabled=false: the student needs the camera")
    if config.teacher.kind == "scandots" and not config.env.scandots:
        raise UserError("env.scandots: expected true with teacher.kind=scandots")

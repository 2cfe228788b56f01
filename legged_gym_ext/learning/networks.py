"""The networks of PPO, in rsl_rl's words."""

from __future__ import annotations

from typing import Any

from legged_gym_ext.config.schema import Config, TeacherConfig
from legged_gym_ext.groups import DEPTH, PRIVILEGED, PROPRIO, SCAN

SEES = {"depth": DEPTH, "scandots": SCAN}
"""The observation group that shows the terrain to a teacher of each kind."""


def actor_groups(config: Config, kind: str) -> list[str]:
    """Return what a teacher of that ``kind`` reads."""
    return [PROPRIO, SEES[kind], *config.observations.others]


def critic_groups(config: Config) -> list[str]:
    """Return what the critic reads."""
    scan = [SCAN] if config.height_scan.enabled else []
    return [PROPRIO, *config.observations.others, PRIVILEGED, *scan]


def actor(config: Config, kind: str, bfloat16: bool = False) -> dict[str, Any]:
    """Return class and arguments of a teacher.

    Args:
        config: The run's configuration, checked (rules.py).
        kind: Of ``teacher.kind``.
        bfloat16: Whether a depth teacher multiplies images in bfloat16.
    """
    teacher = config.teacher
    arguments = {
        **_common(teacher),
        "hidden_dims": list(teacher.hidden_dims),
        "distribution_cfg": {
            "class_name": "legged_gym_ext.models.distribution:ActionDistribution",
            "init_std": teacher.init_noise_std,
        },
    }
    if kind == "depth":
        return arguments | {
            "class_name": "legged_gym_ext.models.teacher:DepthTeacher",
            "mixed_precision": bfloat16,
            "image_shape": list(config.camera.resolution),
            "depth_gain": teacher.depth_gain,
            "depth_block": teacher.depth_block,
        }
    return arguments | {
        "class_name": "legged_gym_ext.models.teacher:ScandotsTeacher",
        "latent_dim": config.student.latent_dim,
        "scan_encoder_dims": list(teacher.scan_encoder_dims),
    }


def critic(config: Config) -> dict[str, Any]:
    """Return class and arguments of the critic."""
    teacher = config.teacher
    return {"class_name": "MLPModel", "hidden_dims": list(teacher.critic_hidden_dims), **_common(teacher)}


def _common(teacher: TeacherConfig) -> dict[str, Any]:
    return {"activation": teacher.activation, "obs_normalization": teacher.normalize_observations}

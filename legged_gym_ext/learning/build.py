"""Our configuration in rsl_rl's words."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from legged_gym_ext.config.schema import Config
from legged_gym_ext.models.actor import DEPTH, PROPRIO, SCAN


def rsl_rl_config(config: Config, bfloat16: bool = False) -> dict[str, Any]:
    """Return the dictionary that rsl_rl's OnPolicyRunner and PPO are constructed from.

    Args:
        config: The run's configuration, checked (rules.py).
        bfloat16: Whether the depth teacher multiplies images in bfloat16.
    """
    teacher = config.teacher
    common = {"activation": teacher.activation, "obs_normalization": teacher.normalize_observations}
    actor = {
        **common,
        "hidden_dims": list(teacher.hidden_dims),
        "distribution_cfg": {
            "class_name": "legged_gym_ext.models.distribution:ActionDistribution",
            "init_std": teacher.init_noise_std,
        },
    }
    if teacher.kind == "depth":
        sees = DEPTH
        actor |= {
            "class_name": "legged_gym_ext.models.teacher:DepthTeacher",
            "mixed_precision": bfloat16,
            "depth_gain": teacher.depth_gain,
        }
    else:
        sees = SCAN
        actor |= {
            "class_name": "legged_gym_ext.models.teacher:ScandotsTeacher",
            "latent_dim": config.student.latent_dim,
            "scan_encoder_dims": list(teacher.scan_encoder_dims),
        }
    algorithm = {"class_name": "legged_gym_ext.learning.phases.ppo:ParkourPPO", **asdict(config.ppo)}
    del algorithm["symmetry"]  # rsl_rl's needs the environment: the runner adds it
    others = list(config.observations.others)
    scan = [SCAN] if config.height_scan.enabled else []
    return {
        "num_steps_per_env": config.runner.num_steps_per_env,
        "save_interval": config.runner.save_interval,
        "run_name": config.run_name,
        "logger": rsl_rl_logger(config),
        "obs_groups": {
            "actor": [PROPRIO, sees, *others],
            "critic": [PROPRIO, *others, "privileged", *scan],
            **({"student": [PROPRIO, DEPTH, *others]} if config.distill.enabled else {}),
        },
        "actor": actor,
        "critic": {"class_name": "MLPModel", "hidden_dims": list(teacher.critic_hidden_dims), **common},
        "algorithm": algorithm,
    }


def rsl_rl_logger(config: Config) -> dict[str, Any] | str | None:
    """Return what rsl_rl makes its log writer from; None = no log."""
    match config.runner.logger:
        case "tensorboard":
            return "tensorboard"
        case "wandb":
            return {"class_name": "WandbLogWriter", "project_name": config.runner.wandb_project}
        case _:
            return None

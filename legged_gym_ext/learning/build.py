"""Before anything is built: our configuration in rsl_rl's words, and whether the memory suffices."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

import torch
from tensordict import TensorDict

from legged_gym_ext.config.schema import CameraConfig, Config, TeacherConfig
from legged_gym_ext.device import memory
from legged_gym_ext.groups import DEPTH
from legged_gym_ext.learning import networks
from legged_gym_ext.learning.phases.ppo import TeacherPPO, rsl_rl_ppo


def rsl_rl_config(config: Config, bfloat16: bool = False) -> dict[str, Any]:
    """Return the dictionary that rsl_rl's OnPolicyRunner and ParkourPPO are constructed from.

    Args:
        config: The run's configuration, checked (rules.py).
        bfloat16: Whether images are stored, and multiplied by the depth teacher, in bfloat16.
    """
    algorithm = {
        "class_name": "legged_gym_ext.learning.phases.ppo:ParkourPPO",
        **rsl_rl_ppo(config.ppo),
        "symmetry": config.ppo.symmetry,
    }
    return {
        "num_steps_per_env": TeacherPPO.steps(config) if TeacherPPO.learns(config) else 0,
        "save_interval": config.runner.save_interval,
        "bfloat16": bfloat16,
        "run_name": config.run_name,
        "obs_groups": {
            "actor": networks.actor_groups(config, config.teacher.kind),
            "critic": networks.critic_groups(config),
            **({"student": networks.actor_groups(config, "depth")} if config.distill.enabled else {}),
        },
        "actor": networks.actor(config, config.teacher.kind, bfloat16),
        "critic": networks.critic(config),
        "algorithm": algorithm,
    }


def require_layers(teacher: TeacherConfig, device: torch.device | str) -> None:
    """Raise a UserError where the hidden layers of teacher and critic are too large for the device."""
    for key in ("hidden_dims", "critic_hidden_dims"):
        memory.require_layers(f"teacher.{key}", getattr(teacher, key), torch.device(device))


def require_memory(
    rollouts: Iterable[tuple[int, Collection[str]]],
    obs: TensorDict,
    camera: CameraConfig,
    num_envs: int,
    device: torch.device | str,
    bfloat16: bool = False,
) -> None:
    """Raise a UserError where the rollouts, as the storages keep them, are too large for the device.

    Args:
        rollouts: How many steps each of them has, and which observation groups are kept of them.
        obs: Observations by group, each (num_envs, size).
        camera: Says how often there is a new image; others are not kept.
        num_envs: Environments.
        device: Where the storages are.
        bfloat16: Whether images are kept in bfloat16.
    """
    bytes_per_env = 0.0
    for steps, groups in rollouts:
        for name in groups if steps else ():
            group = obs[name]
            kept = 1 + steps / camera.update_interval if name == DEPTH else steps
            dtype = torch.bfloat16 if name == DEPTH and bfloat16 else group.dtype
            assert dtype is not None
            bytes_per_env += kept * group.shape[-1] * dtype.itemsize
    memory.require("rollouts", int(bytes_per_env), num_envs, torch.device(device))

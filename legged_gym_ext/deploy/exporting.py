"""From a checkpoint to what goes into its folder: two rollouts in the training's environment."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch

from legged_gym_ext.config.files import load_saved_config
from legged_gym_ext.config.schema import Config
from legged_gym_ext.deploy.folder import CARD, Export
from legged_gym_ext.deploy.golden import GOLDEN_EPISODE, including, record, watch, with_margin
from legged_gym_ext.deploy.specification import Trained, action_of, camera_of, observations_of, specify, versions
from legged_gym_ext.envs.parkour_env import ParkourEnv
from legged_gym_ext.evaluation.rollout import overrides
from legged_gym_ext.runs.folder import CONFIG_FILE
from legged_gym_ext.runs.settle import seed_everything, settle, torch_device
from legged_gym_ext.tasks import get_factories
from legged_gym_ext.terrain.kinds import KINDS

ROBOTS = 2
"""On each kind of terrain at each level, to see what targets there are."""


def export(config: Config, checkpoint: Path, changes: Sequence[str] = ()) -> Export:
    """Let a checkpoint's student walk, and return what its folder is made of.

    Args:
        config: The run's own configuration.
        checkpoint: The file, in the run's folder.
        changes: Of how the rollouts are computed, ``section.key=value``.

    Raises:
        UserError: There is no trained student.
    """
    levels = config.terrain.levels
    walk = [f"env.num_envs={ROBOTS * len(KINDS) * levels}", *changes]
    with rollout_env(checkpoint, walk) as (env, own):
        runner = get_factories(config.task).make_runner(env, own, None, torch_device(own.runner.device))
        saved = runner.load(str(checkpoint), resume=False)
        student = runner.student_to_export()
        robot = env.robot
        table, action = observations_of(config, robot, student), action_of(config, robot)
        seen = watch(env, student, levels, table, action)
    period = config.sim.dt * config.sim.decimation
    time = (GOLDEN_EPISODE - 0.5) * period  # rounded up to whole steps
    few = [*changes, f"env.num_envs={len(KINDS)}", f"env.episode_length_s={time}"]
    with rollout_env(checkpoint, few) as (env, _):
        golden = record(env, student, (levels + 1) // 2, table, camera_of(config))
    trained = Trained(
        task=config.task,
        run=checkpoint.parent.name,
        checkpoint=checkpoint.stem,
        iterations=runner.iteration,
        environment_steps=runner.total_steps,
        engine=saved["sim"]["engine"],
        seed=saved["seed"],
        versions=versions(),
    )
    safety = with_margin(including(seen, golden, action, period), robot, action)
    specification = specify(config, robot, student, safety, seen.commands, trained)
    return Export(student, specification, golden, seen, robot.urdf, checkpoint.parent / CARD)


@contextmanager
def rollout_env(checkpoint: Path, changes: Sequence[str]) -> Iterator[tuple[ParkourEnv, Config]]:
    """Give a run's environment without disturbances, at any commanded speed that was trained, and its configuration."""
    speeds = "commands.full_at_level=0"
    given = [*overrides(None, randomize=False), speeds, "terrain.variants=2", "runner.device=cpu", *changes]
    config = settle(load_saved_config(checkpoint.parent / CONFIG_FILE, given))
    seed_everything(config.seed)
    env = get_factories(config.task).make_env(config, config.env.num_envs, torch.device(config.sim.device))
    try:
        yield env, config
    finally:
        env.close()

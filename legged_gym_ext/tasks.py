"""The task registry: name -> configuration file, environment, runner.

Every ``configs/<name>.yaml`` is a task of that name. :func:`register` adds tasks with an environment or a runner of
their own. Heavy modules are imported when a task is built, so that ``--help`` and errors are quick.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from legged_gym_ext import paths
from legged_gym_ext.errors import UserError, unknown

if TYPE_CHECKING:
    import torch

    from legged_gym_ext.config.schema import Config
    from legged_gym_ext.envs.parkour_env import ParkourEnv
    from legged_gym_ext.learning.runner import ParkourRunner

    EnvFactory = Callable[[Config, int, torch.device], ParkourEnv]
    RunnerFactory = Callable[[ParkourEnv, Config, Path | None, torch.device], ParkourRunner]

E = TypeVar("E")
DEFAULT_TASK = "parkour_depth"
YAML_SUFFIXES = (".yaml", ".yml")


def parkour_env(config: Config, num_envs: int, device: torch.device) -> ParkourEnv:
    """Build the parkour environment."""
    from legged_gym_ext.envs.parkour_env import ParkourEnv

    return ParkourEnv(config, num_envs, device)


def parkour_runner(env: ParkourEnv, config: Config, log_dir: Path | None, device: torch.device) -> ParkourRunner:
    """Build the runner that trains teacher and student; ``log_dir`` None = nothing is written."""
    from legged_gym_ext.learning.runner import ParkourRunner

    return ParkourRunner(env, config, log_dir, str(device))


@dataclass(frozen=True)
class Factories:
    """What builds a task's environment and its runner."""

    make_env: EnvFactory = parkour_env
    make_runner: RunnerFactory = parkour_runner


_registered: dict[str, tuple[Path, Factories]] = {}


def register(
    name: str,
    yaml: str | Path,
    make_env: EnvFactory = parkour_env,
    make_runner: RunnerFactory = parkour_runner,
) -> None:
    """Add a task, or replace the one of that name."""
    _registered[name] = paths.resolve(yaml), Factories(make_env, make_runner)


def task_names() -> list[str]:
    """Return the names of all tasks, sorted."""
    return sorted({path.stem for path in paths.CONFIGS.glob("*.yaml")} | set(_registered))


def find_yaml(task: str) -> Path:
    """Return the configuration file of ``task``: a name, or the path of a YAML file.

    Raises:
        UserError: there is no such task or file.
    """
    if task in _registered:
        return _registered[task][0]
    if Path(task).suffix in YAML_SUFFIXES:
        path = paths.resolve(task)
        if not path.is_file():
            raise UserError(f"no such task file '{task}'; give a YAML file or one of: {', '.join(task_names())}")
        return path
    if task not in task_names():
        raise unknown("task", task, task_names())
    return paths.CONFIGS / f"{task}.yaml"


def get_factories(task: str) -> Factories:
    """Return what builds ``task``: the registered factories, or the parkour environment and runner."""
    return _registered[task][1] if task in _registered else Factories()


@contextmanager
def closing(env: E) -> Iterator[E]:
    """Close ``env`` when the context ends, however it ends. A task's own environment may have no ``close()``."""
    try:
        yield env
    finally:
        close = getattr(env, "close", None)
        if close:
            close()

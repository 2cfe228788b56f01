"""A training that takes seconds and goes through everything, begun, gone on with and compared."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from legged_gym_ext import paths
from legged_gym_ext.commands import train
from legged_gym_ext.config.cli import make_parser, parse
from legged_gym_ext.config.files import load_config
from legged_gym_ext.errors import exit_code_and_line
from legged_gym_ext.runs.checkpoint import load_checkpoint
from legged_gym_ext.runs.folder import checkpoint_numbers, find_checkpoint
from legged_gym_ext.runs.settle import settle
from legged_gym_ext.tasks import get_factories

ITERATIONS = 8
_FLAGS = """
    --task=parkour_depth --num_envs=4 --sim=mujoco --rl_device=cpu sim.mujoco.threads=1 camera.resolution=[16,16]
    terrain.levels=2 terrain.variants=1 teacher.hidden_dims=[16] teacher.critic_hidden_dims=[16] teacher.depth_block=1
    runner.num_steps_per_env=8 runner.save_interval=1 runner.keep_checkpoints=2
    guide.iterations=1 guide.rounds=2 guide.steps_per_env=8 guide.mini_batches=2
    distill.start=1 distill.interval=2 distill.steps_per_env=8 distill.bptt_steps=4
"""


def warm_up() -> None:
    """Import what a training needs, so that processes forked from this one begin at once."""
    from legged_gym_ext.envs import parkour_env  # noqa: F401
    from legged_gym_ext.learning import runner  # noqa: F401
    from legged_gym_ext.sensors.kernels import cpu_numba  # noqa: F401
    from legged_gym_ext.simulators.mujoco import engine  # noqa: F401


def start(logs: Path, prepare: Callable[[], None] = lambda: None) -> int:
    """Train in a process of its own, and return its number: on from the newest checkpoint in ``logs``, if there is one.

    Args:
        logs: Folder of this training's runs; what the process prints is added to ``logs``/console.
        prepare: What the process does first.
    """
    logs.mkdir(parents=True, exist_ok=True)
    newest = newest_checkpoint(logs)
    done = 0 if newest is None else int(newest.stem.partition("_")[2])
    resume = [] if newest is None else ["--resume", f"--load_run={newest.parent}"]
    number = os.fork()
    if number:
        return number
    code = 1
    with contextlib.suppress(BaseException):
        console = os.open(logs / "console", os.O_CREAT | os.O_WRONLY | os.O_APPEND)
        os.dup2(console, 1)
        os.dup2(console, 2)
        sys.stdout, sys.stderr = (os.fdopen(descriptor, "w") for descriptor in (1, 2))
        torch.set_num_threads(1)
        paths.LOGS = logs
        prepare()
        try:
            train.main([*_FLAGS.split(), *resume, f"--max_iterations={ITERATIONS - done}"])
            code = 0
        except BaseException as error:
            code, line = exit_code_and_line(error)
            print(line)
            if code == 1:
                import traceback

                traceback.print_exc()
        sys.stdout.flush()
    os._exit(code)


def runner() -> Any:
    """Return the runner of such a training, which writes nothing."""
    config = settle(load_config("parkour_depth", parse(make_parser(""), _FLAGS.split()).overrides))
    env = get_factories(config.task).make_env(config, config.env.num_envs, torch.device("cpu"))
    return get_factories(config.task).make_runner(env, config, None, torch.device("cpu"))


def newest_checkpoint(logs: Path) -> Path | None:
    """Return the checkpoint that got furthest, None where there is none. Damaged ones may not be."""
    found = {}
    for run in logs.glob("*/*/"):
        if numbers := checkpoint_numbers(run):
            path = find_checkpoint(run)
            assert path == run / f"model_{numbers[-1]}.pt", f"{run}/model_{numbers[-1]}.pt is damaged"
            found[numbers[-1]] = path
    return found[max(found)] if found else None


def leftovers(logs: Path) -> list[Path]:
    """Return files that nobody can want."""
    wanted = ("config.yaml", "recording.json", "origin.json", "console")
    return [
        path
        for path in logs.rglob("*")
        if path.is_file()
        and path.name not in wanted
        and path.parent.name != "git"
        and not path.name.startswith(("model_", "events.out."))
    ]


def differences(ours: Path, theirs: Path) -> list[str]:
    """Return what differs between two checkpoints but for their configurations: names of tensors and numbers."""
    first, second = (_flat(load_checkpoint(path)) for path in (ours, theirs))
    names = [name for name in first.keys() | second.keys() if not name.startswith("/config/")]
    return sorted(name for name in names if not _same(first.get(name), second.get(name)))


def _same(ours: Any, theirs: Any) -> bool:
    if isinstance(ours, Tensor) and isinstance(theirs, Tensor):
        return ours.dtype == theirs.dtype and torch.equal(ours, theirs)
    return type(ours) is type(theirs) and ours == theirs


def _flat(content: Any, name: str = "") -> dict[str, Any]:
    if isinstance(content, dict):
        items = content.items()
    elif isinstance(content, list | tuple):
        items = enumerate(content)
    else:
        return {name: content}
    return {leaf: value for key, item in items for leaf, value in _flat(item, f"{name}/{key}").items()}

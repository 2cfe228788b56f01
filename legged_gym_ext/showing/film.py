"""Films policies of a training, in a process of its own: ``python -m legged_gym_ext.showing.film FOLDER``.

It takes what little of the processor the training leaves it, and no GPU but to draw, and ends when the training does.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import threading
import time
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from legged_gym_ext.config.cli import main_guard
from legged_gym_ext.errors import UserError
from legged_gym_ext.showing.job import Film, Job, get_on, unfinished, write_rates

if TYPE_CHECKING:
    import torch
    from rsl_rl.models import MLPModel

    from legged_gym_ext.envs.parkour_env import ParkourEnv

_LOOK = 1.0  # s from one look at whether the training is still there to the next
NO_OPENGL = "no OpenGL works here without a display (EGL and OSMesa were tried)"
_ON_THE_CPU = (
    "sim.engine=mujoco",
    "sim.device=cpu",
    "sim.mujoco.threads=1",
    "runner.device=cpu",
    "runner.precision=auto",
)
"""Changes to the training's configuration that keep it off the training's GPU and cores. A state of the robot is drawn
alike, whatever engine it comes from."""


def main(argv: list[str]) -> None:
    """Write the films of the job in a folder.

    Raises:
        UserError: There is no OpenGL, or a film cannot be written.
    """
    folder = Path(argv[0])
    job = Job.read(folder)
    be_last()
    threading.Thread(target=_end_with, args=(job.parent, folder), daemon=True).start()

    from legged_gym_ext.rendering.opengl import choose_backend

    if not choose_backend():  # before MuJoCo is imported
        raise UserError(NO_OPENGL)
    film_all(job, folder)


def be_last() -> None:
    """Have all other processes go first, where there is something to be shared.

    The scheduler compares within a session (Linux: autogroup), so the process must be of the training's.
    """
    os.nice(19)
    if hasattr(os, "SCHED_IDLE"):  # Linux
        with contextlib.suppress(OSError):  # some containers forbid it
            os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000", "utf-8")  # the first to go where memory runs out


def film_all(job: Job, folder: Path) -> None:
    """Film one policy after the other."""
    import torch

    from legged_gym_ext.config.files import load_saved_config
    from legged_gym_ext.evaluation import rollout
    from legged_gym_ext.runs.folder import CONFIG_FILE, find_checkpoint
    from legged_gym_ext.runs.settle import seed_everything, settle, torch_device
    from legged_gym_ext.tasks import get_factories

    torch.set_num_threads(1)
    each = partial(get_on, folder)
    each()  # what is imported takes a while
    clips = max(len(film.clips) for film in job.films.values())
    changes = (*rollout.overrides(None, randomize=False), *_ON_THE_CPU, "terrain.variants=1", f"env.num_envs={clips}")
    config = settle(load_saved_config(folder / CONFIG_FILE, changes))
    rollout.hold_speed(config, ())
    seed_everything(config.seed)
    factories = get_factories(config.task)
    cpu = torch_device("cpu")
    rates = {}
    with closing(factories.make_env(config, clips, cpu)) as env:
        runner = factories.make_runner(env, config, None, cpu)
        runner.load(str(find_checkpoint(folder)), resume=False)
        each()
        for policy, film in job.films.items():
            network = runner.get_inference_policy(policy)
            rates[policy] = film_one(env, network, film, job.seconds, config.seed, cpu, each)
            write_rates(folder, rates)


def film_one(
    env: ParkourEnv,
    policy: MLPModel,
    film: Film,
    seconds: float,
    seed: int,
    device: torch.device,
    each: Callable[[], None],
) -> float:
    """Film a policy, all clips at once: the same starts each time. Return the frames per second.

    Args:
        env: The environment.
        policy: Who acts.
        film: What to write.
        seconds: Its length.
        seed: Of the starts.
        device: Of the policy.
        each: Called after each step and each frame.

    Raises:
        UserError: The film cannot be written.
    """
    import torch

    from legged_gym_ext.evaluation.rollout import play
    from legged_gym_ext.rendering.scene import RobotScene
    from legged_gym_ext.rendering.video import Recorder, write_video

    names = env.library.kinds
    places = [(names.index(kind), level) for kind, level in film.clips]
    places += places[:1] * (env.num_envs - len(places))
    kind, level = torch.tensor(places).unbind(dim=1)
    env.place(kind, level, torch.zeros_like(kind), seed)
    recorder = Recorder(env, range(len(film.clips)), seconds / len(film.clips), again=True)
    for step in play(env, policy, device):
        recorder.add(step.dones)
        each()
        if recorder.complete:
            break
    path = Path(film.path)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_video(unfinished(path), RobotScene(env.robot), recorder, film.title, each)
    os.replace(unfinished(path), path)
    return 1 / recorder.frame_time


def _end_with(parent: int, folder: Path) -> None:
    """Wait for the end of the process that asked; then leave nothing behind, and end at once, with all helpers."""
    while os.getppid() == parent:
        time.sleep(_LOOK)
    for film in Job.read(folder).films.values():
        unfinished(Path(film.path)).unlink(missing_ok=True)
    shutil.rmtree(folder, ignore_errors=True)
    if os.getpgrp() == os.getpid():
        os.killpg(0, signal.SIGKILL)
    os._exit(1)


if __name__ == "__main__":
    main_guard(main)

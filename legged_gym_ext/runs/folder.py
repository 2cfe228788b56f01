"""The folder of a training run: ``logs/<experiment>/<date>_<time>[_<run_name>]/`` with the run's ``config.yaml``."""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

from legged_gym_ext import paths
from legged_gym_ext.config.cli import LAST_RUN
from legged_gym_ext.config.files import load_saved_config, save_config
from legged_gym_ext.config.schema import Config
from legged_gym_ext.errors import UserError, unknown
from legged_gym_ext.processes.launch import from_rank_zero
from legged_gym_ext.processes.ranks import here
from legged_gym_ext.tasks import find_yaml

CONFIG_FILE = "config.yaml"


def experiment_folder(task: str, experiment_name: str) -> Path:
    """Return the folder that holds the runs of an experiment, which is named after the task where it has no name."""
    return paths.LOGS / (experiment_name or Path(task).stem)


def create_run_folder(config: Config, now: datetime | None = None) -> Path:
    """Make the folder of a new run, write the configuration into it, and return it.

    Folder names sort by time. No two runs of an experiment share a time: the later of two that start in the same
    second is given the next free second.

    Raises:
        UserError: the folder or the file cannot be written.
    """
    moment = now or datetime.now()
    experiment = experiment_folder(config.task, config.experiment_name)
    suffix = f"_{config.run_name}" if config.run_name else ""
    try:
        while True:
            stamp = moment.strftime("%Y-%m-%d_%H-%M-%S")
            folder = experiment / f"{stamp}{suffix}"
            if not any(experiment.glob(f"{stamp}*")):
                try:
                    folder.mkdir(parents=True)
                    break
                except FileExistsError:  # another process was faster
                    pass
            moment += timedelta(seconds=1)
    except OSError as error:
        raise UserError(f"cannot create a run folder in {experiment}: {error.strerror}") from error
    save_config(config, folder / CONFIG_FILE)
    return folder


@contextlib.contextmanager
def new_run_folder(config: Config) -> Iterator[Path]:
    """Make the folder of a new run, one for all ranks; take it away again where the context, on any rank, fails.

    Only what was made is taken away: if there is more in the folder by then, it stays.
    """
    from legged_gym_ext.processes.collectives import barrier  # imports torch

    folder = from_rank_zero(lambda: create_run_folder(config))
    try:
        yield folder
        barrier()  # raises where another rank failed
    except BaseException:
        with contextlib.suppress(OSError):  # what failed first is what is told
            if here().rank == 0 and {path.name for path in folder.iterdir()} == {CONFIG_FILE}:
                (folder / CONFIG_FILE).unlink()
                folder.rmdir()
        raise


def find_saved(args: argparse.Namespace) -> tuple[Config, Path]:
    """Return a run's own configuration, with the command line's changes, and the path of its checkpoint.

    The run is ``--load_run``'s: a run's name, the path of a run's folder, or the last run that has a checkpoint; in the
    experiment that ``--experiment_name`` or ``--task`` names, else in any. The checkpoint is ``--checkpoint``'s.

    Raises:
        UserError: there is no such run or checkpoint.
    """
    from legged_gym_ext.runs.checkpoint import find_checkpoint  # imports torch

    run = _find_run(args.load_run or LAST_RUN, args.task or "", args.experiment_name or "")
    checkpoint = find_checkpoint(run, args.checkpoint)
    return load_saved_config(run / CONFIG_FILE, args.overrides), checkpoint


def _find_run(load_run: str, task: str, experiment_name: str) -> Path:
    from legged_gym_ext.runs.checkpoint import checkpoint_numbers, find_run

    if (Path(load_run) / CONFIG_FILE).is_file():
        return Path(load_run)
    if task or experiment_name:
        experiment = experiment_folder(task, experiment_name)
        if task and not experiment.is_dir():
            find_yaml(task)  # raises where there is no such task
        return find_run(experiment, load_run)
    runs = [path.parent for path in paths.LOGS.glob(f"*/*/{CONFIG_FILE}")]
    if load_run == LAST_RUN:
        runs = [run for run in runs if checkpoint_numbers(run)]
        if not runs:
            raise UserError(f"no run with a checkpoint in '{paths.LOGS}'; train one first: python train.py")
        return max(runs, key=lambda run: run.name)
    for run in runs:
        if run.name == load_run:
            return run
    raise unknown("run", load_run, [run.name for run in runs])

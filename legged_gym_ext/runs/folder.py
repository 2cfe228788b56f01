"""The folder of a training run: ``logs/<experiment>/<date>_<time>[_<run_name>]/``.

In it are the run's ``config.yaml`` and its checkpoints, ``model_<iteration>.pt``.
"""

from __future__ import annotations

import argparse
import contextlib
import re
import sys
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

from legged_gym_ext import paths
from legged_gym_ext.config.cli import LAST_RUN
from legged_gym_ext.config.files import load_saved_config, save_config
from legged_gym_ext.config.schema import Config
from legged_gym_ext.errors import UserError, unknown
from legged_gym_ext.processes.join import from_rank_zero
from legged_gym_ext.processes.ranks import here
from legged_gym_ext.runs.intact import damage
from legged_gym_ext.tasks import find_yaml

CONFIG_FILE = "config.yaml"
_CHECKPOINT = re.compile(r"model_(\d+)\.pt")


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
    try:
        save_config(config, folder / CONFIG_FILE)
    except UserError:
        with contextlib.suppress(OSError):
            folder.rmdir()
            experiment.rmdir()  # if it has no other runs
        raise
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
                folder.parent.rmdir()  # the experiment's, if it has no other runs
        raise


def find_saved(args: argparse.Namespace) -> tuple[Config, Path]:
    """Return a run's own configuration, with the command line's changes, and the path of its checkpoint.

    The run is ``--load_run``'s: a run's name, the path of a run's folder, or the last run that has a checkpoint; in the
    experiment that ``--experiment_name`` or ``--task`` names, else in any; or ``--pretrained``, or what ``--wandb_run``
    downloads. The checkpoint is ``--checkpoint``'s.

    Raises:
        UserError: there is no such run or checkpoint.
    """
    given = [flag for flag in ("pretrained", "load_run", "wandb_run") if getattr(args, flag)]
    if len(given) > 1:
        raise UserError(f"{' and '.join(f'--{flag}' for flag in given)} both say what to load; give one of them")
    if args.wandb_run:
        from legged_gym_ext.runs.download import download

        wanted = str(download(args.wandb_run))
    else:
        wanted = str(paths.PRETRAINED) if args.pretrained else args.load_run or LAST_RUN
    run = find_run_folder(wanted, args.task or "", args.experiment_name or "")
    checkpoint = find_checkpoint(run, args.checkpoint)
    config = load_saved_config(run / CONFIG_FILE, args.overrides)
    if args.task and Path(args.task).stem != Path(config.task).stem:
        raise UserError(f"--task {args.task}: the run '{run}' is of the task {config.task}; leave out --task")
    return config, checkpoint


def results_folder(checkpoint: Path) -> Path:
    """Return where results about a checkpoint go: its run's folder, or one in ``logs/`` for what is not the user's."""
    run = checkpoint.parent.resolve()
    if run.is_relative_to(paths.POLICIES.resolve()):
        return paths.LOGS / run.name
    if run.is_relative_to(paths.DOWNLOADS.resolve()):
        return paths.LOGS / "_".join(run.parts[-2:])
    return checkpoint.parent


def checkpoint_name(iteration: int) -> str:
    """Return the name of the file that holds the state after ``iteration`` completed iterations."""
    return f"model_{iteration}.pt"


def checkpoint_numbers(run_dir: str | Path) -> list[int]:
    """Return the numbers of the checkpoints in a run folder, ascending."""
    names = (_CHECKPOINT.fullmatch(entry.name) for entry in Path(run_dir).iterdir())
    return sorted(int(match.group(1)) for match in names if match)


def prune_checkpoints(run_dir: str | Path, keep: int) -> None:
    """Delete all but the ``keep`` newest checkpoints of a run; 0 keeps all."""
    if keep > 0:
        for number in checkpoint_numbers(run_dir)[:-keep]:
            (Path(run_dir) / checkpoint_name(number)).unlink(missing_ok=True)


def find_run(experiment_dir: str | Path, load_run: str | int | None = None) -> Path:
    """Return a run's folder.

    Args:
        experiment_dir: Folder of the experiment's runs, whose names begin with their date and time.
        load_run: Name of the run; None or -1 = the one that saved a checkpoint last.

    Raises:
        UserError: Where there is no such run.
    """
    experiment_dir = Path(experiment_dir)
    runs = sorted(entry.name for entry in experiment_dir.iterdir() if entry.is_dir()) if experiment_dir.is_dir() else []
    if load_run is None or str(load_run) == "-1":
        trained = [experiment_dir / name for name in runs if checkpoint_numbers(experiment_dir / name)]
        if trained:
            return max(trained, key=_last_saved)
        raise UserError(f"no run with a checkpoint in '{experiment_dir}'; runs there: {', '.join(runs) or 'none'}")
    if load_run not in runs:
        raise unknown(f"run in '{experiment_dir}'", load_run, runs)
    return experiment_dir / str(load_run)


def find_checkpoint(run_dir: str | Path, number: int = -1) -> Path:
    """Return the path of a run's checkpoint ``number``; -1 = the newest that is intact, and a line tells of others.

    Raises:
        UserError: Where there is no such checkpoint, or where all are damaged.
    """
    numbers = checkpoint_numbers(run_dir) if Path(run_dir).is_dir() else []
    if not numbers:
        raise UserError(f"no checkpoint (model_<iteration>.pt) in '{run_dir}'")
    if number == -1:
        return _newest_intact(Path(run_dir), numbers)
    if number not in numbers:
        nearest = min(numbers, key=lambda existing: abs(existing - number))
        raise UserError(
            f"no checkpoint {number} in '{run_dir}' (nearest: {nearest}); there are: {', '.join(map(str, numbers))}"
        )
    return Path(run_dir) / checkpoint_name(number)


def _last_saved(run_dir: Path) -> tuple[int, str]:
    """Return what sorts runs that have checkpoints by when the last of them was saved, whatever the runs are called."""
    times = [(run_dir / checkpoint_name(number)).stat().st_mtime_ns for number in checkpoint_numbers(run_dir)]
    return max(times), run_dir.name


def _newest_intact(run_dir: Path, numbers: list[int]) -> Path:
    """Return the path of the newest of these checkpoints that is as it was written."""
    damaged: list[str] = []
    for number in reversed(numbers):
        path = run_dir / checkpoint_name(number)
        if not (wrong := damage(path)):
            if damaged:
                print(f"{'; '.join(damaged)}; taking {path.name} instead", file=sys.stderr, flush=True)
            return path
        damaged.append(f"checkpoint '{path}' cannot be read: {wrong}")
    raise UserError("; ".join(damaged))


def all_runs() -> list[Path]:
    """Return the folders of all runs of all experiments."""
    return sorted(path.parent for path in paths.LOGS.glob(f"*/*/{CONFIG_FILE}"))


def find_run_folder(load_run: str, task: str = "", experiment_name: str = "") -> Path:
    """Return the folder of a run: a run's name, the path of a run's folder, or -1, the last one that has a checkpoint.

    Args:
        load_run: Says which.
        task: Only its runs, where it is not empty.
        experiment_name: Only that experiment's runs, where it is not empty.

    Raises:
        UserError: There is no such run.
    """
    if (Path(load_run) / CONFIG_FILE).is_file():
        return Path(load_run)
    if task or experiment_name:
        experiment = experiment_folder(task, experiment_name)
        if task and not experiment.is_dir():
            find_yaml(task)  # raises where there is no such task
        return find_run(experiment, load_run)
    runs = all_runs()
    if load_run == LAST_RUN:
        runs = [run for run in runs if checkpoint_numbers(run)]
        if not runs:
            raise UserError(f"no run with a checkpoint in '{paths.LOGS}'; train one first: python train.py")
        return max(runs, key=_last_saved)
    for run in runs:
        if run.name == load_run:
            return run
    raise unknown("run", load_run, [run.name for run in runs])

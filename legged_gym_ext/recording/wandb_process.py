"""The process that talks to Weights & Biases: ``python -m legged_gym_ext.recording.wandb_process DESCRIPTOR``.

W&B's library waits for networks, ends programs (``sys.exit``) and hangs with its own service process. Here it may: the
training, which started this process, only sends entries, and starts another one where this one ends.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import wandb

from legged_gym_ext.errors import reason_of
from legged_gym_ext.recording.entries import ITERATION, Alert, Best, Checkpoint, Entry, Scalars, Shown
from legged_gym_ext.recording.media import Histogram, Image, Medium, Page, Table, Video
from legged_gym_ext.recording.wandb_start import LEAST_SPACE, Close, Done, Failed, Opened, Start, artifact_name

INIT_PATIENCE, FINISH_PATIENCE = 30.0, 270.0
"""Seconds to wait for the network, at the beginning and at the end."""


def main(connection: Connection) -> None:
    """Answer requests until the run is closed, something fails, or whoever asks is gone."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):  # the training's end is this process's
        signal.signal(number, signal.SIG_IGN)
    run: WandbRun | None = None
    try:
        while True:
            match request := connection.recv():
                case Start():
                    run = WandbRun(request)
                    reply = run.opened()
                case Close():
                    assert run is not None
                    connection.send(Done(run.finish(request.exit_code)))
                    return
                case _:
                    assert run is not None
                    reply = Done(run.write(request))
            connection.send(reply)
    except EOFError:
        if run is not None:
            run.finish(1)
    except BaseException as error:  # wandb raises SystemExit, too
        connection.send(Failed(reason_of(error)))
        os._exit(1)  # its exit handlers would wait for what has just failed


class WandbRun:
    """A W&B run.

    Raises:
        Exception: It cannot be begun.
    """

    def __init__(self, start: Start) -> None:
        self._start = start
        start.folder.mkdir(parents=True, exist_ok=True)
        self.run = wandb.init(
            mode="offline" if start.offline else None,
            resume=None if start.offline else "allow",
            id=start.run_id,
            name=start.name,
            project=start.project,
            entity=start.entity or None,
            group=start.group,
            job_type=start.job_type,
            tags=list(start.tags),
            notes=start.notes or None,
            config=dict(start.config),
            dir=str(start.folder),
            allow_val_change=True,
            settings=wandb.Settings(
                git_commit=start.commit or None,
                git_remote_url=start.remote or None,
                disable_git=not start.commit,
                silent=True,
                console="off",
                init_timeout=INIT_PATIENCE,
                finish_timeout=FINISH_PATIENCE,
                finish_timeout_raises=True,
                x_transaction_log_flush_interval=1.0,
                x_stats_pid=start.pid,
            ),
        )
        self.run.define_metric(ITERATION, hidden=True)
        self.run.define_metric("*", step_metric=ITERATION)
        for file in start.files:
            if file.is_file():
                self.run.save(str(file), base_path=str(start.folder), policy="now")

    def opened(self) -> Opened:
        """Return what there is to know of it."""
        run = self.run
        return Opened(run.entity or "", run.project or "", run.url or "", run.offline, self._folder)

    def write(self, entry: Entry) -> str:
        """Write an entry; return what had to be left out of it.

        Raises:
            Exception: W&B fails, or its files are gone, or the disk is full.
        """
        self._check_files()
        match entry:
            case Scalars():
                self.run.log({**entry.values, **entry.axes})
            case Shown():
                return self._show(entry)
            case Checkpoint():
                return self._keep(entry)
            case Alert():
                self.run.alert(entry.title, entry.text, level="WARN", wait_duration=0)
            case Best():
                self.run.summary.update({f"Best/{tag}": value for tag, value in entry.values.items()})
        return ""

    def finish(self, exit_code: int) -> str:
        """End it; return what could not be done: the network may be slow, or away."""
        try:
            self.run.finish(exit_code)
        except TimeoutError:
            return f"what could not be uploaded within {FINISH_PATIENCE:.0f} s"
        # W&B's service writes the last of the files while it ends. Whoever asked for that ends this process as soon as
        # it has the answer, before W&B's own exit handler could wait for its service.
        wandb.teardown(exit_code)
        return ""

    @property
    def _folder(self) -> Path:
        return Path(self.run.settings.sync_dir)

    def _check_files(self) -> None:
        """Raise an OSError where W&B's own service writes to nowhere, of which it tells nobody."""
        if self.run.disabled:
            return
        if not Path(self.run.settings.sync_file).is_file():
            raise FileNotFoundError(f"{self._folder} is gone")
        if shutil.disk_usage(self._folder).free < LEAST_SPACE:
            raise OSError("No space left on device")

    def _show(self, entry: Shown) -> str:
        """Write media; return what had to be left out."""
        found, left_out = {}, []
        for medium in entry.media:
            try:
                found[medium.tag] = _converted(medium)
            except (ValueError, TypeError, OSError) as error:
                left_out.append(f"{medium.tag}: {reason_of(error)}")
        if found:
            self.run.log({**found, **entry.axes})
        return "; ".join(left_out)

    def _keep(self, entry: Checkpoint) -> str:
        """Record a checkpoint as a version of the run's artifact."""
        if gone := [file.name for file in entry.files if not file.is_file()]:
            return f"{gone[0]}: the file is gone"
        artifact = wandb.Artifact(
            artifact_name(self.run.id), type="model", metadata={"iteration": int(entry.axes[ITERATION])}
        )
        for file in entry.files:
            artifact.add_file(str(file), name=file.name, policy="immutable" if entry.stays else "mutable")
        self.run.log_artifact(artifact, aliases=["latest", "best"] if entry.best else ["latest"])
        return ""


def _converted(medium: Medium) -> Any:
    """Return a medium as W&B has it."""
    match medium:
        case Image():
            return wandb.Image(medium.pixels)
        case Histogram():
            values = np.asarray(medium.values, dtype=np.float64)
            return wandb.Histogram(values[np.isfinite(values)])  # type: ignore[arg-type]
        case Table():
            return wandb.Table(
                columns=list(medium.columns), data=[list(row) for row in medium.rows], allow_mixed_types=True
            )
        case Video():
            return wandb.Video(str(medium.path), format="mp4")
        case Page():
            return wandb.Html(medium.html, inject=False)


if __name__ == "__main__":
    main(Connection(int(sys.argv[1])))

"""The log of a training: what it is given goes to TensorBoard's files, and to Weights & Biases."""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path

from legged_gym_ext.config.schema import Config
from legged_gym_ext.console import say
from legged_gym_ext.errors import UserError
from legged_gym_ext.recording import best, memory
from legged_gym_ext.recording.begin import begin_tensorboard
from legged_gym_ext.recording.entries import ENV_STEPS, HOURS, ITERATION, Alert, Best, Checkpoint, Entry, Scalars, Shown
from legged_gym_ext.recording.keeper import Keeper, Sink
from legged_gym_ext.recording.media import Medium
from legged_gym_ext.recording.tensorboard import TensorBoard
from legged_gym_ext.recording.wandb_sink import WandbSink
from legged_gym_ext.recording.wandb_start import Opened, Start
from legged_gym_ext.recording.watch import Watch
from legged_gym_ext.runs import code_state
from legged_gym_ext.runs.folder import CONFIG_FILE

PATIENCE = 330.0
"""Seconds to wait for what is not yet written when a training ends; W&B may have to upload checkpoints."""


class Recording:
    """Records a training. No call of it waits for a network, or fails because of that or of a disk.

    With ``runner.logger=wandb`` the curves are in TensorBoard's files, too: what reads a run's folder finds them there.

    Args:
        config: The run's, settled.
        folder: The run's; None = nothing is recorded.
    """

    def __init__(self, config: Config, folder: Path | None) -> None:
        self._config = config
        self.memory = memory.Memory()
        self._sinks: list[Sink] = []
        self._keepers: list[Keeper] = []
        if folder is not None and config.runner.logger != "none":
            self._folder = folder
            self.memory = memory.load(folder)
            self._sinks.append(TensorBoard(folder, begin=lambda writer: begin_tensorboard(writer, config)))
            if config.runner.logger == "wandb":
                self._sinks.append(WandbSink(self._start, self._opened))
        self._states: tuple[code_state.Repository, ...] = ()
        self._hours_before = 0.0
        self._began = time.monotonic()
        self._axes: dict[str, float] = {}
        self._newest: dict[str, float] = {}
        self._kept_at = 0
        """Iteration of the last checkpoint that W&B was given."""
        curriculum = config.terrain.levels - 1 if config.curriculum.enabled else 0
        self._watch = Watch(curriculum)

    def continues(self, folder: Path) -> None:
        """Go on with the log of a run that this one is resumed from: with its W&B run, or a new one in its group."""
        if not self._sinks or folder.resolve() == self._folder.resolve():
            return
        self.memory = memory.load(folder)
        if self._config.runner.wandb_resume == "new":
            self.memory.run_id = ""

    def open(self) -> None:
        """Begin."""
        self._began, self._hours_before = time.monotonic(), self.memory.hours
        self._keepers = [Keeper(sink) for sink in self._sinks]
        if not self._sinks:
            return
        self.memory.run_id = self.memory.run_id or secrets.token_hex(4)
        self.memory.group = self._config.runner.wandb_group or self.memory.group or self._folder.name
        self._states = code_state.at_start()
        self._store_code()
        self._remember()

    @property
    def hours(self) -> float:
        """Hours of training until now, over all runs that this one goes on with."""
        return self._hours_before + (time.monotonic() - self._began) / 3600

    def add(self, scalars: Mapping[str, float], step: int, turns: Mapping[str, Collection[str]] | None = None) -> None:
        """Record the scalars of a step, by tag; ``turns`` are the phases that ran in it, by their lane."""
        self._axes = self._axes_at(step) | {tag: scalars[tag] for tag in (ENV_STEPS, HOURS) if tag in scalars}
        self._put(Scalars(self._axes, scalars))
        self._newest |= scalars
        if best.improve(self.memory.best, scalars):
            self._put(Best(self._axes, dict(self.memory.best)))
        for title, text in self._watch.look(scalars, step, turns or {}) if self._sinks else ():
            say(f"alert: {title}: {text}")
            self._put(Alert(self._axes, title, text))

    def show(self, media: Sequence[Medium], step: int) -> None:
        """Record pictures, histograms, tables, films, of a step."""
        if media:
            self._put(Shown(self._axes_at(step), tuple(media)))

    def checkpoint(self, path: Path, step: int, last: bool = False) -> None:
        """Record that a checkpoint is written; W&B gets it, as often as configured, and the ``last`` one."""
        if not self._sinks:
            return
        self._remember()
        every = self._config.runner.wandb_checkpoint_every
        if not every or (step - self._kept_at < every and not last):
            return
        self._kept_at = step
        lane = "student" if self._config.distill.enabled or self._config.finetune.enabled else "teacher"
        quality = best.quality(self._newest, lane, self._config.runner.evaluate_every > 0)
        known = self.memory.best_checkpoint
        is_best = quality is not None and (known is None or quality > known)
        if is_best:
            self.memory.best_checkpoint = quality
            self._remember()
        stays = self._config.runner.keep_checkpoints == 0
        self._put(Checkpoint(self._axes_at(step), (path, path.parent / CONFIG_FILE), is_best, stays))

    def drain(self, patience: float) -> bool:
        """Wait until all is written, or for so many seconds; return whether it is."""
        return all(keeper.drain(patience) for keeper in self._keepers)

    def close(self, patience: float = PATIENCE) -> None:
        """End, when all is written or after so many seconds."""
        if self._keepers:
            self._remember()
        for keeper in self._keepers:
            keeper.close(patience)
        self._keepers = []

    def _axes_at(self, step: int) -> dict[str, float]:
        """Return where a step is: the environment steps and hours are those of the last iteration."""
        return {**self._axes, ITERATION: step}

    def _put(self, entry: Entry) -> None:
        for keeper in self._keepers:
            keeper.put(entry)

    def _remember(self) -> None:
        """Write what the next run of this training must know, if that can be done now."""
        self.memory.hours = self.hours
        memory.save(self.memory, self._folder)

    def _store_code(self) -> list[Path]:
        """Write the state of the code's repositories, if that can be done now; return the files."""
        try:
            return code_state.store(self._states, self._folder)
        except UserError:
            return []

    def _opened(self, opened: Opened) -> None:
        self.memory.entity, self.memory.project, self.memory.url = opened.entity, opened.project, opened.url

    def _start(self) -> Start:
        files = [self._folder / CONFIG_FILE, *self._store_code()]
        code = self._states[0] if self._states else None
        start = wandb_start(
            self._config,
            self._folder,
            self.memory.run_id,
            self._folder.name,
            self.memory.group,
            files=files,
            commit=code.commit if code else "",
            remote=code.remote if code else "",
        )
        return replace(start, entity=start.entity or self.memory.entity)  # a run that is gone on with may be a team's


def wandb_start(
    config: Config,
    folder: Path,
    run_id: str,
    name: str,
    group: str,
    job_type: str = "train",
    files: Sequence[Path] = (),
    commit: str = "",
    remote: str = "",
) -> Start:
    """Return what a W&B run of a configuration is made of; the arguments are its fields."""
    runner = config.runner
    return Start(
        folder=folder.absolute(),
        run_id=run_id,
        name=name,
        project=runner.wandb_project,
        entity=runner.wandb_entity,
        group=group,
        job_type=job_type,
        tags=tuple(runner.wandb_tags),
        notes=runner.wandb_notes,
        config=asdict(config),
        files=tuple(files),
        commit=commit,
        remote=remote,
        pid=os.getpid(),
        offline=runner.wandb_mode == "offline",
    )

"""What of a training is saved, and how it goes on from there."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from legged_gym_ext.config.files import save_config
from legged_gym_ext.console import say
from legged_gym_ext.errors import UserError
from legged_gym_ext.processes import collectives
from legged_gym_ext.processes.join import from_rank_zero
from legged_gym_ext.processes.ranks import here
from legged_gym_ext.runs.checkpoint import load_checkpoint, map_tensors, save_checkpoint
from legged_gym_ext.runs.folder import (
    CONFIG_FILE,
    checkpoint_name,
    checkpoint_numbers,
    find_checkpoint,
    prune_checkpoints,
)
from legged_gym_ext.runs.resume import keys_that_forbid_it, other_networks
from legged_gym_ext.simulators import ENGINES

if TYPE_CHECKING:
    from legged_gym_ext.learning.runner import ParkourRunner

PATIENCE, RETRY = 600.0, 5.0
"""Seconds for which, and after which each time, the end of a training tries to save where that fails."""
_LAYOUT = {"iteration": int, "total_steps": int, "config": dict, "phases": dict, "ranks": list}
"""What a checkpoint must have to be loaded."""


class Saving:
    """Saves a runner's training and loads it.

    A checkpoint has what all ranks have in common, that is the phases' states, and each rank's own: its environments
    and its random generators.

    Args:
        runner: Whose training.
    """

    def __init__(self, runner: ParkourRunner) -> None:
        self._runner = runner
        self._complete: dict[str, Any] | None = None
        """Of several ranks, on the first, or where the engine may end alone: what to write if one does."""
        self.overdue = False
        """Whether the last checkpoint that was to be saved could not be written."""

    def save(self, path: str | Path, infos: dict | None = None) -> None:
        """Write everything that decides how the training goes on; of several ranks, the first writes for all.

        Raises:
            UserError: On all ranks, where the file cannot be written.
        """
        states = collectives.gather(map_tensors(self.own_state(), Tensor.cpu))

        def write() -> str:
            try:
                save_checkpoint(self.content(states, infos), path)
            except UserError as error:
                return str(error)
            return ""

        if wrong := from_rank_zero(write):
            raise UserError(wrong)

    def save_numbered(self, last: bool = False) -> Path | None:
        """Save the run's checkpoint of this iteration, its ``last`` one or not; delete those that need not be kept.

        Raises:
            UserError: Where it cannot be written.
        """
        folder = self._runner.log_dir
        if folder is None:
            return None
        path = folder / checkpoint_name(self._runner.iteration)
        self.save(path)
        if here().rank == 0:
            prune_checkpoints(folder, self._runner.config.runner.keep_checkpoints)
            if not (folder / CONFIG_FILE).exists():  # somebody deleted the folder
                save_config(self._runner.config, folder / CONFIG_FILE)
            self._runner.journal.recording.checkpoint(path, self._runner.iteration, last)
        self._tell("saved again", overdue=False)
        return path

    def newest(self) -> Path | None:
        """Return the run's newest intact checkpoint, None where it has none."""
        folder = self._runner.log_dir
        if folder is None or not folder.is_dir() or not checkpoint_numbers(folder):
            return None
        return find_checkpoint(folder)

    def try_numbered(self) -> None:
        """Do that; where it cannot be written, say so and be :attr:`overdue`."""
        try:
            self.save_numbered()
        except UserError as error:
            self._tell(f"{error}; the training goes on, and tries again after each iteration", overdue=True)

    def insist_numbered(self) -> Path | None:
        """Do that, and wait for a disk that is full or away, for as long as :data:`PATIENCE`.

        Raises:
            UserError: Where it cannot be written even then.
        """
        until = time.monotonic() + PATIENCE
        while True:
            try:
                return self.save_numbered(last=True)
            except UserError as error:
                if time.monotonic() >= until:
                    raise
                retry = f"trying again for {PATIENCE / 60:.0f} minutes (Ctrl-C, perhaps twice: give up)"
                self._tell(f"{error}; {retry}", overdue=True)
                time.sleep(min(PATIENCE, RETRY))

    def _tell(self, line: str, overdue: bool) -> None:
        """Note whether a checkpoint is ``overdue`` now, and print the ``line`` where that has changed."""
        if overdue != self.overdue and here().rank == 0:
            say(line)
        self.overdue = overdue

    def remember(self) -> None:
        """Keep what to write if another process, a rank or the engine, fails before the next iteration is complete."""
        engine = ENGINES.get(self._runner.config.sim.engine)
        alone = here().size == 1 and not (engine and engine.own_process)
        if not alone and self._runner.log_dir is not None:
            others = [None] * (here().size - 1)  # gathering theirs in every iteration would take too long
            self._complete = map_tensors(self.content([self.own_state(), *others]), Tensor.clone)

    def rescue(self) -> str:
        """Write the last complete iteration's checkpoint because a rank, or the engine, failed; return what to tell."""
        if self._complete is None or self._runner.log_dir is None:
            return "no iteration was complete, so there is nothing to save"
        path = self._runner.log_dir / checkpoint_name(self._complete["iteration"])
        try:
            if not path.exists():
                save_checkpoint(self._complete, path)
        except UserError as error:
            return str(error)
        return f"saved {path}"

    def load(self, path: str | Path, resume: bool) -> dict[str, Any]:
        """Go on from a checkpoint; return its configuration. See :meth:`ParkourRunner.load`."""
        runner = self._runner
        states: list[dict[str, Any] | None] = []

        def read() -> tuple[dict[str, Any], int]:
            content = load_checkpoint(path)
            for name, kind in _LAYOUT.items():
                if not isinstance(content.get(name), kind):
                    raise UserError(f"checkpoint '{path}' cannot be read: its '{name}' is no {kind.__name__}")
            states.extend(content.pop("ranks"))
            return content, len(states)

        content, ranks = from_rank_zero(read)
        try:
            changed = keys_that_forbid_it(content["config"], runner.config)
            own = collectives.scatter(states) if resume and ranks == here().size and not changed else None
            self._load_common(content)
            if own is not None:
                same_seed = content["config"]["seed"] == runner.config.seed
                self._load_own_state(own if same_seed else self._with_new_generators(own))
        except (KeyError, TypeError, ValueError, RuntimeError, AttributeError, IndexError) as error:
            reason = other_networks(content["config"], runner.config) or " ".join(str(error).split())
            raise UserError(f"checkpoint '{path}' does not fit this configuration: {reason[:300]}") from error
        if resume and here().rank == 0:
            if left_out := sorted(content["phases"].keys() - runner.phases.keys()):
                say(f"without what '{path}' has of {', '.join(left_out)}: this run has no such phase")
            if not states:
                say(f"environments start new episodes: '{path}' has networks only")
            elif ranks != here().size:
                say(f"environments start new episodes: '{path}' is by {ranks} ranks, this run has {here().size}")
            elif changed:
                say(f"environments start new episodes: '{path}' has other values of {', '.join(changed)}")
            elif missing := [str(rank) for rank, state in enumerate(states) if state is None]:
                say(f"environments of rank {', '.join(missing)} start new episodes: '{path}' lacks them")
        return content["config"]

    def content(self, states: Sequence[dict[str, Any] | None], infos: dict | None = None) -> dict[str, Any]:
        """Return what a checkpoint holds: what all ranks have in common, and the ``states`` of each."""
        runner = self._runner
        return {
            "iteration": runner.iteration,
            "total_steps": runner.total_steps,
            "config": asdict(runner.config),
            "infos": infos,
            "phases": {name: phase.state_dict() for name, phase in runner.phases.items()},
            "ranks": list(states),
        }

    def own_state(self) -> dict[str, Any]:
        """Return what only this rank has: its environments, and what goes with them, and random generators."""
        runner = self._runner
        return {
            "lanes": {name: lane.state() for name, lane in runner.lanes.items()},
            "statistics": {name: lane.statistics.state_dict() for name, lane in runner.lanes.items()},
            "phases": {name: phase.own_state() for name, phase in runner.phases.items()},
            "random": self._random_state(),
        }

    def _load_common(self, content: dict[str, Any]) -> None:
        """Load the phases that are both in the checkpoint and in this run."""
        for name, phase in self._runner.phases.items():
            if name in content["phases"]:
                phase.load_state_dict(content["phases"][name])
            elif "ppo" in content["phases"]:
                phase.skip()
        self._runner.current_learning_iteration = content["iteration"]
        self._runner.total_steps = content["total_steps"]

    def _load_own_state(self, state: dict[str, Any]) -> None:
        """Go on with the environments; a lane that is new to the run begins where the first one is."""
        runner = self._runner
        first, *others = runner.lanes
        trained = len(state["statistics"][first]["finished"]) * here().size
        if trained != runner.env.num_envs * here().size:
            raise ValueError(f"it has num_envs={trained}, this run {runner.env.num_envs * here().size}")
        runner.env.restore(state["lanes"][first])
        for name in others:
            if name in state["lanes"]:
                runner.lanes[name].snapshot = state["lanes"][name]
            else:
                runner.lanes[name].begin()
        for name, statistics in state["statistics"].items():
            if name in runner.lanes:
                runner.lanes[name].statistics.load_state_dict(statistics)
        for name, own in state["phases"].items():
            if name in runner.phases:
                runner.phases[name].load_own_state(own)
        torch.set_rng_state(state["random"]["cpu"])
        device = torch.device(runner.device)
        if device.type == "cuda" and state["random"]["cuda"] is not None:
            torch.cuda.set_rng_state(state["random"]["cuda"], device)
        runner.begun = True

    def _with_new_generators(self, state: dict[str, Any]) -> dict[str, Any]:
        """Return a rank's state with the random generators as they are now, which this run's seed made them."""
        generator = self._runner.env.snapshot()["generator"]
        lanes = {name: {**lane, "generator": generator} for name, lane in state["lanes"].items()}
        return {**state, "lanes": lanes, "random": self._random_state()}

    def _random_state(self) -> dict[str, Tensor | None]:
        """Return the state of torch's global generators."""
        device = torch.device(self._runner.device)
        return {
            "cpu": torch.get_rng_state(),
            "cuda": torch.cuda.get_rng_state(device) if device.type == "cuda" else None,
        }

"""What a runner shows of its training, and when."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from legged_gym_ext.envs.parkour_env import ParkourEnv
from legged_gym_ext.learning.lanes import Lane
from legged_gym_ext.processes.ranks import here
from legged_gym_ext.runs.checkpoint import map_tensors
from legged_gym_ext.runs.slim import slim
from legged_gym_ext.showing.filming import Filming
from legged_gym_ext.showing.job import Film
from legged_gym_ext.showing.media import media_of

if TYPE_CHECKING:
    from legged_gym_ext.learning.runner import ParkourRunner

CLIP = 6.0
"""Seconds of each clip of a film, about: as many kinds of terrain are in it as there is time for."""


class Showing:
    """Gives the log of a training its media. Weights, environments and random numbers are the same without it.

    Args:
        runner: Whose training. Of another environment than ParkourEnv nothing is known that could be shown.
    """

    def __init__(self, runner: ParkourRunner) -> None:
        self._runner = runner
        self._filming = Filming()

    def after_iteration(self) -> None:
        """Show what is due, and films that are ready. All ranks must call this alike."""
        runner = self._runner
        env, config = runner.env, runner.config.runner
        if not isinstance(env, ParkourEnv) or runner.log_dir is None:
            return
        if config.logger != "none" and self._due(config.media_every):
            started = time.perf_counter()
            media = media_of(env, runner.lanes, runner.policy_names)
            if here().rank == 0:
                runner.journal.recording.show(media, runner.iteration)
                seconds = time.perf_counter() - started
                runner.journal.recording.add({"Perf/media_time": seconds}, runner.iteration)
        if here().rank == 0:
            self._collect()
            if self._due(config.video_every) and not self._filming.busy:
                self._film(env)

    def finish(self, wait: bool) -> None:
        """Show the last films, before the log is closed; ``wait`` for them, though not for ever."""
        if wait:
            self._filming.wait()
        self._filming.end()
        self._collect()

    def stop(self) -> None:
        """End a film that is still being made, however the training ends."""
        self._filming.end()

    def _due(self, interval: int) -> bool:
        return interval > 0 and self._runner.iteration % interval == 0

    def _collect(self) -> None:
        iteration, films = self._filming.collect()
        if films:
            self._runner.journal.recording.show(films, iteration)

    def _film(self, env: ParkourEnv) -> None:
        """Have the trained policies filmed on the levels that their lanes have come to."""
        runner = self._runner
        assert runner.log_dir is not None
        iteration, config = runner.iteration, runner.config.runner
        kinds = in_turn(len(env.terrain_kinds), int(config.video_length / CLIP), iteration // config.video_every - 1)
        films = {}
        for name, lane in runner.lanes.items():
            if runner.is_trained(name):
                path = (runner.log_dir / "videos" / f"iteration_{iteration}_{name}.mp4").resolve()
                films[name] = Film(
                    str(path), f"{runner.policy_name(name)}, iteration {iteration:,}", _clips(env, lane, kinds)
                )
        if films:
            content = map_tensors(slim(runner.saving.content([])), Tensor.cpu)
            self._filming.begin(iteration, runner.config, content, films, config.video_length)


def in_turn(kinds: int, clips: int, turn: int) -> list[int]:
    """Return the kinds of terrain, of so many, that the ``turn``-th film has: so many ``clips``, one at least."""
    clips = min(max(clips, 1), kinds)
    return sorted((turn * clips + index) % kinds for index in range(clips))


def _clips(env: ParkourEnv, lane: Lane, kinds: Sequence[int]) -> list[tuple[str, int]]:
    """Return kind and level of each clip: the level that the lane's robots have on that kind, on average."""
    kind, level = (tensor.cpu().numpy() for tensor in (lane.statistics.kind, lane.statistics.level))
    return [(env.terrain_kinds[number], _mean_level(level[kind == number])) for number in kinds]


def _mean_level(levels: NDArray[np.floating]) -> int:
    return round(float(levels.mean())) if len(levels) else 0

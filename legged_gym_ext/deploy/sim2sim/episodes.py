"""Many episodes, spread over processes."""

from __future__ import annotations

import multiprocessing
import signal
import time
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing
from datetime import timedelta
from pathlib import Path

from legged_gym_ext.deploy.sim2sim.course import End
from legged_gym_ext.deploy.sim2sim.walk import Conditions, Episode, Walker, walk

Place = tuple[str, int, int]
"""Kind, level and number of a tile."""


def places(kinds: Sequence[str], levels: Sequence[int], episodes: int) -> list[Place]:
    """Return the tiles to walk, so that a part of them is of all kinds and levels alike."""
    return [(kind, level, number) for number in range(episodes) for level in levels for kind in kinds]


def run(
    folder: Path, conditions: Conditions, todo: Sequence[Place], workers: int, report: Callable[[str], None]
) -> list[Episode]:
    """Walk all of ``todo`` and return the episodes that are finished, in its order.

    That is all of them, unless Ctrl-C came or a process died.

    An episode is the same in whatever process it is walked.

    Args:
        folder: Of the policy.
        conditions: Under which robots walk.
        todo: The tiles.
        workers: Processes; 1 = this one alone.
        report: Is told how far it is, a line each time.
    """
    started = last = time.monotonic()
    done: dict[Place, Episode] = {}
    try:
        with closing(_walked(folder, conditions, todo, min(workers, len(todo)))) as walked:
            for episode in walked:
                done[episode.kind, episode.level, episode.tile] = episode
                now = time.monotonic()
                if now - last >= 5.0 or len(done) == len(todo):
                    last = now
                    left = timedelta(seconds=round((now - started) / len(done) * (len(todo) - len(done))))
                    success = sum(each.end is End.FINISHED for each in done.values()) / len(done)
                    report(f"[{len(done)}/{len(todo)}] success {success:.0%}   time left {left}")
    except (KeyboardInterrupt, BrokenProcessPool) as error:
        reason = "interrupted" if isinstance(error, KeyboardInterrupt) else "a process has ended, for want of memory?"
        report(f"{reason}: {len(done)} of {len(todo)} episodes are finished")
    return [done[place] for place in todo if place in done]


def _walked(folder: Path, conditions: Conditions, todo: Sequence[Place], workers: int) -> Generator[Episode]:
    """Yield episodes as they are finished."""
    if workers == 1:
        walker = Walker(folder, conditions)
        for place in todo:
            episode = walk(walker, *place)
            assert episode is not None  # nobody watches
            yield episode
        return
    # Not forked: threads of the parent (ONNX Runtime's, BLAS's) would be missing in the child.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, context, _begin, (folder, conditions))
    try:
        for walked in as_completed([pool.submit(_walk, place) for place in todo]):
            yield walked.result()
    finally:
        pool.shutdown(cancel_futures=True)


_walker: Walker | None = None
"""Of a worker process."""


def _begin(folder: Path, conditions: Conditions) -> None:
    global _walker
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends its workers
    _walker = Walker(folder, conditions, verify=False)  # the parent has checked the folder


def _walk(place: Place) -> Episode:
    assert _walker is not None
    episode = walk(_walker, *place)
    assert episode is not None
    return episode

"""What play.py and train.py call: a page for a player, a page for a watcher."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

from torch import Tensor

from legged_gym_ext.console import say
from legged_gym_ext.rendering.web.access import Door
from legged_gym_ext.rendering.web.page import FRAME_TIME, Page
from legged_gym_ext.rendering.web.player import Player
from legged_gym_ext.rendering.web.watcher import Watcher

if TYPE_CHECKING:
    from legged_gym_ext.envs.parkour_env import ParkourEnv

_IDLE = 0.05  # s between looks for a browser, or for something to show


def open_page(door: Door, env: ParkourEnv) -> Page:
    """Serve a page for an environment, and print its URL."""
    page = Page(
        door,
        env.robot,
        [joint.removesuffix("_joint") for joint in env.robot.joints],
        env.reward_weights.names,
        env.dt,
        env.config.camera.enabled,
        2 * math.atan(env.camera.resolution[0] / (2 * env.camera.focal)),
    )
    say(f"viewer     {door.url}")
    return page


def play(door: Door, player: Player, each: Callable[[Tensor], None]) -> None:
    """Play in real time until Ctrl-C, while a browser has the page open.

    Args:
        door: Where to serve the page.
        player: Plays.
        each: Called after each step with which episodes ended, (num_envs,) bool.
    """
    with closing(open_page(door, player.env)) as page:
        clock, new = _Clock(), True
        try:
            while True:
                new |= page.obey(player)
                if not page.watched or not (new or player.due()):
                    time.sleep(_IDLE)
                    continue
                ended = player.advance()
                sight = player.sight()
                if ended is not None:
                    each(ended)
                    page.remember(sight)
                    new = True
                if clock.picture_due():
                    page.show(sight, player.status(), stands=not player.due())
                    new = False
                clock.wait(player.env.dt / player.pace)
        except KeyboardInterrupt:
            return


@contextmanager
def watching(door: Door, env: ParkourEnv, watcher: Watcher) -> Iterator[None]:
    """Show, in this context, what a training does; whatever becomes of the page, the training goes on."""
    page = open_page(door, env)
    over = threading.Event()

    def run() -> None:
        clock = _Clock()
        try:
            while not over.is_set():
                page.obey(watcher)
                watcher.wanted = page.watched and not watcher.paused
                sight = watcher.next() if watcher.wanted else None
                if sight is None:
                    over.wait(_IDLE)
                    continue
                page.remember(sight)
                if clock.picture_due():
                    page.show(sight, watcher.status())
                clock.wait(env.dt / watcher.pace)
        except Exception as error:  # of whatever kind: the training is not to end for it
            watcher.wanted = False
            say(f"the viewer has ended ({type(error).__name__}: {error}); the training goes on")

    thread = threading.Thread(target=run, name="viewer", daemon=True)
    env.onlooker = watcher
    thread.start()
    try:
        yield
    finally:
        env.onlooker = None
        over.set()
        thread.join()
        page.close()


class _Clock:
    """Keeps to real time, as far as there is enough of it, and to the rate of pictures."""

    def __init__(self) -> None:
        self._due = self._picture = time.perf_counter()

    def wait(self, step: float) -> None:
        """Wait until ``step`` s are over since the last call."""
        now = time.perf_counter()
        self._due = max(self._due + step, now)  # time that was lost is not made up for
        time.sleep(self._due - now)

    def picture_due(self) -> bool:
        """Return whether it is time for another picture."""
        now = time.perf_counter()
        if now < self._picture:
            return False
        self._picture = now + FRAME_TIME
        return True

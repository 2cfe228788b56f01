"""What play.py and train.py do with a page: the loops, with stand-ins; and a training that is really watched."""

from __future__ import annotations

import argparse
import threading
import time
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from page_client import Client
from test_watcher import SMALL

from legged_gym_ext.commands import train
from legged_gym_ext.learning.runner import ParkourRunner
from legged_gym_ext.rendering.web import show
from legged_gym_ext.rendering.web.access import Door, open_door
from legged_gym_ext.runs.folder import checkpoint_numbers

ENV = SimpleNamespace(dt=0.001, onlooker=None)


class FakePage:
    """Is watched by nobody for some looks, then by somebody; ends with Ctrl-C."""

    def __init__(self, nobody: int, looks: int) -> None:
        self.nobody, self.looks = nobody, looks
        self.shown: list[tuple] = []
        self.closed = False
        self.presses: dict[int, tuple] = {}

    def obey(self, controlled) -> bool:
        self.looks -= 1
        if self.looks < 0:
            raise KeyboardInterrupt
        press = self.presses.get(self.looks)
        if press:
            controlled.set(*press)
        return press is not None

    @property
    def watched(self) -> bool:
        self.nobody -= 1
        return self.nobody < 0

    def remember(self, sight) -> None: ...

    def show(self, *what, **more) -> None:
        self.shown.append((*what, more))

    def close(self) -> None:
        self.closed = True


class FakePlayer:
    def __init__(self) -> None:
        self.env, self.pace, self.steps, self.paused = ENV, 1.0, 0, False

    def set(self, name, value) -> None:
        self.paused = value

    def due(self) -> bool:
        return not self.paused

    def advance(self) -> torch.Tensor | None:
        if self.paused:
            return None
        self.steps += 1
        return torch.zeros(2, dtype=torch.bool)

    def sight(self) -> int:
        return self.steps

    def status(self) -> str:
        return "status"


def played(page: FakePage, monkeypatch: pytest.MonkeyPatch) -> tuple[FakePlayer, list]:
    monkeypatch.setattr(show, "open_page", lambda door, env: page)
    monkeypatch.setattr(show, "_IDLE", 0.0)
    monkeypatch.setattr(show, "FRAME_TIME", 0.0)
    player, ended = FakePlayer(), []
    show.play(None, player, ended.append)  # pyright: ignore[reportArgumentType]
    assert page.closed
    return player, ended


def test_nothing_is_played_while_nobody_looks_and_ctrl_c_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    page = FakePage(nobody=5, looks=12)
    player, ended = played(page, monkeypatch)
    assert player.steps == len(ended) == 7
    assert [sight for sight, *_ in page.shown] == list(range(1, 8))


def test_while_paused_a_picture_is_drawn_only_when_something_was_pressed(monkeypatch: pytest.MonkeyPatch) -> None:
    page = FakePage(nobody=0, looks=20)
    page.presses = {15: ("paused", True), 8: ("paused", True)}
    player, _ = played(page, monkeypatch)
    assert player.steps == 4
    assert [(sight, more) for sight, _, more in page.shown[4:]] == [(4, {"stands": True})] * 2


def test_a_page_that_fails_does_not_end_the_training(monkeypatch, capsys: pytest.CaptureFixture) -> None:
    class Failing(FakePage):
        def obey(self, controlled) -> bool:
            raise RuntimeError("no more browsers")

    page, watcher = Failing(0, 0), SimpleNamespace(wanted=True)
    monkeypatch.setattr(show, "open_page", lambda door, env: page)
    with show.watching(None, ENV, watcher):  # pyright: ignore[reportArgumentType]
        assert ENV.onlooker is watcher
        for thread in threading.enumerate():
            if thread.name == "viewer":
                thread.join()
        assert watcher.wanted is False
    assert page.closed and ENV.onlooker is None
    assert capsys.readouterr().out == "the viewer has ended (RuntimeError: no more browsers); the training goes on\n"


def test_a_training_is_watched_by_a_visitor_who_comes_and_goes(
    logs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    door = Door("127.0.0.1", 0)
    monkeypatch.setattr(train, "open_door", lambda args: door if args.viewer == "web" else None)
    heard: list[dict] = []
    seen, iterate = threading.Event(), ParkourRunner._iterate

    def patient(runner: ParkourRunner) -> Any:
        """Begin when the visitor is there, and do not end before something was seen: twelve iterations are quick."""
        until = time.monotonic() + 60
        while not (runner.watcher and runner.watcher.wanted) and not seen.is_set() and time.monotonic() < until:
            time.sleep(0.01)
        if runner.iteration == 11:
            seen.wait(60)
        return iterate(runner)

    monkeypatch.setattr(ParkourRunner, "_iterate", patient)

    def visit() -> None:
        with closing(Client(door.port)) as client:
            while not any("iteration" in str(message) for message in client.heard):
                client.listen()
            heard.extend(client.heard)
        seen.set()

    visitor = threading.Thread(target=visit, daemon=True)
    visitor.start()
    train.main(["--task=parkour_depth", "--viewer=web", "--max_iterations=12", *SMALL])
    visitor.join(timeout=60)
    assert not visitor.is_alive(), "nothing was shown"
    labels = {message.get("props", {}).get("label") for message in heard}
    assert {"pause drawing", "environment", "whose turns"} <= labels
    assert not labels & {"speed, m/s", "push", "level", "checkpoint"}
    (run,) = (logs / "parkour_depth").iterdir()
    assert checkpoint_numbers(run)[-1] == 12
    assert f"viewer     {door.url}\n" in capsys.readouterr().out


def test_without_the_flag_there_is_no_door() -> None:
    assert open_door(argparse.Namespace(viewer="none", viewer_host="127.0.0.1", viewer_port=0)) is None


@pytest.mark.parametrize(
    ("watched", "paused", "wanted"), [(True, False, True), (True, True, False), (False, False, False)]
)
def test_a_training_is_looked_at_only_while_somebody_watches_and_drawing_is_on(
    watched: bool, paused: bool, wanted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked = threading.Event()
    watcher = SimpleNamespace(wanted=None, paused=paused, pace=1.0, next=lambda: looked.set())
    page = SimpleNamespace(
        obey=lambda _: watcher.wanted is not None and looked.set(), watched=watched, close=lambda: None
    )
    monkeypatch.setattr(show, "open_page", lambda door, env: page)
    with show.watching(None, ENV, watcher):  # pyright: ignore[reportArgumentType]
        assert looked.wait(60)
    assert watcher.wanted is wanted

"""The thread that writes to a log, and logs that fail, hang and lose what they had."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from legged_gym_ext.recording.entries import ITERATION, KEPT, Alert, Entry, Scalars, Shown, step_of
from legged_gym_ext.recording.keeper import Keeper, Unwritable
from legged_gym_ext.recording.media import Image


class Sink:
    """A log in memory."""

    name, settles, retry = "test", 0.0, 0.01

    def __init__(self, trouble: Callable[[Entry], None] = lambda _: None) -> None:
        self.trouble = trouble
        self.entries: list[Entry] = []
        self.opened = self.closed = self.abandoned = 0
        self.is_open = False

    def open(self) -> None:
        assert not self.is_open
        self.opened += 1
        self.is_open = True

    def write(self, entry: Entry) -> None:
        assert self.is_open
        self.trouble(entry)
        self.entries.append(entry)

    def close(self) -> None:
        self.closed += 1
        self.is_open = False

    def abandon(self) -> None:
        self.abandoned += 1
        self.is_open = False

    @property
    def steps(self) -> list[int]:
        return [step_of(entry) for entry in self.entries]


def scalars(step: int) -> Scalars:
    return Scalars({ITERATION: step}, {"Return/teacher": 0.5 * step})


def shown(step: int) -> Shown:
    return Shown({ITERATION: step}, (Image("Depth/teacher", np.zeros((2, 2, 3), np.uint8)),))


def test_all_is_written_once_and_in_order() -> None:
    sink = Sink(lambda _: time.sleep(random.random() / 1000))
    keeper = Keeper(sink)
    for step in range(50):
        keeper.put(scalars(step))
    keeper.close(10.0)
    assert sink.steps == list(range(50)) and (sink.opened, sink.closed) == (1, 1)


def test_what_is_not_begun_is_not_opened() -> None:
    sink = Sink()
    Keeper(sink).close(1.0)
    assert sink.opened == 0


def test_what_fails_at_random_loses_nothing_and_tells_each_turn_once(capsys: pytest.CaptureFixture[str]) -> None:
    dice, failing = random.Random(5), [0]

    def trouble(_: Entry) -> None:
        if dice.random() < 0.3:
            failing[0] += 1
            raise dice.choice([OSError(28, "No space left on device"), ConnectionResetError("lost"), KeyError("x")])

    sink = Sink(trouble)
    keeper = Keeper(sink)
    for step in range(60):
        keeper.put(scalars(step))
    assert keeper.drain(20.0)
    keeper.close(10.0)
    out = capsys.readouterr().out
    assert sink.steps == list(range(60)) and failing[0] > 5
    assert out.count("not recorded (") == out.count("recorded again") > 3
    assert sink.opened == failing[0] + 1


def test_a_log_that_stays_broken_is_told_of_once_and_ends(capsys: pytest.CaptureFixture[str]) -> None:
    def trouble(_: Entry) -> None:
        raise OSError(28, "No space left on device")

    keeper = Keeper(Sink(trouble))
    for step in range(5):
        keeper.put(scalars(step))
    time.sleep(0.1)
    keeper.close(5.0)
    first, second = capsys.readouterr().out.splitlines()
    assert first == "test: not recorded (No space left on device); work goes on, and so do attempts"
    assert second == "test: ended with 5 steps that could not be recorded"


def test_a_step_with_several_entries_is_one_of_the_steps_that_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    broken = [True]

    def trouble(_: Entry) -> None:
        if broken[0]:
            raise OSError(28, "No space left on device")

    sink = Sink(trouble)
    keeper = Keeper(sink)
    for step in range(5):
        keeper.put(scalars(step))
        keeper.put(shown(step))
        keeper.put(Scalars({ITERATION: step}, {"Perf/media_time": 0.1}))
    time.sleep(0.1)
    broken[0] = False
    keeper.close(10.0)
    assert "test: recorded again, with the 5 steps that were kept" in capsys.readouterr().out
    assert len(sink.entries) == 15


def test_a_log_that_fails_at_the_very_end_is_tried_again() -> None:
    failed: list[int] = []

    class Fragile(Sink):
        settles = 60.0

        def close(self) -> None:
            if not failed:
                failed.append(1)
                raise ConnectionError("its process has ended")
            super().close()

    sink = Fragile()
    keeper = Keeper(sink)
    keeper.put(scalars(1))
    keeper.close(10.0)
    assert sink.steps == [1, 1] and sink.opened == 2 and sink.closed == 1  # what may be lost is written again


def test_a_log_that_hangs_holds_nobody_up(capsys: pytest.CaptureFixture[str]) -> None:
    released = threading.Event()

    def trouble(_: Entry) -> None:
        released.wait(30.0)
        raise ConnectionError("let go of")

    sink = Sink(trouble)
    keeper = Keeper(sink)
    begin = time.monotonic()
    for step in range(100):
        keeper.put(scalars(step))
    keeper.close(0.2)
    assert time.monotonic() - begin < 5.0
    assert "did not end within 0 s" in capsys.readouterr().out and sink.abandoned == 1
    released.set()
    keeper._thread.join(10.0)
    assert sink.opened == 1 and capsys.readouterr().out == ""  # it is not begun again for nobody


@pytest.mark.parametrize(("make", "kind"), [(scalars, Scalars), (shown, Shown)])
def test_what_is_kept_is_bounded_and_newest(make: Any, kind: type, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(KEPT, Scalars, 30)
    broken = [True]

    def trouble(_: Entry) -> None:
        if broken[0]:
            raise OSError("away")

    sink = Sink(trouble)
    keeper = Keeper(sink)
    keeper.put(Alert({ITERATION: 0}, "title", "text"))
    for step in range(1, 101):
        keeper.put(make(step))
    broken[0] = False
    keeper.close(10.0)
    assert sink.steps == [0, *range(101 - KEPT[kind], 101)]


def test_what_is_dropped_while_it_is_written_takes_nothing_else_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(KEPT, Scalars, 3)
    begun, released = threading.Event(), threading.Event()

    def trouble(_: Entry) -> None:
        begun.set()
        released.wait(30.0)

    sink = Sink(trouble)
    keeper = Keeper(sink)
    keeper.put(scalars(1))
    assert begun.wait(30.0)
    for step in range(2, 6):
        keeper.put(scalars(step))
    released.set()
    keeper.close(10.0)
    assert sink.steps == [1, 3, 4, 5]


def test_what_a_log_may_have_lost_is_written_again() -> None:
    class Forgetful(Sink):
        settles = 60.0

    def trouble(entry: Entry) -> None:
        if step_of(entry) == (4, 6, -1)[len(lost)]:
            lost.append(len(sink.entries))
            sink.entries.clear()  # killed, before anything of it was on the disk
            raise ConnectionResetError("Connection lost")

    lost: list[int] = []
    sink = Forgetful(trouble)
    keeper = Keeper(sink)
    for step in range(8):
        keeper.put(scalars(step))
    keeper.close(10.0)
    assert lost == [4, 6] and sink.steps == list(range(8))


def test_what_cannot_be_written_is_left_out_alone(capsys: pytest.CaptureFixture[str]) -> None:
    def trouble(entry: Entry) -> None:
        if step_of(entry) == 2:
            raise Unwritable("Video/student: no file film.mp4")

    sink = Sink(trouble)
    keeper = Keeper(sink)
    for step in range(5):
        keeper.put(scalars(step))
    keeper.close(10.0)
    assert sink.steps == [0, 1, 3, 4] and sink.opened == 1
    assert capsys.readouterr().out == "test: left out Video/student: no file film.mp4\n"

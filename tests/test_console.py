"""What a training shows on a terminal, looked at through a terminal of our own; and that nothing there ends it."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyte
import pytest
from console_picture import picture
from status_program import status

from legged_gym_ext.console import Board

PROGRAM = Path(__file__).parent / "status_program.py"
PICTURE = Path(__file__).parents[1] / "docs" / "console.svg"
FROM_OUTSIDE = ("NO_COLOR", "TERM", "PYTHONIOENCODING", "COLUMNS", "LINES")
"""What says how a terminal is, and is not to be that of the tests' own; pytest-xdist sets the last two."""


class Terminal:
    """A terminal with a program in it."""

    def __init__(self, process: subprocess.Popen[bytes], ours: int, columns: int, lines: int) -> None:
        self.process, self.ours, self.told = process, ours, b""
        self.screen = pyte.HistoryScreen(columns, lines, history=1000)
        self._stream = pyte.ByteStream(self.screen)

    def read(self, until: bytes = b"") -> None:
        """Read until that is there; else until the program ends."""
        while not until or until not in self.told:
            try:
                new = os.read(self.ours, 65536)
            except OSError:  # the program has ended
                new = b""
            if not new:
                assert not until, self.told
                return
            self.told += new
            self._stream.feed(new)

    @property
    def text(self) -> str:
        """All that was ever on the screen and stayed."""
        above = ["".join(line[x].data for x in sorted(line)) for line in self.screen.history.top]
        return "\n".join(line.rstrip() for line in [*above, *self.screen.display]).rstrip()


@contextmanager
def terminal(*arguments: str, columns: int = 100, lines: int = 40, **environment: str) -> Iterator[Terminal]:
    """Run the program in a terminal which it controls."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
    usual = {name: value for name, value in os.environ.items() if name not in FROM_OUTSIDE}

    def control() -> None:
        fcntl.ioctl(theirs, termios.TIOCSCTTY, 0)
        signal.signal(signal.SIGHUP, signal.SIG_DFL)

    with subprocess.Popen(
        [sys.executable, str(PROGRAM), *arguments],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
        preexec_fn=control,
        env={**usual, "TERM": "xterm-256color", **environment},
    ) as process:
        os.close(theirs)
        try:
            yield Terminal(process, ours, columns, lines)
        finally:
            process.kill()
            os.close(ours)


def rest(ours: int) -> bytes:
    """Return all that was written to a terminal that is closed on the other side, and close it."""
    told = b""
    with contextlib.suppress(OSError):
        while new := os.read(ours, 65536):
            told += new
    os.close(ours)
    return told


def test_the_status_is_drawn_in_its_place_and_lines_stand_above_it() -> None:
    with terminal("20") as seen:
        seen.read()
    assert seen.process.returncode == 0
    text = seen.text
    assert text.count("iteration ") == 2 and "iteration 20/20 (100.0%)" in text  # with that line
    assert text.splitlines()[:2] == ["begin", "a line before iteration 10"]
    assert "time left 0:00:00" in text and "run folder   logs/task/run" in text
    lanes = next(line for line in text.splitlines() if "teacher" in line and "student" in line)
    assert lanes.index("teacher") < lanes.index("student")
    assert "62.0%" in text and "stepping stones" in text and "7.5" in text
    assert "after" in text.splitlines()[-1]  # what follows stands below
    assert not seen.screen.cursor.hidden
    assert seen.told.count(b"iteration ") > 2  # it was drawn more than once


def test_the_documentations_picture_has_its_rows_in_the_order_that_is_drawn() -> None:
    """A picture that is old is made anew as docs/reports.md says."""
    shown, drawn = rows(PICTURE.read_text("utf-8")), rows(picture(status(20, 20, "logs/task/run")))
    common = {*shown} & {*drawn}
    assert common >= {"time", "PPO", "distillation", "run folder", "return", "terrain level"}
    assert [row for row in shown if row in common] == [row for row in drawn if row in common]


def test_letters_that_go_below_the_line_are_whole_in_the_documentations_picture() -> None:
    svg = PICTURE.read_text("utf-8")
    ends = re.search(r'<clipPath id="terminal-clip-terminal">\s*<rect[^>]* height="([\d.]+)"', svg)
    lowest = max(float(y) for y in re.findall(r'<text [^>]*y="([\d.]+)" textLength="[\d.]+"[^>]*>[^<\s]', svg))
    assert ends and lowest + 8 < float(ends[1])  # of letters that are 20 high


def rows(svg: str) -> list[str]:
    """Return what begins each line of a picture of a terminal, but for figures."""
    lines: dict[float, str] = {}
    for y, text in re.findall(r'<text [^>]*y="([\d.]+)" textLength[^>]*>([^<]*)</text>', svg):
        lines[float(y)] = lines.get(float(y), "") + text.replace("&#160;", " ")
    beginnings = (re.split(r"  |\n", line, maxsplit=1)[0] for _, line in sorted(lines.items()))
    return [beginning for beginning in beginnings if re.fullmatch(r"[A-Za-z ]+", beginning)]


@pytest.mark.parametrize("columns", [20, 45, 80, 200])
def test_it_fits_the_terminal(columns: int) -> None:
    with terminal("6", columns=columns, lines=60) as seen:
        seen.read()
    text = " ".join(seen.text.split())
    assert seen.process.returncode == 0
    assert text.count("iteration 6/6") == 1, seen.text
    assert "62.0%" in text and "teacher" in text


def test_a_low_terminal_shows_the_beginning() -> None:
    with terminal("6", lines=5) as seen:
        seen.read(b"iteration 3/6")
        assert "iteration" in seen.text
        seen.read()
    assert seen.process.returncode == 0


def test_without_colours_where_that_is_asked_for() -> None:
    with terminal("4", NO_COLOR="1") as seen:
        seen.read()
    assert b"iteration 4/4" in seen.told and b"\x1b[3" not in seen.told and b"\x1b[9" not in seen.told


def test_lines_where_the_terminal_cannot_go_back() -> None:
    with terminal("4", TERM="dumb") as seen:
        seen.read()
    assert b"\x1b" not in seen.told and seen.told.startswith(b"begin\r\nplain 1\r\n")
    assert seen.told.count(b"plain ") == 4 and b"iteration" not in seen.told.replace(b"before iteration", b"")


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_any_encoding(encoding: str) -> None:
    with terminal("12", "--folder", "logs/m\u00fcll/\u6b69", PYTHONIOENCODING=encoding) as seen:
        seen.read()
    assert seen.process.returncode == 0
    assert b"iteration 12/12" in seen.told
    last = seen.told.decode(encoding)
    assert ("logs/m\\xfcll" if encoding == "ascii" else "logs/m\u00fcll") in last
    assert ("\u6b69" if encoding == "utf-8" else "\\u6b69") in last


def test_a_file_gets_lines_as_ever(tmp_path: Path) -> None:
    for variables in ({}, {"FORCE_COLOR": "1", "TTY_COMPATIBLE": "1", "TTY_INTERACTIVE": "1"}):
        done = subprocess.run(
            [sys.executable, str(PROGRAM), "3"], capture_output=True, env={**os.environ, **variables}, timeout=250
        )
        assert done.stdout == b"begin\nplain 1\nplain 2\nplain 3\nafter\n"
        assert done.stderr == b""


def test_a_closed_terminal_ends_nothing(tmp_path: Path) -> None:
    done = tmp_path / "done"
    with terminal("40", "--done", str(done), "--deaf") as seen:
        seen.read(b"iteration 3/40")
        seen.process.poll()
        os.dup2(os.open(os.devnull, os.O_RDONLY), seen.ours)  # ours is closed
        assert seen.process.wait(200) == 0
    assert done.read_text() == "40"


def test_an_interrupted_program_leaves_the_terminal_tidy() -> None:
    with terminal("1000") as seen:
        seen.read(b"iteration 3/1000")
        seen.process.send_signal(signal.SIGINT)
        seen.read()
    assert "KeyboardInterrupt" in seen.text.splitlines()[-1]
    assert seen.text.count("iteration ") <= 2  # the status, and one line that was printed
    assert not seen.screen.cursor.hidden


def test_a_killed_program_leaves_the_cursor() -> None:
    with terminal("1000") as seen:
        seen.read(b"iteration 3/1000")
        seen.process.kill()
        seen.read()
    assert not seen.screen.cursor.hidden


def test_whatever_goes_wrong_while_drawing_it_is_told_in_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = pty.openpty()
    with os.fdopen(theirs, "w") as out:
        monkeypatch.setattr(sys, "stdout", out)
        monkeypatch.setenv("TERM", "xterm")
        board = Board()

        def fail() -> str:
            raise ZeroDivisionError

        assert board.show(lambda: "fine", at_once=True)
        assert not board.show(fail, at_once=True)
        assert not board.show(lambda: "never again", at_once=True)
        assert sys.stdout is out  # as it was before
    assert b"fine" in rest(ours)


def test_not_over_the_shell_s_lines_while_in_the_background(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = pty.openpty()
    with os.fdopen(theirs, "w") as out:
        monkeypatch.setattr(sys, "stdout", out)
        monkeypatch.setenv("TERM", "xterm")
        board, ground = Board(), [os.getpgrp()]
        monkeypatch.setattr(os, "tcgetpgrp", lambda _: ground[0])
        assert board.show(lambda: "first", at_once=True)
        ground[0] += 1
        assert not board.show(lambda: "hidden", at_once=True)
        assert sys.stdout is out
        ground[0] -= 1
        assert board.show(lambda: "again", at_once=True)
        board.close()
    told = rest(ours)
    assert b"first" in told and b"again" in told and b"hidden" not in told


def test_drawing_is_not_repeated_faster_than_anybody_sees(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = pty.openpty()
    with os.fdopen(theirs, "w") as out:
        monkeypatch.setattr(sys, "stdout", out)
        monkeypatch.setenv("TERM", "xterm")
        now, made = [1000.0], []
        monkeypatch.setattr(time, "monotonic", lambda: now[0])
        board = Board()
        for _ in range(10):
            assert board.show(lambda: made.append(now[0]) or "x")
            now[0] += 0.03
        assert 2 <= len(made) <= 4
        board.show(lambda: made.append(-1.0) or "x", at_once=True)
        assert made[-1] == -1
        board.close()
    os.close(ours)

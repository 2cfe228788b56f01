"""The worker's process: how it is started, spoken to, and how it ends."""

from __future__ import annotations

import collections
import contextlib
import json
import mmap
import os
import shutil
import signal
import socket
import subprocess
import threading
import weakref
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any, NoReturn

import numpy as np

from legged_gym_ext.errors import EngineFault, UserError
from legged_gym_ext.simulators.isaacgym import faults
from legged_gym_ext.simulators.isaacgym.worker import DONE, PACKET, PROTOCOL, STEP, STEP_TAG, arrays

PYTHON, PATH = "ISAACGYM_PYTHON", "ISAACGYM_PATH"
"""Environment variables: the interpreter that has Isaac Gym, and folders to look for it in besides its own."""

_HOW_TO = "how to make a Python that has it is in docs/isaacgym.md"
_PROGRAM = Path(__file__).with_name("worker.py")
_KEPT_LINES, _LONGEST_LINE = 200, 4096
"""Of what a worker prints: lines, and bytes of each."""
_END = 5.0
"""s that a worker is given to end by itself."""
_ALIGNMENT = 64
"""Bytes: of the arrays in the shared memory."""

Layout = dict[str, tuple[str, tuple[int, ...], int]]


class Worker:
    """A worker process, and the memory that it shares with this one.

    The memory has no name and the socket none either, so that nothing can be left behind. The worker ends when this
    process does, whatever ends it; see worker.py.

    Args:
        python: The interpreter.
        shapes: Data type and shape of each array in the shared memory, by name.
        start_limit: s that each part of the start may take: the imports here, later :meth:`ask`.
        step_limit: s that a step may take.

    Raises:
        UserError: The interpreter cannot run it, or not with this package.
    """

    def __init__(
        self, python: str, shapes: Mapping[str, tuple[str, tuple[int, ...]]], start_limit: float, step_limit: float
    ) -> None:
        self._start_limit, self._step_limit = start_limit, step_limit
        layout, size = _lay_out(shapes)
        memory_fd = os.memfd_create("legged_gym_ext")
        os.ftruncate(memory_fd, size)
        self.arrays: dict[str, np.ndarray] = arrays(mmap.mmap(memory_fd, size), layout)
        """The shared memory's arrays by name: the same bytes in both processes."""
        self._socket, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            self._process = subprocess.Popen(
                [python, str(_PROGRAM), str(other.fileno()), str(memory_fd)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                pass_fds=(other.fileno(), memory_fd),
                process_group=0,  # so that it can be killed with all that it has started: it may be a wrapper
                env=_environment(python),
            )
        except OSError as error:
            raise UserError(f"{python}: {error.strerror}: not an interpreter that Isaac Gym could run in") from None
        finally:
            other.close()
            os.close(memory_fd)
        self._lines: collections.deque[bytes] = collections.deque(maxlen=_KEPT_LINES)
        assert self._process.stdout is not None
        self._reader = threading.Thread(target=_keep, args=(self._process.stdout, self._lines), daemon=True)
        self._reader.start()
        self.close = weakref.finalize(self, _end, self._process, self._socket)
        """Ends the worker. Done, too, when this object is gone or the program ends."""
        self._number = 0
        try:
            hello = {"protocol": PROTOCOL, "size": size, "layout": layout}
            self.versions: dict[str, Any] = self._exchange(hello, "start", "start_limit", start_limit)
            """What runs there, by name: python, isaacgym, torch, numpy."""
        except EngineFault as fault:
            known = "; likely: " in str(fault)
            raise UserError(f"{python}: {fault}{'' if known else f'; {_HOW_TO}'}") from None

    @property
    def pid(self) -> int:
        """Return the number of the process."""
        return self._process.pid

    def ask(self, what: str, request: Mapping[str, Any]) -> dict[str, Any]:
        """Have the worker do ``what`` as the ``request`` says; return its answer.

        Raises:
            EngineFault: It failed, ended, or did not answer in time.
        """
        return self._exchange({"do": what, **request}, what, "start_limit", self._start_limit)

    def step(self, places: int, joints: int, changed: int) -> None:
        """Advance one control step; see ``Scene.step`` of worker.py.

        Raises:
            EngineFault: The worker failed, ended, or did not answer in time.
        """
        self._number += 1
        self._send(STEP.pack(STEP_TAG, self._number, places, joints, changed), "step")
        answer = self._receive("step", "step_limit", self._step_limit)
        if answer != DONE.pack(self._number):
            self._fail("step", said=_error_in(answer))

    def _exchange(self, request: Mapping[str, Any], what: str, option: str, limit: float) -> dict[str, Any]:
        self._send(json.dumps(request).encode(), what)
        answer = self._receive(what, option, limit)
        content = json.loads(answer)
        if "error" in content:
            self._fail(what, said=_error_in(answer))
        return content

    def _send(self, packet: bytes, what: str) -> None:
        if not self.close.alive:
            raise EngineFault("the worker of Isaac Gym has ended")
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # then there is no answer, either
            self._socket.send(packet)

    def _receive(self, what: str, option: str, limit: float) -> bytes:
        self._socket.settimeout(limit)
        try:
            packet = self._socket.recv(PACKET)
        except TimeoutError:
            _kill(self._process)
            late = f"it did not answer within {limit:g} s (sim.isaacgym.{option})"
            self._fail(what, f"{late}; {words}" if (words := faults.describe(None, self._said())) else late)
        except ConnectionResetError:
            packet = b""
        if not packet:
            self._fail(what)
        return packet

    def _said(self) -> list[str]:
        """Return what the worker printed last; whatever it was, these are short lines of text."""
        texts = (line.decode(errors="replace").rstrip() for line in list(self._lines))
        return ["".join(letter if letter.isprintable() else " " for letter in text) for text in texts]

    def _fail(self, what: str, how: str = "", said: str = "") -> NoReturn:
        """Raise the fault in which the worker ends: ``what`` it was asked for, ``how`` it failed if that is known."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_END)
        self._reader.join(_END)  # until all is read that it said
        self.close()
        how = how or faults.describe(self._process.returncode, self._said(), said)
        raise EngineFault(f"the worker of Isaac Gym failed at '{what}': {how}")


def find_python(configured: str) -> str:
    """Return the interpreter of the worker: the ``configured`` one, or the one that the environment names.

    Raises:
        UserError: Neither is given, or it is no program.
    """
    python = configured or os.environ.get(PYTHON, "")
    if not python:
        raise UserError(
            f"sim.engine: isaacgym runs in a Python of its own, 3.6 to 3.8, that has Isaac Gym: set "
            f"{PYTHON}=/path/to/env/bin/python (or sim.isaacgym.python); {_HOW_TO}"
        )
    name = "sim.isaacgym.python" if configured else PYTHON
    path = Path(python).expanduser()
    if not path.is_file() or not os.access(path, os.X_OK):
        found = next((place for place in (shutil.which(python), path / "bin" / "python") if place), None)
        hint = f"; did you mean '{found}'?" if found and Path(found).is_file() else ""
        raise UserError(f"{name}: expected the path of a Python interpreter, got '{python}'{hint}")
    return str(path.absolute())


def _lay_out(shapes: Mapping[str, tuple[str, tuple[int, ...]]]) -> tuple[Layout, int]:
    """Return where each array is, and the size of the memory in bytes."""
    layout, end = {}, 0
    for name, (dtype, shape) in shapes.items():
        layout[name] = dtype, shape, end
        size = np.dtype(dtype).itemsize * int(np.prod(shape))
        end += -(-size // _ALIGNMENT) * _ALIGNMENT
    return layout, max(end, _ALIGNMENT)


def _environment(python: str) -> dict[str, str]:
    """Return the worker's environment: nothing of this Python's own, and the other's libraries first."""
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}
    if PATH in environment:
        environment["PYTHONPATH"] = environment[PATH]
    # Isaac Gym's bindings want libpython, which lies beside the interpreter, or beside the one that a link leads to.
    libraries = dict.fromkeys(str(path.parent.parent / "lib") for path in (Path(python), Path(python).resolve()))
    before = [environment["LD_LIBRARY_PATH"]] if environment.get("LD_LIBRARY_PATH") else []
    environment["LD_LIBRARY_PATH"] = os.pathsep.join([*libraries, *before])
    return environment


def _keep(output: IO[bytes], lines: collections.deque[bytes]) -> None:
    """Keep what the worker prints, until it ends, as it is: a talkative one must not keep this process busy."""
    lines.extend(iter(lambda: output.readline(_LONGEST_LINE), b""))


def _end(process: subprocess.Popen[bytes], connection: socket.socket) -> None:
    connection.close()  # which tells the worker to end
    try:
        process.wait(_END)
    except subprocess.TimeoutExpired:
        _kill(process)
        process.wait()


def _kill(process: subprocess.Popen[bytes]) -> None:
    """Kill a worker that has not been waited for, and what it has started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def _error_in(answer: bytes) -> str:
    """Return the error that an answer tells of."""
    return json.loads(answer)["error"] if answer.startswith(b"{") else f"it answered another question: {answer!r}"

"""One benchmark of one size in a process of its own: what it takes of the memory, or breaks, is gone with it.

The parent's side is :func:`measure`, the other side is ``python -m benchmarks.worker NAME CASE RESULT``.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from benchmarks import registry
from benchmarks.case import Case
from legged_gym_ext.errors import UserError

OK, OUT_OF_MEMORY = "ok", "out of memory"
_SIGKILL = -9
_MEMORY_WORDS = ("out of memory", "failed to allocate", "can't allocate memory", "cannot allocate memory")


@dataclass
class Record:
    """What became of one benchmark of one size."""

    benchmark: str
    num_envs: int
    status: str
    """``ok``, or one line that says why there are no figures."""
    figures: dict[str, float] = field(default_factory=dict)
    wall_seconds: float = 0.0
    """Of the whole process, set-up and compilation included."""


def measure(name: str, case: Case, limit: float | None = None) -> Record:
    """Run the benchmark ``name`` in another process, for at most ``limit`` seconds."""
    if limit is not None and limit <= 0:
        return Record(name, case.num_envs, "not measured: the time was up")
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        result = Path(folder) / "result.json"
        command = [sys.executable, "-m", "benchmarks.worker", name, json.dumps(asdict(case)), str(result)]
        try:
            code = subprocess.run(command, timeout=limit, check=False).returncode
            answer: dict[str, Any] = {"status": _why_no_result(code)}
            if result.is_file():
                answer = json.loads(result.read_text())
        except subprocess.TimeoutExpired:
            answer = {"status": f"not done within {limit:.0f} s"}
    return Record(name, case.num_envs, wall_seconds=time.perf_counter() - started, **answer)


def main(argv: list[str]) -> None:
    """Run one benchmark and write its status and figures."""
    name, case, result = argv
    try:
        answer = {"status": OK, "figures": registry.run(name, Case(**json.loads(case)))}
    except Exception as error:  # whatever it is, the parent goes on with the next size
        status = why_failed(error)
        if status.startswith("failed"):
            traceback.print_exc()
        answer = {"status": status}
    Path(result).write_text(json.dumps(answer))


def why_failed(error: BaseException) -> str:
    """Return one line for an ``error``: out of memory, the user's, or a failure."""
    for link in _chain(error):
        is_memory = isinstance(link, (MemoryError, torch.OutOfMemoryError))
        if is_memory or any(words in str(link).lower() for words in _MEMORY_WORDS):
            return OUT_OF_MEMORY
    line = " ".join(str(error).split())
    return line if isinstance(error, UserError) else f"failed: {type(error).__name__}: {line}"[:200]


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _why_no_result(code: int) -> str:
    return f"{OUT_OF_MEMORY} (killed)" if code == _SIGKILL else f"failed: the process ended with code {code}"


if __name__ == "__main__":
    main(sys.argv[1:])

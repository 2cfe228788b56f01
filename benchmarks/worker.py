"""One benchmark of one size in a process of its own: what it takes of the memory, or breaks, is gone with it.

The parent's side is :func:`measure`, the other side is ``python -m benchmarks.worker NAME CASE RESULT``.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from benchmarks import registry
from benchmarks.case import Case
from legged_gym_ext.device import memory
from legged_gym_ext.errors import UserError

OK, FAILED = "ok", "failed"


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
    device_name: str = ""
    """Told by the worker: to ask a GPU for its name takes some of its memory."""


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
    Path(result).write_text(json.dumps(attempt(name, Case(**json.loads(case)))))


def attempt(name: str, case: Case) -> dict[str, Any]:
    """Return status and figures; whatever goes wrong, the parent goes on with the next size."""
    try:
        with memory.guard(case.num_envs):
            return {"status": OK, "figures": registry.run(name, case), "device_name": case.device_name}
    except UserError as error:  # such as too little memory
        return {"status": " ".join(str(error).split())}
    except Exception as error:
        traceback.print_exc()
        return {"status": f"{FAILED}: {type(error).__name__}: {' '.join(str(error).split())[:200]}"}


def _why_no_result(code: int) -> str:
    if code == -signal.SIGKILL:
        return "killed; out of memory?"
    return f"{FAILED}: the process ended with code {code}"


if __name__ == "__main__":
    main(sys.argv[1:])

"""A program in the place of the one that films, which does what it is told in a moment."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from legged_gym_ext.recording.media import Video
from legged_gym_ext.showing.filming import Filming

_PROGRAM = """
import json, os, pathlib, sys, time
how, folder = sys.argv[1], pathlib.Path(sys.argv[2])
job = json.loads((folder / "job.json").read_text())
assert (folder / "config.yaml").exists() and list(folder.glob("model_*.pt"))
films = list(job["films"].items())
paths = [pathlib.Path(film["path"]) for _, film in films]
for path in paths:
    path.parent.mkdir(parents=True, exist_ok=True)
(paths[0].parent / "started").open("a").write(f"{job['parent']} {os.getpid()}\\n")
def ready(count):
    for path in paths[:count]:
        path.write_bytes(b"film")
    (folder / "rates.json").write_text(json.dumps({policy: 25.0 for policy, _ in films[:count]}))
if how == "works":
    ready(len(films))
elif how == "fails_at_the_second":
    ready(1)
    sys.exit("Traceback ...\\nerror: there is no room")
else:
    for path in paths:
        path.with_name(f".{path.stem}.unfinished.mp4").write_bytes(b"half")
    if how == "is_killed":
        os.kill(os.getpid(), 9)
    for _ in range(600):
        if how == "gets_on":
            (folder / "alive").touch()
        time.sleep(0.1)
"""


def fake_program(folder: Path, how: str) -> tuple[str, ...]:
    """Return what to run instead: it ``works``, ``fails_at_the_second``, ``is_killed``, ``hangs`` or ``gets_on``."""
    path = folder / "fake.py"
    path.write_text(_PROGRAM)
    return sys.executable, "-I", "-S", str(path), how


def collected(filming: Filming) -> tuple[int, list[Video]]:
    """Return what is collected once the process has ended."""
    until = time.monotonic() + 60
    while True:
        iteration, films = filming.collect()
        if not filming.busy:
            return iteration, films
        assert time.monotonic() < until
        time.sleep(0.02)


def starts(folder: Path) -> list[list[int]]:
    """Return whose child each process was that was started for the films in a folder, and its own number."""
    path = folder / "started"
    return [list(map(int, line.split())) for line in path.read_text().splitlines()] if path.exists() else []


def wait_for_start(folder: Path) -> int:
    """Wait until the first one has written half of its films, and return its number."""
    until = time.monotonic() + 60
    while not list(folder.glob(".*.unfinished.mp4")):
        assert time.monotonic() < until
        time.sleep(0.02)
    return starts(folder)[-1][1]

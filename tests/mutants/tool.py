"""Mutants that mutmut makes of one module."""

from __future__ import annotations

import os
import random
import re
import subprocess
import sys
from pathlib import Path

CONFIG = """
[tool.mutmut]
source_paths = ["legged_gym_ext"]
only_mutate = ["legged_gym_ext/{module}.py"]
also_copy = ["configs", "resources", "setup.py", "train.py", "play.py", "evaluate.py", "export.py"]
pytest_add_cli_args_test_selection = [{tests}]
pytest_add_cli_args = ["-p", "no:cacheprovider", "-p", "no:xdist"]
timeout_constant = 60.0 # s; what a busy machine needs for nothing must not look like a mutant that was noticed
process_isolation = "forkserver" # torch does not like to be forked in mid-test
"""
NAMES = """
import sys
from mutmut.mutation.file_mutation import mutate_file_contents
print(*mutate_file_contents(sys.argv[1], open(sys.argv[1]).read()).mutant_names)
"""


def run(folder: Path, module: str, tests: tuple[str, ...], sample: int = 0, seed: int = 0) -> dict[str, str]:
    """Try the mutants of a module in the copy of the repository ``folder``, or go on with them.

    Args:
        folder: Of the copy.
        module: Its path in the package.
        tests: That must notice the mutants.
        sample: How many of the mutants to draw; 0 = all.
        seed: Of the drawing.

    Returns:
        What became of each, by its name: ``killed``, ``survived``, ``timeout``, ``no tests``, ``not checked``, ...
    """
    settings = folder / "pyproject.toml"
    text = settings.read_text("utf-8")
    if "[tool.mutmut]" not in text:
        text += CONFIG.format(module=module, tests=", ".join(f'"{test}"' for test in tests))
        settings.write_text(text, "utf-8")
    mutmut = [sys.executable, "-m", "mutmut"]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    names = _drawn(folder, module, sample, seed) if sample else []
    with (folder / "mutmut.log").open("a") as log:
        command = [*mutmut, "run", "--max-children=1", *names]
        done = subprocess.run(command, cwd=folder, env=environment, stdout=log, stderr=log)
    if done.returncode:
        print(f"mutmut ended with {done.returncode}: {_last_line(folder / 'mutmut.log')}", file=sys.stderr)
    command = [*mutmut, "results", "--all", "true"]
    listing = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=True).stdout
    return dict(re.findall(r"^\s*(\S+): (.+)$", listing, re.MULTILINE))


def _drawn(folder: Path, module: str, sample: int, seed: int) -> list[str]:
    """Return the names of mutants of a module, drawn at random."""
    path = f"legged_gym_ext/{module}.py"
    command = [sys.executable, "-c", NAMES, path]
    names = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True).stdout.split()
    drawn = random.Random(seed).sample(names, min(sample, len(names)))
    return [f"{path.removesuffix('.py').replace('/', '.')}.{name}" for name in drawn]


def _last_line(log: Path) -> str:
    lines = re.split(r"[\r\n]+", log.read_text("utf-8", errors="replace").strip())
    return lines[-1]

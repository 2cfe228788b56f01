"""Mutants that mutmut makes of one module."""

from __future__ import annotations

import os
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


def run(folder: Path, module: str, tests: tuple[str, ...]) -> dict[str, str]:
    """Try the mutants of a module in the copy of the repository ``folder``, or go on with them.

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
    with (folder / "mutmut.log").open("a") as log:
        done = subprocess.run([*mutmut, "run", "--max-children=1"], cwd=folder, env=environment, stdout=log, stderr=log)
    if done.returncode:
        print(f"mutmut ended with {done.returncode}: {_last_line(folder / 'mutmut.log')}", file=sys.stderr)
    command = [*mutmut, "results", "--all", "true"]
    listing = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=True).stdout
    return dict(re.findall(r"^\s*(\S+): (.+)$", listing, re.MULTILINE))


def _last_line(log: Path) -> str:
    lines = re.split(r"[\r\n]+", log.read_text("utf-8", errors="replace").strip())
    return lines[-1]

"""How a run came about, and how to get it again."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from legged_gym_ext.config.files import load_config, load_saved_config
from legged_gym_ext.errors import UserError
from legged_gym_ext.evaluation.document import Entry, Section, Table
from legged_gym_ext.runs.compare import differences
from legged_gym_ext.runs.folder import CONFIG_FILE

NAMES = ("task", "experiment_name", "run_name")
"""Keys that only name a run."""


def changes_from_task(folder: Path) -> dict[str, tuple[Any, Any]] | None:
    """Return the keys in which a run's configuration is not its task's, with the task's value and the run's.

    None where it cannot be told: the task is gone, or the configuration is of another version.
    """
    try:
        saved = load_saved_config(folder / CONFIG_FILE)
        found = differences(asdict(load_config(saved.task)), asdict(saved))
    except UserError:
        return None
    return {key: values for key, values in found.items() if key not in NAMES}


def configuration_section(task: str, changes: Mapping[str, tuple[Any, Any]] | None) -> Section:
    """Return what was configured for this run."""
    if changes is None:
        return Section(
            "Configuration", [f"It is in {CONFIG_FILE}, and of another version of this program or its task."]
        )
    if not changes:
        return Section("Configuration", [f"That of the task {task}, without a change."])
    rows = [[Entry(key), Entry(value_text(before)), Entry(value_text(now))] for key, (before, now) in changes.items()]
    table = Table(f"What is not as in the task {task}", ["key", "task", "this run"], rows)
    return Section("Configuration", [f"All of it is in {CONFIG_FILE}."], [table])


def reproduce_section(
    task: str, name: str, changes: Mapping[str, tuple[Any, Any]] | None, origin: Mapping[str, Any], checkpoint: int
) -> Section:
    """Return the commands that train the run again and use it."""
    commands = [f"git checkout {state['commit']}" for state in origin.get("code", [])[:1]]
    begun = str(origin.get("command", ""))
    goes_on = "--resume" in begun.split()
    if goes_on:
        commands.append(f"python {begun}" if begun.startswith("train.py ") else begun)
    else:
        overrides = [shlex.quote(f"{key}={value_text(now)}") for key, (_, now) in (changes or {}).items()]
        commands.append(" ".join(["python train.py", f"--task={shlex.quote(task)}", *overrides]))
    run = shlex.quote(name)
    commands += [
        f"python play.py --load_run={run} --checkpoint={checkpoint}",
        f"python evaluate.py --load_run={run} --checkpoint={checkpoint}",
        f"python train.py --resume --load_run={run}",
    ]
    notes = ["The same seed, on a CPU, with the same versions, the same code and the same machine, gives the same run."]
    if goes_on:
        notes.append("It goes on with another run, whose folder, as it was then, is needed for that.")
    elif changes is None:
        notes.append("Its configuration cannot be told from its task's; see there.")
    if any(state.get("changed") for state in origin.get("code", [])):
        notes.append("The code had changes that no commit has; they are in the run's folder, in git/.")
    if begun:
        notes.append(f"It was started with: {begun}")
    return Section("How to get it again, and to use it", notes, commands=commands)


def value_text(value: object) -> str:
    """Return a value as the command line takes it."""
    return value if isinstance(value, str) else json.dumps(value)

"""List runs, compare their configurations, delete their old checkpoints, draw their curves."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Sequence
from typing import NoReturn

from legged_gym_ext import paths
from legged_gym_ext.config.cli import Parser, main_guard
from legged_gym_ext.errors import UserError, unknown
from legged_gym_ext.report import __main__ as report
from legged_gym_ext.runs import plot, slim
from legged_gym_ext.runs.compare import compare_runs
from legged_gym_ext.runs.folder import all_runs, find_run_folder
from legged_gym_ext.runs.pruning import Pruning, plan_pruning
from legged_gym_ext.runs.summary import RunSummary, summarize_run
from legged_gym_ext.runs.wording import UNKNOWN, count_text, hours_text, size_text, terminal_width, text_table


def success_text(run: RunSummary) -> str:
    """Return ``62 % student (parkour-v1_quick)``."""
    if run.success is None:
        return UNKNOWN
    source = run.success.source.partition(" ")[0]
    return f"{100 * run.success.rate:.0f} % {run.success.policy} ({source})"


COLUMNS: dict[str, Callable[[RunSummary], str]] = {
    "run": lambda run: f"{run.experiment}/{run.name}",
    "state": lambda run: "running" if run.running else "ended",
    "task": lambda run: run.task or UNKNOWN,
    "iterations": lambda run: f"{run.iterations}/{run.planned or UNKNOWN}",
    "steps": lambda run: count_text(run.steps),
    "time": lambda run: hours_text(run.hours),
    "best success": success_text,
    "level": lambda run: UNKNOWN if run.level is None else f"{run.level:.1f}",
    "size": lambda run: size_text(run.size),
    "last written": lambda run: time.strftime("%Y-%m-%d %H:%M", time.localtime(run.last_written)),
}
"""Title and text of each column of the list."""


def command() -> NoReturn:
    """Run as ``legged-gym-runs``."""
    main_guard(main)


def main(argv: list[str]) -> None:
    """Do what the first word says; without one, list the runs."""
    name, *rest = argv if argv and not argv[0].startswith("-") else ["list", *argv]
    if name not in COMMANDS:
        raise unknown("command", name, COMMANDS)
    COMMANDS[name](rest)


def list_runs(argv: list[str]) -> None:
    """List runs, the one that was written to last on top."""
    parser = Parser(
        prog="legged-gym-runs [list]",
        description="List runs, newest first; other commands: compare, prune, plot, slim, report, each with --help.",
        allow_abbrev=False,
    )
    parser.add_argument("--experiment_name", metavar="NAME", help="only this experiment's (default: all)")
    parser.add_argument("--json", action="store_true", help="all that is known, as JSON")
    args = parser.parse_only(argv)
    folders = all_runs()
    if args.experiment_name:
        if args.experiment_name not in (names := {folder.parent.name for folder in folders}):
            raise unknown(f"experiment in '{paths.LOGS}'", args.experiment_name, names)
        folders = [folder for folder in folders if folder.parent.name == args.experiment_name]
    runs = sorted(map(summarize_run, folders), key=lambda run: (run.last_written, run.name), reverse=True)
    if args.json:
        print(json.dumps([run.as_data() for run in runs], indent=1))
    elif runs:
        print(table(runs))
    else:
        print(f"no run in '{paths.LOGS}'")


def compare(argv: list[str]) -> None:
    """Print what differs between the configurations of two runs."""
    parser = Parser(
        prog="legged-gym-runs compare",
        description="Print which keys of two runs' configurations differ.",
        allow_abbrev=False,
    )
    parser.add_argument("first", metavar="RUN", help="name or folder of a run; -1: the last one")
    parser.add_argument("second", metavar="RUN")
    parser.add_argument("--json", action="store_true", help="print JSON: the values by key")
    args = parser.parse_only(argv)
    first, second = find_run_folder(args.first), find_run_folder(args.second)
    found = compare_runs(first, second)
    if args.json:
        print(json.dumps(found, indent=1))
        return
    print(table([summarize_run(first), summarize_run(second)]))
    rows = [[key, _value(one), _value(two)] for key, (one, two) in found.items()]
    print()
    print(
        text_table(["key", first.name, second.name], rows, terminal_width()) if rows else "the configurations are equal"
    )


def prune(argv: list[str]) -> None:
    """Delete old checkpoints, or say which they would be."""
    parser = Parser(
        prog="legged-gym-runs prune",
        description="Delete old checkpoints. The newest intact one of a run stays, and so does what an evaluation or "
        "an export is of, or another run began with.",
        allow_abbrev=False,
    )
    parser.add_argument("runs", metavar="RUN", nargs="*", help="names or folders of runs; -1: the last one")
    parser.add_argument("--all", action="store_true", help="all runs")
    parser.add_argument("--keep", metavar="N", type=int, help="this many of the newest stay")
    parser.add_argument("--yes", action="store_true", help="delete; without it, only say what would be")
    args = parser.parse_only(argv)
    _require_prunable(args)
    folders = all_runs() if args.all else [find_run_folder(run) for run in args.runs]
    plans = [plan_pruning(folder, args.keep, [*all_runs(), *folders]) for folder in dict.fromkeys(folders)]
    for plan in plans:
        size = plan.size
        if args.yes:
            plan.carry_out()
        print("\n".join(_told(plan, size, args.yes)), flush=True)
    if not args.yes and any(plan.delete for plan in plans):
        print("nothing was deleted; --yes deletes")


COMMANDS: dict[str, Callable[[list[str]], None]] = {
    "list": list_runs,
    "compare": compare,
    "prune": prune,
    "plot": plot.main,
    "slim": slim.main,
    "report": report.main,
}
"""What there is to do, by its word."""


def table(runs: Sequence[RunSummary]) -> str:
    """Return the list of runs."""
    rows = [[text(run) for text in COLUMNS.values()] for run in runs]
    return text_table(list(COLUMNS), rows, terminal_width())


def _require_prunable(args: argparse.Namespace) -> None:
    if args.all == bool(args.runs):
        raise UserError("prune: name the runs, or give --all for all of them")
    if args.keep is None or args.keep < 1:
        given = "" if args.keep is None else f" {args.keep}"
        raise UserError(f"--keep{given}: how many of the newest checkpoints stay is needed; allowed: 1 or more")


def _told(plan: Pruning, size: int, done: bool) -> list[str]:
    """Return what is told of a run's checkpoints."""
    if not plan.delete:
        return [f"{plan.folder.name}: nothing to delete"]
    verb = "deleted" if done else "would delete"
    numbers = ", ".join(map(str, plan.delete))
    lines = [f"{plan.folder.name}: {verb} {len(plan.delete)} checkpoints ({size_text(size)}): {numbers}"]
    return lines + [f"  {number} stays: {why}" for number, why in plan.needed.items()]


def _value(value: object) -> str:
    return json.dumps(value) if isinstance(value, list | bool | None) else str(value) if value != "" else "''"

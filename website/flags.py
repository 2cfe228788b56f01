"""The page with every program and its flags, from the programs' own parsers."""

from __future__ import annotations

import argparse
import contextlib
import importlib
import io
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from legged_gym_ext.config.cli import make_parser
from legged_gym_ext.paths import ROOT
from website.markdown import cell, table

INTRODUCTION = """# Every command-line flag

Written from the programs' own `--help` when this site is built. Where a flag stands for a configuration key, or a
program takes `section.key=value`, [every configuration key](configuration.md) has what is allowed. A dash in a flag may
be written for an underscore.
"""
Main = Callable[[list[str]], None]
_FIRST = ("train", "play", "evaluate", "export")
_PACKAGES = ("legged_gym_ext", "benchmarks")
_STARTS = re.compile(r'^if __name__ == "__main__":', re.MULTILINE)
_MAKES_A_PARSER = re.compile(r"\b(ArgumentParser|Parser|make_parser)\(")


@dataclass(frozen=True)
class Program:
    """A program: how it is called, and its parser."""

    call: str
    parser: argparse.ArgumentParser


def programs() -> Iterator[Program]:
    """Yield every program of the package: the commands, then all modules with a parser that ``python -m`` runs.

    A command that has ``COMMANDS`` of its own, functions by the word that comes first, is as many programs.
    """
    for path in sorted((ROOT / "legged_gym_ext" / "commands").glob("[!_]*.py"), key=_in_order):
        module = importlib.import_module(f"legged_gym_ext.commands.{path.stem}")
        call = f"python {path.name}" if (ROOT / path.name).is_file() else f"python -m legged_gym_ext.{path.stem}"
        words: dict[str, Main] = getattr(module, "COMMANDS", {})
        for word, main in words.items() or [("", module.main)]:
            yield Program(f"{call} {word}".strip(), parser_of(main))
    for name in modules():
        yield Program(f"python -m {name.removesuffix('.__main__')}", parser_of(importlib.import_module(name).main))


def _in_order(path: Path) -> tuple[int, str]:
    return (_FIRST.index(path.stem) if path.stem in _FIRST else len(_FIRST)), path.stem


def modules() -> list[str]:
    """Return the names of the modules that are programs with a parser, sorted.

    Those without one are halves of another program, which nobody else starts, or run on robots (:func:`_on_the_robot`).
    """
    found = []
    for package in _PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
            text = path.read_text("utf-8")
            if _STARTS.search(text) and _MAKES_A_PARSER.search(text):
                found.append(name)
    return found


def parser_of(main: Main) -> argparse.ArgumentParser:
    """Return the parser that a program makes, by asking it for help."""
    asked: list[argparse.ArgumentParser] = []
    original = argparse.ArgumentParser.print_help
    argparse.ArgumentParser.print_help = lambda self, file=None: asked.append(self)
    try:
        with contextlib.suppress(SystemExit), contextlib.redirect_stdout(io.StringIO()):
            main(["--help"])
    finally:
        argparse.ArgumentParser.print_help = original
    (parser,) = asked
    return parser


def page() -> str:
    """Return the page."""
    found = list(programs())
    shared = {name: flag for name, flag in _flags(make_parser("")).items() if name != "--help"}
    parts = [INTRODUCTION]
    parts += ["## What the four entry points share", table(["flag", "what it is"], [*shared.values()])]
    for program in found:
        own = _flags(program.parser)
        takes_all = all(own.get(name) == flag for name, flag in shared.items() if name != "--load_run")
        rows = [row for name, row in own.items() if not (takes_all and row == shared.get(name))]
        parts += [f"## `{program.call}`", " ".join((program.parser.description or "").split())]
        if takes_all:
            parts.append(
                "Takes `section.key=value` and [what the four share](#what-the-four-entry-points-share), and besides:"
            )
        parts.append(table(["flag", "what it is"], rows))
    parts.append(_on_the_robot())
    return "\n\n".join(parts) + "\n"


def _flags(parser: argparse.ArgumentParser) -> dict[str, list[str]]:
    """Return the rows of a parser's flags and arguments, by their first name."""
    rows = {}
    for action in parser._actions:
        if action.help == argparse.SUPPRESS or "--help" in action.option_strings:
            continue
        names = action.option_strings or [str(action.metavar or action.dest)]
        value = "" if action.nargs == 0 or not action.option_strings else f" {_metavar(action)}"
        flag = "<br>".join(f"`{name}{value}`" for name in names)
        text = (action.help or "") % {**vars(action), "prog": parser.prog} if action.help else ""
        rows[names[0]] = [flag, cell(text)]
    return rows


def _metavar(action: argparse.Action) -> str:
    if action.metavar is not None:
        word = action.metavar if isinstance(action.metavar, str) else " ".join(action.metavar)
    elif action.choices is not None:
        word = "{" + ",".join(str(choice) for choice in action.choices) + "}"
    else:
        word = action.dest.upper()
    match action.nargs:
        case "?":
            return f"[{word}]"
        case "*":
            return f"[{word} ...]"
        case "+":
            return f"{word} ..."
    return word


def _on_the_robot() -> str:
    from legged_gym_ext.deploy.runtime import HELP

    text = HELP.format(name="policy_runtime.py", default="this file's folder").strip()
    return f"## `python policy_runtime.py`, in an exported folder\n\n```text\n{text}\n```"

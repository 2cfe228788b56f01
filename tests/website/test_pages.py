"""What the handwritten pages say of the code: names and lines that it really has."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache

import pytest

from legged_gym_ext.commands import evaluate, export, play, train
from legged_gym_ext.config.rules import walk
from legged_gym_ext.config.schema import Config
from legged_gym_ext.envs import rewards
from legged_gym_ext.models.encoders import option_classes
from legged_gym_ext.paths import CONFIGS, ROOT
from legged_gym_ext.simulators import ENGINES
from legged_gym_ext.tasks import task_names
from website.flags import parser_of

DOCS = ROOT / "docs"
CODE = re.compile(r"`([^`]+)`")
GAP = "\0"
"""Stands for what is put into a text."""


def rows(page: str, head: str) -> Iterator[list[str]]:
    """Yield the cells of all tables of a page whose head begins like that."""
    inside = False
    for line in (DOCS / page).read_text("utf-8").splitlines():
        if not line.startswith("|"):
            inside = False
        elif line.startswith(f"| {head} |"):
            inside = True
        elif inside and not line.startswith("| ---"):
            yield [cell.strip() for cell in line.strip("| ").split(" | ")]


@cache
def templates() -> str:
    """All texts in the package's code, with GAP for what is put into them, one after another."""
    found = []
    for path in [*(ROOT / "legged_gym_ext").rglob("*.py"), ROOT / ".ci" / "venv"]:
        source = path.read_text("utf-8")
        if path.suffix != ".py":
            found.append(source)
            continue
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.JoinedStr):
                found.append(
                    "".join(str(part.value) if isinstance(part, ast.Constant) else GAP for part in node.values)
                )
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.append(node.value)
            elif isinstance(node, ast.Call) and ast.unparse(node.func) == "unknown":  # errors.py puts it together
                found.append(f"unknown {getattr(node.args[0], 'value', GAP)} '{GAP}'")
    return "\n".join(found)


def said(line: str) -> bool:
    """Return whether the code says such a line, in which ``…`` is anything."""
    pattern = "[^\n]*".join(re.escape(part) for part in line.split("…"))
    return re.search(pattern, templates()) is not None


LINES = [CODE.findall(cells[0]) for cells in rows("troubleshooting.md", "what is said")]


@pytest.mark.parametrize("line", sorted({line for found in LINES for line in found if " " in line}))
def test_a_line_that_troubleshooting_explains_is_one_that_the_code_says(line: str) -> None:
    assert said(line), line


def test_a_line_that_nobody_says_is_found_out() -> None:
    assert not said("no run with a checkpoint in '…'; train two first") and said("unknown flag '…'")


@cache
def keys() -> set[str]:
    found = {key for key, *_ in walk(Config())}
    found |= {f"student.encoder.{key}" for options in option_classes().values() for key, *_ in walk(options())}
    sections = {key.rpartition(".")[0] for key in found}
    return found | sections


@cache
def flags() -> set[str]:
    return {
        name for module in (train, play, evaluate, export) for name in parser_of(module.main)._option_string_actions
    }


@cache
def tags() -> set[str]:
    """Parts of the curves' names that stand in the code, or are made of losses and activities there."""
    return set(re.findall(r"[A-Z][A-Za-z]+/", templates())) | {"Return/", "EpisodeLength/", "TerrainLevel/", "Loss/"}


def is_ours(name: str) -> bool:
    """Return whether the package has this flag, key, reward, curve, task, engine, program or file."""
    if name.startswith("--"):
        flag, _, value = name.partition(" " if " " in name else "=")
        if "." in flag or flag == "--section.key":
            return True
        return flag in flags() and (value in ("", "NAME") or flag != "--task" or value in task_names())
    if re.match(r"[A-Z]\w*/", name):
        return name.partition("/")[0] + "/" in tags()
    plain = name.removesuffix("=false").removesuffix("=1").split("=")[0]
    known = keys() | set(rewards.TERMS) | set(ENGINES) | {"tensorboard", "wandb", "none", "torchrun", "section.key"}
    if plain in known or (ROOT / name).exists() or (CONFIGS / f"{name}.yaml").exists():
        return True
    program, *arguments = name.split()
    return (ROOT / program).is_file() and all(is_ours(argument) for argument in arguments)


HEADS = ("what you know", "flag", "configuration", "reward", "curve")
OURS = sorted({name for head in HEADS for cells in rows("migration.md", head) for name in CODE.findall(cells[1])})


@pytest.mark.parametrize("name", OURS)
def test_a_name_that_migration_gives_is_ours(name: str) -> None:
    assert is_ours(name)


def test_a_name_that_is_nobodys_is_found_out() -> None:
    for name in (
        "sim.dtt",
        "--num_env",
        "feet_airtime",
        "Perff/x",
        "student.encoder.gru",
        "--task=parkour",
        "trainn.py",
    ):
        assert not is_ours(name), name


def test_where_names_are_said_to_be_the_same_they_are() -> None:
    same = [cells for head in ("flag", "reward") for cells in rows("migration.md", head) if "same names" in cells[1]]
    names = [name for cells in same for name in CODE.findall(cells[0])]
    assert len(names) > 30
    for name in names:
        assert is_ours(name), name


@pytest.mark.parametrize("page", sorted(path.name for path in DOCS.glob("*.md")))
def test_keys_in_a_page_exist(page: str) -> None:
    """``section.key`` in code, where the section is one of the configuration."""
    text = (DOCS / page).read_text("utf-8")
    sections = {key.split(".")[0] for key in keys() if "." in key}
    for name in re.findall(r"`((?:\w+\.)+\w+)(?:=[^`]*)?`", text):
        first = name.split(".")[0]
        if first in sections - {"env", "camera", "robot", "commands", "sim"} and not name.endswith(
            (".py", ".md", ".csv")
        ):
            assert any(key == name or name.startswith(f"{key}.") for key in keys()), f"{page}: {name}"

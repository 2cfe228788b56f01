"""Every recipe of docs/cookbook.md, followed to the letter, but with few robots and small networks."""

from __future__ import annotations

import functools
import runpy
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from recipes import Recipe, recipes_in
from registries import put_back

from legged_gym_ext import paths
from legged_gym_ext.commands import train
from legged_gym_ext.config.files import GIVEN_WHOLE
from legged_gym_ext.envs import rewards
from legged_gym_ext.learning import phases
from legged_gym_ext.models import encoders

RECIPES = recipes_in((paths.ROOT / "docs" / "cookbook.md").read_text("utf-8"))
SMALL = [
    "--num_envs=4",
    "--max_iterations=1",
    "--logger=none",
    "runner.num_steps_per_env=6",
    "distill.steps_per_env=5",
    "teacher.hidden_dims=[16]",
    "teacher.critic_hidden_dims=[16]",
    "terrain.levels=2",
    "terrain.variants=1",
]
ENTRY_POINTS = ("train.py", "play.py", "evaluate.py", "export.py")


@pytest.fixture(scope="module", autouse=True)
def _registries() -> Iterator[None]:
    more = rewards.TERMS, encoders.ENCODERS, phases.PHASES
    before = [dict(registry) for registry in more]
    with put_back():
        yield
    for registry, entries in zip(more, before, strict=True):
        registry.clear()
        registry.update(entries)


@pytest.fixture(scope="module")
def kitchen(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder like a checkout's top, to which runs go, too."""
    folder = tmp_path_factory.mktemp("kitchen")
    for name in (*ENTRY_POINTS, "resources"):
        (folder / name).symlink_to(paths.ROOT / name)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(paths, "LOGS", folder / "logs")
        patch.chdir(folder)
        yield folder


def python(arguments: list[str]) -> None:
    """Run a Python program in this process: a script, or a module after -m. It must end with exit code 0."""
    handler = signal.getsignal(signal.SIGTERM)
    with pytest.MonkeyPatch.context() as patch:
        is_module = arguments[0] == "-m"
        patch.setattr(sys, "argv", arguments[is_module:])
        if is_module:  # a new process would not have it, as tests of the command do, whose module this is not to be
            patch.delitem(sys.modules, f"{arguments[1]}.__main__", raising=False)
        try:
            if is_module:
                runpy.run_module(arguments[1], run_name="__main__", alter_sys=True)
            else:
                runpy.run_path(arguments[0], run_name="__main__")
        except SystemExit as end:
            assert not end.code, f"{shlex.join(arguments)}: exit code {end.code}"
        finally:
            signal.signal(signal.SIGTERM, handler)


def follow(command: str) -> None:
    words = shlex.split(command)
    match words:
        case ["export", _]:
            pass  # conftest.py names the double of Isaac Gym
        case ["sed", *_]:
            subprocess.run(["bash", "-c", command], check=True)
        case ["torchrun", *_]:
            from torch.distributed.run import parse_args  # the launcher knows its arguments, and the program its own

            launched = parse_args(words[1:])
            assert launched.training_script == "train.py" and launched.nproc_per_node == "8"
            config, *_ = train.read(launched.training_script_args)
            assert config.env.num_envs % int(launched.nproc_per_node) == 0
        case ["python", "export.py", *rest]:
            python(["export.py", *rest, "--num_envs=2"])
        case ["python", program, *rest] if program.endswith(".py") and "/" not in program:
            python([program, *rest, *SMALL])
        case ["python", *rest]:
            python(rest)
        case _:
            pytest.fail(f"nobody knows how to run: {command}")


def test_the_page_has_the_recipes_that_are_asked_for() -> None:
    titles = {recipe.title for recipe in RECIPES}
    assert titles >= {
        *("A robot of your own", "An obstacle of your own", "A reward of your own", "An encoder of your own"),
        *("Several GPUs", "Isaac Gym", "To a robot"),
    }


SLOW = ("Isaac Gym", "To a robot")


@pytest.mark.parametrize(
    "recipe",
    [
        pytest.param(recipe, id=recipe.title, marks=[pytest.mark.slow] if recipe.title in SLOW else [])
        for recipe in RECIPES
    ],
)
def test_a_recipe_runs(recipe: Recipe, kitchen: Path) -> None:
    before = set(kitchen.glob("logs/*/*/model_*.pt"))
    for name, text in recipe.files.items():
        (kitchen / name).write_text(text, "utf-8")
    if recipe.title == "To a robot":  # the last run is that of another recipe, whose encoder is not made for robots
        python(
            [
                "train.py",
                *SMALL,
                "guide.enabled=false",
                "distill.start=0",
                "distill.interval=1",
                "student.encoder.gru_hidden=16",
            ]
        )
    for command in recipe.commands:
        follow(command)
    new = set(kitchen.glob("logs/*/*/model_1.pt")) - before
    assert len(new) == (0 if recipe.title == "Several GPUs" else 1)
    wanted = asked_for(recipe)
    assert wanted or not recipe.files or recipe.title == "A learning phase of your own"
    for checkpoint in new:
        saved = yaml.safe_load((checkpoint.parent / "config.yaml").read_text("utf-8"))
        for key, value in wanted:
            assert functools.reduce(lambda section, name: section[name], key.split("."), saved) == value, key


def asked_for(recipe: Recipe) -> list[tuple[str, Any]]:
    """Return the keys and values that a recipe's YAML and its commands ask for."""
    found: list[tuple[str, Any]] = []
    for name, text in recipe.files.items():
        sections = yaml.safe_load(text) if name.endswith(".yaml") else {}
        for section, entries in sections.items():
            found += [(f"{section}.{key}", value) for key, value in entries.items()] if section != "base" else []
    for command in recipe.commands:
        pairs = [word.split("=", 1) for word in shlex.split(command) if "." in word and not word.startswith("-")]
        found += [(pair[0], yaml.safe_load(pair[1])) for pair in pairs if len(pair) == 2]
    # Of a mapping a YAML names a part only, unless it replaces the whole.
    parts = [(key, value) for key, value in found if not isinstance(value, dict) or key in GIVEN_WHOLE]
    for key, value in found:
        if isinstance(value, dict) and key not in GIVEN_WHOLE:
            parts += [(f"{key}.{name}", item) for name, item in value.items()]
    return parts

"""Every recipe of docs/cookbook.md, followed to the letter, but with few robots and small networks."""

from __future__ import annotations

import runpy
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from recipes import Recipe, recipes_in
from registries import put_back

from legged_gym_ext import paths
from legged_gym_ext.commands import train
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


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.title)
def test_a_recipe_runs(recipe: Recipe, kitchen: Path) -> None:
    before = set(kitchen.glob("logs/*/*/model_*.pt"))
    for name, text in recipe.files.items():
        (kitchen / name).write_text(text, "utf-8")
    if recipe.title == "To a robot":  # the last run is that of another recipe, whose encoder is not made for robots
        python(["train.py", *SMALL, "distill.start=0", "distill.interval=1", "student.encoder.gru_hidden=16"])
    for command in recipe.commands:
        follow(command)
    trained = any(command.startswith("python") for command in recipe.commands) and recipe.title != "To a robot"
    new = set(kitchen.glob("logs/*/*/model_1.pt")) - before
    assert len(new) == (1 if trained or recipe.title == "To a robot" else 0)

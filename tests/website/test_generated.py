"""The pages that are written from the code: nothing is missing, and what they say is what the code does."""

from __future__ import annotations

import ast
import dataclasses
import random
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from omegaconf import OmegaConf

from legged_gym_ext.config.fields import at_difficulties, choice, count, interval, positive
from legged_gym_ext.config.files import load_config
from legged_gym_ext.config.schema import Config
from legged_gym_ext.envs import rewards
from legged_gym_ext.models.encoders import option_classes
from legged_gym_ext.paths import CONFIGS, ROOT
from website import configuration, flags, reference
from website.comments import comments_in, field_comments


@pytest.fixture(scope="module")
def keys() -> dict[str, list[str]]:
    """Rows of the page by their anchors."""
    lines = configuration.page().splitlines()
    rows = [line.strip("| ").split(" | ") for line in lines if line.startswith('| <a id="')]
    return {row[0].split('"')[1]: row for row in rows}


def plain_keys(section: Any, prefix: str = "") -> set[str]:
    """Keys by OmegaConf's own account of the dataclasses, which knows nothing of rules and comments."""
    found = set()
    for name in section:
        value = section[name]
        nested = OmegaConf.is_config(value) and dataclasses.is_dataclass(OmegaConf.get_type(value) or int)
        found |= plain_keys(value, f"{prefix}{name}.") if nested else {f"{prefix}{name}"}
    return found


def test_no_key_is_missing_and_none_is_made_up(keys: dict[str, list[str]]) -> None:
    expected = plain_keys(OmegaConf.structured(Config))
    encoder = {key for key in expected if key.startswith("student.encoder.")}
    expected -= encoder
    for kind, options in option_classes().items():
        expected |= {f"student.encoder.{field.name}-{kind}" for field in dataclasses.fields(options)}
    assert set(keys) == expected and len(expected) > 200


def test_defaults_are_those_of_a_new_configuration(keys: dict[str, list[str]]) -> None:
    tree = OmegaConf.structured(Config)
    for key, row in keys.items():
        if not key.startswith("student.encoder."):
            default = re.match(r"`([^`]*)`", row[1])
            value = OmegaConf.select(tree, key)
            plain = OmegaConf.to_container(value) if OmegaConf.is_config(value) else value
            assert default and yaml.safe_load(default[1]) == plain, key


def test_what_tasks_have_instead_is_what_they_load(keys: dict[str, list[str]]) -> None:
    config = load_config("walk_flat")
    assert config.runner.max_iterations == 500
    assert "In `walk_flat`: `500`" in keys["runner.max_iterations"][1]
    assert "In all tasks: `3`" in keys["ppo.num_learning_epochs"][1]
    assert "In" not in keys["ppo.gamma"][1].replace("`", " ").split()
    # What a YAML states is in the row of that key, unless it is the default.
    default, checked = OmegaConf.structured(Config), 0
    for path in CONFIGS.glob("*.yaml"):
        for section, entries in yaml.safe_load(path.read_text("utf-8")).items():
            for name, value in entries.items() if isinstance(entries, dict) else ():
                key = f"{section}.{name}"
                if key in keys and not isinstance(value, dict) and value != OmegaConf.select(default, key):
                    shown = [yaml.safe_load(text) for text in re.findall(r"`([^`]*)`", keys[key][1])]
                    assert value in shown, key
                    checked += 1
    assert checked > 20


def test_every_reward_term_is_there_with_its_meaning() -> None:
    page = configuration.page().partition("## Reward terms")[2].partition("\n## ")[0]
    weights = load_config("parkour_depth").rewards.weights
    for name, term in rewards.TERMS.items():
        (row,) = [line for line in page.splitlines() if line.startswith(f"| `{name}` |")]
        assert (term.__doc__ or "missing").split(".")[0].split("\n")[0] in row
        assert float(row.strip("| ").split(" | ")[3]) == weights.get(name, 0.0)


@dataclasses.dataclass
class Sample:
    """A section."""

    # Of both, in two
    # lines.
    first: float = positive(0.5)
    second: int = count(3, at_most=9)  # beside it

    third: str = choice(  # in its first line
        "a",
        ("a", "b"),  # and in another
    )
    # Not of the next.

    fourth: list[float] = interval(0.0, 1.0)
    fifth: list[float] = at_difficulties(0.1, 0.2)
    """Below it, over
    two lines."""
    plain: bool = True
    text: str = "#"
    names: list[str] = dataclasses.field(default_factory=list)


@dataclasses.dataclass
class Derived(Sample):
    """A section that has more."""

    second: int = count(4)  # another
    sixth: float = 1.0  # its own


def test_comments_belong_to_the_field_they_stand_at() -> None:
    assert field_comments(Sample) == {
        "first": "Of both, in two lines.",
        "second": "beside it",
        "third": "in its first line and in another",
        "fourth": "",
        "fifth": "Below it, over two lines.",
        "plain": "",
        "text": "",
        "names": "",
    }
    assert field_comments(Derived)["second"] == "another" and field_comments(Derived)["first"].startswith("Of both")
    assert comments_in('class A:\n    x: int = 1  # one\n    y = 2  # no field\n    z: str = "# no comment"\n') == {
        "x": "one",
        "z": "",
    }


def test_allowed_values_are_said_in_words() -> None:
    (section,) = configuration.sections(Derived(), "sample")
    allowed = {key.name: key.allowed for key in section.keys}
    assert allowed == {
        "sample.first": "a number > 0",
        "sample.second": "a whole number >= 1",
        "sample.third": "one of a, b",
        "sample.fourth": "two values, [low, high] with low <= high, each a number from -1e+09 to 1e+09",
        "sample.fifth": "two values, at difficulty 0 and at difficulty 1, each a number >= 0",
        "sample.plain": "`true` or `false`",
        "sample.text": "text",
        "sample.names": "a list, each text",
        "sample.sixth": "a number",
    }
    assert section.meaning == "A section that has more."


def test_values_are_written_so_that_yaml_reads_them_again() -> None:
    random.seed(3)
    values: list[Any] = [True, False, 0, -3, 2**63 - 1, "auto", "", [1, 2], [], {}, {"a": 0.5, "b": -2.0}, ["x", "y"]]
    values += [random.choice((-1, 1)) * random.choice((1, 2.5, 1e-6, 0.125, 40)) for _ in range(50)]
    for value in values:
        assert yaml.safe_load(configuration.written(value)) == value or float(configuration.written(value)) == value


def flags_in(source: str) -> set[str]:
    """Flags that a module gives to a parser: the literal first arguments of calls whose name tells that."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            value = node.args[0].value
            if name in ("add_argument", "add") and isinstance(value, str) and value.startswith("--"):
                found.add(value)
    return found


@pytest.fixture(scope="module")
def flags_page() -> str:
    return flags.page()


def test_no_flag_of_any_program_is_missing(flags_page: str) -> None:
    count = 0
    for package in ("legged_gym_ext", "benchmarks"):
        for path in (ROOT / package).rglob("*.py"):
            for flag in flags_in(path.read_text("utf-8")):
                if "worker" not in path.name:
                    assert re.search(rf"`{flag}[` ]", flags_page), f"{path.relative_to(ROOT)}: {flag}"
                    count += 1
    assert count > 60


def test_every_program_is_there(flags_page: str) -> None:
    for name in ("train", "play", "evaluate", "export"):
        assert f"## `python {name}.py`" in flags_page
    for name in ("terrain", "runs.plot", "runs.slim", "deploy.sim2sim", "deploy.hardware", "simulators.isaacgym"):
        assert f"## `python -m legged_gym_ext.{name}`" in flags_page
    assert "## `python -m benchmarks`" in flags_page and "--check [FOLDER]" in flags_page


def test_help_is_asked_for_and_parsers_are_as_they_were() -> None:
    import argparse

    from legged_gym_ext.terrain import __main__ as program

    before = argparse.ArgumentParser.print_help
    parser = flags.parser_of(program.main)
    assert argparse.ArgumentParser.print_help is before
    assert "--kinds" in parser.format_help()


def test_modules_of_the_reference_exist_and_are_described() -> None:
    pages = reference.pages()
    assert len(pages) == len(reference.GROUPS)
    for write in pages.values():
        text = write()
        for source in re.findall(r"\[Source\]\(\.\./\.\./(.+?)\)", text):
            tree = ast.parse((ROOT / source).read_text("utf-8"))
            assert ast.get_docstring(tree), source
        assert text.count("::: legged_gym_ext.") == text.count("[Source]")


def test_every_page_of_the_navigation_is_there_or_somebody_elses() -> None:
    """Pages that are left out while they are missing are those that are known to be still to come."""
    from website import staging

    def pages(nav: Any) -> list[str]:
        return [
            page
            for entry in nav
            for value in entry.values()
            for page in ([value] if isinstance(value, str) else pages(value))
        ]

    names = pages(yaml.safe_load(staging.SETTINGS.read_text("utf-8"))["nav"])
    there = {staging.place(str(path.relative_to(ROOT))) for path in (ROOT / "docs").rglob("*.md")}
    there |= {staging.place(name) for name in staging.GENERATED} | {
        "index.md",
        "CONTRIBUTING.md",
        "SECURITY.md",
        "CHANGELOG.md",
    }
    assert set(names) - there <= {"logging.md", "media.md", "viewer.md", "reports.md", "dependencies.md"}
    assert there <= set(names), "a page that nobody finds"
    assert len(set(names)) == len(names)
    assert all(Path(name).suffix == ".md" for name in names)


def test_a_command_with_words_of_its_own_is_a_program_for_each(monkeypatch: pytest.MonkeyPatch) -> None:
    from legged_gym_ext.commands import export
    from legged_gym_ext.config.cli import Parser

    def first(argv: list[str]) -> None:
        Parser(description="first").parse_only(argv)

    monkeypatch.setattr(export, "COMMANDS", {"one": first, "two": export.main}, raising=False)
    found = {program.call: program.parser.description for program in flags.programs()}
    assert found["python export.py one"] == "first" and "python export.py" not in found
    assert "student" in str(found["python export.py two"]) and "python -m benchmarks" in found
    assert list(found)[:3] == ["python train.py", "python play.py", "python evaluate.py"]

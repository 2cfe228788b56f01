"""Configurations in and out: dataclass defaults <- a task's YAML <- command-line overrides, strictly checked."""

from __future__ import annotations

import contextlib
import dataclasses
import difflib
import functools
import signal
import threading
import typing
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

import yaml
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from legged_gym_ext.config.fields import kinds_of
from legged_gym_ext.config.rules import validate
from legged_gym_ext.config.schema import Config
from legged_gym_ext.errors import UserError, unknown
from legged_gym_ext.runs.atomic import write_file
from legged_gym_ext.tasks import find_yaml

BASE_KEY = "base"  # in a YAML: the task that it starts from
KIND_KEY = "kind"  # in a section: which class it has, if it may be of several
NAMES_A_PROGRAM = ("sim.isaacgym.python",)
"""Keys whose value is run. No file may set them: who takes a stranger's configuration runs no stranger's program."""
_TOO_DEEP = "sections or lists within one another, deeper than can be read"
GIVEN_WHOLE = ("robot.default_pose", "robot.stiffness", "robot.damping")
"""Mappings that replace what was there, since another robot's joints have other names. The rest are merged."""


@contextlib.contextmanager
def _uninterrupted() -> Iterator[None]:
    """Let Ctrl-C and SIGTERM wait for the end: OmegaConf, interrupted, fails in its own clean-up with another error.

    A second one does not wait.
    """
    if threading.current_thread() is not threading.main_thread():  # signals are none of its business
        yield
        return
    usual = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    came: list[int] = []

    def restore() -> None:
        for number, handler in usual.items():
            signal.signal(number, handler)

    def wait(number: int, frame: FrameType | None) -> None:
        came.append(number)
        restore()

    for number, handler in usual.items():
        if callable(handler):
            signal.signal(number, wait)
    try:
        yield
    finally:
        restore()
        for number in came:
            signal.raise_signal(number)


@_uninterrupted()
def load_config(task: str, overrides: Sequence[str] = ()) -> Config:
    """Return the configuration of ``task`` (a name, or the path of a YAML file) with ``section.key=value`` overrides.

    Raises:
        UserError: unknown task or key, wrong type, value that is not allowed, YAML that cannot be read.
    """
    top = find_yaml(task)
    tree = OmegaConf.structured(Config)
    for path, values in _read_with_bases(top):
        _merge(tree, "", values, str(path))
    tree.task = task
    return _finish(tree, overrides, str(top))


@_uninterrupted()
def load_saved_config(path: str | Path, overrides: Sequence[str] = ()) -> Config:
    """Return the configuration that :func:`save_config` wrote to ``path``, with overrides on top of it.

    Keys that the file lacks (it is older than they are) have their defaults; keys that it alone has are an error.
    """
    tree = OmegaConf.structured(Config)
    _merge(tree, "", read_yaml(Path(path)), str(path))
    return _finish(tree, overrides, str(path))


def save_config(config: Config, path: str | Path) -> None:
    """Write the configuration as YAML: all of it but what no file may set.

    Raises:
        UserError: It cannot be written; then ``path`` is as it was.
    """
    tree = OmegaConf.structured(config)
    for key in NAMES_A_PROGRAM:
        OmegaConf.update(tree, key, "")
    write_file(Path(path), OmegaConf.to_yaml(tree))


def _finish(tree: DictConfig, overrides: Sequence[str], source: str) -> Config:
    changes = []
    for override in overrides:
        key, separator, text = override.partition("=")
        if not separator or not key:
            raise UserError(f"cannot read '{override}'; configuration overrides are written section.key=value")
        changes.append((key, text))
    kinds = [change for change in changes if not _chooses_no_kind(change[0])]
    for key, text in kinds + changes:  # first they decide which other keys there are, then the last one wins
        _merge_one(tree, key, _parse_value(tree, key, text), "")
    try:
        config = OmegaConf.to_object(tree)
    except OmegaConfBaseException as error:
        raise UserError(f"{source}: {_first_line(error)}") from error
    assert isinstance(config, Config)
    validate(config)
    return config


# YAML ---------------------------------------------------------------------------------------------------------------


def _read_with_bases(path: Path) -> list[tuple[Path, dict[str, Any]]]:
    """Return the YAML files that ``path`` builds on with their values, the most basic one first, ``path`` last."""
    chain: list[tuple[Path, dict[str, Any]]] = []
    while True:
        values = read_yaml(path)
        base = values.pop(BASE_KEY, None)
        chain.insert(0, (path, values))
        if base is None:
            return chain
        sibling = path.parent / f"{base}.yaml"
        path = sibling if sibling.is_file() else find_yaml(str(base))
        if path in [file for file, _ in chain]:
            circle = " -> ".join(file.stem for file in [*(file for file, _ in chain[::-1]), path])
            raise UserError(f"{chain[-1][0]}: '{BASE_KEY}' goes in a circle: {circle}")


def read_yaml(path: Path) -> dict[str, Any]:
    """Return the values of a YAML file as they stand there, unchecked.

    Raises:
        UserError: It cannot be read, or is no mapping.
    """
    try:
        content = OmegaConf.load(path)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f":{mark.line + 1}" if mark else ""
        problem = error.problem or error.context or "cannot be read"
        raise UserError(f"{path}{line}: YAML syntax error: {_first_line(problem)}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not a YAML text file: {_first_line(error)}") from error
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or _first_line(error)}") from error
    except RecursionError as error:
        raise UserError(f"{path}: {_TOO_DEEP}") from error
    if not isinstance(content, DictConfig):
        raise UserError(f"{path}: expected sections and keys, got a list or a single value")
    values = OmegaConf.to_container(content)
    assert isinstance(values, dict)
    _refuse_interpolation(values, f"{path}: ")
    return {str(key): value for key, value in values.items()}


def _refuse_interpolation(value: Any, where: str) -> None:
    """Raise a UserError where a value has ``${...}``, which OmegaConf would replace, by environment variables, too."""
    if isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            _refuse_interpolation(item, where)
    elif isinstance(value, str) and "${" in value:
        raise UserError(f"{where}'{_first_line(value)[:80]}': values are taken as they are written; leave out '${{'")


# Strict merging -----------------------------------------------------------------------------------------------------


def _merge(tree: DictConfig, prefix: str, values: Mapping[Any, Any], source: str) -> None:
    for name in sorted(values, key=_chooses_no_kind):
        _merge_one(tree, f"{prefix}{name}", values[name], source)


def _merge_one(tree: DictConfig, key: str, value: Any, source: str) -> None:
    """Set ``key`` of the configuration to ``value``; ``source`` (the file; empty: command line) is for errors."""
    where = f"{source}: " if source else ""
    hint = _type_of(tree, key, where)
    section, _, name = key.rpartition(".")
    kinds = _kinds(tree, section) if name == KIND_KEY else {}
    if kinds:
        if value not in list(kinds):
            raise UserError(f"{where}{unknown(key, value, kinds)}")
        if value != OmegaConf.select(tree, key):
            OmegaConf.update(tree, section, kinds[value](), merge=False)
        return
    if dataclasses.is_dataclass(hint):
        if isinstance(value, Mapping):
            _merge(tree, f"{key}.", value, source)
        elif value is not None or not source:  # None: a section of a YAML with all its keys commented out
            names = ", ".join(sorted(field.name for field in dataclasses.fields(hint)))
            raise UserError(f"{where}{key}: expected a section with keys among: {names}; got {value!r}")
        return
    if value is None and source and typing.get_origin(hint) is dict:
        return
    if source and value and key in NAMES_A_PROGRAM:
        raise UserError(f"{where}{key}: it names a program to run, which no file may; give it on the command line")
    wrong = UserError(f"{where}{key}: expected {_describe(hint)}, got {value!r}")
    if isinstance(value, bool) and hint in (int, float):
        raise wrong
    try:
        OmegaConf.update(tree, key, value, merge=key not in GIVEN_WHOLE)
    except (OmegaConfBaseException, TypeError) as error:
        raise wrong from error


def _chooses_no_kind(key: Any) -> bool:
    """Return what sorts keys such that the class of a section is chosen before what is in it is set."""
    return str(key).rpartition(".")[2] != KIND_KEY


def _kinds(tree: DictConfig, section: str) -> Mapping[str, type]:
    """Return the classes that a section may have, by kind; none where its class is fixed."""
    owner, _, name = section.rpartition(".")
    fields = dataclasses.fields(_class_of(OmegaConf.select(tree, owner) if owner else tree))
    return next((kinds_of(field) for field in fields if field.name == name), {})


def _parse_value(tree: DictConfig, key: str, text: str) -> Any:
    """Return the value that ``text`` on the command line stands for: itself where text is wanted, else read as YAML."""
    _refuse_interpolation(text, f"{key}: ")
    if _type_of(tree, key, "") is str:
        return text
    try:
        return OmegaConf.from_dotlist([f"value={text}"])["value"]
    except RecursionError as error:
        raise UserError(f"{key}: {_TOO_DEEP}") from error
    except (yaml.YAMLError, OmegaConfBaseException) as error:
        raise UserError(f"{key}: cannot read '{text[:80]}': {_first_line(error)}") from error


def _type_of(tree: DictConfig, key: str, where: str) -> Any:
    """Return the type that the dataclasses in ``tree`` give to a dotted ``key``."""
    section, hint = tree, Config
    parts = key.split(".")
    for i, part in enumerate(parts):
        if dataclasses.is_dataclass(hint):
            hints = _hints(section)
            if part not in hints:
                raise _unknown_key(tree, key, ".".join(parts[:i]), hints, where)
            hint = hints[part]
            if dataclasses.is_dataclass(hint):
                section = section[part]
        elif typing.get_origin(hint) is dict and i == len(parts) - 1:
            hint = typing.get_args(hint)[1]
        else:
            raise UserError(f"{where}unknown configuration key '{key}': '{'.'.join(parts[:i])}' has no keys of its own")
    return hint


def _unknown_key(tree: DictConfig, key: str, section: str, siblings: Mapping[str, Any], where: str) -> UserError:
    """Return the error for a key that is not in ``section``: looks for a near match there, then everywhere."""
    prefix = f"{section}." if section else ""
    parts = key[len(prefix) :].split(".")
    near = [prefix + name for name in difflib.get_close_matches(parts[0], siblings, n=1)]
    namesakes = [name for name in _all_keys(tree) if name.split(".")[-1] == parts[-1]]
    if near and len(parts) > 1:
        near = [".".join([near[0], *parts[1:]])]
        near = difflib.get_close_matches(near[0], list(_all_keys(tree)), n=1)
    elif section:  # one deeper in the section is nearer than a name that only looks alike
        near = [name for name in namesakes if name.startswith(prefix)] or near
    near = near or namesakes
    near = near or difflib.get_close_matches(key, list(_all_keys(tree)), n=1, cutoff=0.8)
    hint = f" (did you mean '{near[0]}'?)" if near else ""
    allowed = f"allowed in {section}" if section else "allowed"
    return UserError(f"{where}unknown configuration key '{key}'{hint}; {allowed}: {', '.join(sorted(siblings))}")


def _class_of(section: DictConfig) -> Any:
    """Return the dataclass that a section is of by now."""
    return OmegaConf.get_type(section)


def _hints(section: DictConfig) -> dict[str, Any]:
    """Return the type of each key of a section; of a section in it, the class that it has by now."""
    owner = _class_of(section)
    hints = _hints_of(owner, tuple((item.name, item.type) for item in dataclasses.fields(owner)))
    return {
        name: OmegaConf.get_type(section, name) if dataclasses.is_dataclass(hint) else hint
        for name, hint in hints.items()
    }


@functools.cache
def _hints_of(section: Any, keys: tuple[tuple[str, Any], ...]) -> dict[str, Any]:
    """Do that for a section that has these ``keys`` by now: more may be added (sections.py)."""
    return typing.get_type_hints(section)


def _all_keys(section: DictConfig, prefix: str = "") -> Iterator[str]:
    for name, hint in _hints(section).items():
        if dataclasses.is_dataclass(hint):
            yield from _all_keys(section[name], f"{prefix}{name}.")
        else:
            yield prefix + name


def _describe(hint: Any) -> str:
    simple = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}
    if hint in simple:
        return simple[hint]
    arguments = typing.get_args(hint)
    if typing.get_origin(hint) is list:
        return f"a list [..., ...], each {simple[arguments[0]]}"
    if typing.get_origin(hint) is dict:
        return f"'name: value' pairs, each value {simple[arguments[1]]}"
    return "another value"


def _first_line(error: object) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]

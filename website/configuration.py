"""The page with every configuration key, from the dataclasses that are the configuration."""

from __future__ import annotations

import dataclasses
import inspect
import typing
from collections.abc import Callable, Iterator
from typing import Any

from legged_gym_ext.config.fields import Numbers, kinds_of, rule_of
from legged_gym_ext.config.files import load_config
from legged_gym_ext.config.schema import Config
from legged_gym_ext.envs import observations, rewards
from legged_gym_ext.tasks import task_names
from website.comments import field_comments
from website.markdown import cell, code, table

INTRODUCTION = """# Every configuration key

Written from the code when this site is built. Each key is an argument of `train.py`, `play.py` and `evaluate.py`,
`section.key=value`, and an entry of a task's YAML in [`configs/`](../configs). Lengths are in m, angles in rad
(degrees where the name says so), times in s, unless something else is said. "In" says what the tasks that come with the
package have instead of the default.
"""
_WHOLE = {"a number": "a whole number"}
_TYPES = {bool: "`true` or `false`", str: "text", int: "a whole number", float: "a number", Any: "anything"}
_EVERYWHERE = {
    "proportion": "robots on this kind, in proportion to the other kinds; 0 = none",
    "kind": "which of the sections of this name it is",
}
"""What keys are that many sections have by convention."""
_MANY = 4  # names in a mapping that are still shown as the value of a key


@dataclasses.dataclass(frozen=True)
class Key:
    """A key as the page has it."""

    name: str
    default: Any
    allowed: str
    meaning: str


@dataclasses.dataclass(frozen=True)
class Section:
    """A section: its name (empty: the keys without one), what it is, its keys."""

    name: str
    meaning: str
    keys: list[Key]


def sections(owner: Any = None, name: str = "") -> Iterator[Section]:
    """Yield all sections of the configuration in its order, those of every kind of a section that has kinds."""
    owner = Config() if owner is None else owner
    comments = field_comments(type(owner))
    hints = typing.get_type_hints(type(owner))
    prefix = f"{name}." if name else ""
    keys, inner = [], []
    for field in dataclasses.fields(owner):
        value = getattr(owner, field.name)
        kinds = kinds_of(field)
        if kinds:
            inner += [(f"{prefix}{field.name}", kind()) for kind in kinds.values()]
        elif dataclasses.is_dataclass(value):
            inner.append((f"{prefix}{field.name}", value))
        else:
            allowed = allowed_words(field, hints[field.name])
            keys.append(
                Key(f"{prefix}{field.name}", value, allowed, comments[field.name] or _EVERYWHERE.get(field.name, ""))
            )
    yield Section(name, inspect.getdoc(type(owner)) or "", keys)
    for inner_name, value in inner:
        yield from sections(value, inner_name)


def allowed_words(field: dataclasses.Field[Any], hint: Any) -> str:
    """Return in words what a field may be."""
    rule = rule_of(field)
    if rule == Numbers():  # no rule of its own
        arguments = typing.get_args(hint)
        if hint in _TYPES:
            return _TYPES[hint]
        if typing.get_origin(hint) is list:
            return f"a list, each {_TYPES[arguments[0]]}"
        return f"names, each with {_TYPES[arguments[1]]}"
    words = rule.words
    if hint is int or hint == list[int]:
        for number, whole in _WHOLE.items():
            words = words.replace(number, whole)
    return words


def written(value: Any) -> str:
    """Return a value as it is written in YAML."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return f"[{', '.join(written(item) for item in value)}]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{name}: {written(item)}" for name, item in value.items()) + "}"
    if isinstance(value, float):
        return f"{value:g}" if not value.is_integer() or abs(value) >= 1e6 else f"{value:.1f}"
    return str(value) if value != "" else '""'


def page() -> str:
    """Return the page."""
    tasks = {task: dict(_values(load_config(task))) for task in task_names()}
    parts = [INTRODUCTION]
    for section in sections():
        if section.keys:
            title = f"`{section.name}`" if section.name else "The run"
            kind = next((key.default for key in section.keys if key.name.endswith(".encoder.kind")), "")
            anchor = f"{section.name or 'run'}{f'-{kind}' if kind else ''}"
            heading = f"## {title}{f', kind `{kind}`' if kind else ''} {{ #section-{anchor} }}"
            rows = [_row(key, tasks, kind) for key in section.keys]
            parts += [heading, section.meaning, table(["key", "default", "allowed", "what it is"], rows)]
    parts += [_rewards(tasks), _observations()]
    return "\n\n".join(parts) + "\n"


def _values(section: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    for field in dataclasses.fields(section):
        value = getattr(section, field.name)
        if dataclasses.is_dataclass(value):
            yield from _values(value, f"{prefix}{field.name}.")
        else:
            yield f"{prefix}{field.name}", value


def _row(key: Key, tasks: dict[str, dict[str, Any]], kind: str) -> list[str]:
    default = code(written(key.default))
    others: dict[str, list[str]] = {}
    for task, values in tasks.items():
        same_kind = not kind or values.get(f"{key.name.rpartition('.')[0]}.kind") == kind
        value = values.get(key.name, key.default)
        if same_kind and value != key.default and key.name != "task":
            text = f"[{len(value)} of them](#reward-terms)" if _is_long(value) else code(written(value))
            others.setdefault(text, []).append(task)
    for text, names in others.items():
        where = "all tasks" if len(names) == len(tasks) else ", ".join(f"`{name}`" for name in names)
        default += f"<br>In {where}: {text}"
    anchor = f"{key.name}-{kind}" if kind else key.name
    return [f'<a id="{anchor}"></a>`{key.name}`', default, cell(key.allowed), cell(key.meaning)]


def _is_long(value: Any) -> bool:
    return isinstance(value, dict) and len(value) > _MANY


def _rewards(tasks: dict[str, dict[str, Any]]) -> str:
    values = tasks["parkour_depth"]
    weights, start = values["rewards.weights"], values["rewards.start_weights"]
    rows = [
        [
            f"`{name}`",
            cell(_first_sentence(term)),
            written(start.get(name, weights.get(name, 0.0))),
            written(weights.get(name, 0.0)),
        ]
        for name, term in rewards.TERMS.items()
    ]
    text = (
        "Names in `rewards.weights` and `rewards.start_weights`: functions of "
        "[rewards.py](../legged_gym_ext/envs/rewards.py). Weights are those of `parkour_depth`, at level 0 and from "
        "`rewards.full_at_level` on; 0 = it is not computed."
    )
    return f"## Reward terms\n\n{text}\n\n" + table(["term", "what it is, per second", "at level 0", "weight"], rows)


def _observations() -> str:
    rows = [
        [f"`{term.name}`", str(term.size), cell(term.sensor.meaning if term.sensor else "")]
        for term in (*observations.PROPRIO_TERMS, *observations.OTHERS.values())
    ]
    others = ", ".join(f"`{name}`" for name in observations.OTHERS)
    text = f"What a student sees besides the image; only {others} can be left out or put in (`observations.others`)."
    return f"## Observations\n\n{text}\n\n" + table(["name", "numbers", "what it is"], rows)


def _first_sentence(function: Callable[..., Any]) -> str:
    return (inspect.getdoc(function) or "").split("\n\n")[0]

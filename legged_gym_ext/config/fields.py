"""Fields of a configuration section, each with the rule for its values.

A section is a dataclass, and a field that has a rule is made by one of the functions below::

    @dataclass
    class StairsConfig:
        rise: list[float] = at_difficulties(0.01, 0.2)  # of one step
        kind: str = choice("straight", ("straight", "spiral"))

A rule is data in the field's metadata. It says in words what it asks for, and what is wrong with a value; rules.py
applies it to a configuration. Types are not its matter: reading a configuration (files.py) checks them.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

from legged_gym_ext.errors import UserError, unknown

N = TypeVar("N", bound=float)
Names = Collection[str] | Callable[[], Collection[str]]
"""Names that a value may have: a fixed collection, a registry that may still grow, or a function that returns them."""
Kinds = Callable[[], Mapping[str, type]]

LARGEST = 1e9
"""Of all numbers whose field says nothing else: what is larger is a slip, and overflows somewhere later."""

_RULE, _KINDS = "rule", "kinds"  # in a field's metadata
_COUNTED = {2: "two", 3: "three"}


# Rules --------------------------------------------------------------------------------------------------------------


class Rule(Protocol):
    """What the values of a field may be."""

    @property
    def words(self) -> str:
        """What is asked for, as the end of "expected ..."."""
        ...

    def complaints(self, key: str, value: Any) -> Iterator[UserError]:
        """Yield an error for each breach by the ``value`` of ``key``."""
        ...


@dataclass(frozen=True)
class Number:
    """A finite number within bounds, of a magnitude up to ``LARGEST`` unless ``at_most`` is more."""

    at_least: float = -math.inf
    above: float = -math.inf
    at_most: float = math.inf
    below: float = math.inf

    @property
    def words(self) -> str:
        """The bounds."""
        if math.isfinite(self.at_least) and math.isfinite(self.at_most):
            return f"a number from {_written(self.at_least)} to {_written(self.at_most)}"
        bounds = ((">=", self.at_least), (">", self.above), ("<=", self.at_most), ("<", self.below))
        given = [f"{sign} {_written(bound)}" for sign, bound in bounds if math.isfinite(bound)]
        return f"a number {' and '.join(given)}" if given else _WITHIN_LARGEST.words

    def admits(self, value: float) -> bool:
        """Return whether the bounds admit ``value``."""
        return self.at_least <= value <= self.at_most and self.above < value < self.below

    def complaints(self, key: str, value: float) -> Iterator[UserError]:
        """Yield an error if ``value`` is not such a number."""
        if not -math.inf < value < math.inf:
            yield _expected(key, "a finite number", value)
        elif not self.admits(value):
            yield _expected(key, self.words, value)
        elif abs(value) > (LARGEST if self.at_most == math.inf else max(self.at_most, LARGEST)):
            yield _expected(key, _WITHIN_LARGEST.words, value)


_WITHIN_LARGEST = Number(at_least=-LARGEST, at_most=LARGEST)
ANY_NUMBER = Number()
POSITIVE = Number(above=0)
NOT_NEGATIVE = Number(at_least=0)
AT_LEAST_ONE = Number(at_least=1)
SHARE = Number(at_least=0, at_most=1)


@dataclass(frozen=True)
class CountOrAuto:
    """A whole number that is not too small, or the word ``auto``."""

    at_least: int = 1

    @property
    def words(self) -> str:
        """The bound."""
        return f"a whole number >= {self.at_least}, or auto"

    def complaints(self, key: str, value: Any) -> Iterator[UserError]:
        """Yield an error if ``value`` is neither."""
        if value == "auto":
            return
        if isinstance(value, int) and not isinstance(value, bool) and value >= self.at_least:
            yield from _WITHIN_LARGEST.complaints(key, value)
        else:
            yield _expected(key, self.words, value)


@dataclass(frozen=True)
class Numbers:
    """Numbers in a list or a mapping, each of which obeys a rule under its own name, such as ``key[1]``."""

    each: Number = ANY_NUMBER
    length: int | None = None
    meaning: str = ""
    """What the values of that length are, in words."""
    ordered: bool = False
    """Whether none may be less than the one before."""
    not_empty: bool = False

    @property
    def words(self) -> str:
        """How many, in which order, and what each must be."""
        return ", ".join([*(words for words, _ in self._of_the_whole()), f"each {self.each.words}"])

    def complaints(self, key: str, value: Any) -> Iterator[UserError]:
        """Yield the errors of the numbers in ``value``, then those of the whole."""
        for name, number in _numbers(key, value):
            yield from self.each.complaints(name, number)
        for words, holds in self._of_the_whole():
            if not holds(value):
                yield _expected(key, words, value)

    def _of_the_whole(self) -> Iterator[tuple[str, Callable[[Any], bool]]]:
        if self.length is not None:
            values = f"{_COUNTED.get(self.length, self.length)} values"
            yield f"{values}, {self.meaning}" if self.meaning else values, lambda value: len(value) == self.length
        if self.ordered:
            yield "[low, high] with low <= high", lambda value: list(value) == sorted(value)
        if self.not_empty:
            yield "one number at least", bool


@dataclass(frozen=True)
class EachOnce:
    """Names in a list, none of them twice."""

    words = "each name once"

    def complaints(self, key: str, value: list[str]) -> Iterator[UserError]:
        """Yield an error if a name stands in ``value`` twice."""
        if len(set(value)) != len(value):
            yield _expected(key, self.words, value)


@dataclass(frozen=True)
class Choice:
    """One of some names, as they are when a value is checked."""

    choices: Names

    @property
    def names(self) -> tuple[str, ...]:
        """The names that are allowed now."""
        return tuple(self.choices() if callable(self.choices) else self.choices)

    @property
    def words(self) -> str:
        """The names."""
        return f"one of {', '.join(self.names)}"

    def complaints(self, key: str, value: Any) -> Iterator[UserError]:
        """Yield an error with the nearest name if ``value`` is none of them."""
        if value not in self.names:
            yield unknown(key, value, self.names)


@dataclass(frozen=True)
class Text:
    """Text that matches a pattern as a whole."""

    pattern: str
    words: str

    def complaints(self, key: str, value: str) -> Iterator[UserError]:
        """Yield an error if ``value`` does not match."""
        if re.fullmatch(self.pattern, value) is None:
            yield _expected(key, self.words, value)


def rule_of(config_field: dataclasses.Field[Any]) -> Rule:
    """Return the rule of a dataclass's field; without one of its own, that of all numbers, of those in its value."""
    return config_field.metadata.get(_RULE, _ANY_VALUE)


_ANY_VALUE = Numbers()
_DEVICE = Text(r"auto|cpu|cuda(:\d+)?", "auto, cpu or cuda:N")
_FOLDER_NAME = Text(r"(\w[\w.-]*)?", "letters, digits, '.', '_' and '-' (it names a folder)")


def _numbers(key: str, value: Any) -> Iterator[tuple[str, float]]:
    """Yield each number in ``value`` (a list, a mapping, or a number itself) with its name."""
    if isinstance(value, dict):
        for name, item in value.items():
            yield from _numbers(f"{key}.{name}", item)
    elif isinstance(value, list):
        for i, item in enumerate(value):
            yield from _numbers(f"{key}[{i}]", item)
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        yield key, value


def _expected(key: str, wanted: str, value: Any) -> UserError:
    return UserError(f"{key}: expected {wanted}, got {value!r}")


def _written(bound: float) -> str:
    return f"{bound:g}" if isinstance(bound, float) else str(bound)


# Fields of numbers --------------------------------------------------------------------------------------------------


def number(
    default: N,
    *,
    at_least: float = -math.inf,
    above: float = -math.inf,
    at_most: float = math.inf,
    below: float = math.inf,
) -> N:
    """Return a field for a number within bounds; ``above`` and ``below`` are themselves not allowed."""
    return _ruled(default, Number(at_least, above, at_most, below))


def positive(default: N) -> N:
    """Return a field for a number > 0."""
    return _ruled(default, POSITIVE)


def not_negative(default: N) -> N:
    """Return a field for a number >= 0."""
    return _ruled(default, NOT_NEGATIVE)


def count(default: int, *, at_least: int = 1, at_most: float = math.inf) -> int:
    """Return a field for a number of things, at least 1 of them unless ``at_least`` says more."""
    return _ruled(default, Number(at_least=at_least, at_most=at_most))


def share(default: float) -> float:
    """Return a field for a number from 0 to 1."""
    return _ruled(default, SHARE)


def count_or_auto(default: int | str = "auto", *, at_least: int = 1) -> Any:
    """Return a field for a whole number >= ``at_least``, or ``auto``: settled when the machine is known."""
    return _ruled(default, CountOrAuto(at_least))


# Fields of several numbers ------------------------------------------------------------------------------------------


def interval(low: N, high: N, each: Number = ANY_NUMBER) -> list[N]:
    """Return a field for ``[low, high]``, with low <= high."""
    return _ruled_list([low, high], Numbers(each, length=2, ordered=True))


def at_difficulties(easiest: N, hardest: N, each: Number = NOT_NEGATIVE) -> list[N]:
    """Return a field for the values at difficulty 0 and at difficulty 1, in either order."""
    return _ruled_list([easiest, hardest], Numbers(each, length=2, meaning="at difficulty 0 and at difficulty 1"))


def pair(first: N, second: N, each: Number = ANY_NUMBER) -> list[N]:
    """Return a field for two numbers."""
    return _ruled_list([first, second], Numbers(each, length=2))


def triple(first: N, second: N, third: N, each: Number = ANY_NUMBER) -> list[N]:
    """Return a field for three numbers."""
    return _ruled_list([first, second, third], Numbers(each, length=3))


def layers(*widths: int) -> list[int]:
    """Return a field for the widths of a network's hidden layers, of which there is one at least."""
    return _ruled_list(list(widths), Numbers(AT_LEAST_ONE, not_empty=True))


def by_name(default: dict[str, N], each: Number = ANY_NUMBER) -> dict[str, N]:
    """Return a field for numbers with names."""
    return field(default_factory=lambda: dict(default), metadata={_RULE: Numbers(each)})


# Fields of text -----------------------------------------------------------------------------------------------------


def choice(default: str, choices: Names) -> str:
    """Return a field for one of the names in ``choices``."""
    return _ruled(default, Choice(choices))


def kind_name(name: str) -> str:
    """Return the field ``kind`` of a section that :func:`by_kind` may choose: its only value is the kind's name."""
    return choice(name, (name,))


def names(default: Collection[str] = ()) -> list[str]:
    """Return a field for a list of names, none of them twice."""
    return _ruled_list(list(default), EachOnce())


def device_name(default: str = "auto") -> str:
    """Return a field for the name of a device: auto, cpu, cuda or cuda:N."""
    return _ruled(default, _DEVICE)


def folder_name(default: str = "") -> str:
    """Return a field for text that is part of a folder's name, or empty."""
    return _ruled(default, _FOLDER_NAME)


# Fields that are sections ---------------------------------------------------------------------------------------------


def by_kind(default: str, kinds: Kinds) -> Any:
    """Return a field for a section whose class its own key ``kind`` chooses.

    Args:
        default: The kind that it is at first.
        kinds: A function that returns the classes by kind, those that there are by now. All of them are dataclasses
            derived from the type of the field, and each has a field ``kind`` made by :func:`kind_name`.
    """
    return field(default_factory=lambda: kinds()[default](), metadata={_KINDS: kinds})


def kinds_of(config_field: dataclasses.Field[Any]) -> Mapping[str, type]:
    """Return the classes by kind of a field that :func:`by_kind` made; of another, none."""
    kinds: Kinds | None = config_field.metadata.get(_KINDS)
    return kinds() if kinds else {}


def _ruled(default: Any, rule: Rule) -> Any:
    return field(default=default, metadata={_RULE: rule})


def _ruled_list(default: list[Any], rule: Rule) -> Any:
    return field(default_factory=lambda: list(default), metadata={_RULE: rule})

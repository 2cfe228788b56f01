"""The controls of a page, whatever draws them: what there is to press and to move, and which values are allowed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from legged_gym_ext.errors import UserError, printable, unknown

Value = bool | int | float | str


@dataclass(frozen=True)
class Buttons:
    """Buttons in a row. To press one is to give its word."""

    name: str
    """Of the control; the same in all of its life."""
    label: str
    """What is written beside it."""
    words: tuple[str, ...]

    def check(self, value: Value) -> Value:
        """Return the value that is meant.

        Raises:
            UserError: It is not allowed.
        """
        if value not in self.words:
            raise unknown(self.label, value, self.words)
        return value


@dataclass(frozen=True)
class Switch:
    """Something that is on or off."""

    name: str
    label: str
    value: bool

    def check(self, value: Value) -> Value:
        """Return the value that is meant."""
        return bool(value)


@dataclass(frozen=True)
class Choice:
    """One of several words."""

    name: str
    label: str
    options: tuple[str, ...]
    value: str

    def check(self, value: Value) -> Value:
        """Return the value that is meant.

        Raises:
            UserError: It is not allowed.
        """
        if value not in self.options:
            raise unknown(self.label, value, self.options)
        return value


@dataclass(frozen=True)
class Slider:
    """A number in a range; whole numbers where the step is one."""

    name: str
    label: str
    low: float
    high: float
    step: float
    value: float

    def check(self, value: Value) -> Value:
        """Return the value that is meant.

        Raises:
            UserError: It is not allowed.
        """
        if isinstance(value, (str, bool)) or not self.low <= value <= self.high:
            raise UserError(f"{self.label} {printable(str(value))}; allowed: {self.low:g} to {self.high:g}")
        return type(self.step)(value)


Control = Buttons | Switch | Choice | Slider


class Controlled(Protocol):
    """What has controls."""

    def controls(self) -> Sequence[Control]:
        """Return all controls, with their values as they are now."""
        ...

    def set(self, name: str, value: Value) -> None:
        """Do what a control says.

        Raises:
            UserError: There is no such control, its value is not allowed, or what it asks for cannot be done.
        """
        ...


def checked(controls: Sequence[Control], name: str, value: Value) -> Value:
    """Return the value that is meant for the control of that name; what comes from a browser is anything.

    Raises:
        UserError: There is no such control, or the value is not allowed.
    """
    for control in controls:
        if control.name == name:
            return control.check(value)
    raise unknown("control", name, [control.name for control in controls])


def which_environment(num_envs: int, index: int) -> list[Control]:
    """Return what chooses one of the environments, if there are several."""
    return [Slider("environment", "environment", 0, num_envs - 1, 1, index)] if num_envs > 1 else []

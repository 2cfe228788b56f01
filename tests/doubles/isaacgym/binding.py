"""What pybind11 does for the real one: structures with fixed fields of fixed types, functions that check arguments."""

import copy
import functools
import inspect
import os
from enum import IntEnum

import numpy as np

PHYSICS = "ISAACGYM_DOUBLE_PHYSICS"
"""``0``: nothing moves, nothing is computed and no argument is checked, so that a call costs next to nothing, and all
that is not Isaac Gym's can be timed. All tensors are there and can be set."""


class Misuse(RuntimeError):
    """Raised where the real one would crash, or do something that nobody has written down."""


class Structure:
    """A C structure: ``FIELDS`` maps each of its names to a type and a default. No other attribute can be set."""

    FIELDS = {}

    def __init__(self):
        for name, (kind, default) in self.FIELDS.items():
            object.__setattr__(self, name, default() if inspect.isclass(default) else convert(kind, default, name))

    def __setattr__(self, name, value):
        if name not in self.FIELDS:
            raise AttributeError(f"'{type(self).__name__}' object has no attribute '{name}'")
        object.__setattr__(self, name, convert(self.FIELDS[name][0], value, name))

    def __deepcopy__(self, memo):
        """Copy the fields as they are: their types were checked when they were set, and robots have thousands."""
        twin = object.__new__(type(self))
        for name, value in vars(self).items():
            plain = isinstance(value, (int, float, str))
            object.__setattr__(twin, name, value if plain else copy.deepcopy(value, memo))
        return twin

    def __repr__(self):
        return f"{type(self).__name__}({', '.join(f'{name}={getattr(self, name)}' for name in self.FIELDS)})"


def convert(kind, value, name):
    """Return the value as the C++ side would take it, or raise TypeError as pybind11 does."""
    if kind is float and isinstance(value, (int, float, np.floating, np.integer)):
        return float(np.float32(value))
    if kind is bool and isinstance(value, (bool, np.bool_)):
        return bool(value)
    if kind is int and isinstance(value, (int, np.integer)):
        return int(value)
    if inspect.isclass(kind) and isinstance(value, kind) and not issubclass(kind, (float, bool)):
        return value
    raise TypeError(f"{name}: incompatible type {type(value).__name__}, wanted: {getattr(kind, '__name__', kind)}")


def checked(function):
    """Check a method's arguments against its annotations, as pybind11 does."""
    if os.environ.get(PHYSICS) == "0":
        return function
    signature = inspect.signature(function)
    kinds = {name: p.annotation for name, p in signature.parameters.items() if p.annotation is not p.empty}
    optional = {name for name, p in signature.parameters.items() if p.default is None}
    for name, kind in kinds.items():
        if type(None) in getattr(kind, "__args__", ()):  # Optional[...]
            optional.add(name)
            kinds[name] = kind.__args__[0]

    @functools.wraps(function)
    def call(*args, **kwargs):
        bound = signature.bind(*args, **kwargs)
        for name, value in bound.arguments.items():
            if name in kinds and not (value is None and name in optional):
                try:
                    if kinds[name] is np.ndarray or issubclass(kinds[name], IntEnum):
                        assert isinstance(value, kinds[name])
                    else:
                        bound.arguments[name] = convert(kinds[name], value, name)
                except (TypeError, AssertionError):
                    raise TypeError(
                        f"{function.__name__}(): incompatible function arguments: {name} is {type(value).__name__}, "
                        f"wanted: {kinds[name].__name__}"
                    ) from None
        return function(*bound.args, **bound.kwargs)

    return call

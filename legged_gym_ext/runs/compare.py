"""What differs between the configurations of two runs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from legged_gym_ext.config.files import read_yaml
from legged_gym_ext.runs.folder import CONFIG_FILE
from legged_gym_ext.runs.resume import dotted_values

ABSENT = "-"
"""Stands for the value of a key that a run's configuration does not have: its program did not know it yet, or any
more."""


def differences(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Return the values that differ, by dotted key, in the order of the first configuration."""
    one, two = dict(dotted_values(first)), dict(dotted_values(second))
    return {
        key: values
        for key in {**one, **two}
        if (values := (one.get(key, ABSENT), two.get(key, ABSENT)))[0] != values[1]
    }


def compare_runs(first: Path, second: Path) -> dict[str, tuple[Any, Any]]:
    """Return what differs between the configurations in two runs' folders.

    Raises:
        UserError: One of them cannot be read.
    """
    return differences(read_yaml(first / CONFIG_FILE), read_yaml(second / CONFIG_FILE))

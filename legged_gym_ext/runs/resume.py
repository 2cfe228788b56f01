"""Whether environments can go on from where a checkpoint left them, or the configuration has changed too much."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any

import torch

from legged_gym_ext.config.schema import Config
from legged_gym_ext.runs.settle import resolve_engine

_DECIDE = ("terrain.", "robot.", "sim.", "camera.", "height_scan.", "randomization.action_latency", "distill.enabled")
"""Beginnings of the keys that say what an environment's saved state means, or whether there is one: tiles are numbers
in the library, joints and images are places in tensors. Of others, episodes under way may take up new values."""

_NEVERTHELESS = ("sim.threads",)
"""Keys among those that change nothing but the speed."""


def settled_engine(config: Config, device: torch.device | str) -> dict[str, Any]:
    """Return what ``sim.engine`` and ``sim.device`` mean for an environment on ``device``, by key."""
    device = torch.device(device)
    return {"sim.engine": resolve_engine(config.sim.engine, device), "sim.device": device.type}


def keys_that_forbid_it(
    saved: Mapping[str, Any], saved_engine: Mapping[str, Any], now: Config, device: Any
) -> list[str]:
    """Return the keys in which the configurations differ so that environments cannot go on from their saved states.

    Args:
        saved: The checkpoint's configuration; what it lacks (it is older) has the default.
        saved_engine: Its :func:`settled_engine`.
        now: This run's configuration.
        device: Of this run's environments.
    """
    default = dict(_values(asdict(Config())))
    before = dict(_values(saved)) | dict(saved_engine)
    after = dict(_values(asdict(now))) | settled_engine(now, device)
    keys = [key for key in {**after, **before} if key.startswith(_DECIDE) and key not in _NEVERTHELESS]
    return [key for key in keys if before.get(key, default.get(key)) != after.get(key)]


def _values(section: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the dotted keys and the values of nested dictionaries."""
    for name, value in section.items():
        if isinstance(value, Mapping):
            yield from _values(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value

"""What of a checkpoint can go on under another configuration: environments, networks."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict
from typing import Any

from legged_gym_ext.config.schema import Config
from legged_gym_ext.simulators import ENGINES

_DECIDE = (
    *("terrain.", "robot.", "sim.", "camera.", "height_scan."),
    *("randomization.action_latency", "randomization.camera_latency"),
    *("distill.enabled", "finetune.enabled"),
)
"""Beginnings of the keys that say what an environment's saved state means, or whether there is one: tiles are numbers
in the library, joints and images are places in tensors. Of others, episodes under way may take up new values."""

_BEFORE = {"randomization.camera_latency": [0, 0]}
"""What was the case when a key among those was not there yet."""

_NEVERTHELESS = (".threads", ".python", ".viewer", ".start_limit", ".step_limit")
"""Ends of keys among those that change nothing of the physics."""


_SHAPE_NETWORKS = (
    "teacher.kind",
    "teacher.hidden_dims",
    "teacher.critic_hidden_dims",
    "teacher.normalize_observations",
    "teacher.depth_block",
    "teacher.scan_encoder_dims",
    "student.latent_dim",
    "student.encoder.",
    "camera.enabled",
    "camera.resolution",
    "height_scan.",
    "observations.others",
)
"""Beginnings of the keys that say which networks there are, and how large they are."""


def keys_that_forbid_it(saved: Mapping[str, Any], now: Config) -> list[str]:
    """Return the keys in which the configurations differ so that environments cannot go on from their saved states.

    Args:
        saved: The checkpoint's configuration, settled (settle.py).
        now: This run's, settled.
    """
    both = {saved["sim"]["engine"]} & {now.sim.engine}  # whose options count
    before, after = _BEFORE | _deciding(saved, both), _deciding(asdict(now), both)
    return [key for key in {**after, **before} if before.get(key) != after.get(key)]


def other_networks(saved: Mapping[str, Any], now: Config) -> str:
    """Return in which keys the configurations ask for different networks, with both values; empty if in none."""
    before, after = dict(dotted_values(saved)), dict(dotted_values(asdict(now)))
    keys = [key for key in {**after, **before} if key.startswith(_SHAPE_NETWORKS) and before.get(key) != after.get(key)]
    return ", ".join(f"{key}={before.get(key)} there and {after.get(key)} here" for key in keys)


def _deciding(config: Mapping[str, Any], engines: Collection[str]) -> dict[str, Any]:
    """Return the values that count, by dotted key: of devices the type, of engines' options those of ``engines``."""
    others = tuple(f"sim.{engine}." for engine in ENGINES if engine not in engines)
    values = {
        key: value for key, value in dotted_values(config) if key.startswith(_DECIDE) and not key.startswith(others)
    }
    values["sim.device"] = values["sim.device"].partition(":")[0]
    return {key: value for key, value in values.items() if not key.endswith(_NEVERTHELESS)}


def dotted_values(section: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the dotted keys and the values of nested dictionaries."""
    for name, value in section.items():
        if isinstance(value, Mapping):
            yield from dotted_values(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value

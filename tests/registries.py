"""Registries of the package that a test may add to: kinds of obstacles and engines."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from legged_gym_ext.config.schema import SimConfig, TerrainConfig
from legged_gym_ext.simulators import ENGINES
from legged_gym_ext.terrain.kinds import KINDS


@contextmanager
def put_back() -> Iterator[None]:
    """Forget in the end what was registered within, and the sections that the configuration has got by it."""
    registries: list[dict[str, Any]] = [KINDS, ENGINES]
    entries = [dict(registry) for registry in registries]
    owners = SimConfig, TerrainConfig
    attributes = [(dict(vars(owner)), dict(owner.__annotations__)) for owner in owners]
    try:
        yield
    finally:
        for registry, before in zip(registries, entries, strict=True):
            registry.clear()
            registry.update(before)
        for owner, (before, types) in zip(owners, attributes, strict=True):
            for name in set(vars(owner)) - set(before):
                delattr(owner, name)
            for name, value in before.items():
                if vars(owner).get(name) is not value:
                    setattr(owner, name, value)
            owner.__annotations__.clear()
            owner.__annotations__.update(types)

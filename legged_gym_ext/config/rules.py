"""Whether a configuration is allowed: each field by its own rule, then what several keys decide together."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

from legged_gym_ext.config.fields import Choice, Rule, rule_of
from legged_gym_ext.config.schema import Config
from legged_gym_ext.errors import UserError


def validate(config: Config) -> None:
    """Raise :class:`UserError`, one line, at the first value that is not allowed."""
    for key, value, rule in walk(config):
        for complaint in rule.complaints(key, value):
            raise complaint
    _check_combinations(config)


def walk(section: Any, prefix: str = "") -> Iterator[tuple[str, Any, Rule]]:
    """Yield key, value and rule of every field of a section and of the sections in it."""
    for field in dataclasses.fields(section):
        key, value = f"{prefix}{field.name}", getattr(section, field.name)
        if dataclasses.is_dataclass(value):
            yield from walk(value, f"{key}.")
        else:
            yield key, value, rule_of(field)


def allowed(key: str) -> tuple[str, ...]:
    """Return the names that a ``key`` may be one of, such as those of the engines for ``sim.engine``."""
    rules = {name: rule for name, _, rule in walk(Config())}
    rule = rules[key]
    assert isinstance(rule, Choice), f"{key} is {rule.words}"
    return rule.names


def _check_combinations(config: Config) -> None:
    if not any(getattr(kind, "proportion", 0.0) > 0 for kind in vars(config.terrain).values()):
        raise UserError("terrain: expected a proportion > 0 for one kind at least, got none")
    if config.camera.far <= config.camera.near:
        raise UserError(f"camera.far: expected more than camera.near = {config.camera.near}, got {config.camera.far}")
    if config.curriculum.start_level >= config.terrain.levels:
        raise UserError(
            f"curriculum.start_level: expected a level below terrain.levels = {config.terrain.levels}, "
            f"got {config.curriculum.start_level}"
        )
    if not config.camera.enabled:
        if config.teacher.kind == "depth":
            raise UserError("teacher.kind: expected another teacher than 'depth' with camera.enabled=false")
        if config.distill.enabled:
            raise UserError("distill.enabled: expected false with camera.enabled=false: the student needs the camera")
    if config.teacher.kind == "depth" and any(size % config.teacher.depth_block for size in config.camera.resolution):
        rows, columns = config.camera.resolution
        raise UserError(
            f"teacher.depth_block: expected a divisor of camera.resolution = [{rows}, {columns}], "
            f"got {config.teacher.depth_block}"
        )
    if config.distill.enabled:
        config.student.encoder.check(config)
    elif config.finetune.enabled:
        raise UserError("finetune.enabled: expected false with distill.enabled=false: there is no student")
    if config.guided and not config.height_scan.enabled:
        raise UserError("height_scan.enabled: expected true with guide.enabled=true")
    if config.teacher.kind == "scandots" and not config.height_scan.enabled:
        raise UserError("height_scan.enabled: expected true with teacher.kind=scandots")

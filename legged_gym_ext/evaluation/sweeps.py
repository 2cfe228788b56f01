"""Robustness: one disturbance at a time, from none to strong. A new one is one function and one line."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from legged_gym_ext.config.schema import Config


@dataclass(frozen=True)
class Sweep:
    """A disturbance at several strengths, with all others off."""

    title: str
    """With the unit of the values."""
    values: tuple[float, ...]
    apply: Callable[[Config, float], None]
    """Changes a configuration in which nothing is disturbed."""
    sees: bool = False
    """Whether only the camera is disturbed, so that it is nothing to a policy without one."""


def _camera_latency(config: Config, frames: float) -> None:
    config.camera.latency = int(frames)


def _pixel_noise(config: Config, deviation: float) -> None:
    config.camera.depth_noise = deviation


def _dropout(config: Config, share: float) -> None:
    config.camera.dropout = share


def _mount_error(config: Config, degrees: float) -> None:
    config.camera.rotation_noise_degrees = degrees


def _push(config: Config, velocity: float) -> None:
    config.randomization.push_interval, config.randomization.push_velocity = 3.0, velocity


def _friction(config: Config, coefficient: float) -> None:
    config.randomization.friction = [coefficient, coefficient]


def _payload(config: Config, mass: float) -> None:
    config.randomization.added_mass = [mass, mass]


def _motor_strength(config: Config, factor: float) -> None:
    config.randomization.motor_strength = [factor, factor]


SWEEPS: dict[str, Sweep] = {
    "camera_latency": Sweep("camera latency, frames", (1, 2, 3), _camera_latency, sees=True),
    "pixel_noise": Sweep("pixel noise at 1 m, standard deviation in m", (0.01, 0.03, 0.1), _pixel_noise, sees=True),
    "dropout": Sweep("share of pixels without a reading", (0.02, 0.1, 0.3), _dropout, sees=True),
    "mount_error": Sweep(
        "error of the camera's mount on each axis, up to, degrees", (1, 3, 6), _mount_error, sees=True
    ),
    "push": Sweep("push every 3 s, on each axis up to, m/s", (0.3, 0.6, 1.0), _push),
    "friction": Sweep("friction coefficient", (0.3, 0.5, 0.8, 1.2), _friction),
    "payload": Sweep("payload on the base, kg", (2, 5, 8), _payload),
    "motor_strength": Sweep("motors' torque and gains, factor", (0.7, 0.8, 0.9), _motor_strength),
}
"""Every sweep by name."""


def setting_name(sweep: str, value: float) -> str:
    """Return what a sweep's value is called among the settings."""
    return f"{sweep}={value:g}"


def setting_parts(setting: str) -> tuple[str, float] | None:
    """Return the name of a sweep and the value that a setting stands for; None where it is no sweep's."""
    name, separator, value = setting.partition("=")
    return (name, float(value)) if separator else None

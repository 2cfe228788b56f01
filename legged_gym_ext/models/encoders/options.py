"""The options of depth encoders, ``student.encoder`` in the configuration. What is here is read without torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from legged_gym_ext.config.fields import count, kind_name
from legged_gym_ext.errors import UserError

if TYPE_CHECKING:
    from legged_gym_ext.config.schema import Config


@dataclass
class EncoderOptions:
    """What an encoder can be told; the options of each are a class of their own, whose ``kind`` is its name."""

    kind: str = ""

    def check(self, config: Config) -> None:
        """Raise a UserError where the rest of the configuration is not for this encoder."""


@dataclass
class SpecOptions(EncoderOptions):
    """The specification's encoder: CNN, fusion with proprioception, GRU."""

    kind: str = kind_name("spec")
    gru_hidden: int = count(512)
    fusion_hidden: int = count(128)

    def check(self, config: Config) -> None:
        """Raise a UserError where the convolutions would leave nothing of the image."""
        _require_resolution(config, 10, self.kind)


@dataclass
class LightOptions(EncoderOptions):
    """A small encoder with strided convolutions and a GRU, for CPUs and for robots."""

    kind: str = kind_name("light")
    gru_hidden: int = count(128)
    image_features: int = count(64)

    def check(self, config: Config) -> None:
        """Raise a UserError where the convolutions would leave nothing of the image."""
        _require_resolution(config, 9, self.kind)


def _require_resolution(config: Config, at_least: int, kind: str) -> None:
    for i, size in enumerate(config.camera.resolution):
        if size < at_least:
            raise UserError(
                f"camera.resolution[{i}]: expected a number >= {at_least} with student.encoder.kind={kind}, got {size}"
            )

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

    smallest_image = 1
    """Rows and columns of which its convolutions leave something."""
    kind: str = ""

    def check(self, config: Config) -> None:
        """Raise a UserError where the rest of the configuration is not for this encoder."""
        for i, size in enumerate(config.camera.resolution):
            if size < self.smallest_image:
                raise UserError(
                    f"camera.resolution[{i}]: expected a number >= {self.smallest_image} with "
                    f"student.encoder.kind={self.kind}, got {size}"
                )


@dataclass
class SpecOptions(EncoderOptions):
    """The specification's encoder: CNN, fusion with proprioception, GRU."""

    smallest_image = 10
    kind: str = kind_name("spec")
    gru_hidden: int = count(512)  # size of the GRU's memory
    fusion_hidden: int = count(128)  # width of the layer that sees image and proprioception


@dataclass
class LightOptions(EncoderOptions):
    """A small encoder with strided convolutions and a GRU, for CPUs and for robots."""

    smallest_image = 9
    kind: str = kind_name("light")
    gru_hidden: int = count(128)  # size of the GRU's memory
    image_features: int = count(64)  # numbers that the convolutions make of an image

"""An encoder from outside of the package: two layers, and no memory."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn

from legged_gym_ext.config.fields import count, kind_name
from legged_gym_ext.config.schema import Config
from legged_gym_ext.errors import UserError
from legged_gym_ext.models import encoders
from legged_gym_ext.models.encoders import ENCODERS, register
from legged_gym_ext.models.encoders.base import Encoder, EncoderStep
from legged_gym_ext.models.encoders.options import EncoderOptions


@dataclass
class TwoLayersOptions(EncoderOptions):
    kind: str = kind_name("two_layers")
    width: int = count(6)

    def check(self, config: Config) -> None:
        if self.width > config.student.latent_dim:
            raise UserError(f"student.encoder.width: expected a number <= {config.student.latent_dim}")


class TwoLayers(Encoder):
    """A layer for the image, and one for that and proprioception."""

    def __init__(
        self, num_proprio: int, image_shape: Sequence[int], latent_dim: int, options: TwoLayersOptions
    ) -> None:
        super().__init__(num_proprio, image_shape, latent_dim, options)
        self.image = nn.Linear(self.image_shape[0] * self.image_shape[1], options.width)
        self.output = nn.Linear(options.width + num_proprio, latent_dim)

    def encode_image(self, images: Tensor) -> Tensor:
        return self.image(self.as_images(images).flatten(1))

    def forward_sequence(
        self, features: Tensor, proprioception: Tensor, memory: Tensor, dones: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        return self.output(torch.cat([features, proprioception], dim=-1)), memory

    def export(self) -> EncoderStep:
        return TwoLayersStep(deepcopy(self.image), deepcopy(self.output))


class TwoLayersStep(EncoderStep):
    def __init__(self, image: nn.Module, output: nn.Module) -> None:
        super().__init__()
        self.image, self.output = image, output

    @torch.jit.export
    def encode_image(self, images: Tensor) -> Tensor:
        return self.image(images)

    def forward(self, features: Tensor, proprioception: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:
        return self.output(torch.cat([features, proprioception], dim=-1)), memory


def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Register it for one test."""
    monkeypatch.setattr(encoders, "ENCODERS", dict(ENCODERS))
    register("two_layers", TwoLayersOptions, TwoLayers)

"""Depth encoders, one file each, behind one interface (base.py). The list of them is read without torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from legged_gym_ext.models.encoders.options import EncoderOptions, LightOptions, SpecOptions

if TYPE_CHECKING:
    from legged_gym_ext.models.encoders.base import Encoder


@dataclass(frozen=True)
class Kind:
    """A kind of encoder."""

    options: type[EncoderOptions]
    """Its section of the configuration, a dataclass: ``student.encoder`` where that has its ``kind``."""
    encoder: str | type[Encoder]
    """Its class, or ``module:class``, which is imported when the first one is made."""


ENCODERS: dict[str, Kind] = {
    "spec": Kind(SpecOptions, "legged_gym_ext.models.encoders.spec:SpecEncoder"),
    "light": Kind(LightOptions, "legged_gym_ext.models.encoders.light:LightEncoder"),
}
"""Every kind by name."""


def register(name: str, options: type[EncoderOptions], encoder: str | type[Encoder]) -> None:
    """Add a kind from outside of the package, before a configuration that uses it is read; see :class:`Kind`.

    Raises:
        ValueError: There is a kind of that name, or the options are not made for it.
    """
    if name in ENCODERS:
        raise ValueError(f"there is an encoder '{name}' already")
    if not issubclass(options, EncoderOptions) or options().kind != name:
        raise ValueError(f"the options of an encoder '{name}' are EncoderOptions with kind = kind_name('{name}')")
    ENCODERS[name] = Kind(options, encoder)


def option_classes() -> dict[str, type[EncoderOptions]]:
    """Return the class of the options of each kind."""
    return {name: kind.options for name, kind in ENCODERS.items()}


def make_encoder(options: EncoderOptions, num_proprio: int, image_shape: Sequence[int], latent_dim: int) -> Encoder:
    """Make the encoder that ``options`` describe.

    Args:
        options: Say which kind, and what is special to it.
        num_proprio: Size of the proprioception.
        image_shape: Rows and columns of the depth image.
        latent_dim: Size of the latent.
    """
    from rsl_rl.utils import resolve_callable

    make = resolve_callable(ENCODERS[options.kind].encoder)
    return make(num_proprio, image_shape, latent_dim, options)

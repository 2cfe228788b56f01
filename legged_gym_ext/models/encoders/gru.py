"""Encoders that remember by a GRU, and how it runs over a sequence in which episodes end."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn

from legged_gym_ext.models.encoders.base import Encoder, EncoderStep


class GruEncoder(Encoder):
    """Image features, fused with proprioception, go through a GRU, whose hidden state is the memory.

    Args:
        num_proprio: Size of the proprioception.
        image_shape: Rows and columns of the depth image.
        latent_dim: Size of the latent.
        options: Of the kind of encoder; ``gru_hidden`` is the size of the memory.
        cnn: Makes features of images (batch, 1, rows, columns).
        fusion: Makes the GRU's input of features and proprioception, one after the other.
        fused: Size of that input.
    """

    def __init__(
        self,
        num_proprio: int,
        image_shape: Sequence[int],
        latent_dim: int,
        options: Any,
        cnn: nn.Module,
        fusion: nn.Module,
        fused: int,
    ) -> None:
        super().__init__(num_proprio, image_shape, latent_dim, options)
        self.cnn, self.fusion = cnn, fusion
        for layer in cnn.modules():
            if isinstance(layer, nn.Conv2d):  # 1.2 to 1.5 times as fast on CPUs, with one image or with hundreds
                layer.weight.data = layer.weight.data.to(memory_format=torch.channels_last)
        self.gru = nn.GRU(fused, options.gru_hidden, batch_first=True)
        self.output = nn.Sequential(nn.Linear(options.gru_hidden, latent_dim), nn.Tanh())
        self.memory_size = options.gru_hidden

    def encode_image(self, images: Tensor) -> Tensor:
        """Return the CNN's features (batch, size)."""
        return self.cnn(self.as_images(images))

    def forward_sequence(
        self, features: Tensor, proprioception: Tensor, memory: Tensor, dones: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Run fusion and GRU over a sequence, starting anew after each end of an episode."""
        fused = self.fusion(torch.cat([features, proprioception], dim=-1))
        outputs, memory = run_gru(self.gru, fused, memory, dones)
        return self.output(outputs), memory

    def export(self) -> EncoderStep:
        """Return one step through copies of all layers."""
        return _Step(self)


class _Step(EncoderStep):
    """One step; the GRU's by its formula (PyTorch's), which for one robot takes less time than nn.GRU."""

    def __init__(self, encoder: GruEncoder) -> None:
        super().__init__()
        gru = encoder.gru
        self.rows, self.columns = encoder.image_shape
        self.cnn = deepcopy(encoder.cnn)
        self.fusion = deepcopy(encoder.fusion)
        self.from_input = _linear(gru.get_parameter("weight_ih_l0"), gru.get_parameter("bias_ih_l0"))
        self.from_memory = _linear(gru.get_parameter("weight_hh_l0"), gru.get_parameter("bias_hh_l0"))
        self.output = deepcopy(encoder.output)

    @torch.jit.export
    def encode_image(self, images: Tensor) -> Tensor:
        return self.cnn(images.reshape(-1, 1, self.rows, self.columns))

    def forward(self, features: Tensor, proprioception: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:
        hidden = memory[0]
        fused = self.fusion(torch.cat([features, proprioception], dim=-1))
        from_input, from_memory = self.from_input(fused).chunk(3, dim=1), self.from_memory(hidden).chunk(3, dim=1)
        reset = torch.sigmoid(from_input[0] + from_memory[0])
        update = torch.sigmoid(from_input[1] + from_memory[1])
        candidate = torch.tanh(from_input[2] + reset * from_memory[2])
        hidden = candidate + update * (hidden - candidate)
        return self.output(hidden), hidden.unsqueeze(0)


def _linear(weight: Tensor, bias: Tensor) -> nn.Linear:
    """Return a layer with copies of these weights (outputs, inputs) and biases (outputs,)."""
    layer = nn.Linear(weight.shape[1], weight.shape[0], device=weight.device)
    layer.load_state_dict({"weight": weight, "bias": bias})
    return layer


def run_gru(gru: nn.GRU, inputs: Tensor, memory: Tensor, dones: Tensor | None) -> tuple[Tensor, Tensor]:
    """Run a GRU (``batch_first``) over a sequence, starting anew after each end of an episode.

    It runs over whole stretches between the steps at which any environment ends its episode. That was as fast on a CPU
    as a loop over its cell and faster than padded trajectories, and a GPU's fused kernel gains more.

    Args:
        gru: The layers.
        inputs: (steps, batch, size).
        memory: Before the first step (layers, batch, hidden size).
        dones: Whether an episode ended with the step, (steps, batch); None = none did.

    Returns:
        Outputs (steps, batch, hidden size), and the memory to go on from, zeroed where the last step was done.
    """
    weights = next(gru.parameters())
    state = memory.to(weights.dtype)
    rows = inputs.transpose(0, 1).to(weights.dtype)
    # On CUDA autocast runs a GRU in float16, whatever type it is told, which the gradients of a mean over a whole
    # rollout are too small for. On a CPU it uses bfloat16 inside, two to three times as fast as float32.
    autocast = torch.autocast("cuda", enabled=False) if rows.is_cuda else contextlib.nullcontext()
    ends = {len(inputs)}
    if dones is not None:
        ends |= {step + 1 for step, done in enumerate(dones.any(dim=1).tolist()) if done}
    stretches, start = [], 0
    for end in sorted(ends):
        with autocast:
            outputs, state = gru(rows[:, start:end], state)
        stretches.append(outputs)
        if dones is not None:
            state = torch.where(dones[end - 1].bool()[None, :, None], 0.0, state)
        start = end
    return torch.cat(stretches, dim=1).transpose(0, 1), state

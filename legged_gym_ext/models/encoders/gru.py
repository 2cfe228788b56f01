"""A GRU over a sequence in which episodes end, for the encoders that have one."""

from __future__ import annotations

import contextlib

import torch
from torch import Tensor, nn


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

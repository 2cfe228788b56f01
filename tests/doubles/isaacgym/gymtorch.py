"""Tensors across the border: a description of memory, without a reference to what owns it."""

import numpy as np
import torch

from isaacgym.binding import Misuse
from isaacgym.enums import TensorDataType
from isaacgym.faults import say
from isaacgym.sim import describe

_TYPES = {
    torch.float32: TensorDataType.DTYPE_FLOAT32,
    torch.int32: TensorDataType.DTYPE_UINT32,
    torch.int64: TensorDataType.DTYPE_UINT64,
    torch.uint8: TensorDataType.DTYPE_UINT8,
    torch.int16: TensorDataType.DTYPE_INT16,
}


def wrap_tensor(gym_tensor, offsets=None, counts=None):
    """Return a torch tensor that is the memory described by ``gym_tensor``: a view, not a copy."""
    if gym_tensor is None:
        raise TypeError("wrap_tensor(): incompatible function arguments: None")
    if offsets is not None or counts is not None:
        raise Misuse("the double knows neither offsets nor counts")
    buffer = gym_tensor.alive()
    return torch.from_numpy(buffer) if isinstance(buffer, np.ndarray) else buffer


def unwrap_tensor(torch_tensor):
    """Describe a torch tensor's memory. The tensor must be contiguous, and live until Gym has read it."""
    if not torch_tensor.is_contiguous():
        raise Exception("Input tensor must be contiguous")
    if torch_tensor.dtype not in _TYPES:
        raise Exception(f"Gym does not support {torch_tensor.dtype}")
    return describe(torch_tensor, torch_tensor.data_ptr(), _TYPES[torch_tensor.dtype])


# gymtorch compiles its extension when it is imported, and says so on standard output (many issues' logs).
say("Using ~/.cache/torch_extensions/py38_cu121 as PyTorch extensions root...")
say("Loading extension module gymtorch...")

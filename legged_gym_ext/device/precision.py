"""When the costly layers compute in bfloat16."""

from __future__ import annotations

import torch


def choose_precision(precision: str, device: torch.device) -> str:
    """Return what ``runner.precision`` means on ``device``: bfloat16 or float32; auto takes what the hardware has."""
    if precision != "auto":
        return precision
    return "bfloat16" if has_bfloat16(device) else "float32"


def has_bfloat16(device: torch.device) -> bool:
    """Return whether ``device`` has bfloat16 arithmetic in hardware."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    capabilities = torch.cpu.get_capabilities()
    return any(capabilities.get(name, False) for name in ("avx512_bf16", "amx_bf16", "bf16"))

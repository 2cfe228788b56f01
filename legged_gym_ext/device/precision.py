"""When to compute in bfloat16."""

from __future__ import annotations

import torch


def use_bfloat16(precision: str, device: torch.device | str) -> bool:
    """Resolve the configuration's ``runner.precision``; ``auto`` takes bfloat16 where the device has it in hardware."""
    if precision != "auto":
        return precision == "bfloat16"
    if torch.device(device).type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    capabilities = torch.cpu.get_capabilities()
    return any(capabilities.get(name, False) for name in ("avx512_bf16", "amx_bf16", "bf16"))

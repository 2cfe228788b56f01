"""The parts of ``isaacgym.gymutil`` that the worker uses."""


def parse_device_str(device_str):
    """Return type and number of a device: ``cuda:0`` -> ("cuda", 0), ``cpu`` -> ("cpu", 0)."""
    kind, _, number = device_str.partition(":")
    kind = "cuda" if kind in ("cuda", "gpu") else kind
    if kind not in ("cpu", "cuda"):
        raise ValueError(f'Invalid device string "{device_str}"')
    return kind, int(number or 0)

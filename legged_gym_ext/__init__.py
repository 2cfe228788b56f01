"""Legged robots that learn parkour from a depth camera: teacher (PPO) and student (DAgger) in one run."""

import os

# Physics, ray casting and networks take turns on the same cores: a thread pool that spins while it waits for its next
# turn takes them from the others. OpenMP reads this when torch is first imported.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

# Large images are allocated anew in each step: with huge pages the kernel has them ready in a fifth of the time. Torch
# reads this at its first allocation.
os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")

# ONNX Runtime, from 1.29 on, would tell its makers which models it runs. It reads this when it is imported.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

__version__ = "0.1.0"

"""A stand-in for NVIDIA Isaac Gym Preview 4, as far as our worker uses it; what it knows from where: ../README.md.

It runs under CPython 3.8 and later with numpy, torch and mujoco, and is found by putting ``tests/doubles`` on the path.
"""

import sys

from isaacgym import faults

if "torch" in sys.modules:
    raise ImportError(
        "PyTorch was imported before isaacgym modules.  Please import torch after isaacgym modules."
    )  # isaacgym/gymdeps.py; IsaacGymEnvs issue 175
faults.strike("import")

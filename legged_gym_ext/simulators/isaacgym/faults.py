"""What ends the worker, and what its last words mean: one line instead of somebody else's traceback.

Messages and causes are those that users of Isaac Gym Preview 4 met; the numbers name the threads.
"""

from __future__ import annotations

import re
import signal
from collections.abc import Sequence
from dataclasses import dataclass

_LONGEST = 200
"""Characters of what the worker said last that an error message repeats."""
_CRASH = "Fatal Python error"
"""Begins what Python's fault handler writes when the process crashes."""


@dataclass(frozen=True)
class Fault:
    """A known way to fail."""

    pattern: str
    """Regular expression for what the worker says, in any case."""
    cause: str
    """What it comes of, and what to do."""


FAULTS = (
    # The set-up
    Fault(
        r"PyTorch was imported before isaacgym",
        "something in that Python imports torch at its start (a .pth file, sitecustomize): remove it",
    ),  # IsaacGymEnvs 175
    Fault(
        r"libpython3\.\d+m?\.so\S*: cannot open shared object",
        "that Python's libpython is not found: add its folder to LD_LIBRARY_PATH (conda: the environment's lib), or "
        "take a Python that was built with --enable-shared",
    ),
    Fault(
        r"GLIBCXX_\S+' not found|CXXABI_\S+' not found",
        "the C++ library is too old for it: install a newer one into that environment (conda: libstdcxx-ng)",
    ),
    Fault(
        r"module 'numpy' has no attribute '(float|int|bool|object)'",
        "its numpy is too new for Isaac Gym: pip install 'numpy<1.24' there",
    ),  # IsaacGymEnvs 183
    Fault(
        r"No gym module found for the active version of Python|No module named '?isaacgym\._bindings"
        r"|No module named '?isaacgym.*\(Python 3\.(9|\d\d)\b",
        "Isaac Gym has bindings for Python 3.6 to 3.8 only: name such a Python",
    ),
    Fault(
        r"No module named '?isaacgym",
        "Isaac Gym is not installed there: pip install -e isaacgym/python from NVIDIA's download, or name the folder "
        "in ISAACGYM_PATH",
    ),
    Fault(r"^SyntaxError", "that Python is older than 3.6, or none: Isaac Gym has bindings for 3.6 to 3.8"),
    Fault(r"No module named '?torch", "torch is not installed there: pip install torch (2.4.1 is the last for 3.8)"),
    Fault(r"No module named '?numpy", "numpy is not installed there: pip install 'numpy<1.24'"),
    Fault(
        r"Ninja is required to load C\+\+ extensions|Error building extension|Error compiling objects",
        "gymtorch is compiled at its first import, which needs ninja and a C++ compiler there: pip install ninja, and "
        "install g++",
    ),
    Fault(
        r"protocol \d+ is not protocol \d",
        "the worker is another version of legged_gym_ext's: install the package once more",
    ),
    # The GPU
    Fault(
        r"no kernel image is available|is not compatible with the current PyTorch|unsupported gpu architecture",
        "neither PhysX nor that torch has code for this GPU (RTX 50 and newer): sim.isaacgym.pipeline=cpu, or "
        "--sim=mujoco_warp",
    ),  # IsaacGymEnvs 258
    Fault(
        r"fail to allocate memory|CUDA out of memory|out of memory|cudaErrorMemoryAllocation",
        "the GPU has too little memory: fewer environments (--num_envs), or smaller sim.isaacgym.max_gpu_contact_pairs "
        "and sim.isaacgym.buffer_multiplier",
    ),  # IsaacGymEnvs 256
    Fault(
        r"foundLostAggregatePairsCapacity|foundLostPairsCapacity|totalAggregatePairsCapacity|Contact buffer overflow",
        "PhysX's buffers are too small: raise sim.isaacgym.buffer_multiplier or sim.isaacgym.max_gpu_contact_pairs",
    ),  # mppi-isaac 64
    Fault(
        r"illegal memory access|fail to launch kernel|cudaErrorIllegalAddress",
        "a robot's state was not finite, or memory ran out: smaller steps (sim.dt) or fewer environments",
    ),  # IsaacGymEnvs 45, 79
    Fault(
        r"cudaImportExternalMemory failed|Vulkan|VK_ERROR|failed to create viewer|create_viewer failed",
        "the viewer needs Vulkan, on the GPU of the physics: sim.isaacgym.viewer=false",
    ),  # aerial_gym 30, IsaacGymEnvs 67, 91
    Fault(
        r"CUDA driver version is insufficient|no CUDA-capable device|Found no NVIDIA driver|not compiled with CUDA",
        "it cannot use the GPU: a driver of 470 or newer and a torch with CUDA there, or sim.isaacgym.pipeline=cpu",
    ),
    Fault(
        r"create_sim failed|Failed to create sim",
        "PhysX does not run on this device: sim.isaacgym.pipeline=cpu, or --sim=mujoco_warp",
    ),
)
"""The known faults; the first whose pattern matches tells what it was."""

# IsaacGymEnvs 220, 117
_GPU_CRASH = "a GPU that its PhysX does not know (H100 and newer): sim.isaacgym.pipeline=cpu, or --sim=mujoco_warp"


def describe(code: int | None, lines: Sequence[str], said: str = "") -> str:
    """Return in one line how the worker ended, what it said last, and the likely cause where it is known.

    Args:
        code: Its exit code, negative for a signal; None = it was running.
        lines: What it printed, the last line last.
        said: The error that it told of, where it did.
    """
    words = said or last_words(lines)
    parts = [_how(code)] if code is not None and not said else []
    if words:
        parts.append(f"its last words: {words[:_LONGEST]}")
    likely = cause([*lines, said]) or _cause_of_crash(code, lines)
    if likely:
        parts.append(f"likely: {likely}")
    return "; ".join(parts)


def cause(lines: Sequence[str]) -> str:
    """Return what is known of the first fault that the lines tell of; empty where none is."""
    text = "\n".join(lines)
    return next((fault.cause for fault in FAULTS if re.search(fault.pattern, text, re.IGNORECASE | re.MULTILINE)), "")


def last_words(lines: Sequence[str]) -> str:
    """Return the last line that is not empty, of those before a crash's stack."""
    spoken = [line.strip() for line in lines]
    crash = next((number for number, line in enumerate(spoken) if line.startswith(_CRASH)), len(spoken))
    return next((line for line in reversed(spoken[:crash]) if line), "")


def _how(code: int) -> str:
    if code >= 0:
        return f"it ended with exit code {code}"
    name = signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
    return f"it was ended by {name}" + (", perhaps for want of memory" if -code == signal.SIGKILL else "")


def _cause_of_crash(code: int | None, lines: Sequence[str]) -> str:
    crashed = code is not None and -code in (signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS)
    return _GPU_CRASH if crashed and any("Using GPU PhysX" in line for line in lines) else ""

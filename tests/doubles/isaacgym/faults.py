"""Faults on demand: what users of the real one meet, by the messages that are on record (research: crash table)."""

import os
import signal
import time
from collections import Counter

VARIABLE = "ISAACGYM_DOUBLE_FAULT"
"""``place:number:kind``: at the number-th call (from 1) of a place a kind of ``KINDS`` happens. Places are import,
create_sim, prepare_sim and simulate. Several faults are separated by spaces."""

_calls = Counter()


def say(line: str) -> None:
    """Print as the library's C++ side does: on file descriptor 1, whatever Python's ``sys.stdout`` is."""
    os.write(1, (line + "\n").encode())


def reset() -> None:
    """Begin to count calls anew."""
    _calls.clear()


def strike(place: str) -> str:
    """Count a call of a place and let happen what is due; returns a kind that the caller must see to, or ''."""
    _calls[place] += 1
    for fault in os.environ.get(VARIABLE, "").split():
        where, number, kind = fault.split(":")
        if kind not in KINDS:
            raise ValueError(f"{VARIABLE}: no kind '{kind}'; there are: {', '.join(KINDS)}")
        if where == place and int(number) == _calls[place]:
            return KINDS[kind]() or kind
    return ""


def _raise(error: Exception) -> None:
    raise error


def _die(signal_number: int, *lines: str) -> None:
    for line in lines:
        say(line)
    signal.signal(signal_number, signal.SIG_DFL)
    os.kill(os.getpid(), signal_number)


def _hang() -> None:
    while True:
        time.sleep(3600)


KINDS = {
    "libpython": lambda: _raise(
        ImportError("libpython3.8.so.1.0: cannot open shared object file: No such file or directory")
    ),
    "glibcxx": lambda: _raise(
        ImportError("/lib/x86_64-linux-gnu/libstdc++.so.6: version `GLIBCXX_3.4.29' not found (required by gym_38.so)")
    ),
    "numpy": lambda: _raise(AttributeError("module 'numpy' has no attribute 'float'.")),
    "segfault": lambda: _die(signal.SIGSEGV),
    "memory": lambda: _die(
        signal.SIGABRT,
        "PxgCudaDeviceMemoryAllocator fail to allocate memory 339738624 bytes!! Result = 2",
        "[Error] [carb.gym.plugin] Gym cuda error: out of memory: "
        "../../../source/plugins/carb/gym/impl/Gym/GymPhysX.cpp: 1721",
    ),
    "pairs": lambda: say(
        "the application needs to increase PxgDynamicsMemoryConfig::foundLostAggregatePairsCapacity to 2097152"
    ),
    "access": lambda: _die(
        signal.SIGABRT,
        "[Error] [carb.gym.plugin] Gym cuda error: an illegal memory access was encountered: "
        "../../../source/plugins/carb/gym/impl/Gym/GymPhysXCuda.cu: 991",
    ),
    "exit": lambda: os._exit(0),
    "hang": _hang,
    "none": lambda: None,  # create_sim returns None
    "nan": lambda: None,  # every state becomes NaN
}

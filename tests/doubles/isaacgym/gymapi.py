"""The parts of ``isaacgym.gymapi`` that the worker uses. Names, order and defaults of arguments: isaacgym-stubs."""

from isaacgym.asset import Asset
from isaacgym.enums import *  # noqa: F403
from isaacgym.faults import say
from isaacgym.gym import Gym
from isaacgym.sim import Env, Sim, Viewer
from isaacgym.structures import *  # noqa: F403

__all__ = ["Asset", "Env", "Gym", "Sim", "Viewer", "acquire_gym"]  # and what the two modules above list

_gym = Gym()


def acquire_gym(*args, **kwargs):
    """Return the one Gym of the process."""
    return _gym


# gymdeps.py and the bindings say this at the first import (seen in many issues' logs).
say("Importing module 'gym_38' (/isaacgym/_bindings/linux-x86_64/gym_38.so)")
say("Setting GYM_USD_PLUG_INFO_PATH to /isaacgym/_bindings/linux-x86_64/usd/plugInfo.json")

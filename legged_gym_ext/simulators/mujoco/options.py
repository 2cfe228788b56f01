"""Options of the MuJoCo engine."""

from __future__ import annotations

from dataclasses import dataclass

from legged_gym_ext.config.fields import count, not_negative


@dataclass
class SolverOptions:
    """MuJoCo's constraint solver, whichever engine runs it."""

    iterations: int = count(10)  # at most; 7 were needed at most, 2 on average
    ls_iterations: int = count(10)  # of its line search, at most


@dataclass
class MujocoOptions(SolverOptions):
    """MuJoCo on the CPU."""

    threads: int = not_negative(0)  # physics threads; 0 = every core that this process may use

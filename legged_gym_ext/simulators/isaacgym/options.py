"""Options of the Isaac Gym engine; those of the physics have legged_gym's values."""

from __future__ import annotations

from dataclasses import dataclass

from legged_gym_ext.config.fields import choice, count, not_negative, number, positive


@dataclass
class IsaacGymOptions:
    """Isaac Gym Preview 4 in a process of its own. PhysX's own names are in brackets where they differ."""

    python: str = ""  # interpreter that has Isaac Gym; where empty, the environment variable ISAACGYM_PYTHON names it
    # PhysX and its tensors. auto: where sim.device is; cpu: on the CPU in any case, for GPUs that PhysX cannot use.
    pipeline: str = choice("auto", ("auto", "gpu", "cpu"))
    threads: int = not_negative(0)  # of PhysX on the CPU [num_threads]; 0 = every core that this process may use
    position_iterations: int = count(4, at_most=255)  # of the solver, TGS
    velocity_iterations: int = not_negative(0)
    contact_offset: float = positive(0.01)  # m between shapes from which contacts are made
    rest_offset: float = number(0.0)  # m at which they come to rest
    bounce_threshold: float = not_negative(0.5)  # m/s below which nothing bounces
    max_depenetration_velocity: float = positive(1.0)  # m/s
    buffer_multiplier: float = positive(5.0)  # of PhysX's buffers [default_buffer_size_multiplier]
    max_gpu_contact_pairs: int = count(2**23, at_most=2**31 - 1)  # 2**24 from 8000 environments on
    # Different coefficients of friction per unit: PhysX has 64,000 materials at most.
    friction_buckets: int = count(100, at_most=10_000)
    viewer: bool = False  # Isaac Gym's own window
    start_limit: float = positive(300.0)  # s for each part of the start: the imports, the scene
    step_limit: float = positive(30.0)  # s for a control step

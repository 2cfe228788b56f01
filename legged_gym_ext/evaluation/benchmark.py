"""The benchmark ``parkour-v1``: the same tiles, time, commands and disturbances for every policy.

What belongs to the policy stays the run's own: robot, physics, camera and its place, observations, gait clock.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass, replace

from legged_gym_ext.config.schema import (
    CameraConfig,
    Config,
    NoiseConfig,
    RandomizationConfig,
    RewardsConfig,
    TerminationsConfig,
    TerrainConfig,
)
from legged_gym_ext.evaluation.episodes import NOMINAL, RANDOMIZED
from legged_gym_ext.evaluation.sweeps import SWEEPS, setting_parts
from legged_gym_ext.terrain.kinds import KINDS

SETTINGS = {
    NOMINAL: "no noise, no domain randomization, no pushes; robots start at slightly random places, headings and joint "
    "angles",
    RANDOMIZED: "sensor noise, domain randomization, latency and pushes as the project's defaults have them, at full "
    "strength at every level",
}
"""What each setting means, in words."""

CAMERA_NOISE = ("depth_noise", "dropout", "position_noise", "rotation_noise_degrees")
"""What disturbs the camera, in its section."""


@dataclass(frozen=True)
class Benchmark:
    """What an evaluation runs."""

    name: str
    tile_seed: int
    """Larger than any that a configuration may have, so that no training sees these tiles."""
    episodes: int
    """On each kind of terrain at each level, every one on a tile of its own."""
    levels: tuple[int, ...]
    settings: tuple[str, ...]
    depth_use_level: int
    robustness_levels: tuple[int, int]
    robustness_episodes: int
    time_limit: float = 30.0
    """s for the whole course."""
    stuck_time: float = 5.0
    """s without progress that end an episode."""


PARKOUR_V1 = Benchmark(
    name="parkour-v1",
    tile_seed=2**64,
    episodes=100,
    levels=tuple(range(TerrainConfig().levels)),
    settings=(NOMINAL, RANDOMIZED),
    depth_use_level=5,
    robustness_levels=(3, 6),
    robustness_episodes=20,
)
QUICK = replace(
    PARKOUR_V1, name="parkour-v1 (quick)", episodes=20, levels=(0, 2, 4, 6, 8), settings=(NOMINAL,), depth_use_level=4
)
"""The first fifth of the episodes of every other level, without disturbances."""


def benchmark_config(
    config: Config, benchmark: Benchmark, kinds: Sequence[str], setting: str, speed: float, tiles: int
) -> Config:
    """Return a run's settled configuration as the benchmark has it.

    Args:
        config: The run's.
        benchmark: Says what is the same for all runs.
        kinds: Of terrain.
        setting: ``nominal``, ``randomized``, or a sweep's ``<sweep>=<value>``.
        speed: The commanded speed, m/s.
        tiles: Of each kind and level; more of them leave the first ones as they are.
    """
    config = deepcopy(config)
    terrain = TerrainConfig()
    terrain.seed, terrain.variants = benchmark.tile_seed, tiles
    for kind in KINDS:
        getattr(terrain, kind).proportion = float(kind in kinds)
    config.terrain = terrain
    config.env.num_envs = len(kinds) * tiles
    config.env.episode_length_s = benchmark.time_limit
    config.curriculum.enabled = False
    config.terminations = replace(TerminationsConfig(), stuck_time=benchmark.stuck_time)
    command(config, speed)
    config.commands.waypoint_radius = Config().commands.waypoint_radius
    edges = RewardsConfig()  # which are counted
    config.rewards.edge_distance, config.rewards.edge_height = edges.edge_distance, edges.edge_height
    _disturb(config, setting)
    return config


_FIXED = {
    "terrain": "--terrain and --level choose parts",
    "curriculum": "--level chooses levels",
    "terminations": "its report says what they are",
    "randomization": "--setting and --robustness choose disturbances",
    "observations.noise": "--setting chooses disturbances",
    "camera.depth_noise": "--robustness=pixel_noise changes it",
    "camera.dropout": "--robustness=dropout changes it",
    "camera.position_noise": "--setting chooses disturbances",
    "camera.rotation_noise_degrees": "--robustness=mount_error changes it",
    "env": "--episodes chooses how many",
    "commands.forward_speed": "--speed changes it",
    "commands.start_speed": "--speed changes it",
    "commands.full_at_level": "--speed changes it",
    "commands.waypoint_radius": "its report says what it is",
    "rewards.edge_distance": "its report says what it is",
    "rewards.edge_height": "its report says what it is",
}
"""Keys and sections that a run's configuration does not decide here, and what does."""


def fixed_by_the_benchmark(key: str) -> str:
    """Return what to do instead of changing a configuration key, empty where it is the run's own."""
    return next((instead for fixed, instead in _FIXED.items() if key == fixed or key.startswith(f"{fixed}.")), "")


def commanded_speed(config: Config) -> float:
    """Return the middle of the speeds that a run was trained with, m/s."""
    low, high = config.commands.forward_speed
    return (low + high) / 2


def command(config: Config, speed: float) -> None:
    """Command one speed, m/s, at all levels."""
    config.commands.forward_speed, config.commands.full_at_level = [speed, speed], 0


def _disturb(config: Config, setting: str) -> None:
    """Give a configuration the disturbances of a setting."""
    camera = CameraConfig()
    config.randomization = replace(RandomizationConfig(), full_at_level=0)
    config.observations.noise = NoiseConfig()
    for name in CAMERA_NOISE:
        setattr(config.camera, name, getattr(camera, name))
    if setting == RANDOMIZED:
        return
    for name in CAMERA_NOISE:
        setattr(config.camera, name, 0.0)
    config.observations.noise.enabled = False
    random = config.randomization
    random.enabled = False
    if swept := setting_parts(setting):
        random.enabled = True
        random.friction, random.added_mass, random.mass_offset = [1.0, 1.0], [0.0, 0.0], 0.0
        random.motor_strength, random.stiffness, random.damping = [1.0, 1.0], [1.0, 1.0], [1.0, 1.0]
        random.push_interval, random.action_latency, random.camera_latency = 0.0, [0, 0], [0, 0]
        name, value = swept
        SWEEPS[name].apply(config, value)

"""What an evaluation runs: the units, in their order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from legged_gym_ext.config.schema import Config
from legged_gym_ext.evaluation.benchmark import Benchmark, benchmark_config
from legged_gym_ext.evaluation.episodes import NOMINAL, TRUE, Unit
from legged_gym_ext.evaluation.sight import REPLACEMENTS
from legged_gym_ext.evaluation.sweeps import SWEEPS, setting_name, setting_parts


@dataclass(frozen=True)
class Plan:
    """Of a benchmark, what is asked for."""

    benchmark: Benchmark
    kinds: tuple[str, ...]
    levels: tuple[int, ...]
    settings: tuple[str, ...]
    """Of ``SETTINGS``, one at least; in the first one policies are shown wrong images. Sweeps want the nominal one."""
    speed: float
    """The commanded one, m/s."""
    episodes: int
    """On each kind of terrain at each level."""
    sweeps: tuple[str, ...] = ()
    """Of ``SWEEPS``."""
    only_depth_use: bool = False

    def units(self, policies: Mapping[str, bool]) -> list[Unit]:
        """Return all units, those of the same setting one after another.

        Args:
            policies: Which policies are evaluated; of each, whether it sees the camera's image.
        """
        units = []
        if not self.only_depth_use:
            for setting in self.settings:
                units += [Unit(setting, policy, TRUE, level) for level in self.levels for policy in policies]
        level, setting = self.depth_use_level, self.settings[0]
        sights = [TRUE, *(name for name in REPLACEMENTS if name != "other" or len(self.kinds) * self.episodes > 1)]
        for policy in policies:
            units += [Unit(setting, policy, sight, level) for sight in sights]
        for name in self.sweeps:
            for value in SWEEPS[name].values:
                for policy, sees in policies.items():
                    if sees or not SWEEPS[name].sees:
                        setting = setting_name(name, value)
                        units += [Unit(setting, policy, TRUE, level) for level in self.robustness_levels]
        if self.sweeps:  # what they are compared with
            units += [Unit(NOMINAL, policy, TRUE, level) for level in self.robustness_levels for policy in policies]
        order = {unit.setting: place for place, unit in reversed(list(enumerate(units)))}
        return sorted(dict.fromkeys(units), key=lambda unit: order[unit.setting])

    @property
    def depth_use_level(self) -> int:
        """The level at which the policies are shown wrong images."""
        return _nearest(self.levels, self.benchmark.depth_use_level)

    @property
    def robustness_levels(self) -> tuple[int, ...]:
        """The levels of the sweeps."""
        return tuple(dict.fromkeys(_nearest(self.levels, level) for level in self.benchmark.robustness_levels))

    def config(self, run: Config, setting: str) -> Config:
        """Return the configuration for a setting; ``run`` is the run's own, settled."""
        tiles = (
            self.episodes if setting_parts(setting) is None else min(self.episodes, self.benchmark.robustness_episodes)
        )
        return benchmark_config(run, self.benchmark, self.kinds, setting, self.speed, tiles)


def _nearest(levels: Sequence[int], level: int) -> int:
    return min(levels, key=lambda other: (abs(other - level), other))

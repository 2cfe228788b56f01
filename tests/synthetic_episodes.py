"""Plausible results of an evaluation without any physics: harder kinds and levels fail more often."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from legged_gym_ext.envs.outcome import Outcome
from legged_gym_ext.evaluation.episodes import Episodes, Unit
from legged_gym_ext.evaluation.heading import Heading

KINDS = ("flat", "steps", "gaps", "hurdles", "stairs", "stepping_stones", "ramps", "beams")
DIFFICULTY = dict(zip(KINDS, (-6.0, -1.0, 1.0, 0.0, 0.2, 2.0, -0.5, 1.4), strict=True))
SKILL = {"teacher": 3.0, "student": 2.3}
COURSE_LENGTH = 12.0
SWEEPS = {"latency": ("0.02", "0.06", "0.1"), "push": ("0.5", "1.0"), "friction": ("0.4", "0.7")}
SETTINGS = {
    "nominal": "No noise and no domain randomization.",
    "randomized": "Noise and domain randomization as in training.",
}


def episodes(
    level: int,
    kinds: Sequence[str] = KINDS,
    per_kind: int = 20,
    skill: float = 2.5,
    seed: int = 0,
    tiles_seed: int = 0,
) -> Episodes:
    """Return random episodes on each of the kinds; with the same ``tiles_seed`` their tiles are the same."""
    rng = np.random.default_rng([seed, level])
    tiles = np.random.default_rng([tiles_seed, level])
    kind = np.repeat(np.array(kinds), per_kind)
    rows = len(kind)
    tile = np.tile(np.arange(per_kind) // 2, len(kinds))
    ease = tiles.normal(size=rows)  # the same for all policies: pairs are correlated
    logit = skill - 0.45 * level - np.array([DIFFICULTY.get(name, 0.0) for name in kind]) + ease
    success = rng.random(rows) < 1 / (1 + np.exp(-logit))
    failures = np.array([Outcome.FELL_IN, Outcome.TIPPED, Outcome.LEFT, Outcome.STUCK, Outcome.TIMED_OUT, Outcome.SANK])
    outcome = np.where(success, Outcome.FINISHED, rng.choice(failures, rows, p=[0.35, 0.25, 0.05, 0.2, 0.1, 0.05]))
    share = np.where(success, 1.0, rng.random(rows))
    speed = np.clip(rng.normal(0.7, 0.08, rows), 0.2, None)
    distance = share * COURSE_LENGTH
    weight = rng.normal(120.0, 5.0, rows)
    return Episodes(
        kind=kind,
        tile=tile,
        outcome=outcome.astype(np.int64),
        time=distance / speed + rng.random(rows),
        distance=distance,
        waypoints=np.floor(share * 8) / 8,
        edge_violations=rng.exponential(0.05, rows),
        speed=speed,
        speed_error=np.abs(rng.normal(0.1, 0.05, rows)),
        work=weight * distance * rng.normal(0.9, 0.1, rows),
        weight=weight,
        foot_slip=rng.exponential(0.04, rows),
        torque_peak=np.clip(rng.normal(0.8, 0.1, rows), 0.0, 1.0),
    )


def results(
    levels: Sequence[int] = range(10),
    kinds: Sequence[str] = KINDS,
    policies: Sequence[str] = ("student", "teacher"),
    settings: Sequence[str] = tuple(SETTINGS),
    per_kind: int = 20,
    depth_use: bool = True,
    robustness: bool = True,
    better: float = 0.0,
    seed: int = 0,
) -> dict[Unit, Episodes]:
    """Return the units of a whole evaluation; ``better`` is added to the skill of all policies."""
    found: dict[Unit, Episodes] = {}

    def add(unit: Unit, loss: float) -> None:
        skill = SKILL[unit.policy] - loss + better
        found[unit] = episodes(unit.level, kinds, per_kind, skill, seed + len(found))

    middle = levels[len(levels) // 2]
    for policy in policies:
        for index, setting in enumerate(settings):
            for level in levels:
                add(Unit(setting, policy, "true", level), 0.6 * index)
        if depth_use:
            for sight, loss in {"blank": 4.0, "ground": 3.0, "frozen": 2.5, "other": 2.0}.items():
                add(Unit(settings[0], policy, sight, middle), loss if policy == "student" else loss / 2)
        if robustness:
            for sweep, values in SWEEPS.items():
                for strength, value in enumerate(values, start=1):
                    for level in (levels[len(levels) // 4], middle):
                        add(Unit(f"{sweep}={value}", policy, "true", level), 0.5 * strength)
    return found


def heading(results: Mapping[Unit, Episodes], run: str = "2026-11-24_12-00-00") -> Heading:
    """Return what stands on top of the report of these results."""
    kinds = dict.fromkeys(str(kind) for table in results.values() for kind in table.kind)
    return Heading(
        benchmark="parkour-v1",
        run=run,
        checkpoint=3000,
        checkpoint_sha256="ab" * 32,
        policies=tuple(dict.fromkeys(unit.policy for unit in results)),
        engine="mujoco",
        seed=20261124,
        episodes=20,
        time_limit=30.0,
        commanded_speed=0.7,
        course_length=COURSE_LENGTH,
        kinds=tuple(kinds),
        levels=tuple(sorted({unit.level for unit in results})),
        settings=SETTINGS,
        training_steps=123_456_789,
        sweeps={"latency": "camera latency, s", "push": "push every 3 s, on each axis up to, m/s"},
        versions={"legged_gym_ext": "0.1.0", "mujoco": "4.0.0", "torch": "2.13.0"},
    )

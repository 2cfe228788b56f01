"""What the benchmark keeps the same for all runs, and which units an evaluation consists of."""

from __future__ import annotations

from dataclasses import asdict

import pytest
import torch

from legged_gym_ext.config.files import load_config
from legged_gym_ext.config.rules import validate
from legged_gym_ext.config.schema import Config
from legged_gym_ext.errors import UserError
from legged_gym_ext.evaluation.benchmark import (
    PARKOUR_V1,
    QUICK,
    SETTINGS,
    benchmark_config,
    commanded_speed,
)
from legged_gym_ext.evaluation.episodes import NOMINAL, RANDOMIZED
from legged_gym_ext.evaluation.plan import Plan
from legged_gym_ext.evaluation.sight import REPLACEMENTS
from legged_gym_ext.evaluation.sweeps import SWEEPS, setting_name
from legged_gym_ext.runs.settle import settle
from legged_gym_ext.terrain.boxes import ABSENT
from legged_gym_ext.terrain.kinds import KINDS
from legged_gym_ext.terrain.library import build_library

SEES, BLIND = {"student": True}, {"teacher": False}


def configured(setting: str = NOMINAL, tiles: int = 2, overrides: tuple[str, ...] = ()) -> Config:
    run = settle(load_config("parkour_depth", list(overrides)))
    return benchmark_config(run, PARKOUR_V1, tuple(KINDS), setting, 0.7, tiles)


def test_the_tiles_of_parkour_v1_are_what_they_always_were() -> None:
    """Whoever changes them makes another benchmark, with another name: reports could not be compared."""
    library = build_library(configured().terrain)
    present = (library.boxes != torch.tensor(ABSENT, dtype=torch.float32)).any(dim=-1, keepdim=True)
    boxes = (library.boxes.double() * present).view(len(KINDS), -1, library.boxes.shape[-1])
    assert list(KINDS) == ["flat", "steps", "gaps", "hurdles", "stairs", "stepping_stones", "ramps", "beams"]
    place = torch.linspace(1, 2, boxes.shape[1], dtype=torch.double)[:, None]
    columns = torch.linspace(1, 2, boxes.shape[2], dtype=torch.double)
    torch.testing.assert_close(
        (boxes * place * columns).sum(dim=(1, 2)), torch.tensor(TILES, dtype=torch.double), rtol=1e-6, atol=1e-3
    )


TILES = [3125.9861, 2622.5852, 2922.5896, 2903.769, 4078.9417, 6646.1503, 3832.3339, 2653.8739]


def test_more_tiles_leave_the_first_ones_as_they_are() -> None:
    few, many = build_library(configured(tiles=2).terrain), build_library(configured(tiles=5).terrain)
    shape = len(KINDS), len(PARKOUR_V1.levels)
    assert torch.equal(few.boxes.unflatten(0, (*shape, 2)), many.boxes.unflatten(0, (*shape, 5))[:, :, :2])


def test_no_training_can_have_these_tiles() -> None:
    config = Config()
    config.terrain.seed = PARKOUR_V1.tile_seed
    with pytest.raises(UserError, match="terrain.seed"):
        validate(config)


def test_it_is_the_same_for_runs_that_were_trained_otherwise() -> None:
    other = (
        "terrain.levels=3", "terrain.gaps.width=[0.1,0.2]", "terrain.beams.proportion=0", "terrain.length=9",
        "env.episode_length_s=7", "commands.forward_speed=[0.1,0.2]", "commands.waypoint_radius=1",
        "terminations.min_height=0.2", "terminations.max_tilt_degrees=80", "randomization.friction=[0.1,0.2]",
        "randomization.full_at_level=9", "randomization.camera_latency=[3,9]", "observations.noise.lin_vel=3",
        "camera.dropout=0.5", "camera.depth_noise=1",
        "rewards.edge_distance=0.5", "rewards.edge_height=0.2", "curriculum.promote=0.1",
    )  # fmt: skip
    for setting in (NOMINAL, RANDOMIZED, "friction=0.3", "camera_latency=2"):
        mine, theirs = asdict(configured(setting)), asdict(configured(setting, overrides=other))
        mine.pop("curriculum"), theirs.pop("curriculum")
        assert mine == theirs


def test_what_belongs_to_the_policy_stays_the_runs_own() -> None:
    own = ("camera.resolution=[32,32]", "camera.latency=1", "rewards.gait_period=0.6", "observations.others=[]",
           "commands.heading_gain=1.1", "robot.action_scale=0.3", "sim.dt=0.004")  # fmt: skip
    config = configured(RANDOMIZED, overrides=own)
    assert config.camera.resolution == [32, 32] and config.camera.latency == 1
    assert config.rewards.gait_period == 0.6 and config.observations.others == []
    assert config.commands.heading_gain == 1.1 and config.robot.action_scale == 0.3 and config.sim.dt == 0.004


def test_cameras_are_late_in_the_sweep_only() -> None:
    late = ("randomization.camera_latency=[3,9]",)
    for setting in (*SETTINGS, "payload=2"):
        config = configured(setting, overrides=late)
        assert config.randomization.camera_latency == [0, 0] and config.camera.latency == 0
    for value in SWEEPS["camera_latency"].values:
        config = configured(setting_name("camera_latency", value), overrides=late)
        assert config.randomization.camera_latency == [0, 0] and config.camera.latency == value


def test_the_runs_own_configuration_is_left_as_it_is() -> None:
    run = settle(load_config("parkour_depth", []))
    before = asdict(run)
    benchmark_config(run, PARKOUR_V1, ("gaps",), RANDOMIZED, 0.7, 2)
    assert asdict(run) == before


def test_the_speed_is_the_middle_of_the_runs_range() -> None:
    assert commanded_speed(settle(load_config("walk_flat", ["commands.forward_speed=[0.4,1.0]"]))) == 0.7


@pytest.mark.parametrize("name", list(SWEEPS))
def test_a_sweep_changes_one_thing_and_every_value_differently(name: str) -> None:
    nominal = configured()
    found = []
    for value in SWEEPS[name].values:
        config = configured(setting_name(name, value))
        assert config.randomization.enabled and config.randomization.full_at_level == 0
        found.append(asdict(config))
        other = configured(setting_name("payload" if name != "payload" else "push", 1.0))
        differs = _differences(asdict(other), found[-1])
        own = _differences(asdict(configured(setting_name(name, value / 2))), found[-1])
        assert own and own <= differs
        assert len(own) <= 2
    assert all(a != b for i, a in enumerate(found) for b in found[:i])
    assert asdict(configured()) == asdict(nominal)


def _differences(a: dict, b: dict, at: str = "") -> set[str]:
    found = set()
    for key in a:
        if isinstance(a[key], dict):
            found |= _differences(a[key], b[key], f"{at}{key}.")
        elif a[key] != b[key]:
            found.add(at + key)
    return found


# The units ------------------------------------------------------------------------------------------------------------


def plan(**changes) -> Plan:
    values = {
        "benchmark": PARKOUR_V1, "kinds": ("flat", "gaps"), "levels": PARKOUR_V1.levels, "settings": tuple(SETTINGS),
        "speed": 0.7, "episodes": 100,
    }  # fmt: skip
    return Plan(**{**values, **changes})


def test_every_setting_level_and_policy_is_there_once_and_depth_use_at_one_level() -> None:
    units = plan().units({**SEES, **BLIND})
    assert len(set(units)) == len(units)
    true = {(unit.setting, unit.policy, unit.level) for unit in units if unit.sight == "true"}
    assert true == {(s, p, n) for s in SETTINGS for p in ("student", "teacher") for n in range(10)}
    wrong = {(unit.setting, unit.policy, unit.sight, unit.level) for unit in units if unit.sight != "true"}
    assert wrong == {(NOMINAL, p, sight, 5) for p in ("student", "teacher") for sight in REPLACEMENTS}
    settings = [unit.setting for unit in units]
    assert sum(a != b for a, b in zip(settings, settings[1:], strict=False)) == len(set(settings)) - 1


def test_only_who_sees_is_tested_for_what_the_camera_suffers() -> None:
    units = plan(sweeps=("dropout", "payload"), levels=(2, 9), settings=(NOMINAL,)).units({**SEES, **BLIND})
    swept = {(unit.setting.split("=")[0], unit.policy) for unit in units if "=" in unit.setting}
    assert swept == {("dropout", "student"), ("payload", "student"), ("payload", "teacher")}
    assert {unit.level for unit in units if "=" in unit.setting} == {2, 9}  # the nearest to 3 and 6
    reference = {(unit.policy, unit.level) for unit in units if unit.setting == NOMINAL and unit.sight == "true"}
    assert reference >= {(p, n) for p in ("student", "teacher") for n in (2, 9)}


def test_depth_use_alone_is_one_level() -> None:
    units = plan(only_depth_use=True).units(SEES)
    assert [(unit.sight, unit.level, unit.setting) for unit in units] == [
        (sight, 5, NOMINAL) for sight in ("true", *REPLACEMENTS)
    ]


def test_the_quick_one_is_a_part_of_the_whole() -> None:
    assert set(QUICK.levels) < set(PARKOUR_V1.levels) and QUICK.episodes < PARKOUR_V1.episodes
    assert QUICK.tile_seed == PARKOUR_V1.tile_seed and QUICK.name != PARKOUR_V1.name
    assert QUICK.depth_use_level in QUICK.levels

"""Kinds of obstacles: section and function belong together, and one from outside is like those of the package."""

from __future__ import annotations

import dataclasses
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from registries import put_back
from test_extending import TrenchesConfig, trenches

from legged_gym_ext.config.files import load_config, load_saved_config, save_config
from legged_gym_ext.config.schema import Config, TerrainConfig
from legged_gym_ext.errors import UserError
from legged_gym_ext.terrain.__main__ import main
from legged_gym_ext.terrain.course import Stand, Tile, make_tile
from legged_gym_ext.terrain.kinds import KINDS, only, register
from legged_gym_ext.terrain.library import build_library
from legged_gym_ext.terrain.solids import block


@pytest.fixture
def registered() -> Iterator[None]:
    """The package with that kind, whose configuration was imported before."""
    with put_back():
        register("trenches", TrenchesConfig, trenches)
        yield


def test_every_section_has_a_function_and_every_function_a_section() -> None:
    sections = {name: value for name, value in vars(TerrainConfig()).items() if dataclasses.is_dataclass(value)}
    assert list(sections) == list(KINDS)
    for name, kind in KINDS.items():
        assert type(sections[name]) is kind.section
        assert kind.section.__module__ == kind.make.__module__ == f"legged_gym_ext.terrain.kinds.{name}"


@pytest.mark.usefixtures("registered")
def test_a_kind_from_outside_is_configured_like_the_others(tmp_path: Path) -> None:
    assert Config().terrain.trenches == TrenchesConfig()  # type: ignore[attr-defined]
    (tmp_path / "mine.yaml").write_text("terrain: {trenches: {width: [0.1, 0.3]}}\n")
    config = load_config(str(tmp_path / "mine.yaml"), ["terrain.trenches.proportion=0.5"])
    assert config.terrain.trenches == TrenchesConfig(0.5, [0.1, 0.3])  # type: ignore[attr-defined]
    save_config(config, tmp_path / "saved.yaml")
    assert load_saved_config(tmp_path / "saved.yaml") == config
    alone = load_config("parkour_depth", [*only(["trenches"])])
    assert build_library(alone.terrain).kinds == ("trenches",)


@pytest.mark.usefixtures("registered")
@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("terrain.trenches.widht=[1,2]", r"did you mean 'terrain.trenches.width'\?\); allowed in terrain.trenches: "),
        ("terrain.trench.width=[1,2]", r"did you mean 'terrain.trenches.width'\?\); allowed in terrain: .*, trenches,"),
        ("terrain.trenches.width=[0.1,-1]", r"^terrain.trenches.width\[1\]: expected a number >= 0, got -1"),
        ("terrain.trenches.width=[0.1]", "^terrain.trenches.width: expected two values"),
        ("terrain.trenches.width=[20,20]", "^terrain.trenches at level 0: obstacle of 20.00 m; terrain.length = 12"),
    ],
)
def test_mistakes_in_it_are_told_like_those_in_the_others(override: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        build_library(load_config("parkour_depth", [override, *only(["trenches"])]).terrain)


def nothing(*_: object) -> None:
    return None


def many(*arguments: object) -> Tile:
    tile = trenches(*arguments)  # type: ignore[arg-type]
    return replace(tile, boxes=np.repeat(tile.boxes[:1], 33, axis=0))


def many_together(_difficulty: float, _rng: object, _section: object, terrain: TerrainConfig) -> Tile:
    return make_tile([block(-2.0, 14.0, -2.0, 2.0)] * 40, [Stand(0.0, 12.0, 0.0, 0.0, False)], terrain)


def flat_boxes(*arguments: object) -> Tile:
    tile = trenches(*arguments)  # type: ignore[arg-type]
    return replace(tile, boxes=tile.boxes[:, :3])


def one_waypoint(*arguments: object) -> Tile:
    tile = trenches(*arguments)  # type: ignore[arg-type]
    return replace(tile, waypoints=tile.waypoints[:1])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (nothing, "expected its function to return a Tile, got NoneType"),
        (many, r"expected boxes \(1 to 32, 10\), got \(33, 10\)"),
        (many_together, "40 boxes; a tile has at most 32"),
        (flat_boxes, r"expected boxes \(1 to 32, 10\), got \(\d+, 3\)"),
        (one_waypoint, r"expected waypoints \(8, 3\), got \(1, 3\)"),
    ],
)
def test_a_function_that_makes_no_tile_is_one_clear_line(make: Any, message: str) -> None:
    with put_back():
        register("trenches", TrenchesConfig, make)
        config = load_config("parkour_depth", [*only(["trenches"]), "terrain.levels=1", "terrain.variants=1"])
        with pytest.raises(UserError, match=f"^terrain.trenches at level 0: {message}$"):
            build_library(config.terrain)


@pytest.mark.usefixtures("registered")
def test_the_command_that_draws_the_library_knows_it(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(UserError, match="did you mean 'trenches'"):
        main(["--kinds", "trenchs"])
    with pytest.raises(SystemExit):
        main(["--help"])
    assert "trenches" in capsys.readouterr().out
    main(["--kinds", "trenches", "--output", str(tmp_path / "t.png"), "terrain.levels=2", "terrain.variants=1"])
    assert (tmp_path / "t.png").read_bytes().startswith(b"\x89PNG")


def test_its_tiles_come_after_the_others_which_stay_the_same() -> None:
    small = TerrainConfig(levels=3, variants=2, seed=5)
    before = build_library(small)
    with put_back():
        register("trenches", TrenchesConfig, trenches)
        config = TerrainConfig(levels=3, variants=2, seed=5)
        library = build_library(config)
        assert library.kinds == (*before.kinds, "trenches")
        assert torch.equal(library.boxes[: len(before.boxes)], before.boxes)
        assert torch.equal(library.waypoints[: len(before.boxes)], before.waypoints)
        for level in range(3):
            for variant in range(2):
                rng = np.random.default_rng([5, zlib.crc32(b"trenches"), level, variant])
                tile = trenches(level / 2, rng, TrenchesConfig(), config)
                row = len(before.boxes) + level * 2 + variant
                np.testing.assert_array_equal(library.boxes[row, : len(tile.boxes)], tile.boxes.astype(np.float32))
                np.testing.assert_array_equal(library.waypoints[row], tile.waypoints.astype(np.float32))
    assert "trenches" not in KINDS and not hasattr(TerrainConfig(), "trenches")


@dataclass
class Shareless:
    width: float = 1.0


@dataclass
class OddlyShared:
    proportion: str = "all"


@pytest.mark.parametrize(
    ("name", "section", "message"),
    [
        ("gaps", TrenchesConfig, "TerrainConfig has a 'gaps' already"),
        ("length", TrenchesConfig, "TerrainConfig has a 'length' already"),
        ("deep trenches", TrenchesConfig, "'deep trenches' cannot be a key"),
        ("trenches", Shareless, "has a 'proportion: float'; that of 'trenches' has none"),
        ("trenches", OddlyShared, "has a 'proportion: float'; that of 'trenches' has none"),
        ("trenches", dict, "has a 'proportion: float'; that of 'trenches' has none"),
    ],
)
def test_what_cannot_be_a_kind_is_refused_and_changes_nothing(name: str, section: type, message: str) -> None:
    kinds, config = dict(KINDS), TerrainConfig()
    with pytest.raises(ValueError, match=message):
        register(name, section, trenches)
    assert kinds == KINDS
    assert TerrainConfig() == config


@pytest.mark.usefixtures("registered")
def test_no_kind_is_registered_twice() -> None:
    with pytest.raises(ValueError, match="TerrainConfig has a 'trenches' already"):
        register("trenches", TrenchesConfig, trenches)

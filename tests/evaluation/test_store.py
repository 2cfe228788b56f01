"""The folder of an evaluation: what is kept, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from legged_gym_ext.envs.outcome import ENDS
from legged_gym_ext.errors import UserError
from legged_gym_ext.evaluation.episodes import Episodes, Unit
from legged_gym_ext.evaluation.store import Store

UNIT = Unit("push=0.3", "student", "true", 3)
IDENTITY = {"checkpoint": "abc", "episodes": 5}


def some_episodes(seed: int = 0) -> Episodes:
    rng, n = np.random.default_rng(seed), 50
    names = [name for name in Episodes.__dataclass_fields__ if name not in ("kind", "tile", "outcome")]
    return Episodes(
        kind=rng.choice(["flat", "stepping_stones"], n),
        tile=rng.integers(0, 100, n),
        outcome=rng.choice([int(end) for end in ENDS], n),
        **{name: rng.normal(size=n).astype(np.float32).astype(np.float64) for name in names},
    )


def test_what_is_written_is_read_bit_for_bit(tmp_path: Path) -> None:
    store, written = Store(tmp_path / "new" / "folder", IDENTITY), some_episodes()
    store.open()
    assert not store.has(UNIT)
    store.write(UNIT, written)
    assert store.has(UNIT) and not store.has(Unit("push=0.3", "student", "blank", 3))
    again = Store(tmp_path / "new" / "folder", IDENTITY)
    again.open()
    for name, values in again.read(UNIT).columns().items():
        assert np.array_equal(values, written.columns()[name]), name
        assert values.dtype.kind == written.columns()[name].dtype.kind


def test_a_folder_of_something_else_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    store = Store(tmp_path, IDENTITY)
    store.open()
    store.write(UNIT, some_episodes())
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with pytest.raises(UserError, match="another checkpoint: abc, not xyz; remove it, or choose another folder"):
        Store(tmp_path, {**IDENTITY, "checkpoint": "xyz"}).open()
    assert before == {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}


@pytest.mark.parametrize("text", ["", "kind,tile\nflat,1\n", "not a table"])
def test_a_damaged_file_is_one_line(tmp_path: Path, text: str) -> None:
    store = Store(tmp_path, IDENTITY)
    store.open()
    store.write(UNIT, some_episodes())
    next(tmp_path.glob("episodes/*.csv")).write_text(text)
    with pytest.raises(UserError, match="is damaged: remove it and evaluate again"):
        store.read(UNIT)


@pytest.mark.parametrize("damage", [lambda text: text.replace("stuck", "stock"), lambda text: text[: len(text) // 2]])
def test_a_word_or_a_row_that_is_cut_is_damage(tmp_path: Path, damage) -> None:
    store = Store(tmp_path, IDENTITY)
    store.open()
    store.write(UNIT, some_episodes())
    path = next(tmp_path.glob("episodes/*.csv"))
    path.write_text(damage(path.read_text()))
    with pytest.raises(UserError, match="is damaged"):
        store.read(UNIT)


def test_a_file_in_the_place_of_the_folder_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot write"):
        Store(tmp_path / "file", IDENTITY).open()

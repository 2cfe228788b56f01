"""Curves of a run: what is drawn of what was logged."""

from __future__ import annotations

from pathlib import Path

import pytest
from dummy_env import small_config
from dummy_runner import make

from legged_gym_ext.errors import UserError
from legged_gym_ext.runs import plot


def test_panels_have_what_was_logged_and_none_is_empty(tmp_path: Path) -> None:
    make(tmp_path, small_config(logger="tensorboard")).learn(3)
    scalars = plot._scalars(tmp_path)
    found = {title: list(plot.find_lines(tag, scalars)) for title, tag in plot.PANELS.items()}
    assert found["return of an episode"] == ["teacher", "student"]
    assert found["distillation loss"] == ["Distill/loss"] and found["spread of actions, fine-tuning"] == []
    plot.plot_run(tmp_path, tmp_path / "curves.png")
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")


def test_kinds_are_told_from_lanes() -> None:
    scalars = dict.fromkeys(["TerrainLevel/teacher", "TerrainLevel/gaps/teacher", "TerrainLevel/gaps/student"])
    assert list(plot.find_lines("TerrainLevel/*", scalars)) == ["teacher"]
    assert list(plot.find_lines("TerrainLevel/*/teacher", scalars)) == ["gaps"]


def test_a_run_without_curves_is_one_line(tmp_path: Path) -> None:
    make(tmp_path).learn(1)
    with pytest.raises(UserError, match="no TensorBoard events"):
        plot.plot_run(tmp_path, tmp_path / "curves.png")

"""Curves are what TensorBoard's own reader finds, whatever else is in the files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from log_files import write_log
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch.utils.tensorboard.writer import SummaryWriter

from legged_gym_ext.runs.events import read_curves


def random_curves(seed: int) -> dict[str, dict[int, float]]:
    random = np.random.default_rng(seed)
    curves = {}
    for tag in ("Return/teacher", "Return/student", "TerrainLevel/gaps/teacher", "Loss/value", "X/once"):
        steps = random.choice(1000, size=1 if tag == "X/once" else random.integers(2, 60), replace=False)
        curves[tag] = {int(step): float(random.normal()) for step in sorted(steps)}
    return curves


@pytest.mark.parametrize("seed", range(3))
def test_curves_are_what_tensorboard_reads(tmp_path: Path, seed: int) -> None:
    written = random_curves(seed)
    write_log(tmp_path, written)
    with SummaryWriter(str(tmp_path), filename_suffix=".more") as writer:  # what is no scalar is passed over
        writer.add_image("Depth", np.zeros((3, 200, 200), np.uint8), 1)
        writer.add_text("Words", "Return/teacher " * 10, 1)
        writer.add_histogram("Actions", np.arange(50.0), 2)
        writer.add_scalar("Extra", 3.0, 5)
    theirs = EventAccumulator(str(tmp_path), size_guidance={"scalars": 0})
    theirs.Reload()
    ours = read_curves(tmp_path)
    assert set(ours) == set(theirs.Tags()["scalars"]) == {*written, "Extra"}
    for tag, curve in ours.items():
        assert curve.steps.tolist() == [event.step for event in theirs.Scalars(tag)]
        assert curve.values.tolist() == [event.value for event in theirs.Scalars(tag)]
        assert curve.last == curve.values[-1]


def test_the_last_value_of_a_step_counts_and_steps_ascend(tmp_path: Path) -> None:
    write_log(tmp_path, {"A": {1: 1.0, 2: 2.0, 3: 3.0}})
    with SummaryWriter(str(tmp_path), filename_suffix=".z") as writer:
        for step, value in ((2, 20.0), (5, 50.0), (4, 40.0)):
            writer.add_scalar("A", value, step)
    curve = read_curves(tmp_path)["A"]
    assert curve.steps.tolist() == [1, 2, 3, 4, 5]
    assert curve.values.tolist() == [1.0, 20.0, 3.0, 40.0, 50.0]


def test_only_the_tags_asked_for(tmp_path: Path) -> None:
    write_log(tmp_path, random_curves(0))
    assert set(read_curves(tmp_path, ["Return/", "once"])) == {"Return/teacher", "Return/student", "X/once"}


def test_what_is_cut_short_or_damaged_ends_a_file_and_no_more(tmp_path: Path) -> None:
    write_log(tmp_path, {"A": {step: float(step) for step in range(20)}})
    (path,) = tmp_path.glob("events*")
    whole = path.read_bytes()
    before = 0
    for length in sorted(np.random.default_rng(0).integers(1, len(whole), size=30)):
        path.write_bytes(whole[:length])
        points = len(read_curves(tmp_path)["A"].steps) if read_curves(tmp_path) else 0
        assert before <= points <= 20
        before = points
    assert before > 10
    path.write_bytes(whole[: len(whole) // 2] + b"\xff" * 100)
    assert 0 < len(read_curves(tmp_path)["A"].steps) < 20
    path.write_bytes(b"")
    assert read_curves(tmp_path) == {}
    assert read_curves(tmp_path / "nowhere") == {}

"""What a training gives to its logs, with Weights & Biases in memory."""

from __future__ import annotations

import math
import subprocess
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dummy_env import small_config
from dummy_runner import assert_same, make
from imageio_ffmpeg import get_ffmpeg_exe
from PIL import Image as Picture
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.summary.writer import event_file_writer
from torch.utils.tensorboard.writer import SummaryWriter

from legged_gym_ext.config.files import save_config
from legged_gym_ext.config.schema import Config
from legged_gym_ext.dashboard.custom_scalars import custom_scalars
from legged_gym_ext.dashboard.layout import layout
from legged_gym_ext.recording import memory, recording
from legged_gym_ext.recording.entries import ENV_STEPS, HOURS, ITERATION, Alert, Best, Checkpoint, Entry, Scalars
from legged_gym_ext.recording.media import Histogram, Image, Page, Table, Video
from legged_gym_ext.recording.recording import Recording
from legged_gym_ext.recording.tensorboard import TensorBoard
from legged_gym_ext.recording.wandb_start import Opened, Start
from legged_gym_ext.recording.watch import PATIENCE
from legged_gym_ext.runs.checkpoint import load_checkpoint


class InMemory:
    """Stands for W&B."""

    name, settles, retry = "W&B", 0.0, 0.01
    runs: list[InMemory]

    def __init__(self, start: object, opened: object) -> None:
        self._start, self._opened = start, opened
        self.entries: list[Entry] = []
        type(self).runs.append(self)

    def open(self) -> None:
        self.start: Start = self._start()  # type: ignore[operator]
        self._opened(Opened("team", "bipeds", "https://x/y", False, self.start.folder))  # type: ignore[operator]

    def write(self, entry: Entry) -> None:
        self.entries.append(entry)

    def close(self) -> None:
        pass

    def abandon(self) -> None:
        pass

    def of(self, kind: type) -> list[Entry]:
        return [entry for entry in self.entries if isinstance(entry, kind)]


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> list[InMemory]:
    InMemory.runs = []
    monkeypatch.setattr(recording, "WandbSink", InMemory)
    return InMemory.runs


def train(folder: Path, iterations: int, before: Path | None = None, **runner: object) -> None:
    config = small_config(logger="wandb", save_interval=2, **runner)
    folder.mkdir(exist_ok=True)
    save_config(config, folder / "config.yaml")
    trained = make(folder, config)
    if before:
        trained.load(str(before))
    trained.learn(iterations)


def test_a_run_is_made_of_what_is_configured(tmp_path: Path, runs: list[InMemory]) -> None:
    train(
        tmp_path / "run", 2, wandb_project="bipeds", wandb_entity="team", wandb_tags=["a", "b"], wandb_notes="why",
        wandb_group="study",
    )  # fmt: skip
    (run,) = runs
    start = run.start
    assert (start.name, start.project, start.entity, start.group) == ("run", "bipeds", "team", "study")
    assert (start.tags, start.notes, start.job_type, start.offline) == (("a", "b"), "why", "train", False)
    assert start.config["distill"]["bptt_steps"] == 4 and start.folder == tmp_path / "run"
    names = {path.relative_to(tmp_path / "run").as_posix() for path in start.files}
    assert "config.yaml" in names and all(path.is_file() for path in start.files)
    assert bool(start.commit) == any(name.startswith("git/") for name in names)
    remembered = memory.load(tmp_path / "run")
    assert (remembered.run_id, remembered.url) == (start.run_id, "https://x/y") and len(start.run_id) == 8


def test_a_resumed_run_is_the_same_or_a_new_one_in_its_group(tmp_path: Path, runs: list[InMemory]) -> None:
    train(tmp_path / "first", 3)
    checkpoint = tmp_path / "first" / "model_3.pt"
    train(tmp_path / "second", 1, checkpoint)
    train(tmp_path / "third", 1, checkpoint, wandb_resume="new")
    train(tmp_path / "fourth", 1, tmp_path / "third" / "model_4.pt")
    first, second, third, fourth = (run.start for run in runs)
    assert second.run_id == first.run_id and third.run_id != first.run_id and fourth.run_id == third.run_id
    assert {start.group for start in (first, second, third, fourth)} == {"first"}
    assert [start.entity for start in (first, second, third, fourth)] == ["", "team", "team", "team"]
    hours = [entry.axes[HOURS] for run in runs[:2] for entry in run.of(Scalars)]
    assert hours == sorted(hours) and hours[3] > memory.load(tmp_path / "first").hours * 0.99 > 0
    assert [entry.axes[ITERATION] for entry in runs[1].of(Scalars)] == [4]


def test_every_entry_knows_where_it_stands(tmp_path: Path, runs: list[InMemory]) -> None:
    train(tmp_path / "run", 3)
    rows = runs[0].of(Scalars)
    assert [row.axes[ITERATION] for row in rows] == [1, 2, 3]
    assert [row.axes[ENV_STEPS] for row in rows] == [24, 72, 120]  # both lanes
    for row in rows:
        assert isinstance(row, Scalars) and row.values[ENV_STEPS] == row.axes[ENV_STEPS]


def test_checkpoints_are_uploaded_as_often_as_configured_and_the_last_one(tmp_path: Path, runs: list[InMemory]) -> None:
    train(tmp_path / "often", 7, wandb_checkpoint_every=4)
    train(tmp_path / "never", 3, wandb_checkpoint_every=0)
    train(tmp_path / "last", 3, wandb_checkpoint_every=500, keep_checkpoints=1)
    kept = [[entry for entry in run.of(Checkpoint) if isinstance(entry, Checkpoint)] for run in runs]
    assert [[int(each.axes[ITERATION]) for each in checkpoints] for checkpoints in kept] == [[4, 7], [], [3]]
    for checkpoint in kept[0]:
        names = [path.name for path in checkpoint.files]
        assert names == [f"model_{checkpoint.axes[ITERATION]}.pt", "config.yaml"] and checkpoint.stays
    assert not kept[2][0].stays
    assert kept[0][0].best  # the first one is


def test_the_best_checkpoint_is_that_of_the_highest_level(tmp_path: Path, runs: list[InMemory]) -> None:
    config = small_config(logger="wandb", wandb_checkpoint_every=1)
    log = Recording(config, tmp_path)
    log.open()
    best = []
    for step, level in enumerate([0.5, 1.5, 1.5, 0.75, math.nan, 2.0], start=1):
        log.add({"TerrainLevel/student": level, "TerrainLevel/teacher": 9.0 - step}, step)
        log.checkpoint(tmp_path / f"model_{step}.pt", step)
        assert log.drain(10.0)
        best.append(runs[0].of(Checkpoint)[-1].best)  # type: ignore[attr-defined]
    log.close(5.0)
    assert best == [True, True, False, False, False, True]
    assert memory.load(tmp_path).best_checkpoint == 2.0
    summary = runs[0].of(Best)[-1]
    assert isinstance(summary, Best) and summary.values == {"TerrainLevel/student": 2.0, "TerrainLevel/teacher": 8.0}


def test_alerts_reach_the_console_and_the_log(tmp_path: Path, runs: list[InMemory], capsys) -> None:
    log = Recording(small_config(logger="wandb"), tmp_path)
    log.open()
    log.add({"Health/diverged/teacher": 1.0}, 1)
    for step in (2, 2 + PATIENCE):
        log.add({"TerrainLevel/teacher": 1.0}, step, {"teacher": ["PPO"]})
    log.close(10.0)
    alerts = [entry for entry in runs[0].of(Alert) if isinstance(entry, Alert)]
    assert [alert.title for alert in alerts] == ["diverged", "curriculum stands still"]
    out = capsys.readouterr().out
    assert all(f"alert: {alert.title}: {alert.text}" in out for alert in alerts)
    events = EventAccumulator(str(tmp_path)).Reload()
    assert "Alert/diverged/text_summary" in events.Tags()["tensors"]


@pytest.mark.parametrize("written", [0, 1, 2])
def test_attempts_on_a_full_disk_leave_no_files(tmp_path: Path, written: int, monkeypatch: pytest.MonkeyPatch) -> None:
    room = [0]
    write = event_file_writer.RecordWriter.write

    def until_full(self: Any, data: bytes) -> None:
        if room[0] <= 0:
            raise OSError(28, "No space left on device")
        room[0] -= 1
        write(self, data)

    def begin(writer: SummaryWriter) -> None:
        for step in range(3):
            writer.add_scalar("a", 1.0, step)

    monkeypatch.setattr(event_file_writer.RecordWriter, "write", until_full)
    sink = TensorBoard(tmp_path, begin=begin)
    others = {tmp_path / name for name in ("events.out.tfevents.1.host.1.0", "model_1.pt")}
    for path in others:
        path.touch()
    for _ in range(3):
        room[0] = written
        with pytest.raises(OSError, match="No space left on device"):
            sink.open()
        sink.abandon()
    assert {*tmp_path.iterdir()} == others
    room[0] = 100
    sink.open()
    sink.write(Scalars({ITERATION: 7}, {"b": 2.0}))
    sink.close()
    assert EventAccumulator(str(tmp_path)).Reload().Scalars("b")[0].value == 2.0


def test_a_log_that_hangs_holds_no_training_up(tmp_path: Path, runs: list[InMemory], monkeypatch) -> None:
    released = threading.Event()
    monkeypatch.setattr(InMemory, "open", lambda self: released.wait(60.0))
    monkeypatch.setattr(recording.Recording.close, "__defaults__", (0.5,))
    train(tmp_path / "run", 3)
    assert (tmp_path / "run" / "model_3.pt").is_file()
    released.set()


@pytest.mark.parametrize("logger", ["tensorboard", "wandb"])
def test_a_training_is_the_same_bit_for_bit_whatever_logs_it(logger: str, tmp_path: Path, runs: list[InMemory]) -> None:
    contents = []
    for name in ("none", logger):
        make(tmp_path / name, small_config(logger=name)).learn(4)
        contents.append(load_checkpoint(tmp_path / name / "model_4.pt"))
        contents[-1]["config"]["runner"].pop("logger")
    assert_same(*contents)


def test_nothing_is_recorded_where_nothing_is_asked_for(tmp_path: Path, runs: list[InMemory]) -> None:
    make(tmp_path, small_config()).learn(2)
    assert not runs and {path.name for path in tmp_path.iterdir()} == {"model_2.pt", "config.yaml"}
    other = make(None, small_config(logger="wandb"))
    other.learn(1)
    assert not runs


def test_tensorboard_shows_media_the_configuration_and_the_layout(tmp_path: Path, capsys) -> None:
    config: Config = small_config(logger="tensorboard")
    film = tmp_path / "film.mp4"
    frames = np.random.default_rng(0).integers(0, 255, (10, 32, 48, 3), dtype=np.uint8)
    command = [get_ffmpeg_exe(), "-f", "rawvideo", "-pix_fmt", "rgb24", "-s", "48x32", "-r", "10", "-i", "-", str(film)]
    subprocess.run(command, input=frames.tobytes(), capture_output=True, check=True)
    pixels = frames[0]
    log = Recording(config, tmp_path)
    log.open()
    log.show(
        [
            Image("Depth/teacher", pixels),
            Histogram("Actions/teacher", np.arange(30.0)),
            Table("Success/by_kind_and_level/student", ["kind", "level 0"], [["gaps", 0.5], ["a|b", None]]),
            Video("Video/student", film, 10.0),
            Video("Video/teacher", tmp_path / "gone.mp4", 10.0),
            Page("Page/x", "# title", "<p>"),
        ],
        7,
    )
    log.close(60.0)
    assert capsys.readouterr().out == f"log: left out Video/teacher: no file {tmp_path / 'gone.mp4'}\n"
    events = EventAccumulator(str(tmp_path), size_guidance={"tensors": 0, "images": 0}).Reload()
    tags = events.Tags()
    (depth,) = events.Images("Depth/teacher")
    assert depth.step == 7 and (depth.height, depth.width) == pixels.shape[:2]
    (video,) = events.Images("Video/student")
    (tmp_path / "film.gif").write_bytes(video.encoded_image_string)
    with Picture.open(tmp_path / "film.gif") as gif:
        assert gif.format == "GIF" and getattr(gif, "n_frames", 1) == 10 and gif.size == (48, 32)
    assert tags["histograms"] == ["Actions/teacher"] and "Video/teacher" not in tags["images"]
    (table,) = events.Tensors("Success/by_kind_and_level/student/text_summary")
    assert table.tensor_proto.string_val[0].decode().splitlines() == [
        "| kind | level 0 |",
        "| --- | --- |",
        "| gaps | 0.5 |",
        "| a\\|b |  |",
    ]
    assert {"Page/x/text_summary", "Run/configuration/text_summary", "custom_scalars__config__"} <= set(tags["tensors"])
    assert any(tag.startswith("_hparams_/") for tag in events.summary_metadata)
    assert custom_scalars(layout(config))["Overview"]["terrain level"] == [
        "Multiline",
        ["^TerrainLevel/teacher$", "^TerrainLevel/student$"],
    ]

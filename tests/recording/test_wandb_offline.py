"""Weights & Biases itself, offline: what is in its own files, and trainings whose W&B is killed.

Uploads, a login and resuming on W&B's servers were tried by nothing here.
"""

from __future__ import annotations

import math
import os
import shutil
import signal
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from dummy_env import small_config
from dummy_runner import assert_same, make
from small_env import CPU

from legged_gym_ext.config.files import load_config, save_config
from legged_gym_ext.config.schema import Config
from legged_gym_ext.dashboard.__main__ import check, listing
from legged_gym_ext.dashboard.layout import Shows, layout, panels, without_data, without_panel
from legged_gym_ext.envs.parkour_env import ParkourEnv
from legged_gym_ext.errors import UserError
from legged_gym_ext.learning.runner import ParkourRunner
from legged_gym_ext.processes import children
from legged_gym_ext.recording import wandb_process, wandb_sink
from legged_gym_ext.recording.entries import ENV_STEPS, HOURS, ITERATION, Alert, Scalars, Shown
from legged_gym_ext.recording.keeper import Keeper
from legged_gym_ext.recording.media import Histogram, Image, Table, Video
from legged_gym_ext.recording.recording import Recording, wandb_start
from legged_gym_ext.recording.wandb_file import Contents, read, runs_in
from legged_gym_ext.recording.wandb_process import WandbRun
from legged_gym_ext.recording.wandb_sink import WandbSink, sync_command
from legged_gym_ext.runs.checkpoint import load_checkpoint

TINY = [
    *("terrain.levels=2", "terrain.variants=1", "runner.num_steps_per_env=6", "teacher.hidden_dims=[32,16]"),
    *("student.encoder.gru_hidden=16", "distill.start=1", "distill.interval=1", "distill.steps_per_env=7"),
    *("distill.bptt_steps=4", "env.episode_length_s=0.1", "ppo.num_learning_epochs=1", "sim.engine=mujoco"),
    *("runner.logger=wandb", "runner.wandb_mode=offline", "runner.save_interval=2", "runner.wandb_checkpoint_every=2"),
    *("guide.iterations=1", "guide.rounds=1", "guide.steps_per_env=6", "guide.mini_batches=2"),
    *("runner.wandb_tags=[first,second]", "runner.wandb_project=bipeds", "runner.device=cpu"),
]


def whole(files: Sequence[Path]) -> Contents:
    """Return what a run's files hold once W&B's own process, which writes them, has written the end of the run."""
    until = time.monotonic() + 30.0
    while True:
        try:
            contents = read(files, ITERATION)
        except UserError:
            contents = Contents()
        if contents.ended or time.monotonic() > until:
            return contents
        time.sleep(0.2)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Config, Path, Contents]:
    """Train the real environment for 4 iterations, offline, and read what W&B wrote."""
    from legged_gym_ext.runs.settle import seed_everything, settle

    folder = tmp_path_factory.mktemp("run")
    asked = load_config("parkour_depth", TINY)
    for key, value in (("media_every", 2), ("video_every", 0)):
        if hasattr(asked.runner, key):
            setattr(asked.runner, key, value)
    config = settle(asked)
    save_config(config, folder / "config.yaml")
    seed_everything(config.seed)
    runner = ParkourRunner(ParkourEnv(config, 8, CPU), config, folder, "cpu")
    runner.learn(4)
    return config, folder, whole(runs_in(folder))


def test_every_panel_has_data_and_every_metric_a_panel(trained: tuple[Config, Path, Contents]) -> None:
    config, _, contents = trained
    sections = layout(config)
    assert not without_data(sections, contents.tags)
    assert not without_panel(sections, contents.tags)
    titles = [section.title for section in sections]
    assert titles[:4] == ["Overview", "Parkour by kind", "Distillation", "PPO"]
    tags = [tag for _, panel in panels(sections) for tag in panel.tags]
    assert len(tags) == len(set(tags))


def test_a_panel_without_data_is_a_failure(trained: tuple[Config, Path, Contents], capsys) -> None:
    config, folder, contents = trained
    found = check(layout(config), folder)
    out = capsys.readouterr().out
    assert listing(found) in out and "sections have data" in out
    for tag in ("SuccessRate/student", "Distill/loss", "Reward/termination/teacher"):
        assert any(tag in line for line in without_data(layout(config), contents.tags - {tag})), tag
    config.runner.evaluate_every = 1
    try:
        with pytest.raises(UserError, match=r"panels without data: Overview: success in the small evaluation"):
            check(layout(config), folder)
    finally:
        config.runner.evaluate_every = 0


def test_wandb_has_all_that_was_logged_over_its_step_axis(trained: tuple[Config, Path, Contents]) -> None:
    config, folder, contents = trained
    assert contents.ended and contents.project == "bipeds" and contents.group == folder.name
    assert contents.step_metrics == {"*": ITERATION}
    assert contents.config["distill"] == {**contents.config["distill"], "bptt_steps": 4, "loss": config.distill.loss}
    assert [step for step, _ in contents.metrics["Return/teacher"]][-1] == 4
    assert [step for step, _ in contents.metrics["Loss/surrogate"]] == [1, 2, 3, 4]
    assert [step for step, _ in contents.metrics["Distill/loss"]] == [2, 3, 4]
    assert sorted({value for _, value in contents.metrics[ENV_STEPS]}) == [144, 248, 352, 456]
    assert [value for _, value in contents.metrics[HOURS]] == sorted(value for _, value in contents.metrics[HOURS])
    for tag, best in ((tag, value) for tag, value in contents.summary.items() if tag.startswith("Best/")):
        values = [value for _, value in contents.metrics[tag.removeprefix("Best/")]]
        assert best == pytest.approx(min(values) if "Distill" in tag else max(values))
    assert {"Best/SuccessRate/student", "Best/TerrainLevel/teacher"} <= contents.summary.keys()


def test_checkpoints_are_versions_of_an_artifact(trained: tuple[Config, Path, Contents]) -> None:
    _, _, contents = trained
    assert [(name, kind, files) for name, kind, _, files in contents.artifacts] == [
        (f"model-{contents.run_id}", "model", ["config.yaml", f"model_{number}.pt"]) for number in (2, 4)
    ]
    assert set(contents.artifacts[0][2]) == {"latest", "best"}
    assert "config.yaml" in contents.files


def test_the_files_in_the_run_folder_hold_the_same_curves(trained: tuple[Config, Path, Contents]) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    _, folder, contents = trained
    events = EventAccumulator(str(folder)).Reload()
    assert set(events.Tags()["scalars"]) == contents.metrics.keys() - {ITERATION}
    for tag in ("Return/teacher", "Distill/loss", "Perf/learning_time"):
        ours = [(event.step, pytest.approx(event.value)) for event in events.Scalars(tag)]
        assert contents.metrics[tag] == ours


def test_the_workspace_is_the_layout(trained: tuple[Config, Path, Contents]) -> None:
    """Built without a network, as it would be sent; that W&B's servers take it was tried by nobody here."""
    pytest.importorskip("wandb_workspaces")
    from legged_gym_ext.dashboard.workspace import workspace

    sections = layout(trained[0])
    made = workspace(sections, "bipeds", "team")
    assert [section.name for section in made.sections] == [section.title for section in sections]
    for ours, theirs in zip(sections, made.sections, strict=True):
        for panel, drawn in zip(ours.panels, theirs.panels, strict=True):
            if panel.shows is Shows.TABLE:
                assert (drawn.table_name,) == panel.tags  # W&B gives it its title
                continue
            assert drawn.title == panel.title
            shown = drawn.y if panel.shows is Shows.CURVES else drawn.media_keys
            assert [getattr(metric, "name", metric) for metric in shown] == list(panel.tags)
    spec = made._to_model().model_dump_json()
    assert all(tag in spec for _, panel in panels(sections) for tag in panel.tags)


# Trouble ------------------------------------------------------------------------------------------------------------


def service_of(process: int) -> int:
    """Return W&B's own service process, a child of ``process``."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                name, _, rest = (entry / "stat").read_text().partition("(")[2].rpartition(")")
            except OSError:
                continue
            if name == "wandb-core" and int(rest.split()[1]) == process:
                return int(entry.name)
    raise AssertionError("no service")


def sink_of(recording: Recording) -> WandbSink:
    (sink,) = (sink for sink in recording._sinks if isinstance(sink, WandbSink))
    return sink


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks for processes in /proc")
def test_a_killed_service_ends_no_training_and_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    undisturbed = make(None)
    undisturbed.learn(8)
    monkeypatch.setattr(WandbSink, "retry", 0.05)
    config = small_config(logger="wandb", wandb_mode="offline", save_interval=3)
    runner = make(tmp_path, config)
    recording, iterate = runner.journal.recording, runner._iterate
    begun: list[int] = []

    def disturbed() -> Any:
        if runner.iteration in (2, 4, 6):
            assert recording.drain(240.0)
            process = sink_of(recording)._process
            assert process is not None
            begun.append(process.pid)
            match runner.iteration:
                case 2:
                    os.kill(service_of(process.pid), signal.SIGKILL)
                case 4:
                    process.kill()
                case 6:
                    shutil.rmtree(tmp_path / "wandb")
        return iterate()

    runner._iterate = disturbed
    runner.learn(8)
    out, err = capfd.readouterr()
    assert len(set(begun)) == 3 and "Traceback" not in out + err
    assert out.count("W&B: not recorded (") == out.count("W&B: recorded again") == 3
    assert_same(load_checkpoint(tmp_path / "model_8.pt")["phases"], undisturbed.saving.content([])["phases"])
    contents = whole(runs_in(tmp_path))
    assert contents.ended
    steps = {step for step, _ in contents.metrics["Return/teacher"]}
    assert steps >= {7, 8}  # what was there before is in the folder that was deleted
    assert contents.run_id and {path.stem for path in runs_in(tmp_path)} == {f"run-{contents.run_id}"}


def start_in(folder: Path, **runner: Any) -> Any:
    config = small_config(logger="wandb", **runner)
    return lambda: wandb_start(config, folder, "abcd1234", folder.name, "group")


@pytest.fixture
def nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Nobody is logged in."""
    for name in [name for name in os.environ if name.startswith("WANDB_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    yield


def at(step: int) -> dict[str, float]:
    return {ITERATION: float(step)}


def test_without_a_login_files_are_kept_and_a_line_says_how_to_sync_them(
    tmp_path: Path, nobody: None, capfd: pytest.CaptureFixture[str]
) -> None:
    keeper = Keeper(WandbSink(start_in(tmp_path)))
    keeper.put(Scalars(at(1), {"Return/teacher": 2.0, "Loss/value": math.nan}))
    keeper.put(
        Shown(
            at(1),
            (
                Image("Depth/teacher", np.zeros((4, 4, 3), np.uint8)),
                Histogram("Actions/teacher", np.array([1.0, 2.0, math.inf])),
                Table("Success/by_kind_and_level/student", ["kind", "level 0"], [["gaps", 0.5], ["stairs", None]]),
                Video("Video/student", tmp_path / "gone.mp4", 10.0),
            ),
        )
    )
    keeper.put(Alert(at(2), "diverged", "a text"))
    keeper.close(240.0)
    out, err = capfd.readouterr()
    told, left_out = out.splitlines()
    assert told.startswith("W&B: kept offline (No API key configured.") and not err
    (file,) = runs_in(tmp_path)
    command = f"wandb sync {tmp_path}/wandb/offline-run-*"
    assert told.endswith(f"to upload it: {command}") and command == sync_command(file.parent)
    assert left_out == "W&B: left out Video/student: No such file or directory"
    contents = whole([file])
    assert contents.metrics["Return/teacher"] == [(1, 2.0)] and contents.alerts == [("diverged", "a text")]
    assert contents.media == {
        "images": {"Depth/teacher": 1},
        "histograms": {"Actions/teacher": 1},
        "tables": {"Success/by_kind_and_level/student": 1},
    }


def test_a_full_disk_is_told_though_wandb_does_not_tell_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    full = [True]
    usage = SimpleNamespace(free=0)
    monkeypatch.setattr(wandb_sink.shutil, "disk_usage", lambda _: usage if full[0] else SimpleNamespace(free=2**40))
    sink = WandbSink(start_in(tmp_path))
    with pytest.raises(OSError, match="No space left on device"):
        sink.open()
    assert sink._process is None  # nothing was begun for it

    run = object.__new__(WandbRun)
    (tmp_path / "run.wandb").write_text("")
    settings = SimpleNamespace(sync_dir=str(tmp_path), sync_file=str(tmp_path / "run.wandb"))
    logged: list[Any] = []
    run.run = SimpleNamespace(disabled=False, settings=settings, log=logged.append)  # type: ignore[assignment]
    monkeypatch.setattr(wandb_process.shutil, "disk_usage", lambda _: usage if full[0] else SimpleNamespace(free=2**40))
    with pytest.raises(OSError, match="No space left on device"):
        run.write(Scalars(at(1), {"a": 1.0}))
    full[0] = False
    assert run.write(Scalars(at(1), {"a": 1.0})) == "" and logged == [{"a": 1.0, ITERATION: 1.0}]
    (tmp_path / "run.wandb").unlink()
    with pytest.raises(FileNotFoundError, match="is gone"):
        run.write(Scalars(at(2), {"a": 1.0}))


def test_a_process_that_cannot_begin_is_told_by_its_last_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "wandb").mkdir()
    (tmp_path / "wandb" / "__init__.py").write_text("raise ImportError('a broken installation')")
    monkeypatch.setattr(children, "_SOURCES", os.pathsep.join([str(tmp_path), str(children._SOURCES)]))
    sink = WandbSink(start_in(tmp_path, wandb_mode="offline"))
    begin = time.monotonic()
    with pytest.raises(ConnectionError, match="its process has ended: ImportError: a broken installation"):
        sink.open()
    sink.abandon()
    assert time.monotonic() - begin < 100.0


def test_sync_commands_can_be_typed() -> None:
    command = sync_command(Path("/my runs/a/wandb/offline-run-20261130_130003-abcd1234"))
    assert command == "wandb sync '/my runs/a/wandb'/offline-run-*"
    assert sync_command(Path("/r/wandb/run-20261130_130003-abcd1234")) == "wandb sync /r/wandb/run-*"

"""The process that films: what it brings, and that whatever becomes of it costs the training a line at most."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
from fake_filming import collected, fake_program, starts, wait_for_start
from small_env import CPU, TINY

from legged_gym_ext.config.files import load_config
from legged_gym_ext.config.schema import Config
from legged_gym_ext.envs.parkour_env import ParkourEnv
from legged_gym_ext.learning.runner import ParkourRunner
from legged_gym_ext.processes.children import environment
from legged_gym_ext.recording.media import Video
from legged_gym_ext.rendering.opengl import works
from legged_gym_ext.runs.settle import settle
from legged_gym_ext.runs.slim import slim
from legged_gym_ext.showing import filming as filming_module
from legged_gym_ext.showing.filming import Filming
from legged_gym_ext.showing.job import Film, Job, got_on, unfinished


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where temporary folders are made."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def films(folder: Path) -> dict[str, Film]:
    names = ("teacher", "student")
    return {name: Film(str(folder / f"iteration_7_{name}.mp4"), name, [("gaps", 1)]) for name in names}


def begin(how: str, folder: Path, monkeypatch: pytest.MonkeyPatch, filming: Filming | None = None) -> Filming:
    monkeypatch.setattr(filming_module, "PROGRAM", fake_program(folder, how))
    filming = filming or Filming()
    filming.begin(7, Config(), {"phases": {}}, films(folder), 3.0)
    return filming


def gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def test_films_are_collected_when_they_are_ready(tmp_path: Path, temporary: Path, monkeypatch, capsys) -> None:
    stale = tmp_path / ".iteration_3_teacher.unfinished.mp4"
    stale.touch()
    filming = begin("works", tmp_path, monkeypatch)
    iteration, ready = collected(filming)
    paths = {name: tmp_path / f"iteration_7_{name}.mp4" for name in ("teacher", "student")}
    assert iteration == 7
    assert ready == [Video(f"Video/{name}", path, 25.0) for name, path in paths.items()]
    assert [parent for parent, _ in starts(tmp_path)] == [os.getpid()]
    assert not list(temporary.iterdir()) and not stale.exists()
    assert filming.collect() == (0, []) and capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("how", "reason", "left"),
    [("fails_at_the_second", "there is no room", ["teacher"]), ("is_killed", "was ended by SIGKILL", [])],
)
def test_a_failure_is_one_line_and_is_not_told_twice(
    how: str, reason: str, left: list[str], tmp_path: Path, temporary: Path, monkeypatch, capsys
) -> None:
    filming = None
    for _ in range(2):
        filming = begin(how, tmp_path, monkeypatch, filming)
        assert [film.tag for film in collected(filming)[1]] == [f"Video/{name}" for name in left]
        assert not list(tmp_path.glob(".*")) and not list(temporary.iterdir())
        for path in tmp_path.glob("*.mp4"):
            path.unlink()
    out = capsys.readouterr().out
    assert out.startswith("no video of iteration 7: ") and reason in out and out.count("\n") == 1
    assert filming is not None
    collected(begin("works", tmp_path, monkeypatch, filming))
    collected(begin(how, tmp_path, monkeypatch, filming))
    assert capsys.readouterr().out == out  # it is news again


@pytest.mark.parametrize("what", ["disk", "program"])
def test_what_cannot_even_be_started_is_one_line(what: str, tmp_path: Path, temporary, monkeypatch, capsys) -> None:
    monkeypatch.setattr(filming_module, "PROGRAM", (str(tmp_path / "missing"),))
    if what == "disk":

        def full(*_: object) -> None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        monkeypatch.setattr(filming_module, "save_checkpoint", full)
    filming = Filming()
    filming.begin(7, Config(), {"phases": {}}, films(tmp_path), 3.0)
    assert not filming.busy and not list(temporary.iterdir())
    out = capsys.readouterr().out
    assert out.count("\n") == 1 and ("No space left" if what == "disk" else "No such file") in out


def test_the_end_waits_for_a_bounded_time_and_then_ends_it(
    tmp_path: Path, temporary: Path, monkeypatch, capsys
) -> None:
    monkeypatch.setattr(filming_module, "PATIENCE", 0.3)
    filming = begin("hangs", tmp_path, monkeypatch)
    pid = wait_for_start(tmp_path)
    started = time.monotonic()
    filming.wait()
    assert 0.3 <= time.monotonic() - started < 20
    assert filming.busy and not gone(pid)
    filming.end()
    assert gone(pid)
    assert filming.collect() == (7, []) and not filming.busy
    assert not list(tmp_path.glob(".*")) and not list(temporary.iterdir())
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2 and "waiting for the video of iteration 7" in lines[0]
    assert lines[1] == "no video of iteration 7: it was not ready when the training ended"
    for call in (filming.wait, filming.end):  # nothing is under way
        call()
    assert capsys.readouterr().out == ""


def test_the_end_waits_on_while_the_films_get_on_but_not_for_ever(
    tmp_path: Path, temporary: Path, monkeypatch, capsys
) -> None:
    """They have the lowest priority: beside others' work minutes may pass."""
    monkeypatch.setattr(filming_module, "PATIENCE", 2.0)
    monkeypatch.setattr(filming_module, "LONGEST", 5.0)
    filming = begin("gets_on", tmp_path, monkeypatch)
    wait_for_start(tmp_path)
    started = time.monotonic()
    filming.wait()
    assert 5.0 <= time.monotonic() - started < 25 and filming.busy
    filming.end()
    assert filming.collect() == (7, []) and not list(temporary.iterdir())
    assert "it was not ready when the training ended" in capsys.readouterr().out


def test_a_job_is_read_as_it_was_written(tmp_path: Path) -> None:
    job = Job(3, 2.5, films(tmp_path))
    job.write(tmp_path)
    assert Job.read(tmp_path) == job
    assert unfinished(Path("/a/b_1.mp4")) == Path("/a/.b_1.unfinished.mp4")


# The program itself --------------------------------------------------------------------------------------------------


def real_job(folder: Path) -> tuple[Config, dict, dict[str, Film]]:
    """Return a run's configuration and networks that have learned nothing, and what to film."""
    small = (*TINY, "teacher.hidden_dims=[16]", "student.encoder.gru_hidden=16", "runner.logger=none")
    config = settle(load_config("parkour_depth", small))
    runner = ParkourRunner(ParkourEnv(config, 4, CPU), config, None, "cpu")
    content = slim(runner.saving.content([]))
    clips = [("gaps", 1), ("beams", 2)]
    path = folder / "run" / "videos" / "iteration_7_teacher.mp4"
    return config, content, {"teacher": Film(str(path), "teacher, iteration 7", clips)}


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="elsewhere OpenGL is always there")
@pytest.mark.parametrize("has_opengl", [True, False])
def test_a_real_film_is_whole_or_one_line(has_opengl: bool, tmp_path: Path, temporary, monkeypatch, capsys) -> None:
    if has_opengl and not any(works(backend) for backend in ("egl", "osmesa")):
        pytest.skip("no OpenGL here")
    if not has_opengl:
        monkeypatch.setenv("MUJOCO_GL", "off")
    config, content, wanted = real_job(tmp_path)
    filming = Filming()
    filming.begin(7, config, content, wanted, 0.8)
    running = filming._running
    assert running is not None
    filming_module._wait_while_it_gets_on(running)  # beside the other tests it has the lowest priority
    assert (got_on(Path(running.folder.name)) > 0) == has_opengl
    iteration, ready = filming.collect()
    out = capsys.readouterr().out
    if not has_opengl:
        assert ready == [] and out.count("\n") == 1 and "no OpenGL works here" in out
        return
    import imageio_ffmpeg

    assert out == "" and iteration == 7
    (film,) = ready
    assert film == Video("Video/teacher", Path(wanted["teacher"].path), 25.0)
    frames, seconds = imageio_ffmpeg.count_frames_and_secs(str(film.path))
    assert frames == 2 * 10 and seconds == pytest.approx(0.8, abs=0.05)  # whole clips, though robots fall
    assert [path.name for path in film.path.parent.iterdir()] == [film.path.name]


@pytest.mark.slow
def test_the_program_ends_with_the_training(tmp_path: Path) -> None:
    """It does not outlive whoever started it, even when that is killed."""
    Job(1, 1.0, films(tmp_path)).write(tmp_path)  # of process 1, whose child it is not
    half = unfinished(tmp_path / "iteration_7_teacher.mp4")
    half.touch()
    done = subprocess.run(
        [*filming_module.PROGRAM, str(tmp_path)],
        env=environment(**filming_module._ONE_THREAD, CUDA_VISIBLE_DEVICES=""),
        process_group=0,
        timeout=120,
        capture_output=True,
        check=False,
    )
    assert done.returncode == -9 and not tmp_path.exists() and not half.exists()

"""The play command: its statistics, its video, its policies, and its mistakes."""

from __future__ import annotations

import contextlib
import os
import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from untrained_run import untrained_run

from legged_gym_ext import paths
from legged_gym_ext.commands import play
from legged_gym_ext.envs.parkour_env import ParkourEnv
from legged_gym_ext.errors import UserError
from legged_gym_ext.rendering.opengl import works


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return untrained_run(tmp_path_factory.mktemp("logs"))


def shell(run: Path, *flags: str, **variables: str) -> subprocess.CompletedProcess:
    """Run play.py as a user does."""
    kept = {
        name: value for name, value in os.environ.items() if name not in ("DISPLAY", "WAYLAND_DISPLAY", "MUJOCO_GL")
    }
    return subprocess.run(
        [sys.executable, "play.py", f"--load_run={run}", "--num_envs=2", *flags],
        cwd=paths.ROOT,
        env={**kept, **variables},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="elsewhere OpenGL is always there")
@pytest.mark.parametrize("has_opengl", [True, False])
def test_play_prints_statistics_and_films_where_there_is_opengl(run_folder: Path, tmp_path: Path, has_opengl) -> None:
    if has_opengl and not any(works(backend) for backend in ("egl", "osmesa")):
        pytest.skip("no OpenGL here")
    path = tmp_path / "films" / "film.mp4"
    variables = {} if has_opengl else {"MUJOCO_GL": "off"}
    flags = [f"--video={path}", "--video_length=0.6", "--terrain=gaps", "--level=1"]
    done = shell(run_folder, *flags, **variables)
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert any(line.split()[:2] == ["gaps", "2"] for line in lines)
    assert path.exists() == has_opengl
    if not has_opengl:
        assert len([line for line in lines if "OpenGL" in line]) == 1
        return
    import imageio_ffmpeg

    reader = imageio_ffmpeg.read_frames(path)
    facts = next(reader)
    assert isinstance(facts, dict)
    assert (facts["codec"], facts["fps"], facts["size"]) == ("h264", 25.0, (960, 540))
    frames = [np.frombuffer(frame, np.uint8).reshape(540, 960, 3) for frame in reader]  # pyright: ignore
    assert len(frames) == 15
    assert all(frame.std() > 20 for frame in frames)
    assert any(np.abs(frames[0].astype(int) - frame).max() > 50 for frame in frames[1:])  # something moves


def played(run: Path, flags: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> str:
    for variable in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(variable, raising=False)
    play.main([f"--load_run={run}", *flags.split()])
    return capsys.readouterr().out


def test_play_takes_the_student_where_it_is_trained(run_folder: Path, monkeypatch, capsys) -> None:
    def policy(flags: str) -> str:
        out = played(run_folder, f"--num_envs=1 env.episode_length_s=0.1 {flags}", monkeypatch, capsys)
        return next(line.split()[1] for line in out.splitlines() if line.startswith("policy"))

    assert policy("") == "student"
    assert policy("--policy=teacher") == "teacher"
    assert policy("--checkpoint=0") == "teacher"


def test_episodes_of_the_mix_are_as_many_as_asked_for(run_folder: Path, monkeypatch, capsys) -> None:
    out = played(run_folder, "--num_envs=8 --episodes=11 --randomize env.episode_length_s=0.2", monkeypatch, capsys)
    rows = {cells[0]: cells for cells in map(str.split, out.splitlines()) if len(cells) == 14}
    assert rows["all"][1] == "11"
    assert sorted(row[1] for name, row in rows.items() if name != "all") == ["1"] * 5 + ["2"] * 3


@pytest.mark.parametrize(("flags", "levels"), [("", {0, 1, 2}), ("--level=0", {0}), ("--level=2", {2})])
def test_robots_stand_on_the_level_asked_for_or_on_all(
    flags: str, levels: set[int], run_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    stood: list[set[int]] = []
    step = ParkourEnv.step

    def spy(env: ParkourEnv, actions: torch.Tensor) -> tuple:
        only_kind, all_levels, only_variant = torch.zeros(3).long(), torch.arange(3), torch.zeros(3).long()
        tiles = env.library.tile_index(only_kind, all_levels, only_variant)
        stood.append(set((env.simulator.tile[:, None] == tiles).nonzero()[:, 1].tolist()))
        return step(env, actions)

    monkeypatch.setattr(ParkourEnv, "step", spy)
    played(run_folder, f"--num_envs=6 --terrain=steps env.episode_length_s=0.1 {flags}", monkeypatch, capsys)
    assert stood and all(found == levels for found in stood)


@pytest.mark.parametrize("fails", [False, True])
def test_the_environment_is_closed_after_playing(fails: bool, run_folder: Path, monkeypatch, capsys) -> None:
    closed: list[int] = []
    monkeypatch.setattr(ParkourEnv, "close", lambda _: closed.append(1), raising=False)
    flags = "--num_envs=1 env.episode_length_s=0.1" + (" --checkpoint=0 --policy=student" if fails else "")
    with pytest.raises(UserError) if fails else contextlib.nullcontext():
        played(run_folder, flags, monkeypatch, capsys)
    assert closed == [1]


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ("--terrain=gap", "unknown terrain 'gap' (did you mean 'gaps'?)"),
        ("--policy=students", "did you mean 'student'?"),
        ("--viewer=webb", "did you mean 'web'?"),
        ("--level=3", "allowed: 0 to 2"),
        ("--level=-1", "allowed: 0 to 2"),
        ("--level=high", "--level"),
        ("--episodes=0", "--episodes 0; allowed: more than 0"),
        ("--checkpoint=2", "no checkpoint 2"),
        ("--load_run=nothing", "'nothing'"),
        ("--task=walk_flat", "is of the task parkour_depth; leave out --task"),
        ("--video=film.avi --headless", ".mp4"),
        ("--checkpoint=0 --policy=student", "no trained student"),
        ("teacher.hidden_dims=[8]", "does not fit this configuration"),
        ("--vidoe", "did you mean '--video'?"),
    ],
)
def test_mistakes_are_one_clear_line(run_folder: Path, flags: str, expected: str, monkeypatch) -> None:
    monkeypatch.setattr("legged_gym_ext.rendering.show.choose_backend", lambda: True)
    with pytest.raises(UserError) as caught:
        play.main([f"--load_run={run_folder}", *flags.split()])
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)


def test_from_a_shell_a_mistake_is_exit_code_2(tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.setattr(sys, "argv", ["play.py", f"--load_run={tmp_path}"])
    with pytest.raises(SystemExit) as caught:
        runpy.run_path(str(paths.ROOT / "play.py"), run_name="__main__")
    assert caught.value.code == 2
    err = capsys.readouterr().err
    assert err.startswith("error: ") and err.count("\n") == 1

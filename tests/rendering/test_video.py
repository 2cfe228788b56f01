"""Films: how long their clips are, what is written into them, and that a broken file is told."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import imageio_ffmpeg
import numpy as np
import pytest
import torch
from small_env import CPU, TINY

from legged_gym_ext.config.files import load_config
from legged_gym_ext.envs.parkour_env import ParkourEnv
from legged_gym_ext.errors import UserError
from legged_gym_ext.rendering import video
from legged_gym_ext.rendering.depth_colours import colour_depth
from legged_gym_ext.rendering.scene import look_at
from legged_gym_ext.rendering.video import HEIGHT, WIDTH, Recorder, write_video
from legged_gym_ext.runs.settle import settle


@pytest.fixture(scope="module")
def env() -> Iterator[ParkourEnv]:
    env = ParkourEnv(settle(load_config("parkour_depth", [*TINY, "camera.resolution=[12,12]"])), 4, CPU)
    yield env
    env.close()


@pytest.mark.parametrize(("again", "frames"), [(False, 2), (True, 5)])
def test_a_clip_ends_with_its_episode_unless_it_is_to_go_on(env: ParkourEnv, again: bool, frames: int) -> None:
    recorder = Recorder(env, [0, 2], 10 * env.dt, again)
    assert recorder.frame_time == pytest.approx(2 * env.dt)  # 25 frames per second, 50 steps
    for step in range(1, 11):
        assert not recorder.complete
        recorder.add(torch.tensor([step == 3, False, False, False]))
    assert recorder.complete
    assert [len(clip) for clip in recorder.clips.values()] == [frames, 5]


def test_the_camera_follows_the_robot_and_is_there_at_once_where_an_episode_begins(env: ParkourEnv) -> None:
    moment = look_at(env, 0)
    times, places = [0.0, 0.04, 0.08, 0.02, 0.06, 0.0], [0.0, 1.0, 1.0, -2.0, -1.0, 7.0]
    moments = [replace(moment, time=t, root_pos=np.array([x, 0, 1])) for t, x in zip(times, places, strict=True)]
    aims = [aim[0] - video._LOOK_AHEAD[0] for aim in video._aims(moments, 0.04)]
    share = 1 - np.exp(-0.1)  # of the way, as long as it follows
    np.testing.assert_allclose(aims, [0, share, share + share * (1 - share), -2, -2 + share, 7])


def test_the_title_is_in_the_lower_left_corner_and_the_depth_image_above_it(env: ParkourEnv) -> None:
    moment, grey = look_at(env, 1), np.full((HEIGHT, WIDTH, 3), 90, np.uint8)
    fonts = [video.ImageFont.load_default(size) for size in (21, 17, 14)]
    without, with_title = (video._annotate(grey, moment, fonts, title) for title in ("", "student, iteration 7"))
    rows, columns = np.nonzero((without != with_title).any(axis=2))
    assert len(rows) > 1000 and rows.min() > 0.9 * HEIGHT and rows.max() < HEIGHT - 10 and columns.max() < WIDTH / 2
    assert moment.depth is not None
    nearest = colour_depth(np.array(moment.depth.max() + 0.5))
    assert (without[:, : WIDTH // 2] == nearest).all(axis=2).sum() >= 100  # a pixel of the image is a square


@pytest.mark.parametrize("what", ["no space left", "nothing is told"])
def test_a_film_that_is_not_whole_is_an_error(what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any, **__: Any) -> Iterator[None]:
        yield
        yield
        if what == "no space left":
            raise OSError(errno.ENOSPC, "no space left")
        (tmp_path / "film.mp4").write_bytes(b"half of it")
        yield
        yield

    monkeypatch.setattr(video, "_frames", lambda moments, *_: (np.zeros((2, 2, 3), np.uint8) for _ in moments))
    monkeypatch.setattr(imageio_ffmpeg, "write_frames", broken)
    recorder: Any = SimpleNamespace(clips={0: [None] * 2}, frame_time=0.04)
    scene: Any = None
    with pytest.raises(UserError, match="cannot write the video .*film.mp4': .*(no space left|it is not whole)"):
        write_video(tmp_path / "film.mp4", scene, recorder)

"""Video files: the robot followed by a camera, what it sees in a corner."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import imageio_ffmpeg
import mujoco
import numpy as np
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from legged_gym_ext.errors import UserError
from legged_gym_ext.rendering.depth_colours import colour_depth
from legged_gym_ext.rendering.scene import VISUAL_GROUP, Moment, RobotScene, draw, look_at

if TYPE_CHECKING:
    from legged_gym_ext.envs.parkour_env import ParkourEnv

WIDTH, HEIGHT = 960, 540
FRAME_RATE = 25  # frames/s, about: a whole number of control steps from frame to frame
_DISTANCE, _AZIMUTH, _ELEVATION = 3.6, 62.0, -20.0  # of the camera from what it looks at, m and degrees
_LOOK_AHEAD = np.array([0.45, 0.0, -0.3])  # of the base, m
_FOLLOW_TIME = 0.4  # s in which the camera makes up for 63 % of a distance
_INSET, _MARGIN, _PADDING = 240, 16, 10  # pixels
_PANEL, _TEXT, _FAINT = (16, 20, 28, 170), (255, 255, 255, 255), (205, 212, 222, 255)


class Recorder:
    """Keeps what some environments show, from now to the end of their episodes, to draw it later.

    Args:
        env: The environment.
        indices: The environments to film; one clip each.
        seconds: Longest clip.
        again: Go on with an environment's next episodes until the clip is as long as that.
    """

    def __init__(self, env: ParkourEnv, indices: Sequence[int], seconds: float, again: bool = False) -> None:
        self.clips: dict[int, list[Moment]] = {index: [] for index in indices}
        self._env = env
        self._stride = max(1, round(1 / (FRAME_RATE * env.dt)))
        self.frame_time = self._stride * env.dt
        """Time from frame to frame, s."""
        self._steps_left = max(1, round(seconds / env.dt))
        self._step = 0
        self._filming, self._again = set(indices), again
        self._film()

    @property
    def complete(self) -> bool:
        """Whether no environment is filmed any more."""
        return not self._filming

    def add(self, dones: Tensor) -> None:
        """Film the state after a step, except in environments whose episode is over: dones (num_envs,) bool."""
        self._step += 1
        self._filming = {
            index for index in self._filming if (self._again or not dones[index]) and self._step < self._steps_left
        }
        self._film()

    def _film(self) -> None:
        if self._step % self._stride == 0:
            for index in self._filming:
                self.clips[index].append(look_at(self._env, index))


def write_video(
    path: Path, scene: RobotScene, recorder: Recorder, title: str = "", drawn: Callable[[], None] | None = None
) -> None:
    """Draw the recorded clips, one after the other, into an mp4 file (H.264).

    Args:
        path: Of the file.
        scene: To draw.
        recorder: What it recorded.
        title: Written into the lower left corner.
        drawn: Called after each frame.

    Raises:
        UserError: The file cannot be written.
    """
    moments = [moment for clip in recorder.clips.values() for moment in clip]
    try:
        writer = imageio_ffmpeg.write_frames(
            str(path),
            (WIDTH, HEIGHT),
            fps=1 / recorder.frame_time,  # type: ignore[arg-type]  # it takes any number
            macro_block_size=2,
            quality=7,
            ffmpeg_log_level="error",
            output_params=["-movflags", "+faststart"],
        )
        writer.send(None)
        for number, frame in enumerate(_frames(moments, scene, recorder.frame_time, title), start=1):
            writer.send(frame.tobytes())
            if drawn:
                drawn()
            if sys.stdout.isatty():
                print(f"\rvideo      frame {number} of {len(moments)}", end="", flush=True)
        writer.close()
        if _frames_in(path) != len(moments):  # nothing is raised where the disk is full at last
            raise OSError("it is not whole, perhaps for want of space on the disk")
    except OSError as error:
        raise UserError(f"cannot write the video '{path}': {_reason(error)}") from error
    finally:
        if sys.stdout.isatty():
            print("\r\033[K", end="")


def _frames_in(path: Path) -> int:
    """Return how many frames a file has that can be shown, 0 where it is no video."""
    try:
        frames, _ = imageio_ffmpeg.count_frames_and_secs(str(path))
    except RuntimeError:
        return 0
    return frames or 0


def _frames(moments: list[Moment], scene: RobotScene, frame_time: float, title: str) -> Iterator[np.ndarray]:
    """Draw the moments, (HEIGHT, WIDTH, 3) uint8 each."""
    camera = mujoco.MjvCamera()
    camera.distance, camera.azimuth, camera.elevation = _DISTANCE, _AZIMUTH, _ELEVATION
    option = mujoco.MjvOption()
    option.geomgroup[:] = 0
    option.geomgroup[VISUAL_GROUP] = 1
    fonts = [ImageFont.load_default(size) for size in (21, 17, 14)]
    scene.model.vis.global_.offwidth, scene.model.vis.global_.offheight = WIDTH, HEIGHT
    with mujoco.Renderer(scene.model, HEIGHT, WIDTH) as renderer:
        for moment, aim in zip(moments, _aims(moments, frame_time), strict=True):
            scene.pose(moment)
            camera.lookat[:] = aim
            renderer.update_scene(scene.data, camera, option)
            draw(scene.shapes(moment), renderer.scene)
            yield _annotate(renderer.render(), moment, fonts, title)


def _aims(moments: Sequence[Moment], frame_time: float) -> Iterator[np.ndarray]:
    """Return where the camera looks in each moment, (3,), m: it follows the robot, at once where an episode begins."""
    follow, aim, time = 1 - np.exp(-frame_time / _FOLLOW_TIME), np.zeros(3), np.inf
    for moment in moments:
        goal = moment.root_pos + _LOOK_AHEAD
        aim = goal if moment.time <= time else aim + follow * (goal - aim)
        time = moment.time
        yield aim


def _annotate(
    picture: np.ndarray, moment: Moment, fonts: Sequence[ImageFont.FreeTypeFont | ImageFont.ImageFont], title: str
) -> np.ndarray:
    """Write what is going on into the top left corner, the depth image below it, and the title at the bottom."""
    large, medium, small = fonts
    image = Image.fromarray(picture).convert("RGBA")
    overlay = Image.new("RGBA", image.size)
    pen = ImageDraw.Draw(overlay)
    left, top, right = _MARGIN, _MARGIN, _MARGIN + _INSET + 2 * _PADDING
    pen.rounded_rectangle((left, top, right, top + 64), _PADDING, fill=_PANEL)
    left += _PADDING
    pen.text((left, top + 7), f"{moment.kind.replace('_', ' ')}, level {moment.level}", _TEXT, large)
    readings = (f"{moment.speed:.2f} m/s", f"{moment.root_pos[0]:.1f} m", f"{moment.time:.1f} s")
    for place, anchor, reading in zip((0, 0.55, 1), ("la", "ma", "ra"), readings, strict=True):
        pen.text((left + place * _INSET, top + 37), reading, _FAINT, medium, anchor)
    if moment.depth is not None:
        top += 64 + _MARGIN // 2
        rows, columns = moment.depth.shape
        seen = Image.fromarray(colour_depth(moment.depth + 0.5))
        seen = seen.resize((_INSET, _INSET * rows // columns), Image.Resampling.NEAREST)
        bottom = top + seen.height + 2 * _PADDING + 20
        pen.rounded_rectangle((_MARGIN, top, right, bottom), _PADDING, fill=_PANEL)
        overlay.paste(seen, (left, top + _PADDING))
        pen.text((left, bottom - 24), f"depth camera, {columns} x {rows}", _FAINT, small)
    if title:
        place = (_MARGIN + _PADDING, HEIGHT - _MARGIN - _PADDING)
        box = pen.textbbox(place, title, medium, "ls")
        pen.rounded_rectangle(
            (box[0] - _PADDING, box[1] - _PADDING, box[2] + _PADDING, box[3] + _PADDING), _PADDING, fill=_PANEL
        )
        pen.text(place, title, _TEXT, medium, "ls")
    return np.asarray(Image.alpha_composite(image, overlay).convert("RGB"))


def _reason(error: OSError) -> str:
    return error.strerror or str(error).strip().splitlines()[-1]

"""Watching robots walk: live, in MuJoCo's own viewers, or in a video. Robot and tile are one model, as they are walked.

The package's own viewers (rendering/) show the training's state and import torch.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import imageio_ffmpeg
import mujoco
import numpy as np
from PIL import Image

from legged_gym_ext.deploy.sim2sim.camera import MILLIMETRE
from legged_gym_ext.deploy.sim2sim.course import Guide
from legged_gym_ext.deploy.sim2sim.world import TERRAIN, VISUALS, World
from legged_gym_ext.errors import UserError
from legged_gym_ext.rendering.depth_colours import colour_depth
from legged_gym_ext.rendering.opengl import has_display, works

VIEWERS = ("web", "window")
_DISTANCE, _AZIMUTH, _ELEVATION = 4.0, 62.0, -20.0  # of the camera from the robot, m and degrees
_WIDTH, _HEIGHT, _FRAME_RATE = 960, 540, 25
_INSET, _MARGIN = 288, 16  # pixels
_FARTHEST = 3.0  # m: depths that the inset tells apart


class Viewer:
    """Shows episodes in real time, as a ``walk.Watch``.

    Raises:
        UserError: There is no display for a window.
    """

    def __init__(self, choice: str) -> None:
        if choice == "window" and not (has_display() and works("glfw")):
            raise UserError("--viewer window: there is no display with OpenGL here; --viewer web needs none")
        self._choice = choice
        self._world: World | None = None
        self._handle: Any = None
        self._due = 0.0

    def __call__(self, world: World, guide: Guide, image: np.ndarray | None) -> bool:
        """Show the world after a control step, at its time; return whether somebody may still be watching."""
        if world is not self._world:
            self._begin(world)
        now = time.perf_counter()
        self._due = max(self._due + world.robot.control_period, now)  # time that was lost is not made up for
        time.sleep(self._due - now)
        self._handle.sync()
        return self._handle.is_running()

    def close(self) -> None:
        """Close window or page."""
        if self._handle is not None:
            self._handle.close()

    def _begin(self, world: World) -> None:
        self._world, self._due = world, time.perf_counter()
        if self._choice == "window":
            import mujoco.viewer

            self.close()  # a window is of one model
            self._handle = mujoco.viewer.launch_passive(
                world.model, world.data, show_left_ui=False, show_right_ui=False
            )
            with self._handle.lock():
                _follow(self._handle.cam, world)
                _show(self._handle.opt)
            return
        if self._handle is None:
            from legged_gym_ext.deploy.sim2sim.web import open_page  # imports all of MuJoCo's studio

            self._handle = open_page(lambda camera, option: (_follow(camera, world), _show(option)))
        self._handle.set_model(world.model, data=world.data)


class Film:
    """Films episodes, as a ``walk.Watch``, with what the policy sees in a corner. OpenGL must work (rendering/opengl).

    Args:
        path: Of an mp4 file; its folder is made.

    Raises:
        UserError: It cannot be written.
    """

    def __init__(self, path: Path) -> None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"--video {path}: cannot create its folder: {error.strerror}") from error
        self._path = path
        self._camera, self._option = mujoco.MjvCamera(), mujoco.MjvOption()
        _show(self._option)
        self._world: World | None = None
        self._renderer: mujoco.Renderer | None = None
        self._writer: Any = None
        self._next = 0.0

    def __call__(self, world: World, guide: Guide, image: np.ndarray | None) -> bool:
        """Film the world after a control step, if it is a frame's turn."""
        if world is not self._world:
            self._end_episode()
            self._world, self._next = world, 0.0
            world.model.vis.global_.offwidth, world.model.vis.global_.offheight = _WIDTH, _HEIGHT
            self._renderer = mujoco.Renderer(world.model, _HEIGHT, _WIDTH)
            _follow(self._camera, world)
        if world.data.time >= self._next:
            self._next += 1 / _FRAME_RATE
            assert self._renderer is not None
            self._renderer.update_scene(world.data, self._camera, self._option)
            self._write(_with_inset(self._renderer.render(), image))
        return True

    def close(self) -> None:
        """Finish the file."""
        self._end_episode()
        if self._writer is not None:
            self._writer.close()

    def _write(self, picture: np.ndarray) -> None:
        try:
            if self._writer is None:
                self._writer = imageio_ffmpeg.write_frames(
                    str(self._path), (_WIDTH, _HEIGHT), fps=_FRAME_RATE, macro_block_size=2, ffmpeg_log_level="error"
                )
                self._writer.send(None)
            self._writer.send(picture.tobytes())
        except OSError as error:
            raise UserError(f"cannot write the video '{self._path}': {error}") from error

    def _end_episode(self) -> None:
        if self._renderer is not None:
            self._renderer.close()
            self._renderer = None


def _with_inset(picture: np.ndarray, image: np.ndarray | None) -> np.ndarray:
    """Put a depth image (height, width), mm, into the top left corner; what has no value is black."""
    if image is None:
        return picture
    colours = np.where(image[..., None] > 0, colour_depth(image * (MILLIMETRE / _FARTHEST)), 0).astype(np.uint8)
    height = _INSET * image.shape[0] // image.shape[1]
    inset = np.asarray(Image.fromarray(colours).resize((_INSET, height), Image.Resampling.NEAREST))
    picture = picture.copy()
    picture[_MARGIN : _MARGIN + height, _MARGIN : _MARGIN + _INSET] = inset
    return picture


def _follow(camera: mujoco.MjvCamera, world: World) -> None:
    """Have a camera go along with the robot."""
    camera.type = int(mujoco.mjtCamera.mjCAMERA_TRACKING)
    camera.trackbodyid = world.base
    camera.distance, camera.azimuth, camera.elevation = _DISTANCE, _AZIMUTH, _ELEVATION


def _show(option: mujoco.MjvOption) -> None:
    """Hide the robot's collision shapes."""
    option.geomgroup[:] = 0
    option.geomgroup[[VISUALS, TERRAIN]] = 1

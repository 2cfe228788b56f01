"""Watching a run live, in a window of MuJoCo's own viewer. On a web page: see web/."""

from __future__ import annotations

import time
from collections.abc import Sequence
from itertools import cycle
from typing import TYPE_CHECKING, Protocol

import mujoco
from torch import Tensor

from legged_gym_ext.rendering.opengl import has_display, works
from legged_gym_ext.rendering.scene import VISUAL_GROUP, Moment, RobotScene, draw, look_at

if TYPE_CHECKING:
    from legged_gym_ext.envs.parkour_env import ParkourEnv

_DISTANCE, _AZIMUTH, _ELEVATION = 4.0, 62.0, -20.0  # of the camera from the robot, m and degrees


class Viewer(Protocol):
    """Shows one environment."""

    def is_open(self) -> bool:
        """Return whether somebody may still be watching."""
        ...

    def show(self, moment: Moment) -> None:
        """Show that moment."""
        ...

    def close(self) -> None:
        """Close it."""
        ...


class NativeViewer:
    """A window of ``mujoco.viewer``."""

    def __init__(self, scene: RobotScene) -> None:
        import mujoco.viewer

        self._scene = scene
        self._handle = mujoco.viewer.launch_passive(scene.model, scene.data, show_left_ui=False, show_right_ui=False)
        with self._handle.lock():
            follow(self._handle.cam, scene)
            show_visuals_only(self._handle.opt)

    def is_open(self) -> bool:
        """Return whether the window is open."""
        return self._handle.is_running()

    def show(self, moment: Moment) -> None:
        """Show that moment in the window."""
        with self._handle.lock():
            self._scene.pose(moment)
            overlay = self._handle.user_scn
            assert overlay is not None  # only a viewer that runs the physics itself has none
            overlay.ngeom = 0
            draw(self._scene.shapes(moment), overlay)
        self._handle.sync()

    def close(self) -> None:
        """Close the window."""
        self._handle.close()


class Live:
    """Shows environments in real time: one of them until its episode ends, then the next of them.

    Args:
        viewer: Where.
        env: The environment.
        indices: The environments to show in turns.
    """

    def __init__(self, viewer: Viewer, env: ParkourEnv, indices: Sequence[int]) -> None:
        self._viewer = viewer
        self._env = env
        self._indices = cycle(indices)
        self._index = next(self._indices)
        viewer.show(look_at(env, self._index))
        self._due = time.perf_counter()

    def add(self, dones: Tensor) -> None:
        """Wait until a step's time is over, and show the state after it; ``dones`` (num_envs,) bool says what ended."""
        if dones[self._index]:
            self._index = next(self._indices)
        moment = look_at(self._env, self._index)
        now = time.perf_counter()
        self._due = max(self._due + self._env.dt, now)  # time that was lost is not made up for
        time.sleep(self._due - now)
        self._viewer.show(moment)

    def is_open(self) -> bool:
        """Return whether somebody may still be watching."""
        return self._viewer.is_open()

    def close(self) -> None:
        """Close the viewer."""
        self._viewer.close()


def open_viewer(choice: str, scene: RobotScene) -> Viewer | None:
    """Open the window that is asked for: auto, native. None where there is to be none, or, with a line, can be none."""
    if choice == "none" or (choice == "auto" and not has_display()):
        return None
    if not has_display():
        print("viewer     none: there is no display (--viewer web needs none)")
    elif not works("glfw"):  # MuJoCo's would wait for its window forever
        print("viewer     none: the display has no OpenGL (--viewer web needs none)")
    else:
        try:
            return NativeViewer(scene)
        except RuntimeError as error:  # macOS wants mjpython
            print(f"viewer     none: {error}")
    return None


def follow(camera: mujoco.MjvCamera, scene: RobotScene) -> None:
    """Have a camera go along with the robot."""
    camera.type = int(mujoco.mjtCamera.mjCAMERA_TRACKING)
    camera.trackbodyid = scene.root_body
    camera.distance, camera.azimuth, camera.elevation = _DISTANCE, _AZIMUTH, _ELEVATION


def show_visuals_only(option: mujoco.MjvOption) -> None:
    """Hide the robot's collision shapes."""
    option.geomgroup[:] = 0
    option.geomgroup[VISUAL_GROUP] = 1

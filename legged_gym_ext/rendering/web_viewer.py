"""Watching a run live on the web page of ``mujoco.studio``. The browser draws: no OpenGL or display is needed here."""

from __future__ import annotations

import mujoco
from mujoco.studio import (
    launch_web,
    messages,
    plugin,
    ux,  # pyright: ignore[reportAttributeAccessIssue]  # in C++
    viewer_protocol,
)

from legged_gym_ext.rendering.opengl import has_display
from legged_gym_ext.rendering.scene import Moment, RobotScene, Shape
from legged_gym_ext.rendering.viewer import follow, show_visuals_only


class WebViewer:
    """Serves the page. Whoever can reach its port can watch: see the warning that MuJoCo prints."""

    def __init__(self, scene: RobotScene) -> None:
        self._scene = scene
        self._overlay = _Overlay(scene)
        config = viewer_protocol.ViewerConfig(title="legged_gym_ext", gfx="web", open_browser=has_display())
        self._handle = launch_web.launch(config, plugins=[self._overlay])
        self._handle.set_model(scene.model, data=scene.data)

    def is_open(self) -> bool:
        """Return whether the server runs."""
        return self._handle.is_running()

    def show(self, moment: Moment) -> None:
        """Send that moment to the browsers."""
        self._scene.pose(moment)
        self._overlay.shapes = self._scene.shapes(moment)
        self._handle.sync()

    def close(self) -> None:
        """Stop the server."""
        self._handle.close()


class _Overlay(plugin.ViewerPlugin):
    """Draws what is not in the model, and aims the camera. Lives in the viewer's thread."""

    def __init__(self, scene: RobotScene) -> None:
        self.shapes: list[Shape] = []
        self._scene = scene

    @messages.handler
    def on_model(self, _: messages.PostModelEvent) -> None:
        """Have the camera follow the robot."""
        follow(self.viewer.camera, self._scene)
        self.viewer.camera_index = ux.TRACKING_CAMERA_IDX
        show_visuals_only(self.viewer.vis_options)

    @messages.handler
    def on_update(self, _: messages.UpdateEvent) -> None:
        """Draw the newest shapes."""
        shapes = self.shapes  # the simulation's thread replaces the list
        self.viewer.extra_geoms[:] = [mujoco.MjvGeom() for _ in shapes]
        for geom, shape in zip(self.viewer.extra_geoms, shapes, strict=True):
            shape.write(geom)

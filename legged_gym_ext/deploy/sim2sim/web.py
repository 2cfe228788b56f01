"""The web page of ``mujoco.studio``, for watching robots live. The browser draws: no OpenGL or display is needed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import mujoco
from mujoco.studio import (
    launch_web,
    messages,
    plugin,
    ux,  # pyright: ignore[reportAttributeAccessIssue]  # in C++
    viewer_protocol,
)

from legged_gym_ext.rendering.opengl import has_display

Aim = Callable[[mujoco.MjvCamera, mujoco.MjvOption], object]
"""Sets a viewer's camera and what it shows."""


def open_page(aim: Aim) -> Any:
    """Serve the page and return its handle; ``aim`` is called with every model that it is given."""
    config = viewer_protocol.ViewerConfig(title="sim2sim", gfx="web", open_browser=has_display())
    return launch_web.launch(config, plugins=[_Aim(aim)])


class _Aim(plugin.ViewerPlugin):
    """Lives in the viewer's thread."""

    def __init__(self, aim: Aim) -> None:
        self._aim = aim

    @messages.handler
    def on_model(self, _: messages.PostModelEvent) -> None:
        """Aim the camera at the new model's robot."""
        self._aim(self.viewer.camera, self.viewer.vis_options)
        self.viewer.camera_index = ux.TRACKING_CAMERA_IDX

"""The page itself, drawn by viser: a thin layer over what ``sight`` shows and ``controls`` offer."""

from __future__ import annotations

import contextlib
import io
import logging
import math
import queue
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import mujoco
import numpy as np
import trimesh
import viser
import websockets.asyncio.server
from viser import uplot
from websockets.asyncio.server import ServerConnection
from websockets.http11 import Request, Response

from legged_gym_ext.errors import UserError
from legged_gym_ext.rendering.depth_colours import colour_depth
from legged_gym_ext.rendering.scene import RobotScene, Shape
from legged_gym_ext.rendering.web.access import Door
from legged_gym_ext.rendering.web.controls import Buttons, Choice, Control, Controlled, Slider, Switch, Value
from legged_gym_ext.rendering.web.sight import History, Part, Sight, bars, colour, parts
from legged_gym_ext.robot import Robot

FRAME_TIME = 1 / 25
"""s: between pictures."""
_SLOW = 5  # pictures from one update of curves and bars to the next
_ALL = "all"
_PLOT_HEIGHT = 200  # pixels
_SECONDS = 10.0  # of the curves
_VIEW = (-2.0, -2.3, 1.3)  # m: from the robot to where it is looked at from
_LOWER_VIEW = 0.3  # m: what is looked at is below the base
_HEIGHT_FOLLOWED = 0.1  # share of a step that the view makes up for with a picture: it does not bob
_BOX_SHADE = 0.62  # of the ground's colour, which viser's lights would make as white as the background
_IMAGE = 256  # pixels: least width of the depth image
_ACTION_LIMIT = 3.0  # what fills the width of the actions' bars


class Page:
    """Serves the page and draws on it; several browsers see and control the same.

    Args:
        door: Where it listens.
        robot: The robot.
        joints: Names of the actions.
        rewards: Names of the reward terms.
        step_time: From one sight to the next, s.
        has_camera: Whether there is a depth camera.
        vertical_view: Its field of view, rad.
    """

    def __init__(
        self,
        door: Door,
        robot: Robot,
        joints: Sequence[str],
        rewards: Sequence[str],
        step_time: float,
        has_camera: bool,
        vertical_view: float,
    ) -> None:
        self._joints, self._step_time = tuple(joints), step_time
        self._history = History(rewards, round(_SECONDS / step_time))
        self._scene = RobotScene(robot)
        self._events: queue.SimpleQueue[tuple[str, Value]] = queue.SimpleQueue()
        self._widgets: dict[str, Any] = {}
        self._known: dict[str, Value] = {}
        """The controls' values that were last sent to browsers, or came from one."""
        self._shapes: list[tuple[Any, Any]] = []
        self._height = 0.0
        self._pictures = 0
        self._index = -1
        with _served_by(door), _quiet():
            self._server = _Server(door.host, door.port)
        self._server.gui.configure_theme(
            show_share_button=False, show_logo=False, control_width="large", brand_color=(26, 133, 199)
        )
        self._server.gui.set_panel_label("legged_gym_ext")
        self._server.initial_camera.position = np.array(_VIEW)
        self._server.initial_camera.look_at = np.zeros(3)
        self._furnish(has_camera, vertical_view)

    @property
    def watched(self) -> bool:
        """Whether a browser has the page open."""
        return bool(self._server.get_clients())

    def close(self) -> None:
        """Serve no more."""
        with _quiet():
            self._server.stop()

    # ------------------------------------------------------------------ controls

    def obey(self, controlled: Controlled) -> bool:
        """Have done what was pressed and moved since the last call, and show the controls as they are now.

        Returns:
            Whether anything was.
        """
        anything = False
        while not self._events.empty():
            anything = True
            name, value = self._events.get()
            self._known[name] = value
            try:
                controlled.set(name, value)
            except UserError as error:
                self._tell(str(error))
        for control in controlled.controls():
            if control.name not in self._widgets:
                with self._controls:
                    self._widgets[control.name] = self._make(control)
            elif not isinstance(control, Buttons):
                widget = self._widgets[control.name]
                if isinstance(control, Choice) and widget.options != control.options:
                    widget.options = control.options
                # What a browser has sent is not sent back: by now it may be further.
                if control.value != self._known[control.name]:
                    widget.value = control.value
            if not isinstance(control, Buttons):
                self._known[control.name] = control.value
        return anything

    def _make(self, control: Control) -> Any:
        gui = self._server.gui
        match control:
            case Buttons(words=(word,)):
                widget = gui.add_button(word)
                widget.on_click(lambda _: self._events.put((control.name, word)))
                return widget
            case Buttons():
                widget = gui.add_button_group(control.label, control.words)
                widget.on_click(lambda event: self._events.put((control.name, event.target.value)))
                return widget
            case Switch():
                widget = gui.add_checkbox(control.label, control.value)
            case Choice():
                widget = gui.add_dropdown(control.label, control.options, initial_value=control.value)
            case Slider():
                widget = gui.add_slider(control.label, *_slider(control))
        # The program's own changes of a value call this, too, but with no client.
        widget.on_update(lambda event: event.client and self._events.put((control.name, event.target.value)))
        return widget

    def _tell(self, line: str) -> None:
        for client in self._server.get_clients().values():
            client.add_notification("", line, auto_close_seconds=8.0, color="red")

    # ------------------------------------------------------------------ pictures

    def show(self, sight: Sight, status: str, stands: bool = False) -> None:
        """Draw a moment; what takes longer, curves and bars, with a few moments only, unless the time ``stands``."""
        with self._server.atomic():
            self._scene.pose(sight.moment)
            self._follow(sight)
            for body, frame in self._bodies.items():
                frame.position, frame.wxyz = self._scene.data.xpos[body], self._scene.data.xquat[body]
            self._draw(self._scene.shapes(sight.moment))
            self._draw_camera(sight)
        if stands or self._pictures % _SLOW == 0:
            self._draw_numbers(sight, status)
        self._pictures += 1

    def remember(self, sight: Sight) -> None:
        """Add a step to the curves, shown or not."""
        if sight.rewards:
            self._history.add(self._step_time, sight.rewards)

    def _furnish(self, has_camera: bool, vertical_view: float) -> None:
        """Put everything on the page that stays."""
        scene, gui = self._server.scene, self._server.gui
        self._world = scene.add_frame("/world", show_axes=False)
        self._bodies = {}
        for number, part in enumerate(parts(self._scene.model)):
            name = f"/world/robot{part.body}"
            if part.body not in self._bodies:
                self._bodies[part.body] = scene.add_frame(name, show_axes=False)
            _add_part(scene, f"{name}/{number}", part)
        black = np.zeros((1, 1, 3), np.uint8)
        self._frustum = self._image = None
        if has_camera:
            self._frustum = scene.add_camera_frustum(
                "/world/camera", vertical_view, 1.0, scale=0.25, thickness=0.006, image=black, cast_shadow=False
            )
        self._status = gui.add_markdown("")
        tabs = gui.add_tab_group()
        self._controls = tabs.add_tab("Controls")
        if has_camera:
            with tabs.add_tab("Depth"):
                self._image = gui.add_image(black, label="depth image, as the policy sees it", format="png")
                self._switch = gui.add_checkbox("camera in the scene", True)
        with tabs.add_tab("Actions"):
            self._actions = gui.add_html("")
        self._rewards = tabs.add_tab("Rewards")
        with self._rewards:
            gui.add_markdown("reward terms of the last step, weighted, per second")
            self._terms = gui.add_html("")
            self._curve = gui.add_dropdown("curves", (_ALL, *self._history.names))
            self._plots = {_ALL: self._add_plot(self._history.names)}
        with self._controls:
            self._followed = gui.add_checkbox("follow the robot", True)

    def _add_plot(self, names: Sequence[str]) -> viser.GuiUplotHandle:
        """Add a plot of these curves; the bars are its legend."""
        return self._server.gui.add_uplot(
            self._curves(names),
            ({"label": "s"}, *_series(self._history.names, names)),
            scales={"x": {"time": False}},
            legend={"show": False},
            height=_PLOT_HEIGHT,
        )

    def _curves(self, names: Sequence[str]) -> tuple[np.ndarray, ...]:
        time, *curves = self._history.curves()
        return (time, *(curves[self._history.names.index(name)] for name in names))

    def _follow(self, sight: Sight) -> None:
        """Put the robot where all browsers' cameras look; whoever turns his view turns it about the robot."""
        moment = sight.moment
        if not self._followed.value:
            self._world.position = np.zeros(3)
            return
        jumped = moment.time == 0 or sight.index != self._index
        share = 1.0 if jumped else _HEIGHT_FOLLOWED
        self._height += share * (moment.root_pos[2] - _LOWER_VIEW - self._height)
        self._index = sight.index
        self._world.position = -np.array([*moment.root_pos[:2], self._height])

    def _draw(self, shapes: Sequence[Shape]) -> None:
        """Have these shapes in the scene, and touch only those that have changed."""
        keys = [_key(shape) for shape in shapes]
        for index in range(len(self._shapes) - 1, -1, -1):
            if index >= len(keys) or self._shapes[index][0] != keys[index]:
                self._shapes[index][1].remove()
                self._shapes[index] = (None, None)
        self._shapes = self._shapes[: len(keys)] + [(None, None)] * (len(keys) - len(self._shapes))
        for index, (key, shape) in enumerate(zip(keys, shapes, strict=True)):
            if self._shapes[index][0] is None:
                self._shapes[index] = (key, _add_shape(self._server.scene, f"/world/shape{index}", shape))

    def _draw_camera(self, sight: Sight) -> None:
        if self._frustum is None or self._image is None or sight.moment.depth is None:
            return
        assert sight.camera_pos is not None and sight.camera_rotation is not None
        picture = colour_depth(sight.moment.depth + 0.5)
        times = math.ceil(_IMAGE / picture.shape[1])
        self._image.image = picture.repeat(times, axis=0).repeat(times, axis=1)
        self._frustum.visible = self._switch.value
        if self._switch.value:
            self._frustum.aspect = picture.shape[1] / picture.shape[0]
            self._frustum.position, self._frustum.wxyz = sight.camera_pos, _quat(sight.camera_rotation)
            self._frustum.image = picture

    def _draw_numbers(self, sight: Sight, status: str) -> None:
        moment = sight.moment
        self._status.content = (
            f"{status}\n\nenvironment {sight.index}: {moment.kind.replace('_', ' ')}, level {moment.level}, "
            f"{moment.time:.1f} s  \n{moment.speed:.2f} m/s of {sight.commanded:.2f} m/s commanded, "
            f"{moment.root_pos[0]:.1f} m along the course"
        )
        if sight.actions:
            actions = {name: values.tolist() for name, values in sight.actions.items()}
            self._actions.content = bars(self._joints, actions, _ACTION_LIMIT)
        if sight.rewards:
            self._draw_curves(self._curve.value)
            values = list(sight.rewards.values())
            limit = max(1.0, *map(abs, values))
            self._terms.content = bars(tuple(sight.rewards), {"now": values}, limit)

    def _draw_curves(self, which: str) -> None:
        """Plot all curves, or the one of that name. A plot cannot change its curves: each choice has its own."""
        names = self._history.names if which == _ALL else (which,)
        if which not in self._plots:
            with self._rewards:
                self._plots[which] = self._add_plot(names)
        for name, plot in self._plots.items():
            plot.visible = name == which
        self._plots[which].data = self._curves(names)


class _Server(viser.ViserServer):
    """Viser's server, which nobody can have published."""

    def __init__(self, host: str, port: int) -> None:
        super().__init__(host, port, verbose=False)

    def request_share_url(self, verbose: bool = True) -> str | None:
        """Do nothing. Viser's opens a tunnel from the internet to here, for whoever asks on the page."""
        return None


def _slider(control: Slider) -> tuple[float, ...]:
    kind = type(control.step)  # viser wants all of one
    return tuple(kind(value) for value in (control.low, control.high, control.step, control.value))


def _series(all_names: Sequence[str], names: Sequence[str]) -> Iterator[uplot.Series]:
    for name in names:
        yield {"label": name, "stroke": colour(all_names.index(name)), "width": 1.0, "points": {"show": False}}


def _add_part(scene: viser.SceneApi, name: str, part: Part) -> None:
    """Add a shape of the robot."""
    place: dict[str, Any] = {"position": part.position, "wxyz": part.quat}
    radius, half = float(part.size[0]), float(part.size[1])
    geom = mujoco.mjtGeom
    match part.kind:
        case geom.mjGEOM_BOX:
            scene.add_box(name, part.colour, tuple(2 * part.size), **place)
        case geom.mjGEOM_SPHERE:
            scene.add_icosphere(name, radius, part.colour, **place)
        case geom.mjGEOM_ELLIPSOID:
            scene.add_icosphere(name, 1.0, part.colour, scale=tuple(part.size), **place)
        case geom.mjGEOM_CYLINDER:
            scene.add_cylinder(name, radius, 2 * half, part.colour, **place)
        case geom.mjGEOM_CAPSULE:
            mesh = trimesh.creation.capsule(height=2 * half, radius=radius)
            vertices = mesh.vertices - [0, 0, mesh.bounds.mean(axis=0)[2]]
            scene.add_mesh_simple(name, vertices, mesh.faces, color=part.colour, **place)
        case geom.mjGEOM_MESH:
            assert part.vertices is not None and part.faces is not None
            scene.add_mesh_simple(name, part.vertices, part.faces, color=part.colour, **place)


def _add_shape(scene: viser.SceneApi, name: str, shape: Shape) -> Any:
    """Add a box of the tile or a waypoint."""
    is_box = shape.kind == mujoco.mjtGeom.mjGEOM_BOX
    red, green, blue = (round(255 * value * (_BOX_SHADE if is_box else 1.0)) for value in shape.colour[:3])
    opacity = shape.colour[3] if shape.colour[3] < 1 else None
    if not is_box:
        return scene.add_icosphere(
            name, float(shape.size[0]), (red, green, blue), opacity=opacity, position=shape.position, cast_shadow=False
        )
    return scene.add_box(
        name, (red, green, blue), tuple(2 * shape.size), position=shape.position, wxyz=_quat(shape.rotation)
    )


def _key(shape: Shape) -> tuple:
    return (shape.kind, shape.size.tobytes(), shape.position.tobytes(), shape.rotation.tobytes(), shape.colour)


def _quat(rotation: np.ndarray) -> np.ndarray:
    quat = np.zeros(4)
    mujoco.mju_mat2Quat(quat, np.asarray(rotation, np.float64).ravel())
    return quat


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Print nothing of what viser says of itself: it does not know the URL that lets one in."""
    with contextlib.redirect_stdout(io.StringIO()):
        yield


@contextlib.contextmanager
def _served_by(door: Door) -> Iterator[None]:
    """Have the server that is made in this context listen at the door and ask it for each request.

    Viser has no way to say so: it looks for a free port by itself and lets everybody in. It calls this function of
    websockets, with its own answer to requests, which comes after ours.
    """
    module = websockets.asyncio.server
    serve = module.serve

    def guarded(handler: Callable, host: str, port: int, *, process_request: Callable, **options: Any) -> Any:
        answer = _guard(door, process_request)
        return serve(handler, sock=door.socket, process_request=answer, **options)

    logging.getLogger("websockets.server").setLevel(logging.CRITICAL)  # a traceback for each that knocks and leaves
    module.serve = guarded  # pyright: ignore[reportAttributeAccessIssue]
    try:
        yield
    finally:
        module.serve = serve


def _guard(door: Door, answer: Callable) -> Callable:
    """Return what answers requests: as ``answer`` does where the ``door`` does not refuse them."""

    def process(connection: ServerConnection, request: Request) -> Response | None:
        if reason := door.refusal(request.path, {name.lower(): text for name, text in request.headers.raw_items()}):
            return connection.respond(403, f"{reason}\n")
        response = answer(connection, request)
        if response is not None:
            response.headers.update(door.headers(request.path))
        return response

    return process

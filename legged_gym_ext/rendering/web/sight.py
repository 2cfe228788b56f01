"""What the page shows of one environment at one moment, on the host and with nothing left to compute."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any

import mujoco
import numpy as np
from matplotlib import colormaps
from matplotlib.colors import to_hex
from torch import Tensor

from legged_gym_ext.rendering.scene import VISUAL_GROUP, Moment, look_at

if TYPE_CHECKING:
    from legged_gym_ext.envs.parkour_env import ParkourEnv

_LANES = ("#1a85c7", "#ed7321")
_COLOURS = tuple(to_hex(colormaps["tab20"](number)) for number in (*range(0, 20, 2), *range(1, 20, 2)))


def colour(number: int) -> str:
    """Return the colour of a curve, and of the bar that is its value now."""
    return _COLOURS[number % len(_COLOURS)]


@dataclass(frozen=True)
class Sight:
    """One environment at one moment."""

    index: int
    """Of the environment."""
    moment: Moment
    camera_pos: np.ndarray | None
    """Where the depth camera is, (3,), m; None where there is none."""
    camera_rotation: np.ndarray | None
    """Camera to world, (3, 3): right, down, forward."""
    actions: Mapping[str, np.ndarray]
    """What each policy wanted in the last step, (10,), the one that acted first; empty before the first step."""
    rewards: Mapping[str, float]
    """Each term of the last step's reward, weighted, per second; empty before the first step."""
    commanded: float
    """Forward speed that is commanded, m/s."""


def see(
    env: ParkourEnv,
    index: int,
    actions: Mapping[str, Tensor] | None = None,
    extras: Mapping[str, Any] | None = None,
) -> Sight:
    """Copy what environment ``index`` shows now to the host; nothing is changed, and no random number drawn.

    Args:
        env: The environment.
        index: Which of its environments.
        actions: Of the last step, (num_envs, 10) each, by policy.
        extras: What the last step returned.
    """
    position = rotation = None
    if env.config.camera.enabled:
        camera = env.camera.pose(env.state.camera, env.sim_state.root_pos, env.sim_state.root_quat)
        position, rotation = (tensor[index].cpu().numpy() for tensor in camera)
    terms = [] if extras is None else (extras["reward_terms"][index] / env.dt).tolist()
    return Sight(
        index=index,
        moment=look_at(env, index),
        camera_pos=position,
        camera_rotation=rotation,
        actions={name: tensor[index].detach().cpu().numpy().copy() for name, tensor in (actions or {}).items()},
        rewards=dict(zip(env.reward_weights.names, terms, strict=False)),
        commanded=float(env.state.forward_speed[index]),
    )


@dataclass(frozen=True)
class Part:
    """A shape of the robot, as MuJoCo has it from the robot's own URDF."""

    body: int
    """That it belongs to, in the model."""
    kind: mujoco.mjtGeom
    size: np.ndarray
    """As MuJoCo has it, (3,), m."""
    position: np.ndarray
    """In the body's frame, (3,), m."""
    quat: np.ndarray
    """To the body's frame, (4,), (w, x, y, z)."""
    colour: tuple[int, int, int]
    vertices: np.ndarray | None = None
    """Of a mesh, (V, 3), m."""
    faces: np.ndarray | None = None
    """Of a mesh, (F, 3)."""


def parts(model: mujoco.MjModel) -> list[Part]:
    """Return the shapes of a model that are there to be looked at."""
    result = []
    for geom in np.flatnonzero(model.geom_group == VISUAL_GROUP):
        kind, mesh = mujoco.mjtGeom(model.geom_type[geom]), model.geom_dataid[geom]
        vertices = faces = None
        if kind == mujoco.mjtGeom.mjGEOM_MESH:
            first, number = model.mesh_vertadr[mesh], model.mesh_vertnum[mesh]
            vertices = model.mesh_vert[first : first + number].copy()
            first, number = model.mesh_faceadr[mesh], model.mesh_facenum[mesh]
            faces = model.mesh_face[first : first + number].copy()
        red, green, blue = (255 * model.geom_rgba[geom, :3]).round().astype(int).tolist()
        result.append(
            Part(
                int(model.geom_bodyid[geom]),
                kind,
                model.geom_size[geom].copy(),
                model.geom_pos[geom].copy(),
                model.geom_quat[geom].copy(),
                (red, green, blue),
                vertices,
                faces,
            )
        )
    return result


class History:
    """The last seconds of some curves.

    Args:
        names: Of the curves.
        length: Points that are kept.
    """

    def __init__(self, names: Sequence[str], length: int) -> None:
        self.names = tuple(names)
        self._rows: deque[tuple[float, ...]] = deque(maxlen=length)
        self._time = 0.0

    def add(self, step_time: float, values: Mapping[str, float]) -> None:
        """Add a point, ``step_time`` s after the last one."""
        self._time += step_time
        self._rows.append((self._time, *(values[name] for name in self.names)))

    def curves(self) -> tuple[np.ndarray, ...]:
        """Return the times, s, and each curve's values, (points,) each; one point of zeros where there is none."""
        rows = self._rows or [(0.0,) * (len(self.names) + 1)]
        return tuple(np.array(rows).T.copy())


_ROW, _LABEL, _WIDTH = 15, 112, 280  # pixels


def bars(names: Sequence[str], series: Mapping[str, Sequence[float]], limit: float) -> str:
    """Return a drawing (SVG) of some numbers as bars to the left and right of a line, one group of bars for each name.

    Of several series, each has a colour and is in a legend; of one, each bar has the colour of its curve.

    Args:
        names: Of the groups.
        series: Values, one for each name, by the series' names.
        limit: What fills half of the width; larger bars end there.
    """
    middle, half = (_LABEL + _WIDTH) / 2, (_WIDTH - _LABEL) / 2
    thickness = (_ROW - 4) / max(len(series), 1)
    several = len(series) > 1
    drawn, top = [], _ROW + 4 if several else 0
    for number, name in enumerate(series if several else ()):
        left = _LABEL + number * (_WIDTH - _LABEL) / max(len(series), 1)
        drawn.append(f'<rect x="{left:g}" y="3" width="8" height="8" fill="{_LANES[number]}"/>')
        drawn.append(f'<text x="{left + 11:g}" y="11">{escape(name)}</text>')
    for row, name in enumerate(names):
        y = top + row * _ROW
        drawn.append(f'<text x="0" y="{y + 10}">{escape(name)}</text>')
        for number, values in enumerate(series.values()):
            length = half * min(abs(values[row]) / limit, 1.0)
            left = middle if values[row] >= 0 else middle - length
            drawn.append(
                f'<rect x="{left:.1f}" y="{y + 2 + number * thickness:.1f}" width="{length:.1f}" '
                f'height="{thickness:.1f}" fill="{_LANES[number] if several else colour(row)}"/>'
            )
    bottom = top + len(names) * _ROW
    drawn.append(f'<path d="M{middle:g} {top}V{bottom}" stroke="#888"/>')
    return (
        f'<svg viewBox="0 0 {_WIDTH} {bottom + 2}" width="100%" font-size="10" font-family="sans-serif" '
        f'fill="currentColor">{"".join(drawn)}</svg>'
    )

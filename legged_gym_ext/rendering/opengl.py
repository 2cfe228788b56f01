"""Which way of drawing with OpenGL works on this machine. Decided before MuJoCo is imported: it chooses only then."""

from __future__ import annotations

import os
import subprocess
import sys

_VARIABLE = "MUJOCO_GL"
_PROBE = "import mujoco as m; m.Renderer(m.MjModel.from_xml_string('<mujoco/>'), 8, 8).render()"
_PROBE_TIMEOUT = 60.0  # s; an import of MuJoCo on a busy machine


def has_display() -> bool:
    """Return whether windows can be expected to open here."""
    return not sys.platform.startswith("linux") or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def works(backend: str) -> bool:
    """Return whether MuJoCo can draw with ``backend`` (a value of MUJOCO_GL).

    Another process tries it: a driver that is missing or broken leaves messages at its exit, or takes it down.
    """
    try:
        done = subprocess.run(
            [sys.executable, "-c", _PROBE],
            env={**os.environ, _VARIABLE: backend},
            capture_output=True,
            timeout=_PROBE_TIMEOUT,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0


def choose_backend() -> bool:
    """Have MuJoCo draw pictures without a window: with EGL, else OSMesa, else a hidden window.

    A value of MUJOCO_GL that the user has set is kept.

    Returns:
        Whether that works.
    """
    if _VARIABLE in os.environ:
        candidates = [os.environ[_VARIABLE]]
    elif sys.platform.startswith("linux"):
        candidates = ["egl", "osmesa", *(["glfw"] if has_display() else [])]
    else:
        candidates = [""]  # there is but one
    for backend in candidates:
        if works(backend):
            os.environ[_VARIABLE] = backend
            return True
    return False

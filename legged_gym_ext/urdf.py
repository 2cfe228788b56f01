"""How a URDF is read, by the training's engines and by whatever else simulates the robot."""

from __future__ import annotations

from pathlib import Path

import mujoco

from legged_gym_ext.errors import UserError


def parse_urdf(path: Path) -> mujoco.MjSpec:
    """Read a URDF into a specification whose cylinders are capsules, as Isaac Gym makes them, and all links bodies.

    Raises:
        UserError: The file is missing or cannot be read as a URDF.
    """
    if not path.is_file():
        raise UserError(f"robot.urdf: no such file: {path}")
    try:
        path.read_text("utf-8")  # names that are no text would fail later
        spec = mujoco.MjSpec.from_file(str(path))
    except UnicodeDecodeError as error:
        raise UserError(f"robot.urdf: {path} is no text in UTF-8 ({error.reason})") from None
    except ValueError as error:
        raise UserError(f"robot.urdf: {path}: {' '.join(str(error).split())}") from None
    spec.compiler.fusestatic = False  # which would merge the root into the world, and fixed links into their parents
    for geom in spec.geoms:
        if geom.type == mujoco.mjtGeom.mjGEOM_CYLINDER:
            geom.type = mujoco.mjtGeom.mjGEOM_CAPSULE
    return spec

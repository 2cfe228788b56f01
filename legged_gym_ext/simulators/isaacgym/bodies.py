"""The robot as Isaac Gym has it: what is fixed to a link is part of that link, and what follows from that."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass

import mujoco
import numpy as np

from legged_gym_ext.robot import Robot
from legged_gym_ext.simulators.mujoco.model import leg_of
from legged_gym_ext.urdf import parse_urdf

_LEG_FILTERS, _REST_FILTER = (0b01, 0b10), 0b11
"""Isaac Gym lets two shapes meet if their filters have no bit in common: the legs meet each other, and nothing else of
the robot meets anything of it. The terrain has none."""


@dataclass(frozen=True)
class Bodies:
    """The bodies that are left, by name."""

    base: str
    sensors: tuple[str, ...]
    """Those that need a force sensor, each once."""
    feet: tuple[int, ...]
    """The sensor of each foot."""
    no_contact: tuple[int, ...]
    """The sensor of each body that must not touch anything: what is fixed to another shares the other's."""
    filters: dict[str, int]
    """Collision filter of each body."""
    mass: float
    """Of the base, kg."""
    com: np.ndarray
    """Centre of mass of the base in its frame, (3,), m."""
    heaviest: np.ndarray
    """That of the heaviest link of those that make up the base, (3,), m: where mass is added."""

    def change(self, added_mass: np.ndarray, offset: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return what changes if a mass is added to the base's heaviest link, and the centres of mass of all are moved.

        Args:
            added_mass: (n,), kg.
            offset: (n, 3), m.

        Returns:
            The changes of the base's centre of mass, (n, 3), m, and of its inertia about that, (n, 3, 3), kg m^2. With
            d from the base's centre to the heaviest's they are ``a / (m + a) d``, besides the offset, and
            ``m a / (m + a) (d.d - d d')``: of two point masses about their common centre.
        """
        d = self.heaviest - self.com
        share = (added_mass / (self.mass + added_mass))[:, None]
        turning = np.dot(d, d) * np.eye(3) - np.outer(d, d)
        return share * d + offset, self.mass * share[:, :, None] * turning


def collapse(robot: Robot) -> Bodies:
    """Merge the links as Isaac Gym does (``collapse_fixed_joints``), but for ``dont_collapse="true"`` at a joint."""
    spec = parse_urdf(robot.urdf)
    model = spec.compile()
    merged = _merged(robot)
    legs = leg_of(spec, robot)
    names = [model.body(number).name for number in range(1, model.nbody)]
    sensors = tuple(dict.fromkeys(merged.get(name, name) for name in (*robot.feet, *robot.no_contact_bodies)))
    base = spec.worldbody.first_body().name
    parts = np.array([model.body(name).id for name in names if merged.get(name, name) == base])
    masses, centres = model.body_mass[parts], _centres(model)[parts]
    return Bodies(
        base=base,
        sensors=sensors,
        feet=tuple(sensors.index(merged.get(foot, foot)) for foot in robot.feet),
        no_contact=tuple(sensors.index(merged.get(body, body)) for body in robot.no_contact_bodies),
        filters={name: _LEG_FILTERS[legs[name]] if name in legs else _REST_FILTER for name in names},
        mass=float(masses.sum()),
        com=masses @ centres / masses.sum(),
        heaviest=centres[np.argmax(masses)],
    )


def _centres(model: mujoco.MjModel) -> np.ndarray:
    """Return the bodies' centres of mass, (bodies, 3), in the root's frame, with all joints at zero."""
    data = mujoco.MjData(model)
    mujoco.mj_kinematics(model, data)
    root = int(model.body_rootid[-1])
    return (data.xipos - data.xpos[root]) @ data.xmat[root].reshape(3, 3)


def _merged(robot: Robot) -> dict[str, str]:
    """Return for each link that is merged into another which one that is."""
    parents = {}
    for joint in ElementTree.parse(robot.urdf).getroot().iter("joint"):
        child, parent = joint.find("child"), joint.find("parent")
        if joint.get("type") != "fixed" or joint.get("dont_collapse") == "true" or child is None or parent is None:
            continue
        parents[child.attrib["link"]] = parent.attrib["link"]
    result = {}
    for link in parents:
        into = link
        while into in parents:
            into = parents[into]
        result[link] = into
    return result

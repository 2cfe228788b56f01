"""The URDF importer: links and joints in the importer's order, fixed joints collapsed if asked for."""

import os
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np

from isaacgym.binding import Misuse
from isaacgym.enums import DofDriveMode
from isaacgym.structures import DOF_PROPERTIES, IndexRange, RigidShapeProperties

ORDER = "ISAACGYM_DOUBLE_ORDER"
"""``reversed`` turns the order of a link's children round: it is not documented, so names must decide."""
_UNLIMITED = 3.4e38


class Shape:
    """A collision shape in its body's frame: kind is sphere, capsule, cylinder or box, size as MuJoCo takes it."""

    def __init__(self, kind, size, pos, rotation):
        self.kind, self.size, self.pos, self.rotation = kind, size, pos, rotation


class Body:
    """A link, and all that is fixed to it where fixed joints are collapsed. Inertia is about the centre of mass."""

    def __init__(self, name, parent, pos, rotation):
        self.name, self.parent, self.pos, self.rotation = name, parent, pos, rotation
        self.mass, self.com, self.inertia = 0.0, np.zeros(3), np.zeros((3, 3))
        self.shapes = []
        self.joint = None

    def add_mass(self, mass, com, inertia):
        """Merge a lump of matter, given in the body's frame (parallel axes)."""
        total = self.mass + mass
        if total <= 0:
            return
        centre = (self.mass * self.com + mass * com) / total
        self.inertia = self.inertia + _steiner(self.mass, self.com - centre) + inertia + _steiner(mass, com - centre)
        self.mass, self.com = total, centre


class Asset:
    """What ``load_asset`` returns."""

    def __init__(self, path, options):
        if not path.is_file():
            raise FileNotFoundError(path)
        self.options = options
        self.bodies = []
        self.sensors = []
        """(body, position (3,), rotation (3, 3), properties)."""
        self.used = False
        """Whether there is an actor made of it: no force sensors can be added any more."""
        root = ElementTree.parse(str(path)).getroot()
        self._links = {link.get("name"): link for link in root.findall("link")}
        self._joints = root.findall("joint")
        children = {joint.find("child").get("link") for joint in self._joints}
        (first,) = [name for name in self._links if name not in children]
        self._add(first, None, np.zeros(3), np.eye(3), None)
        self.dofs = [body for body in self.bodies if body.joint is not None]
        self.shape_properties = [self._shape_properties() for body in self.bodies for _ in body.shapes]

    def _add(self, name, parent, pos, rotation, joint):
        """Add a link as a body, then its children, depth first and in the order of their names."""
        body = Body(name, parent, pos, rotation)
        self.bodies.append(body)
        if joint is not None:
            body.joint = joint
        self._fill(body, len(self.bodies) - 1, name, np.zeros(3), np.eye(3))

    def _fill(self, body, index, name, pos, rotation):
        """Give a body what belongs to a link at ``pos`` in its frame, and go on to the link's children."""
        self._merge(body, self._links[name], pos, rotation)
        joints = [joint for joint in self._joints if joint.find("parent").get("link") == name]
        joints.sort(key=lambda joint: joint.get("name"), reverse=os.environ.get(ORDER) == "reversed")
        for joint in joints:
            child = joint.find("child").get("link")
            offset, turn = _origin(joint)
            place, turned = pos + rotation @ offset, rotation @ turn
            fixed = joint.get("type") == "fixed"
            if fixed and self.options.collapse_fixed_joints and joint.get("dont_collapse") != "true":
                self._fill(body, index, child, place, turned)
            else:
                self._add(child, index, place, turned, None if fixed else joint)

    def _merge(self, body, link, pos, rotation):
        inertial = link.find("inertial")
        if inertial is not None:
            com, turn = _origin(inertial)
            numbers = {key: float(value) for key, value in inertial.find("inertia").attrib.items()}
            xx, xy, xz, yy, yz, zz = (numbers.get(f"i{key}", 0.0) for key in ("xx", "xy", "xz", "yy", "yz", "zz"))
            inertia = np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]])
            turned = rotation @ turn
            mass = float(inertial.find("mass").get("value"))
            body.add_mass(mass, pos + rotation @ com, turned @ inertia @ turned.T)
        for collision in link.findall("collision"):
            offset, turn = _origin(collision)
            (geometry,) = list(collision.find("geometry"))
            kind, size = self._geometry(geometry)
            body.shapes.append(Shape(kind, size, pos + rotation @ offset, rotation @ turn))

    def _geometry(self, geometry):
        if geometry.tag == "box":
            return "box", np.array(_numbers(geometry.get("size"))) / 2
        if geometry.tag == "sphere":
            return "sphere", np.array([float(geometry.get("radius"))])
        if geometry.tag == "cylinder":
            size = np.array([float(geometry.get("radius")), float(geometry.get("length")) / 2])
            return "capsule" if self.options.replace_cylinder_with_capsule else "cylinder", size
        raise Misuse(f"the double's importer knows no <{geometry.tag}>")

    def _shape_properties(self):
        properties = RigidShapeProperties()
        properties.rest_offset = 0.0
        return properties

    def dof_properties(self):
        """Return a structured array, an element for each joint, with what the URDF says and no gains."""
        properties = np.zeros(len(self.dofs), DOF_PROPERTIES)
        for row, body in zip(properties, self.dofs):
            limit = body.joint.find("limit")
            given = {} if limit is None else limit.attrib
            row["hasLimits"] = "lower" in given and "upper" in given
            row["hasLimits"] &= body.joint.get("type") != "continuous"
            lower, upper = (float(given.get(end, 0.0)) for end in ("lower", "upper"))
            # Without limits the two mean nothing: NVIDIA's own examples look at hasLimits first (joint_monkey.py).
            row["lower"], row["upper"] = (lower, upper) if row["hasLimits"] else (-_UNLIMITED, _UNLIMITED)
            row["velocity"], row["effort"] = (float(given.get(key, _UNLIMITED)) for key in ("velocity", "effort"))
            row["driveMode"] = DofDriveMode(self.options.default_dof_drive_mode)
            row["armature"] = self.options.armature
        return properties

    def shape_ranges(self):
        """Return where each body's shapes are in the list of all shapes."""
        ranges, start = [], 0
        for body in self.bodies:
            part = IndexRange()
            part.start, part.count = start, len(body.shapes)
            ranges.append(part)
            start += part.count
        return ranges


def load(root, name, options):
    """Load a URDF; raises Misuse for other kinds of files."""
    path = Path(root) / name
    if path.suffix != ".urdf":
        raise Misuse(f"the double loads URDF files only, not {path}")
    return Asset(path, options)


def axis_of(joint):
    """Return the joint's axis in its child's frame, (3,)."""
    axis = joint.find("axis")
    return np.array([1.0, 0.0, 0.0]) if axis is None else np.array(_numbers(axis.get("xyz")))


def _origin(element):
    """Return an element's position (3,) and rotation (3, 3); roll, pitch, yaw are about fixed axes x, y, z."""
    origin = element.find("origin")
    if origin is None:
        return np.zeros(3), np.eye(3)
    (cr, cp, cy), (sr, sp, sy) = (turn(_numbers(origin.get("rpy", "0 0 0"))) for turn in (np.cos, np.sin))
    roll = np.array([[1, 0, 0], [0, cr, -sr], [0, sr, cr]])
    pitch = np.array([[cp, 0, sp], [0, 1, 0], [-sp, 0, cp]])
    yaw = np.array([[cy, -sy, 0], [sy, cy, 0], [0, 0, 1]])
    return np.array(_numbers(origin.get("xyz", "0 0 0"))), yaw @ pitch @ roll


def _numbers(text):
    return [float(number) for number in text.split()]


def _steiner(mass, offset):
    return mass * (offset @ offset * np.eye(3) - np.outer(offset, offset))

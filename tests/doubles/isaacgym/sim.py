"""The simulation's handles and its memory: what the tensors show, and when what is set takes effect."""

import ctypes
import os
import weakref

import numpy as np

from isaacgym.binding import PHYSICS, Misuse
from isaacgym.enums import SimType, TensorDataType
from isaacgym.faults import say, strike
from isaacgym.physics import Terrain, World
from isaacgym.structures import Tensor

GPU = "ISAACGYM_DOUBLE_GPU"
"""``1``: as if there were a GPU. The GPU pipeline's rules then hold, though its tensors stay in main memory."""

ROOT_WIDTH = 13
"""Of a row of the root tensor: position 3, quaternion (x, y, z, w), linear and angular velocity 3 each."""


class Env:
    """An environment: where its origin is in the world, and its actors."""

    def __init__(self, sim, index, origin):
        self.sim, self.index, self.origin = sim, index, origin
        self.actors = []


class Actor:
    """A robot in an environment."""

    def __init__(self, env, asset, index, pose, group, filter_, dof_start):
        self.env, self.asset, self.index, self.pose = env, asset, index, pose
        self.group, self.filter = group, filter_
        self.dof_start = dof_start
        """Of its joints among those of the whole simulation."""
        self.dof_properties = asset.dof_properties()
        self.shape_properties = asset.shape_properties
        self.body_properties = None
        """As they were set, or None: those of the asset."""
        self.measures_dof_forces = False


class Viewer:
    """A window, in name only."""


class Sim:
    """What ``create_sim`` returns."""

    def __init__(self, params, kind, gpu_pipeline):
        self.params, self.kind, self.gpu_pipeline = params, kind, gpu_pipeline
        self.terrain = Terrain()
        self.envs, self.actors, self.num_dofs = [], [], 0
        self.groups = {}
        self.prepared = False
        self._pending = {}
        """What was set since the last simulate, by setter: descriptions and how many indices (None: all)."""
        self._fetched = True

    def prepare(self):
        """Make the worlds and the memory of the tensors."""
        if self.prepared:
            raise Misuse("prepare_sim is called once")
        strike("prepare_sim")
        self.prepared = True
        moving = os.environ.get(PHYSICS) != "0"
        self.worlds = [World(actor, self.params, self.terrain) for actor in self.actors] if moving else None
        sensors = [len(actor.asset.sensors) for actor in self.actors]
        sizes = {
            "root": (len(self.actors), ROOT_WIDTH),
            "dof": (self.num_dofs, 2),
            "dof_force": (self.num_dofs,),
            "sensor": (sum(sensors), 6),
        }
        # The engine's own state, and what the tensors show of it since the last refresh.
        self._state = {name: np.zeros(size, np.float32) for name, size in sizes.items()}
        self._shown = {name: np.zeros_like(state) if moving else state for name, state in self._state.items()}
        self._targets = np.zeros(self.num_dofs, np.float32)
        self._sensor_start = np.concatenate([[0], np.cumsum(sensors)]).astype(int)
        for actor in self.actors:
            row = self._state["root"][actor.index]
            pose = actor.pose
            row[:3] = actor.env.origin + [pose.p.x, pose.p.y, pose.p.z]
            row[3:7] = pose.r.x, pose.r.y, pose.r.z, pose.r.w
            if moving:
                self.worlds[actor.index].place_root(row)

    def tensor(self, name):
        """Describe the memory that shows a part of the state."""
        if self.kind != SimType.SIM_PHYSX:
            say("[Error] (double) the tensor API is for PhysX only")
            return None
        if not self.prepared:
            raise Misuse("prepare_sim comes before the tensors")
        shown = self._shown[name]
        return describe(shown, shown.ctypes.data, TensorDataType.DTYPE_FLOAT32)

    def refresh(self, name):
        """Show the latest state; on the CPU pipeline, the latest that was fetched."""
        if not self._fetched and not self.gpu_pipeline:
            return True
        if self.worlds is not None and name == "sensor":
            for world, start, end in zip(self.worlds, self._sensor_start, self._sensor_start[1:]):
                self._state[name][start:end] = world.sensor_forces()
        if self._shown[name] is not self._state[name]:
            self._shown[name][:] = self._state[name]
        return True

    def set(self, setter, tensor, indices=None, count=None):
        """Note what is to be set with the next simulate; a second call of a setter replaces the first one."""
        if not self.prepared:
            raise Misuse("prepare_sim comes before the tensors")
        self._pending[setter] = tensor, indices, count
        return True

    def simulate(self):
        """Set what is to be set, then take a step of the physics."""
        if not self.prepared:
            raise Misuse("prepare_sim comes before simulate")
        fault = strike("simulate")
        if self.worlds is None:
            self._pending.pop("target", None)  # which nobody follows
        self._apply("root", self._state["root"], lambda actor: slice(actor.index, actor.index + 1))
        self._apply("dof", self._state["dof"], _dofs)
        self._apply("target", self._targets, _dofs)
        self._pending.clear()
        self._fetched = False
        if fault == "nan":
            for part in self._state.values():
                part[:] = np.nan
            self.worlds = None
        for actor, world in zip(self.actors, self.worlds or ()):
            dofs = _dofs(actor)
            world.step(self._targets[dofs])
            self._state["root"][actor.index] = world.root()
            self._state["dof"][dofs] = world.joints()
            if actor.measures_dof_forces:
                self._state["dof_force"][dofs] = world.joint_forces()

    def fetch(self):
        """Make the latest state visible to refresh (CPU pipeline)."""
        self._fetched = True

    def _apply(self, setter, whole, rows_of):
        """Do what a setter was asked for: ``whole`` has all actors' rows, ``rows_of`` says which are an actor's."""
        if setter not in self._pending:
            return
        tensor, indices, count = self._pending[setter]
        values = _read(tensor, np.float32, whole.size)
        if values is None:
            return
        chosen = range(len(self.actors))
        if count is not None:
            chosen = _read(indices, np.uint32, count)
            if chosen is None:
                return
        values = values.reshape(whole.shape)
        if count is None and (self.worlds is None or setter == "target"):  # nobody else has to know
            whole[:] = values
            return
        for index in chosen:
            if index >= len(self.actors):
                continue
            actor = self.actors[index]
            rows = rows_of(actor)
            whole[rows] = values[rows]
            if self.worlds is not None and setter == "root":
                self.worlds[index].place_root(whole[index])
            elif self.worlds is not None and setter == "dof":
                self.worlds[index].place_joints(whole[rows])


def describe(owner, address, kind):
    """Return the description of memory that ``owner`` holds; only the double itself can see whether it still does."""
    description = Tensor()
    description.data_address, description.shape = address, tuple(owner.shape)
    description.dtype = kind
    description.alive = weakref.ref(owner)
    return description


def _dofs(actor):
    return slice(actor.dof_start, actor.dof_start + len(actor.dof_properties))


def _read(description, dtype, count):
    """Return ``count`` numbers of the memory described, whatever its own type is; None if nobody holds it any more."""
    owner = description.alive()
    if owner is None:
        return None
    size = int(np.prod(description.shape)) * _SIZES[description.dtype.name]
    wanted = count * np.dtype(dtype).itemsize
    if size < wanted:
        raise Misuse(f"{count} numbers of {np.dtype(dtype)} are read from a tensor of {size} bytes")
    memory = ctypes.string_at(description.data_address, wanted)
    return np.frombuffer(memory, dtype)


_SIZES = {"DTYPE_FLOAT32": 4, "DTYPE_UINT32": 4, "DTYPE_UINT64": 8, "DTYPE_UINT8": 1, "DTYPE_INT16": 2}

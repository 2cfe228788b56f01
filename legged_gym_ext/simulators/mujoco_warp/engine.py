"""MuJoCo Warp: thousands of worlds on a CUDA device, or, slower, on the CPU."""

from __future__ import annotations

from collections.abc import Callable

import mujoco_warp as mjw
import torch
import warp as wp
from torch import Tensor

from legged_gym_ext.config.schema import SimConfig
from legged_gym_ext.device import memory, warp_runtime
from legged_gym_ext.device.masked import assign
from legged_gym_ext.robot import Robot
from legged_gym_ext.simulators.base import DomainParameters, SimulatorState
from legged_gym_ext.simulators.mujoco.model import BOX_FLOOR, build_model
from legged_gym_ext.simulators.mujoco_warp import kernels as kernels
from legged_gym_ext.simulators.mujoco_warp import parameters as parameter_kernels
from legged_gym_ext.simulators.mujoco_warp.arrays import (
    PARAMETER_FIELDS,
    TERRAIN_FIELDS,
    allocate,
    bytes_per_world,
    capacities,
    fill_layout,
    fill_nominal,
)
from legged_gym_ext.simulators.mujoco_warp.options import MujocoWarpOptions
from legged_gym_ext.terrain.boxes import MAX_BOXES
from legged_gym_ext.terrain.library import TerrainLibrary

_OVERFLOWS = (
    mjw.OverflowType.NEFC | mjw.OverflowType.BROADPHASE | mjw.OverflowType.NARROWPHASE | mjw.OverflowType.CONTACT_MATCH
)
"""What counts as overflow: contacts or constraints that were dropped. (A solver at its iteration limit is not.)"""


class MujocoWarpSimulator:
    """The ``Simulator`` (see base.py) on MuJoCo Warp: float32; on a CPU, the same calls give the same bits.

    A control step is one graph of kernels that is captured at the start and replayed. All other calls are torch
    operations and kernel launches on torch's current stream: Warp allocates nothing and nothing waits for the host, so
    that torch can capture them in a graph of its own. Every array keeps its address.

    After a reset the contact forces are zero until the next step, whether or not the robot was placed in contact.
    """

    def __init__(
        self, robot: Robot, library: TerrainLibrary, config: SimConfig, num_envs: int, device: torch.device
    ) -> None:
        """Make ``num_envs`` worlds, each with the library's first tile and its robot in the default pose."""
        options: MujocoWarpOptions = config.options
        self.robot = robot
        self.num_envs = num_envs
        self.device = device
        self.decimation = config.decimation
        self.model, self.layout = build_model(robot, config.dt, options)
        warp_runtime.init()
        warp_device = wp.device_from_torch(device)
        with wp.ScopedDevice(warp_device), warp_runtime.notice_of_compilation("physics"):
            self._allocate(options)
            self.parameters = DomainParameters.nominal(num_envs, device)
            self.tile = torch.zeros(num_envs, dtype=torch.int64, device=device)
            self._mask = torch.ones(num_envs, dtype=torch.bool, device=device)
            self._prepare(library)
            for module in (kernels, parameter_kernels):  # before torch captures a call that launches them
                wp.load_module(module, device=warp_device)
            self.substeps(1)  # loads MuJoCo Warp's
            with wp.ScopedCapture() as capture:
                self.substeps(self.decimation)
                wp.launch(kernels.refresh, num_envs, [self._worlds, self._layout])
        assert capture.graph is not None
        self._graph = capture.graph
        wp.capture_launch(self._graph)  # what it must allocate is allocated now
        wp.synchronize_device(warp_device)
        every = torch.ones_like(self._mask)
        self.set_tiles(every, self.tile)
        self.randomize(every, self.parameters)
        pose = torch.tensor(self.layout.default_qpos, dtype=torch.float32, device=device).expand(num_envs, -1)
        zero = torch.zeros_like(self._qvel)
        joints = torch.tensor(self.layout.qpos, device=device)
        still = zero[:, :3]
        self.reset(every, pose[:, 0:3], pose[:, 3:7], still, still, pose[:, joints], zero[:, : len(joints)])

    def step(self, joint_targets: Tensor) -> None:
        """Advance one control step (``decimation`` physics substeps) with PD targets (num_envs, 10), rad."""
        self.ctrl.copy_(joint_targets)
        wp.capture_launch(self._graph, stream=warp_runtime.current_stream(self.device))

    def reset(
        self,
        mask: Tensor,
        root_pos: Tensor,
        root_quat: Tensor,
        root_lin_vel: Tensor,
        root_ang_vel: Tensor,
        joint_pos: Tensor,
        joint_vel: Tensor,
    ) -> None:
        """Place the masked robots; the tensors have all environments' rows, with the shapes of the state."""
        self.state.place(mask, root_pos, root_quat, root_lin_vel, root_ang_vel, joint_pos, joint_vel)
        self._launch(kernels.settle, mask, self.num_envs, [self._worlds, self._layout])

    def set_tiles(self, mask: Tensor, tile: Tensor) -> None:
        """Move the masked environments to the tiles in these rows of the library, (num_envs,) int64."""
        assign(mask, self.tile, tile)
        self._launch(kernels.place_boxes, mask, (self.num_envs, MAX_BOXES), self._terrain)

    def randomize(self, mask: Tensor, parameters: DomainParameters) -> None:
        """Give the masked environments the physical ``parameters``."""
        for name, tensor in self.parameters.tensors().items():
            assign(mask, tensor, parameters.tensors()[name])
        self._launch(parameter_kernels.randomize, mask, self.num_envs, [self._nominal, self._parameters])

    def push(self, mask: Tensor, velocity: Tensor) -> None:
        """Add ``velocity`` (num_envs, 3), m/s in the world frame, to the masked robots' base."""
        self.state.root_lin_vel.add_(torch.where(mask[:, None], velocity, 0.0))

    def snapshot(self) -> dict[str, Tensor]:
        """Return copies of all that decides the future: physics state, parameters and tiles included."""
        return {name: tensor.clone() for name, tensor in self._kept().items()}

    def restore(self, snapshot: dict[str, Tensor]) -> None:
        """Return to a snapshot; the same calls then give the same values, bit for bit on the CPU."""
        for name, tensor in self._kept().items():
            tensor.copy_(snapshot[name])
        every = torch.ones_like(self._mask)
        self.set_tiles(every, self.tile)
        self.randomize(every, self.parameters)

    def close(self) -> None:
        """Do nothing: the arrays' memory is given back with the object."""

    def _kept(self) -> dict[str, Tensor]:
        physics = {"qpos": self._qpos, "qvel": self._qvel, "ctrl": self.ctrl, "warmstart": self._warmstart}
        return {**self.state.tensors(), **self.parameters.tensors(), "tile": self.tile, **physics}

    def _launch(
        self, kernel: Callable[..., None], mask: Tensor, dim: int | tuple[int, ...], arguments: list[object]
    ) -> None:
        """Launch a kernel that works in the masked worlds, on torch's current stream."""
        self._mask.copy_(mask)
        inputs = [self._warp_mask, *arguments]
        wp.launch(kernel, dim, inputs, device=self._warp_mask.device, stream=warp_runtime.current_stream(self.device))

    def _allocate(self, options: MujocoWarpOptions) -> None:
        """Allocate model and data of all worlds."""
        room = capacities(self.model, self.layout, options)
        memory.require("physics", bytes_per_world(self.model, *room), self.num_envs, self.device)
        self._model, self._data = allocate(self.model, self.num_envs, *room)
        option = self._model.opt
        option.warn_overflow = 0  # counted instead, see _OVERFLOWS
        if self.device.type == "cuda":  # there, a solver that may end early needs CUDA 12.4
            option.graph_conditional = wp.is_conditional_graph_supported()

    def substeps(self, count: int) -> None:
        """Advance the physics; only the last substep needs the sensors."""
        option = self._model.opt
        option.disableflags |= mjw.DisableBit.SENSOR
        for _ in range(count - 1):
            mjw.step(self._model, self._data)
        option.disableflags &= ~mjw.DisableBit.SENSOR
        mjw.step(self._model, self._data)

    def _prepare(self, library: TerrainLibrary) -> None:
        """Make the state's tensors, views of MuJoCo's arrays where their layout allows, and the kernels' arguments."""
        model, data, layout = self._model, self._data, self.layout
        self._qpos, self._qvel, self.ctrl = (wp.to_torch(a) for a in (data.qpos, data.qvel, data.ctrl))
        self._warmstart = wp.to_torch(data.qacc_warmstart)
        sensors = wp.to_torch(data.sensordata)
        state = SimulatorState.zeros(self.num_envs, len(self.robot.no_contact_bodies), self.device)
        state.root_pos, state.root_quat, state.root_lin_vel = self._qpos[:, 0:3], self._qpos[:, 3:7], self._qvel[:, 0:3]
        state.joint_torque = wp.to_torch(data.actuator_force)
        state.foot_pos, state.foot_vel, state.foot_force = (
            sensors[:, rows].unflatten(1, (-1, 3)) for rows in (layout.foot_pos, layout.foot_vel, layout.foot_force)
        )
        self.state = state
        self._warp_mask = wp.from_torch(self._mask)

        worlds = self._worlds = kernels.Worlds()
        worlds.qpos, worlds.qvel, worlds.ctrl, worlds.warmstart = data.qpos, data.qvel, data.ctrl, data.qacc_warmstart
        worlds.time, worlds.sensordata, worlds.actuator_force = data.time, data.sensordata, data.actuator_force
        worlds.overflow_bits = data.overflow
        for name in ("root_ang_vel", "joint_pos", "joint_vel", "body_force", "diverged", "overflow"):
            setattr(worlds, name, wp.from_torch(getattr(state, name)))
        parameters = self._parameters = parameter_kernels.Parameters()
        for name, tensor in self.parameters.tensors().items():
            setattr(parameters, name, wp.from_torch(tensor))
        for name in PARAMETER_FIELDS:
            setattr(parameters, name, _numbers(getattr(model, name)))
        worlds.actuator_biasprm = parameters.actuator_biasprm
        worlds.actuator_forcerange = parameters.actuator_forcerange
        self._layout = fill_layout(self.model, model, layout, self.robot, int(_OVERFLOWS))
        self._nominal = fill_nominal(self.model, layout, self.robot)
        self._terrain = [
            wp.from_torch(self.tile),
            wp.from_torch(library.boxes),
            layout.boxes.start,
            BOX_FLOOR,
            *[getattr(model, name) for name in TERRAIN_FIELDS],
            data.geom_xpos,
            data.geom_xmat,
        ]


def _numbers(array: wp.array) -> wp.array:
    """Return an array of vectors as one of their numbers, with one more dimension; it is the same memory."""
    return wp.from_torch(wp.to_torch(array))

"""MuJoCo on the CPU: thousands of worlds on a thread pool, through ``mujoco.batch``."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable

import mujoco
import numpy as np
import torch
from mujoco.batch import Batch, SimulationError
from torch import Tensor

from legged_gym_ext.config.schema import SimConfig
from legged_gym_ext.device import memory
from legged_gym_ext.device.cpu import available_cores
from legged_gym_ext.device.masked import assign
from legged_gym_ext.robot import Robot
from legged_gym_ext.simulators.base import DomainParameters, SimulatorState
from legged_gym_ext.simulators.mujoco import kernels as kernels
from legged_gym_ext.simulators.mujoco.model import BOX_FLOOR, MAX_SPEED, build_model
from legged_gym_ext.simulators.mujoco.options import MujocoOptions
from legged_gym_ext.terrain.boxes import CENTER, HALF, QUAT
from legged_gym_ext.terrain.library import TerrainLibrary

_BROKEN = np.array([int(getattr(mujoco.mjtWarning, f"mjWARN_BAD{field}")) for field in ("QPOS", "QVEL", "QACC")])
"""Warnings after which MuJoCo has put a world back to its initial state."""
_FASTEST = 10.0
"""m/s that a root does not exceed within a control step, or it does not matter any more what it hits."""
_BOXES = ("geom_pos", "geom_quat", "geom_size", "geom_aabb", "geom_rbound")
_PARAMETERS = (
    "geom_friction",
    "body_mass",
    "body_ipos",
    "actuator_gainprm",
    "actuator_biasprm",
    "actuator_forcerange",
)
_PER_WORLD = (*_BOXES, "geom_contype", "geom_sameframe", *_PARAMETERS)
"""Fields of the model that each world has of its own: half of what it takes, by measurement."""


class MujocoSimulator:
    """The ``Simulator`` (see base.py) on ``mujoco.batch``: float64 inside, bit-identical at any number of threads."""

    def __init__(
        self, robot: Robot, library: TerrainLibrary, config: SimConfig, num_envs: int, device: torch.device
    ) -> None:
        """Make ``num_envs`` worlds on the CPU, each with the library's first tile and its robot in the default pose."""
        options: MujocoOptions = config.options
        self.robot = robot
        self.num_envs = num_envs
        self.device = device
        self.decimation = config.decimation
        self.model, self.layout = build_model(robot, config.dt, options)
        # The boxes move from world to world; the midphase would go on with the bounding volumes of the model.
        self.model.opt.disableflags |= mujoco.mjtDisableBit.mjDSBL_MIDPHASE
        memory.require(
            "physics", 2 * sum(getattr(self.model, name).nbytes for name in _PER_WORLD), num_envs, self.device
        )
        self.batch = Batch(self.model, num_envs, options.threads or available_cores())

        self._qpos, self._qvel, self._ctrl = (self.batch.bind(name) for name in ("qpos", "qvel", "ctrl"))
        self._force = self.batch.bind("actuator_force")
        self._sensors = self.batch.bind("sensordata")
        self._model_fields = {name: self.batch.expand(name) for name in _PER_WORLD}

        # The state's tensors and the parameters are written in place for good: these arrays are the same memory.
        self.state = SimulatorState.zeros(num_envs, len(robot.no_contact_bodies), self.device)
        self._state = _arrays(getattr(self.state, name) for name in kernels.STATE)
        self._boxes = _arrays((library.boxes[..., CENTER], library.boxes[..., QUAT], library.boxes[..., HALF]))
        self.tile = torch.zeros(num_envs, dtype=torch.int64)
        self.parameters = DomainParameters.nominal(num_envs, self.device)
        self._parameters = _arrays(self.parameters.tensors().values())
        every = torch.ones(num_envs, dtype=torch.bool)
        self.set_tiles(every, self.tile)
        self.randomize(every, DomainParameters.nominal(num_envs, self.device))
        self._fresh_state = self.batch.state[0].copy()
        self._place_at_default(np.arange(num_envs))
        self._read_state()

    def step(self, joint_targets: Tensor) -> None:
        """Advance one control step (``decimation`` physics substeps) with PD targets (num_envs, 10), rad."""
        self._ctrl[:] = joint_targets.numpy()
        self._choose_boxes()
        self.batch.warning[:] = 0
        with contextlib.suppress(SimulationError):  # batch.status tells which worlds it was
            self.batch.step(nstep=self.decimation)
        self._read_state()
        broken, batch = self.state.diverged.numpy(), self.batch
        if kernels.find_broken(self._qvel, batch.status, batch.warning, _BROKEN, MAX_SPEED, broken):
            self._place_at_default(np.flatnonzero(broken))
            self._read_state()

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
        worlds = np.flatnonzero(mask.numpy())
        if not worlds.size:
            return
        placement = _arrays((root_pos, root_quat, root_lin_vel, root_ang_vel, joint_pos, joint_vel))
        engine = self.batch.state, self._qpos, self._qvel, self._ctrl
        kernels.place(mask.numpy(), self._fresh_state, placement, self.layout.qpos, self.layout.dofs, engine)
        self._choose_boxes()
        self.batch.forward(worlds)
        self.state.diverged &= ~mask
        self._read_state()

    def set_tiles(self, mask: Tensor, tile: Tensor) -> None:
        """Move the masked environments to the tiles in these rows of the library, (num_envs,) int64."""
        assign(mask, self.tile, tile)
        fields = tuple(self._model_fields[name] for name in _BOXES)
        kernels.set_boxes(mask.numpy(), self.tile.numpy(), self._boxes, BOX_FLOOR, self.layout.boxes.start, fields)

    def randomize(self, mask: Tensor, parameters: DomainParameters) -> None:
        """Give the masked environments the physical ``parameters``."""
        worlds = np.flatnonzero(mask.numpy())
        if not worlds.size:
            return
        robot, layout, model, fields = self.robot, self.layout, self.model, self._model_fields
        kernels.set_parameters(
            mask.numpy(),
            _arrays(parameters.tensors().values()),
            self._parameters,
            (layout.robot_geoms, layout.base_bodies, layout.root_to_base),
            (model.body_mass, model.body_ipos, model.actuator_forcerange, robot.stiffness, robot.damping),
            tuple(fields[name] for name in _PARAMETERS),
        )
        # From the shapes as they are it makes a first filter of bodies: the ground must not be out of it for good, only
        # because no box is near. Which of them are is chosen again before the next step.
        fields["geom_contype"][worlds, layout.boxes] = model.geom_contype[layout.boxes]
        self.batch.set_const(worlds)
        # It marks boxes that happen not to be turned, and MuJoCo would then ignore the quaternions of later tiles.
        fields["geom_sameframe"][worlds, layout.boxes] = mujoco.mjtSameFrame.mjSAMEFRAME_NONE.value

    def push(self, mask: Tensor, velocity: Tensor) -> None:
        """Add ``velocity`` (num_envs, 3), m/s in the world frame, to the masked robots' base."""
        change = torch.where(mask[:, None], velocity, 0.0)
        self._qvel[:, 0:3] += change.numpy()
        self.state.root_lin_vel += change

    def snapshot(self) -> dict[str, Tensor]:
        """Return copies of all that decides the future: physics state, parameters and tiles included."""
        parts = {**self.state.tensors(), **self.parameters.tensors(), "tile": self.tile}
        return {**{name: t.clone() for name, t in parts.items()}, "physics": torch.from_numpy(self.batch.state.copy())}

    def restore(self, snapshot: dict[str, Tensor]) -> None:
        """Return to a snapshot; the same calls then give the same values, bit for bit."""
        every = torch.ones(self.num_envs, dtype=torch.bool)
        self.set_tiles(every, snapshot["tile"])
        self.randomize(every, DomainParameters(**{name: snapshot[name] for name in self.parameters.tensors()}))
        self.batch.state[:] = snapshot["physics"].numpy()
        for name, tensor in self.state.tensors().items():
            tensor.copy_(snapshot[name])

    def close(self) -> None:
        """Do nothing: the threads of ``mujoco.batch`` end with the object."""

    def _choose_boxes(self) -> None:
        """Leave out of the collisions what the robots cannot come to before the next control step."""
        layout, contype = self.layout, self._model_fields["geom_contype"]
        reach = layout.reach + _FASTEST * self.decimation * self.model.opt.timestep
        bit = int(self.model.geom_contype[layout.boxes.start])
        kernels.choose_boxes(self._qpos, self.tile.numpy(), self._boxes, reach, layout.boxes.start, bit, contype)

    def _place_at_default(self, worlds: np.ndarray) -> None:
        self.batch.state[worlds] = self._fresh_state
        self._qpos[worlds] = self.layout.default_qpos
        self._ctrl[worlds] = self.robot.default_joint_pos
        self._choose_boxes()
        self.batch.forward(worlds)

    def _read_state(self) -> None:
        """Copy what the engine computed into the state's tensors."""
        layout, engine = self.layout, (self._qpos, self._qvel, self._force, self._sensors)
        sensors = (layout.foot_pos, layout.foot_vel, layout.foot_force, layout.body_force)
        kernels.read_state(*engine, layout.qpos, layout.dofs, tuple(rows.start for rows in sensors), self._state)


def _arrays(tensors: Iterable[Tensor]) -> tuple[np.ndarray, ...]:
    return tuple(tensor.numpy() for tensor in tensors)

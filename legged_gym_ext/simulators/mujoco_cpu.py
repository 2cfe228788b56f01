"""MuJoCo on the CPU: thousands of worlds on a thread pool, through ``mujoco.batch``."""

from __future__ import annotations

import contextlib
import warnings

import mujoco
import numpy as np
import torch
from mujoco.batch import Batch, SimulationError
from torch import Tensor

from legged_gym_ext import memory
from legged_gym_ext.config import SimConfig
from legged_gym_ext.robot import Robot
from legged_gym_ext.rotations import quat_rotate, quat_rotate_inverse
from legged_gym_ext.runtime import available_cores
from legged_gym_ext.simulators.base import DomainParameters, SimulatorState
from legged_gym_ext.simulators.mujoco_model import BOX_FLOOR, MAX_SPEED, build_model
from legged_gym_ext.terrain.boxes import ABSENT, BOX_DIM, CENTER, HALF, MAX_BOXES, QUAT

_BROKEN = np.array([int(getattr(mujoco.mjtWarning, f"mjWARN_BAD{field}")) for field in ("QPOS", "QVEL", "QACC")])
"""Warnings after which MuJoCo has put a world back to its initial state."""


_PER_WORLD = (
    *("geom_pos", "geom_quat", "geom_size", "geom_aabb", "geom_rbound", "geom_sameframe", "geom_friction"),
    *("body_mass", "body_ipos", "actuator_gainprm", "actuator_biasprm", "actuator_forcerange"),
)
"""Fields of the model that each world has of its own: half of what it takes, by measurement."""


class MujocoCpuSimulator:
    """The ``Simulator`` (see base.py) on ``mujoco.batch``: float64 inside, bit-identical at any number of threads."""

    def __init__(self, robot: Robot, config: SimConfig, num_envs: int) -> None:
        """Make ``num_envs`` worlds, each with no boxes and its robot in the default pose at the origin."""
        self.robot = robot
        self.num_envs = num_envs
        self.device = torch.device("cpu")
        self.decimation = config.decimation
        self.model, self.layout = build_model(robot, config)
        # The boxes move from world to world; the midphase would go on with the bounding volumes of the model.
        self.model.opt.disableflags |= mujoco.mjtDisableBit.mjDSBL_MIDPHASE
        memory.require(
            "physics", 2 * sum(getattr(self.model, name).nbytes for name in _PER_WORLD), num_envs, self.device
        )
        self.batch = Batch(self.model, num_envs, config.threads or available_cores())

        self._qpos, self._qvel, self._ctrl = (self.batch.bind(name) for name in ("qpos", "qvel", "ctrl"))
        self._force = self.batch.bind("actuator_force")
        self._sensors = self.batch.bind("sensordata")
        self._model_fields = {name: self.batch.expand(name) for name in _PER_WORLD}

        # What is read from the engine: its own memory, and all of it in float32, of which the state is views.
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="The given NumPy array is not writable")  # nor is it written
            self._engine = [torch.from_numpy(array) for array in (self._qpos, self._qvel, self._force, self._sensors)]
        self._float32 = [torch.zeros_like(tensor, dtype=torch.float32) for tensor in self._engine]
        self._joint_columns = torch.from_numpy(self.layout.qpos), torch.from_numpy(self.layout.dofs)
        self.state = self._views(SimulatorState.zeros(num_envs, len(robot.no_contact_bodies), self.device))
        self.boxes = torch.tensor(ABSENT).repeat(num_envs, MAX_BOXES, 1)
        self.parameters = DomainParameters.nominal(num_envs, self.device)
        every = torch.ones(num_envs, dtype=torch.bool)
        self.set_tiles(every, self.boxes.clone())
        self.randomize(every, self.parameters)
        self._fresh_state = self.batch.state[0].copy()
        self._place_at_default(np.arange(num_envs))
        self._refresh()

    def step(self, joint_targets: Tensor) -> None:
        """Advance one control step (``decimation`` physics substeps) with PD targets (num_envs, 10), rad."""
        self._ctrl[:] = joint_targets.numpy()
        self.batch.warning[:] = 0
        with contextlib.suppress(SimulationError):  # batch.status tells which worlds it was
            self.batch.step(nstep=self.decimation)
        self._refresh()
        qpos, qvel, *_ = self._float32
        sound = (qvel.abs().amax(dim=1) < MAX_SPEED) & qpos.isfinite().all(dim=1)
        sound &= torch.from_numpy(self.batch.status == 0)
        if self.batch.warning.any():
            sound &= torch.from_numpy((self.batch.warning[:, _BROKEN, 1] == 0).all(axis=1))
        torch.logical_not(sound, out=self.state.diverged)
        if not sound.all():
            self._place_at_default(np.flatnonzero(self.state.diverged.numpy()))
            self._refresh()

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
        self.batch.state[worlds] = self._fresh_state
        self._qpos[worlds, 0:3] = root_pos.numpy()[worlds]
        self._qpos[worlds, 3:7] = root_quat.numpy()[worlds]
        self._qvel[worlds, 0:3] = root_lin_vel.numpy()[worlds]
        self._qvel[worlds, 3:6] = quat_rotate_inverse(root_quat, root_ang_vel).numpy()[worlds]
        self._qpos[worlds[:, None], self.layout.qpos] = joint_pos.numpy()[worlds]
        self._qvel[worlds[:, None], self.layout.dofs] = joint_vel.numpy()[worlds]
        # The motors hold the pose until the first step, which sets its own targets.
        self._ctrl[worlds] = joint_pos.numpy()[worlds]
        self.batch.forward(worlds)
        self.state.diverged &= ~mask
        self._refresh()

    def set_tiles(self, mask: Tensor, boxes: Tensor) -> None:
        """Give the masked environments the tiles ``boxes`` (num_envs, K, BOX_DIM)."""
        if boxes.shape != (self.num_envs, MAX_BOXES, BOX_DIM):
            raise ValueError(f"boxes have shape {tuple(boxes.shape)}, not {(self.num_envs, MAX_BOXES, BOX_DIM)}")
        worlds, geoms, fields = np.flatnonzero(mask.numpy()), self.layout.boxes, self._model_fields
        rows = boxes.numpy()[worlds]
        self.boxes.numpy()[worlds] = rows
        half = np.maximum(rows[..., HALF], BOX_FLOOR)
        fields["geom_pos"][worlds, geoms] = rows[..., CENTER]
        fields["geom_quat"][worlds, geoms] = rows[..., QUAT]
        fields["geom_size"][worlds, geoms] = half
        fields["geom_aabb"][worlds, geoms, 3:] = half
        fields["geom_rbound"][worlds, geoms] = np.linalg.norm(half, axis=-1)

    def randomize(self, mask: Tensor, parameters: DomainParameters) -> None:
        """Give the masked environments the physical ``parameters``."""
        worlds = np.flatnonzero(mask.numpy())
        if not worlds.size:
            return
        new = {name: tensor.numpy()[worlds] for name, tensor in parameters.tensors().items()}
        for name, tensor in self.parameters.tensors().items():
            tensor.numpy()[worlds] = new[name]
        robot, layout, fields, base = self.robot, self.layout, self._model_fields, self.layout.base_bodies
        fields["geom_friction"][worlds[:, None], layout.robot_geoms, 0] = new["friction"][:, None]
        fields["body_mass"][worlds, base[0]] = self.model.body_mass[base[0]] + new["added_mass"]
        offset = np.einsum("bij,nj->nbi", layout.root_to_base, new["mass_offset"])
        fields["body_ipos"][worlds[:, None], base] = self.model.body_ipos[base] + offset
        stiffness = robot.stiffness * new["stiffness"] * new["motor_strength"]
        damping = robot.damping * new["damping"] * new["motor_strength"]
        fields["actuator_gainprm"][worlds, :, 0] = stiffness
        fields["actuator_biasprm"][worlds, :, 1] = -stiffness
        fields["actuator_biasprm"][worlds, :, 2] = -damping
        fields["actuator_forcerange"][worlds] = self.model.actuator_forcerange * new["motor_strength"][..., None]
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
        parts = {**self.state.tensors(), **self.parameters.tensors(), "boxes": self.boxes}
        return {**{name: t.clone() for name, t in parts.items()}, "physics": torch.from_numpy(self.batch.state.copy())}

    def restore(self, snapshot: dict[str, Tensor]) -> None:
        """Return to a snapshot; the same calls then give the same values, bit for bit."""
        every = torch.ones(self.num_envs, dtype=torch.bool)
        self.set_tiles(every, snapshot["boxes"])
        self.randomize(every, DomainParameters(**{name: snapshot[name] for name in self.parameters.tensors()}))
        self.batch.state[:] = snapshot["physics"].numpy()
        for name, tensor in self.state.tensors().items():
            tensor.copy_(snapshot[name])

    def _place_at_default(self, worlds: np.ndarray) -> None:
        self.batch.state[worlds] = self._fresh_state
        self._qpos[worlds] = self.layout.default_qpos
        self._ctrl[worlds] = self.robot.default_joint_pos
        self.batch.forward(worlds)

    def _refresh(self) -> None:
        """Copy what the engine computed into the state's tensors."""
        for copy, original in zip(self._float32, self._engine, strict=True):
            copy.copy_(original)
        (qpos, qvel, _, sensors), state = self._float32, self.state
        torch.index_select(qpos, 1, self._joint_columns[0], out=state.joint_pos)
        torch.index_select(qvel, 1, self._joint_columns[1], out=state.joint_vel)
        state.root_ang_vel.copy_(quat_rotate(state.root_quat, qvel[:, 3:6]))
        forces = sensors[:, self.layout.body_force].view(self.num_envs, -1, 3)
        torch.linalg.vector_norm(forces, dim=-1, out=state.body_force)

    def _views(self, state: SimulatorState) -> SimulatorState:
        """Let those of the state's tensors be views of the engine's values that are the same numbers."""
        (qpos, qvel, force, sensors), layout = self._float32, self.layout
        state.root_pos, state.root_quat, state.root_lin_vel = qpos[:, 0:3], qpos[:, 3:7], qvel[:, 0:3]
        state.joint_torque = force
        for name in ("foot_pos", "foot_vel", "foot_force"):
            setattr(state, name, sensors[:, getattr(layout, name)].unflatten(1, (-1, 3)))
        return state

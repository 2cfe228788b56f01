"""MuJoCo on the CPU: thousands of worlds on a thread pool, through ``mujoco.batch``."""

from __future__ import annotations

import contextlib

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

        self.state = SimulatorState.zeros(num_envs, len(robot.no_contact_bodies), self.device)
        self.boxes = torch.tensor(ABSENT).repeat(num_envs, MAX_BOXES, 1)
        self.parameters = DomainParameters.nominal(num_envs, self.device)
        every = torch.ones(num_envs, dtype=torch.bool)
        self.set_tiles(every, self.boxes.clone())
        self.randomize(every, self.parameters)
        self._place_at_default(every.numpy())
        self._refresh()

    def step(self, joint_targets: Tensor) -> None:
        """Advance one control step (``decimation`` physics substeps) with PD targets (num_envs, 10), rad."""
        self._ctrl[:] = joint_targets.numpy()
        self.batch.warning[:] = 0
        with contextlib.suppress(SimulationError):  # batch.status tells which worlds it was
            self.batch.step(nstep=self.decimation)
        broken = (self.batch.warning[:, _BROKEN, 1] > 0).any(axis=1) | (self.batch.status != 0)
        with np.errstate(invalid="ignore"):
            broken |= ~(np.abs(self._qvel).max(axis=1) < MAX_SPEED) | ~np.isfinite(self._qpos).all(axis=1)
        if broken.any():
            self._place_at_default(broken)
        self.state.diverged.copy_(torch.from_numpy(broken))
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
        ids = mask.numpy()
        if not ids.any():
            return
        self.batch.reset(ids, stage=mujoco.mjtStage.mjSTAGE_NONE)
        self._qpos[ids, 0:3] = root_pos.numpy()[ids]
        self._qpos[ids, 3:7] = root_quat.numpy()[ids]
        self._qvel[ids, 0:3] = root_lin_vel.numpy()[ids]
        self._qvel[ids, 3:6] = quat_rotate_inverse(root_quat, root_ang_vel).numpy()[ids]
        worlds = np.flatnonzero(ids)[:, None]
        self._qpos[worlds, self.layout.qpos] = joint_pos.numpy()[ids]
        self._qvel[worlds, self.layout.dofs] = joint_vel.numpy()[ids]
        # The motors hold the pose until the first step, which sets its own targets.
        self._ctrl[ids] = joint_pos.numpy()[ids]
        self.batch.forward(ids)
        self.state.diverged &= ~mask
        self._refresh()

    def set_tiles(self, mask: Tensor, boxes: Tensor) -> None:
        """Give the masked environments the tiles ``boxes`` (num_envs, K, BOX_DIM)."""
        if boxes.shape != (self.num_envs, MAX_BOXES, BOX_DIM):
            raise ValueError(f"boxes have shape {tuple(boxes.shape)}, not {(self.num_envs, MAX_BOXES, BOX_DIM)}")
        ids, geoms = mask.numpy(), self.layout.boxes
        self.boxes[mask] = boxes[mask]
        rows = boxes.numpy()[ids].astype(np.float64)
        half = np.maximum(rows[..., HALF], BOX_FLOOR)
        fields = self._model_fields
        fields["geom_pos"][ids, geoms] = rows[..., CENTER]
        fields["geom_quat"][ids, geoms] = rows[..., QUAT]
        fields["geom_size"][ids, geoms] = half
        fields["geom_aabb"][ids, geoms, 3:] = half
        fields["geom_rbound"][ids, geoms] = np.linalg.norm(half, axis=-1)

    def randomize(self, mask: Tensor, parameters: DomainParameters) -> None:
        """Give the masked environments the physical ``parameters``."""
        ids = mask.numpy()
        if not ids.any():
            return
        for name, tensor in self.parameters.tensors().items():
            tensor[mask] = parameters.tensors()[name][mask]
        new = {name: tensor.numpy()[ids].astype(np.float64) for name, tensor in self.parameters.tensors().items()}
        robot, layout, fields, base = self.robot, self.layout, self._model_fields, self.layout.base_bodies
        worlds = np.flatnonzero(ids)[:, None]
        fields["geom_friction"][worlds, layout.robot_geoms, 0] = new["friction"][:, None]
        fields["body_mass"][ids, base[0]] = self.model.body_mass[base[0]] + new["added_mass"]
        offset = np.einsum("bij,nj->nbi", layout.root_to_base, new["mass_offset"])
        fields["body_ipos"][worlds, base] = self.model.body_ipos[base] + offset
        stiffness = robot.stiffness * new["stiffness"] * new["motor_strength"]
        damping = robot.damping * new["damping"] * new["motor_strength"]
        fields["actuator_gainprm"][ids, :, 0] = stiffness
        fields["actuator_biasprm"][ids, :, 1] = -stiffness
        fields["actuator_biasprm"][ids, :, 2] = -damping
        fields["actuator_forcerange"][ids] = self.model.actuator_forcerange * new["motor_strength"][..., None]
        self.batch.set_const(ids)
        # It marks boxes that happen not to be turned, and MuJoCo would then ignore the quaternions of later tiles.
        fields["geom_sameframe"][ids, layout.boxes] = mujoco.mjtSameFrame.mjSAMEFRAME_NONE.value

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

    def _place_at_default(self, ids: np.ndarray) -> None:
        self.batch.reset(ids, stage=mujoco.mjtStage.mjSTAGE_NONE)
        self._qpos[ids] = self.layout.default_qpos
        self._ctrl[ids] = self.robot.default_joint_pos
        self.batch.forward(ids)

    def _refresh(self) -> None:
        """Copy what the engine computed into the state's tensors."""
        state, layout, n = self.state, self.layout, self.num_envs
        qpos, qvel = torch.from_numpy(self._qpos), torch.from_numpy(self._qvel)
        sensors = torch.from_numpy(self._sensors.astype(np.float32))
        state.root_pos.copy_(qpos[:, 0:3])
        state.root_quat.copy_(qpos[:, 3:7])
        state.root_lin_vel.copy_(qvel[:, 0:3])
        state.root_ang_vel.copy_(quat_rotate(qpos[:, 3:7], qvel[:, 3:6]))
        state.joint_pos.copy_(qpos[:, layout.qpos])
        state.joint_vel.copy_(qvel[:, layout.dofs])
        state.joint_torque.copy_(torch.from_numpy(self._force.astype(np.float32)))
        state.foot_pos.copy_(sensors[:, layout.foot_pos].view(n, -1, 3))
        state.foot_vel.copy_(sensors[:, layout.foot_vel].view(n, -1, 3))
        state.foot_force.copy_(sensors[:, layout.foot_force].view(n, -1, 3))
        state.body_force.copy_(sensors[:, layout.body_force].view(n, -1, 3).norm(dim=-1))

"""Isaac Gym as a ``Simulator``: this side of the process boundary (worker.py is the other)."""

from __future__ import annotations

import math
from typing import NoReturn

import numpy as np
import torch
from torch import Tensor

from legged_gym_ext.config.schema import SimConfig
from legged_gym_ext.device import memory
from legged_gym_ext.device.cpu import available_cores
from legged_gym_ext.device.masked import assign
from legged_gym_ext.errors import EngineFault, UserError
from legged_gym_ext.processes.ranks import here
from legged_gym_ext.robot import NUM_JOINTS, UNLIMITED, Robot
from legged_gym_ext.rotations import quat_rotate
from legged_gym_ext.simulators.base import GRAVITY, DomainParameters, SimulatorState
from legged_gym_ext.simulators.isaacgym.bodies import collapse
from legged_gym_ext.simulators.isaacgym.kinematics import Soles
from legged_gym_ext.simulators.isaacgym.mesh import World, lay_out
from legged_gym_ext.simulators.isaacgym.options import IsaacGymOptions
from legged_gym_ext.simulators.isaacgym.process import Worker, find_python
from legged_gym_ext.simulators.mujoco.model import MAX_SPEED
from legged_gym_ext.terrain.library import TerrainLibrary

ROOT_DIM = 13
"""Numbers of a root in Isaac Gym: position 3, quaternion 4 (x, y, z, w), linear 3 and angular velocity 3."""
_XYZW, _WXYZ = [1, 2, 3, 0], [3, 0, 1, 2]
"""Places of our quaternion's components in Isaac Gym's order, and the other way round."""
_TERRAIN_FRICTION = 0.0
"""PhysX takes the mean of two shapes' coefficients: with 0 here, the robot can have twice what the pair is to have."""
_STRONGEST = 1e6
"""Limit of a torque where the URDF has none, N m."""
_LIMIT_TOLERANCE = 1e-3
"""By how much a joint's limits may differ from the URDF's, rad."""
_PLACE, _JOINTS, _PARAMETERS = range(3)
"""Rows of what is pending: what the next step sets before it."""
_OF_TERRAIN = ("vertices", "triangles")
"""Arrays of the shared memory that do not grow with the robots."""
_FIXED_ON_GPU = ("added_mass", "mass_offset")
"""Parameters that the GPU pipeline cannot change once the robots are created."""
_SPIN, _HIGH = (3.0, 2.0, 1.0), 50.0
"""Angular velocity (rad/s) by which the frame of velocities is found out, and how high above the tile (m)."""


class IsaacGymSimulator:
    """The ``Simulator`` (see base.py) on Isaac Gym, whose process is asked once in a control step.

    ``reset``, ``push``, ``set_tiles`` and ``randomize`` change tensors of this process only, by torch operations that
    can be captured in a graph; what they changed goes over with the next step. So does the scene itself, with the first
    step: some physical parameters can only be set when robots are created.

    On the GPU pipeline mass and centre of mass of the base cannot change later: they stay what they were at the first
    step, and ``parameters`` says so. Friction is rounded to ``1 / friction_buckets``.

    A snapshot has all that this process knows, and the physics goes on from just that, be it after ``snapshot`` or
    after ``restore``. What PhysX remembers of contacts is then lost, so both have the same future, as far as PhysX
    itself repeats: on the CPU.
    """

    def __init__(
        self, robot: Robot, library: TerrainLibrary, config: SimConfig, num_envs: int, device: torch.device
    ) -> None:
        """Start the worker; its scene of ``num_envs`` robots is made with the first step.

        Raises:
            UserError: No interpreter is named, or it cannot run Isaac Gym.
        """
        options: IsaacGymOptions = config.options
        python = find_python(options.python)
        self.robot, self.num_envs, self.device = robot, num_envs, device
        self.decimation = config.decimation
        self._config, self._options = config, options
        self._on_gpu = _on_gpu(options, device)
        self._bodies = collapse(robot)
        world = lay_out(library.boxes)
        shapes = self._shapes(world)
        of_robots = (array for name, array in shapes.items() if name not in _OF_TERRAIN)
        needed = sum(np.dtype(dtype).itemsize * math.prod(shape) for dtype, shape in of_robots)
        memory.require("physics", needed // num_envs, num_envs, torch.device("cpu"))
        self.worker = Worker(python, shapes, options.start_limit, options.step_limit)
        """The other process."""
        self._shared = {name: torch.from_numpy(array) for name, array in self.worker.arrays.items()}
        self.worker.arrays["vertices"][:], self.worker.arrays["triangles"][:] = world.vertices, world.triangles

        def constant(values: np.ndarray | list[float]) -> Tensor:
            return torch.tensor(values, dtype=torch.float32, device=device)

        self.state = SimulatorState.zeros(num_envs, len(robot.no_contact_bodies), device)
        self.tile = torch.zeros(num_envs, dtype=torch.int64, device=device)
        self.parameters = DomainParameters.nominal(num_envs, device)
        self._pending = torch.ones(3, num_envs, dtype=torch.bool, device=device)
        """What the next step sets before it: places, joints, parameters."""
        self._created = False
        self._origins = world.origins.to(device)
        self._default_pos = constant([0.0, 0.0, robot.base_height])
        self._upright = constant([1.0, 0.0, 0.0, 0.0])
        self._default_joint_pos = constant(robot.default_joint_pos)
        self._soles = Soles(robot, device)
        self._xyzw, self._wxyz = (torch.tensor(order, device=device) for order in (_XYZW, _WXYZ))
        self._feet = torch.tensor(self._bodies.feet, device=device)
        self._no_contact = torch.tensor(self._bodies.no_contact, device=device)
        self._com = constant(self._bodies.com).repeat(num_envs, 1)
        """Centre of mass of each base in its frame, (num_envs, 3), m."""
        self._velocity_of_com = False
        self._place_at_default(torch.ones(num_envs, dtype=torch.bool, device=device))
        self._soles.refresh(self.state)

    def step(self, joint_targets: Tensor) -> None:
        """Advance one control step (``decimation`` physics substeps) with PD targets (num_envs, 10), rad.

        Raises:
            EngineFault: The worker has ended, or does not answer.
        """
        if not self._created:
            self._create()
        self._cross(joint_targets)
        self._read_state()
        self._find_diverged()
        self._soles.refresh(self.state)

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
        self._place(mask, root_pos, root_quat, root_lin_vel, root_ang_vel, joint_pos, joint_vel)
        self.state.diverged &= ~mask
        self._soles.refresh(self.state)

    def set_tiles(self, mask: Tensor, tile: Tensor) -> None:
        """Move the masked environments to the tiles in these rows of the library, (num_envs,) int64."""
        assign(mask, self.tile, tile)
        self._pending[_PLACE] |= mask

    def randomize(self, mask: Tensor, parameters: DomainParameters) -> None:
        """Give the masked environments the physical ``parameters``, as far as they can be changed (see the class)."""
        buckets, own = self._options.friction_buckets, self.parameters
        for name, tensor in parameters.tensors().items():
            if name == "friction":
                tensor = (tensor * buckets).round() / buckets
            if self._created and self._on_gpu and name in _FIXED_ON_GPU:
                continue
            assign(mask, own.tensors()[name], tensor)
        self._pending[_PARAMETERS] |= mask

    def push(self, mask: Tensor, velocity: Tensor) -> None:
        """Add ``velocity`` (num_envs, 3), m/s in the world frame, to the masked robots' base."""
        self.state.root_lin_vel.add_(torch.where(mask[:, None], velocity, 0.0))
        self._pending[_PLACE] |= mask

    def snapshot(self) -> dict[str, Tensor]:
        """Return copies of all that decides the future: states, parameters and tiles."""
        self._pending[:_PARAMETERS] = True  # the future begins from what the copies say
        return {name: tensor.clone() for name, tensor in self._kept().items()}

    def restore(self, snapshot: dict[str, Tensor]) -> None:
        """Return to a snapshot; the same calls then give the same values, as far as PhysX repeats (see the class)."""
        every = torch.ones(self.num_envs, dtype=torch.bool, device=self.device)
        for name, tensor in {**self.state.tensors(), "tile": self.tile}.items():
            tensor.copy_(snapshot[name])
        self.randomize(every, DomainParameters(**{name: snapshot[name] for name in self.parameters.tensors()}))
        self._pending[:_PARAMETERS] = True

    def close(self) -> None:
        """End the worker."""
        self.worker.close()

    def _kept(self) -> dict[str, Tensor]:
        return {**self.state.tensors(), **self.parameters.tensors(), "tile": self.tile}

    # ------------------------------------------------------------------ the scene

    def _shapes(self, world: World) -> dict[str, tuple[str, tuple[int, ...]]]:
        """Return data type and shape of what is in the shared memory, by name; joints are in Isaac Gym's order."""
        robots, joints = self.num_envs, self.num_envs * NUM_JOINTS
        return {
            # Written here, with every step:
            "target": ("f4", (joints,)),
            "root": ("f4", (robots, ROOT_DIM)),
            "joint": ("f4", (joints, 2)),
            "place_actors": ("i4", (robots,)),
            "joint_actors": ("i4", (robots,)),
            "changed_rows": ("i4", (robots,)),
            # Where parameters have changed:
            "friction": ("f4", (robots,)),
            "stiffness": ("f4", (robots, NUM_JOINTS)),
            "damping": ("f4", (robots, NUM_JOINTS)),
            "effort": ("f4", (robots, NUM_JOINTS)),
            "mass": ("f4", (robots,)),
            "com": ("f4", (robots, 3)),
            "inertia": ("f4", (robots, 3, 3)),
            # Written there:
            "root_state": ("f4", (robots, ROOT_DIM)),
            "joint_state": ("f4", (joints, 2)),
            "force": ("f4", (robots * len(self._bodies.sensors), 6)),
            "torque": ("f4", (joints,)),
            "actors": ("i4", (robots,)),
            # Once:
            "vertices": ("f4", world.vertices.shape),
            "triangles": ("u4", world.triangles.shape),
        }

    def _create(self) -> None:
        """Make the scene, by what is to be known of it by now."""
        options, bodies = self._options, self._bodies
        loaded = self.worker.ask(
            "load",
            {
                "sim": {
                    "dt": self._config.dt,
                    "decimation": self.decimation,
                    "gravity": -GRAVITY,
                    "gpu": self._on_gpu,
                    "device": self.device.index or 0 if self._on_gpu else 0,
                    "viewer": options.viewer,
                    "physx": {
                        "num_threads": options.threads or available_cores(),
                        "num_position_iterations": options.position_iterations,
                        "num_velocity_iterations": options.velocity_iterations,
                        "contact_offset": options.contact_offset,
                        "rest_offset": options.rest_offset,
                        "bounce_threshold_velocity": options.bounce_threshold,
                        "max_depenetration_velocity": options.max_depenetration_velocity,
                        "default_buffer_size_multiplier": options.buffer_multiplier,
                        "max_gpu_contact_pairs": options.max_gpu_contact_pairs,
                    },
                },
                "asset": {
                    "folder": str(self.robot.urdf.absolute().parent),
                    "file": self.robot.urdf.name,
                    "armature": self.robot.armature,
                    "top_speed": MAX_SPEED,
                },
                "terrain": {"friction": _TERRAIN_FRICTION},
                "sensors": bodies.sensors,
                "filters": bodies.filters,
            },
        )
        self._order_joints(**loaded)
        every = np.arange(self.num_envs)
        self._write_parameters(every)
        self._shared["root"].copy_(self._root())
        self._shared["joint"].copy_(self._joint())
        base = self.worker.ask("create", {"base": bodies.base})
        self._check_base(base["mass"], np.array(base["com"]))
        self._pending[_PARAMETERS] = False
        self._actors = self.worker.arrays["actors"].copy()
        self._created = True
        if self._on_gpu and here().rank == 0:
            print(
                f"isaacgym   GPU pipeline: {' and '.join(_FIXED_ON_GPU)} stay as they are in the first episode",
                flush=True,
            )
        self._find_frame_of_velocity()

    def _order_joints(self, joints: list[str], limited: list[bool], lower: list[float], upper: list[float]) -> None:
        """Find the joints' places in Isaac Gym's order, and check that they are the robot's."""
        robot = self.robot
        if sorted(joints) != sorted(robot.joints):
            self._wrong(f"its joints are {', '.join(joints)}, the robot's {', '.join(robot.joints)}")
        ours = [joints.index(joint) for joint in robot.joints]
        # Where a joint has no limits, what stands there means nothing, and the robot's are those of a full turn.
        limits = np.where(np.array(limited)[:, None], np.array([lower, upper]).T, UNLIMITED)[ours]
        if np.abs(limits - robot.joint_range).max() > _LIMIT_TOLERANCE:
            self._wrong(f"its limits of the joints are {limits.round(3).tolist()}, those of {robot.urdf.name} others")
        self._to_ours = torch.tensor(ours, device=self.device)
        self._to_theirs = torch.tensor([robot.joints.index(name) for name in joints], device=self.device)
        self._host_order = self._to_theirs.cpu().numpy()

    def _check_base(self, mass: float, com: np.ndarray) -> None:
        """Check that Isaac Gym merged the links of the base as ``collapse`` says."""
        bodies = self._bodies
        if abs(mass - bodies.mass) > 1e-3 * bodies.mass or np.abs(com - bodies.com).max() > 1e-3:
            self._wrong(
                f"the base '{bodies.base}' has {mass:.3f} kg with the centre at {com.round(4).tolist()}, by "
                f"{self.robot.urdf.name} it has {bodies.mass:.3f} kg at {bodies.com.round(4).tolist()}"
            )

    def _wrong(self, what: str) -> NoReturn:
        self.close()
        raise EngineFault(f"Isaac Gym has made another robot of the URDF: {what}")

    def _find_frame_of_velocity(self) -> None:
        """Find out whether a root's linear velocity is that of its origin or that of its centre of mass.

        Nothing says it, and PhysX itself has that of the centre. So the first robot is given an angular velocity alone,
        high above its tile, and how its origin moves within a step decides.
        """
        held, pending = {name: tensor.clone() for name, tensor in self.state.tensors().items()}, self._pending.clone()
        every = torch.ones(self.num_envs, dtype=torch.bool, device=self.device)
        self._place_at_default(every)
        self.state.root_pos[:, 2] += _HIGH
        self.state.root_ang_vel[:] = torch.tensor(_SPIN, device=self.device)
        before = self._root()[0].cpu()
        self._cross(self._default_joint_pos.expand(self.num_envs, -1))
        moved = (self._shared["root_state"][0, :3] - before[:3]) / (self._config.dt * self.decimation)
        spin = torch.tensor(_SPIN)
        if_com = -torch.linalg.cross(spin, self._com[0].cpu())
        moved[2] = if_com[2] = 0.0  # the robot falls
        self._velocity_of_com = bool((moved - if_com).norm() < moved.norm())
        for name, tensor in self.state.tensors().items():
            tensor.copy_(held[name])
        self._pending.copy_(pending)
        self._pending[:_PARAMETERS] = True

    # ------------------------------------------------------------------ a step

    def _cross(self, joint_targets: Tensor) -> None:
        """Hand over the targets and what is pending, and wait for the physics."""
        shared, arrays = self._shared, self.worker.arrays
        shared["target"].copy_(joint_targets.index_select(1, self._to_theirs).view(-1))
        places, joints, changed = (np.flatnonzero(row) for row in self._pending.cpu().numpy())
        if changed.size:  # before the roots, whose velocities are those of the centres of mass as they are now
            self._write_parameters(changed)
            arrays["changed_rows"][: changed.size] = changed
        if places.size:
            shared["root"].copy_(self._root())
            arrays["place_actors"][: places.size] = self._actors[places]
        if joints.size:
            shared["joint"].copy_(self._joint())
            arrays["joint_actors"][: joints.size] = self._actors[joints]
        self.worker.step(places.size, joints.size, changed.size)
        self._pending.zero_()

    def _root(self) -> Tensor:
        """Return the roots as Isaac Gym has them, (num_envs, ROOT_DIM)."""
        state = self.state
        position = state.root_pos + self._origins.index_select(0, self.tile)
        velocity = state.root_lin_vel + self._velocity_about_origin()
        return torch.cat([position, state.root_quat.index_select(1, self._xyzw), velocity, state.root_ang_vel], dim=1)

    def _joint(self) -> Tensor:
        """Return the joints as Isaac Gym has them, (num_envs * 10, 2)."""
        values = (values.index_select(1, self._to_theirs) for values in (self.state.joint_pos, self.state.joint_vel))
        return torch.stack(tuple(values), dim=2).view(-1, 2)

    def _read_state(self) -> None:
        """Copy what Isaac Gym computed into the state's tensors."""
        state, robots = self.state, self.num_envs
        root = self._shared["root_state"].to(self.device)
        joint = self._shared["joint_state"].to(self.device).view(robots, NUM_JOINTS, 2)
        torch.sub(root[:, 0:3], self._origins.index_select(0, self.tile), out=state.root_pos)
        state.root_quat.copy_(root[:, 3:7].index_select(1, self._wxyz))
        state.root_ang_vel.copy_(root[:, 10:13])
        torch.sub(root[:, 7:10], self._velocity_about_origin(), out=state.root_lin_vel)
        state.joint_pos.copy_(joint[..., 0].index_select(1, self._to_ours))
        state.joint_vel.copy_(joint[..., 1].index_select(1, self._to_ours))
        torque = self._shared["torque"].to(self.device).view(robots, NUM_JOINTS)
        state.joint_torque.copy_(torque.index_select(1, self._to_ours))
        force = self._shared["force"].to(self.device).view(robots, -1, 6)[..., :3]
        state.foot_force.copy_(force.index_select(1, self._feet))
        state.body_force.copy_(force.index_select(1, self._no_contact).norm(dim=2))

    def _velocity_about_origin(self) -> Tensor:
        """Return by how much the velocity that Isaac Gym has exceeds that of the base's origin, (num_envs, 3), m/s."""
        if not self._velocity_of_com:
            return torch.zeros_like(self.state.root_ang_vel)
        return torch.linalg.cross(self.state.root_ang_vel, quat_rotate(self.state.root_quat, self._com), dim=1)

    def _find_diverged(self) -> None:
        """Find robots whose state is not finite or too fast; with the next step they are put to the default pose."""
        state = self.state
        values = (state.root_pos, state.root_quat, state.joint_pos, state.joint_torque, state.foot_force.flatten(1))
        speeds = torch.cat([state.root_lin_vel, state.root_ang_vel, state.joint_vel], dim=1)
        sound = (speeds.abs() < MAX_SPEED).all(dim=1)  # false for NaN, too
        sound &= torch.cat([*values, state.body_force], dim=1).isfinite().all(dim=1)
        torch.logical_not(sound, out=state.diverged)
        self._place_at_default(state.diverged)

    def _place_at_default(self, mask: Tensor) -> None:
        """Put the masked robots to the default pose, at rest, at the origin of their tiles."""
        still, joints_still = torch.zeros_like(self.state.root_pos), torch.zeros_like(self.state.joint_pos)
        pose = (self._default_pos, self._upright, still, still, self._default_joint_pos, joints_still)
        self._place(mask, *(values.expand(self.num_envs, -1) for values in pose))

    def _place(self, mask: Tensor, *placement: Tensor) -> None:
        """Put the masked robots, on which nothing acts until the next step, to the places that ``reset`` is given."""
        state = self.state
        state.place(mask, *placement)
        for target in (state.joint_torque, state.foot_force, state.body_force):
            assign(mask, target, torch.zeros_like(target))
        self._pending[:_PARAMETERS] |= mask

    # ------------------------------------------------------------------ physical parameters

    def _write_parameters(self, rows: np.ndarray) -> None:
        """Write the physical parameters of these environments into the shared memory, in Isaac Gym's terms."""
        robot, arrays, order = self.robot, self.worker.arrays, self._host_order
        values = {name: t.numpy() for name, t in DomainParameters.of(self.parameters.columns().cpu()).tensors().items()}
        strength = values["motor_strength"][rows]
        limit = np.minimum(robot.torque_limit, _STRONGEST)
        arrays["friction"][rows] = 2 * values["friction"][rows] - _TERRAIN_FRICTION
        arrays["stiffness"][rows] = (robot.stiffness * values["stiffness"][rows] * strength)[:, order]
        arrays["damping"][rows] = (robot.damping * values["damping"][rows] * strength)[:, order]
        arrays["effort"][rows] = (limit * strength)[:, order]
        arrays["mass"][rows] = values["added_mass"][rows]
        arrays["com"][rows], arrays["inertia"][rows] = self._bodies.change(
            values["added_mass"][rows].astype(float), values["mass_offset"][rows].astype(float)
        )
        self._com.copy_(torch.from_numpy(self._bodies.com + arrays["com"]))


def _on_gpu(options: IsaacGymOptions, device: torch.device) -> bool:
    """Return whether PhysX and its tensors are on the GPU."""
    if options.pipeline == "gpu" and device.type != "cuda":
        raise UserError(f"sim.isaacgym.pipeline: expected auto or cpu with sim.device={device}, got 'gpu'")
    return options.pipeline != "cpu" and device.type == "cuda"

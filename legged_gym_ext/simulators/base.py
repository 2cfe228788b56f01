"""The interface that every physics engine stands behind. Positions are in the tile frame, see terrain/boxes.py."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Protocol

import torch
from torch import Tensor

from legged_gym_ext.device.masked import assign
from legged_gym_ext.robot import NUM_FEET, NUM_JOINTS

GRAVITY = 9.81
"""m/s^2, downward, on all engines: MuJoCo's default."""


@dataclass
class SimulatorState:
    """What the engine tells about the robots. Float32 on the simulator's device; refreshed in place by each call.

    Foot and contact values are those that the engine computed in its last physics substep. After a reset they are the
    new pose's, but contact forces may read zero until the next step.
    """

    root_pos: Tensor
    """Position of the base, (num_envs, 3), m."""
    root_quat: Tensor
    """Orientation of the base, (num_envs, 4), (w, x, y, z), base to world."""
    root_lin_vel: Tensor
    """Linear velocity of the base in the world frame, (num_envs, 3), m/s."""
    root_ang_vel: Tensor
    """Angular velocity of the base in the world frame, (num_envs, 3), rad/s."""
    joint_pos: Tensor
    """Joint positions, (num_envs, 10), rad."""
    joint_vel: Tensor
    """Joint velocities, (num_envs, 10), rad/s."""
    joint_torque: Tensor
    """Torques that the motors applied, (num_envs, 10), N m."""
    foot_pos: Tensor
    """Centre of each sole, (num_envs, 2, 3), m."""
    foot_vel: Tensor
    """Linear velocity of that point in the world frame, (num_envs, 2, 3), m/s."""
    foot_force: Tensor
    """Net contact force on each foot in the world frame, (num_envs, 2, 3), N."""
    body_force: Tensor
    """Norm of the contact force on each body that must not touch anything, (num_envs, number of bodies), N."""
    diverged: Tensor
    """Whether the physics of the environment broke down in the last step, (num_envs,), bool. Its state is then the
    default pose, at rest, at the origin, until it is reset."""
    overflow: Tensor
    """Whether contacts of the environment may have been dropped in the last step for want of room (MuJoCo Warp: see
    ``sim.mujoco_warp.nconmax``), (num_envs,), bool."""

    @staticmethod
    def zeros(num_envs: int, num_bodies: int, device: torch.device | str) -> SimulatorState:
        """Allocate the state of ``num_envs`` robots with ``num_bodies`` bodies that must not touch."""

        def new(*shape: int) -> Tensor:
            return torch.zeros(num_envs, *shape, device=device)

        state = SimulatorState(
            root_pos=new(3),
            root_quat=new(4),
            root_lin_vel=new(3),
            root_ang_vel=new(3),
            joint_pos=new(NUM_JOINTS),
            joint_vel=new(NUM_JOINTS),
            joint_torque=new(NUM_JOINTS),
            foot_pos=new(NUM_FEET, 3),
            foot_vel=new(NUM_FEET, 3),
            foot_force=new(NUM_FEET, 3),
            body_force=new(num_bodies),
            diverged=torch.zeros(num_envs, dtype=torch.bool, device=device),
            overflow=torch.zeros(num_envs, dtype=torch.bool, device=device),
        )
        state.root_quat[:, 0] = 1.0
        return state

    def tensors(self) -> dict[str, Tensor]:
        """Return the tensors by name (not copies)."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def place(
        self,
        mask: Tensor,
        root_pos: Tensor,
        root_quat: Tensor,
        root_lin_vel: Tensor,
        root_ang_vel: Tensor,
        joint_pos: Tensor,
        joint_vel: Tensor,
    ) -> None:
        """Write poses and velocities of the masked robots, as :meth:`Simulator.reset` is given them."""
        for target, values in (
            (self.root_pos, root_pos),
            (self.root_quat, root_quat),
            (self.root_lin_vel, root_lin_vel),
            (self.root_ang_vel, root_ang_vel),
            (self.joint_pos, joint_pos),
            (self.joint_vel, joint_vel),
        ):
            assign(mask, target, values)


@dataclass
class DomainParameters:
    """Physical parameters of each environment that domain randomization may change.

    ``of`` makes them views of one tensor, so that all can be drawn, mixed and assigned at once.
    """

    friction: Tensor
    """Coefficient of sliding friction between sole and ground, (num_envs,): that of the pair, which an engine brings
    about whatever its rule for combining the two."""
    added_mass: Tensor
    """Mass added to the base, (num_envs,), kg."""
    mass_offset: Tensor
    """Displacement of the base's centre of mass, (num_envs, 3), m."""
    motor_strength: Tensor
    """Factor on each motor's torque, gains and limit, (num_envs, 10)."""
    stiffness: Tensor
    """Factor on each joint's proportional gain, (num_envs, 10)."""
    damping: Tensor
    """Factor on each joint's derivative gain, (num_envs, 10)."""

    @staticmethod
    def of(columns: Tensor) -> DomainParameters:
        """Return the parameters that ``columns`` (num_envs, sum of ``DOMAIN_WIDTHS``) holds, as views of it."""
        friction, added_mass, mass_offset, *joints = columns.split(list(DOMAIN_WIDTHS.values()), dim=1)
        return DomainParameters(friction[:, 0], added_mass[:, 0], mass_offset, *joints)

    @staticmethod
    def nominal(num_envs: int, device: torch.device | str, friction: float = 1.0) -> DomainParameters:
        """Return parameters that change nothing, on ground of the given ``friction``."""
        values = {"friction": friction, "added_mass": 0.0, "mass_offset": 0.0}
        row = [values.get(name, 1.0) for name, width in DOMAIN_WIDTHS.items() for _ in range(width)]
        return DomainParameters.of(torch.tensor(row, device=device).repeat(num_envs, 1))

    def columns(self) -> Tensor:
        """Return a copy of all of them in one tensor, whose views ``of`` returns."""
        return torch.cat([tensor.view(len(tensor), -1) for tensor in self.tensors().values()], dim=1)

    def tensors(self) -> dict[str, Tensor]:
        """Return the tensors by name (not copies)."""
        return {field.name: getattr(self, field.name) for field in fields(self)}


DOMAIN_WIDTHS = {
    **{"friction": 1, "added_mass": 1, "mass_offset": 3},
    **{"motor_strength": NUM_JOINTS, "stiffness": NUM_JOINTS, "damping": NUM_JOINTS},
}
"""Numbers that each of the ``DomainParameters`` has for an environment, in the order of ``DomainParameters.of``."""


class Simulator(Protocol):
    """Many robots of one kind, each on a tile of its own. ``mask`` (num_envs,) bool names the environments meant.

    An engine is made as ``Engine(robot, library, config, num_envs, device)``, with all tiles that there are. Robots
    then are in the default pose at the origin of the library's first tile.
    """

    num_envs: int
    device: torch.device
    state: SimulatorState
    tile: Tensor
    """Row of the library on which each robot is, (num_envs,), int64. Set by ``set_tiles``."""
    parameters: DomainParameters
    """The physical parameters as they are. Set by ``randomize``."""

    def step(self, joint_targets: Tensor) -> None:
        """Advance one control step (``decimation`` physics substeps) with PD targets (num_envs, 10), rad."""
        ...

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
        ...

    def set_tiles(self, mask: Tensor, tile: Tensor) -> None:
        """Move the masked environments to the tiles in these rows of the library, (num_envs,) int64.

        Robots keep their positions in the tile frame: a reset is to follow.
        """
        ...

    def randomize(self, mask: Tensor, parameters: DomainParameters) -> None:
        """Give the masked environments the physical ``parameters``."""
        ...

    def push(self, mask: Tensor, velocity: Tensor) -> None:
        """Add ``velocity`` (num_envs, 3), m/s in the world frame, to the masked robots' base."""
        ...

    def snapshot(self) -> dict[str, Tensor]:
        """Return copies of all that decides the future: physics state, parameters and tiles included."""
        ...

    def restore(self, snapshot: dict[str, Tensor]) -> None:
        """Return to a snapshot; the same calls then give the same values, bit for bit on the CPU."""
        ...

    def close(self) -> None:
        """End the engine and give back what it holds outside of this process; nothing may be called afterwards."""
        ...

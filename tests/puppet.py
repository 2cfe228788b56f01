"""A robot without physics, which goes wherever its actions say, so that the results of its policies are known."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from tensordict import TensorDict
from torch import Tensor

from legged_gym_ext.config.schema import SimConfig
from legged_gym_ext.robot import Robot
from legged_gym_ext.simulators.base import DomainParameters, SimulatorState
from legged_gym_ext.terrain.library import TerrainLibrary

SPEED, SIDEWAYS, TILT, SINK = range(4)
"""Which action is what: speed along x and y, m/s; whether to lie on the side; how deep to sink, m."""
TORQUE, JOINT_VEL, SLIP = 2.0, 3.0, 0.125
"""Of all joints, N m and rad/s; of both feet, m/s."""


@dataclass
class PuppetOptions:
    pass


class PuppetSimulator:
    """Both feet always touch; nothing falls by itself."""

    def __init__(
        self, robot: Robot, library: TerrainLibrary, config: SimConfig, num_envs: int, device: torch.device
    ) -> None:
        self.robot, self.device = robot, device
        self.step_time = config.dt * config.decimation
        self.state = SimulatorState.zeros(num_envs, len(robot.no_contact_bodies), device)
        self.tile = torch.zeros(num_envs, dtype=torch.int64)
        self.parameters = DomainParameters.nominal(num_envs, device)
        self.default = torch.tensor(robot.default_joint_pos, dtype=torch.float32)

    def step(self, joint_targets: Tensor) -> None:
        state, does = self.state, (joint_targets - self.default) / self.robot.action_scale
        state.root_lin_vel[:, 0], state.root_lin_vel[:, 1] = does[:, SPEED], does[:, SIDEWAYS]
        state.root_pos.add_(state.root_lin_vel * self.step_time)
        state.root_pos[:, 2] = self.robot.base_height - does[:, SINK]
        on_its_side = torch.tensor([0.5**0.5, 0.5**0.5, 0.0, 0.0])
        upright = torch.tensor([1.0, 0.0, 0.0, 0.0])
        state.root_quat.copy_(torch.where(does[:, TILT, None] > 0.5, on_its_side, upright))
        self._follow(moving=True)

    def reset(self, mask: Tensor, root_pos: Tensor, root_quat: Tensor, *rest: Tensor) -> None:
        state = self.state
        for tensor, values in ((state.root_pos, root_pos), (state.root_quat, root_quat)):
            tensor.copy_(torch.where(mask[:, None], values, tensor))
        state.root_lin_vel.masked_fill_(mask[:, None], 0.0)
        self._follow(moving=False)

    def _follow(self, moving: bool) -> None:
        state = self.state
        state.foot_pos.copy_(state.root_pos[:, None])
        state.foot_pos[..., 2] = 0.0
        state.foot_vel.zero_()
        state.foot_vel[..., 1] = SLIP * moving
        state.foot_force.zero_()
        state.foot_force[..., 2] = 200.0
        state.joint_torque.fill_(TORQUE * moving)
        state.joint_vel.fill_(-JOINT_VEL * moving)

    def set_tiles(self, mask: Tensor, tile: Tensor) -> None:
        self.tile.copy_(torch.where(mask, tile, self.tile))

    def randomize(self, mask: Tensor, parameters: DomainParameters) -> None:
        for name, tensor in self.parameters.tensors().items():
            new = parameters.tensors()[name]
            tensor.copy_(torch.where(mask.view(-1, *[1] * (tensor.dim() - 1)), new, tensor))

    def push(self, mask: Tensor, velocity: Tensor) -> None:
        pass

    def snapshot(self) -> dict[str, Tensor]:
        raise NotImplementedError

    def restore(self, snapshot: dict[str, Tensor]) -> None:
        raise NotImplementedError

    def close(self) -> None:
        pass


class Puppeteer:
    """A policy: a function from what it sees of the terrain, and of proprioception, to actions (num_envs, 10)."""

    terrain_group = "depth"

    def __init__(self, act) -> None:
        self.act = act
        self.resets: list[Tensor | None] = []

    def reset(self, dones: Tensor | None = None) -> None:
        self.resets.append(dones)

    def __call__(self, observations: TensorDict) -> Tensor:
        return self.act(observations[self.terrain_group], observations["proprio"])


def actions(num_envs: int, **values: float | Tensor) -> Tensor:
    """Return actions of which those named, in lower case, are not zero."""
    result = torch.zeros(num_envs, 10)
    for name, value in values.items():
        result[:, {"speed": SPEED, "sideways": SIDEWAYS, "tilt": TILT, "sink": SINK}[name]] = value
    return result

"""A parkour environment in a random state that is written by hand, and what follows from the state, in float64."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy import ndarray

from legged_gym_ext.config.schema import Config
from legged_gym_ext.envs import rewards
from legged_gym_ext.envs.parkour_env import ParkourEnv
from legged_gym_ext.runs.settle import settle
from legged_gym_ext.terrain.boxes import ABSENT

CPU = torch.device("cpu")


def plain_config() -> Config:
    """Return a configuration without camera and noise whose numbers differ from the defaults."""
    config = settle(Config())
    config.terrain.variants, config.terrain.levels = 2, 3
    config.camera.enabled = config.observations.noise.enabled = False
    config.randomization.full_at_level = 0
    config.robot.soft_limit = 0.7
    config.commands.heading_gain, config.commands.max_yaw_rate = 1.3, 0.7
    reward = config.rewards
    reward.weights = dict.fromkeys(rewards.TERMS, 1.0)
    reward.tracking_sigma, reward.yaw_sigma = 0.37, 1.7
    reward.air_time_target, reward.marching_share = 0.45, 0.2
    reward.swing_height, reward.gait_period, reward.stance_share = 0.15, 0.8713, 0.61
    reward.edge_distance, reward.edge_height = 0.07, 0.1
    return config


@dataclass
class Truth:
    """What the environments' states are and what follows from them: arrays (num_envs, ...), float64 or bool."""

    sim: dict[str, ndarray]
    """The simulator's tensors."""
    state: dict[str, ndarray]
    """The environment's own."""
    lin_vel: ndarray
    """Linear velocity in the base frame."""
    ang_vel: ndarray
    """Angular velocity in the base frame."""
    gravity: ndarray
    """Unit vector down, in the base frame."""
    goal_direction: ndarray
    """Horizontal unit vector to the next waypoint."""
    heading_error: ndarray
    """Angle from the base's heading to that."""
    ground: ndarray
    """Height of the terrain under base, left and right foot, (num_envs, 3)."""
    near_edge: ndarray
    """Whether each foot is near to the terrain's edge, (num_envs, 2)."""
    gait_phase: ndarray
    """Of each leg, (num_envs, 2)."""
    yaw: ndarray
    """Heading of the base, (num_envs,), rad."""
    level: ndarray
    """Height of the ground before the edge, (num_envs,), m."""
    edge: ndarray
    """From which x on the ground is higher, (num_envs,), m."""
    rise: ndarray
    """... by how much, (num_envs,), m."""

    def ground_at(self, i: int, x: float) -> float:
        """Return the height of the ground of environment ``i`` at ``x``, m."""
        return self.level[i] + self.rise[i] * (x > self.edge[i])

    @property
    def clearance(self) -> ndarray:
        """Of each sole over the terrain under it, (num_envs, 2)."""
        return self.sim["foot_pos"][..., 2] - self.ground[:, 1:]


def overwrite(env: ParkourEnv, seed: int = 0) -> Truth:
    """Give every robot a random state on a tile with one edge across the course; return what follows from it."""
    n, sim, state, config = env.num_envs, env.sim_state, env.state, env.config
    random = np.random.default_rng(seed)

    # Level ground, and from ``edge`` on, ground that is higher by ``rise``.
    edge, ground, rise = random.uniform(4, 8, n), random.uniform(-0.2, 0.2, n), random.uniform(0.02, 0.3, n)
    boxes = np.tile(ABSENT, (n, env.boxes.shape[1], 1))
    for i in range(n):
        boxes[i, 0] = [5.0, 0.0, ground[i] - 0.5, 1, 0, 0, 0, 20.0, 20.0, 0.5]
        boxes[i, 1] = [edge[i] + 10.0, 0.0, ground[i] + rise[i] / 2, 1, 0, 0, 0, 10.0, 20.0, rise[i] / 2]
    env.boxes.copy_(torch.as_tensor(boxes))

    def put(tensor: torch.Tensor, values: ndarray) -> None:
        assert tensor.shape == values.shape
        tensor.copy_(torch.as_tensor(values))

    def put_rows(low: float, high: float, *tensors: torch.Tensor) -> None:
        for tensor in tensors:
            put(tensor, random.uniform(low, high, tensor.shape))

    put(sim.root_pos, random.uniform([2, -1.5, 0.5], [10, 1.5, 1.5], (n, 3)))
    yaw, tilt = random.uniform(-math.pi, math.pi, n), random.uniform(-0.6, 0.6, (n, 2))
    quat = np.stack([np.cos(yaw / 2), 0 * yaw, 0 * yaw, np.sin(yaw / 2)], axis=1) + 0.5 * np.pad(tilt, ((0, 0), (1, 1)))
    put(sim.root_quat, quat / np.linalg.norm(quat, axis=1, keepdims=True))
    put_rows(-1.2, 1.2, sim.root_lin_vel, sim.root_ang_vel, sim.foot_vel)
    put(
        sim.joint_pos,
        env.robot.joint_range.mean(axis=1) + random.uniform(-0.6, 0.6, (n, 10)) * np.ptp(env.robot.joint_range, axis=1),
    )
    put_rows(-8.0, 8.0, sim.joint_vel, state.last_joint_vel)
    put_rows(-60.0, 60.0, sim.joint_torque)
    feet_x = edge[:, None] + random.uniform(-0.15, 0.15, (n, 2))
    below = ground[:, None] + rise[:, None] * (feet_x > edge[:, None])
    feet_z = below + random.uniform(-0.02, 0.25, (n, 2))
    put(sim.foot_pos, np.stack([feet_x, random.uniform(-1, 1, (n, 2)), feet_z], axis=2))
    put(sim.foot_force, random.uniform([-200, -200, 0], [200, 200, 150], (n, 2, 3)))
    put_rows(-1.0, 3.0, sim.body_force)
    sim.body_force.clamp_(min=0.0)

    put(state.episode_length, random.integers(0, 1000, n))
    put(state.waypoint, random.integers(0, config.terrain.waypoints + 1, n))
    put_rows(0.05, 1.0, state.forward_speed)
    put_rows(-2.0, 2.0, state.actions)
    put(state.action_latency, random.integers(0, 2, n))
    contact = random.random((n, 2)) < 0.5
    put(state.contact, contact)
    put(state.contact_time, contact * random.uniform(0.02, 1.5, (n, 2)))
    put(state.air_time, ~contact * random.uniform(0.02, 1.5, (n, 2)))
    put(env.derived.terminated, random.random(n) < 0.5)
    for name, tensor in env.simulator.parameters.tensors().items():
        put(
            tensor,
            random.uniform(-1.0, 1.0, tensor.shape) if "mass" in name else random.uniform(0.5, 1.5, tensor.shape),
        )
    env._derive()
    return _truth(env, edge, ground, rise)


def _truth(env: ParkourEnv, edge: ndarray, ground: ndarray, rise: ndarray) -> Truth:
    n, config = env.num_envs, env.config
    sim = {name: _double(tensor) for name, tensor in env.sim_state.tensors().items()}
    names = "episode_length waypoint forward_speed actions action_latency contact contact_time air_time last_joint_vel"
    state = {name: _double(getattr(env.state, name)) for name in names.split()}
    lin_vel, ang_vel, gravity = np.zeros((3, n, 3))
    direction, error, yaw = np.zeros((n, 2)), np.zeros(n), np.zeros(n)
    for i in range(n):
        w, x, y, z = sim["root_quat"][i]
        rotation = np.array(
            [
                [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
                [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
                [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
            ]
        )
        lin_vel[i], ang_vel[i] = rotation.T @ sim["root_lin_vel"][i], rotation.T @ sim["root_ang_vel"][i]
        gravity[i] = rotation.T @ [0.0, 0.0, -1.0]
        next_waypoint = min(int(state["waypoint"][i]), config.terrain.waypoints - 1)
        waypoint = _double(env.library.waypoints[env.simulator.tile[i], next_waypoint])
        offset = waypoint[:2] - sim["root_pos"][i, :2]
        direction[i] = offset / np.linalg.norm(offset)
        forward = rotation @ [1.0, 0.0, 0.0]
        yaw[i] = math.atan2(forward[1], forward[0])
        angle = math.atan2(offset[1], offset[0]) - yaw[i]
        error[i] = (angle + math.pi) % (2 * math.pi) - math.pi
    x = np.concatenate([sim["root_pos"][:, :1], sim["foot_pos"][..., 0]], axis=1)
    reward = config.rewards
    near = np.abs(sim["foot_pos"][..., 0] - edge[:, None]) < reward.edge_distance
    dt = config.sim.dt * config.sim.decimation
    left = state["episode_length"] * dt / reward.gait_period
    return Truth(
        sim=sim,
        state=state,
        lin_vel=lin_vel,
        ang_vel=ang_vel,
        gravity=gravity,
        goal_direction=direction,
        heading_error=error,
        ground=ground[:, None] + rise[:, None] * (x > edge[:, None]),
        near_edge=near & (rise >= reward.edge_height)[:, None],
        gait_phase=np.stack([left % 1.0, (left + 0.5) % 1.0], axis=1),
        yaw=yaw,
        level=ground,
        edge=edge,
        rise=rise,
    )


def _double(tensor: torch.Tensor) -> ndarray:
    array = tensor.numpy().copy()
    return array if array.dtype == bool else array.astype(np.float64)

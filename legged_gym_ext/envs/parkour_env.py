"""The parkour task as a vectorized environment: biped, tiles of boxes, depth camera, velocity commands to waypoints."""

from __future__ import annotations

import math
from typing import Any

import torch
from rsl_rl.env import VecEnv
from tensordict import TensorDict
from torch import Tensor

from legged_gym_ext.config import Config
from legged_gym_ext.envs import observations, randomization, rewards, terminations
from legged_gym_ext.envs.state import EnvState, copy_tensors, put_tensors
from legged_gym_ext.robot import NUM_JOINTS, load_robot
from legged_gym_ext.rotations import quat_from_euler, quat_rotate_inverse, wrap_to_pi, yaw_of
from legged_gym_ext.sensors.depth_camera import DepthCamera
from legged_gym_ext.sensors.height_scan import HeightScan, ground_height
from legged_gym_ext.sensors.legs import Legs
from legged_gym_ext.simulators import make_simulator
from legged_gym_ext.terrain.curriculum import choose, first_level, next_level
from legged_gym_ext.terrain.library import build_library

_CONTACT_FORCE = 1.0  # N: a foot that feels more touches (legged_gym)
_PIT_DEPTH = 0.5  # m below a course's lowest waypoint: the ground's height where there is none
_SPAWN_CLEARANCE = 0.01  # m between the lower sole and the start platform
_PLATFORM = 0.3  # m beside the start line within which robots are placed


class ParkourEnv(VecEnv):
    """``num_envs`` robots, each on a tile of its own.

    Observation groups: ``proprio`` (43), ``depth`` (4096) and ``new_frame`` (1, whether depth is a new camera frame)
    where the camera is on, ``scan`` where the height scan is on, ``privileged``, and each of ``observations.others``.
    """

    def __init__(self, config: Config, num_envs: int, device: torch.device) -> None:
        """Build the terrain, the simulator and the sensors, and reset every environment.

        Raises:
            UserError: The configuration names what does not exist, or the robot does not fit it.
        """
        self.config, self.cfg = config, config
        self.num_envs, self.num_actions = num_envs, NUM_JOINTS
        self.device = device
        self.reward_weights = rewards.active_terms(config.rewards.weights)
        observations.check_others(config.observations.others)

        self.robot = load_robot(config.robot)
        self.simulator = make_simulator(config.sim, self.robot, num_envs, device)
        self.sim_state = self.simulator.state
        self.library = build_library(config.terrain, device)
        self.camera = DepthCamera(config.camera, num_envs, device)
        self.legs = Legs(self.robot, device) if config.camera.see_robot else None
        self.height_scan = HeightScan(config.height_scan, self.robot.base_height, device)
        self.dt = config.sim.dt * config.sim.decimation
        self.max_episode_length = math.ceil(config.env.episode_length_s / self.dt)

        def constant(values: Any) -> Tensor:
            return torch.as_tensor(values, dtype=torch.float32, device=device)

        self.default_joint_pos = constant(self.robot.default_joint_pos)
        self.soft_range = constant(self.robot.soft_range.T.copy())
        self.hip_columns = constant(self.robot.hips)
        self.command_scale = constant(observations.COMMAND_SCALE)
        self.noise = observations.noise_amplitudes(config.observations.noise).to(device)
        reach = config.rewards.edge_distance
        self._probes = constant([[0, 0], [reach, 0], [-reach, 0], [0, reach], [0, -reach]])
        self._down = constant([0.0, 0.0, -1.0]).expand(num_envs, 3)
        self._tile_floor = self.library.waypoints[..., 2].amin(dim=1) - _PIT_DEPTH
        self._push_interval = round(config.randomization.push_interval / self.dt)
        self._push_offset = torch.arange(num_envs, device=device) * 7919 % max(self._push_interval, 1)

        self.generator = torch.Generator(device)
        self.generator.manual_seed(config.seed)
        self.domain = randomization.DomainParameters.nominal(num_envs, device)
        self.boxes = self.library.boxes[torch.zeros(num_envs, dtype=torch.int64, device=device)]
        self.state = EnvState.zeros(
            num_envs,
            max(config.randomization.action_latency),
            self.camera.initial_state(),
            device,
        )
        self.terminated = torch.zeros(num_envs, dtype=torch.bool, device=device)
        self.reset()

    # ------------------------------------------------------------------ the interface of rsl_rl

    @property
    def episode_length_buf(self) -> Tensor:
        """Control steps since the last reset, (num_envs,)."""
        return self.state.episode_length

    @episode_length_buf.setter
    def episode_length_buf(self, value: Tensor) -> None:
        self.state.episode_length.copy_(value)

    def get_observations(self) -> TensorDict:
        """Return the observations of the last step or reset."""
        return self._observations

    def step(self, actions: Tensor) -> tuple[TensorDict, Tensor, Tensor, dict[str, Any]]:
        """Act (num_envs, 10) for one control step; see ``rsl_rl.env.VecEnv.step``.

        ``extras`` further has ``terrain_level``, and, of episodes that end with this step, ``success`` (bool) and
        ``progress`` (m). Its ``log`` has means over the environments: reward terms per second, speeds, diverged worlds.
        """
        self.simulator.step(self._joint_targets(actions))
        self._push()
        self._advance()
        self.terminated, truncated = terminations.check(self)
        reward = self._reward()
        done = self.terminated | truncated
        extras = self._extras(truncated)
        self._reset(done)
        self._observe(done)
        return self._observations, reward, done.long(), extras

    def reset(self) -> TensorDict:
        """Start fresh episodes everywhere, at the curriculum's starting levels."""
        config = self.config
        level = first_level(self._uniform(0, 1), config.terrain.levels, config.curriculum)
        return self.place(self.library.assign_kinds(self.num_envs), level)

    def place(self, kind: Tensor, level: Tensor) -> TensorDict:
        """Start fresh episodes everywhere, on tiles of the given kinds and levels, both (num_envs,) long.

        Kinds are numbered as in the library. The curriculum changes the levels from there, where it is enabled.
        """
        every = torch.ones(self.num_envs, dtype=torch.bool, device=self.device)
        self.state.terrain_kind.copy_(kind)
        self.state.terrain_level.copy_(level)
        self._reset(every, change_level=False)
        self._observe(every)
        return self._observations

    # ------------------------------------------------------------------ lanes and checkpoints

    def snapshot(self) -> dict[str, Any]:
        """Return copies of everything that decides the environment's future."""
        depth_is_in_state = {"depth", "new_frame"}
        kept = {name: t.clone() for name, t in self._observations.items() if name not in depth_is_in_state}
        return {
            "environment": copy_tensors(self.state),
            "simulator": self.simulator.snapshot(),
            "domain": {name: tensor.clone() for name, tensor in self.domain.tensors().items()},
            "observations": kept,
            "generator": self.generator.get_state(),
        }

    def restore(self, snapshot: dict[str, Any]) -> None:
        """Return to a snapshot: the same actions then give the same future, bit for bit on the CPU."""
        put_tensors(self.state, snapshot["environment"])
        self.simulator.restore(snapshot["simulator"])
        for name, tensor in self.domain.tensors().items():
            tensor.copy_(snapshot["domain"][name])
        self.generator.set_state(snapshot["generator"])
        self.boxes = self.library.boxes[self.state.tile]
        self._derive()
        kept = {name: tensor.clone() for name, tensor in snapshot["observations"].items()}
        self._observations = self._pack({**kept, **self._depth_groups()})

    # ------------------------------------------------------------------ one step, piece by piece

    def _joint_targets(self, actions: Tensor) -> Tensor:
        """Remember the actions and return the PD targets (num_envs, 10) of those that take effect now."""
        limit, history = self.config.observations.clip_actions, self.state.actions
        history.copy_(torch.cat([actions.clamp(-limit, limit)[None], history[:-1]]))
        latency = self.state.action_latency[None, :, None].expand(1, -1, NUM_JOINTS)
        acting = history.gather(0, latency)[0]
        return self.default_joint_pos + self.robot.action_scale * acting

    def _push(self) -> None:
        """Shove each robot once in a while."""
        config = self.config.randomization
        if config.enabled and self._push_interval > 0:
            due = (self.state.episode_length + self._push_offset) % self._push_interval == self._push_interval - 1
            share = randomization.strength(config, self.state.terrain_level)
            self.simulator.push(due, randomization.draw_push(config, share, self.generator))

    def _advance(self) -> None:
        """Count the step; follow the feet, the waypoints and the commands."""
        state, position = self.state, self.sim_state.root_pos
        state.episode_length += 1
        state.contact.copy_(self.sim_state.foot_force.norm(dim=-1) > _CONTACT_FORCE)
        state.contact_time.add_(self.dt).mul_(state.contact)
        state.air_time.add_(self.dt).mul_(~state.contact)
        torch.maximum(state.progress, position[:, 0].clamp(max=self.config.terrain.length), out=state.progress)

        offset = self._goal() - position[:, :2]
        reached = (offset.norm(dim=1) < self.config.commands.waypoint_radius) | (offset[:, 0] < 0)
        state.waypoint.add_(reached).clamp_(max=self.config.terrain.waypoints)
        self._derive()

    def _reward(self) -> Tensor:
        """Return the weighted sum of the reward terms, (num_envs,)."""
        terms = torch.stack([rewards.TERMS[name](self) * w * self.dt for name, w in self.reward_weights.items()], dim=1)
        self._mean_terms = terms.mean(dim=0) / self.dt
        self.state.last_joint_vel.copy_(self.sim_state.joint_vel)
        total = terms.sum(dim=1)
        return total.clamp(min=0) if self.config.rewards.only_positive else total

    def _extras(self, truncated: Tensor) -> dict[str, Any]:
        """Return what the learner and the log want to know of the episodes that end now."""
        state = self.state
        return {
            "time_outs": truncated.float(),
            "success": truncated & terminations.course_finished(self),
            "progress": state.progress.clone(),
            "terrain_level": state.terrain_level.clone(),
            "log": {
                **{f"Reward/{name}": mean for name, mean in zip(self.reward_weights, self._mean_terms, strict=True)},
                "Speed/commanded": state.forward_speed.mean(),
                "Speed/toward_waypoint": (self.sim_state.root_lin_vel[:, :2] * self.goal_direction).sum(dim=1).mean(),
                "Health/diverged": self.sim_state.diverged.float().sum(),
            },
        }

    def _reset(self, mask: Tensor, change_level: bool = True) -> None:
        """Start new episodes where ``mask``: level, tile, physical parameters, pose."""
        if self._surely_none(mask):
            return
        config, state, n = self.config, self.state, self.num_envs
        random_level, random_variant = self._uniform(0, 1), self._uniform(0, 1)
        if change_level:
            commanded = state.forward_speed * config.env.episode_length_s
            state.terrain_level.copy_(
                next_level(
                    state.terrain_level,
                    mask,
                    state.progress,
                    commanded,
                    random_level,
                    config.terrain.levels,
                    config.terrain.length,
                    config.curriculum,
                )
            )
        variant = choose(random_variant, config.terrain.variants)
        _assign(mask, state.tile, self.library.tile_index(state.terrain_kind, state.terrain_level, variant))
        self.boxes = self.library.boxes[state.tile]
        self.simulator.set_tiles(mask, self.boxes)

        random = config.randomization
        share = randomization.strength(random, state.terrain_level)
        domain = randomization.draw_parameters(random, share, self.generator)
        for name, tensor in self.domain.tensors().items():
            _assign(mask, tensor, domain.tensors()[name])
        self.simulator.randomize(mask, domain)
        _assign(mask, state.action_latency, randomization.draw_latency(random, share, self.generator))
        _assign(mask, state.forward_speed, randomization.uniform(config.commands.forward_speed, (n,), self.generator))

        position = torch.zeros(n, 3, device=self.device)
        position[:, 0] = self._uniform(-_PLATFORM, _PLATFORM)
        position[:, 1] = self._uniform(-_PLATFORM, _PLATFORM)
        position[:, 2] = self.robot.base_height + _SPAWN_CLEARANCE
        zero, still = torch.zeros(n, device=self.device), torch.zeros(n, 3, device=self.device)
        yaw = self._uniform(-random.initial_yaw, random.initial_yaw)
        spread = [-random.initial_joint_pos, random.initial_joint_pos]
        joints = self.default_joint_pos + randomization.uniform(spread, (n, NUM_JOINTS), self.generator)
        self.simulator.reset(
            mask, position, quat_from_euler(zero, zero, yaw), still, still, joints, torch.zeros_like(joints)
        )

        for tensor in (
            *(state.episode_length, state.waypoint, state.progress),
            *(state.last_joint_vel, state.contact, state.contact_time, state.air_time),
        ):
            _assign(mask, tensor, torch.zeros((), dtype=tensor.dtype, device=self.device))
        state.actions.masked_fill_(mask[None, :, None], 0.0)
        self.camera.reset(state.camera, mask, self.generator)

    def _observe(self, was_reset: Tensor) -> None:
        """Take a camera frame where one is due and pack the observation groups."""
        if not self._surely_none(was_reset):
            self._derive()
        state, config = self.state, self.config.observations
        if self.config.camera.enabled:
            sim = self.sim_state
            self.camera.update(
                state.camera,
                self.camera.due(state.episode_length),
                was_reset,
                sim.root_pos,
                sim.root_quat,
                self.boxes,
                self.generator,
                self.legs.capsules(sim.root_pos, sim.root_quat, sim.joint_pos) if self.legs else None,
            )
        proprio = observations.proprioception(self)
        shape = proprio.shape
        noise = self.noise * (2 * torch.rand(shape, generator=self.generator, device=self.device) - 1)
        groups = {"proprio": proprio + noise, **self._depth_groups()}
        for name in config.others:
            groups[name] = observations.OTHERS[name](self)
        if self.config.env.scandots:
            groups["scan"] = self.height_scan.scan(self.boxes, self.sim_state.root_pos, self.sim_state.root_quat)
        groups["privileged"] = observations.privileged(self)
        self._observations = self._pack(groups)

    def _depth_groups(self) -> dict[str, Tensor]:
        """Return the camera's groups; copies, since the camera goes on writing into its image."""
        if not self.config.camera.enabled:
            return {}
        new = self.camera.due(self.state.episode_length)
        return {"depth": self.state.camera.image.clone(), "new_frame": new[:, None].float()}

    def _pack(self, groups: dict[str, Tensor]) -> TensorDict:
        limit = self.config.observations.clip
        clipped = {name: g if name == "depth" else g.clamp(-limit, limit) for name, g in groups.items()}
        return TensorDict(clipped, batch_size=[self.num_envs], device=self.device)

    def _derive(self) -> None:
        """Compute what commands, terminations, rewards and observations share from the simulator's state."""
        sim, state, rewards_config = self.sim_state, self.state, self.config.rewards
        quat = sim.root_quat
        self.base_lin_vel = quat_rotate_inverse(quat, sim.root_lin_vel)
        self.base_ang_vel = quat_rotate_inverse(quat, sim.root_ang_vel)
        self.projected_gravity = quat_rotate_inverse(quat, self._down)

        # One look at the ground: under the base, and under and about each sole.
        n, probes = self.num_envs, len(self._probes)
        around = (sim.foot_pos[:, :, None, :2] + self._probes).flatten(1, 2)
        points = torch.cat([sim.root_pos[:, None, :2], around], dim=1)
        floor = self._tile_floor[state.tile]
        heights = torch.maximum(ground_height(self.boxes, points), floor[:, None])
        under_feet = heights[:, 1:].view(n, -1, probes)
        self.foot_clearance = sim.foot_pos[..., 2] - under_feet[..., 0]
        edges = (under_feet[..., 1:] - under_feet[..., :1]).abs() > rewards_config.edge_height
        self.foot_near_edge = edges.any(dim=-1)
        # Over the lowest of what is under base and feet: a foot on the next step does not make the base low.
        ground = torch.minimum(heights[:, 0], under_feet[..., 0].amin(dim=1))
        self.base_height = sim.root_pos[:, 2] - ground

        offset = self._goal() - sim.root_pos[:, :2]
        self.goal_direction = offset / offset.norm(dim=1, keepdim=True).clamp(min=1e-3)
        error = wrap_to_pi(torch.atan2(offset[:, 1], offset[:, 0]) - yaw_of(quat))
        commands = self.config.commands
        state.commands[:, 0] = state.forward_speed
        state.commands[:, 2] = (commands.heading_gain * error).clamp(-commands.max_yaw_rate, commands.max_yaw_rate)
        state.commands[:, 3] = error

        time = state.episode_length * (self.dt / rewards_config.gait_period)
        self.gait_phase = torch.stack([time, time + 0.5], dim=1) % 1.0

    def _goal(self) -> Tensor:
        """Return the next waypoint's place (num_envs, 2); the last one's once all are reached."""
        last = self.config.terrain.waypoints - 1
        index = self.state.waypoint.clamp(max=last)[:, None, None].expand(-1, 1, 2)
        return self.library.waypoints[self.state.tile][..., :2].gather(1, index)[:, 0]

    def _surely_none(self, mask: Tensor) -> bool:
        """Return whether no environment is in the mask; never on a GPU, which would have to be waited for."""
        return self.generator.device.type == "cpu" and not bool(mask.any())

    def _uniform(self, low: float, high: float) -> Tensor:
        return randomization.uniform([low, high], (self.num_envs,), self.generator)


def _assign(mask: Tensor, target: Tensor, values: Tensor) -> None:
    """Write ``values`` into the masked rows of ``target``, in place."""
    rows = mask.view(-1, *[1] * (target.dim() - 1))
    target.copy_(torch.where(rows, values, target))

"""The parkour task as a vectorized environment: biped, tiles of boxes, depth camera, velocity commands to waypoints."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from tensordict import TensorDict
from torch import Tensor

from legged_gym_ext.config.schema import Config
from legged_gym_ext.device.cpu import one_thread
from legged_gym_ext.device.cuda_graph import GraphedCall
from legged_gym_ext.envs import observations, randomization, rewards, terminations
from legged_gym_ext.envs.base import Environment
from legged_gym_ext.envs.commands import count_waypoints, forward_speed
from legged_gym_ext.envs.derived import Derived, Deriver
from legged_gym_ext.envs.footholds import Soles
from legged_gym_ext.envs.outcome import Outcome
from legged_gym_ext.envs.state import CONTACT_FORCE, EnvState, copy_tensors, put_tensors
from legged_gym_ext.groups import DEPTH, NEW_FRAME, PROPRIO, SCAN
from legged_gym_ext.processes.ranks import here
from legged_gym_ext.robot import NUM_JOINTS, load_robot
from legged_gym_ext.rotations import quat_from_yaw
from legged_gym_ext.sensors.depth_camera import CameraState, DepthCamera
from legged_gym_ext.sensors.height_scan import HeightScan
from legged_gym_ext.sensors.legs import Legs
from legged_gym_ext.simulators import make_simulator
from legged_gym_ext.simulators.base import DomainParameters
from legged_gym_ext.terrain.curriculum import by_kind, choose, first_level, next_level, reassign
from legged_gym_ext.terrain.library import build_library

if TYPE_CHECKING:
    from legged_gym_ext.evaluation.measures import Meter

_PIT_DEPTH = 0.5  # m below a course's lowest waypoint: the ground's height where there is none
_SPAWN_CLEARANCE = 0.01  # m between the lower sole and the start platform
_PLATFORM = 0.3  # m beside the start line within which robots are placed
_ADVANCE = 0.1  # m of progress that show that a robot is not stuck


class ParkourEnv(Environment):
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
        self.reward_weights = rewards.Weights(config.rewards, device)
        self.term_groups = observations.term_groups(config.observations.others, device)

        self.robot = load_robot(config.robot)
        self.library = build_library(config.terrain, device)
        self.terrain_kinds, self.terrain_levels = self.library.kinds, self.library.levels
        self.simulator = make_simulator(config.sim, self.robot, self.library, num_envs, device)
        self.sim_state = self.simulator.state
        self.camera = DepthCamera(config.camera, num_envs, device, config.randomization.camera_latency[1])
        self.legs = Legs(self.robot, device) if config.camera.see_robot else None
        self.height_scan = HeightScan(config.height_scan, self.robot.base_height, device)
        self.dt = config.sim.dt * config.sim.decimation
        self.max_episode_length = math.ceil(config.env.episode_length_s / self.dt)

        def constant(values: Any) -> Tensor:
            return torch.as_tensor(values, dtype=torch.float32, device=device)

        self.default_joint_pos = constant(self.robot.default_joint_pos)
        self.soft_range = constant(self.robot.soft_range.T.copy())
        self.hip_columns = constant(self.robot.hips)
        self.soles = Soles(self.robot, device)
        self._deriver = Deriver(num_envs, config.rewards.edge_distance, device)
        self._kind_shares = constant(self.library.proportions)
        self._tile_lowest = self.library.waypoints[..., 2].amin(dim=1)
        self._push_interval = round(config.randomization.push_interval / self.dt)
        self._push_offset = torch.arange(num_envs, device=device) * 7919 % max(self._push_interval, 1)
        self._zero_pose = torch.zeros(num_envs, 3 + NUM_JOINTS, device=device)

        self.generator = torch.Generator(device)
        self.generator.manual_seed(config.seed)
        height = self.robot.base_height + _SPAWN_CLEARANCE
        joints = self.robot.default_joint_pos.tolist()
        episode = randomization.episode_ranges(config, joints, height, _PLATFORM)
        step = randomization.step_ranges(config, observations.noise_amplitudes(config.observations.noise))
        self._episode_draw = randomization.UniformColumns(episode, device)
        self._step_draw = randomization.UniformColumns(step, device)

        self._nominal_domain = randomization.nominal_columns(device)

        # What belongs to the tiles on which the robots are. Follows from them; written in place, like the state.
        self.boxes = self.library.boxes[self.simulator.tile]
        self.waypoints = self.library.waypoints[self.simulator.tile]
        self.lowest_waypoint = self._tile_lowest[self.simulator.tile]
        self.floor = self.lowest_waypoint - _PIT_DEPTH
        history = max(config.randomization.action_latency) + 2
        self.state = EnvState.zeros(num_envs, history, self.camera.initial_state(), device)
        self.derived: Derived
        self.meter: Meter | None = None
        """Measures the episodes, where somebody wants to know; to be set before the first step."""
        self.onlooker: Callable[[Tensor, dict[str, Any]], None] | None = None
        """Called after each step with its actions and extras, where somebody watches; it changes nothing."""
        # What comes before the physics and what comes after it, each a graph of its own where there are graphs.
        self._before_physics, self._after_physics = self._joint_targets, self._after
        if device.type == "cuda":
            self._before_physics = GraphedCall(self._joint_targets, self.generator)
            self._after_physics = GraphedCall(self._after, self.generator)
        self.reset()

    # ------------------------------------------------------------------ the interface of rsl_rl

    @property
    def episode_length_buf(self) -> Tensor:
        """Control steps since the last reset, (num_envs,)."""
        return self.state.episode_length

    # rsl_rl has an attribute; ours is part of the state.
    @episode_length_buf.setter
    def episode_length_buf(self, value: Tensor) -> None:  # pyright: ignore[reportIncompatibleVariableOverride]
        self.state.episode_length.copy_(value)

    def get_observations(self) -> TensorDict:
        """Return the observations of the last step or reset."""
        return self._observations

    @torch.no_grad()
    @one_thread()
    def step(self, actions: Tensor) -> tuple[TensorDict, Tensor, Tensor, dict[str, Any]]:
        """Act (num_envs, 10) for one control step; see ``rsl_rl.env.VecEnv.step``.

        ``extras`` further has ``terrain_kind``, ``terrain_level``, and, of episodes that end with this step,
        ``outcome`` (:class:`Outcome`), ``success`` (bool) and ``progress`` (m); ``reward_terms`` (num_envs, terms),
        weighted, in the order of ``reward_weights.names``; and ``measures``, where there is a meter. Its ``log`` has
        means over the environments: reward terms per second, terrain levels by kind, speeds; and how many worlds'
        physics diverged or had more contacts than there was room for.
        """
        self.simulator.step(self._before_physics(actions))
        self._observations, reward, done, extras = self._after_physics()
        if self.onlooker is not None:
            self.onlooker(actions, extras)
        return self._observations, reward, done, extras

    def _after(self) -> tuple[TensorDict, Tensor, Tensor, dict[str, Any]]:
        """Do all of a step that follows the physics; see ``step`` for what is returned."""
        draw = self._step_draw.draw(self.num_envs, self.generator)
        self._push(draw["push"])
        self._advance()
        outcome = terminations.check(self)
        self.derived.terminated = terminations.failed(outcome)
        reward, terms = self._reward()
        done = outcome != Outcome.RUNNING
        extras = self._extras(outcome, terms)
        self._reset(done)
        return self._observe(done, draw["noise"]), reward, done.long(), extras

    def reset(self) -> TensorDict:
        """Start fresh episodes everywhere, at the curriculum's starting levels."""
        config = self.config
        random = torch.rand(self.num_envs, generator=self.generator, device=self.device)
        level = first_level(random, config.curriculum)
        ranks = here()  # which deal the kinds among them
        return self.place(self.library.assign_kinds(self.num_envs * ranks.size)[ranks.rank :: ranks.size], level)

    def place(self, kind: Tensor, level: Tensor, variant: Tensor | None = None, seed: int | None = None) -> TensorDict:
        """Start fresh episodes everywhere.

        Args:
            kind: Of terrain, numbered as in the library, (num_envs,) long.
            level: Of the terrain, (num_envs,) long. The curriculum changes it from there, where it is enabled.
            variant: Of the tile, (num_envs,) long, in these first episodes; None = at random.
            seed: Of all that is random from here on; None = go on with the generator as it is.
        """
        if seed is not None:
            self.generator.manual_seed(seed)
        every = torch.ones(self.num_envs, dtype=torch.bool, device=self.device)
        self.state.terrain_kind.copy_(kind)
        self.state.terrain_level.copy_(level)
        self._reset(every, change_level=False, variant=variant)
        noise = self._step_draw.draw(self.num_envs, self.generator)["noise"]
        self._observations = self._observe(every, noise)
        return self._observations

    def take_frames(self, camera: CameraState, begins: Tensor, boxes: Tensor, generator: torch.Generator) -> None:
        """Let cameras on the robots, as they are now, take the frames that are due.

        Args:
            camera: Their state, which is changed.
            begins: Whose episode begins now, (num_envs,) bool.
            boxes: What they look at, (num_envs, K, BOX_DIM).
            generator: Of their noise.
        """
        sim, due = self.sim_state, self.camera.due(self.state.episode_length)
        legs = self.legs.capsules(sim.root_pos, sim.root_quat, sim.joint_pos) if self.legs else None
        self.camera.update(camera, due, begins, sim.root_pos, sim.root_quat, boxes, generator, legs)

    def glimpse(self, robots: Sequence[int], snapshot: dict[str, Any] | None = None) -> tuple[Tensor, Tensor | None]:
        """Return what the policies did last, and what some of the ``robots`` see: now, or in a :meth:`snapshot`.

        Returns:
            The actions of the robots whose episode has had a step, (n, 10), and the images as they are observed,
            (len(robots), rows, columns), None without a camera. Both are where the snapshot is.
        """
        if snapshot is None:
            actions, camera, length = self.state.actions, self.state.camera, self.state.episode_length
        else:
            kept = snapshot["environment"]
            actions, length = kept["actions"], kept["episode_length"]
            camera = CameraState(**{"latency": torch.zeros_like(length), **kept["camera"]})  # which older ones lack
        images = self.camera.images_of(robots, camera, length) if self.config.camera.enabled else None
        return actions[0, length > 0], images

    def close(self) -> None:
        """End the simulator; nothing may be called afterwards."""
        self.simulator.close()

    # ------------------------------------------------------------------ lanes and checkpoints

    def snapshot(self) -> dict[str, Any]:
        """Return copies of everything that decides the environment's future."""
        depth_is_in_state = {DEPTH, NEW_FRAME}
        kept = {name: t.clone() for name, t in self._observations.items() if name not in depth_is_in_state}
        return {
            "environment": copy_tensors(self.state),
            "simulator": self.simulator.snapshot(),
            "observations": kept,
            "generator": self.generator.get_state(),
        }

    def restore(self, snapshot: dict[str, Any]) -> None:
        """Return to a snapshot: the same actions then give the same future, bit for bit on the CPU."""
        put_tensors(self.state, snapshot["environment"])
        self.simulator.restore(snapshot["simulator"])
        self.generator.set_state(snapshot["generator"])
        self._look_up_tiles()
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
        return torch.add(self.default_joint_pos, acting, alpha=self.robot.action_scale)

    def _push(self, velocity: Tensor) -> None:
        """Shove each robot once in a while: change its base's velocity by (num_envs, 3), m/s, at full strength."""
        config = self.config.randomization
        if not config.enabled or self._push_interval == 0:
            return
        due = (self.state.episode_length + self._push_offset) % self._push_interval == self._push_interval - 1
        if not self._surely_none(due):
            share = randomization.strength(config, self.state.terrain_level)
            self.simulator.push(due, velocity * share[:, None])

    def _advance(self) -> None:
        """Count the step; follow the feet, the waypoints and the commands."""
        state, forward = self.state, self.sim_state.root_pos[:, 0]
        state.episode_length += 1
        state.contact.copy_(self.sim_state.foot_force.norm(dim=-1) > CONTACT_FORCE)
        state.contact_time.add_(self.dt).mul_(state.contact)
        state.air_time.add_(self.dt).mul_(~state.contact)
        torch.maximum(state.progress, forward.clamp(max=self.config.terrain.length), out=state.progress)
        if self.config.terminations.stuck_time > 0:
            advanced = state.progress >= state.milestone + _ADVANCE
            state.milestone.copy_(torch.where(advanced, state.progress, state.milestone))
            state.stalled_time.add_(self.dt).mul_(~advanced)
        count_waypoints(self)
        self._derive()

    def _reward(self) -> tuple[Tensor, Tensor]:
        """Return the weighted sum of the reward terms, (num_envs,), and the weighted terms, (num_envs, terms)."""
        weights = self.reward_weights.at(self.state.terrain_level) * self.dt
        terms = torch.stack([rewards.value(name, self) for name in self.reward_weights.names], dim=1) * weights
        self.state.last_joint_vel.copy_(self.sim_state.joint_vel)
        total = terms.sum(dim=1)
        return total.clamp(min=0) if self.config.rewards.only_positive else total, terms

    def _extras(self, outcome: Tensor, terms: Tensor) -> dict[str, Any]:
        """Return what the learner, the log and the evaluation want to know of the episodes that end now."""
        state, mean_terms = self.state, terms.mean(dim=0) / self.dt
        toward = (self.sim_state.root_lin_vel[:, :2] * self.derived.goal_direction).sum(dim=1)
        measures = {} if self.meter is None else {"measures": self.meter.add(self)}
        kinds = self.library.kinds
        _, levels = by_kind(state.terrain_kind, state.terrain_level, len(kinds))
        return {
            **measures,
            "outcome": outcome,
            "time_outs": terminations.cut_short(outcome).float(),
            "success": outcome == Outcome.FINISHED,
            "progress": state.progress.clone(),
            "terrain_kind": state.terrain_kind.clone(),
            "reward_terms": terms,
            "terrain_level": state.terrain_level.clone(),
            "log": {
                **{f"Reward/{name}": mean for name, mean in zip(self.reward_weights.names, mean_terms, strict=True)},
                **{f"TerrainLevel/{kind}": level for kind, level in zip(kinds, levels, strict=True)},
                "Speed/commanded": state.forward_speed.mean(),
                "Speed/toward_waypoint": toward.mean(),
                "Health/diverged": self.sim_state.diverged.float().sum(),
                "Health/overflow": self.sim_state.overflow.float().sum(),
            },
        }

    def _reset(self, mask: Tensor, change_level: bool = True, variant: Tensor | None = None) -> None:
        """Start new episodes where ``mask``: level, tile, physical parameters, pose."""
        if self._surely_none(mask):
            return
        config, state, random = self.config, self.state, self.config.randomization
        draw = self._episode_draw.draw(self.num_envs, self.generator)
        kind, level = state.terrain_kind, state.terrain_level
        if change_level:
            kind, level = self._next_course(mask, draw["choices"][:, 0])
        share = randomization.strength(random, level)
        drawn = choose(draw["choices"][:, 1], config.terrain.variants)
        state.reset(
            mask,
            terrain_kind=kind,
            terrain_level=level,
            forward_speed=forward_speed(config.commands, level, draw["forward_speed"][:, 0]),
            action_latency=randomization.whole_steps(draw["latency"], random.action_latency, share),
        )
        self.simulator.set_tiles(
            mask, self.library.tile_index(state.terrain_kind, level, drawn if variant is None else variant)
        )
        self._look_up_tiles()
        domain = torch.lerp(self._nominal_domain, draw["domain"], share[:, None])
        self.simulator.randomize(mask, DomainParameters.of(domain))

        still, joints_still = self._zero_pose[:, :3], self._zero_pose[:, 3:]
        turned = quat_from_yaw(draw["yaw"][:, 0])
        self.simulator.reset(mask, draw["position"], turned, still, still, draw["joint_pos"], joints_still)
        if config.camera.enabled:
            late = randomization.whole_steps(draw["camera_latency"], random.camera_latency, share)
            self.camera.reset(state.camera, mask, self.generator, late)

    def _next_course(self, finished: Tensor, random: Tensor) -> tuple[Tensor, Tensor]:
        """Return kind and level of terrain of each environment's next episode, each (num_envs,) long."""
        config, state = self.config, self.state
        levels, curriculum = config.terrain.levels, config.curriculum
        level, mastered = next_level(
            state.terrain_level,
            finished,
            state.progress,
            state.forward_speed * config.env.episode_length_s,
            random,
            levels,
            config.terrain.length,
            curriculum,
        )
        if curriculum.even_share == 1:
            return state.terrain_kind, level
        rest = random * levels % 1  # what the choice of a level has left over
        return reassign(state.terrain_kind, level, mastered, rest, levels, self._kind_shares, curriculum.even_share)

    def _observe(self, was_reset: Tensor, noise: Tensor) -> TensorDict:
        """Take a camera frame where one is due; return the observation, ``noise`` (num_envs, 43) in it."""
        if not self._surely_none(was_reset):
            self._derive()
        if self.config.camera.enabled:
            self.take_frames(self.state.camera, was_reset, self.boxes, self.generator)
        groups = {name: group(self) for name, group in self.term_groups.items()}
        groups[PROPRIO] += noise
        if self.config.height_scan.enabled:
            groups[SCAN] = self.height_scan.scan(self.boxes, self.sim_state.root_pos, self.sim_state.root_quat)
        return self._pack({**groups, **self._depth_groups()})

    def _depth_groups(self) -> dict[str, Tensor]:
        """Return the camera's groups."""
        if not self.config.camera.enabled:
            return {}
        seen = (self.state.camera, self.state.episode_length)
        return {DEPTH: self.camera.image(*seen), NEW_FRAME: self.camera.is_new(*seen)[:, None].float()}

    def _pack(self, groups: dict[str, Tensor]) -> TensorDict:
        limit = self.config.observations.clip
        clipped = {name: g if name == DEPTH else g.clamp(-limit, limit) for name, g in groups.items()}
        return TensorDict(clipped, batch_size=[self.num_envs], device=self.device)

    def _derive(self) -> None:
        """Bring what follows from the state up to date."""
        self.derived = self._deriver.derive(self)

    def _look_up_tiles(self) -> None:
        """Copy what the environments' tiles consist of, in place."""
        tile = self.simulator.tile
        torch.index_select(self.library.boxes, 0, tile, out=self.boxes)
        torch.index_select(self.library.waypoints, 0, tile, out=self.waypoints)
        torch.index_select(self._tile_lowest, 0, tile, out=self.lowest_waypoint)
        torch.sub(self.lowest_waypoint, _PIT_DEPTH, out=self.floor)

    def _surely_none(self, mask: Tensor) -> bool:
        """Return whether no environment is in the mask; never on a GPU, which would have to be waited for."""
        return self.generator.device.type == "cpu" and not bool(mask.any())

"""What an export sees in the training's environment: golden steps as sensors measure them, and ranges of targets."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from dummy_runner import distillation
from random_export import Steps, make_export, play
from small_env import CPU, TINY
from tensordict import TensorDict

from legged_gym_ext.config.files import load_config
from legged_gym_ext.config.schema import Config
from legged_gym_ext.deploy import golden as rollouts
from legged_gym_ext.deploy.golden import Golden, Seen, including, record, watch, with_margin
from legged_gym_ext.deploy.graphs import make_graphs
from legged_gym_ext.deploy.parity import torch_run
from legged_gym_ext.deploy.specification import Action, Observation, action_of, camera_of, observations_of
from legged_gym_ext.envs.outcome import Outcome
from legged_gym_ext.envs.parkour_env import ParkourEnv
from legged_gym_ext.evaluation.rollout import HELD_LEVELS, NOTHING_RANDOM
from legged_gym_ext.learning.runner import ParkourRunner
from legged_gym_ext.models.student import Student
from legged_gym_ext.robot import load_robot
from legged_gym_ext.sensors.raster import render_depth

ROBOT = 1  # of three: the middle one
POSE = np.array([0.0, 0.0, -0.25, 0.55, -0.3] * 2)


def rotation(quat: np.ndarray) -> np.ndarray:
    """Return the matrix of a quaternion (w, x, y, z): w^2 v + 2 w (u x v) + ..., by v -> q v q*, column by column."""
    w, u = quat[0], quat[1:]
    columns = []
    for axis in np.eye(3):
        columns.append(axis * (w * w - u @ u) + 2 * u * (u @ axis) + 2 * w * np.cross(u, axis))
    return np.stack(columns, axis=1)


class Observer:
    """Measures one robot of an environment as its sensors would, from the simulator's state."""

    def __init__(self, env: ParkourEnv, monkeypatch: pytest.MonkeyPatch) -> None:
        self.env, self.rows, self.images, self.age = env, [], [], 0
        step, place = env.step, env.place

        def stepping(actions: torch.Tensor) -> Any:
            result = step(actions)
            self.measure(bool(result[2][ROBOT]))
            return result

        def placing(*arguments: Any) -> Any:
            result = place(*arguments)
            self.measure(True)
            return result

        monkeypatch.setattr(env, "step", stepping)
        monkeypatch.setattr(env, "place", placing)

    def measure(self, begins: bool) -> None:
        env, sim = self.env, self.env.sim_state
        self.age = 0 if begins else self.age + 1

        def own(tensor: torch.Tensor) -> np.ndarray:
            return tensor[ROBOT].double().numpy().copy()

        base = rotation(own(sim.root_quat))
        waypoint = min(int(env.state.waypoint[ROBOT]), env.config.terrain.waypoints - 1)
        to_waypoint = own(env.waypoints)[waypoint, :2] - own(sim.root_pos)[:2]
        heading = math.atan2(base[1, 0], base[0, 0])
        error = math.remainder(math.atan2(to_waypoint[1], to_waypoint[0]) - heading, 2 * math.pi)
        turn = min(max(1.5 * error, -1.0), 1.0)
        phase = 2 * math.pi * self.age * 0.02 / env.config.rewards.gait_period
        self.rows.append(
            {
                "base_lin_vel": base.T @ own(sim.root_lin_vel),
                "base_ang_vel": base.T @ own(sim.root_ang_vel),
                "projected_gravity": base.T @ [0, 0, -1],
                "commands": np.array([float(env.state.forward_speed[ROBOT]), 0.0, turn, error]),
                "joint_pos": own(sim.joint_pos),
                "joint_vel": own(sim.joint_vel),
                "gait_phase": np.array([math.sin(phase), math.cos(phase)]),
            }
        )
        self.images.append(self.photograph(base) if self.age % 5 == 0 else self.images[-1])

    def photograph(self, base: np.ndarray) -> np.ndarray:
        """Return what a camera with the configured mount sees, (rows, columns), m."""
        camera = self.env.config.camera
        pitch = math.radians(camera.pitch_degrees)
        forward = base @ [math.cos(pitch), 0, -math.sin(pitch)]
        down = base @ [-math.sin(pitch), 0, -math.cos(pitch)]
        axes = np.stack([np.cross(down, forward), down, forward], axis=1)  # right, down, forward
        position = self.env.sim_state.root_pos[ROBOT].double().numpy() + base @ np.array(camera.position)
        rows, columns = camera.resolution
        focal = columns / 2 / math.tan(math.radians(camera.horizontal_fov_degrees) / 2)
        out = torch.zeros(1, rows * columns)
        poses = torch.tensor(position[None]).float(), torch.tensor(axes[None]).float()
        seen = (rows, columns), focal, camera.near, camera.far, torch.ones(1, dtype=torch.bool), out
        render_depth(self.env.boxes[ROBOT : ROBOT + 1], *poses, *seen)
        return out.view(rows, columns).numpy()


@pytest.fixture(scope="module")
def recorded() -> tuple[Config, Student, Golden, Observer]:
    changes = ["camera.resolution=[20,16]", "student.encoder.gru_hidden=16", "teacher.hidden_dims=[16]"]
    config = load_config("parkour_depth", [*TINY, *HELD_LEVELS, *NOTHING_RANDOM, *changes, "runner.logger=none"])
    config.sim.engine, config.sim.device, config.runner.precision = "mujoco", "cpu", "float32"
    env = ParkourEnv(config, 3, CPU)
    student = distillation(ParkourRunner(env, config, None, "cpu")).student.eval()
    with torch.no_grad():
        student.mlp[-1].weight.mul_(5.0)  # it moves
    with pytest.MonkeyPatch.context() as patch:
        observer = Observer(env, patch)
        table = observations_of(config, env.robot, student)
        golden = record(env, student, 2, table, camera_of(config))
    return config, student, golden, observer


def test_golden_steps_are_what_the_robots_sensors_measured(recorded) -> None:
    _, _, golden, observer = recorded
    steps = len(golden.reset)
    assert steps == 200 and golden.reset.sum() >= 3 and golden.reset[0]
    for name in (
        "base_lin_vel",
        "base_ang_vel",
        "projected_gravity",
        "commands",
        "joint_pos",
        "joint_vel",
        "gait_phase",
    ):
        measured = np.stack([row[name] for row in observer.rows[:steps]])
        np.testing.assert_allclose(golden.vectors[name], measured, rtol=1e-5, atol=2e-5, err_msg=name)
    assert np.abs(golden.vectors["joint_vel"]).max() > 1 and np.abs(golden.vectors["commands"][:, 3]).max() > 0.01
    np.testing.assert_allclose(golden.depth[golden.frame], np.stack(observer.images[:steps]), atol=1e-5)


def test_golden_steps_begin_episodes_and_hold_images_as_training_does(recorded) -> None:
    _, _, golden, _ = recorded
    for step, reset in enumerate(golden.reset):
        before = np.zeros(10) if reset else golden.actions[step - 1].clip(-10, 10)
        np.testing.assert_allclose(golden.vectors["actions"][step], before, atol=1e-6)
    since = np.array([step - np.flatnonzero(golden.reset[: step + 1])[-1] for step in range(200)])
    new = np.diff(golden.frame, prepend=-1) == 1
    assert np.array_equal(new, since % 5 == 0)
    assert len(golden.depth) == new.sum() and golden.depth.std() > 0.1


def test_graphs_turn_the_simulators_state_into_what_the_student_does(recorded) -> None:
    """All scaling is inside of them, and it is the environment's."""
    config, student, golden, observer = recorded
    rows = observer.rows[:200]
    raw = {name: np.stack([row[name] for row in rows]).astype(np.float32) for name in rows[0]}
    names = [name for name in golden.vectors if name in raw]
    raw = {**{name: raw[name] for name in names}, "actions": golden.vectors["actions"]}
    images = np.stack(observer.images[:200]).astype(np.float32)
    steps = Steps(images, np.arange(200), golden.reset, raw, golden.actions)
    graphs = make_graphs(student, make_export(student, config, steps).specification)
    targets, actions = play(steps, torch_run(graphs["policy"]), [1, 1, 16])
    np.testing.assert_allclose(actions, golden.actions.clip(-10, 10), atol=5e-4)
    np.testing.assert_allclose(targets, POSE + 0.25 * golden.actions.clip(-10, 10), atol=1e-4)
    assert golden.actions.std() > 0.1


# The ranges --------------------------------------------------------------------------------------------------------

TABLE = [
    Observation(name, size, "", "", [scale] * size, [offset] * size, 0.0, "")
    for name, size, scale, offset in (("joint_pos", 2, 1.0, -0.5), ("commands", 4, 2.0, 0.0))
]
ACTION = Action([0.1, 0.2], [0.5, 0.5], 10.0)


class Scripted:
    """An environment of robots whose episodes end as they are told; the student's actions are the robots' scripts."""

    dt = 0.5
    device = CPU

    def __init__(self, actions: Sequence[Sequence[Sequence[float]]], ends: Sequence[tuple[int, Outcome]]) -> None:
        self.num_envs, self.time = len(ends), 0
        self.script, self.ends = torch.tensor(actions), ends  # (robots, steps, 2)
        self.library = SimpleNamespace(assign_kinds=lambda count: torch.zeros(count, dtype=torch.long))

    def observe(self) -> TensorDict:
        command = torch.arange(self.num_envs).float()[:, None] + self.time
        joints = torch.full((self.num_envs, 2), 0.25)  # 0.75 rad: the offset is -0.5
        return TensorDict({"all": torch.cat([joints, 2 * command.expand(-1, 4)], dim=1)}, batch_size=[self.num_envs])

    def place(self, kinds: torch.Tensor, levels: torch.Tensor) -> TensorDict:
        return self.observe()

    def get_observations(self) -> TensorDict:
        return self.observe()

    def step(self, actions: torch.Tensor) -> tuple[TensorDict, None, torch.Tensor, dict[str, torch.Tensor]]:
        self.time += 1
        dones = torch.tensor([end == self.time for end, _ in self.ends])
        outcome = [how if end == self.time else Outcome.RUNNING for end, how in self.ends]
        return self.observe(), None, dones.long(), {"outcome": torch.tensor(outcome)}


class Actor(torch.nn.Module):
    """Reads the script aloud."""

    obs_groups = ["all"]

    def __init__(self, env: Scripted) -> None:
        super().__init__()
        self.env, self.nothing = env, torch.nn.Parameter(torch.zeros(1))

    def reset(self, dones: torch.Tensor | None = None) -> None:
        pass

    def forward(self, observations: TensorDict) -> torch.Tensor:
        return self.env.script[:, min(self.env.time, self.env.script.shape[1] - 1)]


def watched(actions: Any, ends: Sequence[tuple[int, Outcome]]) -> Seen:
    env = Scripted(actions, ends)
    return watch(env, Actor(env), 1, TABLE, ACTION)  # type: ignore[arg-type]


def test_ranges_are_those_of_first_episodes_that_reached_the_end() -> None:
    finishes = [[1.0, 0.0], [-2.0, 0.0], [0.0, 100.0], [90.0, 90.0]]  # the last action is of another episode
    falls = [[50.0, -50.0]] * 4
    seen = watched([finishes, falls], [(3, Outcome.FINISHED), (4, Outcome.TIPPED)])
    assert (seen.episodes, seen.finished) == (2, 1)
    np.testing.assert_allclose(seen.target_low, [0.5 - 0.2, 0.5])
    np.testing.assert_allclose(seen.target_high, [0.5 + 0.1, 0.5 + 2.0])  # clipped at 10
    # From 0.75 to 0.6, 0.3, 0.5 and from 0.75 to 0.5, 0.5, 2.5 rad, in half a second each.
    np.testing.assert_allclose(seen.target_rate, [0.3 / 0.5, 2.0 / 0.5], rtol=1e-5)
    np.testing.assert_allclose(seen.commands, [[0.0, 2.0]] * 4)


def test_where_no_episode_reached_the_end_all_count() -> None:
    seen = watched([[[1.0, 0.0]] * 3, [[0.0, 2.0]] * 3], [(1, Outcome.TIPPED), (2, Outcome.TIMED_OUT)])
    assert (seen.episodes, seen.finished) == (2, 0)
    np.testing.assert_allclose(seen.target_high, [0.6, 0.9])
    np.testing.assert_allclose(seen.target_rate, [0.5, 0.5])  # of the first targets, from 0.75 to 0.5 rad in 0.5 s
    np.testing.assert_allclose(seen.commands, [[0.0, 2.0]] * 4)


def test_the_limiter_leaves_alone_what_was_seen_on_either_leg() -> None:
    robot, generator = load_robot(Config().robot), np.random.default_rng(0)
    action = Action([0.25] * 10, POSE.tolist(), 10.0)
    low = POSE - generator.uniform(0, 2.4, 10)
    high = POSE + generator.uniform(0, 2.4, 10)
    seen = Seen(1, 1, low, high, generator.uniform(1, 9, 10), [(0.0, 0.0)] * 4)
    safety = with_margin(seen, robot, action)
    limits, rate = np.array(safety.target_range), np.array(safety.target_rate)
    # The mirror image of the left leg: yaw and roll turn the other way, pitch the same.
    sign = np.array([-1, -1, 1, 1, 1])
    mirrored_low = np.concatenate([np.where(sign < 0, -high[5:], low[5:]), np.where(sign < 0, -high[:5], low[:5])])
    mirrored_high = np.concatenate([np.where(sign < 0, -low[5:], high[5:]), np.where(sign < 0, -low[:5], high[:5])])
    both_low, both_high = np.minimum(low, mirrored_low), np.maximum(high, mirrored_high)
    width = rollouts.RANGE_MARGIN * (both_high - both_low)
    np.testing.assert_allclose(limits[:, 0], np.maximum(both_low - width, POSE - 2.5))
    np.testing.assert_allclose(limits[:, 1], np.minimum(both_high + width, POSE + 2.5))
    both_rates = np.maximum(seen.target_rate, np.roll(seen.target_rate, 5))
    np.testing.assert_allclose(rate, (1 + rollouts.RATE_MARGIN) * both_rates)

    alone = np.array(with_margin(seen, replace(robot, mirror=None), action).target_range)
    np.testing.assert_allclose(alone[:, 0], np.maximum(low - rollouts.RANGE_MARGIN * (high - low), POSE - 2.5))


def test_the_limiter_leaves_the_golden_steps_alone() -> None:
    action = Action([0.1] * 10, [0.5] * 10, 10.0)
    actions, joints = np.zeros((4, 10)), np.full((4, 10), 0.5)
    actions[1, 0], actions[2, 1], joints[2, 2] = 8.0, -20.0, 0.9
    reset = np.array([True, False, True, False])
    golden = Golden(np.zeros((1, 2, 2)), np.zeros(4, int), reset, {"joint_pos": joints}, actions)
    nothing = Seen(1, 1, np.full(10, 0.5), np.full(10, 0.5), np.full(10, 0.2), [(0.0, 0.0)] * 4)
    seen = including(nothing, golden, action, period=0.5)
    np.testing.assert_allclose(seen.target_high, [1.3] + [0.5] * 9)
    np.testing.assert_allclose(seen.target_low, [0.5, -0.5] + [0.5] * 8)
    # 0 jumps up, and does not jump down: an episode begins there. 1 jumps from where the joint was, and back.
    np.testing.assert_allclose(seen.target_rate, [1.6, 2.0, 0.8] + [0.2] * 7)


def test_action_of_a_run_is_what_the_environment_does_with_it(recorded) -> None:
    config, *_ = recorded
    action = action_of(config, load_robot(config.robot))
    assert action == Action([0.25] * 10, POSE.tolist(), 10.0)

"""Properties of the parkour environment, checked against independent computations on random actions."""

from __future__ import annotations

import math
from dataclasses import replace

import mujoco
import numpy as np
import pytest
import torch
from small_env import CPU, N, quiet, random_actions, small_config

from legged_gym_ext.envs import observations, parkour_env, randomization, rewards
from legged_gym_ext.envs.parkour_env import ParkourEnv
from legged_gym_ext.errors import UserError
from legged_gym_ext.processes.ranks import Ranks
from legged_gym_ext.sensors.depth_camera import DepthCamera
from legged_gym_ext.simulators.mujoco.engine import MujocoSimulator


@pytest.fixture(scope="module")
def env() -> ParkourEnv:
    return ParkourEnv(small_config(), N, CPU)


def single_world(env: ParkourEnv, index: int) -> tuple[mujoco.MjModel, mujoco.MjData]:
    """One environment as a plain MuJoCo world."""
    assert isinstance(env.simulator, MujocoSimulator)
    model = env.simulator.batch.get_model(index)
    data = env.simulator.batch.get_data(index)
    mujoco.mj_forward(model, data)
    return model, data


def test_groups_have_the_documented_shapes(env: ParkourEnv) -> None:
    observation = env.reset()
    shapes = {name: tuple(value.shape) for name, value in observation.items()}
    assert shapes["proprio"] == (N, 43)
    assert shapes["depth"] == (N, 4096)
    assert shapes["new_frame"] == (N, 1)
    assert shapes["gait_phase"] == (N, 2)
    assert shapes["scan"] == (N, 132)
    assert observations.PROPRIO_DIM == 43
    for actions in random_actions(8):
        observation, reward, done, extras = env.step(actions)
        assert reward.shape == done.shape == extras["time_outs"].shape == (N,)
        assert {name: tuple(value.shape) for name, value in observation.items()} == shapes
        assert all(value.isfinite().all() for value in observation.values()) and reward.isfinite().all()
        assert observation["depth"].min() >= -0.5 and observation["depth"].max() <= 0.5


def test_proprioception_is_what_mujoco_says_of_the_same_world() -> None:
    env = ParkourEnv(quiet(small_config()), N, CPU)
    for actions in random_actions(7):
        observation, *_ = env.step(actions)
    for index in range(N):
        _, data = single_world(env, index)
        to_base = data.body("pelvis").xmat.reshape(3, 3).T
        velocity = np.zeros(6)
        mujoco.mj_objectVelocity(env.simulator.model, data, mujoco.mjtObj.mjOBJ_XBODY, 1, velocity, 1)
        waypoint = env.library.waypoints[env.simulator.tile[index], env.state.waypoint[index]].double().numpy()
        offset = waypoint - data.qpos[:3]
        forward = data.body("pelvis").xmat.reshape(3, 3)[:, 0]
        error = math.atan2(offset[1], offset[0]) - math.atan2(forward[1], forward[0])
        error = (error + math.pi) % (2 * math.pi) - math.pi
        commands = env.config.commands
        yaw_rate = np.clip(commands.heading_gain * error, -commands.max_yaw_rate, commands.max_yaw_rate)
        expected = np.concatenate(
            [
                velocity[3:] * 2.0,
                velocity[:3] * 0.25,
                to_base @ [0, 0, -1],
                [env.state.forward_speed[index] * 2.0, 0.0, yaw_rate * 0.25, error],
                data.qpos[7:] - env.robot.default_joint_pos,
                data.qvel[6:] * 0.05,
                random_actions(7)[-1, index],
            ]
        )
        np.testing.assert_allclose(observation["proprio"][index], expected, atol=2e-4)


@pytest.mark.parametrize("see_robot", [False, True])
def test_depth_is_what_mujocos_rays_see_of_the_same_world(see_robot: bool) -> None:
    config = quiet(small_config())
    if see_robot:
        config.camera.see_robot, config.camera.pitch_degrees = True, 85.0
    config.camera.depth_noise = config.camera.dropout = 0.0
    config.camera.position_noise = config.camera.rotation_noise_degrees = 0.0
    env = ParkourEnv(config, N, CPU)
    env.state.terrain_level[:] = 2
    for actions in random_actions(5):
        observation, *_ = env.step(actions)
    assert (observation["new_frame"] == 1).all()
    camera = config.camera
    pitch, rows = math.radians(camera.pitch_degrees), camera.resolution[0]
    axis = np.array([math.cos(pitch), 0.0, -math.sin(pitch)])
    up, left = np.array([math.sin(pitch), 0.0, math.cos(pitch)]), np.array([0.0, 1.0, 0.0])
    tangent = math.tan(math.radians(camera.horizontal_fov_degrees) / 2)
    steps = (np.arange(rows) + 0.5) / rows * 2 - 1
    vertical, horizontal = np.meshgrid(steps, steps, indexing="ij")
    rays = axis - horizontal[..., None] * tangent * left - vertical[..., None] * tangent * up
    group = np.array([see_robot, 0, 1, 0, 0, 0], dtype=np.uint8)  # the legs' collision shapes, and the boxes
    wrong, legs = [], 0
    for index in range(N):
        model, data = single_world(env, index)
        base = np.isin(model.geom_bodyid, [model.body(name).id for name in ("pelvis", "torso_link")])
        model.geom_group[base] = 3
        rotation, position = data.body("pelvis").xmat.reshape(3, 3), data.qpos[:3]
        origin, directions = position + rotation @ camera.position, (rays @ rotation.T).reshape(-1, 3)
        hit, distance = np.zeros(rows * rows, dtype=np.int32), np.zeros(rows * rows)
        mujoco.mj_multiRay(model, data, origin, directions.ravel(), group, 1, -1, hit, distance, None, rows * rows, 1e9)
        depth = np.where(hit < 0, camera.far, np.clip(distance, camera.near, camera.far))
        seen = (observation["depth"][index].numpy() + 0.5) * (camera.far - camera.near) + camera.near
        wrong.append((np.abs(seen - depth) > 1e-3).mean())
        legs += ((hit >= 0) & (model.geom_group[hit] == 0)).mean()
    assert (legs > 0.05 * N) == see_robot
    assert np.mean(wrong) < 0.005, wrong  # pixels on an edge may fall to either side


def test_a_snapshot_gives_back_exactly_the_same_future() -> None:
    config = small_config()
    config.randomization.camera_latency = [0, 7]
    env = ParkourEnv(config, N, CPU)
    for actions in random_actions(30):
        env.step(actions)
    snapshot = env.snapshot()

    def future() -> list[torch.Tensor]:
        result = []
        for actions in random_actions(60, seed=1):  # long enough for falls and resets
            observation, reward, done, extras = env.step(actions)
            result += [*observation.values(), reward, done, extras["progress"], extras["terrain_level"]]
        return [tensor.clone() for tensor in result]

    before = env.get_observations().clone()
    first = future()
    env.reset()
    env.restore(snapshot)
    for name, value in before.items():
        assert torch.equal(env.get_observations()[name], value), name
    assert all(torch.equal(a, b) for a, b in zip(first, future(), strict=True))
    assert len(snapshot["environment"]["camera"]["latency"].unique()) > 2
    other = ParkourEnv(config, N, CPU)
    other.restore(snapshot)
    env.restore(snapshot)
    actions = random_actions(1, seed=2)[0]
    for mine, others in zip(env.step(actions)[0].values(), other.step(actions)[0].values(), strict=True):
        assert torch.equal(mine, others)


@pytest.mark.parametrize("seeds", [(1, 1), (1, 2)])
def test_the_seed_decides_the_run(seeds: tuple[int, int]) -> None:
    runs = []
    for seed in seeds:
        config = small_config()
        config.seed = seed
        env = ParkourEnv(config, N, CPU)
        torch.rand(seed)  # the global generator must not matter
        for actions in random_actions(10):
            observation, *_ = env.step(actions)
        runs.append(torch.cat([observation["proprio"], observation["depth"]], dim=1))
    assert torch.equal(*runs) == (seeds[0] == seeds[1])


def test_rewards_sum_the_weighted_terms_and_skip_those_without_weight(env: ParkourEnv) -> None:
    config = small_config()
    calls: dict[str, int] = {}
    config.rewards.weights = {"alive": 0.5, "torques": -1e-4, "orientation": 0.0}
    env = ParkourEnv(config, N, CPU)
    original = dict(rewards.TERMS)
    try:
        for name, term in original.items():

            def counting(e: ParkourEnv, name: str = name, term=term) -> torch.Tensor:
                calls[name] = calls.get(name, 0) + 1
                return term(e)

            rewards.TERMS[name] = counting
        torque_before = env.sim_state.joint_torque
        _, reward, done, _ = env.step(random_actions(1)[0])
    finally:
        rewards.TERMS.update(original)
    kept = done == 0
    expected = env.dt * (0.5 - 1e-4 * torque_before.double().square().sum(dim=1))
    torch.testing.assert_close(reward[kept].double(), expected[kept], rtol=1e-5, atol=1e-7)
    assert calls == {"alive": 1, "torques": 1}


def test_reward_terms_of_motion_against_finite_differences() -> None:
    env = ParkourEnv(quiet(small_config()), N, CPU)
    env.step(random_actions(1)[0])
    before = {name: tensor.clone() for name, tensor in env.sim_state.tensors().items()}
    actions = random_actions(2)
    env.step(actions[0])
    last = {name: tensor.clone() for name, tensor in env.sim_state.tensors().items()}
    captured: dict[str, torch.Tensor] = {}
    original = dict(rewards.TERMS)
    try:
        for name, term in original.items():
            rewards.TERMS[name] = lambda e, name=name, term=term: captured.setdefault(name, term(e).clone())
        _, _, done, _ = env.step(actions[1])
    finally:
        rewards.TERMS.update(original)
    kept = done == 0
    assert kept.any()
    now = {name: tensor.double() for name, tensor in env.sim_state.tensors().items()}
    assert not torch.equal(before["joint_vel"], last["joint_vel"])
    acceleration = ((now["joint_vel"] - last["joint_vel"]) / 0.02).square().sum(dim=1)
    torch.testing.assert_close(captured["joint_acc"][kept].double(), acceleration[kept], rtol=1e-4, atol=1e-3)
    change = (actions[1] - actions[0]).double().square().sum(dim=1)
    torch.testing.assert_close(captured["action_rate"][kept].double(), change[kept], rtol=1e-5, atol=1e-6)
    position = now["joint_pos"].numpy()
    low, high = env.robot.soft_range.T
    beyond = np.maximum(low - position, 0).sum(axis=1) + np.maximum(position - high, 0).sum(axis=1)
    np.testing.assert_allclose(captured["joint_limits"][kept], beyond[kept], atol=1e-5)
    gravity = [single_world(env, i)[1].body("pelvis").xmat.reshape(3, 3).T @ [0, 0, -1] for i in range(N)]
    tilt = np.square(np.array(gravity)[:, :2]).sum(axis=1)
    np.testing.assert_allclose(captured["orientation"][kept], tilt[kept], atol=1e-5)


def test_single_stance_feet_edges_and_stumbles_are_told_apart() -> None:
    env = ParkourEnv(quiet(small_config()), N, CPU)
    state, sim = env.state, env.sim_state
    state.contact[:] = torch.tensor([[1, 1], [1, 0], [0, 1], [0, 0], [1, 0], [0, 1]], dtype=torch.bool)
    state.contact_time[:] = 0.3 * state.contact
    state.air_time[:] = 0.2 * ~state.contact
    sim.root_lin_vel[:] = 0.0
    share = 0.2 / env.config.rewards.air_time_target
    marching = share * env.config.rewards.marching_share
    assert rewards.feet_air_time(env).tolist() == pytest.approx([0, marching, marching, 0, marching, marching])
    sim.root_lin_vel[:, :2] = env.derived.goal_direction * state.forward_speed[:, None]
    assert rewards.feet_air_time(env).tolist() == pytest.approx([0, share, share, 0, share, share])
    assert rewards.flight(env).tolist() == [0, 0, 0, 1, 0, 0]
    sim.foot_force[:] = 0.0
    sim.foot_force[0, 0] = torch.tensor([300.0, 0.0, 50.0])
    sim.foot_force[1, 1] = torch.tensor([30.0, 0.0, 200.0])
    assert rewards.feet_stumble(env).tolist() == [1, 0, 0, 0, 0, 0]
    # Edges: a box of which only the first environment's left foot is within 3 cm of the rim.
    env.boxes = env.boxes.clone()
    env.boxes[:] = torch.tensor([0.0, 0.0, -1000.0, 1, 0, 0, 0, 0, 0, 0])
    env.boxes[:, 0] = torch.tensor([0.0, 0.0, -0.5, 1, 0, 0, 0, 1.0, 1.0, 0.5])
    sim.foot_pos[:] = torch.tensor([[0.0, 0.1, 0.0], [0.0, -0.1, 0.0]])
    sim.foot_pos[0, 0, 0] = 0.97
    sim.foot_pos[1, 0, 0] = 0.90
    env._derive()
    state.contact[:] = True
    assert rewards.feet_edge(env).tolist() == [1, 0, 0, 0, 0, 0]


def walk_through(env: ParkourEnv, index: int, positions: list[tuple[float, float]]) -> list[tuple[bool, bool, bool]]:
    """Put a robot onto places of its course, one after another; return (done, timed out, success) of each step."""
    results = []
    for x, y in positions:
        sim, n = env.sim_state, env.num_envs
        mask = torch.arange(n) == index
        place = sim.root_pos.clone()
        height = _ground(env, index, x, y) + env.robot.base_height + 0.01
        place[index] = torch.tensor([x, y, height])
        quat, zero = torch.tensor([[1.0, 0, 0, 0]]).repeat(n, 1), torch.zeros(n, 3)
        pose = env.default_joint_pos.repeat(n, 1)
        env.simulator.reset(mask, place, quat, zero, zero, pose, pose * 0)
        _, _, done, extras = env.step(torch.zeros(n, 10))
        results.append((bool(done[index]), bool(extras["time_outs"][index]), bool(extras["success"][index])))
    return results


def _ground(env: ParkourEnv, index: int, x: float, y: float) -> float:
    model, data = single_world(env, index)
    hit = np.zeros(1, dtype=np.int32)
    group = np.array([0, 0, 1, 0, 0, 0], dtype=np.uint8)
    distance = mujoco.mj_ray(model, data, np.array([x, y, 5.0]), np.array([0.0, 0.0, -1.0]), group, 1, -1, hit, None)
    assert hit[0] >= 0
    return 5.0 - distance


def test_waypoints_are_followed_to_a_success_that_is_no_failure() -> None:
    env = ParkourEnv(quiet(small_config()), N, CPU)
    course = env.library.waypoints[env.simulator.tile[0]].tolist()
    results = walk_through(env, 0, [(x, y) for x, y, _ in course[:-1]])
    assert not any(done for done, _, _ in results)
    assert env.state.waypoint[0] == len(course) - 1
    assert env.state.progress[0] == pytest.approx(course[-2][0], abs=0.05)
    level = env.state.terrain_level[0].item()
    assert walk_through(env, 0, [(course[-1][0], course[-1][1])]) == [(True, True, True)]
    assert env.state.terrain_level[0] == level + 1
    assert env.state.waypoint[0] == 0 and env.state.episode_length[0] == 0


def test_the_command_turns_the_robot_toward_its_waypoint() -> None:
    env = ParkourEnv(quiet(small_config()), N, CPU)
    x, y, _ = env.library.waypoints[env.simulator.tile[0], 0].tolist()
    walk_through(env, 0, [(x - 0.8, y + 0.8)])  # the waypoint is ahead to the right
    assert env.derived.commands[0, 3] == pytest.approx(-math.pi / 4, abs=0.1)
    assert env.derived.commands[0, 2] < 0
    walk_through(env, 0, [(x - 0.8, y - 0.8)])
    assert env.derived.commands[0, 3] == pytest.approx(math.pi / 4, abs=0.1)


@pytest.mark.parametrize(
    ("root_pos", "quat"),
    [
        ((0.0, 0.0, 0.4), (1.0, 0.0, 0.0, 0.0)),  # sunk
        ((0.0, 0.0, 1.2), (math.cos(0.5), math.sin(0.5), 0.0, 0.0)),  # tilted by 57 degrees
        ((0.0, 5.0, 1.0), (1.0, 0.0, 0.0, 0.0)),  # beside the tile
        ((-2.5, 0.0, 1.0), (1.0, 0.0, 0.0, 0.0)),  # behind it
        ((3.0, 0.0, -1.0), (1.0, 0.0, 0.0, 0.0)),  # below it
    ],
)
def test_failures_terminate_and_are_no_time_outs(root_pos: tuple, quat: tuple) -> None:
    env = ParkourEnv(quiet(small_config()), N, CPU)
    mask, zero = torch.arange(N) == 2, torch.zeros(N, 3)
    pose = env.default_joint_pos.repeat(N, 1)
    place, turn = torch.tensor([root_pos]).repeat(N, 1), torch.tensor([quat]).repeat(N, 1)
    env.simulator.reset(mask, place, turn, zero, zero, pose, pose * 0)
    _, _, done, extras = env.step(torch.zeros(N, 10))
    assert done.tolist() == [0, 0, 1, 0, 0, 0]
    assert not extras["time_outs"].any() and not extras["success"].any()
    assert env.state.episode_length.tolist() == [1, 1, 0, 1, 1, 1]


def test_time_outs_are_told_apart_from_failures() -> None:
    env = ParkourEnv(quiet(small_config()), N, CPU)
    length = torch.zeros(N, dtype=torch.int64)
    length[1] = env.max_episode_length - 1
    env.episode_length_buf = length
    _, _, done, extras = env.step(torch.zeros(N, 10))
    assert done.tolist() == [0, 1, 0, 0, 0, 0]
    assert extras["time_outs"].tolist() == [0, 1, 0, 0, 0, 0]
    assert not extras["success"].any()


def test_a_world_that_diverges_ends_its_episode_alone_and_is_counted() -> None:
    env = ParkourEnv(quiet(small_config()), N, CPU)
    mask, zero = torch.arange(N) == 3, torch.zeros(N, 3)
    quat = torch.tensor([[1.0, 0, 0, 0]]).repeat(N, 1)
    pose = env.default_joint_pos.repeat(N, 1)
    env.simulator.reset(mask, zero + 1.0, quat, zero, zero, pose, torch.full((N, 10), 1e8))
    observation, reward, done, extras = env.step(torch.zeros(N, 10))
    assert done.tolist() == [0, 0, 0, 1, 0, 0]
    assert extras["log"]["Health/diverged"] == 1
    assert reward.isfinite().all() and all(value.isfinite().all() for value in observation.values())
    *_, extras = env.step(torch.zeros(N, 10))
    assert extras["log"]["Health/diverged"] == 0


def test_frames_are_new_after_resets_and_at_the_cameras_rate() -> None:
    config = quiet(small_config())
    env = ParkourEnv(config, N, CPU)
    assert (env.get_observations()["new_frame"] == 1).all()
    last = env.get_observations()["depth"].clone()
    for step in range(1, 12):
        observation, _, done, _ = env.step(torch.zeros(N, 10))
        due = (step % config.camera.update_interval == 0) | (done > 0)
        same = (observation["depth"] == last).all(dim=1)
        assert (observation["new_frame"][:, 0].bool() | same).all()
        assert observation["new_frame"][due].eq(1).all()
        last = observation["depth"].clone()


def test_latency_delays_an_action_by_whole_steps() -> None:
    config = quiet(small_config())
    config.randomization.action_latency = [2, 2]
    env = ParkourEnv(config, N, CPU)
    targets: list[torch.Tensor] = []
    step = env.simulator.step

    def spy(joint_targets: torch.Tensor) -> None:
        targets.append(joint_targets.clone())
        step(joint_targets)

    env.simulator.step = spy  # type: ignore[method-assign]
    actions = 0.1 * random_actions(5)
    for action in actions:
        env.step(action)
    expected = env.default_joint_pos + env.robot.action_scale * torch.cat([torch.zeros(2, N, 10), actions[:3]])
    torch.testing.assert_close(torch.stack(targets), expected)


@pytest.mark.parametrize(
    ("frames", "engine"), [(0, "mujoco"), (1, "mujoco"), pytest.param(0, "mujoco_warp", marks=pytest.mark.slow)]
)
def test_what_is_seen_was_rendered_the_episodes_latency_ago(frames: int, engine: str) -> None:
    """What another camera, which is never late, sees in every step is written down, and looked up by the time."""
    config = quiet(small_config())
    config.sim.engine, config.env.episode_length_s = engine, 0.8
    camera, interval = config.camera, config.camera.update_interval
    camera.position_noise = camera.rotation_noise_degrees = camera.depth_noise = camera.dropout = 0.0
    prompt = DepthCamera(replace(camera), N, CPU)
    camera.latency, config.randomization.camera_latency = frames, [1, 7]
    env = ParkourEnv(config, N, CPU)
    eye, everyone = prompt.initial_state(), torch.ones(N, dtype=torch.bool)
    seen_at: list[list[torch.Tensor]] = [[] for _ in range(N)]  # by the steps since the reset
    last, drawn, late_images = torch.zeros(N, 4096), set(), 0
    for actions in random_actions(120):
        sim, lengths, observation = env.sim_state, env.state.episode_length, env.get_observations()
        prompt.update(eye, everyone, everyone, sim.root_pos, sim.root_quat, env.boxes, torch.Generator())
        for n, (length, latency) in enumerate(zip(lengths.tolist(), env.state.camera.latency.tolist(), strict=True)):
            seen_at[n] = [*(seen_at[n] if length else []), eye.frames[0, n].clone()]
            assert len(seen_at[n]) == length + 1 and 1 <= latency <= 7
            time = length - latency - frames * interval
            taken = max(time - time % interval, 0)
            assert torch.equal(observation["depth"][n], seen_at[n][taken])
            assert observation["new_frame"][n] or torch.equal(observation["depth"][n], last[n])
            late_images += not torch.equal(observation["depth"][n], seen_at[n][-1])
            drawn.add(latency)
        last = observation["depth"]
        env.step(actions)
    assert len(drawn) > 4 and late_images > 60 * N


def test_cameras_are_late_from_level_1_on_and_nothing_is_drawn_for_those_that_are_not() -> None:
    config = small_config()
    config.randomization.full_at_level, config.randomization.camera_latency = 2, [2, 4]
    config.curriculum.start_level = 2
    env = ParkourEnv(config, 600, CPU)
    level, latency = env.state.terrain_level, env.state.camera.latency
    assert (latency[level == 0] == 0).all() and (level == 0).sum() > 100
    for above in (1, 2):
        shares = torch.bincount(latency[level == above], minlength=8) / (level == above).sum()
        torch.testing.assert_close(shares, torch.tensor([0, 0, 1, 1, 1, 0, 0, 0]) / 3, atol=0.12, rtol=0.0)
    first = latency.clone()
    env.reset()
    assert not torch.equal(env.state.camera.latency, first)
    config.randomization.enabled = False
    assert (ParkourEnv(config, 20, CPU).state.camera.latency == 0).all()
    # A run without it goes on as it did before there was such a thing, and the benchmark's robots start where they did.
    config.randomization.enabled, config.randomization.camera_latency = True, [0, 0]
    starts = [ParkourEnv(config, 20, CPU).sim_state.root_pos.clone()]
    columns = randomization.episode_ranges(config, [0.0] * 10, 1.0, 0.3)
    assert columns.pop("camera_latency") == []
    config.randomization.camera_latency = [0, 1]
    starts.append(ParkourEnv(config, 20, CPU).sim_state.root_pos.clone())
    assert not torch.equal(*starts)  # one more is drawn for each environment


def test_pushes_change_the_velocity_at_their_interval() -> None:
    config = small_config()
    config.randomization.push_interval = 0.1  # 5 steps
    env = ParkourEnv(config, N, CPU)
    pushed = torch.zeros(N)
    push = env.simulator.push

    def spy(mask: torch.Tensor, velocity: torch.Tensor) -> None:
        pushed.add_(mask)
        assert (velocity[:, 2] == 0).all() and velocity.abs().max() <= config.randomization.push_velocity
        push(mask, velocity)

    env.simulator.push = spy  # type: ignore[method-assign]
    for _ in range(10):
        env.step(torch.zeros(N, 10))
    assert pushed.tolist() == [2.0] * N


def test_domain_randomization_draws_within_its_ranges_at_each_reset() -> None:
    config = small_config()
    env = ParkourEnv(config, 40, CPU)
    first = {name: tensor.clone() for name, tensor in env.simulator.parameters.tensors().items()}
    random = config.randomization
    for name in ("friction", "added_mass", "motor_strength", "stiffness", "damping"):
        low, high = getattr(random, name)
        assert first[name].min() >= low and first[name].max() <= high
        assert first[name].max() - first[name].min() > 0.7 * (high - low)
    assert first["mass_offset"].abs().max() <= random.mass_offset
    env.reset()
    assert not torch.equal(env.simulator.parameters.friction, first["friction"])
    random.enabled = False
    calm = ParkourEnv(config, 4, CPU)
    assert (calm.simulator.parameters.friction == 1).all() and (calm.simulator.parameters.motor_strength == 1).all()


def test_domain_randomization_grows_with_the_terrain_level() -> None:
    config = small_config()
    config.randomization.full_at_level = 2
    config.curriculum.start_level = 2
    env = ParkourEnv(config, 300, CPU)
    low, high = config.randomization.motor_strength
    spread = [
        (env.simulator.parameters.motor_strength[env.state.terrain_level == level] - 1).abs().max()
        for level in range(3)
    ]
    assert spread[0] == 0
    assert spread[1] == pytest.approx((high - low) / 4, rel=0.1)
    assert spread[2] == pytest.approx((high - low) / 2, rel=0.1)
    latency = [env.state.action_latency[env.state.terrain_level == level].float().mean() for level in range(3)]
    assert latency[0] == 0 and latency[2] > 0.3


def test_unknown_names_are_one_clear_line() -> None:
    config = small_config()
    config.rewards.weights = {"tracking_yaaw": 1.0}
    with pytest.raises(UserError, match="did you mean 'tracking_yaw'"):
        ParkourEnv(config, 2, CPU)
    config = small_config()
    config.observations.others = ["gait_fase"]
    with pytest.raises(UserError, match="did you mean 'gait_phase'"):
        ParkourEnv(config, 2, CPU)


def test_a_foot_on_the_next_step_is_no_fall() -> None:
    env = ParkourEnv(quiet(small_config()), N, CPU)
    env.boxes = torch.tensor([0.0, 0.0, -1000.0, 1, 0, 0, 0, 0, 0, 0]).repeat(N, 32, 1)
    env.boxes[:, 0] = torch.tensor([0.0, 0.0, -0.5, 1, 0, 0, 0, 2.0, 1.0, 0.5])
    env.boxes[:, 1] = torch.tensor([1.0, 0.0, 0.2, 1, 0, 0, 0, 0.5, 1.0, 0.25])  # its top is at 0.45 m
    env.sim_state.root_pos[:] = torch.tensor([0.4, 0.0, 1.0])
    env.sim_state.foot_pos[:, 0] = torch.tensor([0.7, 0.1, 0.45])
    env.sim_state.foot_pos[:, 1] = torch.tensor([0.3, -0.1, 0.0])
    env._derive()
    torch.testing.assert_close(env.derived.base_height, torch.full((N,), 1.0))
    torch.testing.assert_close(env.derived.foot_clearance, torch.zeros(N, 2), atol=1e-6, rtol=0.0)
    # Both feet up, and the base still low: that is a fall.
    env.sim_state.foot_pos[:, 1, 0] = 0.7
    env.sim_state.root_pos[:] = torch.tensor([0.7, 0.0, 1.0])
    env._derive()
    torch.testing.assert_close(env.derived.base_height, torch.full((N,), 0.55))


def test_ranks_share_the_kinds_of_tiles_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Together, they have what one process with all environments has."""
    alone = sorted(ParkourEnv(small_config(), 6, CPU).state.terrain_kind.tolist())
    together = []
    for rank in range(2):
        monkeypatch.setattr(parkour_env, "here", lambda rank=rank: Ranks(rank, 2))
        together += ParkourEnv(small_config(), 3, CPU).state.terrain_kind.tolist()
    assert len(set(alone)) > 3
    assert sorted(together) == alone

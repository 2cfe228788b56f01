"""Units of the benchmark, run by policies whose results are known, and by the real physics."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch
from puppet import JOINT_VEL, SLIP, TORQUE, Puppeteer, PuppetOptions, PuppetSimulator, actions
from registries import put_back
from small_env import CPU
from torch import Tensor

from legged_gym_ext.config.files import load_config
from legged_gym_ext.config.schema import Config
from legged_gym_ext.envs.outcome import Outcome
from legged_gym_ext.envs.parkour_env import ParkourEnv
from legged_gym_ext.evaluation.benchmark import PARKOUR_V1, benchmark_config
from legged_gym_ext.evaluation.episodes import Episodes, Unit
from legged_gym_ext.evaluation.pairs import depth_use
from legged_gym_ext.evaluation.sight import REPLACEMENTS, Sight
from legged_gym_ext.evaluation.trial import benchmark_env, run_unit
from legged_gym_ext.runs.settle import settle
from legged_gym_ext.simulators import register
from legged_gym_ext.tasks import parkour_env
from legged_gym_ext.terrain.boxes import ABSENT

COMMANDED, TILES = 0.75, 3
KINDS = ("flat", "gaps")
UNIT = Unit("nominal", "student", "true", 4)


@pytest.fixture(autouse=True)
def puppet_engine() -> Iterator[None]:
    with put_back():
        register("puppet", PuppetOptions, PuppetSimulator, devices=("cpu",))
        yield


def config(engine: str = "puppet", setting: str = "nominal", tiles: int = TILES) -> Config:
    run = settle(load_config("parkour_depth", [f"sim.engine={engine}"]))
    return benchmark_config(run, PARKOUR_V1, KINDS, setting, COMMANDED, tiles)


def play(policy: Puppeteer, unit: Unit = UNIT, setting: str = "nominal") -> Episodes:
    with benchmark_env(parkour_env, config(setting=setting)) as env:
        return run_unit(env, policy, unit, CPU)  # type: ignore[arg-type]


def always(**values: float) -> Puppeteer:
    return Puppeteer(lambda image, proprio: actions(len(image), **values))


# Policies whose results are known -------------------------------------------------------------------------------------


def test_who_stands_still_is_stuck() -> None:
    episodes = play(always())
    assert (episodes.outcome == Outcome.STUCK).all() and not episodes.success.any()
    np.testing.assert_allclose(episodes.time, PARKOUR_V1.stuck_time, atol=0.021)
    assert (episodes.distance <= 0.3).all()
    np.testing.assert_allclose(episodes.speed, 0.0, atol=1e-6)


@pytest.mark.parametrize("speed", [0.5, 1.5])
def test_who_is_carried_to_the_end_finishes(speed: float) -> None:
    episodes = play(always(speed=speed))
    assert episodes.success.all()
    assert list(episodes.kind) == ["flat", "gaps"] * TILES and list(episodes.tile) == [0, 0, 1, 1, 2, 2]
    # from within 0.3 m of the start line to the last waypoint's radius, 12 m from it
    assert (episodes.time > (12.0 - 0.3 - 0.3) / speed).all() and (episodes.time < (12.0 + 0.35) / speed).all()
    np.testing.assert_allclose(episodes.distance, 12.0, atol=0.3)
    np.testing.assert_allclose(episodes.waypoints, 1.0)
    np.testing.assert_allclose(episodes.speed, speed, rtol=0.15)  # toward the waypoints, which are not all ahead
    np.testing.assert_allclose(episodes.speed_error, abs(speed - COMMANDED), atol=0.15)
    np.testing.assert_allclose(episodes.work, 10 * TORQUE * JOINT_VEL * episodes.time, rtol=1e-4)
    np.testing.assert_allclose(episodes.foot_slip, SLIP, rtol=1e-5)
    robot = parkour_env(config(), 1, CPU).robot
    np.testing.assert_allclose(episodes.weight, 9.81 * robot.mass, rtol=1e-5)
    np.testing.assert_allclose(episodes.torque_peak, TORQUE / robot.torque_limit.min(), rtol=1e-5)


def test_every_failure_has_its_word() -> None:
    for values, outcome, time in (
        ({"tilt": 1.0, "speed": 1.0}, Outcome.TIPPED, 0.02),
        ({"sink": 0.5, "speed": 1.0}, Outcome.SANK, 0.02),
        ({"sideways": 2.0, "speed": 1.0}, Outcome.LEFT, (2.0 + 0.3) / 2.0),
    ):
        episodes = play(always(**values))
        assert (episodes.outcome == outcome).all(), outcome
        np.testing.assert_allclose(episodes.time, time, atol=0.2)
    slow = play(always(speed=12.0 / PARKOUR_V1.time_limit / 2))
    assert (slow.outcome == Outcome.TIMED_OUT).all()
    np.testing.assert_allclose(slow.time, PARKOUR_V1.time_limit)
    np.testing.assert_allclose(slow.distance, 6.0, atol=0.31)


def test_the_first_episode_counts_and_no_later_one() -> None:
    """Robots that fall as long as no other has: in their first episode, and never again."""
    steps = 0

    def act(image: Tensor, proprio: Tensor) -> Tensor:
        nonlocal steps
        steps += 1
        falls = (torch.arange(len(image)) < 2) & (steps < 5)
        return actions(len(image), speed=1.5, tilt=falls.float())

    episodes = play(Puppeteer(act))
    assert list(episodes.outcome) == [Outcome.TIPPED] * 2 + [Outcome.FINISHED] * 4
    np.testing.assert_allclose(episodes.time[:2], 0.02)


def test_edges_are_counted_as_feet_near_them() -> None:
    """Against the boxes themselves: a point beside the foot, 5 cm away, is over another height."""
    with benchmark_env(parkour_env, config()) as env:
        episodes = run_unit(env, always(speed=1.0), UNIT, CPU)  # type: ignore[arg-type]
    assert (episodes.of_kind("gaps").edge_violations > 0.05).all()
    # 2 feet x 2 edges x 0.1 m of the way for each gap, at most
    assert (episodes.of_kind("gaps").edge_violations < 0.5).all()


# What they are shown --------------------------------------------------------------------------------------------------


def seeing(env: ParkourEnv) -> Puppeteer:
    """A policy that finishes if, and only if, it is shown the true image at every step."""

    def act(image: Tensor, proprio: Tensor) -> Tensor:
        wrong = (image - env.get_observations()["depth"]).abs().amax(dim=1) > 0
        return actions(len(image), speed=1.5, tilt=wrong.float())

    return Puppeteer(act)


@pytest.mark.parametrize("sight", list(REPLACEMENTS))
def test_who_needs_the_image_fails_without_it_and_who_does_not_does_not_care(sight: str) -> None:
    with benchmark_env(parkour_env, config()) as env:
        true = run_unit(env, seeing(env), UNIT, CPU)  # type: ignore[arg-type]
        needs = run_unit(env, seeing(env), replace(UNIT, sight=sight), CPU)  # type: ignore[arg-type]
        ignores = run_unit(env, always(speed=1.5), replace(UNIT, sight=sight), CPU)  # type: ignore[arg-type]
    assert true.success.all() and not needs.success.any() and ignores.success.all()
    for shown, points in ((needs, 100.0), (ignores, 0.0)):
        found = depth_use({UNIT: true, replace(UNIT, sight=sight): shown})
        (overall,) = (pair.difference for pair in found if pair.kind == "all" and pair.level is None)
        assert overall.points == points and overall.low <= points <= overall.high
        assert (overall.low > 0) == (points > 0)


def test_wrong_images_are_what_they_are_called() -> None:
    shown: list[Tensor] = []
    true: list[Tensor] = []
    with benchmark_env(parkour_env, config()) as env:

        def act(image: Tensor, proprio: Tensor) -> Tensor:
            shown.append(image.clone())
            true.append(env.get_observations()["depth"].clone())
            return actions(len(image), speed=1.5)

        for sight in ("blank", "frozen", "other"):
            shown.clear(), true.clear()
            run_unit(env, Puppeteer(act), replace(UNIT, sight=sight), CPU)  # type: ignore[arg-type]
            for step in (0, 7, 200):
                shift = len(shown[0]) // 2 + 1
                expected = {
                    "blank": torch.full_like(shown[0], 0.5),
                    "frozen": true[0],
                    "other": torch.cat([true[step][-shift:], true[step][:-shift]]),
                }[sight]
                assert torch.equal(shown[step], expected), (sight, step)


def level_ground(env: ParkourEnv) -> Tensor:
    """The depth image (num_envs, 4096) of a plane at each robot's lower sole, by the plane's equation."""
    camera = env.config.camera
    rows, columns = camera.resolution
    focal = columns / 2 / np.tan(np.radians(camera.horizontal_fov_degrees) / 2)
    down, right = np.meshgrid(
        (np.arange(rows) - (rows - 1) / 2) / focal, (np.arange(columns) - (columns - 1) / 2) / focal, indexing="ij"
    )
    sine, cosine = np.sin(np.radians(camera.pitch_degrees)), np.cos(np.radians(camera.pitch_degrees))
    rays = np.stack([cosine - down * sine, -right, -sine - down * cosine], axis=-1)  # in the base's frame; 1 m deep
    images = []
    for position, (w, x, y, z), soles in zip(
        env.sim_state.root_pos.double().numpy(),
        env.sim_state.root_quat.double().numpy(),
        env.sim_state.foot_pos[..., 2].double().numpy(),
        strict=True,
    ):
        up = np.array([2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)])  # the world's, in the base
        height = position[2] + up @ camera.position - soles.min()
        falls = -(rays @ up)
        depth = np.where(falls > 0, height / np.where(falls > 0, falls, 1.0), camera.far)
        images.append((np.clip(depth, camera.near, camera.far) - camera.near) / (camera.far - camera.near) - 0.5)
    return torch.tensor(np.array(images), dtype=torch.float32).flatten(1)


@pytest.mark.parametrize("late", [0, 1])
def test_the_view_of_level_ground_is_that_of_a_plane_at_the_lower_sole(late: int) -> None:
    """Robots on a hill, tilted and with a foot in the air, by the plane's equation; when its frame was taken."""
    changed = config()
    changed.camera.latency = late
    random = torch.Generator().manual_seed(late)
    at: list[Tensor] = []
    with benchmark_env(parkour_env, changed) as env:
        level = torch.full((env.num_envs,), 4)
        kind = torch.arange(env.num_envs) % len(KINDS)
        observations = env.place(kind, level, torch.zeros_like(kind))
        sight, sim, begins = Sight(env, "depth", "ground"), env.sim_state, torch.ones_like(kind, dtype=torch.bool)
        generator = env.generator.get_state()
        for step in range(23):
            quat = torch.randn(env.num_envs, 4, generator=random) * 0.1 + torch.tensor([1.0, 0.0, 0.0, 0.0])
            sim.root_quat.copy_(quat / quat.norm(dim=1, keepdim=True))
            hill = torch.rand(env.num_envs, generator=random)
            sim.root_pos[:, 2] = 0.9 + 0.2 * torch.rand(env.num_envs, generator=random) + hill
            sim.foot_pos[..., 2] = 0.3 * torch.rand(env.num_envs, 2, generator=random) + hill[:, None]
            at.append(level_ground(env))
            shown = sight.show(observations, begins)
            seen = max(step - step % changed.camera.update_interval - late * changed.camera.update_interval, 0)
            torch.testing.assert_close(shown["depth"], at[seen], atol=2e-4, rtol=0.0)
            assert (shown["new_frame"] == 1).all() and shown["proprio"] is observations["proprio"]
            env.state.episode_length += 1
            begins = torch.zeros_like(begins)
        assert torch.equal(env.generator.get_state(), generator)  # whose noise is not drawn for what is not there
    assert at[0].std() > 0.1


@pytest.mark.parametrize("group", ["depth", "scan"])
@pytest.mark.parametrize("see_robot", [False, True])
def test_on_level_ground_the_view_of_level_ground_is_the_true_one(group: str, see_robot: bool) -> None:
    changed = config("mujoco")
    changed.camera.see_robot = see_robot
    largest = []
    with benchmark_env(parkour_env, changed) as env:
        env.library.boxes[:] = torch.tensor(ABSENT)
        env.library.boxes[:, 0] = torch.tensor([5.0, 0.0, -0.5, 1.0, 0.0, 0.0, 0.0, 20.0, 20.0, 0.5])
        kind = torch.arange(env.num_envs) % len(KINDS)
        observations = env.place(kind, torch.full_like(kind, 4), torch.zeros_like(kind), seed=1)
        sight, begins = Sight(env, group, "ground"), torch.ones_like(kind, dtype=torch.bool)
        for step in range(30):
            shown = sight.show(observations, begins)[group]
            if step % 5 == 0 and step > 0:  # the soles have landed by now
                largest.append((shown - observations[group]).abs().mean())
            observations, _, done, _ = env.step(0.05 * torch.randn(env.num_envs, 10))
            begins = done > 0
    assert max(largest) < 0.01


# The same for all -----------------------------------------------------------------------------------------------------


def random_policy(seed: int) -> Puppeteer:
    """Small random actions that depend on what is seen and felt, and on nothing else."""
    weights = 0.05 * torch.randn(43, 10, generator=torch.Generator().manual_seed(seed))
    return Puppeteer(lambda image, proprio: proprio @ weights + 0.1 * image.mean(dim=1, keepdim=True))


def same(a: Episodes, b: Episodes) -> bool:
    return all(np.array_equal(x, y) for x, y in zip(a.columns().values(), b.columns().values(), strict=True))


@pytest.mark.parametrize("setting", ["nominal", "randomized", "push=1"])
def test_a_unit_does_not_depend_on_what_was_run_before(setting: str) -> None:
    units = [Unit(setting, "student", "true", level) for level in (2, 7)]
    tiles = 2
    with benchmark_env(parkour_env, config("mujoco", setting, tiles)) as env:
        forth = {unit: run_unit(env, random_policy(0), unit, CPU) for unit in units}  # type: ignore[arg-type]
    with benchmark_env(parkour_env, config("mujoco", setting, tiles)) as env:
        run_unit(env, random_policy(1), units[1], CPU)  # type: ignore[arg-type]
        back = {unit: run_unit(env, random_policy(0), unit, CPU) for unit in reversed(units)}  # type: ignore[arg-type]
    for unit in units:
        assert same(forth[unit], back[unit])
    assert not same(forth[units[0]], forth[units[1]])


def test_fewer_tiles_start_as_the_first_of_more() -> None:
    poses = []
    for tiles in (2, 7):
        with benchmark_env(parkour_env, config("mujoco", "nominal", tiles)) as env:
            seen: list[Tensor] = []

            def act(image: Tensor, proprio: Tensor, env: ParkourEnv = env, seen: list[Tensor] = seen) -> Tensor:
                state = env.sim_state
                seen.append(torch.cat([state.root_pos, state.root_quat, state.joint_pos], dim=1).clone())
                return actions(len(image), tilt=1.0)

            run_unit(env, Puppeteer(act), UNIT, CPU)
            poses.append(seen[0])
    assert len(poses[0]) == 2 * len(KINDS) and torch.equal(poses[0], poses[1][: len(poses[0])])
    assert (poses[1].std(dim=0)[:2] > 0).all()


def test_two_policies_start_alike_and_meet_the_same_disturbances() -> None:
    starts, images = [], []
    with benchmark_env(parkour_env, config("mujoco", "randomized", 2)) as env:
        for seed in (0, 1):
            first = True
            policy = random_policy(seed)
            inner = policy.act

            def act(image: Tensor, proprio: Tensor, inner=inner) -> Tensor:
                nonlocal first
                if first:
                    starts.append((env.snapshot()["simulator"], env.simulator.tile.clone()))
                    images.append(image.clone())
                    first = False
                return inner(image, proprio)

            policy.act = act
            run_unit(env, policy, UNIT, CPU)  # type: ignore[arg-type]
    assert torch.equal(images[0], images[1]) and torch.equal(starts[0][1], starts[1][1])
    for name, tensor in starts[0][0].items():
        assert torch.equal(tensor, starts[1][0][name]), name

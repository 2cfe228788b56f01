"""The runtime's control loop against NumPy, on small random policies (small_folder.py)."""

from __future__ import annotations

import math
import shutil
import sys
import threading
import tracemalloc
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import small_folder
import torch
import yaml
from small_folder import FRAME_STEPS, GAIT_PERIOD, PERIOD, SmallPolicy, random_observations

from legged_gym_ext.deploy import runtime
from legged_gym_ext.deploy.runtime import FolderError, InputError, LatencyHistogram, Mode, Policy, RobotState
from legged_gym_ext.envs.commands import velocity_commands

JOINTS = 10
AGE = 0.3


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, SmallPolicy]:
    """A folder whose limits are far away, and its policy."""
    path = tmp_path_factory.mktemp("deploy") / "folder"
    policy = small_folder.write_small_folder(path)
    return with_changes(path, safety={"target_range": [[-9.0, 9.0]] * JOINTS, "target_rate": [1e4] * JOINTS}), policy


def with_changes(folder: Path, **sections: dict[str, Any]) -> Path:
    """Change sections of policy.yaml."""
    specification = yaml.safe_load((folder / "policy.yaml").read_text())
    for section, values in sections.items():
        specification[section].update(values)
    small_folder.write_specification(folder, specification)
    return folder


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def policy(folder: tuple[Path, SmallPolicy], clock: Clock) -> Policy:
    """One that has seen an image just now."""
    return ready(Policy(folder[0], clock=clock))


def ready(policy: Policy, seed: int = 0) -> Policy:
    assert policy.set_depth(random_image(policy, np.random.default_rng(seed)))
    return policy


def random_image(policy: Policy, rng: np.random.Generator) -> np.ndarray:
    camera = policy.specification["camera"]
    return rng.uniform(0.05, 3.2, (camera["rows"], camera["columns"])).astype(np.float32)


def as_state(observations: dict[str, np.ndarray]) -> RobotState:
    values = {name: value.copy() for name, value in observations.items()}
    return RobotState(command=values.pop("commands"), **values)


def a_state(policy: Policy, seed: int = 0) -> RobotState:
    """A random possible state; joints in the policy's order."""
    return as_state(random_observations(policy.specification, np.random.default_rng(seed)))


@pytest.mark.parametrize("memory", [True, False])
@pytest.mark.parametrize("gait", [True, False])
def test_it_acts_as_the_arithmetic_says(tmp_path: Path, clock: Clock, memory: bool, gait: bool):
    """Previous actions, gait clock, memory and the held image, through resets at any time."""
    small = small_folder.write_small_folder(tmp_path / "folder", seed=1, memory=memory, gait=gait)
    with_changes(tmp_path / "folder", safety={"target_range": [[-9.0, 9.0]] * JOINTS, "target_rate": [1e4] * JOINTS})
    policy = Policy(tmp_path / "folder", clock=clock)
    rng = np.random.default_rng(2)
    features, h, actions, since = np.zeros(24, np.float32), small.initial_memory, np.zeros(JOINTS, np.float32), 0
    clipped = 0
    for step in range(150):
        clock.now = 100.0 + step * PERIOD
        if step in (0, 37, 101):
            policy.reset()
            h, actions, since = small.initial_memory, np.zeros(JOINTS, np.float32), 0
        if since % FRAME_STEPS == 0:
            image = random_image(policy, rng)
            assert policy.set_depth(image)
            features = small.encode(image.clip(max=3.0))
        observations = random_observations(small.specification, rng)
        angle = 2 * math.pi * since * PERIOD / GAIT_PERIOD
        phase = np.array([math.sin(angle), math.cos(angle)], np.float32)
        targets, actions, h = small.act({**observations, "actions": actions, "gait_phase": phase}, features, h)
        command = policy.act(as_state(observations))
        assert (command.mode, command.reason) == (Mode.POLICY, "")
        np.testing.assert_allclose(command.position, targets, atol=2e-5)
        np.testing.assert_allclose(policy.network_outputs["next_actions"][0], actions, atol=2e-5)
        clipped += (np.abs(actions) == small.specification["action"]["clip"]).sum()
        since += 1
    np.testing.assert_array_equal(command.stiffness, small.specification["robot"]["joint_stiffness"])
    np.testing.assert_array_equal(command.damping, small.specification["robot"]["joint_damping"])
    assert clipped > 5
    assert not policy.limited.target_range.any() and not policy.limited.target_rate.any()


def test_the_gait_clock_is_exact_after_hours(policy: Policy, clock: Clock):
    policy.act(a_state(policy))
    policy._steps = 3_600_000 + 13  # twenty hours and a bit
    policy.act(a_state(policy))
    angle = 2 * math.pi * ((3_600_000 + 13) % 40) / 40
    np.testing.assert_allclose(policy.network_inputs["gait_phase"][0], [math.sin(angle), math.cos(angle)], atol=1e-6)


def test_the_robots_order_of_joints_is_a_permutation(folder: tuple[Path, SmallPolicy], clock: Clock):
    path = folder[0]
    order = np.random.default_rng(3).permutation(JOINTS)
    assert (order != np.argsort(order)).any()
    straight = ready(Policy(path, clock=clock))
    names = straight.joint_names
    turned = ready(Policy(path, clock=clock, joint_names=[names[i] for i in order]))
    np.testing.assert_array_equal(turned.default_pose, straight.default_pose[order])
    moved = np.random.default_rng(4)
    for _ in range(20):
        state = as_state(random_observations(straight.specification, moved))
        permuted = replace(state, joint_pos=state.joint_pos[order], joint_vel=state.joint_vel[order])
        expected, found = straight.act(state), turned.act(permuted)
        for name in ("position", "stiffness", "damping"):
            np.testing.assert_array_equal(getattr(found, name), getattr(expected, name)[order])
    state.joint_vel[3] = np.nan
    permuted.joint_vel[list(order).index(3)] = np.nan
    assert straight.act(state).reason == turned.act(permuted).reason == f"joint_vel of {names[3]} is nan"


def test_limits_on_targets_and_their_rate(folder: tuple[Path, SmallPolicy], tmp_path: Path, clock: Clock):
    """Against a loop over numbers, in the robot's order, with what was limited counted."""
    rng = np.random.default_rng(5)
    path = Path(shutil.copytree(folder[0], tmp_path / "folder"))
    pose = np.array(folder[1].specification["robot"]["default_joint_pos"])
    low, high = pose - rng.uniform(0, 0.2, JOINTS), pose + rng.uniform(0, 0.2, JOINTS)
    rate = rng.uniform(1.0, 10.0, JOINTS)
    with_changes(path, safety={"target_range": np.stack([low, high], 1).tolist(), "target_rate": rate.tolist()})
    order = rng.permutation(JOINTS)
    names = folder[1].specification["robot"]["joint_names"]
    policy = ready(Policy(path, clock=clock, joint_names=[names[i] for i in order]))
    ranged, slowed = np.zeros(JOINTS), np.zeros(JOINTS)
    for step in range(60):
        clock.now = 100.0 + step * PERIOD
        policy.set_depth(random_image(policy, rng)) if policy.frame_due() else None
        if step % 25 == 0:
            policy.reset()
        state = as_state(random_observations(folder[1].specification, rng))
        if step % 25 == 0:
            last = state.joint_pos.astype(float)
        command = policy.act(replace(state, joint_pos=state.joint_pos[order], joint_vel=state.joint_vel[order]))
        wanted = policy.network_outputs["joint_targets"][0].astype(float)
        for i in range(JOINTS):
            target = min(max(wanted[i], low[i]), high[i])
            ranged[i] += target != wanted[i]
            stride = rate[i] * PERIOD
            slowed[i] += abs(target - last[i]) > stride
            last[i] += min(max(target - last[i], -stride), stride)
            assert command.position[list(order).index(i)] == pytest.approx(last[i], abs=1e-9)
    np.testing.assert_array_equal(policy.limited.target_range, ranged[order])
    np.testing.assert_array_equal(policy.limited.target_rate, slowed[order])
    assert 0 < ranged.sum() < 60 * JOINTS and 0 < slowed.sum() < 60 * JOINTS


def test_commands_are_kept_within_what_was_trained(policy: Policy):
    state = a_state(policy)
    state.command = np.array([5.0, 0.3, -0.5, -4.0])
    policy.act(state)
    np.testing.assert_allclose(policy.network_inputs["commands"][0], [1.0, 0.0, -0.5, -math.pi], rtol=1e-6)
    np.testing.assert_array_equal(policy.limited.command, [1, 1, 0, 1])
    state.command = np.array([0.4, 0.0, 1.0, math.pi], np.float32)  # the ends, rounded
    policy.act(state)
    np.testing.assert_array_equal(policy.limited.command, [1, 1, 0, 1])


def test_heading_commands_are_those_of_the_environment(policy: Policy):
    rng = np.random.default_rng(6)
    commands = policy.specification["commands"]
    config = SimpleNamespace(heading_gain=commands["heading_gain"], max_yaw_rate=commands["max_yaw_rate"])
    for heading, goal in rng.uniform(-math.pi, math.pi, (50, 2)):
        yaw = torch.tensor([heading])
        zero, one = torch.zeros(1), torch.ones(1)
        rows = [yaw.cos(), -yaw.sin(), zero, yaw.sin(), yaw.cos(), zero, zero, zero, one]
        rotation = torch.stack(rows, dim=1).view(1, 3, 3)
        offset = 2.5 * torch.tensor([[math.cos(goal), math.sin(goal)]])
        env: Any = SimpleNamespace(
            config=SimpleNamespace(commands=config), state=SimpleNamespace(forward_speed=torch.tensor([0.7]))
        )
        expected = velocity_commands(env, offset, rotation)[0]
        np.testing.assert_allclose(policy.heading_command(0.7, goal - heading), expected, atol=1e-5)
    state = a_state(policy)
    state.command = policy.heading_command(0.7, math.inf)
    assert policy.act(state).reason == "command[3] is nan"


# ------------------------------------------------------------------------------------------------------------ DAMPING


def spoil(name: str, value: Any, place: Any = ...) -> Callable[[RobotState], None]:
    def change(state: RobotState) -> None:
        getattr(state, name)[place] = value

    return change


IMPOSSIBLE: list[tuple[Callable[[RobotState], None], str]] = [
    *[(spoil(item.name, math.nan, 1), "is nan") for item in fields(RobotState)],
    *[(spoil(item.name, -math.inf, 0), "is -inf") for item in fields(RobotState)],
    (spoil("joint_pos", 2.05 + 0.31, 3), "joint_pos of left_knee_joint is 2.36, possible is -0.56 to 2.35"),
    (spoil("joint_pos", -0.43 - 0.31, 5), "joint_pos of right_hip_yaw_joint is -0.74, possible is -0.73 to 0.73"),
    (spoil("joint_pos", 31.5, 3), "possible is -0.56 to 2.35: is it in degrees?"),
    (spoil("joint_vel", -46.0, 9), "joint_vel of right_ankle_joint is -46, possible is -45 to 45: is it in degrees/s?"),
    (spoil("base_ang_vel", 40.0, 2), "base_ang_vel[2] is 40, possible is -35 to 35: is it in degrees/s?"),
    (spoil("base_lin_vel", 10.5, 0), "base_lin_vel[0] is 10.5, possible is -10 to 10"),
    (spoil("projected_gravity", [0.0, 0.0, -9.79]), "has length 9.79, expected a unit vector: is it in m/s^2?"),
    (spoil("projected_gravity", [0.0, 0.0, -0.94]), "projected_gravity has length 0.94, expected a unit vector"),
    (spoil("projected_gravity", [0.0, 0.0, 1.0]), "upside down"),
    (spoil("command", 1e7, 3), "command[3] is 1e+07"),
]


@pytest.mark.parametrize(("change", "reason"), IMPOSSIBLE)
def test_an_impossible_state_is_damped_until_a_reset(policy: Policy, change: Callable[[RobotState], None], reason: str):
    good = a_state(policy)
    assert policy.act(good).mode is Mode.POLICY
    bad = replace(good, **{item.name: getattr(good, item.name).astype(float) for item in fields(RobotState)})
    bad.joint_pos = bad.joint_pos + 0.01
    change(bad)
    command = policy.act(bad)
    assert command.mode is Mode.DAMPING
    assert reason in command.reason
    assert command.reason == policy.fault
    assert not command.stiffness.any()
    np.testing.assert_array_equal(command.damping, policy.specification["robot"]["joint_damping"])
    measured = bad.joint_pos if np.isfinite(bad.joint_pos).all() else good.joint_pos
    np.testing.assert_array_equal(command.position, measured)
    moved = replace(good, joint_pos=good.joint_pos * 0.9)
    command.damping.fill(9.0)  # the caller's to write to, until the next step
    again = policy.act(moved)  # all is well again, but who knows
    assert (again.mode, again.reason) == (Mode.DAMPING, policy.fault)
    np.testing.assert_array_equal(again.position, moved.joint_pos)
    np.testing.assert_array_equal(again.damping, policy.specification["robot"]["joint_damping"])
    policy.reset()
    assert policy.fault == ""
    command = policy.act(good)
    assert (command.mode, command.reason) == (Mode.POLICY, "")
    np.testing.assert_array_equal(command.stiffness, policy.specification["robot"]["joint_stiffness"])


@pytest.mark.parametrize(
    "change",
    [
        spoil("joint_pos", 2.05 + 0.29, 3),
        spoil("joint_vel", 44.0, 9),
        spoil("base_ang_vel", -34.0, 2),
        spoil("projected_gravity", [0.0, 0.0, -1.04]),
        spoil("projected_gravity", [0.96, 0.0, -0.05]),
    ],
)
def test_what_is_just_possible_is_not_damped(policy: Policy, change: Callable[[RobotState], None]):
    state = a_state(policy)
    change(state)
    assert policy.act(state).mode is Mode.POLICY


def test_joints_without_a_speed_limit(folder: tuple[Path, SmallPolicy], tmp_path: Path, clock: Clock):
    path = with_changes(
        Path(shutil.copytree(folder[0], tmp_path / "folder")), robot={"joint_vel_limits": [math.inf] * JOINTS}
    )
    policy = ready(Policy(path, clock=clock))
    state = a_state(policy)
    state.joint_vel[2] = 400.0
    assert policy.act(state).mode is Mode.POLICY
    for value in (math.inf, -math.inf, math.nan):
        policy.reset()
        state.joint_vel[2] = value
        assert policy.act(state).reason == f"joint_vel of left_hip_pitch_joint is {value}"


def test_a_reset_begins_an_episode_like_the_first(folder: tuple[Path, SmallPolicy], clock: Clock):
    """Nothing of what was before is left: memory, actions, clock, limiter."""
    path = folder[0]
    fresh = ready(Policy(path, clock=clock))
    used = ready(Policy(path, clock=clock), seed=8)
    for seed in range(7):
        used.act(a_state(used, seed))
    broken = a_state(used)
    broken.joint_pos[0] = np.nan
    used.act(broken)
    used.reset()
    assert used.set_depth(
        random_image(used, np.random.default_rng(0)), clock.now + 1e-6
    )  # at once, whenever the last was
    for seed in range(5):
        np.testing.assert_array_equal(used.act(a_state(used, seed)).position, fresh.act(a_state(fresh, seed)).position)


def test_no_image_and_old_images_are_damped(folder: tuple[Path, SmallPolicy], clock: Clock):
    policy = Policy(folder[0], clock=clock, max_frame_age=AGE)
    state = a_state(policy)
    assert policy.frame_age == math.inf
    assert policy.act(state).reason == "there is no depth image yet"
    policy.reset()
    policy.set_depth(random_image(policy, np.random.default_rng(0)), clock.now - 0.05)
    assert policy.frame_age == pytest.approx(0.05)
    for _ in range(12):
        assert policy.act(state).mode is Mode.POLICY
        clock.now += PERIOD
    assert policy.frame_age == pytest.approx(0.29)
    assert policy.act(state).mode is Mode.POLICY
    clock.now += PERIOD
    assert policy.act(state).reason == "the newest depth image is 0.310 s old (allowed: 0.3 s)"
    policy.set_depth(random_image(policy, np.random.default_rng(0)))
    assert policy.act(state).mode is Mode.DAMPING
    policy.reset()
    assert policy.act(state).mode is Mode.POLICY


def test_a_late_act_is_damped(policy: Policy, clock: Clock):
    state = a_state(policy)
    clock.now += 0.25  # after a reset there is no last one
    for _ in range(3):
        policy.set_depth(random_image(policy, np.random.default_rng(0)))
        assert policy.act(state).mode is Mode.POLICY
        clock.now += 2.9 * PERIOD
    clock.now += 0.2 * PERIOD
    assert policy.act(state).reason == "act() came 0.062 s after the last one (allowed: 0.060 s)"
    policy.reset()
    assert policy.act(state).mode is Mode.POLICY


def test_a_clock_that_goes_back_is_damped(policy: Policy, clock: Clock):
    """How old images are is not known then: those of before seem to be of the future, and new ones old."""
    state = a_state(policy)
    for _ in range(3):
        assert policy.act(state).mode is Mode.POLICY
        clock.now += PERIOD
    clock.now -= 1.0
    assert policy.act(state).reason == f"the clock went back by {1.0 - PERIOD:.3f} s"
    policy.reset()
    assert policy.act(state).reason == "the newest depth image is of 0.940 s ahead of the clock"
    policy.reset()
    assert policy.set_depth(random_image(policy, np.random.default_rng(0)))
    for _ in range(3):
        assert policy.act(state).mode is Mode.POLICY  # twice at a time is quick, not back
    clock.now = math.nan
    assert policy.act(state).mode is Mode.DAMPING


@pytest.mark.parametrize(
    ("interval", "reason"),
    [
        (0.7, ""),
        (1.4, ""),
        (0.64, "act() came every 0.0128 s, on the mean of 50 (trained: 0.0200 s)"),
        (0.0, "act() came every 0.0000 s, on the mean of 50 (trained: 0.0200 s)"),
        (1.6, "act() came every 0.0320 s, on the mean of 50 (trained: 0.0200 s)"),
    ],
)
def test_another_rate_than_the_policys_is_damped(policy: Policy, clock: Clock, interval: float, reason: str):
    """The memory and the gait clock count steps. A few quick or slow ones do not matter."""
    state, rng = a_state(policy), np.random.default_rng(4)
    clock.now += 7.0  # from the reset to the first one is no interval
    for quick_and_slow in (0.1, 1.9) * 60:
        policy.set_depth(random_image(policy, rng))
        assert policy.act(state).mode is Mode.POLICY
        clock.now += quick_and_slow * PERIOD
    policy.reset()
    for _ in range(100):
        policy.set_depth(random_image(policy, rng))
        command = policy.act(state)
        clock.now += interval * PERIOD
    assert command.reason == reason
    policy.reset()
    policy.set_depth(random_image(policy, rng))
    assert policy.act(state).mode is Mode.POLICY


@pytest.mark.parametrize("how", ["raises", "nan"])
def test_networks_that_fail_are_damped(policy: Policy, monkeypatch: pytest.MonkeyPatch, how: str):
    def run(binding: Any) -> None:
        if how == "raises":
            raise RuntimeError("out of\nmemory")
        policy._targets[4] = np.nan

    monkeypatch.setattr(policy._actor, "run", run)
    expected = "the actor failed: out of memory" if how == "raises" else "the actor's targets are not finite"
    command = policy.act(a_state(policy))
    assert (command.mode, command.reason) == (Mode.DAMPING, expected)


def test_another_thread_can_damp_while_act_hangs(policy: Policy, monkeypatch: pytest.MonkeyPatch):
    state, entered, go = a_state(policy), threading.Event(), threading.Event()
    run = policy._actor.run

    def hang(binding: Any) -> None:
        entered.set()
        assert go.wait(10)
        run(binding)

    monkeypatch.setattr(policy._actor, "run", hang)
    results: list[runtime.JointCommand] = []
    thread = threading.Thread(target=lambda: results.append(policy.act(state)))
    thread.start()
    assert entered.wait(10)
    moved = replace(state, joint_pos=state.joint_pos + 0.01)
    command = policy.damping(moved, "the control loop hangs")
    assert (command.mode, command.reason) == (Mode.DAMPING, "the control loop hangs")
    assert not command.stiffness.any()
    np.testing.assert_array_equal(command.position, moved.joint_pos.astype(np.float64))
    go.set()
    thread.join(10)
    assert (results[0].mode, results[0].reason) == (Mode.DAMPING, "the control loop hangs")  # not its late targets
    assert results[0] is not command
    assert results[0].position is not command.position
    policy.reset()
    assert policy.act(state).mode is Mode.POLICY


@pytest.mark.parametrize(
    "state", [None, "?", RobotState([1.0], 0, 0, 0, 0, 0), RobotState([math.nan] * 10, 0, 0, 0, 0, 0)]
)
def test_damping_needs_no_state(policy: Policy, state: Any):
    assert policy.act(a_state(policy)).mode is Mode.POLICY
    command = policy.damping(state)
    np.testing.assert_array_equal(command.position, a_state(policy).joint_pos.astype(np.float64))
    assert policy.damping(state, "later").reason == "asked for"  # the first reason counts


# ---------------------------------------------------------------------------------------------------- wrong arguments


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("joint_pos", np.zeros(9), "state.joint_pos: expected 10 numbers, got an array of shape (9,)"),
        ("joint_vel", np.zeros((1, 10)), "state.joint_vel: expected 10 numbers, got an array of shape (1, 10)"),
        ("base_ang_vel", 0.0, "state.base_ang_vel: expected 3 numbers, got an array of shape ()"),
        ("base_lin_vel", ["a", "b", "c"], "state.base_lin_vel: expected 3 numbers, got list"),
        ("projected_gravity", None, "state.projected_gravity: expected 3 numbers, got NoneType"),
        ("command", [1.0, [0.0, 0.0], 1.0], "state.command: expected 4 numbers, got list"),
        ("command", np.zeros(4, bool), "state.command: expected 4 numbers, got ndarray"),
        ("joint_pos", np.zeros(10, complex), "state.joint_pos: expected 10 numbers, got ndarray"),
    ],
)
def test_a_state_of_wrong_size_or_type_is_refused(policy: Policy, name: str, value: Any, message: str):
    good = a_state(policy)
    first = policy.act(good).position.copy()
    with pytest.raises(InputError) as caught:
        policy.act(replace(good, **{name: value}))
    assert str(caught.value) == message
    assert policy.fault == ""
    policy.reset()
    np.testing.assert_array_equal(policy.act(good).position, first)


def test_states_may_be_lists_and_of_any_precision(policy: Policy):
    state = a_state(policy)
    expected = policy.act(state).position.copy()
    for convert in (list, lambda array: array.astype(np.float64), lambda array: np.stack([array, array], 1)[:, 0]):
        policy.reset()
        converted = {item.name: convert(getattr(state, item.name)) for item in fields(RobotState)}
        np.testing.assert_array_equal(policy.act(RobotState(**converted)).position, expected)


def test_joint_names_that_are_not_the_policys_are_refused(folder: tuple[Path, SmallPolicy]):
    names = folder[1].specification["robot"]["joint_names"]
    wrong = {
        "joint_names: the policy's joint 'left_knee_joint' is missing (nearest: 'left_knee_link')": [
            name.replace("left_knee_joint", "left_knee_link") for name in names
        ],
        "joint_names: the policy has no joint 'waist'; leave other joints out": [*names, "waist"],
        "joint_names: 'left_ankle_joint' is there twice": [*names, "left_ankle_joint"],
    }
    for message, joints in wrong.items():
        with pytest.raises(InputError) as caught:
            Policy(folder[0], joint_names=joints)
        assert str(caught.value) == message


@pytest.mark.parametrize("age", [0.0, -1.0, math.nan, "1"])
def test_max_frame_age_is_a_time(folder: tuple[Path, SmallPolicy], age: Any):
    with pytest.raises(InputError, match="max_frame_age"):
        Policy(folder[0], max_frame_age=age)


# ------------------------------------------------------------------------------------------- determinism and memory


def test_repeats_are_bit_identical(folder: tuple[Path, SmallPolicy], clock: Clock):
    def run(policy: Policy) -> np.ndarray:
        policy.reset()
        rng = np.random.default_rng(9)
        positions = []
        for step in range(30):
            clock.now += PERIOD
            if step % FRAME_STEPS == 0:
                policy.set_depth(random_image(policy, rng))
            positions.append(policy.act(as_state(random_observations(policy.specification, rng))).position.copy())
        return np.array(positions)

    first = Policy(folder[0], clock=clock)
    expected = run(first)
    np.testing.assert_array_equal(run(first), expected)
    np.testing.assert_array_equal(run(Policy(folder[0], clock=clock)), expected)


def test_nothing_is_allocated_once_it_runs(tmp_path: Path, clock: Clock):
    """Buffers stay the same, nothing remains, and no array as large as an image is made on the way."""
    small_folder.write_small_folder(tmp_path / "folder", rows=48, columns=48, features=512)
    policy = Policy(tmp_path / "folder", clock=clock)
    rng = np.random.default_rng(0)
    image, state = random_image(policy, rng), a_state(policy)

    def run(acts: int, frames: int) -> None:
        for _ in range(frames):
            clock.now += 0.1
            assert policy.set_depth(image)
            policy._last_act = None
        for _ in range(acts):
            policy._last_act = None  # no time passes: images would grow old
            assert policy.act(state).mode is Mode.POLICY

    run(20, 20)
    buffers = [command := policy.act(state), command.position, command.stiffness, command.damping]
    arrays = {name: value for name, value in vars(policy).items() if isinstance(value, np.ndarray)}
    tracemalloc.start()
    try:
        for acts, frames, allowed in ((200, 0, 4_000), (0, 50, 8_000)):  # an image has 9,216 bytes, its features 2,048
            run(acts, frames)
            tracemalloc.reset_peak()
            before = tracemalloc.get_traced_memory()[0]
            run(acts, frames)
            after, peak = tracemalloc.get_traced_memory()
            assert after - before < 300
            assert peak - before < allowed
    finally:
        tracemalloc.stop()
    run(0, 1)
    after_all = [command := policy.act(state), command.position, command.stiffness, command.damping]
    assert all(a is b for a, b in zip(buffers, after_all, strict=True))
    assert all(vars(policy)[name] is array for name, array in arrays.items())
    blocks = sys.getallocatedblocks()
    run(500, 0)
    assert sys.getallocatedblocks() - blocks < 50


def test_latency_histogram():
    rng = np.random.default_rng(10)
    times = np.exp(rng.normal(math.log(2e-3), 1.5, 5000))
    histogram = LatencyHistogram()
    assert histogram.quantile(0.5) == 0.0
    for seconds in times:
        histogram.add(float(seconds))
    for share in (0.01, 0.5, 0.9, 0.99, 0.999):
        exact = np.quantile(times, share, method="inverted_cdf")
        assert exact <= histogram.quantile(share) <= 1.123 * exact
    assert histogram.count == sum(histogram.counts) == 5000
    assert histogram.worst == histogram.quantile(1.0) == times.max()
    histogram.add(0.0)
    histogram.add(1e4)
    assert histogram.counts[0] == 1 and histogram.counts[-1] == 1
    assert "of 5002" in str(histogram)


def test_latencies_are_counted(policy: Policy):
    policy.act(a_state(policy))
    policy.set_depth(random_image(policy, np.random.default_rng(0)))  # too early
    assert (policy.latency.act.count, policy.latency.set_depth.count) == (1, 1)
    assert 0 < policy.latency.act.worst < 10


# -------------------------------------------------------------------------------------------------------------- threads


def test_acts_see_whole_images_while_others_come(tmp_path: Path):
    """Images as quickly as they can be encoded, and acts in another thread: each uses one of the images, whole."""
    small_folder.write_small_folder(tmp_path / "folder", memory=False, gait=False, features=4000)
    with_changes(tmp_path / "folder", safety={"target_range": [[-9.0, 9.0]] * JOINTS, "target_rate": [1e4] * JOINTS})
    policy = Policy(tmp_path / "folder", clock=lambda: 0.0, max_frame_age=100.0)
    rng = np.random.default_rng(11)
    images = [random_image(policy, rng) for _ in range(4)]
    state = a_state(policy)
    expected = []
    for i, image in enumerate(images):
        policy.reset()
        assert policy.set_depth(image, -59.9 + 0.1 * i)
        expected.append(policy.act(state).position.copy())
    assert len({tuple(row) for row in expected}) == 4

    frames = 500
    failures: list[BaseException] = []

    def bring_images() -> None:
        try:
            for i in range(frames):
                assert policy.set_depth(images[i % 4], -59.0 + 0.1 * i)
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=bring_images)
    thread.start()
    seen = set()
    while thread.is_alive():
        policy.reset()  # previous actions are an input, too
        command = policy.act(state)
        assert command.mode is Mode.POLICY
        which = [i for i in range(4) if (command.position == expected[i]).all()]
        assert len(which) == 1
        seen.add(which[0])
    thread.join()
    assert not failures
    assert len(seen) > 1


def test_neither_waits_for_the_others_networks(policy: Policy, clock: Clock, monkeypatch: pytest.MonkeyPatch):
    """While an image is encoded, acts go on with the one before; while an act is computed, images can be brought."""
    state, rng = a_state(policy), np.random.default_rng(12)
    images = [random_image(policy, rng) for _ in range(3)]
    expected = []
    for image in images:
        policy.reset()
        clock.now += 0.1
        policy.set_depth(image)
        expected.append(policy.act(state).position.copy())

    def in_the_middle(graph: Any, then: Callable[[], None]) -> tuple[threading.Event, threading.Event]:
        entered, go, run = threading.Event(), threading.Event(), graph.run

        def wait(binding: Any) -> None:
            then() if graph is policy._encoder else None
            run(binding)
            entered.set()
            assert go.wait(10)
            then() if graph is policy._actor else None

        monkeypatch.setattr(graph, "run", wait)
        return entered, go

    clock.now += 0.1
    policy.reset()
    policy.set_depth(images[0])
    entered, go = in_the_middle(policy._encoder, lambda: None)
    clock.now += 0.1
    thread = threading.Thread(target=policy.set_depth, args=(images[1],))
    thread.start()
    assert entered.wait(10)
    np.testing.assert_array_equal(policy.act(state).position, expected[0])
    assert policy.frame_age == pytest.approx(0.1)
    go.set()
    thread.join(10)
    monkeypatch.undo()
    policy.reset()
    np.testing.assert_array_equal(policy.act(state).position, expected[1])

    results: list[np.ndarray] = []
    entered, go = in_the_middle(policy._actor, lambda: None)
    policy.reset()
    thread = threading.Thread(target=lambda: results.append(policy.act(state).position.copy()))
    thread.start()
    assert entered.wait(10)
    for image in (images[2], images[0]):
        clock.now += 0.1
        assert policy.set_depth(image)
    go.set()
    thread.join(10)
    np.testing.assert_array_equal(results[0], expected[1])


def test_several_cameras_threads_take_turns(policy: Policy, clock: Clock):
    """One of several threads that bring the same frame is used."""
    clock.now += 0.1
    used: list[bool] = []
    image = random_image(policy, np.random.default_rng(13))
    threads = [threading.Thread(target=lambda: used.append(policy.set_depth(image, clock.now))) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert sorted(used) == [False] * 5 + [True]


def test_folders_of_others_are_refused(folder: tuple[Path, SmallPolicy], tmp_path: Path):
    with pytest.raises(FolderError, match=r"policy.yaml is missing: is that a policy folder\?"):
        Policy(tmp_path)

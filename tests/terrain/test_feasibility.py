"""A task that allows parkour: the robot can do what each level of each kind asks, as fast as it is told to go."""

from __future__ import annotations

import math
from collections.abc import Iterable

import mujoco
import numpy as np
import pytest
import torch
from feasibility import CLEARANCE, GRAVITY, LEAN, TAKE_OFF, Asked, Legs, asked, hardest, impossible, legs

from legged_gym_ext.config.files import load_config
from legged_gym_ext.config.schema import Config
from legged_gym_ext.envs.commands import forward_speed
from legged_gym_ext.evaluation.benchmark import PARKOUR_V1, commanded_speed
from legged_gym_ext.terrain.kinds import KINDS, only
from legged_gym_ext.terrain.tiles import make
from legged_gym_ext.urdf import parse_urdf

VARIANTS, LEVELS = 4, range(10)


@pytest.fixture(scope="module")
def config() -> Config:
    return load_config("parkour_depth")


@pytest.fixture(scope="module")
def robot(config: Config) -> Legs:
    return legs(config)


def slowest(config: Config, level: int, share: float = 0.0) -> float:
    """Return the least speed that is commanded at a level; with a ``share`` of 0.5 the middle one."""
    return float(forward_speed(config.commands, torch.tensor([level]), torch.tensor([share])))


def most(config: Config, kind: str, level: int) -> Asked:
    """Return the most that a tile of a level asks."""
    return hardest([asked(kind, make(config.terrain, kind, level, n), config) for n in range(VARIANTS)])


def complaints(config: Config, robot: Legs, kind: str, share: float = 0.0, levels: Iterable[int] = LEVELS) -> list[str]:
    found = []
    for level in levels:
        found += impossible(kind, level, most(config, kind, level), slowest(config, level, share), robot, config)
    return found


# The task -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", list(KINDS))
def test_every_level_is_possible_at_its_slowest_command(kind: str, config: Config, robot: Legs) -> None:
    assert complaints(config, robot, kind) == []


@pytest.mark.parametrize(("share", "lost"), [(0.0, {8, 9}), (0.5, {9}), (1.0, set())])
def test_the_commands_of_before_left_wide_gaps_to_those_who_go_faster(
    share: float, lost: set[int], robot: Legs
) -> None:
    """0.4 to 0.9 m/s at all levels: at 0.4 m/s, and at 0.65 m/s, no step over the widest gaps keeps that speed."""
    before = load_config("parkour_depth", ["commands.forward_speed=[0.4,0.9]", "commands.full_at_level=0"])
    found = complaints(before, robot, "gaps", share)
    assert {int(line.split()[2]) for line in found} == lost
    assert all(": gap, m:" in line for line in found)


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ("terrain.gaps.width=[0.02,1.0]", "gap"),
        ("terrain.steps.height=[0.015,0.6]", "rise"),
        ("terrain.hurdles.height=[0.015,0.6]", "rise"),
        ("terrain.hurdles.thickness=[0.3,1.2]", "bar"),
        ("terrain.stairs.run=[0.5,0.15]", "sole, m, on the shortest"),
        ("terrain.stepping_stones.gap=[0.02,1.1]", "gap"),
        ("terrain.stepping_stones.width=[2.0,0.15]", "sole, m, on the narrowest"),
        ("terrain.ramps.tilt_degrees=[0.25,35]", "slope"),
        ("terrain.ramps.tilt_degrees=[0.25,26]", "tilt to the side"),
        ("terrain.beams.width=[4.0,0.15]", "sole, m, on the narrowest"),
        ("commands.forward_speed=[0.4,1.4]", "gap"),
    ],
)
def test_what_is_too_much_is_found(change: str, what: str, robot: Legs) -> None:
    kind = change.split(".")[1] if change.startswith("terrain") else "gaps"
    config = load_config("parkour_depth", [change, *only([kind])])
    found = complaints(config, robot, kind, levels=(0, 9) if "speed" not in change else (8,))
    assert any(f": {what}" in line for line in found)
    assert not any("level 0" in line for line in found)


def test_a_sole_comes_onto_the_highest_step_only_if_the_pelvis_rolls(config: Config, robot: Legs) -> None:
    """Why the last levels of steps are so hard: upright, the sole can be lifted 2 mm higher than the step."""
    highest = most(config, "steps", 9).rise
    assert highest == pytest.approx(0.45, abs=1e-4)
    assert robot.lift() - CLEARANCE < highest < robot.lift()
    assert robot.lift(0.1) - CLEARANCE > highest


def test_there_is_time(config: Config) -> None:
    """To be promoted within an episode at the slowest command; and for the whole course in the benchmark."""
    length, episode = config.terrain.length, config.env.episode_length_s
    for level in range(config.terrain.levels):
        speed = slowest(config, level)
        share = config.curriculum.promote * min(length, speed * episode)
        assert share / speed <= 0.85 * episode  # the rest is for starting and for what takes longer
    assert length / commanded_speed(config) <= 0.5 * PARKOUR_V1.time_limit


# The mechanics --------------------------------------------------------------------------------------------------------


def test_what_is_asked_is_what_the_tiles_are_made_of(config: Config) -> None:
    """At the last level, whose largest obstacles have the configured sizes."""
    what = {kind: most(config, kind, 9) for kind in KINDS}
    assert what["gaps"].gap == pytest.approx(0.8, abs=0.011) and what["gaps"].rise == 0
    assert 0.99 < what["gaps"].tread < 1.5
    assert what["steps"].rise == what["steps"].drop == pytest.approx(0.45, abs=1e-4)
    assert what["steps"].tread == pytest.approx(0.9, abs=0.011) and what["steps"].gap == 0
    assert what["hurdles"].rise == pytest.approx(0.4, abs=1e-4)
    assert what["hurdles"].bar == pytest.approx(0.12, abs=0.011) and what["hurdles"].tread > 1.39
    assert what["stairs"].rise == pytest.approx(0.2, abs=1e-4)
    assert what["stairs"].tread == pytest.approx(0.3, abs=0.011)
    assert what["stepping_stones"].gap == pytest.approx(0.3) and what["stepping_stones"].tread == pytest.approx(0.32)
    assert 0.12 < what["stepping_stones"].rise <= 0.24
    assert what["ramps"].gap == pytest.approx(0.3, abs=0.011)
    assert math.degrees(max(what["ramps"].roll, what["ramps"].pitch)) == pytest.approx(22, abs=0.1)
    assert what["beams"].width == pytest.approx(0.3) and what["beams"].gap == 0
    assert what["flat"].rise == pytest.approx(0.05, abs=1e-4) and what["flat"].tread == math.inf


def test_reach_and_lift_are_those_of_mujocos_kinematics(config: Config, robot: Legs) -> None:
    """Of many random poses with a flat left sole: none goes farther than the formulas, the best nearly as far."""
    model = parse_urdf(robot.robot.urdf).compile()
    data, random = mujoco.MjData(model), np.random.default_rng(0)
    address = {name: model.joint(f"left_{name}_joint").qposadr[0] for name in ("hip_pitch", "knee", "ankle")}
    hip, sole = model.body("left_hip_pitch_link").id, []
    for _ in range(20000):
        a, knee = random.uniform(*robot.limits("hip_pitch")), random.uniform(*robot.limits("knee"))
        low, high = robot.limits("ankle")
        if low <= -(a + knee) <= high:
            data.qpos[list(address.values())] = a, knee, -(a + knee)
            mujoco.mj_kinematics(model, data)
            foot = model.body("left_ankle_link").id
            centre = data.xpos[foot] + data.xmat[foot].reshape(3, 3) @ robot.robot.sole[0]
            sole.append(centre - data.xpos[hip])
    x, _, z = np.array(sole).T
    assert robot.standing + z.max() <= robot.lift() + 1e-9
    assert robot.standing + z.max() == pytest.approx(robot.lift(), abs=0.01)
    assert -z.min() == pytest.approx(robot.standing, abs=0.005)
    for height in (0.5, 0.6, 0.7, 0.8):
        near = np.abs(-z - height) < 0.01
        for ahead in (True, False):
            reach = (x if ahead else -x)[near].max()
            bounds = [robot.reach(height + slack, ahead) for slack in np.linspace(-0.01, 0.01, 5)]
            assert min(bounds) - 0.03 < reach <= max(bounds) + 1e-3


def test_a_body_passes_over_a_foot_that_is_within_reach_of_its_speed() -> None:
    """The bound on the far side of a gap: a body on a massless leg at constant height, integrated."""
    height, step = 0.8, 1e-4
    for speed in (0.4, 1.15):
        for factor, passes in ((0.98, True), (1.02, False)):
            x, v = -factor * speed * math.sqrt(height / GRAVITY), speed
            while x < 0 < v:
                v += GRAVITY / height * x * step
                x += v * step
            assert (x >= 0) == passes


def test_the_knee_carries_what_a_force_balance_says(robot: Legs) -> None:
    """Static torque in MuJoCo: the right leg stands, all weight acts on its ankle, straight under the hip."""
    model = parse_urdf(robot.robot.urdf).compile()
    data = mujoco.MjData(model)
    bend = 0.9  # of the knee, both ways from the vertical: thigh and shank are equally long
    names = ("right_hip_pitch_joint", "right_knee_joint")
    data.qpos[[model.joint(name).qposadr[0] for name in names]] = -bend / 2, bend
    mujoco.mj_kinematics(model, data)
    mujoco.mj_comPos(model, data)
    knee, ankle = model.joint("right_knee_joint"), data.body("right_ankle_link").xpos
    jacobian = np.zeros((3, model.nv))
    mujoco.mj_jac(model, data, jacobian, None, ankle.reshape(3, 1), model.body("right_ankle_link").id)
    torque = abs(jacobian[2, knee.dofadr[0]] * robot.robot.mass * GRAVITY)
    height = data.body("right_hip_pitch_link").xpos[2] - ankle[2] + robot.sole_below
    assert robot.knee_torque(height) == pytest.approx(torque, rel=1e-3)
    assert robot.climbing_torque(robot.standing - height) == pytest.approx(torque, rel=1e-3)


def test_a_hop_is_little_to_the_legs_and_a_step_no_work_for_the_hips(config: Config, robot: Legs) -> None:
    assert 0.6 * robot.take_off_limit() > TAKE_OFF
    for speed in (slowest(config, 0), config.commands.forward_speed[1]):
        # From straight behind to straight ahead while the body goes over the other foot: at most this far per radian.
        turn = 2 * robot.limits("hip_pitch")[1] / (robot.straddle(config) / speed)
        assert turn < 0.5 * robot.speed_limit["hip_pitch"]
    assert robot.limits("hip_roll")[1] > LEAN

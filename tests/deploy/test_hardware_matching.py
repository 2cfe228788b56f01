"""A policy and a robot that do not go together are refused, in one line, before anything is sent."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import hardware_rig
import numpy as np
import pytest
from hardware_rig import NAMES, Rig

from legged_gym_ext.deploy.hardware.driver import RobotDescription
from legged_gym_ext.deploy.hardware.loop import Options
from legged_gym_ext.deploy.hardware.loopback import robot_for
from legged_gym_ext.deploy.hardware.matching import match
from legged_gym_ext.errors import UserError

ROBOT = robot_for(hardware_rig.specification())


def camera(**changes: Any) -> RobotDescription:
    assert ROBOT.camera is not None
    return replace(ROBOT, camera=replace(ROBOT.camera, **changes))


def limits(index: int, low: float, high: float) -> RobotDescription:
    pairs = list(ROBOT.target_limits)
    pairs[index] = (low, high)
    return replace(ROBOT, target_limits=tuple(pairs))


def turned(degrees: float) -> tuple[float, ...]:
    """The trained camera's rotation, pitched by so many degrees more."""
    w, _, y, _ = hardware_rig.SPECIFICATION["camera"]["quat"]
    angle = 2 * math.atan2(y, w) + math.radians(degrees)
    return (math.cos(angle / 2), 0.0, math.sin(angle / 2), 0.0)


REFUSED = {
    "another name": (
        replace(ROBOT, joint_names=(*NAMES[:-1], "right_ankel")),
        "right_ankle.*did you mean 'right_ankel'",
    ),
    "one joint more": (replace(ROBOT, joint_names=(*NAMES, "waist")), "'waist'.*allowed:"),
    "a joint twice": (replace(ROBOT, joint_names=(*NAMES, NAMES[0])), "names a joint twice"),
    "other rate": (replace(ROBOT, control_period=0.01), "every 0.01 s.*trained at 0.02 s"),
    "slow states": (replace(ROBOT, state_period=0.04), "state every 0.04 s.*0.02 s or sooner"),
    "nervous": (replace(ROBOT, command_timeout=0.05), "after 0.05 s without a command.*0.06 s or more"),
    "low limit": (limits(3, 0.2, 2.0), "left_knee: .*0.1 .. 1.6 rad.*allows 0.2 .. 2"),
    "high limit": (limits(8, -1.0, 1.5), "right_knee: .*allows -1 .. 1.5"),
    "pose": (limits(4, -0.27, 0.6), "left_ankle: .*-0.3 .. 0.4 rad.*allows -0.27 .. 0.6"),
    "weak": (replace(ROBOT, torque_limits=(*ROBOT.torque_limits[:-1], 39.0)), "right_ankle: .*39 N m.*40 or more"),
    "soft": (replace(ROBOT, stiffness_range=(0.0, 180.0)), "left_knee: .*stiffness of 200.*allows 0 .. 180"),
    "undamped": (replace(ROBOT, damping_range=(2.5, 10.0)), "left_hip_yaw: .*damping of 2 .*allows 2.5 .. 10"),
    "blind": (replace(ROBOT, camera=None), "no depth camera"),
    "slow camera": (camera(period=0.2), "depth image every 0.2 s.*0.1 s or sooner"),
    "elsewhere": (camera(position=(0.12, 0.0, 0.40)), "0.050 m from where"),
    "turned": (camera(quat=turned(5.0)), "turned by 5.0 degrees"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_does_not_go_together_is_refused(case: str) -> None:
    robot, message = REFUSED[case]
    with pytest.raises(UserError, match=message) as error:
        match(hardware_rig.specification(), robot)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "changes", [{"control_period": 0.01}, {"joint_names": (*NAMES[:-1], "tail")}, {"camera": None}]
)
def test_nothing_is_sent_to_a_robot_that_is_refused(changes: dict[str, Any]) -> None:
    rig = Rig(Options(send=True, start=True, duration=1.0), **changes)
    with pytest.raises(UserError):
        rig.run()
    rig.time.sleep(0.2)
    assert rig.robot.packets == 0 and rig.transport.sent == []


@pytest.mark.parametrize(
    "robot",
    [
        ROBOT,
        replace(ROBOT, control_period=0.0201, state_period=0.002, command_timeout=0.06),
        replace(ROBOT, torque_limits=tuple(2 * limit for limit in ROBOT.torque_limits)),
        camera(period=1 / 30, position=(0.13, 0.01, 0.34), quat=turned(-2.0)),
        camera(quat=tuple(-x for x in turned(0.0))),  # the same rotation
    ],
)
def test_what_goes_together_is_not_refused(robot: RobotDescription) -> None:
    match(hardware_rig.specification(), robot)


def test_numbers_are_in_the_robots_order() -> None:
    order = np.random.default_rng(0).permutation(10)
    reordered = replace(
        ROBOT,
        joint_names=tuple(NAMES[i] for i in order),
        target_limits=tuple(ROBOT.target_limits[i] for i in order),
        torque_limits=tuple(ROBOT.torque_limits[i] for i in order),
    )
    plan, spec = match(hardware_rig.specification(), reordered), hardware_rig.SPECIFICATION
    for values, wanted in (
        (plan.default_joint_pos, spec["robot"]["default_joint_pos"]),
        (plan.stiffness, spec["robot"]["joint_stiffness"]),
        (plan.damping, spec["robot"]["joint_damping"]),
        (np.stack(plan.measurable, axis=1), spec["robot"]["joint_pos_limits"]),
        (np.stack(plan.ramp_range, axis=1), ROBOT.target_limits),
        (plan.target_rate, spec["safety"]["target_rate"]),
    ):
        np.testing.assert_array_equal(values, np.array(wanted)[order])

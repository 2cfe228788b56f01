"""The sketch of docs/deploy.md, run with doubles of the SDK that have nothing but what the sketch says it uses."""

from __future__ import annotations

import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hardware_rig import SPECIFICATION

from legged_gym_ext.deploy.hardware.matching import match
from legged_gym_ext.deploy.runtime import JointCommand, Mode
from legged_gym_ext.errors import UserError

DOCUMENT = Path(__file__).parents[2] / "docs" / "deploy.md"
LEGS = [7, 3, 4, 5, 10, 8, 0, 1, 2, 11]
"""Unitree's numbers of the motors, in the order of the names below."""
NAMES = [f"{s}_{j}_joint" for s in ("left", "right") for j in ("hip_yaw", "hip_roll", "hip_pitch", "knee", "ankle")]


class Motor:
    __slots__ = ("dq", "kd", "kp", "mode", "q", "tau")  # a name that is not there cannot be set

    def __init__(self) -> None:
        self.mode = self.q = self.dq = self.tau = self.kp = self.kd = 0


class Command:
    __slots__ = ("crc", "gpio", "head", "level_flag", "motor_cmd")

    def __init__(self) -> None:
        self.head, self.level_flag, self.crc = [0, 0], 0, 0
        self.motor_cmd = [Motor() for _ in range(20)]


class Crc:
    def Crc(self, command: Command) -> int:
        return hash(tuple((m.mode, m.q, m.dq, m.tau, m.kp, m.kd) for m in command.motor_cmd)) % 2**32


class Robot:
    """What is published, as it was at that moment, and what the subscriber wants to be called with."""

    def __init__(self) -> None:
        self.published: list[dict[str, Any]] = []
        self.works = True
        self.services = ["ai", "ai", ""]
        self.code = 0
        self.take: Any = None

    def publisher(self, topic: str, kind: type) -> Any:
        assert topic == "rt/lowcmd"
        return types.SimpleNamespace(Init=lambda: None, Write=self.write, Close=lambda: None)

    def subscriber(self, topic: str, kind: type) -> Any:
        def subscribe(handler: Any, length: int) -> None:
            self.take = handler

        assert topic == "rt/lowstate"
        return types.SimpleNamespace(Init=subscribe, Close=lambda: None)

    def switcher(self) -> Any:
        return types.SimpleNamespace(
            SetTimeout=lambda seconds: None,
            Init=lambda: None,
            CheckMode=lambda: (self.code, {"name": self.services[0]} if self.code == 0 else None),
            ReleaseMode=lambda: self.services.pop(0),
        )

    def write(self, command: Command) -> bool:
        if self.works:
            assert command.crc == Crc().Crc(command)
            rows = [(m.mode, m.q, m.dq, m.tau, m.kp, m.kd) for m in command.motor_cmd]
            self.published.append({"head": list(command.head), "flag": command.level_flag, "motors": rows})
        return self.works


@pytest.fixture
def robot(monkeypatch: pytest.MonkeyPatch) -> Robot:
    robot = Robot()
    contents = {
        "comm.motion_switcher.motion_switcher_client": {"MotionSwitcherClient": robot.switcher},
        "core.channel": {
            "ChannelFactoryInitialize": lambda number, interface: None,
            "ChannelPublisher": robot.publisher,
            "ChannelSubscriber": robot.subscriber,
        },
        "idl.default": {"unitree_go_msg_dds__LowCmd_": Command},
        "idl.unitree_go.msg.dds_": {"LowCmd_": Command, "LowState_": object},
        "utils.crc": {"CRC": Crc},
    }
    for name, content in contents.items():
        module = types.ModuleType(name)
        vars(module).update(content)
        monkeypatch.setitem(sys.modules, f"unitree_sdk2py.{name}", module)
    return robot


@pytest.fixture
def sketch(robot: Robot, monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    text = DOCUMENT.read_text("utf-8")
    code = next(block.split("```")[0] for block in text.split("```python\n")[1:] if "class H1" in block)
    module = types.ModuleType("my_robot")
    exec(compile(code, "my_robot.py", "exec"), vars(module))
    vars(module).update(my_estimator=lambda: [0.5, 0.0, 0.0], my_camera=lambda: None)
    monkeypatch.setattr(module.time, "sleep", lambda seconds: None)
    return module


def message(q: np.ndarray, dq: np.ndarray, quat: Any = (1, 0, 0, 0), gyroscope: Any = (0, 0, 0)) -> Any:
    motors = [types.SimpleNamespace(q=a, dq=b, tau_est=0.0) for a, b in zip(q, dq, strict=True)]
    imu = types.SimpleNamespace(quaternion=list(quat), gyroscope=list(gyroscope))
    return types.SimpleNamespace(motor_state=motors, imu_state=imu)


def test_it_releases_the_robots_own_service_and_sends_nothing(sketch: Any, robot: Robot) -> None:
    driver = sketch.connect("", "eth0")
    assert robot.services == [""] and robot.published == []
    assert driver.read() is None and driver.read_depth() is None
    robot.code = 3104
    with pytest.raises(UserError, match="code 3104"):
        sketch.connect("", "eth0")


def test_it_goes_with_the_policy(sketch: Any) -> None:
    spec = {**SPECIFICATION, "robot": {**SPECIFICATION["robot"], "joint_names": NAMES}}
    match(spec, sketch.connect("", "eth0").description)


def test_joints_are_read_from_their_motors(sketch: Any, robot: Robot) -> None:
    driver, rng = sketch.connect("", "eth0"), np.random.default_rng(0)
    q, dq = rng.normal(size=(2, 20))
    robot.take(message(q, dq))
    state = driver.read().state
    assert driver.description.joint_names == tuple(NAMES)
    np.testing.assert_array_equal(state.joint_pos, q[LEGS])
    np.testing.assert_array_equal(state.joint_vel, dq[LEGS])
    np.testing.assert_array_equal(state.base_lin_vel, [0.5, 0.0, 0.0])


def rotation(axis: int, angle: float) -> np.ndarray:
    c, s = np.cos(angle), np.sin(angle)
    matrix = np.eye(3)
    first, second = [i for i in range(3) if i != axis]
    matrix[[first, second], [first, second]] = c
    matrix[first, second], matrix[second, first] = (s, -s) if axis == 1 else (-s, s)
    return matrix


def test_the_waist_is_taken_off(sketch: Any, robot: Robot) -> None:
    """A pelvis with any attitude and angular velocity, and a torso that turns on it, by rotation matrices."""
    driver, rng = sketch.connect("", "eth0"), np.random.default_rng(1)
    for _ in range(5):
        yaw, pitch, roll, waist, waist_speed = rng.uniform(-1, 1, 5)
        pelvis = rotation(2, yaw) @ rotation(1, pitch) @ rotation(0, roll)  # pelvis to world
        torso = pelvis @ rotation(2, waist)
        omega = rng.normal(size=3)  # of the pelvis, in its own frame
        gyroscope = rotation(2, waist).T @ (omega + [0, 0, waist_speed])
        w = np.sqrt(1 + np.trace(torso)) / 2
        quat = [
            w,
            *(np.array([torso[2, 1] - torso[1, 2], torso[0, 2] - torso[2, 0], torso[1, 0] - torso[0, 1]]) / 4 / w),
        ]
        q, dq = np.zeros((2, 20))
        q[6], dq[6] = waist, waist_speed
        robot.take(message(q, dq, quat, gyroscope))
        state = driver.read().state
        np.testing.assert_allclose(state.base_ang_vel, omega, atol=1e-12)
        np.testing.assert_allclose(state.projected_gravity, pelvis.T @ [0, 0, -1], atol=1e-12)


def test_commands_reach_their_motors_and_the_rest_is_held(sketch: Any, robot: Robot) -> None:
    driver, rng = sketch.connect("", "eth0"), np.random.default_rng(2)
    measured = rng.normal(size=20)
    robot.take(message(measured, np.zeros(20)))
    position, stiffness, damping = rng.uniform(1, 2, (3, 10))
    driver.write(JointCommand(position, stiffness, damping, Mode.POLICY, ""))
    (sent,) = robot.published
    assert sent["head"] == [0xFE, 0xEF] and sent["flag"] == 0xFF
    motors = np.array(sent["motors"])
    np.testing.assert_allclose(motors[LEGS][:, [1, 4, 5]], np.stack([position, stiffness, damping], axis=1))
    assert (motors[:, 2:4] == 0).all()
    held = [6, *range(12, 20)]
    np.testing.assert_allclose(motors[held, 1], measured[held])
    assert (motors[held, 4] > 0).all() and (motors[held, 5] > 0).all()
    weak = [10, 11, *range(12, 20)]
    assert all(motors[i, 0] == (1 if i in weak else 10) for i in range(20))


def test_a_stop_is_latched(sketch: Any, robot: Robot) -> None:
    driver = sketch.connect("", "eth0")
    robot.take(message(*np.zeros((2, 20))))
    command = JointCommand(*np.ones((3, 10)), mode=Mode.POLICY, reason="")
    driver.write(JointCommand(*np.ones((3, 10)), mode=Mode.DAMPING, reason=""))  # not a stop yet
    driver.write(command)
    driver.stop()
    driver.write(command)
    stiffness = [np.array(sent["motors"])[:, 4].max() for sent in robot.published]
    assert stiffness[0] == 0 and stiffness[1] > 0 and stiffness[2:] == [0, 0]
    assert (np.array(robot.published[-1]["motors"])[LEGS, 5] > 0).all()


def test_a_command_that_is_not_published_is_an_error(sketch: Any, robot: Robot) -> None:
    driver = sketch.connect("", "eth0")
    robot.take(message(*np.zeros((2, 20))))
    robot.works = False
    with pytest.raises(OSError, match="could not be published"):
        driver.write(JointCommand(*np.ones((3, 10)), mode=Mode.POLICY, reason=""))

"""The same in real time: sockets, threads, signals and processes, on 127.0.0.1 only.

This machine may be busy, so limits on time are generous, and what counts is who was first.
"""

from __future__ import annotations

import contextlib
import io
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hardware_rig import NAMES, PuppetPolicy, check_commands
from small_folder import write_small_folder

from legged_gym_ext.deploy.hardware import __main__ as command
from legged_gym_ext.deploy.hardware.clock import MonotonicClock
from legged_gym_ext.deploy.hardware.loop import ControlLoop, Operator, Options
from legged_gym_ext.deploy.hardware.loopback import Faults, LoopbackRobot, Running, robot_for
from legged_gym_ext.deploy.hardware.report import Report
from legged_gym_ext.deploy.hardware.udp import HOST, ROBOT, Address, UdpDriver, UdpTransport, name_of, read_address
from legged_gym_ext.deploy.runtime import Mode, read_specification
from legged_gym_ext.errors import UserError

PATIENT = Options(
    send=True, start=True, duration=4.0, ramp=0.3, lost_after=50, overruns=100, hang_after=50, damping=0.3
)
"""For a machine that is busy with something else."""


def free_address() -> Address:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()


class Host:
    """A robot that lives in a thread, and a puppet policy on this side of real sockets."""

    def __init__(self, faults: Faults | None = None, max_frame_age: float = 1.0) -> None:
        here, there = free_address(), free_address()
        self.policy = PuppetPolicy(MonotonicClock(), max_frame_age=max_frame_age)
        description = replace(robot_for(self.policy.specification), command_timeout=1.0)
        self.robot = LoopbackRobot(description, faults=faults)
        self._ends = UdpTransport(here, there), UdpTransport(there, here)
        self._running = Running(self.robot, self._ends[1])
        self.operator = Operator()
        self.report = Report(0.0)

    def __enter__(self) -> Host:
        self._running.__enter__()
        self.driver = UdpDriver(self._ends[0])
        return self

    def __exit__(self, *_: object) -> None:
        self._running.__exit__()
        for end in self._ends:
            end.close()

    def run(self, options: Options) -> Report:
        loop = ControlLoop(self.policy, self.driver, options, operator=self.operator, show=lambda text: None)  # pyright: ignore[reportArgumentType]
        self.began = self.robot.elapsed
        self.report = loop.run()
        return self.report

    def damped(self, within: float = 2.0) -> float:
        """Return when the robot went to damping; wait for it."""
        end = time.monotonic() + within
        while self.robot.damping_since is None and time.monotonic() < end:
            time.sleep(0.005)
        assert self.robot.damping_since is not None
        return self.robot.damping_since

    def check(self) -> None:
        """Hold all that the robot received against the limits, and that nothing came after damping."""
        phases = {name: self.began + at for at, name in self.report.phases}
        check_commands(self.robot.received, phases.get("policy", float("inf")) + 0.1, slack=0.3)
        since = self.damped()
        assert all(item.time <= since or item.command.mode is Mode.DAMPING for item in self.robot.received)


def test_over_a_bad_network_until_the_camera_dies() -> None:
    """2 % of packets lost, others late by up to 5 ms, and the camera dies in mid-course."""
    faults = Faults(loss=0.02, jitter=0.005, duplicate=0.02, corrupt=0.02, camera_dies_at=1.5)
    with Host(faults, max_frame_age=0.5) as host:
        report = host.run(PATIENT)
        assert [name for _, name in report.phases] == ["ramp", "ready", "policy", "damping"]
        assert report.failed == "the policy: no depth frame"
        assert 1.5 < host.damped() < 1.5 + 0.5 + 1.0
        host.check()
        assert len(host.robot.received) > 20


def test_a_dry_run_sends_not_one_packet() -> None:
    """Not even where it stands still for a while: the watchdog only watches who moves a robot."""
    with Host() as host:

        def hang_once(state: object) -> None:
            if len(host.policy.states) == 3:
                time.sleep(0.5)

        host.policy.before = hang_once
        report = host.run(replace(PATIENT, send=False, duration=1.2, hang_after=5))
        time.sleep(0.1)
        assert host.robot.packets == 0 and report.sent == 0
        assert len(host.policy.states) > 5


def test_a_policy_that_hangs_is_stopped_by_the_watchdog() -> None:
    with Host() as host:
        returned: list[float] = []

        def hang(state: object) -> None:
            if host.policy.resets and not returned:
                time.sleep(1.5)
                returned.append(host.robot.elapsed)

        host.policy.before = hang
        report = host.run(replace(PATIENT, ramp=0.1, hang_after=15))
        assert host.damped() < returned[0] - 0.5  # while it hung
        assert report.failed == "the loop has stood still for more than 0.3 s"
        host.check()  # what it returned in the end was not sent


@contextlib.contextmanager
def disposition(number: signal.Signals, handler: signal.Handlers) -> Iterator[None]:
    before = signal.signal(number, handler)
    try:
        yield
        assert signal.getsignal(number) is handler  # the loop has put it back
    finally:
        signal.signal(number, before)


@pytest.mark.parametrize(
    ("number", "before"),
    [
        (signal.SIGINT, signal.SIG_DFL),
        (signal.SIGTERM, signal.SIG_DFL),
        (signal.SIGHUP, signal.SIG_DFL),
        (signal.SIGINT, signal.SIG_IGN),  # as shells start jobs in the background
    ],
)
def test_a_signal_stops(number: signal.Signals, before: signal.Handlers) -> None:
    with disposition(number, before), Host() as host:
        timer = threading.Timer(0.6, os.kill, (os.getpid(), number))
        timer.start()
        report = host.run(PATIENT)
        assert report.reason == number.name and not report.failed
        assert host.damped() < host.began + 0.6 + 1.0
        host.check()


def test_under_nohup_the_end_of_the_terminal_is_none() -> None:
    with disposition(signal.SIGHUP, signal.SIG_IGN), Host() as host:
        timer = threading.Timer(0.6, os.kill, (os.getpid(), signal.SIGHUP))
        timer.start()
        report = host.run(replace(PATIENT, duration=1.6))
        assert report.reason == "end of the run" and not report.failed
        assert host.damped() > host.began + 1.6
        host.check()


def test_a_second_interrupt_does_not_wait_for_the_policy() -> None:
    with Host() as host:

        def interrupt_and_hang(state: object) -> None:
            if host.policy.resets:
                os.kill(os.getpid(), signal.SIGINT)
                time.sleep(0.05)
                os.kill(os.getpid(), signal.SIGINT)
                time.sleep(5.0)

        host.policy.before = interrupt_and_hang
        begin = time.monotonic()
        with pytest.raises(KeyboardInterrupt):
            host.run(PATIENT)
        assert time.monotonic() - begin < 4.0
        host.damped()
        assert host.robot.reason == "stopped by the host"


# The command.


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("deploy") / "folder"
    write_small_folder(path)
    return path


class Robot:
    """A robot of the small folder, and the flags by which it is found."""

    def __init__(self, folder: Path, **changes: Any) -> None:
        self.specification = read_specification(folder)
        self._here, self._there = free_address(), free_address()
        description = replace(robot_for(self.specification), **{"command_timeout": 1.0, **changes})
        self.robot = LoopbackRobot(description)
        self.flags = [str(folder), "--here", name_of(self._here), "--address", name_of(self._there)]

    @contextlib.contextmanager
    def running(self) -> Iterator[LoopbackRobot]:
        transport = UdpTransport(self._there, self._here)
        with Running(self.robot, transport):
            yield self.robot
        transport.close()


@pytest.fixture
def no_keyboard(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", None)


@pytest.mark.usefixtures("no_keyboard")
def test_the_command_is_a_dry_run_by_default(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    there = Robot(folder)
    with there.running() as robot:
        command.main([*there.flags, "--duration", "0.5"])
        assert robot.packets == 0
    out = capsys.readouterr().out
    assert all(name in out for name in there.specification["robot"]["joint_names"])
    assert "0 commands sent" in out and "phases: dry run only" in out


@pytest.mark.usefixtures("no_keyboard")
def test_the_command_runs_a_folder(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A real policy: on a busy machine it may find that it is called too late, which ends the run as well."""
    there = Robot(folder)
    with there.running() as robot:
        with contextlib.suppress(SystemExit):
            command.main([*there.flags, "--duration", "1.5", "--ramp", "0.2", "--send", "--start", "--speed", "0.7"])
        assert robot.reason == "stopped by the host" and len(robot.received) > 5
        check_commands(robot.received, float("inf"), slack=0.3, spec=there.specification)
    assert "damping from" in capsys.readouterr().out


@pytest.mark.usefixtures("no_keyboard")
def test_a_run_that_failed_ends_with_1(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    there = Robot(folder)

    def fall_silent() -> None:
        while len(there.robot.received) < 5:
            time.sleep(0.01)
        there.robot.faults = Faults(state_stops_at=0.0)

    with there.running() as robot:
        threading.Thread(target=fall_silent, daemon=True).start()
        with pytest.raises(SystemExit) as exit_:
            command.main([*there.flags, "--duration", "20", "--ramp", "0.2", "--send"])
        assert exit_.value.code == 1 and robot.reason == "stopped by the host"
    end = capsys.readouterr().out.partition("end: ")[2].partition("\n")[0]
    assert end == "no state for more than 0.1 s" or "stood still" in end or "took longer" in end  # if it is very busy


@pytest.mark.usefixtures("no_keyboard")
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"control_period": 0.01}, "every 0.01 s"),
        ({"joint_names": tuple(NAMES)}, "unknown joint of the policy"),
        ({"torque_limits": (10.0,) * 10}, "10 N m"),
        ({"camera": None}, "no depth camera"),
        ({"camera": "narrow"}, "does not cover the policy's"),
    ],
)
def test_a_robot_that_does_not_fit_gets_no_packet(folder: Path, changes: dict[str, Any], message: str) -> None:
    if changes == {"camera": "narrow"}:
        camera = robot_for(read_specification(folder)).camera
        assert camera is not None
        changes = {"camera": replace(camera, source=replace(camera.source, fx=40.0))}
    there = Robot(folder, **changes)
    with there.running() as robot:
        with pytest.raises(UserError, match=message):
            command.main([*there.flags, "--duration", "1", "--send", "--start"])
        time.sleep(0.1)
        assert robot.packets == 0


@pytest.mark.usefixtures("no_keyboard")
def test_a_changed_folder_gets_no_packet_out(folder: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    copy.mkdir()
    for file in folder.iterdir():
        (copy / file.name).write_bytes(file.read_bytes())
    (copy / "student_actor.onnx").write_bytes(b"x" + (copy / "student_actor.onnx").read_bytes())
    there = Robot(copy)
    with there.running() as robot:
        with pytest.raises(UserError, match="student_actor.onnx is changed"):
            command.main([*there.flags, "--send", "--duration", "1"])
        assert robot.packets == 0
    with pytest.raises(UserError, match="is that a policy folder"):
        command.main([str(tmp_path), "--duration", "1"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "required: FOLDER"),
        (["--sned"], "unknown argument '--sned'.*did you mean '--send'"),
        (["stray"], "unknown argument 'stray'"),
        (["--driver", "upd"], "unknown driver 'upd'.*did you mean 'udp'.*module:function"),
        (["--driver", "no_such_module:driver"], "no_such_module"),
        (["--driver", "math:driver"], "math"),
        (["--address", "robot:1"], "--address: expected an IPv4 address"),
        (["--here", "127.0.0.1"], "--here: expected an IPv4 address"),
        (["--here", "127.0.0.1:70000"], "--here"),
        (["--duration", "-1"], "--duration: expected a number of at least 0, got '-1'"),
        (["--ramp", "soon"], "--ramp: .*'soon'"),
        (["--speed", "nan"], "--speed"),
    ],
)
def test_bad_arguments_are_one_line(folder: Path, arguments: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message) as error:
        command.main([str(folder), *arguments] if arguments else [])
    assert "\n" not in str(error.value)


def test_an_address_in_use_is_told(folder: Path) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.1", 0))
        here = name_of(other.getsockname())
        with pytest.raises(UserError, match=f"cannot listen at {here}: Address already in use"):
            command.main([str(folder), "--here", here])


def test_a_driver_may_come_from_outside(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_robot.py").write_text(
        "from legged_gym_ext.errors import UserError\n"
        "def connect(address, here):\n    raise UserError(f'{address} and {here} arrived')\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    flags = ["--address", "127.0.0.1:1234", "--here", "127.0.0.1:1235", "--driver", "my_robot:connect"]
    with pytest.raises(UserError, match="127.0.0.1:1234 and 127.0.0.1:1235 arrived"):
        command.main([str(folder), *flags])


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("go\n", Operator(start=True)),
        ("\n", Operator(stop="stopped by the keyboard")),
        ("stop\n", Operator(stop="stopped by the keyboard")),
        ("speed 0.7\nheading -0.2\n", Operator(forward_speed=0.7, heading_error=-0.2)),
        ("speed fast\n", Operator(stop="stopped by the keyboard")),
        ("speed nan\n", Operator(stop="stopped by the keyboard")),
        ("", Operator()),
    ],
)
def test_the_keyboard(text: str, wanted: Operator) -> None:
    operator = Operator()
    command.obey(operator, io.BytesIO(text.encode()))
    assert operator == wanted


def test_without_a_keyboard_it_says_so_and_goes_on(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """nohup puts what cannot be read in the place of a terminal."""
    there = Robot(folder)
    with open(os.devnull, "w") as unreadable, there.running():
        monkeypatch.setattr(sys, "stdin", unreadable)
        command.main([*there.flags, "--duration", "0.5"])
    out = capsys.readouterr().out
    assert "no keyboard (Bad file descriptor)" in out and "end: end of the run" in out


def test_the_keyboard_of_a_running_program(folder: Path) -> None:
    """Its standard input stays open: what waits for a line does not keep the program from ending."""
    there = Robot(folder)
    with there.running() as robot:
        program = [sys.executable, "-m", "legged_gym_ext.deploy.hardware", *there.flags, "--duration", "20"]
        process = subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert process.stdin is not None and process.stdout is not None
        try:
            assert "dry run" in process.stdout.readline()
            process.stdin.write("\n")
            process.stdin.flush()
            assert process.wait(10) == 0
            assert "end: stopped by the keyboard" in process.stdout.read()
        finally:
            process.kill()
            process.communicate()
        assert robot.packets == 0


def test_a_killed_host_leaves_the_robot_in_damping(folder: Path) -> None:
    there = Robot(folder, command_timeout=0.5)
    with there.running() as robot:
        arguments = [*there.flags, "--send", "--ramp", "20", "--duration", "30"]
        program = [sys.executable, "-m", "legged_gym_ext.deploy.hardware", *arguments]
        process = subprocess.Popen(program, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        try:
            end = time.monotonic() + 20
            while len(robot.received) < 5 and time.monotonic() < end:
                time.sleep(0.02)
        finally:
            process.kill()
            process.wait()
        killed, received = robot.elapsed, len(robot.received)
        assert received >= 5 and robot.damping_since is None
        while robot.damping_since is None and robot.elapsed < killed + 3:
            time.sleep(0.02)
        assert robot.reason == "no command for 0.5 s"
        assert robot.damping_since is not None and robot.damping_since < killed + 0.5 + 0.5


def test_the_command_ends_with_2_on_bad_input(tmp_path: Path) -> None:
    program = [sys.executable, "-m", "legged_gym_ext.deploy.hardware", str(tmp_path), "--duration", "1"]
    result = subprocess.run(program, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=60)
    assert result.returncode == 2 and result.stdout == ""
    assert result.stderr.startswith("error: ") and result.stderr.count("\n") == 1


def test_what_comes_from_elsewhere_is_dropped() -> None:
    here, there, elsewhere = (free_address() for _ in range(3))
    ends = [UdpTransport(here, there), UdpTransport(there, here), UdpTransport(elsewhere, here)]
    try:
        ends[2].send(b"from elsewhere")
        ends[1].send(b"from there")
        packets: list[bytes] = []
        end = time.monotonic() + 5
        while not packets and time.monotonic() < end:
            packets += ends[0].receive()
        assert packets == [b"from there"]
    finally:
        for transport in ends:
            transport.close()


def test_addresses_are_read_as_they_are_written() -> None:
    assert read_address(name_of(("10.0.0.7", 65535)), "") == ("10.0.0.7", 65535)
    for text in ("", ":1", "1.2.3:4", "1.2.3.4:0", "1.2.3.4:65536", "1.2.3.4:x", "::1:5"):
        with pytest.raises(UserError):
            read_address(text, "--address")


def test_nothing_of_the_training_is_needed() -> None:
    """Importing all of it brings in neither torch nor any part of ours that learns, simulates or renders."""
    program = (
        "import sys, pkgutil, importlib\n"
        "import legged_gym_ext.deploy.hardware as package\n"
        "for module in pkgutil.iter_modules(package.__path__, package.__name__ + '.'):\n"
        "    importlib.import_module(module.name)\n"
        "print(*sorted(sys.modules))\n"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    modules = set(result.stdout.split())
    ours = {name for name in modules if name.startswith("legged_gym_ext.")}
    allowed = {"legged_gym_ext.errors", "legged_gym_ext.config", "legged_gym_ext.config.cli", "legged_gym_ext.deploy"}
    assert {n for n in ours if not n.startswith("legged_gym_ext.deploy.hardware")} == allowed | {
        "legged_gym_ext.deploy.runtime"
    }
    assert not modules & {"torch", "mujoco", "numba", "warp", "rsl_rl", "omegaconf", "tensordict"}
    assert {"legged_gym_ext.deploy.hardware.loop", "legged_gym_ext.deploy.hardware.__main__"} <= modules


def test_nothing_but_this_machine_is_listened_to_by_default() -> None:
    assert HOST[0] == ROBOT[0] == "127.0.0.1"

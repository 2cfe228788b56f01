"""The control loop against the loopback robot, over a network in memory, on a clock that waits for nobody."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hardware_rig import NAMES, PERIOD, POSE, SPECIFICATION, TICK, Rig, Time, check_commands

from legged_gym_ext.deploy.hardware.loop import NEXT, Options, Phase
from legged_gym_ext.deploy.hardware.loopback import Faults, LoopbackRobot
from legged_gym_ext.deploy.hardware.protocol import Kind, decode
from legged_gym_ext.deploy.hardware.report import picture
from legged_gym_ext.deploy.hardware.udp import UdpDriver
from legged_gym_ext.deploy.runtime import InputError, JointCommand, Mode
from legged_gym_ext.errors import UserError

BAD_NETWORK = {"loss": 0.02, "jitter": 0.005, "duplicate": 0.02, "corrupt": 0.02}
SOON = 3 * PERIOD
"""s from something that is noticed at once to damping at the robot: a cycle, the network, a lost packet."""


def going(**changes: Any) -> Options:
    return Options(**{"send": True, "start": True, "duration": 3.0, "ramp": 0.5, **changes})


def names(rig: Rig) -> list[str]:
    return [name for _, name in rig.report.phases]


def kinds(rig: Rig) -> list[Kind]:
    return [packet.kind for packet in map(decode, rig.transport.sent) if packet]


# The course of a run.


def test_a_dry_run_sends_nothing() -> None:
    rig = Rig(Options(duration=2.5))
    report = rig.run()
    assert rig.transport.sent == [] and rig.robot.packets == 0 and report.sent == 0
    assert report.phases == [] and not report.failed and report.reason == "end of the run"
    assert len(rig.policy.states) > 100  # it computed
    assert len(rig.shown) == 3  # at 0, 1 and 2 s
    assert all(name in rig.shown[-1] for name in NAMES)


def test_a_dry_run_shows_what_would_be_sent() -> None:
    rig = Rig(Options(duration=1.5))
    rig.policy.targets = lambda state: np.arange(10) + 0.125
    rig.run()
    rows = {row.split()[0]: row.split()[1:] for row in rig.shown[-1].splitlines()}
    for name, wanted in (("projected_gravity", (0, 0, -1)), ("base_ang_vel", (0, 0, 0)), ("base_lin_vel", (0, 0, 0))):
        assert [float(cell) for cell in rows[name][:3]] == pytest.approx(wanted, abs=0.01)
    for index, name in enumerate(NAMES):
        assert float(rows[name][1]) == pytest.approx(index + 0.125, abs=1e-3)
        assert float(rows[name][0]) == pytest.approx(0.0, abs=0.01)


def test_an_image_is_shown_the_right_way_round() -> None:
    image = np.full((16, 20), 1500, np.uint16)
    image[:4] = 3000  # far above
    image[8:12, :3] = 250  # something near on the left
    image[12:, 17:] = 0  # and nothing that was measured at the bottom right
    image[0, 0] = 0
    rows = [row.split() for row in picture(image, 0.001).splitlines()]
    assert [len(row) for row in rows] == [8] * 4
    assert rows[0] == ["3.00"] * 8 and rows[1] == ["1.50"] * 8
    assert rows[2] == ["0.25"] + ["1.50"] * 7 and rows[3] == ["1.50"] * 6 + ["1.50", "-"]
    assert picture(np.array([[np.nan, np.inf], [2.0, 1.0]]), 5.0).split().count("2.00") == 1  # floats are metres


@pytest.mark.parametrize("faults", [Faults(nan_at=0.5), Faults(camera_dies_at=0.5), Faults(state_stops_at=0.5)])
def test_a_dry_run_goes_on_whatever_happens(faults: Faults) -> None:
    rig = Rig(Options(duration=3.0), faults=faults)
    report = rig.run()
    assert rig.transport.sent == [] and not report.failed and report.seconds >= 3.0
    assert "nothing could be sent" in rig.shown[-1] or "would go to damping: no depth frame" in rig.shown[-1]


def test_a_dry_run_shows_the_policy_again_after_it_went_to_damping() -> None:
    rig = Rig(Options(duration=2.5))
    since = rig.time.now()

    def interrupt(now: float) -> None:
        rig.robot.faults = Faults(camera_dies_at=0.0 if 0.4 < now - since < 1.3 else math.inf)

    rig.time.every.append(interrupt)
    rig.run()
    assert [("would go to damping: no depth frame" in shown) for shown in rig.shown] == [False, True, False]


def test_a_dry_run_shows_what_is_wrong_with_the_policy() -> None:
    rig = Rig(Options(duration=1.5))

    def fail(state: object) -> None:
        raise InputError("state.joint_pos: expected 12 numbers")

    rig.policy.before = fail
    report = rig.run()
    assert "nothing could be sent: InputError: state.joint_pos: expected 12 numbers" in rig.shown[-1]
    assert not report.failed and rig.transport.sent == []


def test_an_image_that_cannot_be_used_is_told_and_does_not_end_the_run() -> None:
    """The runtime goes on with the one before, until that is too old."""
    rig = Rig(going())
    use, count = rig.policy.set_depth, 0

    def every_second(image: np.ndarray, stamp: float | None = None) -> bool:
        nonlocal count
        count += 1
        if count % 2:
            raise InputError("image: no pixel has a depth")
        return use(image, stamp)

    rig.policy.set_depth = every_second  # pyright: ignore[reportAttributeAccessIssue]
    report = rig.run()
    assert "policy" in names(rig) and not report.failed
    assert report.faults["image: no pixel has a depth"] >= 10
    assert any("an image could not be used: image: no pixel" in shown for shown in rig.shown)


def test_a_run_goes_through_its_phases() -> None:
    rig = Rig(going())
    report = rig.run()
    assert names(rig) == ["ramp", "ready", "policy", "damping"]
    assert report.reason == "end of the run" and not report.failed
    assert rig.phase("ready") - rig.phase("ramp") == pytest.approx(0.5, abs=2 * PERIOD)
    assert rig.phase("damping") - rig.began == pytest.approx(3.0, abs=2 * PERIOD)
    assert report.seconds == pytest.approx(4.0, abs=2 * PERIOD)  # 1 s of damping
    assert report.overruns == 0 and report.delays.count == pytest.approx(4.0 / PERIOD, abs=2)
    check_commands(rig.robot.received, rig.phase("policy") + TICK, slack=PERIOD)


def test_phases_follow_each_other_in_one_direction() -> None:
    assert NEXT[Phase.DAMPING] == ()
    assert all(Phase.DAMPING in NEXT[phase] for phase in (Phase.RAMP, Phase.READY, Phase.POLICY))
    assert all(Phase.DRY not in following for following in NEXT.values())
    assert [phase for phase in Phase if Phase.POLICY in NEXT[phase]] == [Phase.READY]


def test_the_ramp_leads_from_the_measured_pose_to_the_default_one() -> None:
    rng = np.random.default_rng(5)
    low, high = np.array(SPECIFICATION["robot"]["joint_pos_limits"]).T
    pose = rng.uniform(low, high)
    rig = Rig(going(start=False, ramp=1.0, duration=2.0), pose=pose)
    rig.run()
    ramp = [item.command for item in rig.robot.received if item.time < rig.phase("ready") + 2 * TICK]
    positions, stiffness = (np.array([getattr(c, what) for c in ramp]) for what in ("position", "stiffness"))
    np.testing.assert_allclose(positions[0], pose, atol=0.01)
    np.testing.assert_allclose(positions[-1], POSE, atol=1e-5)
    assert (stiffness[0] == 0).all()
    np.testing.assert_allclose(stiffness[-1], SPECIFICATION["robot"]["joint_stiffness"], rtol=1e-6)
    assert (np.diff(stiffness, axis=0) >= 0).all()
    toward = np.sign(np.array(POSE) - positions[0])
    assert (np.diff(positions, axis=0) * toward >= -1e-6).all()  # no joint ever goes back
    np.testing.assert_allclose([c.damping for c in ramp], [SPECIFICATION["robot"]["joint_damping"]] * len(ramp))
    ready = [item.command for item in rig.robot.received if rig.phase("ready") < item.time < rig.phase("damping")]
    assert len(ready) > 40
    np.testing.assert_allclose([c.position for c in ready], [POSE] * len(ready), atol=1e-5)
    assert names(rig) == ["ramp", "ready", "damping"]  # nobody said that the policy should start
    last = [item for item in rig.robot.received if item.time < rig.phase("damping")][-1]
    np.testing.assert_allclose(last.command.position, POSE, atol=1e-5)
    np.testing.assert_allclose(rig.robot.joint_pos, POSE, atol=0.05)  # it came along


@pytest.mark.parametrize("side", [-1, 1])
def test_the_ramp_begins_within_the_limits_where_the_pose_is_a_little_outside(side: int) -> None:
    """Even where targets may move so slowly that it would take them a while to get there."""
    limits = np.array(SPECIFICATION["robot"]["joint_pos_limits"])
    rig = Rig(going(start=False, ramp=1.0, duration=1.0), pose=limits[:, (1 + side) // 2] + 0.08 * side)
    rig.policy.specification["safety"]["target_rate"] = [1.0] * 10
    rig.run()
    targets = np.array([item.command.position for item in rig.robot.received])
    assert names(rig)[0] == "ramp" and len(targets) > 40
    assert (targets >= limits[:, 0] - 1e-5).all() and (targets <= limits[:, 1] + 1e-5).all()


def test_the_policy_starts_when_the_operator_says_so() -> None:
    rig = Rig(going(start=False))
    since = rig.time.now()

    def say_go(now: float) -> None:
        rig.operator.start = now > since + 1.5

    rig.time.every.append(say_go)
    rig.run()
    assert rig.phase("policy") - rig.began == pytest.approx(1.5, abs=3 * PERIOD)


def test_the_policy_starts_anew_with_what_it_sees() -> None:
    """It is reset after it has computed in the ramp, and has an image in its first step."""
    rig = Rig(going(duration=1.0))
    rig.run()
    assert rig.policy.resets == 1
    assert "damping" in names(rig) and rig.report.reason == "end of the run"


def test_the_policy_does_not_start_without_a_recent_image() -> None:
    rig = Rig(going(), faults=Faults(camera_dies_at=0.1))
    report = rig.run()
    assert names(rig) == ["ramp", "ready", "damping"] and not report.failed


def test_the_policy_gets_the_command_of_training() -> None:
    rig = Rig(going(duration=1.0))
    rig.operator.forward_speed, rig.operator.heading_error = 5.0, 0.2
    rig.run()
    for state in rig.policy.states:
        np.testing.assert_allclose(state.command, [1.4, 0.0, 0.3, 0.2])


def test_joints_may_have_another_order_on_the_robot() -> None:
    order = np.random.default_rng(2).permutation(10)
    limits, torques = SPECIFICATION["robot"]["joint_pos_limits"], SPECIFICATION["robot"]["torque_limits"]
    rig = Rig(
        going(duration=2.0),
        joint_names=tuple(NAMES[i] for i in order),
        target_limits=tuple(tuple(limits[i]) for i in order),
        torque_limits=tuple(torques[i] for i in order),
    )
    rig.run()
    assert names(rig) == ["ramp", "ready", "policy", "damping"]
    check_commands(rig.robot.received, rig.phase("policy") + TICK, slack=PERIOD, order=list(order))
    ready = max((r for r in rig.robot.received if r.time < rig.phase("policy")), key=lambda r: r.time)
    np.testing.assert_allclose(ready.command.position, np.array(POSE)[order], atol=1e-5)


@pytest.mark.parametrize("joint", range(10))
def test_a_pose_that_cannot_be_is_refused(joint: int) -> None:
    """A joint with another sign or zero: nothing is sent."""
    low, high = SPECIFICATION["robot"]["joint_pos_limits"][joint]
    for angle in (low - 0.15, high + 0.15):
        pose = np.array(POSE)
        pose[joint] = angle
        rig = Rig(going(), pose=pose)
        with pytest.raises(UserError, match=f"{NAMES[joint]} measures .*check its zero"):
            rig.run()
        assert rig.transport.sent == []


# What leaves, whatever the policy wants and the network does.


@pytest.mark.parametrize("seed", range(6))
def test_no_target_beyond_the_limits_on_a_bad_network_and_damping_when_the_camera_dies(seed: int) -> None:
    rig = Rig(going(duration=4.0), faults=Faults(**BAD_NETWORK, camera_dies_at=2.0), seed=seed)
    report = rig.run()
    assert "policy" in names(rig) and report.failed == "the policy: no depth frame"
    assert rig.robot.rejected["not the newest"] + rig.robot.rejected["no packet, or changed on the way"] > 0
    check_commands(rig.robot.received, rig.phase("policy") + 0.005 + TICK, slack=PERIOD + 0.005)
    moving = [
        item for item in rig.robot.received if rig.phase("policy") < item.time and item.command.mode is Mode.POLICY
    ]
    assert len(moving) > 30 and report.limited > 30  # the puppet's targets are wild, so this is the limiter's work
    # The last image is at most a period older than its death; images of the trained rate may be 0.3 s old.
    assert rig.robot.damping_since is not None
    assert 2.0 - 0.1 + 0.3 - PERIOD <= rig.robot.damping_since <= 2.0 + 0.3 + SOON + 0.01
    assert rig.robot.reason == "stopped by the host"


def test_images_that_come_late_count_from_when_they_were_taken() -> None:
    rig = Rig(going(), faults=Faults(depth_delay=0.35))
    report = rig.run()
    assert "policy" not in names(rig)  # never a recent image
    assert report.reason == "end of the run"


@pytest.mark.parametrize("seed", range(3))
def test_what_was_changed_on_the_way_is_never_followed(seed: int) -> None:
    """Half of all packets have a wrong bit: every command that the robot followed is one that was sent."""
    options = going(duration=2.0, lost_after=50, frozen_after=1000)
    rig = Rig(options, faults=Faults(corrupt=0.5), seed=seed, command_timeout=1.0)
    rig.run()
    sent = [packet.payload for packet in map(decode, rig.transport.sent) if packet and packet.kind is Kind.COMMAND]
    assert 10 < len(rig.robot.received) < len(sent)
    assert rig.robot.rejected["no packet, or changed on the way"] > 20 and rig.driver.dropped > 50
    wanted = iter(sent)
    for item in rig.robot.received:  # in their order, too
        numbers = [item.command.position, item.command.stiffness, item.command.damping]
        assert any(
            np.array_equal(np.frombuffer(payload, "<f4", offset=4), np.concatenate(numbers)) for payload in wanted
        )


# Who notices what, and when.


def in_the_policy(rig: Rig, then: Any, after: float = 0.3) -> None:
    """Call ``then`` once, so many seconds after the policy began to be sent."""
    steps = math.ceil(after / PERIOD)

    def before(state: object) -> None:
        nonlocal steps
        steps -= rig.policy.resets > 0
        if steps == 0:
            then()

    rig.policy.before = before


def stop_damps(rig: Rig, at: float, within: float) -> None:
    """Hold that the robot was in damping from ``at`` within a time, and followed no target after it."""
    since = rig.robot.damping_since
    assert since is not None and at - 1e-9 <= since <= at + within, (at, since)
    assert all(item.time <= since or item.command.mode is Mode.DAMPING for item in rig.robot.received)
    assert names(rig)[-1] == "damping"
    assert Kind.STOP in kinds(rig)
    first = kinds(rig).index(Kind.STOP)
    assert set(kinds(rig)[first:]) == {Kind.STOP}  # latched: nothing else left the host


@pytest.mark.parametrize("phase", ["ramp", "ready", "policy"])
def test_an_emergency_stop_damps_at_once(phase: str) -> None:
    rig = Rig(going(start=phase == "policy", ramp=1.0))
    moment = {"ramp": 0.5, "ready": 1.5, "policy": 1.5}[phase]
    since = rig.time.now()

    def press(now: float) -> None:
        if now > since + moment:
            rig.operator.stop = "red button"

    rig.time.every.append(press)
    report = rig.run()
    assert names(rig)[-2:] == [phase, "damping"]
    assert report.reason == "red button" and not report.failed
    stop_damps(rig, moment, SOON)


@pytest.mark.parametrize(
    ("faults", "within", "reason"),
    [
        (Faults(state_stops_at=1.5), 0.1 + SOON, "no state for more than 0.1 s"),
        (Faults(values_freeze_at=1.5), 0.5 + SOON, "have not changed for 25 periods"),
        (Faults(nan_at=1.5), SOON, "the state's joint_pos is not finite"),
    ],
)
def test_a_state_that_cannot_be_used_damps(faults: Faults, within: float, reason: str) -> None:
    rig = Rig(going(), faults=faults)
    report = rig.run()
    assert "policy" in names(rig) and reason in report.failed
    stop_damps(rig, 1.5, within)
    assert all(np.isfinite(item.command.position).all() for item in rig.robot.received)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("what", ["position", "stiffness", "damping"])
def test_a_policy_that_is_not_finite_damps(what: str, bad: float) -> None:
    rig = Rig(going())
    act = rig.policy.act

    def broken(state: Any) -> JointCommand:
        command = act(state)
        if rig.policy.resets and len(rig.policy.states) > 60:
            getattr(command, what)[3] = bad
        return command

    rig.policy.act = broken  # pyright: ignore[reportAttributeAccessIssue]
    report = rig.run()
    assert report.failed == "the policy's command is not finite"
    assert rig.robot.damping_since is not None and rig.robot.damping_since < 60 * PERIOD + 10 * PERIOD
    check_commands(rig.robot.received, rig.phase("policy") + TICK, slack=PERIOD)


def test_an_exception_damps() -> None:
    rig = Rig(going())

    def fail() -> None:
        raise RuntimeError("no such node")

    in_the_policy(rig, fail)
    report = rig.run()
    assert report.failed == "RuntimeError: no such node"
    stop_damps(rig, rig.phase("policy") + 0.28, SOON)


def test_a_driver_that_fails_damps_and_the_run_still_ends() -> None:
    """Nothing gets out any more: the robot's own watchdog is what is left."""
    rig = Rig(going())
    since = rig.time.now()
    send = rig.transport.send

    def fail(data: bytes) -> None:
        if rig.time.now() > since + 1.5:
            raise OSError("Network is unreachable")
        send(data)

    rig.transport.send = fail  # pyright: ignore[reportAttributeAccessIssue]
    report = rig.run()
    assert "Network is unreachable" in report.failed and names(rig)[-1] == "damping"
    rig.time.sleep(0.2)
    assert rig.robot.reason == "no command for 0.1 s"
    assert rig.robot.damping_since == pytest.approx(1.5 + 0.1, abs=2 * PERIOD)


def test_a_robot_that_follows_no_commands_ends_the_run() -> None:
    """The host is not heard any more; the robot says so in its state."""
    rig = Rig(going(), faults=Faults(deaf_at=1.5))
    report = rig.run()
    assert report.failed == "the robot follows no commands: no command for 0.1 s"
    assert rig.robot.damping_since == pytest.approx(1.5 + 0.1, abs=2 * PERIOD)
    assert rig.phase("damping") <= rig.robot.damping_since + SOON


def test_a_policy_that_is_too_slow_damps() -> None:
    """It takes a bit more than a period every time: a few in a row are enough."""
    rig = Rig(going(overruns=4))

    def slow(state: object) -> None:
        if rig.policy.resets:
            rig.time.sleep(1.2 * PERIOD)

    rig.policy.before = slow
    report = rig.run()
    assert report.failed == "4 cycles in a row took longer than 0.02 s"
    assert report.overruns >= 4 and report.longest_overrun >= 0.2 * PERIOD - 1e-9
    stop_damps(rig, rig.phase("policy"), 7 * 1.2 * PERIOD)


def test_a_single_overrun_is_counted_and_not_made_up_for() -> None:
    rig = Rig(going(hang_after=50))
    in_the_policy(rig, lambda: rig.time.sleep(2.5 * PERIOD))
    report = rig.run()
    assert report.reason == "end of the run" and report.overruns == 1
    assert report.longest_overrun == pytest.approx(1.5 * PERIOD, abs=TICK)
    assert report.delays.worst == pytest.approx(0.5 * PERIOD, abs=TICK)  # of the cycle after it, on the old grid
    sent = [packet.stamp for packet in map(decode, rig.transport.sent) if packet and packet.kind is Kind.COMMAND]
    distances = np.diff(sent)
    assert (distances < 0.9 * PERIOD).sum() <= 2  # no burst: the late one and one that is back on the grid
    check_commands(rig.robot.received, rig.phase("policy") + TICK, slack=PERIOD)


@pytest.mark.parametrize(
    ("faults", "reason"),
    [
        (Faults(state_stops_at=0.0), "no state has come"),
        (Faults(nan_at=0.0), "joint_pos is not finite"),
    ],
)
def test_without_a_usable_state_nothing_is_ever_sent(faults: Faults, reason: str) -> None:
    rig = Rig(going(first_state=1.0, duration=5.0), faults=faults)
    report = rig.run()
    assert report.failed.startswith("nothing was sent: ") and reason in report.failed
    assert rig.transport.sent == [] and report.seconds == pytest.approx(1.0, abs=3 * PERIOD)


def test_a_policy_that_fails_from_the_start_is_never_sent() -> None:
    rig = Rig(going(first_state=1.0))

    def fail(state: object) -> None:
        raise RuntimeError("no")

    rig.policy.before = fail
    report = rig.run()
    assert report.failed == "nothing was sent: RuntimeError: no" and rig.transport.sent == []


# The robot's side.


def test_a_damping_command_pulls_nowhere() -> None:
    rig = Rig(Options())
    rig.driver.write(JointCommand(np.array(POSE) + 1.0, np.full(10, 100.0), np.full(10, 2.0), Mode.DAMPING, ""))
    rig.time.sleep(0.3)
    assert rig.robot.reason == "told by the host"
    np.testing.assert_array_equal(rig.robot.joint_pos, np.zeros(10))


def test_the_robot_damps_by_itself_when_the_host_is_gone() -> None:
    rig = Rig(going(duration=1.0))
    rig.driver.write(JointCommand(np.array(POSE), np.full(10, 100.0), np.full(10, 2.0), Mode.POLICY, ""))
    rig.time.sleep(0.05)
    assert rig.robot.damping_since is None
    rig.time.sleep(0.2)
    assert rig.robot.damping_since == pytest.approx(0.1, abs=0.02) or rig.robot.damping_since is not None
    rig.driver.write(JointCommand(np.array(POSE), np.full(10, 100.0), np.full(10, 2.0), Mode.POLICY, ""))
    rig.time.sleep(0.05)
    assert len(rig.robot.received) == 1 and rig.robot.rejected["in damping"] == 1
    assert np.abs(rig.robot.joint_vel).max() < 0.1


def test_commands_that_come_ever_later_are_not_followed() -> None:
    """A buffer somewhere fills up: commands keep coming, each a bit later than the one before."""
    rig = Rig(going(ramp=0.3))
    waiting: list[tuple[float, bytes]] = []
    since = rig.time.now()

    def delay(data: bytes) -> None:
        now = rig.time.now()
        waiting.append((now + 0.2 * (now - since), data))

    def deliver(now: float) -> None:
        while waiting and waiting[0][0] <= now:
            rig.robot.arrive(waiting.pop(0)[1], now)

    rig.transport.send = delay  # pyright: ignore[reportAttributeAccessIssue]
    rig.time.every.append(deliver)
    report = rig.run()
    assert rig.robot.rejected["too late"] >= 3
    # Sent after t, a command comes after 1.2 t: of 0.1 s of delay, at 0.6 s. Without more, the robot stops 0.1 s later.
    assert rig.robot.reason == "no command for 0.1 s"
    assert rig.robot.damping_since == pytest.approx(0.6 + 0.1, abs=0.05)
    assert report.failed == "the robot follows no commands: no command for 0.1 s"


@pytest.mark.parametrize(("seed", "ramp"), [(0, 0.5), (1, 0.0), (2, 0.02)])
def test_a_new_run_may_move_a_robot_that_was_stopped(seed: int, ramp: float) -> None:
    """On a slow network, on which the robot goes on for a while to say that it was stopped."""
    rig = Rig(going(duration=1.0, ramp=ramp), faults=Faults(jitter=0.03), seed=seed)
    rig.policy.targets = lambda state: (
        np.array(POSE) + 0.1
    )  # its joints have no stops: they must stay where they can be
    rig.run()
    assert rig.robot.damping_since is not None
    old, followed = rig.driver, len(rig.robot.received)
    rig.connect()
    report = rig.run()
    assert names(rig) == ["ramp", "ready", "policy", "damping"] and report.reason == "end of the run"
    check_commands(rig.robot.received[followed:], rig.phase("policy") + 0.03 + TICK, slack=PERIOD + 0.03)

    rig.connect()
    rig.driver.write(rig.robot.received[0].command)
    rig.time.sleep(0.04)
    assert rig.robot.damping_since is None
    old.stop()  # of a run that is over
    rig.time.sleep(0.04)
    assert rig.robot.damping_since is None and rig.robot.rejected["not the newest"] >= 1


def test_a_robot_that_never_follows_ends_the_run() -> None:
    """It was stopped before and does not hear that there is another run."""
    rig = Rig(going(duration=1.0))
    rig.run()
    rig.connect()
    rig.transport.send = lambda data: None  # pyright: ignore[reportAttributeAccessIssue]
    report = rig.run()
    assert report.failed == "the robot follows no commands: stopped by the host"
    assert names(rig) == ["ramp", "damping"] and report.phases[-1][0] <= 0.1 + SOON


def test_a_robot_that_starts_again_is_another_one() -> None:
    """Nothing is taken of its new session, so its state gets old."""
    rig = Rig(going())
    robots = [rig.robot, LoopbackRobot(rig.robot.description)]
    since = rig.time.now()

    def restart(now: float) -> None:
        if now > since + 1.5:
            rig.transport.robot = robots[1]

    rig.time.every.append(restart)
    report = rig.run()
    assert report.failed == "no state for more than 0.1 s"
    assert rig.phase("damping") - rig.began == pytest.approx(1.5 + 0.1, abs=SOON)
    assert robots[1].received == []  # it is not moved by what was meant for it before
    assert robots[1].rejected["for another robot, or for this one before it started"] >= 3


def test_the_stops_of_a_robots_joints_hold_them_and_let_them_go() -> None:
    rig = Rig(going(duration=2.0))
    low, high = np.array(POSE) - 0.1, np.array(POSE) + 0.1
    rig.robot = LoopbackRobot(rig.robot.description, pose=np.array(POSE), stops=np.stack([low, high], axis=1))
    rig.connect()
    rig.policy.targets = lambda state: np.where(np.floor(2.5 * rig.time.now()) % 2 == 0, high + 1.0, low - 1.0)
    seen: list[np.ndarray] = []
    rig.time.every.append(lambda now: seen.append(np.array([rig.robot.joint_pos, rig.robot.joint_vel])))
    rig.run()
    assert names(rig)[2] == "policy"
    angles, speeds = np.stack(seen, axis=1)
    assert (angles >= low).all() and (angles <= high).all()
    lowest, highest = np.array(SPECIFICATION["safety"]["target_range"]).T  # no target is beyond these
    for limit, pushed in ((low, lowest < low - 0.05), (high, highest > high + 0.05)):
        there = angles == limit
        assert pushed.sum() >= 8 and there[:, pushed].any(axis=0).all()
        assert not speeds[there].any()


def test_a_driver_that_was_stopped_sends_nothing_else() -> None:
    rig = Rig(Options())
    rig.driver.stop()
    for _ in range(5):
        rig.driver.write(JointCommand(np.array(POSE), np.full(10, 100.0), np.full(10, 2.0), Mode.POLICY, ""))
    assert set(kinds(rig)) == {Kind.STOP} and len(kinds(rig)) >= 8


def test_no_robot_no_run() -> None:
    class Silent:
        def send(self, data: bytes) -> None:
            raise AssertionError

        def receive(self) -> list[bytes]:
            return []

        def close(self) -> None:
            pass

    with pytest.raises(UserError, match="no robot said what it is within 2 s"):
        UdpDriver(Silent(), within=2.0, clock=Time())

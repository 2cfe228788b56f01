"""The control loop: when it computes, what it sends, and when it stops."""

from __future__ import annotations

import contextlib
import math
import signal
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any

import numpy as np

from legged_gym_ext.deploy.hardware.clock import Clock, MonotonicClock
from legged_gym_ext.deploy.hardware.driver import DepthFrame, Driver, Reading
from legged_gym_ext.deploy.hardware.matching import match
from legged_gym_ext.deploy.hardware.report import Report, picture, table
from legged_gym_ext.deploy.hardware.watchdog import Watchdog
from legged_gym_ext.deploy.runtime import JointCommand, Mode, Policy, PolicyError, RobotState
from legged_gym_ext.errors import UserError

OUTSIDE = 0.1
"""By which a joint may measure more than its URDF allows before the ramp, rad; more is a wrong zero, sign or order."""
FRESH_FRAMES = 2
"""Camera periods that the newest image may be old when the policy starts."""

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)  # the last one: the connection to the terminal is gone


class Phase(Enum):
    """What the loop does with the robot."""

    DRY = "dry run"
    """Nothing is sent. The policy computes and is shown."""
    RAMP = "ramp"
    """From the measured pose to the default one, with growing stiffness."""
    READY = "ready"
    """Holds the default pose. The policy computes and is not sent."""
    POLICY = "policy"
    """The policy's targets are sent."""
    DAMPING = "damping"
    """The joints are braked. The end of every run in which anything was sent."""


NEXT: dict[Phase, tuple[Phase, ...]] = {
    Phase.DRY: (Phase.RAMP,),
    Phase.RAMP: (Phase.READY, Phase.DAMPING),
    Phase.READY: (Phase.POLICY, Phase.DAMPING),
    Phase.POLICY: (Phase.DAMPING,),
    Phase.DAMPING: (),
}
"""Which phases may follow which."""


@dataclass(frozen=True)
class Options:
    """How a run goes. Counts of periods are of the policy's control period."""

    send: bool = False
    """Send commands; otherwise the run stays a dry one."""
    start: bool = False
    """Start the policy as soon as the robot stands in the default pose, without being asked."""
    duration: float = math.inf
    """s after which the run ends; in damping, if anything was sent."""
    ramp: float = 4.0
    """s from the measured pose to the default one."""
    first_state: float = 5.0
    """s within which a usable state must come, or a run that sends ends before it began."""
    lost_after: int = 5
    """Periods that the newest state may be old."""
    frozen_after: int = 25
    """Periods in a row in which every number of the state may be the same to the last bit."""
    overruns: int = 5
    """Cycles in a row that end after the next one should have begun, before the run ends."""
    hang_after: int = 5
    """Periods without a sign of life of the loop after which the watchdog stops the robot."""
    damping: float = 1.0
    """s for which damping is sent at the end. The robot's own watchdog goes on with it."""
    show: float = 1.0
    """s from one display to the next."""


@dataclass
class Operator:
    """What the human wants. Any thread may set it."""

    forward_speed: float = 0.0
    """m/s."""
    heading_error: float = 0.0
    """Where to go, as seen from the robot: an angle to the left, rad."""
    start: bool = False
    """Start the policy once the robot is ready."""
    stop: str = ""
    """Why to stop, which it does at once; empty = go on."""


@dataclass
class _Memory:
    """What the loop remembers from cycle to cycle."""

    reading: Reading | None = None
    fault: str = ""  # why it cannot be used
    armed: float = 0.0  # when the first command was sent
    blind: str = ""  # why the last image could not be used
    frame: DepthFrame | None = None
    sent: np.ndarray = field(default_factory=lambda: np.zeros(0))  # the last target
    ramp_from: np.ndarray = field(default_factory=lambda: np.zeros(0))
    since: float = 0.0  # when the phase began
    values: bytes = b""  # of the last state
    same: int = 0  # cycles in a row with those values
    shadow: JointCommand | None = None  # what the policy would do, where it is not sent


class ControlLoop:
    """Connects a policy with a robot.

    Everything that can go wrong leads to damping, which is latched: by e-stop (``operator.stop``), SIGINT, SIGTERM or
    SIGHUP (unless that is ignored, as under ``nohup``), the policy's own decision, a state that is missing, old, frozen
    or not finite, overruns, any exception, and the end of the run. If this thread hangs,
    :class:`~legged_gym_ext.deploy.hardware.watchdog.Watchdog` does it.

    Args:
        policy: Made with the driver's joint names and camera.
        driver: Of the robot.
        options: How the run goes.
        operator: Who says when to start, where to go, and when to stop.
        clock: The host's.
        show: Takes what is displayed, some lines at a time.

    Raises:
        UserError: Policy and robot do not go together. Nothing was sent.
    """

    def __init__(
        self,
        policy: Policy,
        driver: Driver,
        options: Options,
        *,
        operator: Operator | None = None,
        clock: Clock | None = None,
        show: Callable[[str], Any] = print,
    ) -> None:
        self.plan = match(policy.specification, driver.description)
        self.phase = Phase.DRY
        self.operator = operator or Operator()
        self.report = Report(self.plan.period)
        self._policy, self._driver, self._options = policy, driver, options
        self._clock = clock or MonotonicClock()
        self._show = show
        self._depth_scale = driver.description.camera.source.scale if driver.description.camera else 1.0
        self._memory = _Memory()
        self._over = False
        self._begin = 0.0
        self._watchdog = Watchdog(driver.stop, self._clock, options.hang_after * self.plan.period)

    def run(self) -> Report:
        """Run until the end: the duration's, or that of damping; in a dry run, the first stop.

        Raises:
            UserError: The robot's pose is none that it can have. Nothing was sent.
        """
        period, clock = self.plan.period, self._clock
        self._begin = self._memory.since = deadline = clock.now()
        in_a_row = 0
        shown = -math.inf
        try:
            with _signals(self.operator), self._watchdog:
                while not self._over:
                    now = clock.now()
                    self.report.delays.add(now - deadline)
                    try:
                        self._cycle(now)
                    except Exception as error:
                        if isinstance(error, UserError) and self.phase is Phase.DRY:
                            raise
                        self._fault(f"{type(error).__name__}: {error}", now)
                    if now - shown >= self._options.show:
                        shown = now
                        self._show(self._display(now))
                    deadline += period
                    late = clock.now() - deadline
                    in_a_row = in_a_row + 1 if late > 0 else 0
                    if late > 0:
                        self.report.overran(late)
                        deadline += period * math.floor(late / period)  # what was missed is not made up for
                        if in_a_row >= self._options.overruns:
                            self._fault(f"{in_a_row} cycles in a row took longer than {period:g} s", now)
                    clock.sleep_until(deadline)
        finally:
            if self.phase is not Phase.DRY:
                self._stop()
        self.report.seconds = clock.now() - self._begin
        self.report.latency = self._policy.latency
        return self.report

    def _cycle(self, now: float) -> None:
        """Read, decide, send."""
        self._watchdog.alive()
        self._memory.reading = reading = self._driver.read()
        self._look()
        self._memory.fault = fault = self._watchdog.fired or self._bad(reading, now)
        if self.operator.stop:
            self._end(self.operator.stop, now)
        elif now - self._begin >= self._options.duration:
            self._end("end of the run", now)
        elif fault:
            self._fault(fault, now)
        match self.phase:
            case Phase.DRY:
                self._dry(reading, fault, now)
            case Phase.RAMP:
                self._ramp(reading, now)
            case Phase.READY:
                self._ready(reading, now)
            case Phase.POLICY:
                self._act(reading, now)
            case Phase.DAMPING:
                self._damp(reading, now)

    # The phases. But for the first and the last one, they begin with a state that is fresh and finite.

    def _dry(self, reading: Reading | None, fault: str, now: float) -> None:
        if self._over or fault:
            return
        assert reading is not None
        self._compute(reading)
        if self._options.send:
            self._check_pose(reading.state)
            self._memory.ramp_from = self._memory.sent = np.clip(reading.state.joint_pos, *self.plan.ramp_range)
            self._memory.armed = now
            self._watchdog.arm()
            self._go(Phase.RAMP, now)
            self._ramp(reading, now)

    def _ramp(self, reading: Reading | None, now: float) -> None:
        assert reading is not None
        self._compute(reading)
        share = min(1.0, (now - self._memory.since) / self._options.ramp) if self._options.ramp > 0 else 1.0
        start, end = self._memory.ramp_from, self.plan.default_joint_pos
        self._send(start + share * (end - start), share * self.plan.stiffness)
        if share == 1.0 and np.allclose(self._memory.sent, end, rtol=0.0):
            self._go(Phase.READY, now)

    def _ready(self, reading: Reading | None, now: float) -> None:
        assert reading is not None
        memory = self._memory
        if not (self._options.start or self.operator.start) or not self._sees(now):
            self._compute(reading)
            self._send(self.plan.default_joint_pos, self.plan.stiffness)
            return
        self._policy.reset()
        memory.shadow = None
        self._go(Phase.POLICY, now)
        self._act(reading, now)

    def _act(self, reading: Reading | None, now: float) -> None:
        assert reading is not None
        command = self._policy.act(replace(reading.state, command=self._command()))
        if command.mode is Mode.DAMPING:
            self._fault(f"the policy: {command.reason}", now)
            self._damp(reading, now)
        elif not all(np.isfinite(values).all() for values in (command.position, command.stiffness, command.damping)):
            self._fault("the policy's command is not finite", now)
            self._damp(reading, now)
        else:
            self._send(command.position, command.stiffness, command.damping)

    def _damp(self, reading: Reading | None, now: float) -> None:
        measured = self._memory.sent if reading is None else np.array(reading.state.joint_pos, dtype=float)
        position = np.where(np.isfinite(measured), measured, self._memory.sent)
        command = JointCommand(position, np.zeros_like(position), self.plan.damping, Mode.DAMPING, self.report.reason)
        self._over = now - self._memory.since >= self._options.damping  # also if it cannot be sent
        self._driver.write(command)
        self.report.sent += 1

    # What they have in common.

    def _send(self, position: np.ndarray, stiffness: np.ndarray, damping: np.ndarray | None = None) -> None:
        """Send targets. Whatever they are, what leaves is within the trained ranges, rates and gains."""
        plan = self.plan
        step = plan.target_rate * plan.period
        wanted = np.clip(position, *(plan.target_range if self.phase is Phase.POLICY else plan.ramp_range))
        target = np.clip(wanted, self._memory.sent - step, self._memory.sent + step)
        self.report.limited += bool(np.abs(target - position).max() > 1e-5)
        self._memory.sent = target
        self._driver.write(
            JointCommand(
                position=target,
                stiffness=np.clip(stiffness, 0.0, plan.stiffness),
                damping=plan.damping if damping is None else np.clip(damping, 0.0, plan.damping),
                mode=Mode.POLICY,
                reason="",
            )
        )
        self.report.sent += 1

    def _compute(self, reading: Reading) -> None:
        """Have the policy compute what is not sent: to be shown, and so that it is warm when it starts."""
        memory = self._memory
        memory.shadow = None
        if memory.frame is None:
            return
        command = self._policy.act(replace(reading.state, command=self._command()))
        memory.shadow = command  # until the next act, which uses its arrays again
        if command.mode is Mode.DAMPING:
            self._policy.reset()

    def _sees(self, now: float) -> bool:
        frame = self._memory.frame
        return frame is not None and now - frame.stamp <= FRESH_FRAMES * self.plan.camera_period

    def _look(self) -> None:
        """Take over a new image. One that cannot be used is not a fault yet: the policy goes by its last one's age."""
        frame = self._driver.read_depth()
        if frame is None or self.phase is Phase.DAMPING:
            return
        try:
            self._policy.set_depth(frame.image, frame.stamp)
            self._memory.frame, self._memory.blind = frame, ""
        except PolicyError as error:
            self._memory.blind = str(error)
            self.report.faults[str(error)] += 1

    def _command(self) -> np.ndarray:
        wish = self._policy.heading_command(self.operator.forward_speed, self.operator.heading_error)
        return np.clip(wish, *self.plan.command_range)

    def _bad(self, reading: Reading | None, now: float) -> str:
        """Return why the state cannot be used; empty if it can."""
        memory, options, period = self._memory, self._options, self.plan.period
        if reading is None:
            return "no state has come"
        if self._refuses(reading, now):
            return f"the robot follows no commands: {reading.fault}"
        state = reading.state
        parts = (state.joint_pos, state.joint_vel, state.base_ang_vel, state.base_lin_vel, state.projected_gravity)
        names = ("joint_pos", "joint_vel", "base_ang_vel", "base_lin_vel", "projected_gravity")
        for name, values in zip(names, parts, strict=True):
            if not np.isfinite(values).all():
                return f"the state's {name} is not finite"
        values = b"".join(part.tobytes() for part in parts)
        memory.same = memory.same + 1 if values == memory.values else 0
        memory.values = values
        if now - reading.stamp > options.lost_after * period:
            return f"no state for more than {options.lost_after * period:g} s"
        if memory.same >= options.frozen_after:
            return f"the state's numbers have not changed for {options.frozen_after} periods"
        return ""

    def _refuses(self, reading: Reading, now: float) -> bool:
        """Return whether the robot should follow commands and does not.

        Before the first command it need not: it may be latched by an earlier run, which the first command of this one
        ends. Its answer to that takes a while.
        """
        patience = self._options.lost_after * self.plan.period
        return bool(reading.fault) and self.phase is not Phase.DRY and now - self._memory.armed > patience

    def _check_pose(self, state: RobotState) -> None:
        low, high = self.plan.measurable
        for name, angle, lowest, highest in zip(self.plan.joint_names, state.joint_pos, low, high, strict=True):
            if not lowest - OUTSIDE <= angle <= highest + OUTSIDE:
                raise UserError(
                    f"{name} measures {angle:.3f} rad; its URDF allows {lowest:g} .. {highest:g}: "
                    f"check its zero, its sign and the order of the joints; nothing was sent"
                )

    def _end(self, reason: str, now: float) -> None:
        """End the run as it is meant to end."""
        if self.phase is Phase.DRY:
            self._over = True
            self.report.reason = self.report.reason or reason
        elif self.phase is not Phase.DAMPING:
            self.report.reason = reason
            self._stop()
            self._go(Phase.DAMPING, now)

    def _fault(self, reason: str, now: float) -> None:
        """End the run because of a fault. As long as nothing is sent, it is told, and the run goes on.

        A run that is to send waits a while for a state that it can use.
        """
        if self.phase is Phase.DAMPING:
            return
        self.report.faults[reason] += 1
        if self.phase is Phase.DRY:
            self._memory.fault = reason
            if self._options.send and now - self._begin > self._options.first_state:
                self._over = True
                self.report.failed = f"nothing was sent: {reason}"
        else:
            reason = self._watchdog.fired or reason  # what follows from standing still is not the cause
            self.report.failed = reason
            self._end(reason, now)

    def _stop(self) -> None:
        """Stop the robot at once; if that fails, its own watchdog will do it."""
        with contextlib.suppress(Exception):
            self._driver.stop()

    def _go(self, phase: Phase, now: float) -> None:
        assert phase in NEXT[self.phase], (self.phase, phase)
        self.phase, self._memory.since = phase, now
        self.report.phases.append((now - self._begin, phase.value))
        self._show(f"{now - self._begin:8.3f} s: {phase.value}{self.report.reason and ': '}{self.report.reason}")

    def _display(self, now: float) -> str:
        """Return a line on how it goes, and, as long as nothing is sent, what would be."""
        memory, report, command = self._memory, self.report, self._command()
        state = "none" if memory.reading is None else f"{_ms(now - memory.reading.stamp)} old"
        depth = "none" if memory.frame is None else f"{_ms(now - memory.frame.stamp)} old"
        line = (
            f"{now - self._begin:8.1f} s  {self.phase.value}  state: {state}  depth: {depth}  overruns: "
            f"{report.overruns}  command: {command[0]:.2f} m/s, {command[3]:.2f} rad to the left"
        )
        if memory.fault and self.phase is Phase.DRY:
            line += f"\nnothing could be sent: {memory.fault}"
        if self.phase is Phase.DRY and memory.reading is not None and memory.reading.fault:
            line += f"\nthe robot follows no commands for now: {memory.reading.fault}"
        if memory.blind:
            line += f"\nan image could not be used: {memory.blind}"
        if self.phase is not Phase.DRY or memory.reading is None or memory.shadow is None or memory.frame is None:
            return line
        line += f"\ndepth, m\n{picture(memory.frame.image, self._depth_scale)}"
        would = memory.shadow
        if would.mode is Mode.DAMPING:
            line += f"\nthe policy would go to damping: {would.reason}"
        rows = table(self.plan.joint_names, memory.reading.state, would.position, would.stiffness, would.damping)
        return f"{line}\n{rows}"


def _ms(seconds: float) -> str:
    return f"{max(0.0, 1e3 * seconds):.0f} ms"


@contextlib.contextmanager
def _signals(operator: Operator) -> Iterator[None]:
    """Take signals for the operator's stop; the second one interrupts, as ever.

    Under ``nohup`` the end of the terminal is none: SIGHUP stays ignored. SIGINT and SIGTERM, which a shell may have
    ignored for a job in the background, stop the robot whatever was before.
    """

    def note(number: int, _: object) -> None:
        name = signal.Signals(number).name
        if operator.stop == name:
            raise KeyboardInterrupt
        operator.stop = name

    if threading.current_thread() is not threading.main_thread():  # where Python takes no handlers
        yield
        return
    nohup = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    taken = [number for number in _SIGNALS if not (nohup and number == signal.SIGHUP)]
    before = [(number, signal.signal(number, note)) for number in taken]
    try:
        yield
    finally:
        for number, handler in before:
            signal.signal(number, handler)

"""Run a policy's folder on a robot: ``python -m legged_gym_ext.deploy.hardware FOLDER``; without ``--send``, dry."""

from __future__ import annotations

import importlib
import io
import math
import sys
import threading
from collections.abc import Callable, Iterable
from functools import partial

from legged_gym_ext.config.cli import Parser, main_guard
from legged_gym_ext.deploy.hardware import udp
from legged_gym_ext.deploy.hardware.driver import Driver
from legged_gym_ext.deploy.hardware.loop import ControlLoop, Operator, Options
from legged_gym_ext.deploy.hardware.matching import match
from legged_gym_ext.deploy.runtime import Policy, PolicyError, read_specification
from legged_gym_ext.errors import UserError, unknown

KEYS = "go = start the policy, speed X (m/s), heading X (rad, left), anything else, such as Enter alone = stop"


def udp_driver(address: str, here: str) -> Driver:
    """Return the driver of a robot that speaks protocol.py."""
    own = udp.read_address(here, "--here")
    return udp.UdpDriver(udp.UdpTransport(own, udp.read_address(address, "--address")))


DRIVERS: dict[str, Callable[[str, str], Driver]] = {"udp": udp_driver}
"""By the name that ``--driver`` takes: a function of ``--address`` and ``--here``."""


def main(argv: list[str]) -> None:
    """Connect a policy with a robot until the run ends.

    Raises:
        UserError: Bad arguments, a folder that is not whole, no robot, or one that does not go with the policy.
        SystemExit: 1 if the run ended by a fault, in damping.
    """
    args = _parser().parse_only(argv)
    options = Options(
        send=args.send,
        start=args.start,
        duration=_number(args.duration, "--duration", 0.0),
        ramp=_number(args.ramp, "--ramp", 0.0),
    )
    operator = Operator(
        forward_speed=_number(args.speed, "--speed", -math.inf),
        heading_error=_number(args.heading, "--heading", -math.inf),
    )
    make_driver = _driver(args.driver)
    try:
        specification = read_specification(args.folder)
        driver = make_driver(args.address, args.here)
        try:
            match(specification, driver.description)
            policy = Policy(
                args.folder,
                joint_names=driver.description.joint_names,
                depth_source=driver.description.camera and driver.description.camera.source,
            )
            loop = ControlLoop(policy, driver, options, operator=operator, show=partial(print, flush=True))
            _listen(operator)
            report = loop.run()
        finally:
            driver.close()
    except PolicyError as error:
        raise UserError(str(error)) from None
    print("\n".join(report.lines()), flush=True)
    if report.failed:
        raise SystemExit(1)


def _parser() -> Parser:
    parser = Parser(
        prog="python -m legged_gym_ext.deploy.hardware",
        description="Run a policy's folder on a robot. A dry run, which sends nothing, unless --send is given.",
        epilog=f"While it runs, on the keyboard, each with Enter: {KEYS}. Ctrl-C stops, too.",
        allow_abbrev=False,
    )
    parser.add_argument("folder", metavar="FOLDER", help="what export.py wrote")
    parser.add_argument("--driver", default="udp", help="udp (default), or module:function of your own")
    parser.add_argument("--address", default=udp.name_of(udp.ROBOT), help="the robot's (default: %(default)s)")
    parser.add_argument("--here", default=udp.name_of(udp.HOST), help="where to listen (default: %(default)s)")
    parser.add_argument("--send", action="store_true", help="send commands: the robot will move")
    parser.add_argument("--start", action="store_true", help="start the policy after the ramp without being asked")
    parser.add_argument("--duration", default="inf", metavar="S", help="end after so many seconds, in damping")
    parser.add_argument("--ramp", default="4", metavar="S", help="time to the default pose (default: %(default)s)")
    parser.add_argument("--speed", default="0", metavar="M/S", help="forward speed to begin with (default: 0)")
    parser.add_argument("--heading", default="0", metavar="RAD", help="where to go, to the left (default: 0)")
    return parser


def _driver(name: str) -> Callable[[str, str], Driver]:
    """Return the function that makes a driver."""
    if name in DRIVERS:
        return DRIVERS[name]
    module, separator, function = name.partition(":")
    if not separator:
        raise unknown("driver", name, [*DRIVERS, "module:function"])
    try:
        return getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError) as error:
        raise UserError(f"--driver {name}: {error}") from None


def _number(text: str, flag: str, least: float) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if math.isnan(value) or value < least:
        raise UserError(
            f"{flag}: expected a number{'' if math.isinf(least) else f' of at least {least:g}'}, got '{text}'"
        )
    return value


def _listen(operator: Operator) -> None:
    """Take the operator's lines in a thread of its own, unbuffered: it may wait for one when the program ends."""

    def obey_keyboard() -> None:
        try:
            obey(operator, io.FileIO(sys.stdin.fileno(), closefd=False))
        except OSError as error:  # nohup puts one in the place of a terminal that cannot be read
            print(f"no keyboard ({error.strerror}): Ctrl-C or SIGTERM stops the robot", flush=True)

    if sys.stdin is not None:
        threading.Thread(target=obey_keyboard, name="keyboard", daemon=True).start()


def obey(operator: Operator, lines: Iterable[bytes]) -> None:
    """Do what the operator's lines say."""
    for line in lines:
        match line.decode(errors="replace").split():
            case ["go"]:
                operator.start = True
            case ["speed" | "heading" as what, text] if (value := _finite(text)) is not None:
                if what == "speed":
                    operator.forward_speed = value
                else:
                    operator.heading_error = value
            case _:
                operator.stop = "stopped by the keyboard"


def _finite(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


if __name__ == "__main__":
    main_guard(main)

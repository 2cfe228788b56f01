"""The command line that the entry points share: legged_gym's flags, and any configuration key as section.key=value."""

from __future__ import annotations

import argparse
import difflib
import re
import signal
import sys
from collections.abc import Callable, Sequence
from typing import NoReturn

from legged_gym_ext.errors import EngineFault, UserError, exit_code_and_line, unknown

LAST_RUN = "-1"  # legged_gym's way to say it
NO_VIEWER, WEB_VIEWER = "none", "web"
VIEWERS = ("auto", NO_VIEWER, "native", WEB_VIEWER)
"""What ``--viewer`` can choose; auto is a native window where there is a display."""
TRAINING_VIEWERS = (NO_VIEWER, WEB_VIEWER)
"""What it can choose in a training: a window would wait for the training, and the training for the window."""
VIEWER_HOST, VIEWER_PORT = "127.0.0.1", 8080
"""Where the web viewer listens unless told otherwise: this machine only."""
MJLAB_WEB = "viser"
"""mjlab's name of the web viewer."""

FLAG_KEYS = {
    "num_envs": "env.num_envs",
    "max_iterations": "runner.max_iterations",
    "seed": "seed",
    "experiment_name": "experiment_name",
    "run_name": "run_name",
    "sim": "sim.engine",
    "sim_device": "sim.device",
    "rl_device": "runner.device",
    "logger": "runner.logger",
}
"""Flags that are another name of a configuration key."""


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one line (:class:`UserError`), with the nearest match of an unknown flag."""

    def error(self, message: str) -> NoReturn:
        """Raise instead of printing the usage."""
        raise UserError(f"{message}; see --help")

    def parse_only(self, argv: Sequence[str]) -> argparse.Namespace:
        """Parse a command line that changes no configuration.

        Raises:
            UserError: Unknown flag, missing value, stray argument.
        """
        args, rest = self.parse_known_args(argv)
        if rest:
            flags = (option for option in self._option_string_actions if option.startswith("--"))
            raise unknown("argument", rest[0].partition("=")[0], flags)
        return args

    def unknown_flag(self, flag: str) -> UserError:
        """Return the error for a flag that this parser does not have."""
        flags = sorted(option for option in self._option_string_actions if option.startswith("--"))
        close = difflib.get_close_matches(flag, flags, n=1)
        hint = f" (did you mean '{close[0]}'?)" if close else ""
        return UserError(f"unknown flag '{flag}'{hint}; allowed: {', '.join(flags)}, or section.key=value")


def make_parser(description: str, several_runs: bool = False) -> Parser:
    """Return a parser with the flags that every entry point has; an entry point may add its own.

    Args:
        description: For ``--help``.
        several_runs: ``--load_run`` takes any number of runs; it is a list then.
    """
    from legged_gym_ext.config.rules import allowed  # imports all of the configuration

    parser = Parser(
        description=description,
        allow_abbrev=False,
        usage="%(prog)s [--flag VALUE ...] [section.key=value ...]",
        epilog="Any key of the configuration (see configs/ and legged_gym_ext/config/) may be given as "
        "section.key=value, for example distill.interval=5 or 'terrain.gaps.width=[0.1,0.5]'.",
    )
    engines = ",".join(allowed("sim.engine"))
    loggers = ",".join(allowed("runner.logger"))
    parser.add_argument("--task", metavar="NAME", help="a YAML in configs/, by name, or the path of one")
    parser.add_argument("--num_envs", metavar="N", help="robots simulated at once; auto chooses by device")
    parser.add_argument("--max_iterations", metavar="N", help="PPO iterations of this call")
    parser.add_argument("--seed", metavar="N", help="the same seed gives the same run on a CPU")
    parser.add_argument("--headless", action="store_true", help="open no window")
    parser.add_argument("--resume", action="store_true", help="go on with a run: the last one, or --load_run's")
    what = "run folder to load; -1 or no name: the last run"
    if several_runs:
        parser.add_argument("--load_run", metavar="RUN", nargs="*", default=[], help=f"{what}; several are compared")
    else:
        parser.add_argument("--load_run", metavar="RUN", nargs="?", const=LAST_RUN, help=what)
    parser.add_argument("--wandb_run", metavar="RUN", help="load ENTITY/PROJECT/RUN[:VERSION] from Weights & Biases")
    parser.add_argument("--pretrained", action="store_true", help="load the policy that comes with the package")
    parser.add_argument("--checkpoint", metavar="N", help="iteration to load; -1: the last checkpoint (default)")
    parser.add_argument("--experiment_name", metavar="NAME", help="folder of the runs in logs/ (default: the task)")
    parser.add_argument("--run_name", metavar="NAME", help="added to the name of the run's folder")
    parser.add_argument("--sim", metavar=f"{{{engines}}}", help="physics engine")
    parser.add_argument("--sim_device", metavar="DEVICE", help="device of the simulation: auto, cpu, cuda:N")
    parser.add_argument("--rl_device", metavar="DEVICE", help="device of the networks: auto, cpu, cuda:N")
    parser.add_argument("--logger", metavar=f"{{{loggers}}}", help="where the curves go")
    return parser


def parse(parser: Parser, argv: Sequence[str]) -> argparse.Namespace:
    """Parse ``argv``; ``overrides`` of the result has all configuration changes as ``section.key=value``, in order.

    Flags that stand for a configuration key come first, so that an explicit ``section.key=value`` wins.

    Raises:
        UserError: unknown flag, missing value, stray argument.
    """
    flags, overrides = _split_overrides(argv)
    args, rest = parser.parse_known_args(flags)
    for argument in rest:
        if argument.startswith("-"):
            raise parser.unknown_flag(argument.partition("=")[0])
        raise UserError(f"cannot read '{argument}'; arguments are --flag VALUE or section.key=value")
    given = ((key, getattr(args, flag)) for flag, key in FLAG_KEYS.items())
    args.overrides = [f"{key}={value}" for key, value in given if value is not None] + overrides
    args.checkpoint = _checkpoint_number(args.checkpoint)
    return args


def add_viewer_flags(parser: Parser, viewers: Sequence[str], default: str) -> None:
    """Add the flags of the live viewers."""
    parser.add_argument("--viewer", metavar=f"{{{','.join(viewers)}}}", default=default, help="how to watch it live")
    parser.add_argument("--viewer_host", metavar="HOST", help=f"where the web viewer listens (default: {VIEWER_HOST})")
    parser.add_argument(
        "--viewer_port", metavar="N", type=int, help=f"its port; 0: any that is free (default: {VIEWER_PORT})"
    )


def check_viewer_flags(args: argparse.Namespace, viewers: Sequence[str]) -> None:
    """Check the values of those flags, and fill in what was not given.

    Raises:
        UserError: One is not allowed.
    """
    if args.viewer == MJLAB_WEB:
        args.viewer = WEB_VIEWER
    if args.viewer not in viewers:
        raise unknown("viewer", args.viewer, viewers)
    for flag, default in (("viewer_host", VIEWER_HOST), ("viewer_port", VIEWER_PORT)):
        if getattr(args, flag) is None:
            setattr(args, flag, default)
        elif args.viewer != WEB_VIEWER:
            raise UserError(f"--{flag} is of the web viewer; give --viewer web, too")


def main_guard(main: Callable[[list[str]], None]) -> NoReturn:
    """Run an entry point on the command line's arguments, then exit: 0 done, or as errors.py says, 130 after ^C.

    SIGTERM is as Ctrl-C, so that what is to be kept or taken away at the end is.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        main(sys.argv[1:])
    except (UserError, EngineFault, KeyboardInterrupt) as error:
        code, line = exit_code_and_line(error)
        print(line, file=sys.stderr)
        sys.exit(code)
    sys.exit(0)


def _split_overrides(argv: Sequence[str]) -> tuple[list[str], list[str]]:
    """Tell flags from configuration changes.

    A change is ``section.key=value``, or, as users of mjlab and Isaac Lab write it, ``--section.key=value`` or
    ``--section.key value``. Flags may have dashes for underscores.
    """
    flags: list[str] = []
    overrides: list[str] = []
    arguments = iter(argv)
    for argument in arguments:
        name, separator, value = argument.partition("=")
        if name.startswith("--"):
            name = "--" + name[2:].replace("-", "_")
        if re.fullmatch(r"--\w+(\.\w+)+", name):
            if not separator:
                value = next(arguments, None)
                if value is None:
                    raise UserError(f"{name} needs a value: {name}=value")
            overrides.append(f"{name[2:]}={value}")
        elif separator and not name.startswith("-"):
            overrides.append(argument)
        else:
            flags.append(name + separator + value)
    return flags, overrides


def _checkpoint_number(text: str | None) -> int:
    """Return the iteration to load, -1 for the last one."""
    if text is None:
        return -1
    if not re.fullmatch(r"-1|\d+", text):
        raise UserError(f"--checkpoint: expected the number of an iteration, or -1 for the last one, got '{text}'")
    return int(text)

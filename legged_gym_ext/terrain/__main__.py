"""``python -m legged_gym_ext.terrain``: draw the library of a task's tiles into a PNG."""

from __future__ import annotations

from pathlib import Path

from legged_gym_ext.config.cli import main_guard, make_parser, parse
from legged_gym_ext.config.files import load_config
from legged_gym_ext.errors import UserError, unknown
from legged_gym_ext.paths import LOGS
from legged_gym_ext.tasks import DEFAULT_TASK
from legged_gym_ext.terrain.draw import draw
from legged_gym_ext.terrain.kinds import KINDS, only
from legged_gym_ext.terrain.library import build_library


def main(argv: list[str]) -> None:
    """Draw the tiles of the task that the flags choose, with the command line's changes to its configuration."""
    parser = make_parser("Draw a task's library of tiles into a PNG.")
    parser.add_argument("--output", type=Path, default=LOGS / "terrain.png", help="default: logs/terrain.png")
    parser.add_argument("--kinds", nargs="+", metavar="KIND", help=f"of {', '.join(KINDS)}; default: the task's")
    args = parse(parser, argv)
    for kind in args.kinds or ():
        if kind not in KINDS:
            raise unknown("kind of tile", kind, KINDS)
    chosen = only(args.kinds) if args.kinds else ()
    config = load_config(args.task or DEFAULT_TASK, [*args.overrides, *chosen])
    try:
        draw(build_library(config.terrain), args.output)
    except OSError as error:
        raise UserError(f"--output {args.output}: {error.strerror}") from error
    print(args.output)


if __name__ == "__main__":
    main_guard(main)

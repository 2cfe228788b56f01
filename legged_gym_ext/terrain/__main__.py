"""``python -m legged_gym_ext.terrain``: draw the library of tiles into a PNG."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from legged_gym_ext.config import TerrainConfig
from legged_gym_ext.errors import UserError, unknown
from legged_gym_ext.paths import LOGS
from legged_gym_ext.terrain.draw import draw
from legged_gym_ext.terrain.library import build_library
from legged_gym_ext.terrain.tiles import KINDS


class _Parser(argparse.ArgumentParser):
    def error(self, message: str):  # one line, without the usage
        raise UserError(message)


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    parser = _Parser(prog="python -m legged_gym_ext.terrain", description="Draw the library of tiles into a PNG.")
    parser.add_argument("--output", type=Path, default=LOGS / "terrain.png", help="default: logs/terrain.png")
    parser.add_argument("--seed", type=int, default=TerrainConfig.seed, help="of the library")
    parser.add_argument("--kinds", nargs="+", metavar="KIND", default=list(KINDS), help=f"of {', '.join(KINDS)}")
    try:
        options = parser.parse_args(arguments)
        config = TerrainConfig(seed=options.seed)
        for kind in options.kinds:
            if kind not in KINDS:
                raise unknown("kind of tile", kind, KINDS)
        for kind in KINDS:
            if kind not in options.kinds:
                getattr(config, kind).proportion = 0.0
        draw(build_library(config), options.output)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"error: --output {options.output}: {error.strerror}", file=sys.stderr)
        return 2
    print(options.output)
    return 0


if __name__ == "__main__":
    sys.exit(main())

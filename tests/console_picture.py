"""Draw what a training shows on a terminal: ``console_picture.py FILE.svg ITERATIONS [arguments of train.py]``.

It is a training itself, stopped after so many iterations, whose terminal is the picture: docs/reports.md has it.
"""

from __future__ import annotations

import re
import signal
from collections.abc import Callable
from io import StringIO
from pathlib import Path

from rich.console import Console, RenderableType

from legged_gym_ext import console, paths
from legged_gym_ext.config.cli import main_guard

_WIDTH = 112


def picture(drawn: RenderableType) -> str:
    """Return a picture of a terminal with that in it, an SVG."""
    terminal = Console(record=True, width=_WIDTH, file=StringIO(), force_terminal=True, highlight=False, markup=False)
    terminal.print(drawn)
    terminal.print()  # the picture ends a little above the last line's end: underscores would be cut off there
    svg = terminal.export_svg(title="python train.py", unique_id="terminal")
    svg = re.sub(r"@font-face \{.*?\}\n", "", svg, flags=re.DOTALL)  # from a site of others
    svg = svg.replace("font-family: Fira Code, ", "font-family: ")
    return "\n".join(line.rstrip() for line in svg.splitlines()) + "\n"


def main(arguments: list[str]) -> None:
    from legged_gym_ext.commands import train  # imports what a picture does not need

    file, iterations, *others = arguments
    left = int(iterations)

    def show(self: console.Board, make: Callable[[], RenderableType], at_once: bool = False) -> bool:
        nonlocal left
        left -= 1
        if left == 0:
            Path(file).write_text(picture(make()), "utf-8")
            signal.raise_signal(signal.SIGINT)
        return False  # and tell it in lines, too

    console.Board.show = show
    file = str(Path(file).resolve())
    paths.LOGS = Path("logs")  # as short as in a wheel
    train.main(others)


if __name__ == "__main__":
    main_guard(main)

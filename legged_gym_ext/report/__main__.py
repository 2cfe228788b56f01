"""Write a run's web page."""

from __future__ import annotations

from pathlib import Path

from legged_gym_ext.config.cli import LAST_RUN, Parser, main_guard
from legged_gym_ext.errors import UserError
from legged_gym_ext.runs.folder import find_run_folder

DEFAULT_NAME = "report.html"


def main(argv: list[str]) -> None:
    """Write the page of the run that the command line names.

    Raises:
        UserError: There is no such run, or the page cannot be written.
    """
    parser = Parser(
        prog="python -m legged_gym_ext.report",
        description="Write what there is to know of a run into one web page that needs nothing else.",
        allow_abbrev=False,
    )
    parser.add_argument("run", metavar="RUN", nargs="?", default=LAST_RUN, help="name or folder; default: the last run")
    parser.add_argument("--output", metavar="FILE", help=f"default: {DEFAULT_NAME} in the run's folder")
    args = parser.parse_only(argv)
    folder = find_run_folder(args.run)
    output = Path(args.output).expanduser() if args.output else folder / DEFAULT_NAME
    if output.suffix != ".html":
        raise UserError(f"--output {output}: the name of the page must end in .html")

    from legged_gym_ext.report.page import make_page  # draws
    from legged_gym_ext.runs.atomic import write_file
    from legged_gym_ext.runs.wording import size_text

    page = make_page(folder)
    write_file(output, page)
    print(f"{output} ({size_text(len(page))})", flush=True)


if __name__ == "__main__":
    main_guard(main)

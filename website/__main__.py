"""``python -m website``: build the documentation into build/site, and check it. No network is used.

Exit code 2, and a line for each, where a link leads nowhere or a page would load something from elsewhere.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from pathlib import Path

from legged_gym_ext.config.cli import Parser, main_guard
from legged_gym_ext.errors import UserError
from legged_gym_ext.paths import ROOT
from website import links, staging

BUILD = ROOT / "build"
STAGE, SITE, EXTERNAL = "docs", "site", "external_links.txt"


def main(argv: list[str]) -> None:
    """Build and check the site."""
    parser = Parser(description=main.__doc__, allow_abbrev=False)
    parser.add_argument("--out", metavar="DIR", default=BUILD, help="folder for pages, site and list of external links")
    args: argparse.Namespace = parser.parse_only(argv)
    out = Path(args.out).expanduser().resolve()
    stage, site = out / STAGE, out / SITE
    pages = staging.stage(stage, SITE)
    build(stage)
    found = links.check(site)
    (out / EXTERNAL).write_text("".join(f"{link}\n" for link in found.external), "utf-8")
    if found.broken:
        raise UserError(f"{len(found.broken)} links are broken: " + "; ".join(found.broken))
    print(f"site       {site / 'index.html'}: {pages} pages, {found.internal} links within it lead somewhere")
    print(f"external   {len(found.external)} links, not visited: {out / EXTERNAL}")


def build(stage: Path) -> None:
    """Make HTML of the pages in ``stage``; a link between them that leads nowhere is an error."""
    shutil.rmtree(stage.parent / SITE, ignore_errors=True)
    command = [
        sys.executable,
        "-m",
        "zensical",
        "build",
        "--strict",
        "--clean",
        "-f",
        str(stage.parent / staging.CONFIG),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=stage.parent)
    if done.returncode:
        print(done.stdout + done.stderr, file=sys.stderr)
        raise UserError("the site could not be built: what is above says why")


if __name__ == "__main__":
    main_guard(main)

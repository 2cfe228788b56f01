"""Make the dashboard: ``python -m legged_gym_ext.dashboard --project P [--entity E] [--task NAME | --load_run RUN]``.

With ``--check``, nothing is made: what a run logged is listed, from W&B's own files in its folder, and compared with
what the dashboard would show.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from legged_gym_ext.config.cli import main_guard, make_parser, parse
from legged_gym_ext.config.files import load_config
from legged_gym_ext.config.schema import Config
from legged_gym_ext.dashboard.layout import Section, layout, without_data, without_panel
from legged_gym_ext.errors import UserError
from legged_gym_ext.recording.entries import ITERATION
from legged_gym_ext.recording.wandb_file import Contents, read, runs_in
from legged_gym_ext.runs.folder import find_saved
from legged_gym_ext.tasks import DEFAULT_TASK


def main(argv: list[str]) -> None:
    """Make a workspace, or check what a run logged."""
    args = parse_flags(argv)
    if args.load_run or args.wandb_run or args.pretrained:
        config, checkpoint = find_saved(args)
        folder = checkpoint.parent
    else:
        config, folder = load_config(args.task or DEFAULT_TASK, args.overrides), None
    sections = layout(config)
    if args.check:
        if folder is None:
            raise UserError("--check: of which run? Give --load_run")
        check(sections, folder)
        return
    print(f"workspace  {save(sections, args.project or config.runner.wandb_project, _entity(args, config))}")


def parse_flags(argv: list[str]) -> argparse.Namespace:
    """Parse the command line."""
    parser = make_parser("Make a dashboard in Weights & Biases, for all runs of a project.")
    parser.add_argument("--project", metavar="NAME", help="of W&B (default: runner.wandb_project)")
    parser.add_argument("--entity", metavar="NAME", help="user or team (default: runner.wandb_entity, or W&B's)")
    parser.add_argument("--check", action="store_true", help="only list what --load_run logged, and what is missing")
    return parse(parser, argv)


def save(sections: Sequence[Section], project: str, entity: str) -> str:
    """Make the workspace in W&B; return its address.

    Raises:
        UserError: That cannot be done: there is no login, no network, or no such project.
    """
    from legged_gym_ext.dashboard.workspace import workspace

    try:
        return workspace(sections, project, entity or _default_entity()).save().url
    except UserError:
        raise
    except Exception as error:  # requests', W&B's, pydantic's
        raise UserError(f"cannot make the workspace in project '{project}': {' '.join(str(error).split())}") from error


def check(sections: Sequence[Section], folder: Path) -> Contents:
    """Print what a run logged; return it.

    Raises:
        UserError: A panel has no data.
    """
    contents = read(runs_in(folder), ITERATION)
    print(listing(contents))
    for tag in without_panel(sections, contents.tags):
        print(f"no panel for {tag}")
    if missing := without_data(sections, contents.tags):
        raise UserError(f"panels without data: {'; '.join(missing)}")
    count = sum(len(section.panels) for section in sections)
    print(f"all {count} panels of {len(sections)} sections have data", flush=True)
    return contents


def listing(contents: Contents) -> str:
    """Return all that a run logged, a line for each."""
    lines = [f"run {contents.run_id} in project {contents.project}, group {contents.group}"]
    lines += [
        f"metric     {tag}: {len(points)} values, the last one {points[-1][1]:.4g} at {points[-1][0]:g}"
        for tag, points in sorted(contents.metrics.items())
    ]
    for kind, tags in sorted(contents.media.items()):
        lines += [f"{kind:10} {tag}: {count}" for tag, count in sorted(tags.items())]
    for name, kind, aliases, files in contents.artifacts:
        lines.append(f"artifact   {name} ({kind}), {', '.join(aliases)}: {', '.join(files)}")
    lines += [f"alert      {title}: {text}" for title, text in contents.alerts]
    best = {tag: value for tag, value in contents.summary.items() if tag.startswith("Best/")}
    lines += [f"summary    {tag} = {value:.4g}" for tag, value in sorted(best.items())]
    return "\n".join(lines)


def _entity(args: argparse.Namespace, config: Config) -> str:
    return args.entity or config.runner.wandb_entity


def _default_entity() -> str:
    """Return W&B's default entity of who is logged in.

    Raises:
        UserError: Nobody is.
    """
    import wandb

    try:
        return wandb.Api(timeout=20).default_entity or ""
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UserError(f"Weights & Biases: {reason}") from error


if __name__ == "__main__":
    main_guard(main)

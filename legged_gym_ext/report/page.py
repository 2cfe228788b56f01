"""A run's page, from what is in its folder."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from legged_gym_ext.evaluation.document import Document, Film, Section
from legged_gym_ext.evaluation.wording import count, listing, percent
from legged_gym_ext.report.curves import curves_section
from legged_gym_ext.report.evaluated import best_evaluation
from legged_gym_ext.report.reproduce import changes_from_task, configuration_section, reproduce_section
from legged_gym_ext.report.training import resources_section, training_section
from legged_gym_ext.runs.events import read_curves
from legged_gym_ext.runs.glance import Glance
from legged_gym_ext.runs.origin import ORIGIN_FILE, read_origin
from legged_gym_ext.runs.resume import dotted_values
from legged_gym_ext.runs.summary import RunSummary, glance_at_newest, summarize_run
from legged_gym_ext.runs.wording import UNKNOWN, count_text, hours_text, size_text

LARGEST_FILM = 24_000_000
"""Bytes; a larger one is not put into the page, which browsers would be slow to open."""


def make_page(folder: Path) -> bytes:
    """Return the web page of the run in ``folder``. The same folder gives the same page."""
    curves = read_curves(folder)
    summary = summarize_run(folder, curves)
    newest, origin = glance_at_newest(folder), read_origin(folder)
    evaluated, changes = best_evaluation(folder), changes_from_task(folder)
    if evaluated:
        measured = evaluated.sections()
    else:
        command = f"python evaluate.py --load_run={summary.name}"
        note = "This run has not been evaluated. These commands do it; then this page can be written again."
        measured = [Section("Success", [note], commands=[f"{command} --quick"])]
    document = Document(
        title=f"{summary.task or summary.experiment}: {summary.name}",
        facts=facts(summary, newest, origin),
        summary=[*sentences(summary), *(evaluated.sentences if evaluated else [])],
        sections=[
            film_section(folder),
            curves_section(curves),
            *measured,
            training_section(curves),
            resources_section(summary, curves),
            configuration_section(summary.task, changes),
            reproduce_section(summary.task, summary.name, changes, origin, newest.iteration if newest else -1),
        ],
    )
    return document.render("report.html")


def facts(summary: RunSummary, newest: Glance | None, origin: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return what stands on top: what was trained, how far, on what, with which code."""
    found = [("run", f"{summary.experiment}/{summary.name}"), ("task", summary.task), ("state", _state(summary))]
    if newest:
        config = defaultdict(lambda: UNKNOWN, dotted_values(newest.config))
        ranks = f", {newest.ranks} ranks" if newest.ranks > 1 else ""
        found += [
            ("engine", f"{config['sim.engine']} on {config['sim.device']}"),
            ("environments", f"{config['env.num_envs']}{ranks}"),
            ("seed", str(config["seed"])),
        ]
    if began := origin.get("began"):
        found.append(("began", str(began)))
    if machine := origin.get("machine"):
        gpus = f"; {', '.join(machine['gpus'])}" if machine["gpus"] else ""
        found.append(
            ("machine", f"{machine['processor']}, {count(machine['cores'], 'core')}{gpus}; {machine['system']}")
        )
    if versions := origin.get("versions"):
        found.append(("versions", ", ".join(f"{name} {version}" for name, version in versions.items())))
    if not origin:
        found.append(("machine, versions", f"not recorded: there is no {ORIGIN_FILE} in the run's folder"))
    for state in origin.get("code", []):
        changed = ", with changes" if state["changed"] else ""
        found.append(("code", f"{state['repository']}, commit {state['commit'][:12]}{changed}"))
    return found


def sentences(summary: RunSummary) -> list[str]:
    """Return what became of the run, in words."""
    took = f" in {hours_text(summary.hours)}" if summary.hours is not None else ""
    steps = f", {count_text(summary.steps)} environment steps" if summary.steps else ""
    whole = f"Trained for {count(summary.iterations, 'iteration')}{steps}"
    if summary.iterations_before:
        own = count(summary.iterations - summary.iterations_before)
        found = [f"{whole}, with those of the runs that it goes on with; {own} of the iterations are its own{took}."]
    else:
        found = [f"{whole}{took}."]
    if success := summary.success:
        where = (
            "in episodes of the training itself, on its curriculum's levels"
            if success.source == "training"
            else f"on {success.source}"
        )
        rate = percent(success.rate, 1)
        found.append(f"Best success: {rate} % by the {success.policy} {where}, at iteration {success.iteration:,}.")
    levels = [f"{level:.1f} for the {name}" for name, level in summary.levels.items()]
    if levels:
        found.append(f"The curriculum's mean terrain level in the end: {listing(levels)}.")
    return found


def film_section(folder: Path) -> Section:
    """Return the newest video in the run's folder."""
    films = [path for path in folder.rglob("*.mp4") if path.is_file() and _is_film(path.relative_to(folder))]
    found = [(path.stat().st_mtime, path) for path in films]
    fitting = [(time, path) for time, path in found if path.stat().st_size <= LARGEST_FILM]
    if not fitting:
        large = [f"{path.relative_to(folder)} ({size_text(path.stat().st_size)})" for _, path in sorted(found)]
        return Section("Video", [f"Too large for this page: {listing(large)}."] if large else [])
    _, path = max(fitting)
    name = str(path.relative_to(folder))
    return Section("Video", films=[Film(name, name, path.read_bytes())])


def _is_film(path: Path) -> bool:
    """Return whether a file in a run's folder is a film: no copy of W&B's, and none that is still being written."""
    return path.parts[0] != "wandb" and not path.name.startswith(".")


def _state(summary: RunSummary) -> str:
    planned = f" of {summary.planned:,}" if summary.planned else ""
    return f"{'running' if summary.running else 'ended'}, {summary.iterations:,}{planned} iterations"

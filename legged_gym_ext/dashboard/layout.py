"""The layout: sections of panels, each with the tags that it shows. It follows from the configuration."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum

from legged_gym_ext.config.schema import Config
from legged_gym_ext.recording.entries import ENV_STEPS, HOURS, ITERATION
from legged_gym_ext.terrain.kinds import KINDS

TEACHER, STUDENT = "teacher", "student"


class Shows(Enum):
    """What a panel shows; the values are recording/wandb_file.py's kinds."""

    CURVES = "metrics"
    IMAGES = "images"
    VIDEOS = "videos"
    HISTOGRAMS = "histograms"
    TABLE = "tables"


@dataclass(frozen=True)
class Panel:
    """One panel."""

    title: str
    tags: tuple[str, ...]
    shows: Shows = Shows.CURVES
    logarithmic: bool = False


@dataclass(frozen=True)
class Section:
    """Panels that belong together."""

    title: str
    panels: tuple[Panel, ...]
    columns: int = 3
    open: bool = True


NOT_SHOWN = {ITERATION, ENV_STEPS, HOURS}
"""Tags that are no curves: others are drawn over them."""


def lanes_of(config: Config) -> tuple[str, ...]:
    """Return the lanes on which something learns, the teacher's first."""
    if config.finetune.enabled:
        return (STUDENT,)
    return (TEACHER, STUDENT) if config.distill.enabled else (TEACHER,)


def layout(config: Config) -> list[Section]:
    """Return the sections for trainings of a configuration, with those panels only for which there will be data."""
    lanes = lanes_of(config)
    sections = [
        _overview(config, lanes),
        _by_kind(config, lanes),
        _distillation(config),
        _ppo(config),
        _finetuning(config),
        _rewards(config, lanes),
        _speed(config, lanes),
        _media(config, lanes),
    ]
    return [section for section in sections if section.panels]


def _overview(config: Config, lanes: Sequence[str]) -> Section:
    panels = [
        _of_lanes("success rate", "SuccessRate", lanes),
        _of_lanes("terrain level", "TerrainLevel", lanes),
        _of_lanes("return of an episode", "Return", lanes),
        _of_lanes("progress along the course, m", "Progress", lanes),
        _of_lanes("length of an episode, control steps", "EpisodeLength", lanes),
        _of_lanes("robots whose physics diverged, per step", "Health/diverged", lanes),
        _of_lanes("robots with too many contacts, per step", "Health/overflow", lanes),
    ]
    if config.runner.evaluate_every:
        for level in ("all levels", *(f"level {level}" for level in _evaluated_levels())):
            panels.append(
                _of_lanes(f"success in the small evaluation, {level}", f"Evaluation/small nominal {level}", lanes)
            )
    return Section("Overview", tuple(panels))


def _by_kind(config: Config, lanes: Sequence[str]) -> Section:
    kinds = [kind for kind in KINDS if getattr(getattr(config.terrain, kind), "proportion", 0.0) > 0]
    panels = [_of_lanes(f"success rate, {kind}", f"SuccessRate/{kind}", lanes) for kind in kinds]
    panels += [_of_lanes(f"terrain level, {kind}", f"TerrainLevel/{kind}", lanes) for kind in kinds]
    if _shows_media(config):
        panels += [
            *_each("success by kind and level", "Success/heat_map", lanes, Shows.IMAGES),
            *_each("success by kind and level", "Success/by_kind_and_level", lanes, Shows.TABLE),
            *(
                _of_lanes(f"terrain levels, {kind}", f"TerrainLevel/histogram/{kind}", lanes, Shows.HISTOGRAMS)
                for kind in kinds
            ),
        ]
    return Section("Parkour by kind", tuple(panels), columns=4)


def _distillation(config: Config) -> Section:
    if not config.distill.enabled or config.finetune.enabled:
        return Section("Distillation", ())
    panels = [
        Panel("loss", ("Distill/loss",), logarithmic=True),
        Panel("difference of the actions", ("Distill/action_difference",)),
        Panel("norm of the gradient", ("Distill/gradient_norm",), logarithmic=True),
        Panel("share of robots that the teacher moves", ("Distill/beta",)),
    ]
    if config.teacher.kind == "scandots" and config.distill.feature_loss_weight > 0:
        panels.append(Panel("difference of the latents", ("Distill/feature_loss",), logarithmic=True))
    return Section("Distillation", tuple(panels))


def _ppo(config: Config) -> Section:
    if config.finetune.enabled:
        return Section("PPO", ())
    sections = ("Loss", "Guide") if config.guided else ("Loss",)

    def of(name: str) -> tuple[str, ...]:
        return tuple(f"{section}/{name}" for section in sections)

    panels = [
        Panel("loss of the value", of("value"), logarithmic=True),
        Panel("surrogate loss", of("surrogate")),
        Panel("entropy", of("entropy")),
        Panel("learning rate", of("learning_rate"), logarithmic=True),
        Panel("spread of actions", ("Policy/mean_std",)),
    ]
    if config.guided:
        panels += [
            Panel("imitation of the guide", ("Imitation/loss",), logarithmic=True),
            Panel("learning rate of imitation", ("Imitation/learning_rate",)),
            Panel("share of robots that the guide moves", ("Imitation/beta",), logarithmic=True),
        ]
    return Section("PPO", tuple(panels))


def _finetuning(config: Config) -> Section:
    if not config.finetune.enabled:
        return Section("Fine-tuning", ())
    names = ("value", "surrogate", "entropy", "learning_rate", "mean_std", "warmup_left")
    return Section("Fine-tuning", tuple(Panel(name.replace("_", " "), (f"Finetune/{name}",)) for name in names))


def _rewards(config: Config, lanes: Sequence[str]) -> Section:
    full, start = config.rewards.weights, config.rewards.weights
    if config.rewards.full_at_level:
        start = start | config.rewards.start_weights
    names = [name for name in start if start[name] != 0 or full.get(name, 0) != 0]
    panels = (_of_lanes(name.replace("_", " "), f"Reward/{name}", lanes) for name in names)
    return Section("Environment rewards", tuple(panels), columns=4, open=False)


def _speed(config: Config, lanes: Sequence[str]) -> Section:
    times = {"Perf/finetune_collection_time", "Perf/finetune_learning_time"}
    if not config.finetune.enabled:
        times = {"Perf/collection_time", "Perf/learning_time"}
        if config.guided:
            times |= {"Perf/guide_collection_time", "Perf/guide_learning_time"}
    panels = [
        Panel("environment steps per second", ("Perf/env_steps_per_second",)),
        Panel("seconds of an iteration", tuple(sorted(times))),
        _of_lanes("commanded speed, m/s", "Speed/commanded", lanes),
        _of_lanes("speed toward the waypoint, m/s", "Speed/toward_waypoint", lanes),
    ]
    if config.guided and not config.finetune.enabled:
        panels.append(Panel("seconds of a round of imitation", ("Perf/imitation_time",)))
    if config.distill.enabled and not config.finetune.enabled:
        panels.append(Panel("seconds of a distillation", ("Perf/distill_time",)))
    if _shows_media(config):
        panels.append(Panel("seconds of what the log shows", ("Perf/media_time",)))
    if config.runner.evaluate_every:
        panels.append(Panel("seconds of an evaluation", ("Perf/evaluation_time",)))
    return Section("Speed", tuple(panels), open=False)


def _media(config: Config, lanes: Sequence[str]) -> Section:
    panels: list[Panel] = []
    if config.runner.video_every:
        panels += _each("video", "Video", lanes, Shows.VIDEOS)
    if _shows_media(config):
        if config.camera.enabled:
            panels += _each("depth images as they are seen", "Depth", lanes, Shows.IMAGES)
        panels += _each("actions", "Actions", lanes, Shows.HISTOGRAMS)
    return Section("Media", tuple(panels), columns=2)


def _shows_media(config: Config) -> bool:
    return config.runner.media_every > 0


def _of_lanes(title: str, begin: str, lanes: Sequence[str], shows: Shows = Shows.CURVES) -> Panel:
    """Return a panel with all lanes side by side."""
    return Panel(title, tuple(f"{begin}/{lane}" for lane in lanes), shows)


def _each(title: str, begin: str, lanes: Sequence[str], shows: Shows) -> list[Panel]:
    """Return a panel for each lane."""
    return [Panel(f"{title}, {lane}", (f"{begin}/{lane}",), shows) for lane in lanes]


def _evaluated_levels() -> Sequence[int]:
    from legged_gym_ext.evaluation.during_training import LEVELS  # imports torch

    return LEVELS


# What there is to show ------------------------------------------------------------------------------------------------


def panels(sections: Sequence[Section]) -> Iterator[tuple[Section, Panel]]:
    """Yield each panel with its section."""
    for section in sections:
        for panel in section.panels:
            yield section, panel


def without_data(sections: Sequence[Section], tags: Collection[str]) -> list[str]:
    """Return what of the layout a log has nothing for: a line for each panel that misses one of its tags.

    Args:
        sections: The layout.
        tags: Of all that a training logged.
    """
    return [
        f"{section.title}: {panel.title}: no {', '.join(missing)}"
        for section, panel in panels(sections)
        if (missing := [tag for tag in panel.tags if tag not in tags])
    ]


def without_panel(sections: Sequence[Section], tags: Collection[str]) -> list[str]:
    """Return the tags of a log that no panel shows."""
    shown = {tag for _, panel in panels(sections) for tag in panel.tags} | NOT_SHOWN
    return sorted(set(tags) - shown)

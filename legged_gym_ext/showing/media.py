"""The media that the log gets of a training's lanes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from legged_gym_ext.envs.parkour_env import ParkourEnv
from legged_gym_ext.evaluation.selection import ALL, kinds_to_show, levels_to_show
from legged_gym_ext.learning.lanes import Lane
from legged_gym_ext.processes.collectives import gather
from legged_gym_ext.processes.ranks import here
from legged_gym_ext.recording.media import Histogram, Image, Medium, Table
from legged_gym_ext.showing.views import View, join, look


def media_of(env: ParkourEnv, lanes: Mapping[str, Lane], names: Mapping[str, str]) -> list[Medium]:
    """Return what the lanes show now, and begin to count their episodes anew. None of it changes the training.

    All ranks must call this alike; the first has the media of all, the others none.

    Args:
        env: The environment.
        lanes: The lanes, by name, which is part of the media's tags.
        names: What their policies are called in pictures, by lane.
    """
    own = {name: view for name, lane in lanes.items() if (view := look(env, lane)) is not None}
    ranks = gather(own)
    media: list[Medium] = []
    for name in own if here().rank == 0 else ():
        view = join([views[name] for views in ranks])
        media += [*_levels(view, env.terrain_kinds, name), *_success(view, env, name, names[name])]
        if len(view.actions):
            media.append(Histogram(f"Actions/{name}", view.actions.ravel()))
        if view.images is not None:
            media.append(_depth(view, env, name))
    return media


def _levels(view: View, kinds: Sequence[str], lane: str) -> list[Medium]:
    levels = {kind: view.level[view.kind == number] for number, kind in enumerate(kinds)}
    return [Histogram(f"TerrainLevel/histogram/{kind}/{lane}", found) for kind, found in levels.items() if len(found)]


def _success(view: View, env: ParkourEnv, lane: str, policy: str) -> list[Medium]:
    """Return success by kind and level as a table and as a heat map; nothing where no episode has ended."""
    episodes, successes = with_sums(view.places)
    if not episodes[-1, -1]:
        return []
    from legged_gym_ext.evaluation.figures import pixels, success_map  # matplotlib, once there is something to draw

    rows, columns = kinds_to_show([*env.terrain_kinds, ALL]), levels_to_show([*range(env.terrain_levels), None])
    episodes, successes = episodes[: len(rows), : len(columns)], successes[: len(rows), : len(columns)]
    share = np.divide(successes, episodes, out=np.full(episodes.shape, np.nan), where=episodes > 0)
    headings = ["kind", *(f"level {level}" if level is not None else "all levels" for level in columns), "episodes"]
    table = [
        ["all kinds" if kind == ALL else kind, *map(_cell, share[row]), float(episodes[row, -1])]
        for row, kind in enumerate(rows)
    ]
    title = f"{policy} in training: success, %, and number of episodes"
    return [
        Table(f"Success/by_kind_and_level/{lane}", headings, table),
        Image(f"Success/heat_map/{lane}", pixels(*success_map(share, rows, columns, title, episodes))),
    ]


def with_sums(places: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the counts (2, K, L) of episodes and of successes, each (K + 1, L + 1): sums over all come last."""
    summed = np.pad(places, ((0, 0), (0, 1), (0, 1)))
    summed[:, -1] = summed.sum(axis=1)
    summed[..., -1] = summed.sum(axis=2)
    return summed[0], summed[1]


def _cell(share: float) -> float | None:
    return None if np.isnan(share) else round(float(share), 3)


def _depth(view: View, env: ParkourEnv, lane: str) -> Image:
    from legged_gym_ext.showing.pictures import depth_row

    assert view.images is not None
    captions = [f"{env.terrain_kinds[int(view.kind[robot])]}, level {view.level[robot]}" for robot in view.robots]
    camera = env.config.camera
    return Image(f"Depth/{lane}", depth_row(view.images, captions, camera.near, camera.far))

"""What the test of several ranks has torchrun run, with a folder for its results: a training that shows its lanes."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from legged_gym_ext.config.files import load_config
from legged_gym_ext.envs.parkour_env import ParkourEnv
from legged_gym_ext.learning.runner import ParkourRunner
from legged_gym_ext.processes.join import joined
from legged_gym_ext.processes.ranks import here
from legged_gym_ext.recording.media import Medium, Table
from legged_gym_ext.runs.settle import rank_config, seed_everything, settle
from legged_gym_ext.showing import media

OVERRIDES = ("terrain.variants=1", "terrain.levels=3", "env.num_envs=16", "env.episode_length_s=0.16",
             "teacher.hidden_dims=[16]", "distill.enabled=false", "runner.media_every=2",
             "ppo.num_mini_batches=1", "ppo.num_learning_epochs=1", "runner.device=cpu", "sim.device=cpu")  # fmt: skip


def main(folder: Path) -> None:
    """Write what each rank counted, and the table that the first one was given."""
    config = settle(load_config("parkour_depth", OVERRIDES))
    seed_everything(here().seed(1))
    env = ParkourEnv(rank_config(config), here().share(config.env.num_envs), torch.device("cpu"))
    runner = ParkourRunner(env, config, folder / "run", "cpu")
    result: dict[str, Any] = {"counts": [], "tables": []}
    look = media.look

    def spy(*lane: Any) -> Any:
        view = look(*lane)
        assert view is not None
        result["counts"].append(view.places.tolist())
        return view

    def show(shown: Sequence[Medium], step: int) -> None:
        result["tables"] += [list(medium.rows) for medium in shown if isinstance(medium, Table)]

    media.look = spy
    runner.journal.recording.show = show  # type: ignore[method-assign]
    runner.learn(4)
    (folder / f"rank{here().rank}.json").write_text(json.dumps(result))


if __name__ == "__main__":
    with joined():
        main(Path(sys.argv[1]))

"""When a training shows what, and that it is the same training without."""

from __future__ import annotations

import json
import re
import signal
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import ranks_show
import torch
from dummy_env import small_config
from dummy_runner import assert_same
from dummy_runner import make as make_dummy
from fake_filming import fake_program, starts, wait_for_start
from small_env import CPU, TINY
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torchrun import finish, torchrun

from legged_gym_ext.config.files import load_config
from legged_gym_ext.envs.parkour_env import ParkourEnv
from legged_gym_ext.learning.runner import ParkourRunner
from legged_gym_ext.processes.ranks import Ranks
from legged_gym_ext.recording.media import Medium, Video
from legged_gym_ext.runs.checkpoint import load_checkpoint
from legged_gym_ext.runs.settle import seed_everything, settle
from legged_gym_ext.showing import filming as filming_module
from legged_gym_ext.showing import showing as showing_module
from legged_gym_ext.showing.showing import in_turn

OVERRIDES = (*TINY, "student.encoder.kind=light", "teacher.hidden_dims=[16]", "distill.start=1", "distill.interval=1",
             "distill.steps_per_env=4", "distill.mini_batches=1", "runner.num_steps_per_env=4",
             "ppo.num_mini_batches=1", "ppo.num_learning_epochs=1", "curriculum.start_level=2")  # fmt: skip


def make_runner(folder: Path | None, *overrides: str) -> ParkourRunner:
    config = settle(load_config("parkour_depth", [*OVERRIDES, *overrides]))
    seed_everything(1)
    return ParkourRunner(ParkourEnv(config, 4, CPU), config, folder, "cpu")


def make(folder: Path | None, *overrides: str) -> tuple[ParkourRunner, list[tuple[int, str]]]:
    """Return a runner, and what its log is shown, step and tag."""
    runner = make_runner(folder, *overrides)
    shown: list[tuple[int, str]] = []

    def show(media: Sequence[Medium], step: int) -> None:
        for medium in media:
            assert not isinstance(medium, Video) or medium.path.exists()
            shown.append((step, medium.tag))

    def add(scalars: Mapping[str, float], step: int, turns: Mapping[str, Collection[str]] | None = None) -> None:
        shown.extend((step, tag) for tag in scalars if tag == "Perf/media_time")

    runner.journal.recording.show = show  # type: ignore[method-assign]
    runner.journal.recording.add = add  # type: ignore[method-assign]
    return runner, shown


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Choose how the program that films behaves."""
    return lambda how: monkeypatch.setattr(filming_module, "PROGRAM", fake_program(tmp_path, how))


def test_a_training_is_the_same_with_all_of_it_and_without(tmp_path: Path, program: Any) -> None:
    program("works")
    make(tmp_path / "without", "runner.media_every=0")[0].learn(5)
    runner, shown = make(tmp_path / "with", "runner.media_every=2", "runner.video_every=1")
    runner.learn(5)
    contents = [load_checkpoint(tmp_path / name / "model_5.pt") for name in ("without", "with")]
    for content in contents:
        del content["config"]
        for rank in content["ranks"]:
            for statistics in rank["statistics"].values():
                del statistics["places"]
    assert_same(*contents)
    assert {step for step, tag in shown if tag.startswith("Depth/")} == {2, 4}
    assert [step for step, tag in shown if tag == "Perf/media_time"] == [2, 4]
    assert {tag for step, tag in shown if step == 2 and tag.startswith("Depth/")} == {"Depth/teacher", "Depth/student"}
    filmed = [(step, tag) for step, tag in shown if tag.startswith("Video/")]
    assert filmed[0] == (1, "Video/teacher") and ("Video/student" in dict(map(reversed, filmed)))
    names = {path.name for path in (tmp_path / "with" / "videos").glob("*.mp4")}
    assert names == {f"iteration_{step}_{tag.partition('/')[2]}.mp4" for step, tag in filmed}
    assert len(starts(tmp_path / "with" / "videos")) == len({step for step, _ in filmed})


def test_the_media_are_in_tensorboards_log(tmp_path: Path) -> None:
    make_runner(tmp_path, "runner.media_every=5", "env.episode_length_s=0.08").learn(5)
    log = EventAccumulator(str(tmp_path), {"images": 0, "histograms": 0, "tensors": 0}).Reload()
    for lane in ("teacher", "student"):
        for tag in (f"Depth/{lane}", f"Success/heat_map/{lane}"):
            (image,) = log.Images(tag)
            assert image.step == 5 and image.width > image.height > 0
        for tag in (f"Actions/{lane}", f"TerrainLevel/histogram/gaps/{lane}"):
            (histogram,) = log.Histograms(tag)
            assert histogram.step == 5 and histogram.histogram_value.num > 0
        (table,) = log.Tensors(f"Success/by_kind_and_level/{lane}/text_summary")
        text = table.tensor_proto.string_val[0].decode()
        assert table.step == 5 and "| all levels |" in text and "| gaps |" in text
    assert [event.step for event in log.Scalars("Perf/media_time")] == [5]


def test_films_are_never_made_two_at_once_nor_waited_for_when_a_signal_ends_the_training(
    tmp_path: Path, program: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    program("hangs")
    runner, shown = make(tmp_path / "run", "runner.media_every=0", "runner.video_every=1")
    iterate, videos = runner._iterate, tmp_path / "run" / "videos"

    def spy() -> Any:
        if runner.iteration == 3:
            wait_for_start(videos)
            signal.raise_signal(signal.SIGTERM)
        return iterate()

    runner._iterate = spy  # type: ignore[method-assign]
    runner.learn(9)
    assert runner.iteration == 4 and shown == []
    assert len(starts(videos)) == 1 and not list(videos.glob("*.mp4")) and not list(videos.glob(".*"))
    out = capsys.readouterr().out
    assert "waiting for" not in out
    assert len(re.findall("no video of iteration 1: ", out)) == 1


def test_a_training_that_fails_leaves_no_process(tmp_path: Path, program: Any) -> None:
    program("hangs")
    runner, _ = make(tmp_path / "run", "runner.media_every=0", "runner.video_every=1")
    iterate = runner._iterate

    def spy() -> Any:
        if runner.iteration == 1:
            wait_for_start(tmp_path / "run" / "videos")
            raise ValueError("the robot fell apart")
        return iterate()

    runner._iterate = spy  # type: ignore[method-assign]
    with pytest.raises(ValueError, match="fell apart"):
        runner.learn(2)
    running = runner.showing._filming._running
    assert running is not None and running.process.returncode == -9
    assert not list((tmp_path / "run" / "videos").glob(".*")) and not Path(running.folder.name).exists()


def test_other_ranks_show_nothing_and_neither_do_runs_without_a_folder_or_a_log(
    tmp_path: Path, program: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    program("works")
    runner, shown = make(None, "runner.media_every=1", "runner.video_every=1")
    runner.learn(1)
    assert shown == []
    runner, shown = make(tmp_path / "mute", "runner.media_every=1", "runner.logger=none")
    runner.learn(1)
    assert shown == [] and runner.lanes["teacher"].statistics.kind.max() > 0  # there would be something to show
    runner, shown = make(tmp_path / "run", "runner.media_every=1", "runner.video_every=1")
    monkeypatch.setattr(showing_module, "here", lambda: Ranks(1, 2, 1, 2))
    runner.learn(1)
    assert shown == [] and not (tmp_path / "run" / "videos").exists()
    assert runner.lanes["teacher"].statistics.places.sum() == 0  # it has told the first rank


@pytest.mark.slow
def test_the_first_rank_shows_the_episodes_of_all(tmp_path: Path) -> None:
    code, _, err = finish(torchrun(Path(ranks_show.__file__), tmp_path), 300)
    assert code == 0, err
    results = [json.loads((tmp_path / f"rank{rank}.json").read_text()) for rank in (0, 1)]
    first, second = (np.array(result["counts"]) for result in results)
    assert first.shape == second.shape and first.sum() > 0 < second.sum() and (first != second).any()
    episodes = (first + second)[:, 0].sum(axis=2)  # looks x kinds
    for row, table in zip(episodes, results[0]["tables"], strict=True):
        assert [cells[-1] for cells in table] == [*row, row.sum()]
    assert len(results[0]["tables"]) == 2 and results[1]["tables"] == []


def test_an_environment_of_which_nothing_is_known_is_trained_without(tmp_path: Path) -> None:
    make_dummy(tmp_path, small_config(media_every=1, video_every=1)).learn(2)
    assert not (tmp_path / "videos").exists()


def test_the_levels_of_the_clips_are_those_of_the_lane(tmp_path: Path, program: Any) -> None:
    runner, _ = make(tmp_path / "run", "runner.media_every=0", "runner.video_every=1")
    begun: list[Any] = []
    runner.showing._filming.begin = lambda *arguments: begun.append(arguments)  # type: ignore[method-assign]
    runner.learn(2)
    iteration, _, content, films, seconds = begun[1]
    assert iteration == 2 and seconds == runner.config.runner.video_length
    assert content["ranks"] == [] and all(not torch.is_tensor(t) or t.device == CPU for t in content.values())
    for name, film in films.items():
        statistics = runner.lanes[name].statistics
        assert film.title == f"{name}, iteration 2" and film.path.endswith(f"videos/iteration_2_{name}.mp4")
        for kind, level in film.clips:
            there = statistics.level[statistics.kind == runner.env.terrain_kinds.index(kind)]
            assert level == (round(there.mean().item()) if len(there) else 0)
    assert set(films) == {"teacher", "student"} and set(begun[0][3]) == {"teacher"}  # not before it has learned
    assert len(films["teacher"].clips) == 4 and films["teacher"].clips != begun[0][3]["teacher"].clips


def test_a_film_says_whether_it_is_the_guides_or_the_teachers(tmp_path: Path, program: Any) -> None:
    guided = ("guide.enabled=true", "guide.iterations=2", "guide.rounds=2", "guide.steps_per_env=4")
    runner, _ = make(tmp_path, "runner.media_every=0", "runner.video_every=1", *guided, "guide.mini_batches=1")
    titles: list[str] = []

    def note(iteration: int, config: Any, content: Any, films: Mapping[str, Any], seconds: float) -> None:
        titles.append(films["teacher"].title)

    runner.showing._filming.begin = note  # type: ignore[method-assign]
    runner.learn(2)
    assert titles == ["guide, iteration 1", "teacher, iteration 2"]


def test_every_kind_has_its_turn() -> None:
    for kinds in range(1, 10):
        for clips in range(12):
            turns = [in_turn(kinds, clips, turn) for turn in range(kinds)]
            assert {len(set(turn)) for turn in turns} == {min(max(clips, 1), kinds)}
            count = [sum(kind in turn for turn in turns) for kind in range(kinds)]
            assert len(set(count)) == 1

"""What the log gets to see of the lanes: it is what happened on them, and looking changes nothing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
import torch
from dummy_runner import assert_same
from small_env import CPU, TINY
from torch import Tensor

from legged_gym_ext.config.files import load_config
from legged_gym_ext.envs import terminations
from legged_gym_ext.envs.outcome import Outcome
from legged_gym_ext.envs.parkour_env import ParkourEnv
from legged_gym_ext.evaluation import figures
from legged_gym_ext.evaluation.episodes import Episodes
from legged_gym_ext.evaluation.rollout import examples
from legged_gym_ext.groups import DEPTH
from legged_gym_ext.learning.lanes import Lane
from legged_gym_ext.recording.media import Histogram, Image, Medium, Table
from legged_gym_ext.rendering.depth_colours import colour_depth
from legged_gym_ext.runs.settle import seed_everything, settle
from legged_gym_ext.showing import media as media_module
from legged_gym_ext.showing.media import media_of, with_sums
from legged_gym_ext.showing.pictures import depth_row
from legged_gym_ext.showing.views import View, join, look

ENVS = 11
STEPS = {"teacher": 30, "student": 23}
NAMES = {name: name for name in STEPS}
ONE_OUTCOME = (Outcome.FINISHED, Outcome.TIPPED, Outcome.TIMED_OUT, *[Outcome.RUNNING] * 4)


@dataclass
class Record:
    """What happened on a lane."""

    kind: list[np.ndarray] = field(default_factory=list)
    """Of the environments in each step, before what ended in it began anew; as the next two."""
    level: list[np.ndarray] = field(default_factory=list)
    outcome: list[np.ndarray] = field(default_factory=list)
    actions: Tensor = field(default_factory=lambda: torch.zeros(0))
    depth: Tensor = field(default_factory=lambda: torch.zeros(0))


@dataclass
class Played:
    env: ParkourEnv
    lanes: dict[str, Lane]
    records: dict[str, Record]
    media: dict[str, Medium]
    before: Any
    after: Any


def everything(env: ParkourEnv, lanes: dict[str, Lane]) -> list[Any]:
    """Return all that decides how a training goes on."""
    statistics = [lane.statistics.state_dict() for lane in lanes.values()]
    for one in statistics:
        del one["places"]
    return [env.snapshot(), *(lane.state() for lane in lanes.values()), *statistics, torch.get_rng_state()]


@pytest.fixture(scope="module")
def played() -> Iterator[Played]:
    """Two lanes, in turns, on which episodes end at random; and what their media are then."""
    with pytest.MonkeyPatch.context() as patch:
        seed_everything(3)
        changes = ["curriculum.start_level=2", "randomization.full_at_level=0", "randomization.camera_latency=[1,4]"]
        config = settle(load_config("parkour_depth", [*TINY, *changes, "camera.resolution=[16,20]"]))
        env = ParkourEnv(config, ENVS, CPU)
        lanes = {name: Lane(env, "cpu") for name in STEPS}
        lanes["student"].begin()
        records = {name: Record() for name in STEPS}
        draw = torch.Generator().manual_seed(4)

        def check(_: ParkourEnv) -> Tensor:
            chosen = torch.randint(len(ONE_OUTCOME), (ENVS,), generator=draw)
            return torch.tensor(ONE_OUTCOME)[chosen]

        patch.setattr(terminations, "check", check)
        for _ in range(3):
            for name, lane in lanes.items():
                with lane.turn():
                    for _ in range(STEPS[name]):
                        step(env, lane, records[name], draw)
        before = everything(env, lanes)
        media = {medium.tag: medium for medium in media_of(env, lanes, NAMES)}
        yield Played(env, lanes, records, media, before, everything(env, lanes))
        env.close()


def step(env: ParkourEnv, lane: Lane, record: Record, draw: torch.Generator) -> None:
    kind, level = env.state.terrain_kind.numpy().copy(), env.state.terrain_level.numpy().copy()
    record.actions = torch.randn(ENVS, 10, generator=draw)
    obs, rewards, dones, extras = env.step(record.actions)
    lane.statistics.add(rewards, dones, extras)
    record.kind.append(kind)
    record.level.append(level)
    record.outcome.append(extras["outcome"].numpy().copy())
    record.actions = record.actions[env.state.episode_length > 0].clamp(-10, 10)
    record.depth = obs[DEPTH].clone()


def episodes_of(record: Record) -> tuple[Episodes, np.ndarray]:
    """Return the table that evaluate.py would have of a lane's episodes, and their levels: no environment's first."""
    rows = []
    for env in range(ENVS):
        ended = [row for row, outcome in enumerate(record.outcome) if outcome[env] != Outcome.RUNNING]
        rows += [(record.kind[row][env], record.level[row][env], record.outcome[row][env]) for row in ended[1:]]
    kind, level, outcome = np.array(rows).T
    nothing = np.zeros(len(kind))
    others = "time distance waypoints edge_violations speed speed_error work weight foot_slip torque_peak"
    return Episodes(kind=kind, tile=kind, outcome=outcome, **dict.fromkeys(others.split(), nothing)), level


@pytest.mark.parametrize("lane", STEPS)
def test_success_in_the_log_is_that_of_evaluate(played: Played, lane: str) -> None:
    table = played.media[f"Success/by_kind_and_level/{lane}"]
    assert isinstance(table, Table)
    assert list(table.columns) == ["kind", "level 0", "level 1", "level 2", "all levels", "episodes"]
    kinds = played.env.library.kinds
    assert [row[0] for row in table.rows] == [*kinds, "all kinds"]
    episodes, level = episodes_of(played.records[lane])
    assert len(episodes) > 80
    empty = 0
    for number, row in enumerate(table.rows):
        of_kind = episodes.kind == number if number < len(kinds) else np.ones(len(episodes), bool)
        for column in range(4):
            there = of_kind & (level == column) if column < 3 else of_kind
            cell = row[1 + column]
            if there.any():
                assert cell == pytest.approx(episodes.success[there].mean(), abs=1e-3)
            else:
                assert cell is None
                empty += 1
        assert row[-1] == of_kind.sum()
    assert 0 < empty < 16  # each kind has an environment or two, which are not on all levels


@pytest.mark.parametrize("lane", STEPS)
def test_histograms_are_of_the_levels_and_of_the_newest_actions(played: Played, lane: str) -> None:
    record = played.records[lane]
    for number, kind in enumerate(played.env.library.kinds):
        histogram = played.media[f"TerrainLevel/histogram/{kind}/{lane}"]
        assert isinstance(histogram, Histogram)
        expected = record.level[-1][record.kind[-1] == number]
        assert sorted(histogram.values) == sorted(expected) and len(expected) > 0
    histogram = played.media[f"Actions/{lane}"]
    assert isinstance(histogram, Histogram)
    np.testing.assert_array_equal(histogram.values, record.actions.numpy().ravel())
    assert 0 < len(histogram.values) < 10 * ENVS


@pytest.mark.parametrize("lane", STEPS)
def test_depth_images_are_what_the_networks_get(played: Played, lane: str) -> None:
    view = look(played.env, played.lanes[lane])
    assert view is not None and view.images is not None
    np.testing.assert_array_equal(view.images.reshape(len(view.robots), -1), played.records[lane].depth[view.robots])
    assert list(view.kind[view.robots]) == list(range(len(played.env.library.kinds)))
    taken = played.env.state.camera.frames[0] if lane == "teacher" else None
    assert taken is None or not torch.equal(taken, played.records[lane].depth)  # late
    picture = played.media[f"Depth/{lane}"]
    camera = played.env.config.camera
    names = [played.env.library.kinds[kind] for kind in view.kind[view.robots]]
    captions = [f"{name}, level {level}" for name, level in zip(names, view.level[view.robots], strict=True)]
    assert isinstance(picture, Image)
    np.testing.assert_array_equal(picture.pixels, depth_row(view.images, captions, camera.near, camera.far))


def test_a_snapshot_of_before_cameras_could_be_late_is_looked_at_too(played: Played) -> None:
    snapshot = played.lanes["student"].state()
    camera = {name: tensor for name, tensor in snapshot["environment"]["camera"].items() if name != "latency"}
    older = {**snapshot, "environment": {**snapshot["environment"], "camera": camera}}
    _, images = played.env.glimpse([3, 0], older)
    assert images is not None and torch.equal(images.flatten(1), camera["frames"][0, [3, 0]])


def test_to_look_changes_nothing_but_where_the_count_begins(played: Played) -> None:
    assert_same(played.before, played.after)
    for lane in played.lanes.values():
        assert lane.statistics.places.sum() == 0
    tags = {medium.tag for medium in media_of(played.env, played.lanes, NAMES)}
    assert tags == {tag for tag in played.media if not tag.startswith("Success/")}
    for lane in STEPS:
        assert f"Success/heat_map/{lane}" in played.media


def test_a_lane_that_has_not_begun_shows_nothing(played: Played) -> None:
    assert look(played.env, Lane(played.env, "cpu")) is None


def test_the_heat_map_shows_the_counts(played: Played) -> None:
    lane = played.lanes["teacher"]
    pictures = []
    for successes in (0, 7):
        lane.statistics.places.zero_()
        lane.statistics.places[0, 2, 1] = 7
        lane.statistics.places[1, 2, 1] = successes
        media = {medium.tag: medium for medium in media_of(played.env, {"teacher": lane}, NAMES)}
        picture = media["Success/heat_map/teacher"]
        assert isinstance(picture, Image) and picture.pixels.dtype == np.uint8 and picture.pixels.shape[2] == 3
        pictures.append(picture.pixels)
    first, second = pictures
    assert first.shape == second.shape
    changed = (first != second).any(axis=2)
    rows, columns = np.flatnonzero(changed.any(axis=1)), np.flatnonzero(changed.any(axis=0))
    assert 0.005 < changed.mean() < 0.3 and len(rows) < 0.9 * changed.shape[0] and len(columns) < changed.shape[1]


def test_the_heat_map_names_the_policy_that_acts(played: Played, monkeypatch: pytest.MonkeyPatch) -> None:
    """The tag is the lane's: its pictures stand in one row."""
    lane, titles = played.lanes["teacher"], []
    lane.statistics.places.fill_(1)
    draw = figures.success_map
    monkeypatch.setattr(figures, "success_map", lambda *of: (titles.append(of[3]), draw(*of))[1])
    tags = [medium.tag for medium in media_of(played.env, {"teacher": lane}, {"teacher": "guide"})]
    assert titles == ["guide in training: success, %, and number of episodes"]
    assert tags and not any("guide" in tag for tag in tags)


def test_ranks_are_counted_together_and_the_first_ones_images_are_shown(
    played: Played, monkeypatch: pytest.MonkeyPatch
) -> None:
    lane = played.lanes["student"]
    lane.statistics.places.zero_()
    lane.statistics.places[:, 1, 2] = torch.tensor([5, 2])
    asked = []

    def gather(own: dict[str, View]) -> list[dict[str, View]]:
        asked.append(own)
        other = View(
            np.roll(own["student"].places, 1, axis=1),
            own["student"].kind,
            own["student"].level + 1,
            own["student"].actions[:1] + 1,
            None,
            own["student"].robots,
        )
        return [own, {"student": other}]

    monkeypatch.setattr(media_module, "gather", gather)
    media = {medium.tag: medium for medium in media_of(played.env, {"student": lane}, NAMES)}
    kinds = played.env.library.kinds
    table = media["Success/by_kind_and_level/student"]
    assert isinstance(table, Table)
    assert [row[0] for row in table.rows if row[-1]] == [kinds[1], kinds[2], "all kinds"]
    assert table.rows[-1][1:] == [None, None, 0.4, 0.4, 10.0]
    own = asked[0]["student"]
    together = join([own, own])
    assert len(together.level) == 2 * ENVS and together.images is own.images
    actions = media["Actions/student"]
    assert isinstance(actions, Histogram) and len(actions.values) == own.actions.size + 10
    assert "Depth/student" in media


def test_sums_over_kinds_and_levels() -> None:
    random = np.random.default_rng(1)
    for _ in range(20):
        places = random.integers(0, 9, (2, *random.integers(1, 6, 2)))
        for summed, counts in zip(with_sums(places), places, strict=True):
            for (kind, level), value in np.ndenumerate(summed):
                rows = counts[kind : kind + 1] if kind < len(counts) else counts
                assert value == (rows[:, level] if level < counts.shape[1] else rows).sum()


def test_one_robot_of_each_kind() -> None:
    random = np.random.default_rng(2)
    for _ in range(20):
        kind = random.integers(0, 5, random.integers(1, 12))
        robots = examples(torch.from_numpy(kind))
        assert list(kind[robots]) == sorted(set(kind))


def test_a_row_of_depth_images_has_each_in_its_place() -> None:
    random = np.random.default_rng(0)
    images = random.uniform(-0.5, 0.5, (3, 4, 8)).astype(np.float32)
    images[1] = 0.5
    picture = depth_row(images, ["gaps, level 3", "", "stepping_stones, level 2"], 0.1, 3.0)
    assert picture.dtype == np.uint8 and picture.shape[2] == 3
    for index, image in enumerate(images):
        for (row, column), value in np.ndenumerate(image):  # each pixel is a square of 20
            there = picture[20 + 20 * row + 10, 8 + index * 168 + 20 * column + 10]
            np.testing.assert_array_equal(there, colour_depth(np.array(value + 0.5)))
    assert (picture[:20, 8:168] < 100).any() and not (picture[:20, 176:336] < 100).any()  # captions above


def test_depth_colours_go_from_light_to_dark_and_do_not_overflow() -> None:
    luminance = colour_depth(np.linspace(0, 1, 64)).astype(float) @ [0.2126, 0.7152, 0.0722]
    assert (np.diff(luminance) <= 0.5).all() and luminance[0] - luminance[-1] > 150
    np.testing.assert_array_equal(colour_depth(np.array([-3.0, 0.0])), colour_depth(np.zeros(2)))
    np.testing.assert_array_equal(colour_depth(np.array([1.0, 9.0])), colour_depth(np.ones(2)))

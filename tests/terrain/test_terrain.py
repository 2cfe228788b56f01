"""The tiles as MuJoCo's rays see them, the library, the curriculum and the picture."""

import math

import mujoco
import numpy as np
import pytest
import torch

from legged_gym_ext.config.schema import CurriculumConfig, TerrainConfig
from legged_gym_ext.errors import UserError
from legged_gym_ext.terrain.__main__ import main
from legged_gym_ext.terrain.boxes import ABSENT, MAX_BOXES
from legged_gym_ext.terrain.curriculum import choose, first_level, next_level, reassign, share_of
from legged_gym_ext.terrain.kinds import KINDS
from legged_gym_ext.terrain.library import TerrainLibrary, build_library

LENGTH, WIDTH, LEVELS, VARIANTS = 12.0, 4.0, 10, 4  # of the default configuration
EVERY_KIND = pytest.mark.parametrize("kind", list(KINDS))


class Surface:
    """Heights of a tile by MuJoCo's rays from above."""

    def __init__(self, boxes: np.ndarray):
        spec = mujoco.MjSpec()
        for box in boxes[boxes[:, 7] > 0]:
            spec.worldbody.add_geom(type=mujoco.mjtGeom.mjGEOM_BOX, pos=box[:3], quat=box[3:7], size=box[7:])
        self.model = spec.compile()
        self.data = mujoco.MjData(self.model)
        mujoco.mj_kinematics(self.model, self.data)

    def __call__(self, x, y) -> np.ndarray:
        """Return the heights at points; NaN where there is nothing."""
        x, y = np.broadcast_arrays(np.asarray(x, dtype=float), np.asarray(y, dtype=float))
        down, top = np.array([0.0, 0.0, -1.0]), 10.0
        distance = np.array(
            [
                mujoco.mj_ray(self.model, self.data, np.array([a, b, top]), down, None, True, -1, None)
                for a, b in zip(x.ravel(), y.ravel(), strict=True)
            ]
        ).reshape(x.shape)
        return np.where(distance < 0, np.nan, top - distance)


@pytest.fixture(scope="module")
def library() -> TerrainLibrary:
    return build_library(TerrainConfig())


def tile(library: TerrainLibrary, kind: str, level: int, variant: int) -> tuple[np.ndarray, np.ndarray]:
    index = (library.kinds.index(kind) * library.levels + level) * library.variants + variant
    return library.boxes[index].double().numpy(), library.waypoints[index].double().numpy()


def tiles(library: TerrainLibrary, kind: str):
    for level in range(library.levels):
        for variant in range(library.variants):
            yield tile(library, kind, level, variant)


def runs(mask: np.ndarray, spacing: float) -> np.ndarray:
    """Return the lengths of the runs of True that do not touch the ends of a line sampled at a spacing."""
    change = np.diff(mask.astype(int))
    starts, ends = np.flatnonzero(change == 1), np.flatnonzero(change == -1)
    if mask[0]:
        ends = ends[1:]
    count = min(len(starts), len(ends))
    return (ends[:count] - starts[:count]) * spacing


# ---- every tile


@EVERY_KIND
def test_rows(library, kind):
    for boxes, _ in tiles(library, kind):
        present = boxes[:, 7] > 0
        count = present.sum()
        assert boxes.shape == (MAX_BOXES, 10)
        assert count > 0
        assert present[:count].all()
        assert (boxes[count:] == ABSENT).all()
        assert (boxes[:count, 7:] > 0).all()
        np.testing.assert_allclose(np.linalg.norm(boxes[:, 3:7], axis=1), 1.0, atol=1e-6)


@EVERY_KIND
def test_start_and_finish_are_level_ground_and_the_tile_ends_behind_them(library, kind):
    y = np.array([-WIDTH / 2 + 0.01, 0.3, WIDTH / 2 - 0.01])
    start, finish = np.linspace(-1.99, 1.19, 9), np.linspace(LENGTH - 0.79, LENGTH + 1.49, 9)
    for boxes, _ in tiles(library, kind):
        surface = Surface(boxes)
        for x in (start, finish):
            np.testing.assert_allclose(surface(x[:, None], y), 0.0, atol=1e-6)
        assert np.isnan(
            surface([-2.01, LENGTH + 1.51, 0.0, 0.0], [0.0, 0.0, WIDTH / 2 + 0.01, -WIDTH / 2 - 0.01])
        ).all()


@EVERY_KIND
def test_waypoints_lead_along_the_course_on_ground_with_room_for_a_foot(library, kind):
    around = np.array([[0, 0], [0.1, 0], [-0.1, 0], [0, 0.1], [0, -0.1]])
    for boxes, waypoints in tiles(library, kind):
        assert waypoints.shape == (8, 3)
        assert (np.diff(waypoints[:, 0]) > 0.1).all()
        assert waypoints[0, 0] > 0
        assert waypoints[-1, 0] == LENGTH
        assert np.abs(waypoints[:, 1]).max() <= 0.4
        points = waypoints[:, None, :2] + around
        heights = Surface(boxes)(points[..., 0], points[..., 1])
        np.testing.assert_allclose(heights[:, 0], waypoints[:, 2], atol=1e-5)
        steepest = math.tan(math.radians(22.0))
        assert np.abs(heights - heights[:, :1]).max() <= 0.1 * steepest + 1e-5  # NaN fails too


@EVERY_KIND
def test_the_lowest_level_is_practically_flat(library, kind):
    spacing = 0.005
    x = np.arange(-1.9, LENGTH + 1.4, spacing)
    for variant in range(VARIANTS):
        boxes, waypoints = tile(library, kind, 0, variant)
        surface = Surface(boxes)
        path = np.interp(x, [0.0, *waypoints[:, 0]], [0.0, *waypoints[:, 1]])
        for y in (path, -1.8, 0.1, 1.8):
            heights = surface(x, y)
            missing = np.isnan(heights)
            assert missing.sum() == 0 or runs(missing, spacing).max() <= 0.03
            assert np.abs(np.diff(heights[~missing])).max() <= 0.02
            assert np.ptp(heights[~missing]) <= 0.05


# ---- obstacles have the configured sizes, measured by rays


def along(surface: Surface, y: float, spacing: float = 0.005) -> np.ndarray:
    return surface(np.arange(0.0, LENGTH, spacing), y)


def largest_step(surface: Surface) -> float:
    return np.nanmax(np.abs(np.diff(along(surface, 0.0))))


def highest(surface: Surface) -> float:
    return np.nanmax([np.nanmax(along(surface, y, 0.02)) for y in np.linspace(-1.9, 1.9, 11)])


def widest_gap(surface: Surface) -> float:
    return runs(np.isnan(along(surface, 0.0)), 0.005).max()


def stone_size(surface: Surface) -> float:
    return np.median(runs(~np.isnan(along(surface, 0.15)), 0.005))


def steepest(surface: Surface) -> float:
    forward = np.diff(along(surface, 0.0)) / 0.005
    sideways = (along(surface, 0.05) - along(surface, -0.05)) / 0.1
    smooth = np.abs(forward[np.abs(forward) < 1.0])
    return math.degrees(math.atan(max(smooth.max(), np.nanmax(np.abs(sideways)))))


def narrowest(surface: Surface) -> float:
    y = np.arange(-2.1, 2.1, 0.005)
    return min(runs(~np.isnan(surface(x, y)), 0.005).max() for x in np.arange(0.0, LENGTH, 0.5))


MEASURES = {  # kind: (what rays measure, its value at the lowest and at the highest level, tolerance)
    "flat": (highest, 0.01, 0.05, 1e-5),
    "steps": (largest_step, 0.015, 0.45, 1e-5),
    "gaps": (widest_gap, 0.02, 0.8, 0.006),
    "hurdles": (highest, 0.015, 0.4, 1e-5),
    "stairs": (largest_step, 0.01, 0.2, 1e-5),
    "stepping_stones": (stone_size, 0.8, 0.32, 0.006),
    "ramps": (steepest, 0.25, 22.0, 0.1),
    "beams": (narrowest, 4.0, 0.3, 0.006),
}


@EVERY_KIND
def test_obstacles_grow_from_level_to_level_to_the_configured_size(library, kind):
    measure, low, high, tolerance = MEASURES[kind]
    for level, variant in [*((level, 0) for level in range(LEVELS)), *((LEVELS - 1, v) for v in range(1, VARIANTS))]:
        expected = low + (high - low) * level / (LEVELS - 1)
        boxes, _ = tile(library, kind, level, variant)
        assert measure(Surface(boxes)) == pytest.approx(expected, abs=tolerance), (level, variant)


def test_under_a_gap_is_nothing_and_its_walls_are_high(library):
    boxes, _ = tile(library, "gaps", LEVELS - 1, 0)
    surface = Surface(boxes)
    x = np.arange(0.0, LENGTH, 0.005)
    before = x[:-1][np.diff(np.isnan(surface(x, 0.0)).astype(int)) == 1]
    assert len(before) >= 3
    for edge in before:  # a ray from the middle of the gap, far below the ground, back to its near wall
        distance = mujoco.mj_ray(
            surface.model, surface.data, np.array([edge + 0.3, 0.0, -0.9]), np.array([-1.0, 0, 0]), None, True, -1, None
        )
        assert distance == pytest.approx(0.3, abs=0.006)


def test_the_line_through_the_waypoints_stays_on_the_beams(library):
    for boxes, waypoints in tiles(library, "beams"):
        x = np.arange(0.0, LENGTH, 0.05)
        y = np.interp(x, [0.0, *waypoints[:, 0]], [0.0, *waypoints[:, 1]])
        assert not np.isnan(Surface(boxes)(x, y)).any()


@pytest.mark.parametrize("kind", ["gaps", "hurdles", "steps"])
def test_room_to_stand_between_obstacles(library, kind):
    for variant in range(VARIANTS):
        boxes, _ = tile(library, kind, LEVELS - 1, variant)
        heights = along(Surface(boxes), 0.0)
        stretches = runs(np.abs(np.diff(heights)) < 1e-6, 0.005)  # of level ground
        assert stretches[stretches > 0.12].min() >= 0.89  # the shorter ones are the tops of hurdles


# ---- any configuration


@pytest.mark.parametrize("seed", range(12))
def test_any_configuration_gives_tiles_or_a_clear_error(seed):
    rng = np.random.default_rng(seed)
    config = TerrainConfig(
        seed=seed,
        levels=3,
        variants=1,
        length=rng.uniform(4.0, 40.0),
        width=rng.uniform(1.5, 6.0),
        waypoints=int(rng.integers(3, 16)),
    )
    config.stepping_stones.count = int(rng.integers(1, 16))
    scale = rng.uniform(0.2, 1.5)
    config.steps.length = [1.4 * scale, 0.9 * scale]
    config.stairs.run = [0.5 * scale, 0.3 * scale]
    config.stepping_stones.size = [0.8 * scale, 0.3 * scale]
    made, errors = 0, []
    for kind in KINDS:
        for other in KINDS:
            getattr(config, other).proportion = float(other == kind)
        try:
            library = build_library(config)
        except UserError as error:
            errors.append(str(error))
            continue
        made += 1
        for level in range(3):
            boxes, waypoints = tile(library, kind, level, 0)
            np.testing.assert_allclose(Surface(boxes)(*waypoints[:, :2].T), waypoints[:, 2], atol=1e-5)
            assert (np.diff(waypoints[:, 0]) > 0).all()
            np.testing.assert_allclose(waypoints[-1, 0], config.length, rtol=1e-6)
    assert made > 0
    assert all("terrain.length" in error or "terrain.waypoints" in error for error in errors)


# ---- library


def test_same_seed_same_tiles_other_seed_other_tiles(library):
    again, other = build_library(TerrainConfig()), build_library(TerrainConfig(seed=1))
    assert torch.equal(again.boxes, library.boxes)
    assert torch.equal(again.waypoints, library.waypoints)
    assert not torch.equal(other.boxes, library.boxes)


@EVERY_KIND
def test_variants_differ(library, kind):
    for level in range(1, LEVELS):
        different = {tile(library, kind, level, variant)[0].tobytes() for variant in range(VARIANTS)}
        assert len(different) == VARIANTS


def test_a_kind_does_not_depend_on_the_others():
    config = TerrainConfig()
    config.flat.proportion = config.gaps.proportion = config.beams.proportion = 0.0
    few, every = build_library(config), build_library(TerrainConfig())
    assert few.kinds == ("steps", "hurdles", "stairs", "stepping_stones", "ramps")
    assert sum(few.proportions) == pytest.approx(1.0)
    for kind in few.kinds:
        for (boxes, waypoints), (same_boxes, same_waypoints) in zip(tiles(few, kind), tiles(every, kind), strict=True):
            assert (boxes == same_boxes).all()
            assert (waypoints == same_waypoints).all()


def test_tile_index_counts_every_tile_once(library):
    kind, level, variant = (
        grid.ravel() for grid in torch.meshgrid(*map(torch.arange, (len(KINDS), LEVELS, VARIANTS)), indexing="ij")
    )
    index = library.tile_index(kind, level, variant)
    assert sorted(index.tolist()) == list(range(len(library.boxes)))
    stones = library.kinds.index("stepping_stones")
    chosen = library.boxes[index[(kind == stones) & (level == 3) & (variant == 2)]]
    assert (chosen[0].double().numpy() == tile(library, "stepping_stones", 3, 2)[0]).all()


def test_kinds_are_dealt_in_proportion():
    config = TerrainConfig(levels=1, variants=1)
    for kind, share in zip(KINDS, (1.0, 2.0, 5.0, 0.0, 0.0, 0.0, 0.0, 0.002), strict=True):
        getattr(config, kind).proportion = share
    library = build_library(config)
    many = library.assign_kinds(8001)
    counts = torch.bincount(many, minlength=4)
    assert (counts - torch.tensor([1000, 2000, 5000, 2])).abs().max() <= 2
    assert set(library.assign_kinds(4).tolist()) == {0, 1, 2, 3}
    assert library.assign_kinds(1).tolist() == [2]
    assert many.dtype == torch.long
    assert torch.equal(library.assign_kinds(100), many[:100])


def _set(config: TerrainConfig, key: str, value) -> None:
    *sections, name = key.split(".")
    for section in sections:
        config = getattr(config, section)
    setattr(config, name, value)


@pytest.mark.parametrize(("key", "value"), [("length", 2.0), ("gaps.width", [0.1, 11.0]), ("waypoints", 1000)])
def test_a_course_without_room_is_one_clear_line(key, value):
    config = TerrainConfig()
    _set(config, key, value)
    with pytest.raises(UserError) as caught:
        build_library(config)
    message = str(caught.value)
    assert "\n" not in message
    assert key.split(".")[0] in message


# ---- curriculum


def moved(level, progress, commanded, random=0.0, finished=True, **config) -> int:
    return int(
        next_level(
            torch.tensor([level]),
            torch.tensor([finished]),
            torch.tensor([progress]),
            torch.tensor([commanded]),
            torch.tensor([random]),
            LEVELS,
            LENGTH,
            CurriculumConfig(promote=0.8, demote=0.4, **config),
        )[0]
    )


def test_curriculum():
    assert moved(3, progress=0.81 * LENGTH, commanded=20.0) == 4
    assert moved(3, progress=0.79 * LENGTH, commanded=20.0) == 3
    assert moved(3, progress=0.39 * LENGTH, commanded=20.0) == 2
    assert moved(3, progress=0.81 * 10.0, commanded=10.0) == 4  # as far as it was told to go
    assert moved(3, progress=0.39 * 10.0, commanded=10.0) == 2
    assert moved(3, progress=0.41 * 10.0, commanded=10.0) == 3
    assert moved(0, progress=0.0, commanded=10.0) == 0
    assert moved(0, progress=-1.0, commanded=10.0) == 0
    assert moved(3, progress=0.9 * LENGTH, commanded=100.0) == 4  # nobody is asked for more than the course
    assert moved(3, progress=LENGTH, commanded=LENGTH, finished=False) == 3
    assert moved(3, progress=0.0, commanded=LENGTH, finished=False) == 3
    assert moved(3, progress=LENGTH, commanded=LENGTH, enabled=False) == 3
    assert moved(3, progress=0.05, commanded=0.0) == 3  # told to stand
    assert moved(3, progress=0.9, commanded=0.5) == 3
    assert moved(3, progress=1.1, commanded=0.5) == 4
    assert moved(3, progress=8.0, commanded=10.0) == 4  # the share itself is enough
    assert moved(3, progress=4.0, commanded=10.0) == 3
    assert moved(3, progress=1.0, commanded=0.5) == 4
    assert moved(LEVELS - 1, progress=0.5 * LENGTH, commanded=LENGTH) == LEVELS - 1


def test_the_top_level_is_followed_by_any_level():
    count = 10_000
    random = torch.rand(count, generator=torch.Generator().manual_seed(0))
    levels, mastered = next_level(
        torch.full((count,), LEVELS - 1),
        torch.ones(count, dtype=torch.bool),
        torch.full((count,), LENGTH),
        torch.full((count,), LENGTH),
        random,
        LEVELS,
        LENGTH,
        CurriculumConfig(review=0.2),
    )
    assert levels.dtype == torch.long and mastered.all()
    share = torch.bincount(levels) / count
    assert len(share) == LEVELS
    assert (share - 1 / LEVELS).abs().max() < 0.02


@pytest.mark.parametrize("review", [0.0, 0.1, 1.0])
@pytest.mark.parametrize("progress, reached", [(0.5 * LENGTH, 5), (LENGTH, 6), (0.0, 4)])
def test_a_share_of_the_robots_reviews_any_level_up_to_its_own(review, progress, reached):
    count = 50_000
    random = torch.rand(count, generator=torch.Generator().manual_seed(3))
    random[:3] = torch.tensor([0.0, 1 - 2**-24, np.nextafter(np.float32(review), np.float32(0))])
    levels, mastered = next_level(
        torch.full((count,), 5),
        torch.ones(count, dtype=torch.bool),
        torch.full((count,), progress),
        torch.full((count,), LENGTH),
        random,
        LEVELS,
        LENGTH,
        CurriculumConfig(promote=0.8, demote=0.4, review=review),
    )
    assert not mastered.any()
    expected = torch.full((reached + 1,), review / (reached + 1))
    expected[reached] += 1 - review
    share = torch.bincount(levels) / count
    assert len(share) == reached + 1
    torch.testing.assert_close(share, expected, rtol=0, atol=0.01)


@pytest.mark.parametrize("even_share", [0.0, 0.4, 1.0])
def test_who_has_mastered_a_kind_goes_where_there_is_most_to_climb(even_share):
    generator = torch.Generator().manual_seed(5)
    count, shares = 6000, torch.tensor([1.0, 2.0, 1.0, 1.0])
    mean_level = torch.tensor([7.5, 5.0, 0.5, 2.0])
    kind = torch.multinomial(shares, count, replacement=True, generator=generator)
    level = (mean_level[kind] + torch.rand(count, generator=generator) * 2 - 0.5).long().clamp(max=LEVELS - 1)
    counts, rounds = [], 60
    for _ in range(rounds):
        mastered = (torch.rand(count, generator=generator) < 0.05) & (kind < 2)
        before = kind, level
        means = torch.stack([level[kind == k].float().mean() for k in range(4)])
        random = torch.rand(count, generator=generator)
        kind, level = reassign(*before, mastered, random, LEVELS, shares, even_share)
        goes = kind != before[0]
        assert (goes <= mastered).all() and torch.equal(level[~goes], before[1][~goes])
        assert (level[goes] <= means[kind[goes]]).all() and (level >= 0).all()
        counts.append(torch.bincount(kind, minlength=4) / count)
    even = (shares / shares.sum()).tolist()
    means = [level[kind == k].float().mean().item() for k in range(4)]
    climb = [share * (LEVELS - mean) for share, mean in zip(shares.tolist(), means, strict=True)]
    wanted = [(1 - even_share) * c / sum(climb) + even_share * e for c, e in zip(climb, even, strict=True)]
    if even_share == 1:  # but for the chance that dealt them
        assert counts[-1].tolist() == pytest.approx(even, abs=0.02)
    else:
        assert counts[-1].tolist() == pytest.approx(wanted, abs=0.015)
        assert counts[-1][2] > counts[0][2] and counts[-1][0] < even[0]


def test_choices_are_in_range_for_the_largest_random_number():
    almost_one = torch.tensor([0.0, 1.0 - 2**-24])
    for count in (1, 3, 4, 10, 1000, 10_000_001):
        assert choose(almost_one, count).tolist() == [0, count - 1]


def test_first_levels():
    random = torch.linspace(0.0, 0.999, 100)
    assert first_level(random, CurriculumConfig(start_level=2)).unique().tolist() == [0, 1, 2]


def test_what_grows_with_the_level_is_complete_from_its_level_on():
    level = torch.arange(6)
    assert share_of(level, 4).tolist() == [0.0, 0.25, 0.5, 0.75, 1.0, 1.0]
    assert share_of(level, 0.5).tolist() == [0.0, 1.0, 1.0, 1.0, 1.0, 1.0]
    everywhere = share_of(level, 0)
    assert everywhere.tolist() == [1.0] * 6 and everywhere.dtype == torch.float32


# ---- picture


def test_command_draws_a_picture(tmp_path, capsys):
    output = tmp_path / "new" / "picture.png"
    main(["--output", str(output), "--kinds", "ramps", "terrain.seed=3", "terrain.levels=2"])
    assert output.read_bytes().startswith(b"\x89PNG")
    assert capsys.readouterr().out.strip() == str(output)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--kinds", "gap"], "did you mean 'gaps'"),
        (["terrain.seed=x"], "terrain.seed"),
        (["terrain.seed=-1"], "terrain.seed"),
        (["--colour=red"], "--colour"),
        (["--output", "/dev/null/terrain.png"], "/dev/null/terrain.png"),
    ],
)
def test_command_refuses_bad_arguments_in_one_line(arguments, named):
    with pytest.raises(UserError) as error:
        main(arguments)
    assert named in str(error.value)
    assert len(str(error.value).splitlines()) == 1

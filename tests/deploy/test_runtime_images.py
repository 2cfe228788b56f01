"""The runtime's camera: resampling against a loop over pixels, views, holes, and the rate of frames."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import small_folder
from small_folder import FAR, NEAR

from legged_gym_ext.deploy.runtime import DepthSource, InputError, Policy

ROWS, COLUMNS = 9, 16
PERIOD = 0.1


class Clock:
    def __init__(self) -> None:
        self.now = 50.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("deploy") / "folder"
    small_folder.write_small_folder(path, rows=ROWS, columns=COLUMNS)
    return path


def focal(policy: Policy) -> float:
    return policy.specification["camera"]["focal"]


def camera(
    policy: Policy, width: int, height: int, zoom: float = 1.0, shift: tuple[float, ...] = (0, 0)
) -> DepthSource:
    """A camera whose view is as wide and high as the policy's at zoom 1, and less with more zoom."""
    fx, fy = zoom * focal(policy) * width / COLUMNS, zoom * focal(policy) * height / ROWS
    return DepthSource(width, height, fx, fy, (width - 1) / 2 + shift[0], (height - 1) / 2 + shift[1])


def seen(folder: Path, source: DepthSource | None, image: np.ndarray) -> np.ndarray:
    """What a policy sees of an image, (ROWS, COLUMNS), m."""
    policy = Policy(folder, depth_source=source)
    assert policy.set_depth(image)
    return policy._depth[0].copy()


def axis_by_loop(k: int, count: int, trained_focal: float, size: int, source_focal: float, center: float) -> list[int]:
    """Which of a camera's columns, or rows, the policy's k-th reads."""

    def pixel(j: float) -> float:
        return center + source_focal * (j - (count - 1) / 2) / trained_focal

    inside = [u for u in range(size) if pixel(k - 0.5) <= u < pixel(k + 0.5)]
    if not inside:
        return [min(range(size), key=lambda u: abs(u - pixel(k)))]
    if len(inside) <= 5:
        return inside
    return [inside[int((s + 0.5) * len(inside) / 5)] for s in range(5)]


def by_loop(policy: Policy, source: DepthSource, metres: np.ndarray) -> np.ndarray:
    """What the policy is to see, pixel by pixel: NaN = no measurement."""
    out = np.full((ROWS, COLUMNS), FAR)
    for i in range(ROWS):
        for j in range(COLUMNS):
            us = axis_by_loop(j, COLUMNS, focal(policy), source.width, source.fx, source.cx)
            vs = axis_by_loop(i, ROWS, focal(policy), source.height, source.fy, source.cy)
            depths = sorted(metres[v, u] for v in vs for u in us if not math.isnan(metres[v, u]))
            if depths:
                out[i, j] = min(depths[(len(depths) - 1) // 2], FAR)
    return out


@pytest.mark.parametrize("seed", range(12))
def test_resampling_is_a_median_over_footprints(folder: Path, seed: int):
    """Finer, coarser and unequal cameras, off their middle, with holes; floats and uint16."""
    rng = np.random.default_rng(seed)
    policy = Policy(folder)
    width, height = (int(size * rng.choice([0.4, 0.7, 1.3, 2.2, 7.4])) + 1 for size in (COLUMNS, ROWS))
    zoom = rng.uniform(0.6, 0.95)
    shift = [rng.uniform(-0.45, 0.45) * (1 - zoom) * size for size in (width, height)]
    source = camera(policy, width, height, zoom, tuple(shift))
    source = replace(source, fx=source.fx * rng.uniform(0.97, 1.0))
    units = rng.integers(60, 3600, (height, width)).astype(np.uint16)
    units[rng.random(units.shape) < rng.choice([0.0, 0.2, 0.8])] = 0
    metres = np.where(units > 0, units * 0.001, np.nan)
    expected = by_loop(policy, source, metres)
    assert (expected < FAR).any()
    np.testing.assert_allclose(seen(folder, source, units), expected, rtol=1e-6)
    np.testing.assert_allclose(seen(folder, source, metres.astype(np.float32)), expected, rtol=1e-6)
    tenth = replace(source, scale=0.0001)
    np.testing.assert_allclose(seen(folder, tenth, units), by_loop(policy, source, metres / 10), rtol=1e-6)


def test_what_a_pixel_may_hold(folder: Path):
    """Every kind of number alone in a footprint, and with others."""
    policy = Policy(folder)
    source = camera(policy, 3 * COLUMNS, 3 * ROWS)
    image = np.full((3 * ROWS, 3 * COLUMNS), 1.0)
    footprints = image.reshape(ROWS, 3, COLUMNS, 3).transpose(0, 2, 1, 3)  # a view: [i, j] is what the pixel sees
    cases = [
        ([0.0] * 9, FAR),
        ([math.nan] * 9, FAR),
        ([-1.0] * 9, FAR),  # no depth
        ([math.inf] * 9, FAR),
        ([-math.inf] * 9, NEAR),
        ([7.0] * 9, FAR),
        ([0.02] * 9, 0.02),  # the graphs clamp
        ([2.0] + [math.nan] * 8, 2.0),
        ([0.0] * 4 + [2.0] + [-1.0] * 4, 2.0),
        ([2.0] * 4 + [math.inf] * 5, FAR),  # most of it is too far
        ([2.0] * 5 + [math.inf] * 4, 2.0),
        ([2.0] * 4 + [5.0] * 4 + [0.0], 2.0),
        ([1.5] * 4 + [2.5] * 5, 2.5),  # an edge: no depth in between
        ([1.5] * 4 + [2.5] * 4 + [math.nan], 1.5),  # the nearer where there is none in the middle
    ]
    for k, (values, _) in enumerate(cases):
        footprints[1 + k // COLUMNS, k % COLUMNS] = np.random.default_rng(k).permutation(values).reshape(3, 3)
    result = seen(folder, source, image)
    expected = np.full((ROWS, COLUMNS), 1.0)
    for k, (_, value) in enumerate(cases):
        expected[1 + k // COLUMNS, k % COLUMNS] = value
    np.testing.assert_allclose(result, expected, rtol=1e-6)


def test_a_camera_sees_planes_where_they_are(folder: Path):
    """A tilted plane, seen by both cameras along their own rays: directions, centres and focal lengths agree."""
    policy = Policy(folder)

    def plane(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return 1.0 / (0.9 + 0.5 * x[None, :] - 0.7 * y[:, None])

    source = replace(camera(policy, 320, 200, 0.7), cx=170.3, cy=92.1)
    u = (np.arange(source.width) - source.cx) / source.fx
    v = (np.arange(source.height) - source.cy) / source.fy
    x = (np.arange(COLUMNS) - (COLUMNS - 1) / 2) / focal(policy)
    y = (np.arange(ROWS) - (ROWS - 1) / 2) / focal(policy)
    result = seen(folder, source, plane(u, v))
    pixel = np.abs(np.diff(plane(x, y), axis=1)).max()
    assert np.abs(result - plane(x, y)).max() < 0.15 * pixel


def test_without_a_source_images_are_the_policys(folder: Path):
    image = np.random.default_rng(0).uniform(0.05, 3.5, (ROWS, COLUMNS)).astype(np.float32)
    image[2, 3], image[4, 5] = np.nan, 0.0
    expected = image.clip(max=FAR)
    expected[2, 3] = expected[4, 5] = FAR
    np.testing.assert_array_equal(seen(folder, None, image), expected)
    np.testing.assert_array_equal(seen(folder, None, image.astype(np.float64)), expected)


def test_images_of_any_layout(folder: Path):
    policy = Policy(folder)
    source = camera(policy, 40, 30, 0.9)
    image = np.random.default_rng(0).integers(0, 3500, (30, 40)).astype(np.uint16)
    expected = seen(folder, source, image)
    for same in (image.astype(">u2"), np.asfortranarray(image), np.stack([image, image], 2)[..., 1], image[::-1][::-1]):
        np.testing.assert_array_equal(seen(folder, source, same), expected)
    read_only = image.copy()
    read_only.flags.writeable = False
    np.testing.assert_array_equal(seen(folder, source, read_only), expected)
    np.testing.assert_allclose(seen(folder, source, (image * 0.001).astype(np.float16)), expected, atol=2e-3)


def test_a_view_that_is_too_small_is_refused(folder: Path):
    policy = Policy(folder)
    trained = math.degrees(small_folder.FOV)
    down = 2 * math.degrees(math.atan(ROWS / 2 / focal(policy)))
    # 40 degrees to the left and 15.03 to the right, and high enough.
    left, right = (math.tan(math.radians(angle)) for angle in (40, 15.03))
    fx = 64 / (left + right)
    source = DepthSource(64, 64, fx, fx, fx * left - 0.5, 31.5)
    with pytest.raises(InputError) as caught:
        Policy(folder, depth_source=source)
    height = 2 * math.degrees(math.atan(32 / fx))
    assert str(caught.value) == (
        f"depth_source: the camera's view of 55.0 x {height:.1f} degrees (across x down) does not cover the policy's "
        f"of {trained:.1f} x {down:.1f}: missing are {trained / 2 - 15.03:.1f} at the right"
    )
    small = camera(policy, 64, 64, 1.5)
    with pytest.raises(InputError, match="at the left, .* at the right, .* at the top, .* at the bottom"):
        Policy(folder, depth_source=small)


def test_a_pixel_may_be_missing_at_an_edge(folder: Path):
    """It is read from the camera's last column; one more is refused."""
    policy = Policy(folder)
    whole = camera(policy, 4 * COLUMNS, 4 * ROWS)
    image = np.random.default_rng(0).uniform(1, 2, (4 * ROWS, 4 * COLUMNS))
    expected = seen(folder, whole, image)
    cut = replace(whole, width=whole.width - 3)
    result = seen(folder, cut, image[:, :-3])
    np.testing.assert_array_equal(result[:, :-1], expected[:, :-1])
    last = np.sort(image[:, -4].reshape(ROWS, 4), axis=1)
    np.testing.assert_allclose(result[:, -1], last[:, 1], rtol=1e-6)
    with pytest.raises(InputError, match="missing are .* at the right$"):
        Policy(folder, depth_source=replace(whole, width=whole.width - 5))


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"width": 0}, "width"),
        ({"height": 3.5}, "height"),
        ({"fx": -400.0}, "fx"),
        ({"fy": math.nan}, "fy"),
        ({"cx": "left"}, "cx"),
        ({"scale": 0.0}, "scale"),
    ],
)
def test_a_source_is_made_of_numbers(folder: Path, changes: dict[str, Any], name: str):
    with pytest.raises(InputError, match=rf"^depth_source\.{name}: expected"):
        Policy(folder, depth_source=replace(camera(Policy(folder), 64, 48), **changes))


@pytest.mark.parametrize(
    ("image", "message"),
    [
        ([[1.0]], "image: expected a numpy array, got list"),
        (np.ones((16, 9)), "image: expected (9, 16) (rows, columns), got (16, 9)"),
        (np.ones((1, 9, 16)), "image: expected (9, 16) (rows, columns), got (1, 9, 16)"),
        (np.ones((9, 16), np.uint8), "image: expected uint16 or floats, got uint8"),
        (np.ones((9, 16), np.int16), "image: expected uint16 or floats, got int16"),
        (
            np.ones((9, 16), np.uint16),
            "image: uint16 needs a depth_source with a scale; without one, images are floats in metres",
        ),
        (np.full((9, 16), np.nan), "image: no pixel has a depth (all are 0 or NaN)"),
        (np.zeros((9, 16)), "image: no pixel has a depth (all are 0 or NaN)"),
        (np.full((9, 16), 900.0), "image: the nearest depth is 900; floats are metres: are these millimetres?"),
    ],
)
def test_wrong_images_are_refused_and_change_nothing(folder: Path, image: Any, message: str):
    clock = Clock()
    policy = Policy(folder, clock=clock)
    policy.set_depth(np.ones((ROWS, COLUMNS)), clock.now - PERIOD)
    features = policy._features.copy()
    with pytest.raises(InputError) as caught:
        policy.set_depth(image)
    assert str(caught.value) == message
    assert policy.frame_age == pytest.approx(PERIOD)
    np.testing.assert_array_equal(policy._features, features)
    assert policy.set_depth(np.full((ROWS, COLUMNS), 2.0))  # the next good one is used, and needs not wait
    assert (policy._features != features).any()


def test_wrong_images_are_refused_also_when_none_is_due(folder: Path):
    policy = Policy(folder, clock=Clock())
    assert policy.set_depth(np.ones((ROWS, COLUMNS)))
    assert not policy.set_depth(np.ones((ROWS, COLUMNS)))
    with pytest.raises(InputError):
        policy.set_depth(np.ones((ROWS, COLUMNS + 1)))


def test_an_image_of_nothing_but_far_is_an_image(folder: Path):
    np.testing.assert_array_equal(seen(folder, None, np.full((ROWS, COLUMNS), np.inf)), np.float32(FAR))
    np.testing.assert_array_equal(seen(folder, None, np.full((ROWS, COLUMNS), 25.0)), np.float32(FAR))


@pytest.mark.parametrize(
    ("ahead", "message"),
    [
        (0.2, "stamp: 0.2 s ahead of the policy's clock: is it of another clock?"),
        (1.7e9, "stamp: 1.7e+09 s ahead of the policy's clock: is it of another clock?"),
        (-61.0, "stamp: 61 s behind the policy's clock: is it of another clock?"),
    ],
)
def test_stamps_of_another_clock_are_refused(folder: Path, ahead: float, message: str):
    clock = Clock()
    policy = Policy(folder, clock=clock)
    for ask in (policy.frame_due, lambda stamp: policy.set_depth(np.ones((ROWS, COLUMNS)), stamp)):
        with pytest.raises(InputError) as caught:
            ask(clock.now + ahead)
        assert str(caught.value) == message
    for stamp in ("now", math.nan):
        with pytest.raises(InputError, match="stamp: expected seconds"):
            policy.frame_due(stamp)  # pyright: ignore[reportArgumentType]
    assert policy.frame_due(clock.now + 0.05)


# -------------------------------------------------------------------------------------------------- the rate of frames


def used_frames(folder: Path, stamps: np.ndarray) -> np.ndarray:
    """Which of a camera's frames are used, (frames,) bool."""
    clock = Clock()
    policy = Policy(folder, clock=clock)
    image = np.ones((ROWS, COLUMNS), np.float32)
    used = []
    for stamp in stamps:
        clock.now = stamp + 0.01
        due = policy.frame_due(stamp)
        assert policy.set_depth(image, stamp) == due
        used.append(due)
    return np.array(used)


def camera_stamps(rate: float, jitter: float, seed: int, seconds: float = 30.0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    stamps = 50.0 + np.arange(round(rate * seconds)) / rate
    return stamps + rng.uniform(-jitter, jitter, len(stamps))


@pytest.mark.parametrize("rate", [29.97, 30.0, 30.03])
@pytest.mark.parametrize("jitter", [0.0, 0.005])
@pytest.mark.parametrize("seed", range(3))
def test_every_third_frame_at_30_hz(folder: Path, rate: float, jitter: float, seed: int):
    used = used_frames(folder, camera_stamps(rate, jitter, seed))
    assert used[::3].all()
    assert used.sum() == -(-len(used) // 3)


@pytest.mark.parametrize(
    ("rate", "jitter"), [(25.0, 0.004), (15.0, 0.004), (50.0, 0.002), (60.0, 0.003), (90.0, 0.002)]
)
def test_other_cameras_give_ten_frames_a_second_on_average(folder: Path, rate: float, jitter: float):
    stamps = camera_stamps(rate, jitter, seed=0)
    intervals = np.diff(stamps[used_frames(folder, stamps)])
    assert intervals.mean() == pytest.approx(PERIOD, rel=0.03)
    assert np.abs(intervals - PERIOD).max() < 1 / rate + 2 * jitter


@pytest.mark.parametrize(("rate", "jitter"), [(10.0, 0.006), (6.0, 0.01), (2.0, 0.1)])
def test_all_frames_of_a_camera_that_is_no_faster(folder: Path, rate: float, jitter: float):
    assert used_frames(folder, camera_stamps(rate, jitter, seed=1)).all()


def test_after_a_gap_the_rate_is_as_before(folder: Path):
    stamps = np.concatenate([50 + np.arange(10) / 30, 51.013 + np.arange(30) / 30])
    used = used_frames(folder, stamps)
    assert used[10:].nonzero()[0].tolist() == list(range(0, 30, 3))


def test_frames_out_of_order_are_not_used(folder: Path):
    assert used_frames(folder, np.array([50.0, 49.8, 50.0, 50.1, 50.05])).tolist() == [True, False, False, True, False]


def test_without_stamps_the_clock_counts(folder: Path):
    clock = Clock()
    policy = Policy(folder, clock=clock)
    image = np.ones((ROWS, COLUMNS))
    used = []
    for _ in range(12):
        used.append(policy.frame_due())
        assert policy.set_depth(image) == used[-1]
        clock.now += PERIOD / 3
    assert used == [True, False, False] * 4

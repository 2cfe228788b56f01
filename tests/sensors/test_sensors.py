"""Depth camera, height scan and ray casting against MuJoCo's own rays and float64 loops."""

from __future__ import annotations

import importlib
import math
from collections.abc import Sequence
from dataclasses import replace
from types import ModuleType

import mujoco
import numpy as np
import pytest
import torch
from no_sync import NoSync

from legged_gym_ext.config.schema import CameraConfig, HeightScanConfig, RobotConfig
from legged_gym_ext.errors import UserError
from legged_gym_ext.robot import load_robot
from legged_gym_ext.rotations import matrix_from_quat, quat_from_euler, quat_multiply
from legged_gym_ext.sensors import raster
from legged_gym_ext.sensors.depth_camera import CameraState, DepthCamera
from legged_gym_ext.sensors.height_scan import HeightScan, ground_height
from legged_gym_ext.sensors.legs import Legs
from legged_gym_ext.sensors.raster import CAPSULE_DIM
from legged_gym_ext.terrain.boxes import ABSENT, BOX_DIM, CENTER, HALF, MAX_BOXES, QUAT
from legged_gym_ext.urdf import parse_urdf

ROWS, COLUMNS, FOCAL, NEAR, FAR = 48, 64, 50.0, 0.1, 3.0
CLEAN = CameraConfig(position_noise=0.0, rotation_noise_degrees=0.0, depth_noise=0.0, dropout=0.0)
FORWARD = replace(CLEAN, position=[0.0, 0.0, 0.0], pitch_degrees=0.0)


@pytest.fixture(params=["cpu_numba", "gpu_warp"], autouse=True)
def kernels(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Both kinds of kernels, the GPU's run by Warp on the CPU."""
    module = importlib.import_module(f"legged_gym_ext.sensors.kernels.{request.param}")
    if request.param == "gpu_warp":
        monkeypatch.setattr(raster, "_kernels", lambda device: module)
    return module


def random_unit(rng: np.random.Generator, *shape: int) -> np.ndarray:
    q = rng.normal(size=(*shape, 4))
    return q / np.linalg.norm(q, axis=-1, keepdims=True)


def random_tiles(rng: np.random.Generator, num: int) -> torch.Tensor:
    """Ground with a hole in it, and boxes above it: half of them upright, a quarter tilted, a quarter absent."""
    boxes = np.zeros((num, MAX_BOXES, BOX_DIM))
    boxes[..., CENTER] = rng.uniform([-1.0, -1.5, -0.3], [3.0, 1.5, 0.8], (num, MAX_BOXES, 3))
    boxes[..., QUAT] = [1.0, 0.0, 0.0, 0.0]
    boxes[..., HALF] = rng.uniform(0.03, 0.4, (num, MAX_BOXES, 3))
    boxes[:, ::4, QUAT] = random_unit(rng, num, MAX_BOXES // 4)
    boxes[:, 1::4] = ABSENT
    boxes[:, 2] = [-1.0, 0.0, -0.5, 1.0, 0.0, 0.0, 0.0, 2.0, 2.0, 0.5]
    boxes[:, 3] = [3.6, 0.0, -0.5, 1.0, 0.0, 0.0, 0.0, 2.0, 2.0, 0.5]
    return torch.tensor(boxes, dtype=torch.float32)


def box(center: Sequence[float], half: Sequence[float]) -> list[float]:
    return [*center, 1.0, 0.0, 0.0, 0.0, *half]


def tile(*rows: list[float], num: int = 1) -> torch.Tensor:
    padded = [*rows, *[list(ABSENT)] * (MAX_BOXES - len(rows))]
    return torch.tensor(padded, dtype=torch.float32).expand(num, -1, -1).contiguous()


def mujoco_model(boxes: torch.Tensor) -> tuple[mujoco.MjModel, mujoco.MjData]:
    spec = mujoco.MjSpec()
    for row in boxes.double().numpy():
        if row[HALF][0] > 0:
            spec.worldbody.add_geom(type=mujoco.mjtGeom.mjGEOM_BOX, pos=row[CENTER], quat=row[QUAT], size=row[HALF])
    model = spec.compile()
    data = mujoco.MjData(model)
    mujoco.mj_kinematics(model, data)
    return model, data


def mujoco_rays(boxes: torch.Tensor, origin: np.ndarray, rays: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Distance in lengths of each ray (infinite without a hit), and which box it hit (-1: none)."""
    model, data = mujoco_model(boxes)
    geom, distance = np.zeros(len(rays), np.int32), np.zeros(len(rays))
    arguments = (origin.astype(float), rays.astype(float).ravel(), None, True, -1)
    mujoco.mj_multiRay(model, data, *arguments, geom, distance, None, len(rays), 1e6)
    return np.where(geom < 0, np.inf, distance), geom


def contains(boxes: torch.Tensor, point: torch.Tensor) -> bool:
    axes = matrix_from_quat(boxes[:, QUAT].double())
    local = torch.einsum("kij,ki->kj", axes, point.double() - boxes[:, CENTER].double())
    return bool(((local.abs() < boxes[:, HALF]).all(dim=-1) & (boxes[:, 7] > 0)).any())


def pixel_rays() -> np.ndarray:
    x, y = np.meshgrid(np.arange(COLUMNS) - (COLUMNS - 1) / 2, np.arange(ROWS) - (ROWS - 1) / 2)
    return np.stack([x / FOCAL, y / FOCAL, np.ones_like(x)], axis=-1).reshape(-1, 3)


def differs_from_a_neighbour(geom: np.ndarray) -> np.ndarray:
    """Pixels next to one that sees another box."""
    image = np.pad(geom.reshape(ROWS, COLUMNS), 1, mode="edge")
    middle = image[1:-1, 1:-1]
    others = (image[:-2, 1:-1], image[2:, 1:-1], image[1:-1, :-2], image[1:-1, 2:])
    return np.any([middle != other for other in others], axis=0).ravel()


def render(boxes: torch.Tensor, position: torch.Tensor, rotation: torch.Tensor, **options) -> torch.Tensor:
    mask = options.pop("mask", torch.ones(len(boxes), dtype=torch.bool))
    out = options.pop("out", torch.full((len(boxes), ROWS * COLUMNS), -1.0))
    raster.render_depth(boxes, position, rotation, (ROWS, COLUMNS), FOCAL, NEAR, FAR, mask, out, **options)
    return out


def check_depth_against_mujoco(boxes: torch.Tensor, position: torch.Tensor, rotation: torch.Tensor) -> None:
    images = render(boxes, position, rotation).numpy()
    edges, wrong, cameras_inside = 0, 0, 0
    for n in range(len(boxes)):
        if contains(boxes[n], position[n]):
            cameras_inside += 1
            np.testing.assert_allclose(images[n], NEAR, rtol=1e-6)
            continue
        rays = pixel_rays() @ rotation[n].double().numpy().T
        distance, geom = mujoco_rays(boxes[n], position[n].numpy(), rays)
        error = np.abs(images[n] - np.clip(distance, NEAR, FAR))
        edge = differs_from_a_neighbour(geom)
        assert error[~edge].max() <= 1e-4
        edges += edge.sum()
        wrong += (error > 1e-4).sum()
    pixels = (len(boxes) - cameras_inside) * ROWS * COLUMNS
    assert pixels > 0
    assert edges < 0.3 * pixels
    assert wrong < 1e-4 * pixels  # even at edges a pixel hardly ever sees another box than MuJoCo does


def test_depth_is_mujocos_on_random_tiles_and_poses():
    rng = np.random.default_rng(0)
    num = 60
    position = torch.tensor(rng.uniform([-1.0, -1.0, 0.1], [3.0, 1.0, 1.5], (num, 3)), dtype=torch.float32)
    rotation = matrix_from_quat(torch.tensor(random_unit(rng, num), dtype=torch.float32))
    check_depth_against_mujoco(random_tiles(rng, num), position, rotation)


def test_depth_is_mujocos_on_library_tiles():
    library = pytest.importorskip("legged_gym_ext.terrain.library")
    from legged_gym_ext.config.schema import TerrainConfig

    boxes = library.build_library(TerrainConfig(), torch.device("cpu")).boxes
    rng = np.random.default_rng(1)
    num = 60
    chosen = boxes[torch.as_tensor(rng.permutation(len(boxes))[:num])].contiguous()
    position = torch.tensor(rng.uniform([0.0, -0.5, 1.2], [11.0, 0.5, 1.8], (num, 3)), dtype=torch.float32)
    angles = torch.tensor(rng.uniform([-0.3, 0.4, -1.0], [0.3, 1.4, 1.0], (num, 3)), dtype=torch.float32)
    forward, left, up = matrix_from_quat(quat_from_euler(*angles.unbind(-1))).unbind(-1)
    check_depth_against_mujoco(chosen, position, torch.stack([-left, -up, forward], dim=-1))


def test_only_masked_environments_are_drawn():
    rng = np.random.default_rng(2)
    boxes = random_tiles(rng, 6)
    pose = torch.full((6, 3), 1.2), torch.eye(3).expand(6, 3, 3)
    mask = torch.tensor([True, False, False, True, True, False])
    before = torch.tensor(rng.uniform(size=(6, ROWS * COLUMNS)), dtype=torch.float32)
    after = render(boxes, *pose, mask=mask, out=before.clone())
    assert torch.equal(after[~mask], before[~mask])
    assert torch.equal(after[mask], render(boxes, *pose)[mask])


def test_every_device_draws_and_delivers_the_same():
    folder = "legged_gym_ext.sensors.kernels"
    numba, warp = (importlib.import_module(f"{folder}.{name}") for name in ("cpu_numba", "gpu_warp"))
    rng = np.random.default_rng(4)
    num, pixels = 40, ROWS * COLUMNS
    boxes = random_tiles(rng, num)
    position = torch.tensor(rng.uniform([-1.0, -1.0, 0.1], [3.0, 1.0, 1.5], (num, 3)), dtype=torch.float32)
    rotation = matrix_from_quat(torch.tensor(random_unit(rng, num), dtype=torch.float32))
    mask = torch.tensor(rng.uniform(size=num) < 0.8)
    depths = [torch.full((num, pixels), 0.7) for _ in range(2)]
    for kernels, out in zip((numba, warp), depths, strict=True):
        kernels.render_depth(boxes, position, rotation, (ROWS, COLUMNS), FOCAL, NEAR, FAR, mask, out)
    different = (depths[0] - depths[1]).abs() > 1e-4
    assert different.sum() < 1e-4 * num * pixels  # edges
    assert (depths[0][mask] < FAR).float().mean() > 0.3

    seeds = torch.tensor(rng.integers(2**31 - 1, size=num), dtype=torch.int32)
    for dtype, tolerance in ((torch.float32, 2e-7), (torch.float16, 2.5e-4)):  # the last bit
        delivered = [torch.full((num, pixels), 0.25, dtype=dtype) for _ in range(2)]
        for kernels, out in zip((numba, warp), delivered, strict=True):
            kernels.deliver_depth(seeds, 0.02, 0.1, NEAR, FAR, mask, depths[0].clone(), out)
        torch.testing.assert_close(*delivered, atol=tolerance, rtol=0.0)
        assert (delivered[1][~mask] == 0.25).all()
        assert delivered[1][mask].float().std() > 0.1

    points = torch.tensor(rng.uniform([-3.5, -2.5], [6.0, 2.5], (num, 50, 2)), dtype=torch.float32)
    ground = [torch.zeros(num, 50) for _ in range(2)]
    for kernels, out in zip((numba, warp), ground, strict=True):
        kernels.heights(boxes, points, -7.0, out)
    torch.testing.assert_close(*ground, atol=1e-5, rtol=0.0)


def test_any_number_of_rows_and_columns_is_drawn(kernels):
    boxes = wall(2.0)
    pose = torch.zeros(1, 3), torch.tensor([[[0.0, 0.0, 1.0], [-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]]])
    for rows, columns in ((1, 1), (2, 3), (7, 5), (33, 18)):
        out = torch.full((1, rows * columns + 9), -1.0)
        image = out[:, : rows * columns]
        kernels.render_depth(boxes, *pose, (rows, columns), 20.0, NEAR, FAR, torch.ones(1, dtype=torch.bool), image)
        torch.testing.assert_close(image, torch.full_like(image, 2.0), atol=1e-5, rtol=0.0)
        assert (out[:, rows * columns :] == -1.0).all()


@pytest.mark.parametrize("far", [0.85, 1.7, 3.0])  # of the first two the reciprocal of the reciprocal is less
def test_no_return_is_exactly_far_whatever_the_noise(kernels, far):
    nothing, pose = tile(num=2), (torch.zeros(2, 3), torch.eye(3).expand(2, 3, 3))
    mask, depths = torch.ones(2, dtype=torch.bool), torch.zeros(2, 12)
    kernels.render_depth(nothing, *pose, (3, 4), FOCAL, NEAR, far, mask, depths)
    assert (depths == torch.tensor(far)).all()
    kernels.deliver_depth(torch.tensor([1, 2], dtype=torch.int32), 0.5, 0.0, NEAR, far, mask, depths, depths)
    assert (depths == 0.5).all()


def test_a_pose_that_is_not_a_number_draws_nothing():
    boxes = random_tiles(np.random.default_rng(3), 1)
    nan = torch.full((1, 4, 9), math.nan)
    image = render(boxes, nan[:, 0, :3], nan.view(1, 6, 6)[:, :3, :3], capsules=nan[..., :CAPSULE_DIM])
    torch.testing.assert_close(image, torch.full_like(image, FAR))


def test_the_device_decides_which_kernels_draw(monkeypatch):
    monkeypatch.undo()
    for device, name in (("cpu", "cpu_numba"), ("cuda:0", "gpu_warp")):
        assert raster._kernels(torch.device(device)).__name__.endswith(f".{name}")


def test_a_device_without_kernels_is_refused_in_one_line(monkeypatch):
    monkeypatch.undo()
    boxes = torch.zeros(1, MAX_BOXES, BOX_DIM, device="meta")
    with pytest.raises(UserError, match=r"meta.*allowed: cpu, cuda"):
        raster.heights(boxes, boxes[..., :2], 0.0, boxes[..., 0])


def test_ground_height_is_mujocos_vertical_ray():
    rng = np.random.default_rng(5)
    boxes = random_tiles(rng, 10)
    points = torch.tensor(rng.uniform([-3.5, -2.5], [6.0, 2.5], (10, 200, 2)), dtype=torch.float32)
    found = ground_height(boxes, points, missing=-7.0).numpy()
    holes = 0
    for n in range(10):
        model, data = mujoco_model(boxes[n])
        geom = np.zeros(1, np.int32)
        for p in range(200):
            start = np.array([*points[n, p].double().numpy(), 20.0])
            distance = mujoco.mj_ray(model, data, start, np.array([0.0, 0.0, -1.0]), None, True, -1, geom)
            expected = 20.0 - distance if distance >= 0 else -7.0
            holes += distance < 0
            assert found[n, p] == pytest.approx(expected, abs=1e-5)
    assert 100 < holes < 1000


def test_ground_has_no_seam_between_boxes_that_touch():
    boxes = tile(box((-1.0, 0.0, -0.5), (1.0, 2.0, 0.5)), box((1.0, 0.0, -0.5), (1.0, 2.0, 0.5)))
    points = torch.tensor([[[0.0, 0.0], [0.0, 2.0], [2.0, -2.0]]])
    assert ground_height(boxes, points).tolist() == [[0.0, 0.0, 0.0]]


# ---- Depth camera


def camera_images(config: CameraConfig, boxes: torch.Tensor, root_pos: torch.Tensor, seed: int = 0) -> torch.Tensor:
    """Depths (m) right after a reset of upright robots at ``root_pos``, (num_envs, rows, columns)."""
    num = len(boxes)
    camera = DepthCamera(config, num, "cpu")
    state = camera.initial_state()
    generator = torch.Generator().manual_seed(seed)
    everyone = torch.ones(num, dtype=torch.bool)
    camera.reset(state, everyone, generator)
    upright = torch.tensor([1.0, 0.0, 0.0, 0.0]).expand(num, 4)
    camera.update(state, everyone, everyone, root_pos, upright, boxes, generator)
    return metres(config, first_image(camera, state)).view(num, *config.resolution)


def first_image(camera: DepthCamera, state: CameraState) -> torch.Tensor:
    """What is seen right after a reset."""
    return camera.image(state, torch.zeros(camera.num_envs, dtype=torch.int64, device=camera.device))


def metres(config: CameraConfig, image: torch.Tensor) -> torch.Tensor:
    return (image + 0.5) * (config.far - config.near) + config.near


def wall(distance: float, num: int = 1) -> torch.Tensor:
    return tile(box((distance + 1.0, 0.0, 0.0), (1.0, 20.0, 20.0)), num=num)


def test_depth_is_along_the_optical_axis():
    image = camera_images(FORWARD, wall(2.0), torch.zeros(1, 3))
    torch.testing.assert_close(image, torch.full_like(image, 2.0), atol=1e-5, rtol=0.0)


@pytest.mark.parametrize(
    ("center", "rows", "columns"),
    [
        ((1.0, 0.3, 0.0), "middle", "low"),
        ((1.0, -0.3, 0.0), "middle", "high"),
        ((1.0, 0.0, 0.3), "low", "middle"),
        ((1.0, 0.0, -0.3), "high", "middle"),
    ],
)
def test_left_is_a_low_column_and_up_a_low_row(center, rows, columns):
    image = camera_images(FORWARD, tile(box(center, (0.05, 0.05, 0.05))), torch.zeros(1, 3))[0]
    seen = (image < FORWARD.far).nonzero()
    assert len(seen) > 4
    for index, where in zip(seen.T, (rows, columns), strict=True):
        low, high = {"low": (0, 31), "middle": (24, 39), "high": (32, 63)}[where]
        assert low <= index.min()
        assert index.max() <= high


def test_a_row_and_a_column_of_pixels_span_the_configured_field_of_view():
    config = replace(FORWARD, resolution=[20, 40], horizontal_fov_degrees=90.0)
    # From 1 m, 90 degrees see 2 m of a wall's width in 40 pixels, so half of it in height in 20 square pixels.
    for half, axis in ((1.0, 1), (0.5, 2)):
        for scale, seen in ((0.98, 1), (0.92, 0)):
            sides = [0.1, 9.0, 9.0]
            sides[axis] = half * scale
            image = camera_images(config, tile(box((1.1, 0.0, 0.0), sides)), torch.zeros(1, 3))[0]
            outermost = image[[0, -1]] if axis == 2 else image[:, [0, -1]]
            assert bool((outermost < config.far).all()) == bool(seen)
            assert bool((outermost < config.far).any()) == bool(seen)


def test_the_default_camera_looks_at_the_ground_from_0_3_to_2_5_m_ahead():
    config = replace(CLEAN)
    ground = box((0.0, 0.0, -0.5), (9.0, 9.0, 0.5))
    bars = [box((x, 0.0, 0.0), (0.02, 9.0, 0.002)) for x in (0.30, 2.50, 0.20, 2.70)]
    boxes = torch.cat([tile(ground), *[tile(ground, bar) for bar in bars]])
    flat, *barred = camera_images(config, boxes, torch.tensor([[0.0, 0.0, 1.0]]).expand(5, 3))
    assert flat.max() < config.far
    assert flat.min() > config.near
    rows = [(image != flat).any(dim=1).nonzero().flatten().tolist() for image in barred]
    assert rows[0]
    assert set(rows[0]) <= {60, 61, 62, 63}
    assert 63 in rows[0]
    assert rows[1]
    assert set(rows[1]) <= {0, 1, 2}
    assert not rows[2]
    assert not rows[3]


def test_the_camera_is_carried_by_the_base_as_mujoco_carries_a_site():
    rng = np.random.default_rng(6)
    num = 10
    config = replace(CLEAN, resolution=[ROWS, COLUMNS], position=[0.2, -0.1, 0.3], pitch_degrees=35.0)
    boxes = random_tiles(rng, num)
    root_pos = torch.tensor(rng.uniform([-1.0, -1.0, 1.3], [3.0, 1.0, 1.6], (num, 3)), dtype=torch.float32)
    root_quat = torch.tensor(random_unit(rng, num), dtype=torch.float32)
    camera = DepthCamera(config, num, "cpu")
    state, everyone = camera.initial_state(), torch.ones(num, dtype=torch.bool)
    camera.update(state, everyone, everyone, root_pos, root_quat, boxes, torch.Generator())
    images = metres(config, first_image(camera, state)).numpy()

    pitch = math.radians(config.pitch_degrees)
    spec = mujoco.MjSpec()
    for n in range(num):
        body = spec.worldbody.add_body(pos=root_pos[n].double().numpy(), quat=root_quat[n].double().numpy())
        body.add_site(pos=config.position, quat=[math.cos(pitch / 2), 0.0, math.sin(pitch / 2), 0.0])
    model = spec.compile()
    data = mujoco.MjData(model)
    mujoco.mj_kinematics(model, data)

    right, down, along = pixel_rays().T
    to_pixels = FOCAL * 2 * math.tan(math.radians(config.horizontal_fov_degrees) / 2) / COLUMNS
    rays = np.stack([along, -right * to_pixels, -down * to_pixels], axis=-1)  # x forward, y left, z up
    for n in range(num):
        distance, geom = mujoco_rays(boxes[n], data.site_xpos[n], rays @ data.site_xmat[n].reshape(3, 3).T)
        error = np.abs(images[n] - np.clip(distance, config.near, config.far))
        assert (
            contains(boxes[n], torch.tensor(data.site_xpos[n])) or error[~differs_from_a_neighbour(geom)].max() < 1e-4
        )
    assert images.std() > 0.3


def test_rate_latency_and_freshness_follow_a_list_of_frames():
    num, steps, distance = 5, 60, 2.5
    config = replace(FORWARD, resolution=[2, 3], update_interval=4, latency=2)
    camera, generator = DepthCamera(config, num, "cpu"), torch.Generator().manual_seed(0)
    state, boxes = camera.initial_state(), wall(distance, num)
    quat = torch.tensor([1.0, 0.0, 0.0, 0.0]).expand(num, 4)
    episode_length = torch.arange(num)
    history: list[list[float]] = []
    for step in range(steps):
        reset = torch.ones(num, dtype=torch.bool) if step == 0 else torch.rand(num, generator=generator) < 0.1
        episode_length = torch.where(reset & (step > 0), 0, episode_length)
        root_pos = torch.tensor([[0.03 * step + 0.1 * n, 0.0, 0.0] for n in range(num)])
        camera.update(state, camera.due(episode_length), reset, root_pos, quat, boxes, generator)
        images = camera.image(state, episode_length)
        for n in range(num):
            seen = distance - float(root_pos[n, 0])
            if reset[n]:
                history[n : n + 1] = [[seen] * 3]
            elif episode_length[n] % 4 == 0:
                history[n] = [seen, *history[n][:2]]
            expected = torch.full((6,), max(history[n][2], config.near))
            torch.testing.assert_close(metres(config, images[n]), expected, atol=1e-5, rtol=0.0)
        episode_length = episode_length + 1


@pytest.mark.parametrize(("frames", "longest", "interval"), [(0, 7, 5), (1, 4, 3), (0, 5, 5), (2, 3, 1), (0, 2, 7)])
def test_an_image_is_seen_its_latency_after_it_was_taken(frames: int, longest: int, interval: int):
    """Each camera moves through a table of depths; what it saw when is looked up by the time of day."""
    num, steps, random = 12, 90, np.random.default_rng(frames + longest)
    config = replace(FORWARD, resolution=[1, 2], update_interval=interval, latency=frames)
    camera, generator = DepthCamera(config, num, "cpu", longest), torch.Generator().manual_seed(0)
    state, boxes, quat = camera.initial_state(), wall(2.9, num), torch.tensor([1.0, 0.0, 0.0, 0.0]).expand(num, 4)
    depths = random.uniform(0.3, 2.8, (steps, num))
    began, late = np.zeros(num, int), np.zeros(num, int)
    last, latencies = torch.zeros(num, 2), set()
    for step in range(steps):
        reset = np.full(num, step == 0) | (random.random(num) < 0.05)
        began[reset], late[reset] = step, random.integers(0, longest + 1, reset.sum())
        mask, length = torch.tensor(reset), torch.tensor(step - began)
        # what those are given that are not reset does not count
        given = torch.tensor(np.where(reset, late, longest - late))
        camera.reset(state, mask, generator, given)
        root_pos = torch.tensor(np.stack([2.9 - depths[step], 0 * depths[step], 0 * depths[step]], axis=1)).float()
        camera.update(state, camera.due(length), mask, root_pos, quat, boxes, generator)
        images, new = camera.image(state, length), camera.is_new(state, length)
        for n in range(num):
            delay = frames * interval + int(late[n])
            taken = [time for time in range(began[n], step - delay + 1) if (time - began[n]) % interval == 0]
            seen = depths[taken[-1] if taken else began[n], n]
            torch.testing.assert_close(metres(config, images[n]), torch.full((2,), seen).float(), atol=1e-5, rtol=0.0)
            assert new[n] or torch.equal(images[n], last[n])
            if len(taken) > 1 and (taken[-1] + delay == step):
                assert new[n] and not torch.equal(images[n], last[n])
            assert new[n] or not reset[n]
            latencies.add(int(late[n]))
        assert new.float().mean() < 1 or interval == 1 or step == 0
        last = images
    assert latencies == set(range(longest + 1))


def test_a_latency_that_is_not_given_stays():
    camera, generator = DepthCamera(CameraConfig(), 3, "cpu", 4), torch.Generator()
    state, everyone = camera.initial_state(), torch.ones(3, dtype=torch.bool)
    camera.reset(state, everyone, generator, torch.tensor([1, 2, 3]))
    camera.reset(state, everyone, generator)
    assert state.latency.tolist() == [1, 2, 3]


@pytest.mark.parametrize("depth", [0.7, 1.5])
def test_noise_grows_with_the_square_of_the_depth(depth):
    config = replace(FORWARD, depth_noise=0.02)
    error = camera_images(config, wall(depth, 20), torch.zeros(20, 3)).view(20, -1) - depth
    sigma = 0.02 * depth**2
    assert error.std().item() == pytest.approx(sigma, rel=0.02)
    assert abs(error.mean().item()) < 4 * sigma / math.sqrt(error.numel())
    inner = (error.abs() < sigma).float().mean().item()
    assert inner == pytest.approx(0.683, abs=0.02)  # of a normal distribution
    correlations = torch.corrcoef(error) - torch.eye(20)
    assert correlations.abs().max() < 5 / math.sqrt(error.shape[1])
    between_pixels = (error[:, 1:] * error[:, :-1]).mean() / sigma**2
    assert abs(between_pixels) < 4 / math.sqrt(error.numel())


def test_noise_stays_within_near_and_far_and_spares_what_is_not_there():
    config = replace(FORWARD, depth_noise=0.5)
    image = camera_images(config, wall(1.5), torch.zeros(1, 3))
    assert image.min() >= config.near - 1e-5
    assert image.max() <= config.far + 1e-5
    nothing = camera_images(config, tile(), torch.zeros(1, 3))
    torch.testing.assert_close(nothing, torch.full_like(nothing, config.far))


def test_half_precision_rounds_what_full_precision_delivers():
    full, half = (
        replace(FORWARD, depth_noise=0.02, dropout=0.1, latency=1, precision=p) for p in ("float32", "float16")
    )
    boxes, generator = random_tiles(np.random.default_rng(8), 8), torch.Generator()
    states = []
    for config in (full, half):
        camera = DepthCamera(config, 8, "cpu")
        state, quat = camera.initial_state(), torch.tensor([1.0, 0.0, 0.0, 0.0]).expand(8, 4)
        generator.manual_seed(0)
        for step, reset in enumerate((torch.ones(8, dtype=torch.bool), torch.arange(8) % 3 == 0)):
            root_pos = torch.tensor([[0.1 * step - 1.5, 0.0, 0.7]]).expand(8, 3)
            due = torch.arange(8) % 2 == 0
            camera.update(state, due, reset, root_pos, quat, boxes, generator)
        states.append(state)
    assert states[1].frames.dtype == torch.float16
    assert torch.equal(states[0].frames.half(), states[1].frames)
    assert states[0].frames.std() > 0.1


@pytest.mark.parametrize("share", [0.0, 0.01, 0.3, 1.0])
def test_dropout_is_the_share_of_pixels_that_read_far(share):
    config = replace(FORWARD, dropout=share)
    image = camera_images(config, wall(1.0, 20), torch.zeros(20, 3))
    lost = image > 2.9
    deviation = math.sqrt(share * (1 - share) / image.numel())
    assert lost.float().mean().item() == pytest.approx(share, abs=4 * deviation + 1e-9)
    torch.testing.assert_close(image[~lost], torch.full_like(image[~lost], 1.0), atol=1e-5, rtol=0.0)
    torch.testing.assert_close(image[lost], torch.full_like(image[lost], 3.0), atol=1e-5, rtol=0.0)


def test_randomness_comes_from_the_generator_and_not_from_the_masks():
    num = 4
    config = CameraConfig(latency=1)
    boxes, root_pos = wall(1.0, num), torch.tensor([[0.0, 0.0, 1.0]]).expand(num, 3)
    quat = torch.tensor([1.0, 0.0, 0.0, 0.0]).expand(num, 4)
    camera = DepthCamera(config, num, "cpu")

    def run(masks: torch.Tensor, seed: int) -> CameraState:
        state, generator = camera.initial_state(), torch.Generator().manual_seed(seed)
        for mask in masks:
            camera.reset(state, mask, generator)
            camera.update(state, mask, mask, root_pos, quat, boxes, generator)
        return state

    everyone = torch.ones(3, num, dtype=torch.bool)
    some = everyone.clone()
    some[:, 1:] = torch.tensor([[True, False, False], [False, True, False], [False, False, True]])
    first, again, masked, other = run(everyone, 1), run(everyone, 1), run(some, 1), run(everyone, 2)
    assert torch.equal(first.frames, again.frames)
    assert torch.equal(first.mount_quat, again.mount_quat)
    assert torch.equal(first.frames[:, 0], masked.frames[:, 0])  # whatever the others' masks were
    assert torch.equal(first.frames[:, 3], masked.frames[:, 3])  # only the last draw counts
    assert not torch.equal(first.frames[:, 1], masked.frames[:, 1])
    assert not torch.equal(first.frames, other.frames)


@pytest.mark.parametrize("precision", ["float32", "float16"])
def test_on_a_gpu_nothing_waits_and_images_stay_where_they_are(kernels, precision):
    if "warp" not in kernels.__name__:
        pytest.skip("the kernels of the CPU")
    num, generator = 5, torch.Generator()
    camera = DepthCamera(CameraConfig(latency=1, precision=precision), num, "cpu", longest_latency=7)
    scan = HeightScan(HeightScanConfig(), 0.9, "cpu")
    state, boxes = camera.initial_state(), random_tiles(np.random.default_rng(9), num)
    root_pos, quat = torch.tensor([[0.0, 0.0, 1.0]]).expand(num, 3), torch.tensor([1.0, 0.0, 0.0, 0.0]).expand(num, 4)
    address = state.frames.data_ptr()
    for step in range(3):
        with NoSync():
            reset, length = torch.arange(num) == step, torch.full((num,), step)
            camera.reset(state, reset, generator, torch.arange(num))
            camera.update(state, camera.due(length), reset, root_pos, quat, boxes, generator)
            image, new = camera.image(state, length), camera.is_new(state, length)
            heights = scan.scan(boxes, root_pos, quat)
    assert state.frames.data_ptr() == address
    assert image.float().std() > 0.1 and new.any()
    assert heights.std() > 0.1


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["float32", "float16"])
def test_a_gpu_draws_what_the_cpu_draws_also_from_a_graph_and_without_a_wait(precision):
    num, config = 40, replace(CLEAN, precision=precision)
    tiles = random_tiles(np.random.default_rng(12), num)
    images, scans = [], []
    for device in ("cpu", "cuda"):
        camera, scan = DepthCamera(config, num, device), HeightScan(HeightScanConfig(), 0.9, device)
        state, generator, boxes = camera.initial_state(), torch.Generator(device), tiles.to(device)
        root_pos = torch.tensor([0.0, 0.0, 1.0], device=device).expand(num, 3)
        quat = torch.tensor([1.0, 0.0, 0.0, 0.0], device=device).expand(num, 4)
        everyone = torch.ones(num, dtype=torch.bool, device=device)
        arguments = (state, everyone, everyone, root_pos, quat, boxes, generator)
        camera.update(*arguments)
        images.append(first_image(camera, state).float().cpu())
        scans.append(scan.scan(boxes, root_pos, quat).cpu())
    assert ((images[0] - images[1]).abs() > 2.5e-4).float().mean() < 1e-3  # edges
    torch.testing.assert_close(*scans, atol=1e-5, rtol=0.0)

    torch.cuda.set_sync_debug_mode("error")
    try:
        camera.update(*arguments)
        scan.scan(boxes, root_pos, quat)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    graph = torch.cuda.CUDAGraph()
    graph.register_generator_state(generator)
    with torch.cuda.graph(graph):
        camera.update(*arguments)
    state.frames.zero_()
    graph.replay()
    assert torch.equal(first_image(camera, state).float().cpu(), images[1])


def test_mount_poses_are_drawn_about_the_configured_one_for_the_masked_only():
    num = 500
    config = CameraConfig(position_noise=0.02, rotation_noise_degrees=3.0)
    camera = DepthCamera(config, num, "cpu")
    state, nominal = camera.initial_state(), camera.initial_state()
    mask = torch.arange(num) % 2 == 0
    camera.reset(state, mask, torch.Generator().manual_seed(0))
    assert torch.equal(state.mount_pos[~mask], nominal.mount_pos[~mask])
    assert torch.equal(state.mount_quat[~mask], nominal.mount_quat[~mask])
    offset = (state.mount_pos - nominal.mount_pos)[mask]
    assert 0.019 < offset.abs().max() <= 0.02 + 1e-6
    torch.testing.assert_close(offset.std(dim=0), torch.full((3,), 0.02 / math.sqrt(3)), rtol=0.1, atol=0.0)
    cosine = (state.mount_quat * nominal.mount_quat).sum(dim=-1)[mask].abs().clamp(max=1.0)
    angle = torch.rad2deg(2 * torch.acos(cosine.double()))
    assert 3.0 < angle.max() < 3.1 * math.sqrt(3)  # three axes of up to 3 degrees each
    torch.testing.assert_close(state.mount_quat.norm(dim=-1), torch.ones(num))
    # Each angle is about an axis of the camera's own: about the base's, some of these would be larger.
    turned = quat_multiply(nominal.mount_quat * torch.tensor([1.0, -1, -1, -1]), state.mount_quat)[mask]
    vectors = torch.rad2deg(2 * turned[:, 1:] * turned[:, :1].sign())  # of small turns, the angles
    assert (vectors.abs().amax(dim=0) > 2.9).all() and (vectors.abs() < 3.0 * 1.06).all()


# ---- The robot's own legs


def leg_poses(num: int) -> tuple[Legs, mujoco.MjModel, list[mujoco.MjData], tuple[torch.Tensor, ...]]:
    """The legs in random poses, and MuJoCo's model of the robot, without its base's own shapes, in the same ones."""
    rng = np.random.default_rng(10)
    robot = load_robot(RobotConfig())
    spec = parse_urdf(robot.urdf)
    spec.body("pelvis").add_freejoint()
    for geom in list(spec.geoms):
        visual = geom.contype == 0 and geom.conaffinity == 0
        if visual or geom.parent.name in ("pelvis", "torso_link"):
            spec.delete(geom)
    model = spec.compile()
    low, high = robot.joint_range.T
    joint_pos = rng.uniform(low, high, (num, 10))
    root_pos, root_quat = rng.uniform(-0.5, 0.5, (num, 3)), random_unit(rng, num)
    poses = []
    for n in range(num):
        data = mujoco.MjData(model)
        data.qpos[:7] = [*root_pos[n], *root_quat[n]]
        for name, angle in zip(robot.joints, joint_pos[n], strict=True):
            data.joint(name).qpos = angle
        mujoco.mj_kinematics(model, data)
        poses.append(data)
    tensors = (torch.tensor(values, dtype=torch.float32) for values in (root_pos, root_quat, joint_pos))
    return Legs(robot, "cpu"), model, poses, tuple(tensors)


def test_legs_are_where_mujocos_kinematics_has_them():
    legs, model, poses, state = leg_poses(20)
    capsules = legs.capsules(*state)
    assert capsules.shape == (20, model.ngeom, CAPSULE_DIM) == (20, 8, 7)
    for n, data in enumerate(poses):
        axis = data.geom_xmat.reshape(-1, 3, 3)[:, :, 2] * model.geom_size[:, 1:2]
        expected = np.concatenate([data.geom_xpos - axis, data.geom_xpos + axis, model.geom_size[:, :1]], axis=1)
        np.testing.assert_allclose(capsules[n].numpy(), expected, atol=2e-6)


def test_the_image_of_the_legs_is_mujocos(kernels):
    num = 20
    legs, model, poses, state = leg_poses(num)
    capsules = legs.capsules(*state)
    rng = np.random.default_rng(11)
    # Cameras about the robot, in the middle of it and far from it, that look at its middle more or less.
    offset = random_unit(rng, num)[:, 1:] * rng.uniform(0.1, 2.0, (num, 1))
    position = state[0] + torch.tensor(offset, dtype=torch.float32)
    forward = torch.nn.functional.normalize(capsules[..., :3].mean(dim=1) - position, dim=1)
    right = torch.nn.functional.normalize(torch.linalg.cross(forward, torch.tensor([[0.3, 0.2, 1.0]])), dim=1)
    rotation = torch.stack([right, torch.linalg.cross(forward, right), forward], dim=-1)
    mask = torch.arange(num) % 5 > 0
    images = torch.full((num, ROWS * COLUMNS), 0.7)
    raster.render_depth(tile(num=num), position, rotation, (ROWS, COLUMNS), FOCAL, NEAR, FAR, mask, images, capsules)
    assert (images[~mask] == 0.7).all()
    seen = compared = 0
    for n in range(num):
        ends, radius = capsules[n, :, :6].unflatten(1, (2, 3)).double(), capsules[n, :, 6]
        axis, way = ends[:, 1] - ends[:, 0], position[n] - ends[:, 0]
        along = ((way * axis).sum(1) / axis.square().sum(1)).clamp(0, 1)
        if not mask[n] or bool(((way - along[:, None] * axis).norm(dim=1) < radius).any()):
            continue
        rays = pixel_rays() @ rotation[n].double().numpy().T
        geom, distance = np.zeros(len(rays), np.int32), np.zeros(len(rays))
        start = position[n].double().numpy()
        mujoco.mj_multiRay(model, poses[n], start, rays.ravel(), None, True, -1, geom, distance, None, len(rays), 1e6)
        error = np.abs(images[n].numpy() - np.clip(np.where(geom < 0, np.inf, distance), NEAR, FAR))
        assert error[~differs_from_a_neighbour(geom)].max() < 1e-4
        assert (error > 1e-3).mean() < 1e-3
        seen += (geom >= 0).sum()
        compared += len(rays)
    assert seen > 0.05 * compared > 0.02 * num * ROWS * COLUMNS


def test_legs_and_boxes_hide_each_other_and_a_capsule_about_the_camera_is_not_seen():
    pose = torch.zeros(1, 3), torch.tensor([[[0.0, 0.0, 1.0], [-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]]])
    mask = torch.ones(1, dtype=torch.bool)
    bars = [[d, -2.0, 0.0, d, 2.0, 0.0, 0.1] for d in (1.0, 2.5)]
    around = [0.0, 0.0, 0.0, 0.8, 0.0, 0.0, 0.2]
    out = torch.zeros(1, 15)
    raster.render_depth(wall(2.0), *pose, (5, 3), 5.0, NEAR, FAR, mask, out, torch.tensor([[*bars, around]]))
    expected = torch.full((5, 3), 2.0)
    expected[2] = 0.9
    torch.testing.assert_close(out.view(5, 3), expected, atol=1e-5, rtol=0.0)


def test_legs_of_another_shape_are_refused_in_one_line(tmp_path):
    text = load_robot(RobotConfig()).urdf.read_text()
    path = tmp_path / "boxy.urdf"
    path.write_text(text.replace('<cylinder radius="0.045" length="0.26"/>', '<box size="0.1 0.1 0.3"/>'))
    with pytest.raises(UserError, match=r"camera.see_robot: link 'left_knee_link' of boxy.urdf .* no cylinder"):
        Legs(load_robot(RobotConfig(urdf=str(path))), "cpu")


# ---- Height scan


def test_the_scan_turns_with_the_heading_and_stays_level():
    rng = np.random.default_rng(7)
    num, config = 6, HeightScanConfig(clip=0.4)
    boxes = random_tiles(rng, num)
    root_pos = torch.tensor(rng.uniform([0.0, -0.5, 0.8], [2.0, 0.5, 1.4], (num, 3)), dtype=torch.float32)
    yaw = torch.tensor(rng.uniform(-3.0, 3.0, num), dtype=torch.float32)
    tilt = torch.tensor(rng.uniform(-0.4, 0.4, (2, num)), dtype=torch.float32)
    scan = HeightScan(config, 0.9, "cpu").scan(boxes, root_pos, quat_from_euler(tilt[0], tilt[1], yaw))

    xs = np.linspace(config.x[0], config.x[1], config.shape[0])
    ys = np.linspace(config.y[0], config.y[1], config.shape[1])
    down = np.array([0.0, 0.0, -1.0])
    differing = clipped = 0
    for n in range(num):
        model, data = mujoco_model(boxes[n])
        c, s = math.cos(yaw[n]), math.sin(yaw[n])
        for i, x in enumerate(xs):
            for j, y in enumerate(ys):
                start = root_pos[n].double().numpy() + np.array([x * c - y * s, x * s + y * c, 20.0])
                distance = mujoco.mj_ray(model, data, start, down, None, True, -1, np.zeros(1, np.int32))
                below = distance - 20.0 - 0.9 if distance >= 0 else math.inf
                expected = min(max(below, -0.4), 0.4)
                clipped += abs(below) > 0.4
                differing += abs(scan[n, i * len(ys) + j].item() - expected) > 1e-5
    assert differing <= 0.002 * scan.numel()  # points on a vertical face may fall to either side of it
    assert clipped > 10
    assert (scan.abs() < 0.39).sum() > 100

"""What a page shows, against what the environment and MuJoCo's model have. No browser, and nothing of viser."""

from __future__ import annotations

import re

import mujoco
import numpy as np
import pytest
import torch
from small_env import CPU, TINY
from web_page import Page

from legged_gym_ext.config.files import load_config
from legged_gym_ext.envs.parkour_env import ParkourEnv
from legged_gym_ext.rendering.scene import VISUAL_GROUP, RobotScene
from legged_gym_ext.rendering.web.sight import History, bars, colour, parts, see
from legged_gym_ext.robot import load_robot
from legged_gym_ext.runs.settle import settle


@pytest.fixture(scope="module")
def env() -> ParkourEnv:
    env = ParkourEnv(settle(load_config("parkour_depth", TINY)), 4, CPU)
    for _ in range(3):
        env.step(torch.randn(4, 10, generator=torch.Generator().manual_seed(0)))
    return env


def test_to_see_changes_nothing(env: ParkourEnv) -> None:
    before, everywhere = env.snapshot(), torch.get_rng_state()
    see(env, 1)
    after = env.snapshot()
    assert torch.equal(before["generator"], after["generator"])
    assert torch.equal(everywhere, torch.get_rng_state())
    for name, tensor in before["simulator"].items():
        assert torch.equal(tensor, after["simulator"][name])


def test_a_sight_is_a_copy_of_one_environment(env: ParkourEnv) -> None:
    actions = torch.randn(4, 10)
    _, _, _, extras = env.step(actions)
    sight = see(env, 2, {"student": actions}, extras)
    kept = sight.actions["student"].copy()
    np.testing.assert_array_equal(kept, actions[2])
    np.testing.assert_array_equal(sight.moment.root_pos, env.sim_state.root_pos[2])
    root = sight.moment.root_pos.copy()
    actions.zero_()
    env.step(actions)
    np.testing.assert_array_equal(sight.actions["student"], kept)
    np.testing.assert_array_equal(sight.moment.root_pos, root)


def test_the_cameras_axis_is_where_its_image_is_from(env: ParkourEnv) -> None:
    """From the camera, the depth of the middle of the image leads to a surface of a box, or to nothing before far."""
    config = env.config.camera
    for index in range(4):
        sight = see(env, index)
        assert sight.camera_pos is not None and sight.camera_rotation is not None
        np.testing.assert_allclose(sight.camera_rotation @ sight.camera_rotation.T, np.eye(3), atol=1e-5)
        assert np.linalg.det(sight.camera_rotation) == pytest.approx(1.0, abs=1e-5)
        assert sight.camera_rotation[2, 1] < 0  # its second axis is down
        body = np.zeros(9)
        mujoco.mju_quat2Mat(body, sight.moment.root_quat.astype(float))
        offset = body.reshape(3, 3).T @ (sight.camera_pos - sight.moment.root_pos)
        np.testing.assert_allclose(offset, config.position, atol=3 * config.position_noise + 1e-5)


def test_parts_are_the_urdfs_visual_shapes_where_mujoco_has_them() -> None:
    robot = load_robot(settle(load_config("parkour_depth", TINY)).robot)
    model = RobotScene(robot).model
    found = parts(model)
    assert len(found) == int((model.geom_group == VISUAL_GROUP).sum()) > 10
    bodies = {model.body(part.body).name for part in found}
    assert {"torso_link", *robot.feet} <= bodies
    for part in found:
        geom = next(
            index
            for index in range(model.ngeom)
            if model.geom_bodyid[index] == part.body and np.array_equal(model.geom_pos[index], part.position)
        )
        assert int(part.kind) == model.geom_type[geom]
        assert all(0 <= level <= 255 for level in part.colour)


def test_a_mesh_keeps_its_surface() -> None:
    spec = mujoco.MjSpec()
    corners = np.array([[0, 0, 0], [1, 0, 0], [0, 2, 0], [0, 0, 3]], float)
    spec.add_mesh(name="wedge", uservert=corners.ravel(), userface=[0, 2, 1, 0, 1, 3, 0, 3, 2, 1, 2, 3])
    spec.worldbody.add_body(name="b").add_geom(
        type=mujoco.mjtGeom.mjGEOM_MESH, meshname="wedge", group=VISUAL_GROUP, rgba=[1, 0.5, 0, 1]
    )
    model = spec.compile()
    (part,) = parts(model)
    assert part.vertices is not None and part.faces is not None
    assert part.colour == (255, 128, 0)
    rotation = np.zeros(9)
    mujoco.mju_quat2Mat(rotation, part.quat)
    placed = part.vertices @ rotation.reshape(3, 3).T + part.position
    assert sorted(map(tuple, placed.round(5) + 0.0)) == sorted(map(tuple, corners))
    a, b, c = (placed[part.faces[:, column]] for column in range(3))
    volume = np.einsum("ij,ij->i", a, np.cross(b, c)).sum() / 6
    assert volume == pytest.approx(1.0)


def test_a_history_has_the_newest_points_in_their_order() -> None:
    history = History(("a", "b"), 3)
    empty = history.curves()
    assert len(empty) == 3 and all(len(curve) == 1 for curve in empty)
    for number in range(5):
        history.add(0.5, {"b": -number, "a": number})
    time, a, b = history.curves()
    np.testing.assert_allclose(time, [1.5, 2.0, 2.5])
    np.testing.assert_array_equal(a, [2, 3, 4])
    np.testing.assert_array_equal(b, [-2, -3, -4])


def test_a_single_series_has_no_legend_and_a_colour_for_each_bar() -> None:
    text = bars([f"term{number}" for number in range(12)], {"now": [1.0] * 12}, 1.0)
    assert "now" not in text
    assert len(set(re.findall('fill="(#[0-9a-f]+)"', text))) == 12
    assert [colour(number) for number in range(12)] == re.findall('fill="(#[0-9a-f]+)"', text)


def test_bars_are_as_long_as_their_values_and_on_their_side_and_end_at_the_limit() -> None:
    names, series = ("hip", "<knee>"), {"student": [1.0, -0.5], "teacher": [9.0, 0.0]}
    drawing = Page(bars(names, series, 2.0))
    assert all(word in drawing.text for word in ("hip", "<knee>", "student", "teacher"))
    numbers = [float(text) for name, text in drawing.attributes if name in ("x", "width") and not text.endswith("%")]
    middle = next(float(text[1:].split(" ")[0]) for name, text in drawing.attributes if name == "d")
    rectangles = []
    attributes = iter(drawing.attributes)
    for name, text in attributes:
        if name == "x":
            rectangles.append([float(text), None])
        elif name == "width" and rectangles and rectangles[-1][1] is None:
            rectangles[-1][1] = 0.0 if text.endswith("%") else float(text)
    drawn = [(x, width) for x, width in rectangles if width is not None and width != 8]
    assert numbers
    full = middle - 112
    expected = [(middle, full / 2), (middle, full), (middle - full / 4, full / 4), (middle, 0.0)]
    np.testing.assert_allclose(drawn, expected, atol=0.06)

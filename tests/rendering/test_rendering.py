"""Pictures of a simulated robot: the scene, and the viewers."""

from __future__ import annotations

import sys

import mujoco
import numpy as np
import pytest
import torch
from small_env import CPU, TINY

from legged_gym_ext.config.files import load_config
from legged_gym_ext.envs.parkour_env import ParkourEnv
from legged_gym_ext.rendering.scene import RobotScene, look_at
from legged_gym_ext.rendering.viewer import Live, open_viewer
from legged_gym_ext.runs.settle import settle
from legged_gym_ext.terrain.boxes import CENTER, HALF


@pytest.fixture(scope="module")
def env() -> ParkourEnv:
    env = ParkourEnv(settle(load_config("parkour_depth", TINY)), 4, CPU)
    env.place(torch.arange(4), torch.full((4,), 2))
    for _ in range(5):
        env.step(torch.randn(4, 10, generator=torch.Generator().manual_seed(0)))
    return env


def test_the_scenes_robot_stands_where_the_simulated_one_does(env: ParkourEnv) -> None:
    scene = RobotScene(env.robot)
    for index in range(4):
        scene.pose(look_at(env, index))
        for foot, (link, sole) in enumerate(zip(env.robot.feet, env.robot.sole, strict=True)):
            body = scene.data.body(link)
            place = body.xpos + body.xmat.reshape(3, 3) @ sole
            np.testing.assert_allclose(place, env.sim_state.foot_pos[index, foot], atol=2e-2)  # one substep apart


def test_the_scene_has_the_tiles_boxes_and_waypoints(env: ParkourEnv) -> None:
    scene = RobotScene(env.robot)
    for index in range(4):
        moment = look_at(env, index)
        drawn = mujoco.MjvScene(scene.model, 200)
        for shape in scene.shapes(moment):
            shape.write(drawn.geoms[drawn.ngeom])
            drawn.ngeom += 1
        geoms = drawn.geoms[: drawn.ngeom]
        boxes = env.boxes[index][env.boxes[index, :, HALF.start] > 0].numpy()
        solid = [geom for geom in geoms if geom.type == mujoco.mjtGeom.mjGEOM_BOX]
        np.testing.assert_allclose([geom.pos for geom in solid], boxes[:, CENTER], atol=1e-6)
        np.testing.assert_allclose([geom.size for geom in solid], boxes[:, HALF], atol=1e-6)
        assert len(geoms) - len(solid) == env.config.terrain.waypoints


def test_live_shows_one_environment_after_the_other_in_real_time(env: ParkourEnv) -> None:
    shown = []

    class FakeViewer:
        def is_open(self) -> bool:
            return len(shown) < 5

        def show(self, moment) -> None:
            shown.append(moment.kind)

        def close(self) -> None: ...

    live = Live(FakeViewer(), env, [1, 3])
    for done in ([0, 0, 0, 1], [0, 1, 0, 0], [0, 1, 0, 0], [0, 0, 0, 1]):
        assert live.is_open()
        live.add(torch.tensor(done, dtype=torch.bool))
    assert not live.is_open()
    names = env.library.kinds
    assert shown == [names[1], names[1], names[3], names[3], names[1]]


def test_without_a_display_there_is_no_viewer_and_only_who_asked_for_one_is_told(
    env: ParkourEnv, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    for variable in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(variable, raising=False)
    scene = RobotScene(env.robot)
    assert open_viewer("none", scene) is None
    assert open_viewer("auto", scene) is None
    assert capsys.readouterr().out == ""
    if sys.platform.startswith("linux"):
        assert open_viewer("native", scene) is None
        assert capsys.readouterr().out.count("\n") == 1

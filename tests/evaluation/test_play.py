"""Playing a run: its statistics, its video, its viewers, and its mistakes."""

from __future__ import annotations

import contextlib
import os
import runpy
import subprocess
import sys
from pathlib import Path

import mujoco
import numpy as np
import pytest
import torch
from dummy_runner import distillation

from legged_gym_ext import paths
from legged_gym_ext.commands import play
from legged_gym_ext.config.files import load_config
from legged_gym_ext.envs.parkour_env import ParkourEnv
from legged_gym_ext.errors import UserError
from legged_gym_ext.evaluation import outcomes, rollout
from legged_gym_ext.learning.runner import ParkourRunner
from legged_gym_ext.rendering.opengl import works
from legged_gym_ext.rendering.scene import RobotScene, look_at
from legged_gym_ext.rendering.viewer import Live, open_viewer
from legged_gym_ext.runs.folder import create_run_folder
from legged_gym_ext.runs.settle import settle
from legged_gym_ext.simulators.base import DomainParameters
from legged_gym_ext.terrain.boxes import CENTER, HALF
from legged_gym_ext.terrain.kinds import only

CPU = torch.device("cpu")
TINY = ("terrain.variants=1", "terrain.levels=3", "env.num_envs=4", "env.episode_length_s=1.0")


# Statistics ---------------------------------------------------------------------------------------------------------


class ScriptedEnv:
    """Environment i has episodes of ``lengths[i]`` steps in turns; each step says how its episodes would end.

    It is rewarded with 0.25 (i + 1) in every step.
    """

    def __init__(self, lengths: list[list[int]], falls: list[list[bool]]) -> None:
        self.lengths, self.falls = lengths, falls
        self.episode, self.step_in_episode = [0] * len(lengths), [0] * len(lengths)

    def step(self) -> tuple[torch.Tensor, torch.Tensor, dict[str, torch.Tensor]]:
        dones, fell, progress = [], [], []
        for i, lengths in enumerate(self.lengths):
            self.step_in_episode[i] += 1
            turn = self.episode[i] % len(lengths)
            dones.append(self.step_in_episode[i] == lengths[turn])
            fell.append(self.falls[i][turn])
            progress.append(0.5 * self.step_in_episode[i])
            if dones[-1]:
                self.step_in_episode[i], self.episode[i] = 0, self.episode[i] + 1
        done, fall = torch.tensor(dones), torch.tensor(fell)
        extras = {"time_outs": (done & ~fall).float(), "success": done & ~fall, "progress": torch.tensor(progress)}
        return torch.tensor([0.25 * (i + 1) for i in range(len(dones))]), done, extras


def count_episodes(env: ScriptedEnv, kinds: list[int], episodes: int) -> outcomes.EpisodeCount:
    quota = outcomes.share_out(episodes, len(kinds))
    count = outcomes.EpisodeCount(torch.tensor(kinds), quota, step_time=0.1)
    while not count.complete:
        count.add(*env.step())
    return count


def test_each_environments_first_episodes_count_and_no_others() -> None:
    """Environment 0 falls after 2 steps, fifty times before environment 1 has finished its first course."""
    env = ScriptedEnv([[2], [100]], [[True], [False]])
    mean = count_episodes(env, [0, 1], episodes=2).summary()
    assert mean == outcomes.Summary(
        episodes=2,
        success=pytest.approx(0.5),
        distance=pytest.approx((1 + 50) / 2),
        time=pytest.approx((0.2 + 10) / 2),
        falls=pytest.approx(0.5),
        total_reward=pytest.approx((2 * 0.25 + 100 * 0.5) / 2),
        speed=pytest.approx(51 / 10.2),
    )


def test_statistics_are_the_means_of_the_scripted_episodes() -> None:
    rng = np.random.default_rng(0)
    lengths = rng.integers(1, 30, (5, 4)).tolist()
    falls = (rng.random((5, 4)) < 0.5).tolist()
    kinds = [0, 1, 0, 2, 1]
    count = count_episodes(ScriptedEnv(lengths, falls), kinds, episodes=13)
    turns = [3, 3, 3, 2, 2]  # 13 episodes among 5 environments
    for kind in (0, 1, 2, None):
        counted = [(i, j) for i in range(5) for j in range(turns[i]) if kind is None or kinds[i] == kind]
        steps = np.array([lengths[i][j] for i, j in counted])
        fell = np.array([falls[i][j] for i, j in counted])
        mean = count.summary(kind)
        assert mean is not None
        assert mean.episodes == len(counted)
        assert mean.time == pytest.approx(0.1 * steps.mean())
        assert mean.distance == pytest.approx(0.5 * steps.mean())
        assert mean.falls == pytest.approx(fell.mean())
        assert mean.success == pytest.approx(1 - fell.mean())
        assert mean.speed == pytest.approx(5.0)
        rewards = np.array([0.25 * (i + 1) for i, _ in counted])
        assert mean.total_reward == pytest.approx((rewards * steps).mean())
    assert count.summary(3) is None


def test_the_table_has_a_line_for_each_kind_and_names_those_not_played() -> None:
    count = count_episodes(ScriptedEnv([[2], [4]], [[True], [False]]), [0, 2], episodes=2)
    lines = outcomes.table(count, ["flat", "gaps", "beams"]).splitlines()
    assert [line.split()[0] for line in lines] == ["terrain", "flat", "beams", "all", "no"]
    assert lines[1].split() == ["flat", "1", "0%", "1.00", "m", "0.2", "s", "100%", "5.00", "m/s", "0.50"]
    assert lines[-1] == "no episodes: gaps"
    assert len(outcomes.table(count, ["flat"]).splitlines()) == 2


def test_the_table_tells_what_went_wrong_in_the_physics() -> None:
    env = ScriptedEnv([[3]], [[False]])
    count = outcomes.EpisodeCount(torch.tensor([0]), torch.tensor([1]), step_time=0.1)
    for overflow in (0.0, 2.0, 3.0):
        rewards, dones, extras = env.step()
        log = {"Health/overflow": torch.tensor(overflow), "Health/diverged": torch.tensor(0.0)}
        count.add(rewards, dones, {**extras, "log": log})
    assert outcomes.table(count, ["flat"]).splitlines()[2].startswith("health: overflow 5 (steps of environments")


@pytest.mark.parametrize("num_envs", [1, 7, 64])
def test_levels_are_spread_evenly_within_every_kind(num_envs: int) -> None:
    kinds = torch.randint(3, (num_envs,), generator=torch.Generator().manual_seed(num_envs))
    level = rollout.spread_levels(kinds, 10)
    assert level.min() >= 0 and level.max() < 10
    for kind in kinds.unique():
        of_kind = level[kinds == kind].double()
        assert (of_kind.diff() >= 0).all()
        assert abs(of_kind.mean() - 4.5) <= 0.5  # as the mean of all levels, up to rounding
        counts = torch.bincount(of_kind.long(), minlength=10)
        assert counts.max() - counts.min() <= 1


def test_environments_stay_at_the_level_that_they_are_placed_at() -> None:
    env = ParkourEnv(settle(load_config("parkour_depth", [*TINY, *rollout.HELD_LEVELS])), 4, CPU)
    kinds, levels = torch.tensor([1, 0, 3, 2]), torch.tensor([2, 0, 1, 2])
    env.place(kinds, levels)
    for _ in range(60):  # longer than an episode
        env.step(torch.zeros(4, 10))
        tile = env.library.tile_index(kinds, levels, torch.zeros(4, dtype=torch.long))
        assert torch.equal(env.simulator.tile, tile)
        assert torch.equal(env.boxes, env.library.boxes[tile])


def test_nothing_random_is_left_but_the_start() -> None:
    config = settle(load_config("parkour_depth", [*TINY, *rollout.NOTHING_RANDOM]))
    env = ParkourEnv(config, 2, CPU)
    other = ParkourEnv(settle(load_config("parkour_depth", [*TINY, *rollout.NOTHING_RANDOM, "seed=2"])), 2, CPU)
    for name, tensor in DomainParameters.nominal(2, CPU).tensors().items():
        assert torch.equal(env.simulator.parameters.tensors()[name], tensor)
    mount = env.camera.initial_state()
    torch.testing.assert_close(env.state.camera.mount_pos, mount.mount_pos)
    torch.testing.assert_close(env.state.camera.mount_quat, mount.mount_quat)
    snapshot = env.snapshot()
    snapshot["generator"] = other.snapshot()["generator"]
    other.restore(snapshot)
    for _ in range(20):
        a, b = env.step(torch.zeros(2, 10))[0], other.step(torch.zeros(2, 10))[0]
        assert all(torch.equal(a[name], b[name]) for name in a.keys())  # noqa: SIM118  # a TensorDict


@pytest.mark.parametrize("kind", ["flat", "beams"])
def test_one_terrain_can_be_played_although_the_run_left_it_out(kind: str) -> None:
    config = settle(load_config("walk_flat", [*TINY, *only([kind])]))
    assert ParkourEnv(config, 1, CPU).library.kinds == (kind,)


class Memory:
    """A policy that counts steps since its memory was last reset, in each environment, and answers with the count."""

    def __init__(self, num_envs: int) -> None:
        self.count = torch.full((num_envs, 1), 1000.0)  # as another rollout left it

    def reset(self, dones: torch.Tensor | None = None) -> None:
        self.count[slice(None) if dones is None else dones.bool()] = 0.0

    def __call__(self, observations: torch.Tensor) -> torch.Tensor:
        self.count += 1
        return self.count.clone()


class Listener:
    """An environment whose episodes have ``lengths`` steps; it notes the actions that it is given."""

    device = CPU

    def __init__(self, lengths: list[int]) -> None:
        self.lengths, self.age = torch.tensor(lengths), torch.zeros(len(lengths), dtype=torch.long)
        self.heard: list[torch.Tensor] = []

    def get_observations(self) -> torch.Tensor:
        return torch.zeros(len(self.lengths), 1)

    def step(self, actions: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, dict]:
        self.heard.append(actions[:, 0])
        self.age += 1
        dones = self.age == self.lengths
        self.age[dones] = 0
        return self.get_observations(), torch.zeros(len(dones)), dones.long(), {}


def test_a_policy_forgets_at_the_end_of_each_environments_episode() -> None:
    """And before the first one: what it remembers is never longer than the episode."""
    lengths = [3, 5, 100]
    env = Listener(lengths)
    steps = rollout.play(env, Memory(3), CPU)  # type: ignore[arg-type]
    for _ in range(17):
        next(steps)
    expected = [[step % length + 1 for length in lengths] for step in range(17)]
    assert torch.stack(env.heard).tolist() == expected


# Pictures -----------------------------------------------------------------------------------------------------------


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


# The command --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a run with a checkpoint of an untrained teacher and student."""
    config = settle(load_config("parkour_depth", [*TINY, "student.encoder.gru_hidden=16", "teacher.hidden_dims=[16]"]))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(paths, "LOGS", tmp_path_factory.mktemp("logs"))
        folder = create_run_folder(config)
    runner = ParkourRunner(ParkourEnv(config, 4, CPU), config, None, "cpu")
    runner.save(str(folder / "model_0.pt"))
    distillation(runner).rounds = 1
    runner.current_learning_iteration = 3
    runner.save(str(folder / "model_3.pt"))
    return folder


def shell(run: Path, *flags: str, **variables: str) -> subprocess.CompletedProcess:
    """Run play.py as a user does."""
    kept = {
        name: value for name, value in os.environ.items() if name not in ("DISPLAY", "WAYLAND_DISPLAY", "MUJOCO_GL")
    }
    return subprocess.run(
        [sys.executable, "play.py", f"--load_run={run}", "--num_envs=2", *flags],
        cwd=paths.ROOT,
        env={**kept, **variables},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="elsewhere OpenGL is always there")
@pytest.mark.parametrize("has_opengl", [True, False])
def test_play_prints_statistics_and_films_where_there_is_opengl(run_folder: Path, tmp_path: Path, has_opengl) -> None:
    if has_opengl and not any(works(backend) for backend in ("egl", "osmesa")):
        pytest.skip("no OpenGL here")
    path = tmp_path / "films" / "film.mp4"
    variables = {} if has_opengl else {"MUJOCO_GL": "off"}
    flags = [f"--video={path}", "--video_length=0.6", "--terrain=gaps", "--level=1"]
    done = shell(run_folder, *flags, **variables)
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert any(line.split()[:2] == ["gaps", "2"] for line in lines)
    assert path.exists() == has_opengl
    if not has_opengl:
        assert len([line for line in lines if "OpenGL" in line]) == 1
        return
    import imageio_ffmpeg

    reader = imageio_ffmpeg.read_frames(path)
    facts = next(reader)
    assert isinstance(facts, dict)
    assert (facts["codec"], facts["fps"], facts["size"]) == ("h264", 25.0, (960, 540))
    frames = [np.frombuffer(frame, np.uint8).reshape(540, 960, 3) for frame in reader]  # pyright: ignore
    assert len(frames) == 15
    assert all(frame.std() > 20 for frame in frames)
    assert any(np.abs(frames[0].astype(int) - frame).max() > 50 for frame in frames[1:])  # something moves


def played(run: Path, flags: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> str:
    for variable in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(variable, raising=False)
    play.main([f"--load_run={run}", *flags.split()])
    return capsys.readouterr().out


def test_play_takes_the_student_where_it_is_trained(run_folder: Path, monkeypatch, capsys) -> None:
    def policy(flags: str) -> str:
        out = played(run_folder, f"--num_envs=1 env.episode_length_s=0.1 {flags}", monkeypatch, capsys)
        return next(line.split()[1] for line in out.splitlines() if line.startswith("policy"))

    assert policy("") == "student"
    assert policy("--policy=teacher") == "teacher"
    assert policy("--checkpoint=0") == "teacher"


def test_episodes_of_the_mix_are_as_many_as_asked_for(run_folder: Path, monkeypatch, capsys) -> None:
    out = played(run_folder, "--num_envs=8 --episodes=11 --randomize env.episode_length_s=0.2", monkeypatch, capsys)
    rows = {cells[0]: cells for cells in map(str.split, out.splitlines()) if len(cells) == 11}
    assert rows["all"][1] == "11"
    assert sorted(row[1] for name, row in rows.items() if name != "all") == ["1"] * 5 + ["2"] * 3


@pytest.mark.parametrize(("flags", "levels"), [("", {0, 1, 2}), ("--level=0", {0}), ("--level=2", {2})])
def test_robots_stand_on_the_level_asked_for_or_on_all(
    flags: str, levels: set[int], run_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    stood: list[set[int]] = []
    step = ParkourEnv.step

    def spy(env: ParkourEnv, actions: torch.Tensor) -> tuple:
        only_kind, all_levels, only_variant = torch.zeros(3).long(), torch.arange(3), torch.zeros(3).long()
        tiles = env.library.tile_index(only_kind, all_levels, only_variant)
        stood.append(set((env.simulator.tile[:, None] == tiles).nonzero()[:, 1].tolist()))
        return step(env, actions)

    monkeypatch.setattr(ParkourEnv, "step", spy)
    played(run_folder, f"--num_envs=6 --terrain=steps env.episode_length_s=0.1 {flags}", monkeypatch, capsys)
    assert stood and all(found == levels for found in stood)


@pytest.mark.parametrize("fails", [False, True])
def test_the_environment_is_closed_after_playing(fails: bool, run_folder: Path, monkeypatch, capsys) -> None:
    closed: list[int] = []
    monkeypatch.setattr(ParkourEnv, "close", lambda _: closed.append(1), raising=False)
    flags = "--num_envs=1 env.episode_length_s=0.1" + (" --checkpoint=0 --policy=student" if fails else "")
    with pytest.raises(UserError) if fails else contextlib.nullcontext():
        played(run_folder, flags, monkeypatch, capsys)
    assert closed == [1]


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ("--terrain=gap", "unknown terrain 'gap' (did you mean 'gaps'?)"),
        ("--policy=students", "did you mean 'student'?"),
        ("--viewer=webb", "did you mean 'web'?"),
        ("--level=3", "allowed: 0 to 2"),
        ("--level=-1", "allowed: 0 to 2"),
        ("--level=high", "--level"),
        ("--episodes=0", "--episodes 0; allowed: more than 0"),
        ("--checkpoint=2", "no checkpoint 2"),
        ("--load_run=nothing", "'nothing'"),
        ("--video=film.avi --headless", ".mp4"),
        ("--checkpoint=0 --policy=student", "no trained student"),
        ("teacher.hidden_dims=[8]", "does not fit this configuration"),
        ("--vidoe", "did you mean '--video'?"),
    ],
)
def test_mistakes_are_one_clear_line(run_folder: Path, flags: str, expected: str, monkeypatch) -> None:
    monkeypatch.setattr("legged_gym_ext.rendering.show.choose_backend", lambda: True)
    with pytest.raises(UserError) as caught:
        play.main([f"--load_run={run_folder}", *flags.split()])
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)


def test_from_a_shell_a_mistake_is_exit_code_2(tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.setattr(sys, "argv", ["play.py", f"--load_run={tmp_path}"])
    with pytest.raises(SystemExit) as caught:
        runpy.run_path(str(paths.ROOT / "play.py"), run_name="__main__")
    assert caught.value.code == 2
    err = capsys.readouterr().err
    assert err.startswith("error: ") and err.count("\n") == 1

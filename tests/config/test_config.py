"""Configurations: what is read is what was meant; what is not understood is one clear line."""

from __future__ import annotations

import random
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from legged_gym_ext.config.files import load_config, load_saved_config, save_config
from legged_gym_ext.config.schema import Config
from legged_gym_ext.errors import UserError
from legged_gym_ext.tasks import get_factories, register, task_names
from legged_gym_ext.terrain.kinds import only

ROUND_TRIP = {
    "sim.dt": st.floats(1e-5, 0.02),
    "seed": st.integers(0, 2**31 - 1),
    "env.num_envs": st.one_of(st.just("auto"), st.integers(1, 10**6)),
    "run_name": st.from_regex(r"[A-Za-z0-9_][\w.-]{0,12}", fullmatch=True).filter(str.isascii),
    "distill.enabled": st.booleans(),
    "distill.loss": st.sampled_from(["l1", "l2", "huber"]),
    "teacher.hidden_dims": st.lists(st.integers(1, 4096), min_size=1, max_size=4),
    "terrain.gaps.width": st.lists(st.floats(0, 2), min_size=2, max_size=2),
    "rewards.weights.alive": st.floats(-100, 100),
    "rewards.weights.torques": st.floats(-1e-3, -1e-12),
    "robot.default_pose.knee": st.floats(-3, 3),
    "observations.others": st.lists(st.from_regex(r"[a-z0-9_]{1,8}", fullmatch=True), max_size=3),
}


def write(path: Path, text: str) -> str:
    path.write_text(text, "utf-8")
    return str(path)


def message_of(task: str, *overrides: str) -> str:
    with pytest.raises(UserError) as caught:
        load_config(task, overrides)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def as_text(value: Any) -> str:
    """Write a value as a user would on the command line."""
    return (
        value if isinstance(value, str) else yaml.safe_dump(value, default_flow_style=True, width=10**9).split("\n")[0]
    )


@pytest.mark.parametrize("task", task_names())
def test_every_task_loads_and_names_itself(task: str) -> None:
    config = load_config(task)
    assert config.task == task
    assert config.rewards.weights


def test_order_of_precedence_is_defaults_then_yaml_then_overrides(tmp_path: Path) -> None:
    path = write(
        tmp_path / "mine.yaml", "sim:\n  dt: 0.004\n  decimation: 5\nrewards:\n  weights: {alive: 1, flight: -2}\n"
    )
    config = load_config(path, ["sim.decimation=6", "rewards.weights.alive=3"])
    assert (config.sim.dt, config.sim.decimation, config.sim.mujoco.threads) == (0.004, 6, Config().sim.mujoco.threads)
    assert config.rewards.weights == {"alive": 3.0, "flight": -2.0}


def test_a_task_may_start_from_another(tmp_path: Path) -> None:
    write(tmp_path / "grandparent.yaml", "seed: 5\nsim: {dt: 0.001, mujoco: {threads: 7}}\n")
    write(tmp_path / "parent.yaml", "base: grandparent\nsim: {dt: 0.002}\n")
    config = load_config(write(tmp_path / "child.yaml", "base: parent\nsim: {decimation: 3}\n"))
    assert (config.seed, config.sim.dt, config.sim.mujoco.threads, config.sim.decimation) == (5, 0.002, 7, 3)
    depth, scandots = load_config("parkour_depth"), load_config("parkour_scandots")
    assert scandots.rewards == depth.rewards
    assert (depth.teacher.kind, scandots.teacher.kind) == ("depth", "scandots")


def test_a_circle_of_bases_is_an_error(tmp_path: Path) -> None:
    write(tmp_path / "b.yaml", "base: a\n")
    assert "circle" in message_of(write(tmp_path / "a.yaml", "base: b\n"))


def test_sections_with_all_keys_commented_out_are_empty(tmp_path: Path) -> None:
    assert load_config(write(tmp_path / "t.yaml", "sim:\n  # dt: 1\nrewards:\n  weights:\n")).sim == Config().sim


@settings(max_examples=8, deadline=None, derandomize=True)
@given(values=st.fixed_dictionaries({}, optional=ROUND_TRIP))
def test_overrides_arrive_and_survive_the_round_trip(values: dict[str, Any], tmp_path_factory: Any) -> None:
    config = load_config("parkour_depth", [f"{key}={as_text(value)}" for key, value in values.items()])
    for key, value in values.items():
        found: Any = config
        for name in key.split("."):
            found = found[name] if isinstance(found, dict) else getattr(found, name)
        assert found == value
    path = tmp_path_factory.mktemp("run") / "config.yaml"
    save_config(config, path)
    assert load_saved_config(path) == config


def test_saved_configuration_takes_overrides_and_is_read_strictly(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    save_config(load_config("parkour_depth", ["seed=3", "env.num_envs=8"]), path)
    config = load_saved_config(path, ["seed=4"])
    assert (config.seed, config.env.num_envs) == (4, 8)
    path.write_text(path.read_text("utf-8") + "colour: red\n", "utf-8")
    with pytest.raises(UserError, match="'colour'"):
        load_saved_config(path)


@pytest.mark.parametrize(
    ("key", "near", "listed"),
    [
        ("sim.dtt", "sim.dt", "decimation"),
        ("distil.start", "distill.start", "distill"),
        ("terain.gaps.widht", "terrain.gaps.width", "terrain"),
        ("terrain.gap.width", "terrain.gaps.width", "hurdles"),
        ("learning_rate", "ppo.learning_rate", "ppo"),
        ("agent.max_iterations", "runner.max_iterations", "runner"),
    ],
)
def test_unknown_keys_name_the_nearest_and_the_allowed(key: str, near: str, listed: str) -> None:
    message = message_of("parkour_depth", f"{key}=1")
    assert f"'{key}'" in message
    assert f"did you mean '{near}'?" in message
    assert listed in message.split("allowed")[1]


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("sim.dt=fast", "sim.dt: expected a number, got 'fast'"),
        ("sim.dt=true", "sim.dt: expected a number, got True"),
        ("sim.dt=", "sim.dt: expected a number, got None"),
        ("sim.mujoco.threads=1.5", "sim.mujoco.threads: expected a whole number, got 1.5"),
        ("distill.enabled=maybe", "distill.enabled: expected true or false, got 'maybe'"),
        ("terrain.gaps.width=3", "terrain.gaps.width: expected a list [..., ...], each a number, got 3"),
        ("terrain.gaps.width=[1,x]", "terrain.gaps.width: expected a list [..., ...], each a number, got [1, 'x']"),
        ("terrain.gaps.width=[1", "terrain.gaps.width: cannot read '[1'"),
        ("terrain.gaps=1", "terrain.gaps: expected a section with keys among: length, proportion, width"),
        ("rewards.weights=1", "rewards.weights: expected 'name: value' pairs, each value a number, got 1"),
        ("rewards.weights.alive=x", "rewards.weights.alive: expected a number, got 'x'"),
        ("sim.dt.x=1", "'sim.dt' has no keys of its own"),
        ("seed", "section.key=value"),
        ("=1", "section.key=value"),
    ],
)
def test_wrong_types_name_key_value_and_type(override: str, expected: str) -> None:
    assert expected in message_of("parkour_depth", override)


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("env.num_envs=0", "env.num_envs: expected a whole number >= 1, or auto, got 0"),
        ("env.num_envs=-3", "env.num_envs"),
        ("env.num_envs=many", "env.num_envs"),
        ("env.num_envs=true", "env.num_envs"),
        ("env.num_envs=2.5", "env.num_envs"),
        ("seed=-1", "seed: expected a number from 0 to 9223372036854775807, got -1"),
        ("sim.dt=0", "sim.dt: expected a number >= 1e-05, got 0"),
        ("sim.dt=.inf", "sim.dt: expected a finite number"),
        ("ppo.gamma=.nan", "ppo.gamma: expected a finite number"),
        ("ppo.gamma=1.1", "ppo.gamma: expected a number from 0 to 1, got 1.1"),
        ("teacher.hidden_dims=[8,0]", "teacher.hidden_dims[1]: expected a number >= 1, got 0"),
        ("terrain.gaps.width=[0.1,-0.5]", "terrain.gaps.width[1]: expected a number >= 0, got -0.5"),
        ("terrain.gaps.width=[1]", "terrain.gaps.width: expected two values, at difficulty 0 and at difficulty 1"),
        ("env.episode_length_s=1e30", "env.episode_length_s: expected a number from -1e+09 to 1e+09, got 1e+30"),
        ("sim.dt=1e-30", "sim.dt: expected a number >= 1e-05, got 1e-30"),
        ("terrain.length=1e6", "terrain.length: expected a number from 1 to 1000, got 1000000.0"),
        (
            "camera.resolution=[8,64]",
            "camera.resolution[0]: expected a number >= 9 with student.encoder.kind=light, got 8",
        ),
        ("teacher.activation=eluu", "did you mean 'elu'?"),
        ("teacher.hidden_dims=[]", "teacher.hidden_dims: expected one number at least, got []"),
        ("observations.others=[gait_phase,gait_phase]", "observations.others: expected each name once"),
        ("seed=99999999999999999999999", "seed: expected"),
        ("terrain.gaps.width=[.inf,1]", "terrain.gaps.width[0]: expected a finite number"),
        ("terrain.stairs.run=[0.5,0]", "terrain.stairs.run[1]: expected a number > 0, got 0"),
        ("terrain.length=0.5", "terrain.length: expected a number from 1 to 1000, got 0.5"),
        ("terrain.waypoints=2", "terrain.waypoints: expected a number >= 3, got 2"),
        ("terrain.stepping_stones.count=16", "terrain.stepping_stones.count: expected a number from 1 to 15, got 16"),
        ("terrain.ramps.tilt_degrees=[1,90]", "terrain.ramps.tilt_degrees[1]: expected a number from 0 to 60, got 90"),
        ("terrain.flat.proportion=-1", "terrain.flat.proportion: expected a number >= 0, got -1"),
        ("randomization.friction=[2,1]", "randomization.friction: expected [low, high] with low <= high"),
        (
            "sim.engine=mujocco",
            "unknown sim.engine 'mujocco' (did you mean 'mujoco'?); allowed: auto, isaacgym, mujoco, mujoco_warp",
        ),
        ("teacher.kind=dept", "did you mean 'depth'?"),
        ("student.init_from_teacher=all", "allowed: columns, none, spec"),
        ("distill.loss=l3", "allowed: huber, l1, l2"),
        ("runner.logger=wandbb", "did you mean 'wandb'?"),
        ("runner.precision=half", "allowed: auto, bfloat16, float32"),
        ("sim.device=gpu", "sim.device: expected auto, cpu or cuda:N, got 'gpu'"),
        ("run_name=a/b", "run_name"),
        ("experiment_name=../x", "experiment_name"),
        ("camera.near=5", "camera.far: expected more than camera.near = 5.0, got 3.0"),
        ("camera.position=[0,0]", "camera.position: expected three values, got [0.0, 0.0]"),
        ("height_scan.shape=[3]", "height_scan.shape: expected two values, got [3]"),
        (
            "camera.horizontal_fov_degrees=180",
            "camera.horizontal_fov_degrees: expected a number > 0 and < 180, got 180",
        ),
        ("curriculum.start_level=10", "curriculum.start_level"),
        ("camera.enabled=false", "teacher.kind"),
    ],
)
def test_values_that_are_not_allowed(override: str, expected: str) -> None:
    assert expected in message_of("parkour_depth", override)


def test_a_teacher_must_have_what_it_sees_by() -> None:
    with pytest.raises(UserError, match=r"height_scan.enabled: expected true with teacher.kind=scandots"):
        load_config("parkour_depth", ["teacher.kind=scandots", "height_scan.enabled=false"])
    with pytest.raises(UserError, match=r"distill.enabled: expected false with camera.enabled=false"):
        load_config("parkour_depth", ["teacher.kind=scandots", "camera.enabled=false"])


def test_one_kind_of_tile_at_least_must_be_left() -> None:
    with pytest.raises(UserError, match="terrain: expected a proportion > 0 for one kind at least"):
        load_config("parkour_depth", only([]))


def test_values_at_the_bounds_are_allowed() -> None:
    overrides = [
        "env.num_envs=1",
        "seed=0",
        "ppo.gamma=1",
        "randomization.friction=[1,1]",
        "distill.beta=0",
        "run_name=",
        "terrain.gaps.width=[0,0]",
        "terrain.waypoints=3",
        "terrain.stepping_stones.count=15",
    ]
    assert load_config("parkour_depth", overrides).env.num_envs == 1


def test_unknown_tasks_name_the_nearest_and_all() -> None:
    message = message_of("parkour_dept")
    assert "did you mean 'parkour_depth'?" in message
    assert all(name in message for name in task_names())
    assert "nowhere.yaml" in message_of("nowhere.yaml")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("sim:\n  dt: [1\n", ":3: YAML syntax error"),
        ("sim:\n  dt: 1\n\tthreads: 2\n", ":3: YAML syntax error"),
        ("seed: 1\nseed: 2\n", ":2: YAML syntax error: found duplicate key"),
        ("- a\n- b\n", "expected sections and keys"),
        ("sim: {dtt: 1}\n", "unknown configuration key 'sim.dtt' (did you mean 'sim.dt'?)"),
        ("sim: {dt: soon}\n", "sim.dt: expected a number, got 'soon'"),
        ("sim: 3\n", "sim: expected a section"),
        ("base: nothing\n", "unknown task 'nothing'"),
        ("seed: ${sim.nothing}\n", "sim.nothing"),
        ("seed: ???\n", "seed"),
    ],
)
def test_bad_yaml_names_the_file(text: str, expected: str, tmp_path: Path) -> None:
    path = write(tmp_path / "bad.yaml", text)
    message = message_of(path)
    assert expected in message
    if "unknown task" not in expected:
        assert "bad.yaml" in message


@pytest.mark.parametrize("text", ["seed: " + 20_000 * "[", "seed: " + 20_000 * "[" + 20_000 * "]"])
def test_a_yaml_nested_deeper_than_can_be_read_is_one_line(text: str, tmp_path: Path) -> None:
    (tmp_path / "deep.yaml").write_text(text)
    with pytest.raises(UserError, match="deep.yaml"):
        load_config(str(tmp_path / "deep.yaml"))
    with pytest.raises(UserError, match="^seed: ") as error:
        load_config("walk_flat", [text.replace(": ", "=")])
    assert len(str(error.value)) < 300


@pytest.mark.parametrize("key", ["run_name", "env.num_envs", "teacher.hidden_dims"])
def test_environment_variables_stay_out_of_the_configuration(
    key: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET", "7")
    value = "[8, '${oc.env:SECRET}']" if key == "teacher.hidden_dims" else "${oc.env:SECRET}"
    section, _, name = key.rpartition(".")
    (tmp_path / "mine.yaml").write_text(f"{section}:\n  {name}: {value}\n" if section else f"{name}: {value}")
    with pytest.raises(UserError, match=r"leave out '\$\{'"):
        load_config(str(tmp_path / "mine.yaml"))
    with pytest.raises(UserError, match=r"leave out '\$\{'"):
        load_config("walk_flat", [f"{key}={value}"])


def test_no_file_says_which_program_is_run(tmp_path: Path) -> None:
    config = load_config("parkour_depth", ["sim.isaacgym.python=/opt/python"])
    save_config(config, tmp_path / "config.yaml")
    again = load_saved_config(tmp_path / "config.yaml")
    assert "/opt/python" not in (tmp_path / "config.yaml").read_text()
    assert load_saved_config(tmp_path / "config.yaml", ["sim.isaacgym.python=/opt/python"]) == config != again
    (tmp_path / "mine.yaml").write_text("base: parkour_depth\nsim: {isaacgym: {python: /tmp/evil}}\n")
    with pytest.raises(UserError, match="sim.isaacgym.python: it names a program"):
        load_config(str(tmp_path / "mine.yaml"))


def test_a_binary_file_is_no_yaml(tmp_path: Path) -> None:
    path = tmp_path / "image.yaml"
    path.write_bytes(b"\x89PNG\r\n\x1a\n\xff\xfe\x00")
    assert "image.yaml" in message_of(str(path))


def test_registered_tasks_are_found_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("legged_gym_ext.tasks._registered", {})
    path = write(tmp_path / "settings.yaml", "seed: 9\n")

    def make_env(*_: Any) -> Any:
        return "environment"

    register("my_task", path, make_env=make_env)
    assert "my_task" in task_names()
    assert get_factories("my_task").make_env is make_env
    assert get_factories("parkour_depth").make_env is not make_env
    assert (load_config("my_task").seed, load_config("my_task").task) == (9, "my_task")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_at_any_moment_of_reading_ends_it_as_that_signal_does(number: signal.Signals) -> None:
    class Ended(BaseException):
        pass

    def end(*_: object) -> None:
        raise Ended

    def calls_of(reading: Callable[[], object], signal_at: int) -> int:
        """Return how many calls it takes, with a signal at one of them."""
        calls = 0

        def count(*_: object) -> None:
            nonlocal calls
            calls += 1
            if calls == signal_at:
                signal.raise_signal(number)

        sys.setprofile(count)
        try:
            reading()
        finally:
            sys.setprofile(None)
        return calls

    usual, dice = signal.signal(number, end), random.Random(number)
    try:
        load_config("parkour_depth")
        total = calls_of(lambda: load_config("parkour_depth"), 0)
        for _ in range(30):
            with pytest.raises(Ended):
                calls_of(lambda: load_config("parkour_depth"), dice.randint(1, total))
            assert signal.getsignal(number) is end
    finally:
        signal.signal(number, usual)

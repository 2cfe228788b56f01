"""The registry of engines: one from outside, plain arrays, is chosen, configured, used and closed like the others."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from registries import put_back
from test_extending import ArrayOptions, ArraySimulator
from torch import Tensor

from legged_gym_ext.config.cli import make_parser
from legged_gym_ext.config.files import load_config
from legged_gym_ext.config.rules import allowed
from legged_gym_ext.config.schema import Config, SimConfig
from legged_gym_ext.envs.parkour_env import ParkourEnv
from legged_gym_ext.errors import UserError
from legged_gym_ext.runs.settle import default_engine, settle
from legged_gym_ext.simulators import ENGINES, register
from legged_gym_ext.terrain.boxes import BOX_DIM, MAX_BOXES

CPU = torch.device("cpu")
N = 5
ARRAY = "test_extending:ArraySimulator"
SMALL = ["terrain.levels=3", "terrain.variants=2", "sim.device=cpu"]
WITH_ARRAY = ["sim.engine=array", "sim.array.substeps=3"]  # what the engine insists on


@pytest.fixture
def registered() -> Iterator[None]:
    """The package with that engine, whose configuration was imported before."""
    with put_back():
        register("array", ArrayOptions, ARRAY, ("cpu",))
        yield


def make_env(*overrides: str) -> ParkourEnv:
    return ParkourEnv(settle(load_config("walk_flat", [*SMALL, *overrides])), N, CPU)


@pytest.mark.usefixtures("registered")
def test_the_environment_acts_and_sees_through_an_engine_from_outside() -> None:
    env = make_env(*WITH_ARRAY, "randomization.action_latency=[0,0]")
    assert isinstance(env.simulator, ArraySimulator)
    target = torch.full((N, 10), 0.3)
    observation, reward, done, _ = env.step((target - env.default_joint_pos) / env.robot.action_scale)
    assert not done.any() and reward.isfinite().all()
    assert all(value.isfinite().all() for value in observation.values())
    torch.testing.assert_close(env.simulator.state.joint_pos, target)


@pytest.mark.usefixtures("registered")
def test_tiles_are_rows_of_the_library_and_the_engine_alone_keeps_them() -> None:
    env = make_env(*WITH_ARRAY, "randomization.full_at_level=0")
    kinds, levels = torch.zeros(N, dtype=torch.int64), torch.tensor([0, 1, 2, 1, 0])
    env.place(kinds, levels)
    tile = env.simulator.tile.clone()
    assert (tile // env.library.variants).tolist() == levels.tolist()
    assert torch.equal(env.boxes, env.library.boxes[tile])
    friction = env.simulator.parameters.friction.clone()
    assert friction.std() > 0
    snapshot = env.snapshot()
    env.place(kinds, torch.full((N,), 2))
    assert not torch.equal(env.simulator.tile, tile)
    assert not torch.equal(env.simulator.parameters.friction, friction)
    env.restore(snapshot)
    assert torch.equal(env.simulator.tile, tile)
    assert torch.equal(env.simulator.parameters.friction, friction)
    assert torch.equal(env.boxes, env.library.boxes[tile])


@pytest.mark.usefixtures("registered")
@pytest.mark.parametrize("engine", [*ENGINES, "array"])
def test_a_snapshot_has_each_tile_and_parameter_once_and_no_boxes(engine: str) -> None:
    env = make_env(*WITH_ARRAY, f"sim.engine={engine}")
    found: dict[str, list[Tensor]] = {}
    collect(env.snapshot(), found)
    for name in ("tile", *env.simulator.parameters.tensors()):
        assert len(found[name]) == 1, name
    assert found["tile"][0].shape == (N,) and found["tile"][0].dtype == torch.int64
    assert not any(tensor.shape[-2:] == (MAX_BOXES, BOX_DIM) for tensors in found.values() for tensor in tensors)
    assert "domain" not in found and "boxes" not in found
    kept = found["tile"][0]
    env.simulator.set_tiles(torch.ones(N, dtype=torch.bool), kept + 1)
    assert torch.equal(env.simulator.tile, kept + 1)  # the snapshot is a copy


def collect(values: dict[str, Any], found: dict[str, list[Tensor]]) -> None:
    """Collect the tensors in nested dictionaries by their names."""
    for name, value in values.items():
        if isinstance(value, Tensor):
            found.setdefault(name, []).append(value)
        elif hasattr(value, "items"):
            collect(value, found)


@pytest.mark.usefixtures("registered")
def test_closing_the_environment_closes_the_engine(capsys: pytest.CaptureFixture) -> None:
    env = make_env(*WITH_ARRAY)
    assert capsys.readouterr().out == ""
    env.close()
    assert capsys.readouterr().out == "the array engine is closed\n"


@pytest.mark.usefixtures("registered")
def test_the_command_line_and_its_errors_know_the_engine() -> None:
    assert allowed("sim.engine") == ("auto", "mujoco", "mujoco_warp", "isaacgym", "array")
    assert "{auto,mujoco,mujoco_warp,isaacgym,array}" in make_parser("").format_help()
    for override, message in (
        ("sim.engine=aray", r"did you mean 'array'\?\); allowed: array, auto, isaacgym, mujoco, mujoco_warp"),
        ("sim.array.substep=1", r"did you mean 'sim.array.substeps'\?\); allowed in sim.array: substeps"),
        ("sim.substeps=1", r"did you mean 'sim.array.substeps'\?\); allowed in sim: array, "),
        ("sim.array.substeps=few", "^sim.array.substeps: expected a whole number, got 'few'"),
    ):
        with pytest.raises(UserError, match=message):
            load_config("walk_flat", [override])


def test_auto_and_the_devices_follow_the_registry() -> None:
    with put_back():
        register("array", ArrayOptions, ARRAY, ("cuda",))
        assert (default_engine("cpu"), default_engine("cuda")) == ("mujoco", "mujoco_warp")
        with pytest.raises(UserError, match="^sim.device: the array engine runs on cuda, got 'cpu'; --sim=mujoco runs"):
            settle(load_config("walk_flat", ["sim.engine=array", "sim.device=cpu"]))
        del ENGINES["mujoco_warp"], ENGINES["isaacgym"]
        assert default_engine("cuda") == "array"


def test_an_engine_whose_module_is_not_there_is_one_clear_line() -> None:
    with put_back():
        register("nowhere", ArrayOptions, "no_such_engine:Simulator", ("cpu",))
        with pytest.raises(UserError, match="^sim.engine: nowhere needs the package 'no_such_engine', which is not"):
            make_env("sim.engine=nowhere")


@dataclass
class Demanding:
    substeps: int


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("auto", ArrayOptions, "no engine can have the name 'auto'"),
        ("mujoco", ArrayOptions, "SimConfig has a 'mujoco' already"),
        ("dt", ArrayOptions, "SimConfig has a 'dt' already"),
        ("options", ArrayOptions, "SimConfig has a 'options' already"),
        ("my engine", ArrayOptions, "'my engine' cannot be a key"),
        ("array", dict, "expected a dataclass, got <class 'dict'>"),
        ("array", Demanding, "its field 'substeps' has no default"),
    ],
)
def test_what_cannot_be_an_engine_is_refused_and_changes_nothing(name: str, options: type, message: str) -> None:
    engines, config = dict(ENGINES), Config()
    with pytest.raises(ValueError, match=message):
        register(name, options, ARRAY, ("cpu",))
    assert engines == ENGINES
    assert Config() == config and SimConfig(engine="mujoco").options == config.sim.mujoco


def test_reading_a_configuration_imports_neither_torch_nor_an_engine() -> None:
    program = (
        "import sys; from legged_gym_ext.config.files import load_config; load_config('parkour_depth'); "
        "print(sorted({'torch', 'mujoco', 'mujoco_warp', 'warp', 'numba'} & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"

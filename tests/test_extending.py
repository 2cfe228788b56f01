"""The recipes of CONTRIBUTING.md, followed from outside of the package.

Run as a program, this file does what a user's own training script does: it adds an obstacle, a reward, an engine, an
encoder and a learning phase, and then trains with the command line's arguments. The tests run it.
"""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from numpy.random import Generator
from torch import Tensor, nn

from legged_gym_ext import paths
from legged_gym_ext.commands import train
from legged_gym_ext.config.cli import main_guard
from legged_gym_ext.config.fields import at_difficulties, count, kind_name, not_negative
from legged_gym_ext.envs import rewards
from legged_gym_ext.envs.parkour_env import ParkourEnv
from legged_gym_ext.learning import phases
from legged_gym_ext.learning.lanes import Lane
from legged_gym_ext.learning.phases.base import Outcome, Phase
from legged_gym_ext.models import encoders
from legged_gym_ext.models.encoders.base import Encoder, EncoderStep
from legged_gym_ext.models.encoders.options import EncoderOptions
from legged_gym_ext.robot import Robot
from legged_gym_ext.runs.checkpoint import load_checkpoint
from legged_gym_ext.simulators import register as register_engine
from legged_gym_ext.simulators.base import DomainParameters, SimulatorState
from legged_gym_ext.terrain import kinds
from legged_gym_ext.terrain.boxes import MAX_BOXES
from legged_gym_ext.terrain.course import Tile, at, how_many, lateral, lay_out, make_tile, stands_on_ground, vary
from legged_gym_ext.terrain.library import TerrainLibrary
from legged_gym_ext.terrain.solids import across

# An obstacle ---------------------------------------------------------------------------------------------------------


@dataclass
class TrenchesConfig:
    """Trenches whose floor is not far below."""

    proportion: float = not_negative(1.0)
    width: list[float] = at_difficulties(0.02, 0.6)
    depth: list[float] = at_difficulties(0.1, 0.4)


def trenches(difficulty: float, rng: Generator, config: TrenchesConfig, terrain: Any) -> Tile:
    """Platforms with a floor between them."""
    width, depth = at(config.width, difficulty), at(config.depth, difficulty)
    widths = vary(rng, width, how_many(terrain, width, 1.2, (MAX_BOXES - 1) // 2))
    layout = lay_out(rng, terrain, widths, 1.2)
    boxes = [across(x0, x1, terrain) for x0, x1 in layout.ground]
    boxes += [across(x0, x1, terrain, top=-depth) for x0, x1 in layout.obstacles]
    return make_tile(boxes, stands_on_ground(layout, terrain, lateral(rng, terrain, len(layout.ground))), terrain)


# A reward ------------------------------------------------------------------------------------------------------------

reward_calls = 0


def low_base(env: ParkourEnv) -> Tensor:
    """How far the base is below its nominal height."""
    global reward_calls
    reward_calls += 1
    return (env.robot.base_height - env.derived.base_height).clamp(min=0)


# An engine -----------------------------------------------------------------------------------------------------------


@dataclass
class ArrayOptions:
    """Options of the engine below."""

    substeps: int = count(1)


class ArraySimulator:
    """An engine that is a few tensors: joints go to their targets at once, the base glides forward."""

    def __init__(self, robot: Robot, library: TerrainLibrary, config: Any, num_envs: int, device: torch.device) -> None:
        assert config.options.substeps == 3
        self.num_envs, self.device = num_envs, device
        self.state = SimulatorState.zeros(num_envs, len(robot.no_contact_bodies), device)
        self.tile = torch.zeros(num_envs, dtype=torch.int64, device=device)
        self.parameters = DomainParameters.nominal(num_envs, device)
        self._tiles, self._height = len(library.boxes), robot.base_height

    def step(self, joint_targets: Tensor) -> None:
        self.state.joint_pos.copy_(joint_targets)
        self.state.root_pos[:, 0] += 0.01
        self.state.root_lin_vel[:, 0] = 0.5

    def reset(self, mask: Tensor, *placement: Tensor) -> None:
        names = ("root_pos", "root_quat", "root_lin_vel", "root_ang_vel", "joint_pos", "joint_vel")
        for name, values in zip(names, placement, strict=True):
            getattr(self.state, name)[mask] = values[mask]

    def set_tiles(self, mask: Tensor, tile: Tensor) -> None:
        assert tile.min() >= 0 and tile.max() < self._tiles
        self.tile[mask] = tile[mask]

    def randomize(self, mask: Tensor, parameters: DomainParameters) -> None:
        for name, tensor in self.parameters.tensors().items():
            tensor[mask] = parameters.tensors()[name][mask]

    def push(self, mask: Tensor, velocity: Tensor) -> None:
        self.state.root_lin_vel[mask] += velocity[mask]

    def snapshot(self) -> dict[str, Tensor]:
        return {name: tensor.clone() for name, tensor in self._kept().items()}

    def restore(self, snapshot: dict[str, Tensor]) -> None:
        for name, tensor in self._kept().items():
            tensor.copy_(snapshot[name])

    def close(self) -> None:
        print("the array engine is closed")

    def _kept(self) -> dict[str, Tensor]:
        return {**self.state.tensors(), **self.parameters.tensors(), "tile": self.tile}


# An encoder ----------------------------------------------------------------------------------------------------------


@dataclass
class TwoLayersOptions(EncoderOptions):
    """Options of the encoder below."""

    kind: str = kind_name("two_layers")
    width: int = count(16)


class TwoLayers(Encoder):
    """One layer for the image, one for the latent, and no memory."""

    def __init__(self, num_proprio: int, image_shape: Any, latent_dim: int, options: TwoLayersOptions) -> None:
        super().__init__(num_proprio, image_shape, latent_dim, options)
        rows, columns = self.image_shape
        self.image = nn.Linear(rows * columns, options.width)
        self.latent = nn.Linear(options.width + num_proprio, latent_dim)

    def encode_image(self, images: Tensor) -> Tensor:
        return torch.relu(self.image(images.flatten(1).to(self.image.weight.dtype)))

    def forward_sequence(
        self, features: Tensor, proprioception: Tensor, memory: Tensor, dones: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        return torch.tanh(self.latent(torch.cat([features, proprioception], dim=-1))), memory

    def export(self) -> EncoderStep:
        raise NotImplementedError


# A learning phase ----------------------------------------------------------------------------------------------------


class Counting(Phase):
    """Counts its runs."""

    title = "counting"
    lane = "teacher"

    def __init__(self) -> None:
        self.runs = 0

    def due(self, iteration: int) -> bool:
        return iteration % 2 == 1

    def run(self, lane: Lane) -> Outcome:
        self.runs += 1
        return Outcome({"Count/runs": float(self.runs), "Count/reward_calls": float(reward_calls)}, {})

    def state_dict(self) -> dict[str, Any]:
        return {"runs": self.runs}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.runs = state["runs"]


def extend() -> None:
    """Add all of it: one line each."""
    kinds.register("trenches", TrenchesConfig, trenches)
    rewards.TERMS["low_base"] = low_base
    register_engine("array", ArrayOptions, ArraySimulator, devices=("cpu",))
    encoders.register("two_layers", TwoLayersOptions, TwoLayers)
    phases.register("counting", Counting)


# The tests -----------------------------------------------------------------------------------------------------------

SMALL = [
    "--num_envs=4",
    "--logger=none",
    "--run_name=outside",
    "terrain.levels=2",
    "terrain.variants=1",
    "teacher.hidden_dims=[16]",
    "teacher.critic_hidden_dims=[16]",
    "guide.enabled=false",
    "distill.start=1",
    "distill.interval=1",
    "distill.steps_per_env=6",
]


def run(folder: Path, *arguments: str) -> str:
    """Run this file as a program whose runs go to ``folder``; return what it printed."""
    command = [sys.executable, __file__, str(folder), *SMALL, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=paths.ROOT)
    assert done.returncode == 0, done.stderr
    return done.stdout


def newest(folder: Path, iteration: int) -> dict[str, Any]:
    return load_checkpoint(max(folder.glob(f"*/*/model_{iteration}.pt")))


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A training of 2 iterations with all of the extensions but the engine."""
    folder = tmp_path_factory.mktemp("logs")
    only = [f"terrain.{kind}.proportion=0" for kind in kinds.KINDS]
    out = run(
        folder,
        *("--max_iterations=2", *only, "terrain.trenches.width=[0.05,0.3]", "terrain.trenches.depth=[0.2,0.3]"),
        *("rewards.weights.low_base=-1", "student.encoder.kind=two_layers", "student.encoder.width=24"),
    )
    return folder, out


def test_an_obstacle_is_one_function_with_its_section_and_one_line(trained: tuple[Path, str]) -> None:
    terrain = newest(trained[0], 2)["config"]["terrain"]
    assert terrain["trenches"] == {"proportion": 1.0, "width": [0.05, 0.3], "depth": [0.2, 0.3]}
    assert all(terrain[kind]["proportion"] == 0 for kind in kinds.KINDS)  # so the robots were on trenches


def test_a_reward_is_one_function_and_one_line(trained: tuple[Path, str]) -> None:
    assert newest(trained[0], 2)["config"]["rewards"]["weights"]["low_base"] == -1.0
    calls = trained[1].partition("reward calls ")[2].split()[0]
    assert float(calls) == 2 * 24 + 6  # of every step of both lanes


def test_an_encoder_is_one_class_and_one_line(trained: tuple[Path, str]) -> None:
    student = newest(trained[0], 2)["phases"]["distillation"]["student"]
    assert student["encoder.image.weight"].shape == (24, 4096)
    assert student["encoder.latent.weight"].shape == (32, 24 + 43)


def test_a_phase_is_one_class_and_one_line(trained: tuple[Path, str]) -> None:
    folder, out = trained
    assert "\n  counting        runs 1   reward calls" in out and "runs 2" not in out
    assert newest(folder, 2)["phases"]["counting"] == {"runs": 1}
    again = run(folder, "--resume", "--max_iterations=2")
    assert "runs 2" in again and newest(folder, 4)["phases"]["counting"] == {"runs": 2}


def test_an_engine_is_one_class_and_one_line(tmp_path: Path) -> None:
    out = run(tmp_path, "--max_iterations=1", "--sim=array", "sim.array.substeps=3")
    assert "engine     array on cpu, 4 environments" in out and out.endswith("the array engine is closed\n")
    lane = newest(tmp_path, 1)["ranks"][0]["lanes"]["teacher"]
    assert lane["simulator"]["tile"].shape == (4,) and lane["simulator"]["root_pos"][:, 0].max() > 0.1


if __name__ == "__main__":
    paths.LOGS = Path(sys.argv.pop(1))
    extend()
    main_guard(train.main)

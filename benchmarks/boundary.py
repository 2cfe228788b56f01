"""What it costs that Isaac Gym runs in another process: a step of its double, which has no physics to do."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

import torch

from benchmarks.case import Case
from benchmarks.stopwatch import median_seconds
from legged_gym_ext.config.schema import RobotConfig, SimConfig, TerrainConfig
from legged_gym_ext.paths import ROOT
from legged_gym_ext.robot import load_robot
from legged_gym_ext.simulators import make_simulator
from legged_gym_ext.simulators.isaacgym.engine import IsaacGymSimulator
from legged_gym_ext.simulators.isaacgym.process import PATH, PYTHON
from legged_gym_ext.terrain.library import build_library

LIMIT, LIMIT_ENVS = 0.5, 4096
"""ms that crossing the boundary may take in a control step, and of how many environments."""
_EVERY_STEP = ("target", "root_state", "joint_state", "force", "torque")
"""Arrays of the shared memory that go over with each step, one way or the other."""


def run(case: Case) -> dict[str, float]:
    """Print and return milliseconds of a control step: of the boundary, of the same bytes' copies, of the engine.

    The boundary is everything between the message to the worker and its answer: both ways, and the worker's copies to
    and from Isaac Gym's tensors. The double itself does nothing. The engine does all the rest besides: order of joints,
    quaternions, tiles, feet.
    """
    double = {PATH: str(ROOT / "tests" / "doubles"), "ISAACGYM_DOUBLE_PHYSICS": "0"}
    os.environ.update(double, **{PYTHON: os.environ.get(PYTHON) or sys.executable})
    robot, device = load_robot(RobotConfig()), case.torch_device
    library = build_library(TerrainConfig(levels=1, variants=1), device)
    simulator = make_simulator(SimConfig(engine="isaacgym"), robot, library, case.num_envs, device)
    assert isinstance(simulator, IsaacGymSimulator)
    pose = torch.tensor(robot.default_joint_pos, dtype=torch.float32, device=device).repeat(case.num_envs, 1)
    few = torch.rand(case.num_envs, device=device) < 0.01
    still = torch.zeros(case.num_envs, 3, device=device)
    state = simulator.state
    simulator.step(pose)

    shared = [torch.from_numpy(simulator.worker.arrays[name]) for name in _EVERY_STEP]
    private = [torch.empty_like(tensor) for tensor in shared]

    def copy() -> None:
        for own, other in zip(private, shared, strict=True):
            own.copy_(other)

    def step_with_resets() -> None:
        root = state.root_pos, state.root_quat, still, still
        simulator.reset(few, *root, pose, 0 * pose)
        simulator.step(pose)

    functions: dict[str, Callable[[], object]] = {
        "boundary": lambda: simulator.worker.step(0, 0, 0),
        "copies in one process": copy,
        "engine": lambda: simulator.step(pose),
        "engine, 1% of resets": step_with_resets,
    }
    seconds = median_seconds(functions, torch.device("cpu"), 3 if case.quick else 15)
    figures = {f"{name}, ms": 1e3 * value for name, value in seconds.items()}
    size = sum(tensor.nbytes for tensor in shared)
    versions = simulator.worker.versions
    print(
        f"boundary to Isaac Gym's process (double without physics, Python {versions['python']}, torch "
        f"{versions['torch']}), {case.num_envs} environments, {size / 1e3:,.0f} KB a step:"
    )
    for name, value in figures.items():
        print(f"  {name:<28} {value:7.3f}   ({value / figures['copies in one process, ms']:.1f}x the copies)")
    if case.num_envs <= LIMIT_ENVS:
        verdict = "kept" if figures["boundary, ms"] <= LIMIT else "missed"
        print(f"  the boundary's limit of {LIMIT} ms for {LIMIT_ENVS} environments is {verdict}")
    simulator.close()
    return figures

"""On a GPU everything is what it is on the CPU. With the device ``cpu`` the tests check themselves."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from dummy_runner import distillation
from small_env import small_config
from test_end_to_end import TINY
from torch import Tensor

from legged_gym_ext.config.files import load_config
from legged_gym_ext.config.schema import RobotConfig, SimConfig, TerrainConfig
from legged_gym_ext.device.cuda_graph import WARM_UP
from legged_gym_ext.envs.parkour_env import ParkourEnv
from legged_gym_ext.learning.runner import ParkourRunner
from legged_gym_ext.robot import NUM_JOINTS, Robot, load_robot
from legged_gym_ext.rotations import matrix_from_quat, quat_from_euler
from legged_gym_ext.runs.settle import seed_everything, settle
from legged_gym_ext.sensors.height_scan import ground_height
from legged_gym_ext.sensors.kernels import cpu_numba, gpu_warp
from legged_gym_ext.simulators import make_simulator
from legged_gym_ext.simulators.base import DomainParameters, Simulator
from legged_gym_ext.terrain.library import build_library

N = 64
CPU = torch.device("cpu")
CUDA = torch.device("cuda:0")
DEVICES = [CPU, pytest.param(CUDA, marks=pytest.mark.gpu)]


def random_tiles() -> Tensor:
    """Rows of the default library, (N,)."""
    return torch.randint(len(build_library(TerrainConfig()).boxes), (N,))


def engine_on(engine: str, robot: Robot, device: torch.device) -> Simulator:
    return make_simulator(SimConfig(engine=engine), robot, build_library(TerrainConfig(), device), N, device)


def random_parameters(generator: torch.Generator) -> DomainParameters:
    parameters = DomainParameters.nominal(N, CPU)
    for tensor in parameters.tensors().values():
        tensor += 0.1 * (2 * torch.rand(tensor.shape, generator=generator) - 1)
    return parameters


def walk(simulator: Simulator, robot: Robot, tiles: Tensor, steps: int) -> list[dict[str, Tensor]]:
    """Move robots at random on random tiles, the same on every device; a third of them is reset halfway."""
    device, generator = simulator.device, torch.Generator().manual_seed(0)
    pose = torch.tensor(robot.default_joint_pos, dtype=torch.float32).repeat(N, 1)
    position = torch.rand(N, 3, generator=generator) * torch.tensor([10.0, 1.0, 0.0])
    ground = ground_height(build_library(TerrainConfig()).boxes[tiles], position[:, None, :2])[:, 0].clamp(min=-1.0)
    position[:, 2] = ground + robot.base_height + 0.05
    quat = quat_from_euler(*(0.05 * torch.randn(3, N, generator=generator)))
    every, still = torch.ones(N, dtype=torch.bool), torch.zeros(N, 3)
    start = (position, quat, still, still, pose, torch.zeros_like(pose))
    simulator.set_tiles(every.to(device), tiles.to(device))
    parameters = random_parameters(generator).tensors()
    simulator.randomize(
        every.to(device), DomainParameters(**{name: tensor.to(device) for name, tensor in parameters.items()})
    )
    simulator.reset(every.to(device), *(tensor.to(device) for tensor in start))
    states = []
    for step in range(steps):
        if step == steps // 2:
            simulator.reset((torch.arange(N) % 3 == 0).to(device), *(tensor.to(device) for tensor in start))
        simulator.step((pose + 0.3 * torch.randn(N, NUM_JOINTS, generator=generator)).to(device))
        states.append({name: tensor.cpu().clone() for name, tensor in simulator.state.tensors().items()})
    return states


@pytest.mark.parametrize("device", DEVICES, ids=str)
def test_physics_agree_with_the_cpu_engine(device: torch.device) -> None:
    """In all but a few worlds, where the order of a sum decides which foot touches first."""
    robot, tiles = load_robot(RobotConfig()), random_tiles()
    expected, found = (
        walk(engine_on(engine, robot, where), robot, tiles, 12)
        for engine, where in (("mujoco", CPU), ("mujoco_warp", device))
    )
    tolerance = {"root_pos": 5e-4, "root_quat": 5e-4, "joint_pos": 2e-3, "foot_pos": 2e-3, "root_lin_vel": 1e-2}
    for name, atol in tolerance.items():
        for step, (first, second) in enumerate(zip(expected, found, strict=True)):
            close = ((first[name] - second[name]).abs() < atol).flatten(1).all(dim=1)
            assert close.float().mean() > 0.95, f"{name}, step {step}"
    assert not any(state[name].any() for state in found for name in ("diverged", "overflow"))


@pytest.mark.parametrize("device", DEVICES, ids=str)
def test_sensors_agree_with_the_cpu_kernels(device: torch.device) -> None:
    boxes, mask = build_library(TerrainConfig()).boxes[random_tiles()], torch.arange(N) % 4 != 0
    position = torch.rand(N, 3) * torch.tensor([10.0, 1.0, 0.5]) + torch.tensor([0.0, -0.5, 1.0])
    rotation = matrix_from_quat(torch.nn.functional.normalize(torch.randn(N, 4), dim=1))
    points, seeds = torch.rand(N, 50, 2) * torch.tensor([12.0, 4.0]), torch.arange(N, dtype=torch.int32) * 991
    results = []
    for kernels, where in ((cpu_numba, CPU), (gpu_warp, device)):
        here = [tensor.to(where) for tensor in (boxes, position, rotation, mask, points, seeds)]
        image, heights = torch.full((N, 24 * 32), 7.0, device=where), torch.zeros(N, 50, device=where)
        depth = image.clone()
        kernels.render_depth(*here[:3], (24, 32), 20.0, 0.1, 3.0, here[3], depth)
        kernels.deliver_depth(here[5], 0.005, 0.01, 0.1, 3.0, here[3], depth.clone(), image)
        kernels.heights(here[0], here[4], -9.0, heights)
        results.append([tensor.cpu() for tensor in (depth, image, heights)])
    for first, second in zip(*results, strict=True):
        assert ((first - second).abs() < 1e-4).float().mean() > 0.999  # but for pixels on edges
    assert (results[1][0][~mask] == 7.0).all()
    assert ((results[0][0] > 0.1) & (results[0][0] < 3.0))[mask].float().mean() > 0.2


@pytest.mark.gpu
def test_a_step_does_not_wait_for_the_gpu() -> None:
    config = small_config()
    config.sim.engine = "mujoco_warp"
    env = ParkourEnv(config, N, CUDA)
    actions = 0.3 * torch.randn(2 * WARM_UP + 20, N, NUM_JOINTS, device=CUDA)
    for action in actions[: 2 * WARM_UP]:
        env.step(action)
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        for action in actions[2 * WARM_UP :]:
            env.step(action)
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.gpu
def test_the_replayed_step_is_the_step() -> None:
    """In all but a few environments: sums on a GPU are not in the same order twice."""
    config = small_config()
    config.sim.engine = "mujoco_warp"
    plain, graphed = ParkourEnv(config, N, CUDA), ParkourEnv(config, N, CUDA)
    plain._before_physics, plain._after_physics = plain._joint_targets, plain._after
    same = []
    for action in 0.3 * torch.randn(WARM_UP + 8, N, NUM_JOINTS, device=CUDA):
        first, second = plain.step(action), graphed.step(action)
        for name in first[0].keys():  # noqa: SIM118  # of a TensorDict
            same.append(((first[0][name] - second[0][name]).abs() < 0.05).float().mean())
        same.append(((first[1] - second[1]).abs() < 0.05).float().mean())
    assert torch.stack(same).min() > 0.9


@pytest.mark.parametrize("device", DEVICES, ids=str)
def test_training_learns_saves_and_goes_on(device: torch.device, tmp_path: Path) -> None:
    config = settle(load_config("parkour_depth", [*TINY, "sim.engine=mujoco_warp", f"sim.device={device}"]))
    seed_everything(config.seed)
    runner = ParkourRunner(ParkourEnv(config, 8, device), config, tmp_path, str(device))
    before = [parameter.clone() for parameter in runner.alg.actor.parameters()]
    runner.learn(3)
    assert distillation(runner).rounds == 1
    hidden = distillation(runner).student.encoder.memory
    assert hidden is not None and hidden.dtype == torch.float32  # autocast's float16 loses small gradients
    resumed = ParkourRunner(ParkourEnv(config, 8, device), config, None, str(device))
    resumed.load(str(tmp_path / "model_3.pt"))
    resumed.learn(1)
    for network in (resumed.alg.actor, distillation(resumed).student):
        assert all(torch.isfinite(parameter).all() for parameter in network.parameters())
        assert all(parameter.device == device for parameter in network.parameters())
    assert any((a != b).any() for a, b in zip(before, resumed.alg.actor.parameters(), strict=True))


@pytest.mark.gpu
def test_environments_on_the_cpu_train_networks_on_the_gpu() -> None:
    config = settle(
        load_config("parkour_depth", [*TINY, "sim.engine=mujoco", "sim.device=cpu", "runner.device=cuda:0"])
    )
    assert config.ppo.symmetry
    runner = ParkourRunner(ParkourEnv(config, 8, CPU), config, None, str(CUDA))
    runner.learn(3)
    assert distillation(runner).rounds == 1

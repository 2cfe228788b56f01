"""The environment's step must be the same as a replayed graph, whose Python ran only once."""

from __future__ import annotations

import pytest
import torch
from graph_replay import FakeGraph, make_opaque, use_fake_graphs
from small_env import CPU, random_actions, small_config

from legged_gym_ext.config.schema import Config
from legged_gym_ext.device.cuda_graph import WARM_UP, GraphedCall
from legged_gym_ext.envs.parkour_env import ParkourEnv
from legged_gym_ext.sensors import raster
from legged_gym_ext.sensors.kernels import cpu_numba, gpu_warp
from legged_gym_ext.simulators import ENGINES


def test_a_graphed_call_gives_what_the_function_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    use_fake_graphs(monkeypatch)
    generator, total = torch.Generator().manual_seed(0), torch.zeros(3)
    calls = 0

    def function(x: torch.Tensor) -> dict[str, torch.Tensor]:
        nonlocal calls
        calls += 1
        total.add_(x)
        return {"total": total * 2, "noise": torch.rand(3, generator=generator)}

    graphed, results = GraphedCall(function, generator), []
    for step in range(WARM_UP + 4):
        with torch.inference_mode(step == WARM_UP):  # what is captured in one mode is replayed in the other
            results.append(graphed(torch.full((3,), float(step))))
    assert calls == WARM_UP + 1
    reference = torch.Generator().manual_seed(0)
    for step, result in enumerate(results):  # each in tensors of its own: later calls have not changed them
        assert torch.equal(result["total"], torch.full((3,), float(step * (step + 1))))
        assert torch.equal(result["noise"], torch.rand(3, generator=reference))


# Of the simulator, what does not work through torch: all of it on the CPU engine, kernel launches on Warp's; of
# Isaac Gym nothing, which only notes what its next step is to do.
OPAQUE = {"mujoco": ["set_tiles", "randomize", "reset", "push"], "mujoco_warp": ["_launch"], "isaacgym": []}


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("camera", [True, False])
def test_a_replayed_step_is_the_step(monkeypatch: pytest.MonkeyPatch, camera: bool, engine: str) -> None:
    make_opaque(monkeypatch, cpu_numba, "heights", "render_depth", "deliver_depth")
    if engine == "mujoco_warp":  # all of the kernels that a GPU would run
        monkeypatch.setattr(raster, "_kernels", lambda device: gpu_warp)
        make_opaque(monkeypatch, gpu_warp, "_launch")
    use_fake_graphs(monkeypatch)
    config = parkour_config(camera)
    config.sim.engine = engine
    plain, graphed = (ParkourEnv(config, 6, CPU) for _ in range(2))
    for env in (plain, graphed):  # no two tiles are equally high at the start, so that it shows which one is looked at
        env.library.boxes[..., 2] += 0.03 * torch.rand(len(env.library.boxes), 1, generator=seeded())
        env.reset()
    for env in (plain, graphed):  # what is left out where no episode ends, on a CPU, is done on a GPU
        monkeypatch.setattr(env, "_surely_none", lambda mask: False)
    graphed._before_physics = GraphedCall(graphed._joint_targets, graphed.generator)
    graphed._after_physics = GraphedCall(graphed._after, graphed.generator)
    make_opaque(monkeypatch, graphed.simulator, *OPAQUE[engine])
    actions = random_actions(70)
    ended, snapshot, kept = 0, {}, []
    for step, action in enumerate(actions):
        first, second = plain.step(action), graphed.step(action)
        assert_same(first, second)
        ended += int(first[2].sum())
        kept.append((first, second))
        if step == 30:
            plain.snapshot()  # after one, Isaac Gym goes on from what it says
            snapshot = graphed.snapshot()
    for first, second in kept:  # no later step has written into what an earlier one returned
        assert_same(first, second)
    assert ended > 12, "the test needs episodes that end after the capture"
    assert FakeGraph.count == 2 * (len(actions) - WARM_UP)
    # A reset or a lane that is put back between two replays is what the next one goes on from.
    for env in (plain, graphed):
        env.restore(snapshot)
    assert_same(plain.step(actions[0]), graphed.step(actions[0]))
    for env in (plain, graphed):
        env.reset()
    for action in actions[:5]:
        assert_same(plain.step(action), graphed.step(action))


def seeded() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def parkour_config(camera: bool) -> Config:
    config = small_config()
    config.randomization.push_interval = 0.2
    config.randomization.camera_latency = [0, 7]
    config.camera.enabled = camera
    config.env.episode_length_s = 0.4
    return config


def assert_same(first: tuple, second: tuple) -> None:
    for name, value in first[0].items():
        assert torch.equal(value, second[0][name]), name
    assert torch.equal(first[1], second[1]) and torch.equal(first[2], second[2])
    for name, value in first[3].items():
        pairs = value.items() if isinstance(value, dict) else [(name, value)]
        others = second[3][name] if isinstance(value, dict) else second[3]
        for key, tensor in pairs:
            assert torch.equal(tensor, others[key]), key

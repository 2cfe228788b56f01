"""Playing a policy: levels, conditions, and what it remembers."""

from __future__ import annotations

import pytest
import torch
from small_env import CPU, TINY

from legged_gym_ext.config.files import load_config
from legged_gym_ext.envs.parkour_env import ParkourEnv
from legged_gym_ext.evaluation import rollout
from legged_gym_ext.runs.settle import settle
from legged_gym_ext.simulators.base import DomainParameters
from legged_gym_ext.terrain.kinds import only


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

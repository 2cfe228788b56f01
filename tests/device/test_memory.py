"""Too many environments for the memory are one clear line."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from legged_gym_ext.config.schema import RobotConfig, SimConfig, TerrainConfig
from legged_gym_ext.device import memory
from legged_gym_ext.errors import UserError
from legged_gym_ext.robot import load_robot
from legged_gym_ext.simulators import ENGINES, make_simulator
from legged_gym_ext.terrain.library import build_library

CPU = torch.device("cpu")


def test_too_many_environments_for_the_memory_are_one_clear_line(monkeypatch: pytest.MonkeyPatch) -> None:
    robot = load_robot(RobotConfig())
    for engine in ENGINES:
        with pytest.raises(UserError, match=r"env.num_envs: physics of 1000000000 environments needs .* GB, .* fit$"):
            make_simulator(SimConfig(engine=engine), robot, build_library(TerrainConfig()), 10**9, CPU)
    monkeypatch.setattr(memory, "available", lambda device: 1_234_567)
    with pytest.raises(UserError, match="'?cpu'? has 0.0 GB free; about 12 fit"):
        memory.require("physics", 100_000, 13, CPU)
    memory.require("physics", 100_000, 12, CPU)
    monkeypatch.setattr(memory, "available", lambda device: None)
    memory.require("physics", 100_000, 10**9, CPU)


def test_a_container_has_no_more_memory_than_its_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "_CONTAINER", tmp_path)
    machine = memory.available(CPU)  # no such files: no container
    assert machine is not None and machine > 10_000
    (tmp_path / "memory.current").write_text("3000\n")
    (tmp_path / "memory.stat").write_text("active_file 7\ninactive_file 500\nslab 9\n")
    for limit, room in (("8000", 5500), ("1000", 0)):
        (tmp_path / "memory.max").write_text(f"{limit}\n")
        assert memory.available(CPU) == room
    for limit in ("max", str(10**15)):
        (tmp_path / "memory.max").write_text(f"{limit}\n")
        available = memory.available(CPU)
        assert available is not None and available > 0.5 * machine


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB."),
        RuntimeError("Failed to allocate 123456 bytes on device 'cuda:0'"),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 4 bytes"),
    ],
)
def test_a_failed_allocation_is_one_clear_line(error: Exception) -> None:
    with pytest.raises(UserError, match="env.num_envs: out of memory with 77 environments"), memory.guard(77):
        raise error


def test_layers_that_do_not_fit_are_told_by_their_own_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "available", lambda device: 16 * (100 * 50 + 50 * 20))
    memory.require_layers("teacher.hidden_dims", [100, 50, 20], CPU)
    with pytest.raises(UserError, match=r"^teacher.hidden_dims: layers of 100, 50, 21 need"):
        memory.require_layers("teacher.hidden_dims", [100, 50, 21], CPU)
    with pytest.raises(UserError, match="smaller layers"), memory.guard_networks(77):
        raise MemoryError


def test_other_errors_stay_what_they_are() -> None:
    with pytest.raises(RuntimeError, match="shapes"), memory.guard(77):
        raise RuntimeError("shapes do not match")

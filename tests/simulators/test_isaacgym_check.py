"""``--check``: engines that are right agree, and each wrong convention is told by the finding that is to tell it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from legged_gym_ext.config.schema import RobotConfig, SimConfig, TerrainConfig
from legged_gym_ext.errors import UserError
from legged_gym_ext.robot import Robot, load_robot
from legged_gym_ext.rotations import quat_rotate_inverse
from legged_gym_ext.simulators import make_simulator
from legged_gym_ext.simulators.base import DomainParameters, Simulator, SimulatorState
from legged_gym_ext.simulators.isaacgym import __main__ as program
from legged_gym_ext.simulators.isaacgym import check
from legged_gym_ext.terrain.library import TerrainLibrary, build_library

CPU = torch.device("cpu")
SIM = SimConfig(engine="mujoco")


@pytest.fixture(scope="module")
def robot() -> Robot:
    return load_robot(RobotConfig())


@pytest.fixture(scope="module")
def library() -> TerrainLibrary:
    return build_library(TerrainConfig(levels=3, variants=1), CPU)


class Wrong:
    """MuJoCo with a mistake: what goes in and what comes out are changed on the way."""

    def __init__(
        self,
        simulator: Simulator,
        targets: Callable[[Tensor], Tensor] = lambda targets: targets,
        state: Callable[[SimulatorState], None] = lambda state: None,
        friction: float = 1.0,
        load: float = 1.0,
    ) -> None:
        self.simulator, self.targets, self.spoil = simulator, targets, state
        self.friction, self.load = friction, load
        self.state = SimulatorState.zeros(simulator.num_envs, simulator.state.body_force.shape[1], CPU)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.simulator, name)

    def _copy(self) -> None:
        for name, tensor in self.simulator.state.tensors().items():
            self.state.tensors()[name].copy_(tensor)
        self.spoil(self.state)

    def step(self, joint_targets: Tensor) -> None:
        self.simulator.step(self.targets(joint_targets))
        self._copy()

    def reset(self, *args: Tensor, **named: Tensor) -> None:
        self.simulator.reset(*args, **named)
        self._copy()

    def randomize(self, mask: Tensor, parameters: DomainParameters) -> None:
        changed = DomainParameters(**{name: tensor.clone() for name, tensor in parameters.tensors().items()})
        changed.friction.mul_(self.friction)
        changed.added_mass.mul_(self.load)
        self.simulator.randomize(mask, changed)


def findings(robot: Robot, library: TerrainLibrary, **mistake: Any) -> list[check.Finding]:
    count, period = check.environments(library), SIM.dt * SIM.decimation

    def bench(wrong: bool) -> check.Bench:
        simulator: Any = make_simulator(SIM, robot, library, count, CPU)
        return check.Bench(Wrong(simulator, **mistake) if wrong else simulator, robot, library, period)

    return check.compare(bench(True), bench(False))


def disagreeing(found: list[check.Finding]) -> set[str]:
    return {finding.what for finding in found if not finding.agrees}


def swapped(targets: Tensor) -> Tensor:
    """The left hip's yaw for its roll."""
    return targets[:, [1, 0, *range(2, 10)]]


def body_frame(state: SimulatorState) -> None:
    state.root_ang_vel.copy_(quat_rotate_inverse(state.root_quat, state.root_ang_vel))


def of_another_point(state: SimulatorState) -> None:
    offset = torch.tensor([0.0, 0.0, 0.2]).expand_as(state.root_ang_vel)
    state.root_lin_vel.add_(torch.linalg.cross(state.root_ang_vel, offset))


def xyzw(state: SimulatorState) -> None:
    state.root_quat.copy_(state.root_quat.clone()[:, [1, 2, 3, 0]])


def test_mujoco_agrees_with_itself_and_with_mechanics(robot: Robot, library: TerrainLibrary) -> None:
    found = findings(robot, library)
    assert disagreeing(found) == set(), check.table(found)
    assert check.verdict(found) == f"all {len(found) - 1} agree"  # the time is not compared


@pytest.mark.parametrize(
    ("mistake", "told_by"),
    [
        ({"targets": swapped}, "left_hip_yaw_joint: moves by"),
        ({"targets": lambda targets: -targets}, "right_knee_joint: moves by"),
        ({"state": body_frame}, "angular velocity against turn"),
        ({"state": of_another_point}, "root velocity against motion"),
        ({"state": xyzw}, "left_knee_joint: difference of how the base turns"),
        ({"state": lambda state: state.root_pos[:, 2].add_(0.05)}, "height of standing, gaps"),
        ({"state": lambda state: state.foot_force.mul_(0.5)}, "foot force = weight"),
        ({"state": lambda state: state.root_pos.mul_(torch.nan)}, "free fall"),
        ({"friction": 2.0}, "friction of 0.2 by sliding"),
        ({"state": lambda state: state.joint_torque.zero_()}, "motor torques against their law"),
        ({"load": 0.0}, "foot force with 5 kg more = weight"),
        ({"state": lambda state: state.foot_vel.neg_()}, "foot velocity against motion"),
    ],
)
def test_a_mistake_is_told(robot: Robot, library: TerrainLibrary, mistake: dict[str, Any], told_by: str) -> None:
    found = findings(robot, library, **mistake)
    assert told_by in disagreeing(found)
    assert told_by in check.verdict(found)


SMALL = ["terrain.levels=2", "terrain.variants=1"]


@pytest.mark.slow
def test_the_double_agrees_and_the_report_says_what_ran(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    program.main(["--check", f"--output={tmp_path}", *SMALL])
    printed = capsys.readouterr().out
    assert "agree" in printed and " NO" not in printed
    report = (tmp_path / "report.md").read_text("utf-8")
    assert "isaacgym 1.0" in report and "numpy" in report and "height of standing, gaps" in report
    assert (tmp_path / "report.html").is_file()


@pytest.mark.slow
def test_a_disagreement_is_exit_code_1(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The physics switched off: nothing falls."""
    monkeypatch.setenv("ISAACGYM_DOUBLE_PHYSICS", "0")
    with pytest.raises(SystemExit) as caught:
        program.main(["--check", f"--output={tmp_path}", *SMALL])
    assert caught.value.code == 1
    assert "do not agree" in (tmp_path / "report.md").read_text("utf-8")


def test_without_the_flag_nothing_is_done() -> None:
    with pytest.raises(UserError, match="--check"):
        program.main([])


def test_a_report_that_cannot_be_written_is_told_before_anything_is_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(program, "run", lambda *_: pytest.fail("measured"))
    file = tmp_path / "file"
    file.touch()
    for output, why in ((file, "File exists"), (file / "below", "Not a directory")):
        with pytest.raises(UserError, match=f"^--output: cannot write '{output}': {why}$"):
            program.main(["--check", f"--output={output}"])


def test_another_engine_is_refused() -> None:
    with pytest.raises(UserError, match="isaacgym, got 'mujoco'"):
        program.main(["--check", "--sim=mujoco"])

"""The export command: a whole folder of a run's student, and its mistakes."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from untrained_run import untrained_run

from legged_gym_ext import paths
from legged_gym_ext.commands import export
from legged_gym_ext.deploy import exporting, folder, runtime
from legged_gym_ext.deploy.golden import Seen
from legged_gym_ext.errors import UserError

FEW = "--num_envs=2"


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return untrained_run(
        tmp_path_factory.mktemp("logs"), "camera.resolution=[20,16]", "observations.noise.gravity=0.07"
    )


@pytest.fixture(scope="module")
def exported(run_folder: Path) -> Path:
    (run_folder / "MODEL_CARD.md").write_text("what it can do")
    export.main([f"--load_run={run_folder}", FEW])
    (run_folder / "MODEL_CARD.md").unlink()
    return run_folder / "exported" / "model_3"


def test_a_run_is_exported_into_its_folder_and_the_runtime_takes_it(exported: Path, capsys) -> None:
    assert runtime.check(exported, seconds=0.05) == []
    assert (exported / "MODEL_CARD.md").read_text() == "what it can do"
    assert list(exported.parent.iterdir()) == [exported]


def test_the_specification_is_of_the_training_not_of_the_rollout(exported: Path) -> None:
    content = yaml.safe_load((exported / "policy.yaml").read_text("utf-8"))
    noise = {row["name"]: row["noise"] for row in content["observations"]}
    assert (noise["projected_gravity"], noise["joint_vel"]) == (0.07, 1.0)
    assert content["camera"]["depth_noise"] == 0.005 and content["control"]["action_latency"] == [0, 1]
    assert content["commands"]["ranges"][0] == [0.9, 1.4]
    low, high = content["commands"]["seen"][0]
    assert 0.9 <= low < high <= 1.4
    trained = content["trained"]
    assert (trained["task"], trained["checkpoint"], trained["iterations"]) == ("parkour_depth", "model_3", 3)
    assert (trained["engine"], trained["seed"], trained["environment_steps"]) == ("mujoco", 1, 0)
    assert trained["run"] == exported.parent.parent.name and "torch" in trained["versions"]


def test_golden_steps_stay_within_the_limits_whatever_else_was_seen(run_folder, tmp_path, monkeypatch, capsys) -> None:
    pose = np.array([0.0, 0.0, -0.25, 0.55, -0.3] * 2)
    stood_still = Seen(2, 0, pose, pose, np.zeros(10), [(0.0, 0.0)] * 4)
    monkeypatch.setattr(exporting, "watch", lambda *_: stood_still)
    export.main([f"--load_run={run_folder}", FEW, f"--out={tmp_path / 'out'}"])
    content = yaml.safe_load((tmp_path / "out" / "policy.yaml").read_text("utf-8"))
    low, high = np.array(content["safety"]["target_range"]).T
    with np.load(tmp_path / "out" / "golden.npz") as golden:
        assert golden["reset"].sum() >= 3 and len(golden["reset"]) == 200
        targets, reset, period = golden["joint_targets"], golden["reset"], content["control"]["period"]
        assert (low <= targets).all() and (targets <= high).all()
        before = np.where(reset[:, None], golden["joint_pos"], np.roll(targets, 1, axis=0))
        assert (np.abs(targets - before) <= np.array(content["safety"]["target_rate"]) * period).all()

    out = capsys.readouterr().out
    assert f"folder     {tmp_path / 'out'}" in out and "0 reached the end" in out and "mean little" in out
    assert folder.is_exported(tmp_path / "out")


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ("--checkpoint=0", "no student is trained after 0 iterations"),
        ("--checkpoint=2", "no checkpoint 2"),
        ("--pretrained", "--pretrained and --load_run"),
        ("robot.armature=0.2", "robot.armature: an export is of what was trained"),
        ("--seed=3", "seed: an export is of what was trained"),
        ("sim.dt=0.001", "sim.dt: an export is of what was trained"),
        ("--output=there", "did you mean '--out'?"),
        ("--out=setup.py", "--out setup.py: it is no folder"),
        ("--out=setup.py/out", f"'{paths.ROOT / 'setup.py'}' is no folder"),
        ("--out=", "--out .: there is something in it"),
        ("--out=configs", "--out configs: there is something in it that is no exported policy"),
        ("--sim=mujco", "did you mean 'mujoco'?"),
    ],
)
def test_mistakes_are_one_clear_line(run_folder: Path, flags: str, expected: str, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(paths.ROOT)
    with pytest.raises(UserError) as caught:
        export.main([f"--load_run={run_folder}", FEW, f"--out={tmp_path / 'out'}", *flags.split()])
    assert expected in str(caught.value) and "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("change", "expected"),
    [("distill.enabled=false", "the run has no student"), ("camera.enabled=false", "the run has no depth camera")],
)
def test_a_run_without_a_student_is_told(change: str, expected: str, run_folder: Path, tmp_path: Path) -> None:
    config = (run_folder / "config.yaml").read_text("utf-8")
    section, key = change.partition("=")[0].split(".")
    content = yaml.safe_load(config)
    content[section][key] = False
    if section == "camera":
        content["distill"]["enabled"], content["teacher"]["kind"] = False, "scandots"
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(content), "utf-8")
    (tmp_path / "model_3.pt").write_bytes((run_folder / "model_3.pt").read_bytes())
    with pytest.raises(UserError, match=expected):
        export.main([f"--load_run={tmp_path}", FEW])


def test_from_a_shell_a_mistake_is_exit_code_2(tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.setattr(sys, "argv", ["export.py", f"--load_run={tmp_path}"])
    with pytest.raises(SystemExit) as caught:
        runpy.run_path(str(paths.ROOT / "export.py"), run_name="__main__")
    assert caught.value.code == 2
    err = capsys.readouterr().err
    assert err.startswith("error: ") and err.count("\n") == 1


def test_an_interrupted_export_leaves_nothing(run_folder: Path, tmp_path: Path, monkeypatch) -> None:
    def interrupted(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(folder, "to_torchscript", interrupted)
    with pytest.raises(KeyboardInterrupt):
        export.main([f"--load_run={run_folder}", FEW, f"--out={tmp_path / 'deep' / 'out'}"])
    assert not list(tmp_path.iterdir())


def test_the_pretrained_policys_folder_is_not_in_the_package(monkeypatch, tmp_path: Path) -> None:
    asked: list[Path] = []
    monkeypatch.setattr(paths, "LOGS", tmp_path)
    monkeypatch.setattr(exporting, "export", lambda *_: None)
    monkeypatch.setattr(folder, "write", lambda _, path: asked.append(path))
    with pytest.raises(AttributeError):  # of the export that is not there
        export.main(["--pretrained"])
    assert asked == [tmp_path / "parkour_depth" / "exported" / "model_6233"]

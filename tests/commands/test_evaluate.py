"""The evaluate command: the same report each time, going on after an interruption, and its mistakes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from torchrun import finish, torchrun
from untrained_run import untrained_run

from legged_gym_ext.commands import evaluate
from legged_gym_ext.errors import UserError
from legged_gym_ext.evaluation import session

SMALL = "--terrain=gaps,flat --level=5,2 --episodes=2"


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return untrained_run(tmp_path_factory.mktemp("logs"))


@pytest.fixture
def run(original: Path, tmp_path: Path) -> Path:
    """Return a run's folder of this test's own."""
    return Path(shutil.copytree(original, tmp_path / original.name))


def evaluated(run: Path, flags: str = SMALL) -> Path:
    before = set(run.glob("evaluation/*"))
    evaluate.main([f"--load_run={run}", *flags.split()])
    (folder,) = set(run.glob("evaluation/*")) - before
    return folder


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_two_evaluations_are_the_same_byte_for_byte(run: Path) -> None:
    folder = evaluated(run)
    assert folder.name == "3_both_mujoco_terrain-flat-gaps_level-2-5_episodes-2"
    first = files(folder)
    assert {"report.json", "report.csv", "report.html", "report.md", "evaluation.json"} <= set(first)
    assert any(name.endswith(".png") for name in first)
    evaluate.main([f"--load_run={run}", *SMALL.split()])
    assert files(folder) == first
    shutil.rmtree(folder)
    assert files(evaluated(run)) == first


def test_one_that_was_interrupted_goes_on_to_the_same_report(run: Path, monkeypatch, capsys) -> None:
    whole = evaluated(run)
    expected = files(whole)
    shutil.rmtree(whole)
    real, done = session.run_unit, []

    def interrupted(*arguments):
        if len(done) == 3:
            raise KeyboardInterrupt
        done.append(arguments)
        return real(*arguments)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(session, "run_unit", interrupted)
        evaluated(run)
    assert "3 of 16 parts are finished and kept; --resume goes on from there" in capsys.readouterr().out
    kept = {path.name for path in whole.glob("episodes/*.csv")}
    assert len(kept) == 3 and not (whole / "report.html").exists()

    again = []

    def counted(*arguments):
        again.append(arguments)
        return real(*arguments)

    monkeypatch.setattr(session, "run_unit", counted)
    evaluate.main([f"--load_run={run}", *SMALL.split(), "--resume"])
    out = capsys.readouterr().out
    units = len(list(whole.glob("episodes/*.csv")))
    assert f"finished   3 of {units} parts" in out and len(again) == units - 3
    assert files(whole) == expected


def test_the_report_is_of_the_episodes_that_it_names(run: Path) -> None:
    report = json.loads((evaluated(run) / "report.json").read_text())
    cells = [cell for cell in report["cells"] if cell["sight"] == "true" and cell["kind"] != "all"]
    found = {(c["setting"], c["policy"], c["kind"], c["level"]) for c in cells if c["level"] is not None}
    assert found == {
        (setting, policy, kind, level)
        for setting in ("nominal", "randomized")
        for policy in ("student", "teacher")
        for kind in ("flat", "gaps")
        for level in (2, 5)
    }
    assert all(cell["episodes"] == 2 for cell in cells if cell["level"] is not None)
    assert all(cell["success"] == 0.0 for cell in cells)  # who has learned nothing falls


def test_a_run_without_a_student_is_its_teacher(run: Path) -> None:
    folder = evaluated(run, f"{SMALL} --checkpoint=0")
    assert folder.name.startswith("0_teacher_mujoco")
    with pytest.raises(UserError, match="this run has no trained student after 0 iterations"):
        evaluate.main([f"--load_run={run}", *SMALL.split(), "--checkpoint=0", "--policy=student"])


def test_robustness_and_depth_use(run: Path) -> None:
    small = "--terrain=flat --level=3 --episodes=2 --policy=teacher"
    folder = evaluated(run, f"{small} --robustness=push,dropout --setting=randomized")
    units = {path.stem for path in folder.glob("episodes/*.csv")}
    assert {"push=0.3_teacher_true_level3", "dropout=0.3_teacher_true_level3"} <= units
    assert "randomized_teacher_true_level3" in units and "nominal_teacher_true_level3" in units
    only = evaluated(run, f"{small} --depth_use")
    assert {path.stem for path in only.glob("episodes/*.csv")} == {
        f"nominal_teacher_{sight}_level3" for sight in ("true", "blank", "ground", "frozen", "other")
    }


def test_several_runs_are_compared(run: Path, tmp_path: Path, capsys) -> None:
    other = shutil.copytree(run, tmp_path / "other" / "another_run")
    evaluate.main(["--load_run", str(run), str(other), *SMALL.split(), "--policy=teacher"])
    out = capsys.readouterr().out
    report = Path(next(line for line in out.splitlines() if line.startswith("comparison")).split(maxsplit=1)[1])
    assert "another_run" in report.read_text() and run.name in report.read_text()
    both = f"--output={tmp_path / 'both'}"
    evaluate.main(["--load_run", str(run), str(other), *SMALL.split(), "--policy=teacher", both])
    folders = {path.parent for path in (tmp_path / "both").rglob("report.html")}
    assert folders == {tmp_path / "both", tmp_path / "both" / run.name, tmp_path / "both" / "another_run"}
    with pytest.raises(UserError, match="a run is named twice"):
        evaluate.main(["--load_run", str(run), str(run), *SMALL.split()])


def test_output_says_where(run: Path, tmp_path: Path) -> None:
    evaluate.main([f"--load_run={run}", *SMALL.split(), f"--output={tmp_path / 'there'}"])
    assert (tmp_path / "there" / "report.html").is_file() and not (run / "evaluation").exists()


@pytest.mark.parametrize(
    ("flags", "line"),
    [
        ("--policy=studnet", "unknown policy 'studnet' (did you mean 'student'?); allowed: both, student, teacher"),
        ("--terrain=gap", "unknown terrain 'gap' (did you mean 'gaps'?)"),
        ("--terrain=gaps,", "unknown terrain ''"),
        ("--level=10", "--level 10: not a level of the benchmark; allowed: 0 to 9"),
        ("--level=1,-1", "--level -1: not a level of the benchmark; allowed: 0 to 9"),
        ("--setting=nominl", "unknown setting 'nominl' (did you mean 'nominal'?)"),
        ("--robustness=frict", "unknown robustness 'frict' (did you mean 'friction'?)"),
        ("--sim=mujocco", "sim.engine"),
        ("--episodes=0", "--episodes 0; allowed: more than 0, at most 1000"),
        ("--episodes=1001", "--episodes 1001; allowed: more than 0, at most 1000"),
        ("--speed=-1", "--speed -1.0; allowed: more than 0, at most 10"),
        ("--speed=inf", "--speed inf; allowed: more than 0, at most 10"),
        ("--speed=nan", "--speed nan; allowed: more than 0, at most 10"),
        ("terminations.stuck_time=0", "terminations.stuck_time: the benchmark decides it, the same for all runs"),
        ("--num_envs=3", "env.num_envs: the benchmark decides it, the same for all runs; --episodes chooses how many"),
        ("--commands.forward_speed [1,2]", "--speed changes it"),
        ("--depth_use --robustness", "--depth_use is this part alone"),
        ("--checkpoint=2", "no checkpoint 2"),
        ("--quik", "unknown flag '--quik' (did you mean '--quick'?)"),
        ("camera.resolution=[32,32]", "configuration: camera.resolution=[64, 64] there and [32, 32] here"),
        ("observations.others=[]", "configuration: observations.others=['gait_phase'] there and [] here"),
        ("teacher.hidden_dims=[8]", "configuration: teacher.hidden_dims=[16] there and [8] here"),
        ("robot.urdf=no.urdf", "robot.urdf: no such file"),
    ],
)
def test_mistakes_are_one_line_and_leave_nothing(run: Path, flags: str, line: str) -> None:
    with pytest.raises(UserError) as caught:
        evaluate.main([f"--load_run={run}", *SMALL.split(), *flags.split()])
    assert line in str(caught.value)
    assert not (run / "evaluation").exists()


def test_results_of_another_checkpoint_are_not_mixed_in(run: Path) -> None:
    folder = evaluated(run)
    before = files(folder)
    (run / "model_3.pt").write_bytes((run / "model_3.pt").read_bytes() + b"x")
    with pytest.raises(UserError, match="holds an evaluation with another checkpoint"):
        evaluate.main([f"--load_run={run}", *SMALL.split(), "--resume"])
    with pytest.raises(UserError, match="another configuration: camera.latency: 0, not 1; remove it"):
        (run / "model_3.pt").write_bytes((run / "model_3.pt").read_bytes()[:-1])
        evaluate.main([f"--load_run={run}", *SMALL.split(), "camera.latency=1"])
    assert files(folder) == before


@pytest.mark.slow
def test_two_processes_give_the_report_of_one(run: Path, tmp_path: Path) -> None:
    one = files(evaluated(run))
    there = tmp_path / "there"
    code, _, err = finish(torchrun("evaluate.py", f"--load_run={run}", *SMALL.split(), f"--output={there}"), 300)
    assert code == 0, err
    assert files(there) == one

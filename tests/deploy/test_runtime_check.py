"""The runtime's view of a folder: what is refused, what --check says, and that the file stands alone."""

from __future__ import annotations

import ast
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import small_folder
import yaml

from legged_gym_ext import paths
from legged_gym_ext.deploy import runtime
from legged_gym_ext.deploy.runtime import FolderError, InputError, Policy, check, main

GRAPHS = ("policy.onnx", "depth_encoder.onnx", "student_actor.onnx")


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("deploy") / "folder"
    small_folder.write_small_folder(path)
    return path


@pytest.fixture
def folder(original: Path, tmp_path: Path) -> Path:
    """A copy to spoil."""
    return Path(shutil.copytree(original, tmp_path / "folder"))


def specification(folder: Path) -> dict[str, Any]:
    return yaml.safe_load((folder / "policy.yaml").read_text())


def rewrite(folder: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    """Change policy.yaml; checksums are those of the files as they are now."""
    content = specification(folder)
    change(content)
    small_folder.write_specification(folder, content)


def rewrite_golden(folder: Path, **arrays: Any) -> None:
    """Change golden.npz, with the right checksum; None removes an array."""
    with np.load(folder / "golden.npz") as file:
        golden = {name: file[name] for name in file.files}
    golden.update(arrays)
    kept = {name: array for name, array in golden.items() if array is not None}
    np.savez(folder / "golden.npz", **kept)
    rewrite(folder, lambda content: None)


def refusal(folder: Path) -> str:
    with pytest.raises(FolderError) as caught:
        Policy(folder)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# ---------------------------------------------------------------------------------------------------- what is refused


def test_limits_may_be_infinite(folder: Path):
    rewrite(folder, put([float("inf")] * 10, "robot", "joint_vel_limits"))
    rewrite(folder, put([float("inf")] * 10, "robot", "torque_limits"))
    assert check(folder, seconds=0.0) == []


def test_a_folder_that_is_whole_has_no_problems(original: Path, capsys: pytest.CaptureFixture[str]):
    assert check(original, seconds=0.0) == []
    output = capsys.readouterr().out
    for words in (*GRAPHS, "Policy.act", "left_knee_joint", "base_lin_vel", "p99", "worst", "MiB", "as in policy.yaml"):
        assert words in output


@pytest.mark.parametrize(("memory", "gait"), [(False, True), (True, False), (False, False)])
def test_policies_of_all_kinds_pass(tmp_path: Path, memory: bool, gait: bool):
    small_folder.write_small_folder(tmp_path / "folder", seed=3, memory=memory, gait=gait)
    assert check(tmp_path / "folder", seconds=0.0) == []


@pytest.mark.parametrize("name", [*GRAPHS, "golden.npz", "robot.urdf", "policy_runtime.py"])
def test_a_changed_byte_is_found(folder: Path, name: str):
    content = bytearray((folder / name).read_bytes())
    content[len(content) // 2] ^= 1
    (folder / name).write_bytes(content)
    message = f"{folder / name} is changed: its checksum is not that in policy.yaml"
    assert refusal(folder) == message
    assert check(folder, seconds=0.0)[0] == message
    if name == "robot.urdf":  # what the policy does not read
        Policy(folder, verify=False)


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace("150.0", "250.0", 1),  # a gain
        lambda text: text.replace("robot.urdf: ", "robot.urd: "),  # a file's name
        lambda text: text[: text.index("sha256: ")],
        lambda text: text.replace("columns: 16", "columns: 1.0e+30"),  # of which NumPy makes no image
        lambda text: text[:-2] + "\n",
        lambda text: text + "notes: mine\n",
    ],
)
def test_a_changed_specification_is_found(folder: Path, change: Callable[[str], str]):
    path = folder / "policy.yaml"
    before = path.read_text()
    path.write_text(change(before))
    assert path.read_text() != before
    message = f"{path} is changed, or of an older export: its last line is not its checksum"
    assert refusal(folder) == message
    assert check(folder, seconds=0.0)[0] == message


@pytest.mark.parametrize("name", [*GRAPHS, "golden.npz", "robot.urdf"])
def test_a_missing_file_is_named(folder: Path, name: str):
    (folder / name).unlink()
    assert refusal(folder) == f"{folder / name} is missing"
    assert check(folder, seconds=0.0) == [f"{folder / name} is missing"]
    if name in ("depth_encoder.onnx", "student_actor.onnx"):
        with pytest.raises(FolderError, match="is missing"):
            Policy(folder, verify=False)
    else:
        Policy(folder, verify=False)


def test_a_file_that_is_too_large_is_not_read(folder: Path):
    os.truncate(folder / "robot.urdf", (1 << 30) + 1)  # takes no room
    assert refusal(folder) == f"{folder / 'robot.urdf'} is larger than 1073741824 bytes"
    os.truncate(folder / "policy.yaml", (1 << 20) + 1)
    assert "policy.yaml is larger than 1048576 bytes" in refusal(folder)


@pytest.mark.parametrize("name", ["../secret", "/etc/passwd", "a/../../b"])
def test_files_outside_of_the_folder_are_not_read(folder: Path, name: str):
    content = specification(folder)
    del content["sha256"]
    content["files"][name] = "0"
    small_folder.seal(folder, yaml.safe_dump(content))
    assert refusal(folder) == f"policy.yaml: files: '{name}' is not in the folder"


def test_files_that_cannot_be_read_are_named(folder: Path):
    """A test may run as somebody who may read everything; nobody may read what has too long a name."""
    content, long = specification(folder), "x" * 300
    del content["sha256"]
    content["files"][long] = "0"
    small_folder.seal(folder, yaml.safe_dump(content))
    assert refusal(folder) == f"{folder / long}: File name too long"
    assert refusal(folder / long) == f"{folder / long / 'policy.yaml'}: File name too long"


def test_files_that_are_not_listed_cannot_be_verified(folder: Path):
    content = specification(folder)
    del content["sha256"]
    del content["files"]["student_actor.onnx"]
    small_folder.seal(folder, yaml.safe_dump(content))
    assert refusal(folder) == "policy.yaml: files: no 'student_actor.onnx'"


def put(value: Any, *keys: Any) -> Callable[[dict[str, Any]], None]:
    def change(content: dict[str, Any]) -> None:
        for key in keys[:-1]:
            content = content[key]
        content[keys[-1]] = value

    return change


def drop(*keys: Any) -> Callable[[dict[str, Any]], None]:
    def change(content: dict[str, Any]) -> None:
        for key in keys[:-1]:
            content = content[key]
        del content[keys[-1]]

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (put(2, "version"), "version 2; this runtime.py runs version 1"),
        (put("1", "version"), "version '1'; this runtime.py runs version 1"),
        (put("mjlab.policy", "format"), "expected format 'legged_gym_ext.policy', got 'mjlab.policy'"),
        (drop("format"), "expected format 'legged_gym_ext.policy', got None"),
        (drop("robot", "joint_names"), "policy.yaml: robot.joint_names is missing"),
        (drop("safety"), "policy.yaml: safety.target_range is missing"),
        (put(None, "camera"), "policy.yaml: camera.rows is missing"),
        (put([1.0] * 9, "robot", "joint_damping"), "policy.yaml: robot.joint_damping: expected 10 numbers"),
        (put([[0, 1]] * 9, "safety", "target_range"), "policy.yaml: safety.target_range: expected 10 x 2 numbers"),
        (put([float("nan")] * 10, "safety", "target_rate"), "policy.yaml: safety.target_rate: expected 10 numbers"),
        (put([float("nan")] * 10, "robot", "joint_vel_limits"), "robot.joint_vel_limits: expected 10 numbers"),
        (put("fast", "control", "period"), "policy.yaml: control.period: expected a number, got 'fast'"),
        (put(10**400, "control", "period"), "policy.yaml: control.period: expected a number, got 1000"),
        (put([10**400] * 10, "robot", "joint_damping"), "policy.yaml: robot.joint_damping: expected 10 numbers"),
        (put(0.0, "gait", "period"), "policy.yaml: gait.period: expected a number > 0, got 0.0"),
        (put(["a", "a"], "robot", "joint_names"), "policy.yaml: robot.joint_names: expected a list of different names"),
        (put("joint_poss", "observations", 4, "name"), "policy.yaml: observations: no 'joint_pos'"),
        (put("gait_phasse", "observations", 7, "name"), "'gait_phasse' is unknown (nearest: 'gait_phase')"),
        (put(9, "observations", 4, "size"), "policy.yaml: observations: 'joint_pos' has size 9, expected 10"),
        (put("all", "observations"), "policy.yaml: observations: expected a list of rows with names"),
        (put([1, 1, 17], "memory", "shape"), "student_actor.onnx: input 'h_in' is tensor(float) [1, 1, 16]; by policy"),
        (put(None, "memory"), "student_actor.onnx: policy.yaml has no input 'h_in'"),
        (put(13, "camera", "rows"), "depth_encoder.onnx: input 'depth' is tensor(float) [1, 12, 16]; by policy.yaml"),
        (drop("observations", 7), "student_actor.onnx: policy.yaml has no input 'gait_phase'"),
    ],
)
def test_a_specification_that_does_not_fit_is_refused(
    folder: Path, change: Callable[[dict[str, Any]], Any], message: str
):
    rewrite(folder, change)
    assert message in refusal(folder)
    assert any(message in problem for problem in check(folder, seconds=0.0))


@pytest.mark.parametrize("text", ["a: [1, 2", "- 1\n- 2\n", "", "\x00", "a: 2026-13-01", "[" * 9999])
def test_what_is_no_specification_is_refused(folder: Path, text: str):
    (folder / "policy.yaml").write_text(text)
    assert str(folder / "policy.yaml") in refusal(folder)


def test_a_specification_cannot_run_anything(folder: Path):
    (folder / "policy.yaml").write_text(f"!!python/object/apply:os.mkdir ['{folder / 'made'}']")
    assert str(folder / "policy.yaml") in refusal(folder)
    assert not (folder / "made").exists()


def test_what_is_no_text_is_refused(folder: Path):
    (folder / "policy.yaml").write_bytes(b"\xff\xfe\xfa")
    assert str(folder / "policy.yaml") in refusal(folder)


def test_a_graph_with_other_names_is_refused(folder: Path):
    path = folder / "student_actor.onnx"
    model = onnx.load(path)
    for node in model.graph.node:
        for i, name in enumerate(node.output):
            node.output[i] = "joint_target" if name == "joint_targets" else name
    next(item for item in model.graph.output if item.name == "joint_targets").name = "joint_target"
    onnx.save(model, path)
    rewrite(folder, lambda content: None)
    assert refusal(folder) == "student_actor.onnx: it has no output 'joint_targets' (nearest: 'joint_target')"


def test_what_is_no_graph_is_refused(folder: Path):
    (folder / "depth_encoder.onnx").write_bytes(b"nothing")
    rewrite(folder, lambda content: None)
    assert refusal(folder).startswith("depth_encoder.onnx: onnxruntime ")


# --------------------------------------------------------------------------------------------------------- golden steps


@pytest.mark.parametrize("name", ["joint_targets", "next_actions", "h_out"])
def test_wrong_golden_outputs_are_found(folder: Path, name: str):
    values = np.load(folder / "golden.npz")[name]
    values.reshape(len(values), -1)[17, 3] += 3e-4
    rewrite_golden(folder, **{name: values})
    problems = check(folder, seconds=0.0)
    whos = ("policy.onnx", "depth_encoder.onnx + student_actor.onnx", "Policy.act")
    assert [problem.split(":")[0] for problem in problems] == list(whos)
    assert all(f"{name} is off by 0.0003 on golden steps (allowed: 0.0001)" in problem for problem in problems)


def test_golden_steps_that_are_not_numbers_are_found(folder: Path):
    values = np.load(folder / "golden.npz")["joint_targets"]
    values[5, 5] = np.nan
    rewrite_golden(folder, joint_targets=values)
    assert len(check(folder, seconds=0.0)) == 3


def test_a_policy_that_makes_other_observations_is_found(folder: Path):
    """The graphs are right; what the runtime feeds them is not what was recorded."""
    rewrite(folder, put(0.81, "gait", "period"))
    problems = check(folder, seconds=0.0)
    assert problems and all(problem.startswith("Policy.act: ") for problem in problems)
    assert any("observations" in problem for problem in problems)


def test_one_graph_that_differs_from_the_others_is_found(folder: Path):
    path = folder / "policy.onnx"
    model = onnx.load(path)
    for tensor in model.graph.initializer:
        if tensor.name == "action_offset":
            offset = onnx.numpy_helper.to_array(tensor) + np.float32(0.001)
            tensor.CopyFrom(onnx.numpy_helper.from_array(offset, tensor.name))
    onnx.save(model, path)
    rewrite(folder, lambda content: None)
    assert [problem.split(":")[0] for problem in check(folder, seconds=0.0)] == ["policy.onnx"]


def test_limits_that_golden_steps_touch_are_found(folder: Path):
    low, high = specification(folder)["safety"]["target_range"][3]
    rewrite(folder, put([low + 0.1, high], "safety", "target_range", 3))
    problems = check(folder, seconds=0.0)
    assert len(problems) == 1
    assert problems[0].startswith("Policy.act: targets were limited in ")
    assert problems[0].endswith("safety in policy.yaml is too narrow")


def test_an_episodes_first_targets_may_be_slowed(folder: Path, capsys: pytest.CaptureFixture[str]):
    """They move from where the joints are. Once they have arrived, no limit may touch them, nor may that take long."""
    golden = np.load(folder / "golden.npz")
    moves = np.abs(np.diff(golden["joint_targets"], axis=0))[~golden["reset"][1:]]
    rate = 1.1 * moves.max(axis=0) / small_folder.PERIOD
    first = np.abs(golden["joint_targets"] - golden["joint_pos"])[golden["reset"]]
    assert (first > rate * small_folder.PERIOD).any()
    rewrite(folder, put(rate.tolist(), "safety", "target_rate"))
    assert check(folder, seconds=0.0) == []
    assert "in 0 of" not in capsys.readouterr().out
    for slower in (0.8 * rate, 0.2 * rate):
        rewrite(folder, put(slower.tolist(), "safety", "target_rate"))
        assert any("targets were limited in" in problem for problem in check(folder, seconds=0.0))


def test_a_golden_step_that_is_damped_is_found(folder: Path):
    golden = dict(np.load(folder / "golden.npz"))
    golden["projected_gravity"][20] *= 9.81
    rewrite_golden(folder, projected_gravity=golden["projected_gravity"])
    assert any(
        problem.startswith("Policy.act: DAMPING at golden step 20: projected_gravity has length 9.81")
        for problem in check(folder, seconds=0.0)
    )


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"h_out": None}, "golden.npz: no array 'h_out'"),
        ({"depth": None}, "golden.npz: no array 'depth'"),
        ({"reset": None}, "golden.npz: no array 'reset'"),
        ({"joint_vel": np.zeros((60, 9), np.float32)}, "golden.npz: 'joint_vel' is (60, 9), expected (60, 10)"),
        ({"depth": np.ones((13, 16, 12), np.float32)}, "golden.npz: 'depth' is (13, 16, 12), expected (13, 12, 16)"),
        ({"frame": np.full(60, 99)}, "golden.npz: expected an episode that begins with the first step"),
        ({"reset": np.zeros(60, bool)}, "golden.npz: expected an episode that begins with the first step"),
        ({"commands": np.array([None])}, "golden.npz: Object arrays cannot be loaded"),
    ],
)
def test_golden_steps_of_another_form_are_found(folder: Path, arrays: dict[str, Any], message: str):
    rewrite_golden(folder, **arrays)
    problems = check(folder, seconds=0.0)
    assert len(problems) == 1
    assert problems[0].startswith(message)


# ----------------------------------------------------------------------------------------------------- the command line


def test_main_says_what_it_can_do(original: Path, capsys: pytest.CaptureFixture[str]):
    assert main([]) == 0
    assert "--check" in capsys.readouterr().out
    assert main(["--help"]) == 0
    assert main([str(original)]) == 2
    for arguments in (["--chek"], ["--check", "a", "b"]):
        assert main(arguments) == 2
        captured = capsys.readouterr()
        assert captured.err.startswith("error: ") and captured.err.count("\n") == 1


def test_main_gives_a_line_for_each_problem(folder: Path, capsys: pytest.CaptureFixture[str]):
    (folder / "policy.onnx").unlink()
    (folder / "robot.urdf").write_text("changed")
    assert main(["--check", str(folder)]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert sorted(lines) == [
        f"problem: {folder / 'policy.onnx'} is missing",
        f"problem: {folder / 'robot.urdf'} is changed: its checksum is not that in policy.yaml",
    ]


def test_the_file_in_the_folder_stands_alone(folder: Path):
    """Run as a robot runs it: elsewhere, without our package, on the folder that it lies in."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    command = [sys.executable, "-P", str(folder / "policy_runtime.py"), "--check"]
    result = subprocess.run(command, cwd="/", env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.endswith("all is well\n")


def test_a_reader_of_the_first_lines_ends_it_quietly(folder: Path):
    """``python policy_runtime.py --check | head -1``, with a reader that is gone before anything is written."""
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, str(folder / "policy_runtime.py"), "--check"]
    done = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, text=True)
    os.close(writing)
    assert (done.stderr, done.returncode) == ("", -signal.SIGPIPE)


@pytest.mark.parametrize("wrong", [None, 3, b"folder"])
def test_what_is_no_path_is_refused(wrong: Any):
    with pytest.raises(InputError, match="path of a policy folder"):
        Policy(wrong)


@pytest.mark.parametrize("module", ["policy_runtime", "legged_gym_ext.deploy.parity"])
def test_onnxruntime_tells_nobody_what_it_runs(module: str, folder: Path, tmp_path: Path):
    """From 1.29 on it leaves an identifier and what it has to tell in the user's cache as soon as it is imported."""
    (tmp_path / "home").mkdir()
    leaves_traces = {name: value for name, value in os.environ.items() if name not in ("CI", "ORT_DISABLE_TELEMETRY")}
    environment = {**leaves_traces, "HOME": str(tmp_path / "home"), "PYTHONPATH": f"{paths.ROOT}:{folder}"}
    program = f"import {module} as m; m.onnxruntime.InferenceSession('policy.onnx', providers=['CPUExecutionProvider'])"
    subprocess.run([sys.executable, "-c", program], cwd=folder, env=environment, timeout=120, check=True)
    assert not list((tmp_path / "home").glob("**/.onnxruntime"))


def test_it_imports_nothing_of_ours(folder: Path):
    """The standard library, NumPy, onnxruntime and PyYAML, and what those import themselves."""
    program = (
        "import sys; known = set(sys.modules); import numpy, onnxruntime, yaml; theirs = set(sys.modules); "
        "import policy_runtime; new = set(sys.modules) - theirs; "
        "print(*sorted({name.partition('.')[0] for name in new} - set(sys.stdlib_module_names)))"
    )
    result = subprocess.run(
        [sys.executable, "-c", program], cwd=folder, capture_output=True, text=True, timeout=120, check=True, env={}
    )
    assert result.stdout.split() == ["policy_runtime"]
    tree = ast.parse((folder / "policy_runtime.py").read_text())
    names = [alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names]
    names += [str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    assert {name.partition(".")[0] for name in names} - set(sys.stdlib_module_names) == {"numpy", "onnxruntime", "yaml"}


def test_it_is_python_3_8():
    """Its grammar, and no names of typing that came later; annotations are not evaluated."""
    source = Path(runtime.__file__).read_text()
    ast.parse(source, feature_version=(3, 8))
    assert "from __future__ import annotations" in source
    assert "strict=" not in source and "removeprefix" not in source


def test_the_package_runs_it_as_a_module(folder: Path):
    command = [sys.executable, "-m", "legged_gym_ext.deploy", str(folder), "--check"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert (result.returncode, result.stderr) == (0, "")
    assert "golden " in result.stdout

"""Every exported format does what the training code's student does, over steps with resets and held images."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
import two_layers
import yaml
from random_export import Steps, make_export, make_student, play, random_steps, small_student_config, write
from torch import nn

from legged_gym_ext.deploy import folder
from legged_gym_ext.errors import UserError
from legged_gym_ext.models.encoders.options import LightOptions, SpecOptions
from legged_gym_ext.models.student import Student

Run = Callable[[dict[str, np.ndarray]], dict[str, np.ndarray]]
TOLERANCE = 1e-4


def onnx_run(path: Path) -> Run:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    inputs, outputs = ([value.name for value in values] for values in (session.get_inputs(), session.get_outputs()))
    return lambda given: dict(zip(outputs, session.run(outputs, {name: given[name] for name in inputs}), strict=True))


def script_run(path: Path, outputs: list[str]) -> Run:
    """By the names of the arguments."""
    script = torch.jit.load(path)
    names = [argument.name for argument in script.forward.schema.arguments[1:]]

    def run(given: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        with torch.no_grad():
            values = script(**{name: torch.from_numpy(given[name]) for name in names})
        return {name: value.numpy() for name, value in zip(outputs, values, strict=True)}

    return run


def in_two_parts(encoder: Run, actor: Run) -> Run:
    """Encode an image when it is new, as a robot does."""
    last: dict[str, Any] = {}

    def run(given: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        if not last or (given["depth"] != last["depth"]).any():
            last.update(depth=given["depth"], **encoder({"depth": given["depth"]}))
        return actor({**given, "features": last["features"]})

    return run


def readme_run(path: Path) -> Run:
    """What the README's Python does, which knows torch only."""
    blocks = re.findall(r"```python\n(.*?)```", (path / "README.md").read_text("utf-8"), re.DOTALL)
    (source,) = (block for block in blocks if "load_state_dict" in block)
    assert "legged_gym_ext" not in source
    names: dict[str, Any] = {}
    exec(source, names)
    modules = [*names["encoder"].modules(), *names["actor"].modules()]
    assert all(type(module).__module__.startswith("torch.nn.") for module in modules)
    policy = names["load"](str(path))

    def run(given: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        raw = {name: torch.from_numpy(value) for name, value in given.items()}
        with torch.no_grad():
            targets, actions, memory = policy(raw["depth"], raw, raw["h_in"])
        return {"joint_targets": targets.numpy(), "next_actions": actions.numpy(), "h_out": memory.numpy()}

    return run


def formats(path: Path) -> dict[str, Run]:
    memory = yaml.safe_load((path / "policy.yaml").read_text("utf-8"))["memory"]
    outputs = ["joint_targets", "next_actions", *(["h_out"] if memory else [])]
    runs = {"ONNX": onnx_run(path / "policy.onnx"), "TorchScript": script_run(path / "policy.pt", outputs)}
    runs["ONNX in two parts"] = in_two_parts(
        onnx_run(path / "depth_encoder.onnx"), onnx_run(path / "student_actor.onnx")
    )
    runs["TorchScript in two parts"] = in_two_parts(
        script_run(path / "depth_encoder.pt", ["features"]), script_run(path / "student_actor.pt", outputs)
    )
    if memory:
        runs["README"] = readme_run(path)
    return runs


def assert_the_same(path: Path, steps: Steps) -> None:
    memory = yaml.safe_load((path / "policy.yaml").read_text("utf-8"))["memory"]
    for name, run in formats(path).items():
        targets, actions = play(steps, run, memory and memory["shape"])
        error = np.abs(targets - steps.targets).max()
        assert error <= TOLERANCE, f"{name} is off by {error} rad"
        assert np.abs(actions - steps.actions.clip(-10, 10)).max() <= 10 * TOLERANCE, name


def test_a_thousand_steps_are_the_same_in_every_format(tmp_path: Path) -> None:
    config = small_student_config("gait_phase")
    config.student.encoder = LightOptions(gru_hidden=16, image_features=8)
    _, steps = write(tmp_path / "out", config, 1000)
    assert steps.reset.sum() > 5 and 100 < len(steps.depth) < 300
    assert (np.abs(steps.actions) > 10).any() and np.abs(steps.targets).std() > 0.1
    assert_the_same(tmp_path / "out", steps)


@pytest.mark.parametrize("case", ["spec", "normalizer", "float16", "scandots", "activation", "no clock"])
def test_other_students_are_the_same_in_every_format(case: str, tmp_path: Path) -> None:
    config = small_student_config(*([] if case == "no clock" else ["gait_phase"]))
    if case == "spec":
        config.student.encoder = SpecOptions(gru_hidden=16, fusion_hidden=8)
    config.teacher.normalize_observations = case == "normalizer"
    config.camera.precision = "float16" if case == "float16" else "float32"
    config.teacher.kind = "scandots" if case == "scandots" else "depth"
    config.teacher.activation = "crelu" if case == "activation" else "elu"
    _, steps = write(tmp_path / "out", config, 100)
    content = yaml.safe_load((tmp_path / "out" / "policy.yaml").read_text("utf-8"))
    assert (content["normalizer"] is not None) == (case == "normalizer")
    assert (content["gait"] is None) == (case == "no clock")
    assert ("gait_phase" in [row["name"] for row in content["observations"]]) == (case != "no clock")
    assert_the_same(tmp_path / "out", steps)


def test_a_student_without_memory_has_none_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    two_layers.registered(monkeypatch)
    config = small_student_config("gait_phase")
    config.student.encoder = two_layers.TwoLayersOptions()
    _, steps = write(tmp_path / "out", config, 60)
    assert_the_same(tmp_path / "out", steps)
    assert yaml.safe_load((tmp_path / "out" / "policy.yaml").read_text("utf-8"))["memory"] is None
    for name in ("policy", "student_actor"):
        graph = onnx.load(tmp_path / "out" / f"{name}.onnx").graph
        assert not {"h_in", "h_out"} & {value.name for value in [*graph.input, *graph.output]}
    assert "h_out" not in np.load(tmp_path / "out" / "golden.npz").files

    readme = (tmp_path / "out" / "README.md").read_text("utf-8")
    source = re.findall(r"```python\n(encoder = .*?)```", readme, re.DOTALL)[0]
    names: dict[str, Any] = {"nn": nn}
    exec(source, names)
    for module, file in (("encoder", "depth_encoder.pth"), ("actor", "student_actor.pth")):
        names[module].load_state_dict(torch.load(tmp_path / "out" / file, weights_only=True))


class WrongExport(two_layers.TwoLayers):
    """An encoder that forgets something when it is exported."""

    def export(self) -> two_layers.TwoLayersStep:
        step = super().export()
        step.output.bias = None  # type: ignore[assignment]
        return step  # type: ignore[return-value]


def test_an_export_that_is_not_the_student_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    two_layers.registered(monkeypatch)
    config = small_student_config("gait_phase")
    config.student.encoder = two_layers.TwoLayersOptions()
    student = make_student(config)
    student.encoder.__class__ = WrongExport
    with pytest.raises(UserError, match=r"policy.pt: its joint targets differ from the training's by up to .* rad"):
        folder.write(make_export(student, config, random_steps(student, config, 30)), tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


class NumPyStep(two_layers.TwoLayersStep):
    """What no tracer can follow: it leaves torch and its branches ask for values."""

    def encode_image(self, images: torch.Tensor) -> torch.Tensor:
        return self.image(torch.from_numpy(np.asarray(images.tolist()))[None, None])


class NoStep(two_layers.TwoLayers):
    def export(self) -> Any:
        return None


class BadStep(two_layers.TwoLayers):
    def export(self) -> Any:
        step = super().export()
        step.__class__ = NumPyStep
        return step


@pytest.mark.parametrize("encoder", [NoStep, BadStep])
def test_an_encoder_that_cannot_be_exported_is_one_clear_line(
    encoder: type, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    two_layers.registered(monkeypatch)
    config = small_student_config("gait_phase")
    config.student.encoder = two_layers.TwoLayersOptions()
    student = make_student(config)
    steps = random_steps(student, config, 30)
    student.encoder.__class__ = encoder
    with pytest.raises(UserError, match=r"^student.encoder.kind=two_layers cannot be exported: .+") as told:
        folder.write(make_export(student, config, steps), tmp_path / "out")
    assert "\n" not in str(told.value) and list(tmp_path.iterdir()) == []


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Student, Steps]:
    path = tmp_path_factory.mktemp("written") / "out"
    config = small_student_config("gait_phase")
    config.student.encoder = LightOptions(gru_hidden=16, image_features=8)
    return path, *write(path, config, 30)


def test_graphs_have_the_documented_names_and_shapes(written: tuple[Path, Student, Steps]) -> None:
    vectors = {"base_lin_vel": 3, "base_ang_vel": 3, "projected_gravity": 3, "commands": 4}
    vectors |= {"joint_pos": 10, "joint_vel": 10, "actions": 10, "gait_phase": 2}
    shapes = {name: [1, size] for name, size in vectors.items()}
    memory, acted = [1, 1, 16], {"joint_targets": [1, 10], "next_actions": [1, 10], "h_out": [1, 1, 16]}
    expected = {
        "policy": ({"depth": [1, 20, 16], **shapes, "h_in": memory}, acted),
        "depth_encoder": ({"depth": [1, 20, 16]}, {"features": [1, 8]}),
        "student_actor": ({**shapes, "features": [1, 8], "h_in": memory}, acted),
    }
    for name, (inputs, outputs) in expected.items():
        session = onnxruntime.InferenceSession(written[0] / f"{name}.onnx", providers=["CPUExecutionProvider"])
        for values, shapes in ((session.get_inputs(), inputs), (session.get_outputs(), outputs)):
            assert {value.name: value.shape for value in values} == shapes
            assert [value.name for value in values] == list(shapes)
            assert {value.type for value in values} == {"tensor(float)"}
        schema = torch.jit.load(written[0] / f"{name}.pt").forward.schema
        assert [argument.name for argument in schema.arguments[1:]] == list(inputs)


def test_onnx_files_say_what_they_are_by_mjlabs_names(written: tuple[Path, Student, Steps]) -> None:
    for name in ("policy", "depth_encoder", "student_actor"):
        model = onnx.load(written[0] / f"{name}.onnx")
        facts = {entry.key: entry.value for entry in model.metadata_props}
        assert facts["run_path"] == "a_run"
        assert facts["joint_names"].split(",")[3] == "left_knee_joint"
        assert list(map(float, facts["joint_stiffness"].split(","))) == [150, 150, 150, 200, 40] * 2
        assert list(map(float, facts["joint_damping"].split(","))) == [2, 2, 2, 4, 2] * 2
        assert list(map(float, facts["default_joint_pos"].split(","))) == [0, 0, -0.25, 0.55, -0.3] * 2
        assert facts["action_scale"].split(",") == ["0.25"] * 10
        assert facts["command_names"].split(",") == ["forward speed", "lateral speed", "yaw rate", "heading error"]
        assert facts["observation_names"].split(",")[-1] == "gait_phase"
        assert model.opset_import[0].version == 18


def test_golden_steps_are_written_with_what_the_policy_does(written: tuple[Path, Student, Steps]) -> None:
    path, _, steps = written
    with np.load(path / "golden.npz") as golden:
        expected = steps.golden()
        assert np.array_equal(golden["depth"], expected.depth) and golden["depth"].dtype == np.float32
        assert np.array_equal(golden["frame"], expected.frame) and golden["frame"].dtype == np.int64
        assert np.array_equal(golden["reset"], expected.reset) and golden["reset"].dtype == bool
        for name, rows in expected.vectors.items():
            assert np.array_equal(golden[name], rows) and rows.dtype == np.float32
        assert np.abs(golden["joint_targets"] - steps.targets[:20]).max() < TOLERANCE
        assert golden["next_actions"].shape == (20, 10) and golden["h_out"].shape == (20, 1, 1, 16)
        assert {golden[name].dtype for name in ("joint_targets", "next_actions", "h_out")} == {np.dtype(np.float32)}

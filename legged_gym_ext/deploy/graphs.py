"""The student as graphs from raw sensor readings to joint targets, in one part and in two, for one robot.

All scaling is inside: a robot gives what it measures. docs/policy_folder.md has the inputs and outputs.
"""

from __future__ import annotations

import inspect
import io
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import onnx
import torch
from torch import Tensor, nn

from legged_gym_ext.deploy.specification import Specification
from legged_gym_ext.models.student import ExportedStudent, Student

DEPTH, FEATURES, MEMORY_IN = "depth", "features", "h_in"
TARGETS, ACTIONS, MEMORY_OUT = "joint_targets", "next_actions", "h_out"
OPSET = 18

Tensors = dict[str, Tensor]


class Graph(nn.Module):
    """A module whose inputs and outputs have names, and are given in that order.

    Args:
        owner: The module that computes.
        compute: Its method: outputs by name of inputs by name.
        inputs: The shape of each input.
        outputs: Names of the outputs.
    """

    def __init__(
        self,
        owner: nn.Module,
        compute: Callable[[Tensors], Tensors],
        inputs: Mapping[str, Sequence[int]],
        outputs: Sequence[str],
    ) -> None:
        super().__init__()
        self.owner = owner
        self.inputs, self.outputs = {name: tuple(shape) for name, shape in inputs.items()}, tuple(outputs)

        def forward(*tensors: Tensor) -> tuple[Tensor, ...]:
            values = compute(dict(zip(self.inputs, tensors, strict=True)))
            return tuple(values[name] for name in self.outputs)

        # TorchScript's arguments have the names that it finds here.
        kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
        forward.__signature__ = inspect.Signature(  # pyright: ignore[reportFunctionMemberAccess]
            [inspect.Parameter(name, kind) for name in self.inputs]
        )
        self.forward = forward

    def example(self) -> tuple[Tensor, ...]:
        """Return inputs to trace it with."""
        return tuple(torch.zeros(shape) for shape in self.inputs.values())


class RawStudent(nn.Module):
    """A student that reads sensors, and moves joints: with all scaling, clipping and normalizing about it."""

    def __init__(self, student: ExportedStudent, specification: Specification) -> None:
        super().__init__()
        action, camera, vectors = specification.action, specification.camera, specification.observations
        self.student = student
        self.vectors = [vector.name for vector in vectors]
        self.near, self.far = camera.near, camera.far
        self.limit, self.action_limit = specification.observation_clip, action.clip
        self.offset = nn.Buffer(_row(number for vector in vectors for number in vector.offset))
        self.scale = nn.Buffer(_row(number for vector in vectors for number in vector.scale))
        self.action_offset, self.action_scale = nn.Buffer(_row(action.offset)), nn.Buffer(_row(action.scale))
        self.no_memory = nn.Buffer(torch.zeros(1, 1, 0))

    def encode(self, tensors: Tensors) -> Tensors:
        """Turn ``depth`` (1, rows, columns), m, into features (1, F); clip and normalize as the training's camera."""
        depth = tensors[DEPTH].clamp(self.near, self.far)
        image = (depth - self.near) / (self.far - self.near) - 0.5
        return {FEATURES: self.student.encoder.encode_image(image.flatten(1))}

    def act(self, tensors: Tensors) -> Tensors:
        """Turn raw observations, the newest features and the memory into targets, as the training's environment."""
        raw = torch.cat([tensors[name] for name in self.vectors], dim=1)
        vectors = ((raw + self.offset) * self.scale).clamp(-self.limit, self.limit)
        actions, memory = self.student.act(vectors, tensors[FEATURES], tensors.get(MEMORY_IN, self.no_memory))
        actions = actions.clamp(-self.action_limit, self.action_limit)
        return {TARGETS: self.action_offset + self.action_scale * actions, ACTIONS: actions, MEMORY_OUT: memory}

    def encode_and_act(self, tensors: Tensors) -> Tensors:
        """Do both."""
        return self.act({**tensors, **self.encode(tensors)})


def make_graphs(student: Student, specification: Specification) -> dict[str, Graph]:
    """Return the graphs of a student, on the CPU, by the name of their files: in one part, and in two."""
    raw = RawStudent(student.export(), specification).cpu().eval().requires_grad_(False)
    camera, memory = specification.camera, specification.memory
    depth = {DEPTH: (1, camera.rows, camera.columns)}
    vectors = {vector.name: (1, vector.size) for vector in specification.observations}
    features = {FEATURES: raw.encode({DEPTH: torch.zeros(depth[DEPTH])})[FEATURES].shape}
    memory_in = {MEMORY_IN: memory.shape} if memory else {}
    outputs = [TARGETS, ACTIONS, *([MEMORY_OUT] if memory else [])]
    return {
        "policy": Graph(raw, raw.encode_and_act, {**depth, **vectors, **memory_in}, outputs),
        "depth_encoder": Graph(raw, raw.encode, depth, [FEATURES]),
        "student_actor": Graph(raw, raw.act, {**vectors, **features, **memory_in}, outputs),
    }


def to_onnx(graph: Graph, metadata: Mapping[str, str], path: Path) -> None:
    """Write an ONNX file."""
    with warnings.catch_warnings(action="ignore"):  # that torch has a newer exporter; this one keeps names and shapes
        torch.onnx.export(
            graph,
            graph.example(),
            path,
            input_names=list(graph.inputs),
            output_names=list(graph.outputs),
            opset_version=OPSET,
            dynamo=False,
        )
    model = onnx.load(path)
    onnx.helper.set_model_props(model, dict(metadata))
    onnx.checker.check_model(model)
    onnx.save(model, path)


def to_torchscript(graph: Graph) -> bytes:
    """Return a TorchScript file, whose arguments have the inputs' names."""
    file = io.BytesIO()
    with warnings.catch_warnings(action="ignore"):  # that TorchScript is old; C++ programs load it
        script = torch.jit.trace(graph.eval(), graph.example(), check_trace=False)
        assert isinstance(script, torch.jit.ScriptModule)
        torch.jit.save(torch.jit.freeze(script), file)  # only what the graph needs
    file.seek(0)
    return _without_source_paths(file)


def _without_source_paths(file: io.BytesIO) -> bytes:
    """Return a TorchScript file without what tells where on this machine its source is."""
    reader, result = torch._C.PyTorchFileReader(file), io.BytesIO()
    writer = torch._C.PyTorchFileWriter(result)
    written_by_itself = ("version", "byteorder", ".data/serialization_id")
    for name in reader.get_all_records():
        if name not in written_by_itself and not name.endswith(".debug_pkl"):
            content = reader.get_record(name)
            writer.write_record(name, content, len(content))
    writer.write_end_of_file()
    return result.getvalue()


def metadata(specification: Specification) -> dict[str, str]:
    """Return what an ONNX file says of itself: mjlab's names, comma-separated, and more of ``policy.yaml``."""
    robot, control, camera, trained = (
        specification.robot,
        specification.control,
        specification.camera,
        specification.trained,
    )
    rows = {
        "run_path": [trained.run],
        "joint_names": robot.joint_names,
        "joint_stiffness": robot.joint_stiffness,
        "joint_damping": robot.joint_damping,
        "default_joint_pos": robot.default_joint_pos,
        "command_names": specification.commands.names,
        "observation_names": [vector.name for vector in specification.observations],
        "action_scale": specification.action.scale,
        "action_clip": [specification.action.clip],
        "control_period": [control.period],
        "camera_resolution": [camera.rows, camera.columns],
        "camera_range": [camera.near, camera.far],
        "camera_period": [camera.period],
        "memory_shape": specification.memory.shape if specification.memory else [],
        "gait_period": [specification.gait.period] if specification.gait else [],
        "task": [trained.task],
        "checkpoint": [trained.checkpoint],
    }
    return {name: ",".join(map(_text, row)) for name, row in rows.items()}


def _text(value: Any) -> str:
    return repr(float(value)) if isinstance(value, float) else str(value)


def _row(numbers: Any) -> Tensor:
    """Return numbers as (1, n)."""
    return torch.tensor([list(numbers)], dtype=torch.float32)

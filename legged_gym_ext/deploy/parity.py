"""Whether everything that is exported does what the training code's student did, step after step."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch

from legged_gym_ext.deploy.golden import Golden
from legged_gym_ext.deploy.graphs import ACTIONS, DEPTH, FEATURES, MEMORY_IN, MEMORY_OUT, TARGETS, Graph
from legged_gym_ext.deploy.specification import Action, Memory
from legged_gym_ext.errors import UserError

TOLERANCE = 1e-4
"""rad: largest difference of a joint target. float32 in another order differs by about 1e-6."""

Arrays = Mapping[str, np.ndarray]
Run = Callable[[Arrays], dict[str, np.ndarray]]
"""One step of a policy: inputs by name, each (1, ...), to outputs by name."""


def torch_run(graph: Graph, script: torch.jit.ScriptModule | None = None) -> Run:
    """Return a graph, or what TorchScript has made of it, as a run."""
    module = script or graph

    def run(inputs: Arrays) -> dict[str, np.ndarray]:
        with torch.no_grad():
            values = module(*(torch.from_numpy(inputs[name]) for name in graph.inputs))
        return {name: value.numpy() for name, value in zip(graph.outputs, values, strict=True)}

    return run


def onnx_run(content: bytes) -> Run:
    """Return an ONNX file as a run, by onnxruntime on one thread."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    names = [value.name for value in session.get_inputs()]
    outputs = [value.name for value in session.get_outputs()]

    def run(inputs: Arrays) -> dict[str, np.ndarray]:
        values = session.run(outputs, {name: inputs[name] for name in names})
        return {name: np.asarray(value) for name, value in zip(outputs, values, strict=True)}

    return run


def plain_run(python: str, folder: Path) -> Run:
    """Return what a folder's README builds of torch's modules (plain.py) as a run."""
    names: dict[str, Any] = {}
    exec(python, names)
    policy = names["load"](folder)

    def run(inputs: Arrays) -> dict[str, np.ndarray]:
        tensors = {name: torch.from_numpy(value) for name, value in inputs.items()}
        with torch.no_grad():
            values = policy(tensors[DEPTH], tensors, tensors.get(MEMORY_IN))
        return {name: value.numpy() for name, value in zip((TARGETS, ACTIONS, MEMORY_OUT), values, strict=True)}

    return run


def in_two_parts(encoder: Run, actor: Run) -> Run:
    """Return a run that encodes each image once."""
    newest: dict[str, np.ndarray] = {}

    def run(inputs: Arrays) -> dict[str, np.ndarray]:
        if not newest or not np.array_equal(newest[DEPTH], inputs[DEPTH]):
            newest.update({DEPTH: inputs[DEPTH], **encoder(inputs)})
        return actor({**inputs, FEATURES: newest[FEATURES]})

    return run


def replay(golden: Golden, memory: Memory | None, run: Run) -> dict[str, np.ndarray]:
    """Return the outputs of a policy that sees the golden steps one after another, by name.

    They are ``joint_targets`` and ``actions`` (steps, 10), and ``h_out`` (steps, *memory.shape) where there is one.
    """
    outputs: list[dict[str, np.ndarray]] = []
    for step, reset in enumerate(golden.reset):
        inputs = {name: rows[step : step + 1] for name, rows in golden.vectors.items()}
        inputs[DEPTH] = golden.depth[golden.frame[step]][None]
        if memory is not None:
            fresh = np.full(memory.shape, memory.initial, np.float32)
            inputs[MEMORY_IN] = fresh if reset else outputs[-1][MEMORY_OUT]
        outputs.append({name: value.copy() for name, value in run(inputs).items()})
    result = {name: np.stack([each[name] for each in outputs]) for name in outputs[0]}
    return {name: rows if name == MEMORY_OUT else rows[:, 0] for name, rows in result.items()}


def require(name: str, outputs: Arrays, golden: Golden, action: Action) -> None:
    """Raise a UserError where what is exported under a name is not what the student did."""
    error = np.abs(outputs[TARGETS] - golden.targets(action)).max()
    clipped = golden.actions.clip(-action.clip, action.clip)
    error = max(error, np.abs(np.array(action.scale) * (outputs[ACTIONS] - clipped)).max())
    if not error <= TOLERANCE:
        raise UserError(
            f"{name}: its joint targets differ from the training's by up to {error:.2g} rad (allowed: {TOLERANCE:g}); "
            "does the encoder's export() do what its forward_sequence() does?"
        )

"""A small folder as an export writes it (see legged_gym_ext/deploy), whose random policy is ten lines of arithmetic.

The robot is the real one. Its policy is not: it would fall at once. ``SmallPolicy`` computes in NumPy what the folder's
graphs are to compute.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import yaml
from onnx import TensorProto, helper, numpy_helper

from legged_gym_ext.config.schema import RobotConfig
from legged_gym_ext.deploy import runtime
from legged_gym_ext.robot import NUM_JOINTS, load_robot

MEMORY = 16
PERIOD = 0.02
FRAME_STEPS = 5
GAIT_PERIOD = 0.8
NEAR, FAR = 0.1, 3.0
FOV = math.radians(53.5)
COMMAND_RANGES = [[0.4, 1.0], [0.0, 0.0], [-1.0, 1.0], [-math.pi, math.pi]]

_TERMS = [  # name, size, unit, frame, scale, noise
    ("base_lin_vel", 3, "m/s", "base", [2.0] * 3, 0.1),
    ("base_ang_vel", 3, "rad/s", "base", [0.25] * 3, 0.2),
    ("projected_gravity", 3, "1", "base", [1.0] * 3, 0.05),
    ("commands", 4, "m/s, m/s, rad/s, rad", "base", [2.0, 2.0, 0.25, 1.0], 0.0),
    ("joint_pos", NUM_JOINTS, "rad", "joint", [1.0] * NUM_JOINTS, 0.01),
    ("joint_vel", NUM_JOINTS, "rad/s", "joint", [0.05] * NUM_JOINTS, 1.0),
    ("actions", NUM_JOINTS, "1", "joint", [1.0] * NUM_JOINTS, 0.0),
    ("gait_phase", 2, "1", "none", [1.0] * 2, 0.0),
]


@dataclass
class SmallPolicy:
    """The arithmetic of a small folder's graphs, float32."""

    specification: dict[str, Any]
    encoder: np.ndarray  # (pixels, features)
    from_input: np.ndarray  # (terms + features, MEMORY)
    from_memory: np.ndarray  # (MEMORY, MEMORY), or empty
    to_action: np.ndarray  # (MEMORY, 10)

    @property
    def terms(self) -> list[dict[str, Any]]:
        return self.specification["observations"]

    @property
    def initial_memory(self) -> np.ndarray:
        return np.zeros((1, 1, MEMORY), np.float32)

    def encode(self, depth: np.ndarray) -> np.ndarray:
        """Features of an image (rows, columns), m."""
        image = (np.clip(depth, NEAR, FAR) - NEAR) / np.float32(FAR - NEAR) - np.float32(0.5)
        return np.tanh(image.reshape(-1).astype(np.float32) @ self.encoder)

    def act(
        self, observations: dict[str, np.ndarray], features: np.ndarray, memory: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Joint targets (10,), actions (10,) and the memory after the step, of raw observations by name."""
        scaled = []
        for term in self.terms:
            scale, offset = np.float32(term["scale"]), np.float32(term["offset"])
            value = observations[term["name"]].reshape(-1)
            scaled.append(np.clip((value + offset) * scale, -100, 100))
        x = np.concatenate([*scaled, features]).astype(np.float32) @ self.from_input
        if len(self.from_memory):
            x = x + memory.reshape(-1) @ self.from_memory
        hidden = np.tanh(x)
        limit = self.specification["action"]["clip"]
        actions = np.clip(hidden @ self.to_action, -limit, limit)
        action = self.specification["action"]
        targets = np.float32(action["offset"]) + np.float32(action["scale"]) * actions
        return targets, actions, hidden.reshape(1, 1, -1)


def write_small_folder(
    folder: Path,
    seed: int = 0,
    rows: int = 12,
    columns: int = 16,
    memory: bool = True,
    gait: bool = True,
    steps: int = 60,
    features: int = 24,
) -> SmallPolicy:
    """Write a folder that does not exist yet, and return its policy."""
    rng = np.random.default_rng(seed)
    specification = _specification(rows, columns, memory, gait)
    num_inputs = sum(term["size"] for term in specification["observations"]) + features

    def weights(*shape: int, gain: float = 1.0) -> np.ndarray:
        return (gain * rng.normal(size=shape) / math.sqrt(shape[0])).astype(np.float32)

    policy = SmallPolicy(
        specification,
        encoder=weights(rows * columns, features, gain=4.0),
        from_input=weights(num_inputs, MEMORY, gain=2.0),
        from_memory=weights(MEMORY, MEMORY) if memory else np.zeros((0, MEMORY), np.float32),
        to_action=weights(MEMORY, NUM_JOINTS, gain=0.8),
    )
    specification["action"]["clip"] = 1.2  # reached now and then
    golden = _golden(policy, rng, steps, rows, columns)
    specification["safety"] = _safety(specification, golden)

    folder.mkdir(parents=True)
    for name, model in _models(policy).items():
        onnx.checker.check_model(model)
        onnx.save(model, folder / f"{name}.onnx")
    np.savez(folder / "golden.npz", **golden)  # pyright: ignore[reportArgumentType]
    robot = load_robot(RobotConfig())
    (folder / "robot.urdf").write_bytes(robot.urdf.read_bytes())
    (folder / "policy_runtime.py").write_bytes(Path(runtime.__file__).read_bytes())
    write_specification(folder, specification)
    return policy


def write_specification(folder: Path, specification: dict[str, Any]) -> None:
    """Write policy.yaml with the checksums of the files that are there."""
    specification.pop("sha256", None)
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    files = {n: hashlib.sha256((folder / n).read_bytes()).hexdigest() for n in names if n != "policy.yaml"}
    seal(folder, yaml.safe_dump({**specification, "files": files}, sort_keys=False))


def seal(folder: Path, text: str) -> None:
    """Write policy.yaml with its own checksum."""
    (folder / "policy.yaml").write_text(f"{text}sha256: {hashlib.sha256(text.encode()).hexdigest()}\n")


def random_observations(specification: dict[str, Any], rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Raw observations of one step by name, (size,) float32; without actions and clock, which the policy keeps."""
    limits = np.array(specification["robot"]["joint_pos_limits"])
    tilt = rng.uniform(-0.5, 0.5, 2)
    gravity = np.array([math.sin(tilt[0]), math.sin(tilt[1]) * math.cos(tilt[0]), 0.0])
    gravity[2] = -math.sqrt(1 - (gravity**2).sum())
    low, high = np.array(specification["commands"]["ranges"]).T
    values = {
        "base_lin_vel": rng.uniform(-1, 1, 3),
        "base_ang_vel": rng.uniform(-2, 2, 3),
        "projected_gravity": gravity,
        "commands": rng.uniform(low, high),
        "joint_pos": rng.uniform(limits[:, 0], limits[:, 1]),
        "joint_vel": rng.uniform(-5, 5, NUM_JOINTS),
    }
    return {name: value.astype(np.float32) for name, value in values.items()}


def _specification(rows: int, columns: int, memory: bool, gait: bool) -> dict[str, Any]:
    robot = load_robot(RobotConfig())
    pose = robot.default_joint_pos.tolist()
    terms = [
        {
            "name": name,
            "size": size,
            "unit": unit,
            "frame": frame,
            "scale": scale,
            "offset": [-angle for angle in pose] if name == "joint_pos" else [0.0] * size,
            "noise": noise,
            "meaning": name.replace("_", " "),
        }
        for name, size, unit, frame, scale, noise in _TERMS
        if gait or name != "gait_phase"
    ]
    return {
        "format": "legged_gym_ext.policy",
        "version": 1,
        "robot": {
            "urdf": "robot.urdf",
            "joint_names": list(robot.joints),
            "default_joint_pos": pose,
            "joint_stiffness": robot.stiffness.tolist(),
            "joint_damping": robot.damping.tolist(),
            "joint_pos_limits": robot.joint_range.tolist(),
            "joint_vel_limits": [23.0, 23.0, 23.0, 14.0, 9.0] * 2,
            "torque_limits": robot.torque_limit.tolist(),
            "armature": robot.armature,
            "base_height": robot.base_height,
            "feet": list(robot.feet),
        },
        "control": {"period": PERIOD, "physics_dt": 0.005, "action_latency": [0, 1]},
        "action": {"scale": [robot.action_scale] * NUM_JOINTS, "offset": pose, "clip": 10.0},
        "observation_clip": 100.0,
        "normalizer": None,
        "observations": terms,
        "commands": {
            "names": ["forward speed", "lateral speed", "yaw rate", "heading error"],
            "units": ["m/s", "m/s", "rad/s", "rad"],
            "ranges": COMMAND_RANGES,
            "heading_gain": 1.5,
            "max_yaw_rate": 1.0,
        },
        "gait": {"period": GAIT_PERIOD} if gait else None,
        "camera": {
            "rows": rows,
            "columns": columns,
            "horizontal_fov": FOV,
            "focal": 0.5 * columns / math.tan(FOV / 2),
            "position": [0.12, 0.0, 0.35],
            "quat": [math.cos(0.5), 0.0, math.sin(0.5), 0.0],
            "near": NEAR,
            "far": FAR,
            "period": FRAME_STEPS * PERIOD,
            "latency": [0.0, 0.0],
            "depth_noise": 0.005,
            "dropout": 0.005,
            "missing": "far",
        },
        "memory": {"shape": [1, 1, MEMORY], "initial": 0.0} if memory else None,
        "safety": {},
        "trained": {
            "task": "none",
            "run": "none",
            "checkpoint": "none",
            "iterations": 0,
            "environment_steps": 0,
            "engine": "none",
            "seed": 0,
            "versions": {},
        },
    }


def _golden(
    policy: SmallPolicy, rng: np.random.Generator, steps: int, rows: int, columns: int
) -> dict[str, np.ndarray]:
    """Random states and images, with episodes that begin at step 0 and in the middle, between two frames."""
    resets = (0, steps // 2 + 2)
    names = [term["name"] for term in policy.terms]
    columns_of: dict[str, list[Any]] = {name: [] for name in [*names, "joint_targets", "next_actions", "h_out"]}
    depth, frame, reset = [], [], []
    memory, actions, since = policy.initial_memory, np.zeros(NUM_JOINTS, np.float32), 0
    features = np.zeros(policy.encoder.shape[1], np.float32)
    for step in range(steps):
        reset.append(step in resets)
        if reset[-1]:
            memory, actions, since = policy.initial_memory, np.zeros(NUM_JOINTS, np.float32), 0
        if since % FRAME_STEPS == 0:
            depth.append(rng.uniform(0.0, FAR + 0.5, (rows, columns)).clip(NEAR, FAR).astype(np.float32))
            features = policy.encode(depth[-1])
        frame.append(len(depth) - 1)
        angle = 2 * math.pi * (since * PERIOD / GAIT_PERIOD)
        clock = np.array([math.sin(angle), math.cos(angle)], np.float32)
        observations = {**random_observations(policy.specification, rng), "actions": actions, "gait_phase": clock}
        targets, actions, memory = policy.act(observations, features, memory)
        for name, values in columns_of.items():
            outputs = {"joint_targets": targets, "next_actions": actions, "h_out": memory}
            values.append(outputs[name] if name in outputs else observations[name])
        since += 1
    arrays = {name: np.array(values, np.float32) for name, values in columns_of.items()}
    if policy.specification["memory"] is None:
        del arrays["h_out"]
    return {**arrays, "depth": np.array(depth), "frame": np.array(frame), "reset": np.array(reset)}


def _safety(specification: dict[str, Any], golden: dict[str, np.ndarray]) -> dict[str, Any]:
    """Limits that golden steps do not touch: their range and their greatest rate, from the measured pose, too."""
    targets, measured = golden["joint_targets"], golden["joint_pos"]
    moves = np.abs(np.diff(targets, axis=0))
    first = np.abs(targets - measured)[golden["reset"]]
    rate = np.concatenate([moves, first]).max(axis=0) / PERIOD
    bounds = np.stack([targets.min(axis=0) - 0.05, targets.max(axis=0) + 0.05], axis=1)
    return {"target_range": bounds.tolist(), "target_rate": (1.1 * rate).tolist()}


def _models(policy: SmallPolicy) -> dict[str, onnx.ModelProto]:
    """The three graphs: in one part, and in two."""
    camera, memory = policy.specification["camera"], policy.specification["memory"]
    depth = _tensor("depth", 1, camera["rows"], camera["columns"])
    features = _tensor("features", 1, policy.encoder.shape[1])
    vectors = [_tensor(term["name"], 1, term["size"]) for term in policy.terms]
    h_in = [_tensor("h_in", *memory["shape"])] if memory else []
    outputs = [_tensor("joint_targets", 1, NUM_JOINTS), _tensor("next_actions", 1, NUM_JOINTS)]
    h_out = [_tensor("h_out", *memory["shape"])] if memory else []
    image, actor = _encoder_nodes(policy), _actor_nodes(policy)
    return {
        "policy": _model([*image[0], *actor[0]], [depth, *vectors, *h_in], [*outputs, *h_out], image[1] + actor[1]),
        "depth_encoder": _model(image[0], [depth], [features], image[1]),
        "student_actor": _model(actor[0], [*vectors, features, *h_in], [*outputs, *h_out], actor[1]),
    }


def _encoder_nodes(policy: SmallPolicy) -> tuple[list[onnx.NodeProto], list[onnx.TensorProto]]:
    node = helper.make_node
    constants = {
        "near": np.float32(NEAR),
        "far": np.float32(FAR),
        "span": np.float32(FAR - NEAR),
        "half": np.float32(0.5),
        "encoder": policy.encoder,
    }
    nodes = [
        node("Clip", ["depth", "near", "far"], ["clipped"]),
        node("Sub", ["clipped", "near"], ["from_near"]),
        node("Div", ["from_near", "span"], ["share"]),
        node("Sub", ["share", "half"], ["image"]),
        node("Flatten", ["image"], ["pixels"]),
        node("MatMul", ["pixels", "encoder"], ["encoded"]),
        node("Tanh", ["encoded"], ["features"]),
    ]
    return nodes, [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()]


def _actor_nodes(policy: SmallPolicy) -> tuple[list[onnx.NodeProto], list[onnx.TensorProto]]:
    node, action = helper.make_node, policy.specification["action"]
    constants: dict[str, Any] = {
        "lowest": -100.0,
        "highest": 100.0,
        "from_input": policy.from_input,
        "to_action": policy.to_action,
        "least_action": -action["clip"],
        "greatest_action": action["clip"],
        "action_scale": action["scale"],
        "action_offset": action["offset"],
    }
    nodes, scaled = [], []
    for term in policy.terms:
        name = term["name"]
        constants.update({f"{name}_scale": term["scale"], f"{name}_offset": term["offset"]})
        nodes += [
            node("Add", [name, f"{name}_offset"], [f"{name}_moved"]),
            node("Mul", [f"{name}_moved", f"{name}_scale"], [f"{name}_scaled"]),
            node("Clip", [f"{name}_scaled", "lowest", "highest"], [f"{name}_clipped"]),
        ]
        scaled.append(f"{name}_clipped")
    nodes += [
        node("Concat", [*scaled, "features"], ["input"], axis=1),
        node("MatMul", ["input", "from_input"], ["seen"]),
    ]
    hidden = "seen"
    if len(policy.from_memory):
        constants.update(from_memory=policy.from_memory, row=np.array([1, MEMORY]), memory=np.array([1, 1, MEMORY]))
        nodes += [
            node("Reshape", ["h_in", "row"], ["h_row"]),
            node("MatMul", ["h_row", "from_memory"], ["remembered"]),
            node("Add", ["seen", "remembered"], ["both"]),
        ]
        hidden = "both"
    nodes.append(node("Tanh", [hidden], ["hidden"]))
    if len(policy.from_memory):
        nodes.append(node("Reshape", ["hidden", "memory"], ["h_out"]))
    nodes += [
        node("MatMul", ["hidden", "to_action"], ["free_actions"]),
        node("Clip", ["free_actions", "least_action", "greatest_action"], ["next_actions"]),
        node("Mul", ["next_actions", "action_scale"], ["deviation"]),
        node("Add", ["deviation", "action_offset"], ["joint_targets"]),
    ]
    arrays = {name: np.asarray(value) for name, value in constants.items()}
    whole = {name: array if array.dtype == np.int64 else array.astype(np.float32) for name, array in arrays.items()}
    return nodes, [numpy_helper.from_array(array, name) for name, array in whole.items()]


def _tensor(name: str, *shape: int) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)


def _model(
    nodes: list[onnx.NodeProto],
    inputs: list[onnx.ValueInfoProto],
    outputs: list[onnx.ValueInfoProto],
    constants: list[onnx.TensorProto],
) -> onnx.ModelProto:
    graph = helper.make_graph(nodes, "small", inputs, outputs, constants)
    # As old as an onnxruntime of a robot may be.
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)

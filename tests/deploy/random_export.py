"""A student with random weights, random steps that it saw, and the folder that is exported of it: no physics."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from dummy_env import small_config
from dummy_runner import distillation, make
from tensordict import TensorDict

from legged_gym_ext.config.schema import Config
from legged_gym_ext.deploy import folder
from legged_gym_ext.deploy.folder import Export
from legged_gym_ext.deploy.golden import Golden, Seen
from legged_gym_ext.deploy.specification import Safety, Trained, specify, versions
from legged_gym_ext.models.student import Student
from legged_gym_ext.robot import load_robot

NEAR, FAR, ACTION_SCALE = 0.1, 3.0, 0.25
POSE = np.array([0.0, 0.0, -0.25, 0.55, -0.3] * 2)
SIZES = {
    "base_lin_vel": 3,
    "base_ang_vel": 3,
    "projected_gravity": 3,
    "commands": 4,
    "joint_pos": 10,
    "joint_vel": 10,
    "actions": 10,
}
SCALES = np.repeat([2.0, 0.25, 1.0, 2.0, 0.25, 1.0, 1.0, 0.05, 1.0], [3, 3, 3, 2, 1, 1, 10, 10, 10])
"""legged_gym's, written out: commands are two speeds, a yaw rate and an angle."""


@dataclass
class Steps:
    """What one of several robots measured, step by step, and what the student did with what all of them saw."""

    depth: np.ndarray  # (frames, rows, columns), m
    frame: np.ndarray
    reset: np.ndarray
    raw: dict[str, np.ndarray]  # (steps, size)
    actions: np.ndarray  # (steps, 10), not clipped

    @property
    def targets(self) -> np.ndarray:
        return POSE + ACTION_SCALE * self.actions.clip(-10, 10)

    def golden(self, steps: int = 20) -> Golden:
        raw = {name: rows[:steps] for name, rows in self.raw.items()}
        return Golden(self.depth, self.frame[:steps], self.reset[:steps], raw, self.actions[:steps])


def make_student(config: Config) -> Student:
    """Return a student with random weights, whose normalizer has seen something, and whose actions are large."""
    student = distillation(make(None, config)).student
    width = student.obs_dim
    groups = {"proprio": torch.randn(50, 43) * 3 + 1, "gait_phase": torch.rand(50, 2)}
    seen = TensorDict({name: groups[name] for name in student.obs_groups}, batch_size=[50])
    assert sum(seen[name].shape[1] for name in seen.keys()) == width  # noqa: SIM118  # a TensorDict
    student.update_normalization(seen)
    with torch.no_grad():
        student.mlp[-1].weight.mul_(20.0)
    return student.eval()


def random_steps(student: Student, config: Config, steps: int, robots: int = 3) -> Steps:
    """Let several robots measure at random, and the student act on it as the training code lets it."""
    generator = np.random.default_rng(0)
    rows, columns = config.camera.resolution
    clock = "gait_phase" in config.observations.others
    sizes = {**SIZES, **({"gait_phase": 2} if clock else {})}
    spread = {"joint_vel": 20.0, "actions": 3.0, "base_lin_vel": 80.0}  # some numbers are clipped
    frames, frame, resets, raws, actions = [], [], [], {name: [] for name in sizes}, []
    images = np.zeros((robots, rows, columns), np.float32)
    student.reset()
    for step in range(steps):
        reset = generator.random(robots) < 0.02 if step else np.ones(robots, bool)
        new = reset | (generator.random(robots) < 0.2)
        fresh = generator.uniform(NEAR, FAR, images.shape)
        images[new] = np.where(fresh > 2.8, FAR, np.where(fresh < NEAR + 0.1, NEAR, fresh))[new]
        raw = {name: generator.normal(size=(robots, size)) * spread.get(name, 1.0) for name, size in sizes.items()}
        measured = np.concatenate([raw[name] for name in SIZES], axis=1)
        measured[:, 13:23] -= POSE
        normalized = torch.tensor((images - NEAR) / (FAR - NEAR) - 0.5).to(getattr(torch, config.camera.precision))
        groups = {
            "proprio": torch.tensor(measured * SCALES)
            .float()
            .clamp(-config.observations.clip, config.observations.clip),
            "depth": normalized.flatten(1),
            "new_frame": torch.tensor(new).float()[:, None],
            **({"gait_phase": torch.tensor(raw["gait_phase"]).float()} if clock else {}),
        }
        with torch.no_grad():
            student.reset(torch.tensor(reset))
            acted = student(TensorDict(groups, batch_size=[robots]))
        if new[1]:
            image = NEAR + (normalized[1].double().numpy() + 0.5) * (FAR - NEAR)
            image[normalized[1].numpy() == 0.5] = 7.0  # a real camera sees farther, and nearer
            image[image < NEAR + 0.05] = 0.02
            frames.append(image)
        frame.append(len(frames) - 1)
        resets.append(reset[1])
        for name, values in raw.items():
            raws[name].append(values[1])
        actions.append(acted[1].numpy())
    stacked = {name: np.stack(values).astype(np.float32) for name, values in raws.items()}
    return Steps(np.stack(frames).astype(np.float32), np.array(frame), np.array(resets), stacked, np.stack(actions))


def make_export(student: Student, config: Config, steps: Steps) -> Export:
    robot = load_robot(config.robot)
    safety = Safety([(-1.0, 1.0)] * 10, [30.0] * 10)
    trained = Trained("a_task", "a_run", "model_7", 7, 700, "mujoco", 1, versions())
    specification = specify(config, robot, student, safety, [(0.0, 1.0)] * 4, trained)
    seen = Seen(3, 2, np.zeros(10), np.ones(10), np.ones(10), [(0.0, 1.0)] * 4)
    return Export(student, specification, steps.golden(), seen, robot.urdf, Path("no such card"))


def play(steps: Steps, run: Callable[[dict[str, np.ndarray]], dict[str, np.ndarray]], memory: list[int] | None) -> Any:
    """Return a policy's joint targets (steps, 10) when it sees the steps one after another."""
    targets, actions, hidden = [], [], None
    for step, reset in enumerate(steps.reset):
        inputs = {name: rows[step : step + 1] for name, rows in steps.raw.items()}
        inputs["depth"] = steps.depth[steps.frame[step]][None]
        if memory:
            inputs["h_in"] = np.zeros(memory, np.float32) if reset else hidden
        outputs = run(inputs)
        hidden = outputs.get("h_out")
        targets.append(outputs["joint_targets"][0])
        actions.append(outputs["next_actions"][0])
    return np.stack(targets), np.stack(actions)


def small_student_config(*others: str, **changes: Any) -> Config:
    """Return a configuration with small networks; ``changes`` are of the section and key ``section__key``."""
    config = small_config()
    config.observations.others = list(others)
    for name, value in changes.items():
        section, key = name.split("__")
        setattr(getattr(config, section), key, value)
    return config


def write(path: Path, config: Config, steps: int) -> tuple[Student, Steps]:
    """Export a random student to ``path``; return it, and what it did in so many random steps."""
    student = make_student(config)
    seen = random_steps(student, config, steps)
    folder.write(make_export(student, config, seen), path)
    return student, seen

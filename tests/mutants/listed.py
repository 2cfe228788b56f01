"""Mutations of the code that went unnoticed once. Each has tests that must notice it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

PACKAGE = "legged_gym_ext"
ROBOT = "resources/robots/biped10/biped10.urdf"


@dataclass(frozen=True)
class Mutation:
    """A change of one file, and the tests that it must make fail."""

    what: str
    path: str
    """Of the file, from the top of the repository."""
    old: str
    """What is changed, wherever the file has it."""
    new: str
    tests: tuple[str, ...]


LISTED = (
    Mutation(
        "the student never begins as the teacher",
        f"{PACKAGE}/learning/phases/distillation.py",
        "if self.rounds == 0:",
        "if False:",
        ("tests/learning/test_distillation.py::test_the_student_begins_as_the_teacher_once",),
    ),
    Mutation(
        "the student begins as the teacher at every round",
        f"{PACKAGE}/learning/phases/distillation.py",
        "if self.rounds == 0:",
        "if True:",
        ("tests/learning/test_distillation.py::test_the_student_begins_as_the_teacher_once",),
    ),
    Mutation(
        "play: memory is not reset where an episode ends",
        f"{PACKAGE}/evaluation/rollout.py",
        "policy.reset(dones.to(device))",
        "pass",
        ("tests/evaluation/test_rollout.py::test_a_policy_forgets_at_the_end_of_each_environments_episode",),
    ),
    Mutation(
        "play: memory is not reset before the first episode",
        f"{PACKAGE}/evaluation/rollout.py",
        "    policy.reset()\n",
        "    pass\n",
        ("tests/evaluation/test_rollout.py::test_a_policy_forgets_at_the_end_of_each_environments_episode",),
    ),
    Mutation(
        "play: --level is ignored",
        f"{PACKAGE}/commands/play.py",
        "rollout.place(env, args.level)",
        "rollout.place(env, None)",
        ("tests/commands/test_play.py::test_robots_stand_on_the_level_asked_for_or_on_all",),
    ),
    Mutation(
        "the knees' largest torque is 100 N m",
        ROBOT,
        'effort="300"',
        'effort="100"',
        ("tests/test_robot.py::test_motors_and_joints_are_those_of_the_maker",),
    ),
    Mutation(
        "depth_gain is a hundredth of what it is",
        f"{PACKAGE}/config/schema.py",
        "depth_gain: float = positive(0.01)",
        "depth_gain: float = positive(0.0001)",
        ("tests/models/test_models.py::test_pixels_one_by_one_count_as_much_as_proprioception_by_default",),
    ),
    Mutation(
        "the noise of the camera's mount is about the base's axes",
        f"{PACKAGE}/sensors/depth_camera.py",
        "quat_multiply(self._mount_quat.expand(self.num_envs, 4), quat_from_euler(*angles.unbind(-1)))",
        "quat_multiply(quat_from_euler(*angles.unbind(-1)), self._mount_quat.expand(self.num_envs, 4))",
        ("tests/sensors/test_sensors.py::test_mount_poses_are_drawn_about_the_configured_one_for_the_masked_only",),
    ),
)


def noticed_by(mutation: Mutation, folder: Path) -> list[str]:
    """Make the change in the copy of the repository ``folder``, run the tests, and take it back.

    Returns:
        The tests that failed, by name.

    Raises:
        ValueError: The file has not what is to be changed, or the tests did not run.
    """
    path = folder / mutation.path
    text = path.read_text("utf-8")
    if mutation.old not in text:
        raise ValueError(f"{mutation.what}: {mutation.path} has no {mutation.old!r}")
    command = [sys.executable, "-m", "pytest", "-q", "-rf", "--tb=no", "-p", "no:cacheprovider", *mutation.tests]
    path.write_text(text.replace(mutation.old, mutation.new), "utf-8")
    try:
        environment = os.environ | {"PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    finally:
        path.write_text(text, "utf-8")
    if done.returncode not in (0, 1):
        raise ValueError(f"{mutation.what}: the tests did not run: {done.stdout[-500:]}{done.stderr[-500:]}")
    return re.findall(r"^FAILED \S+::(\S+)", done.stdout, re.MULTILINE)

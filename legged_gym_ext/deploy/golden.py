"""What the student does in the training's environment without disturbances: steps to compare with, and ranges."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from tensordict import TensorDict
from torch import Tensor

from legged_gym_ext.deploy.specification import Action, Camera, Interval, Observation, Safety
from legged_gym_ext.envs.outcome import Outcome
from legged_gym_ext.envs.parkour_env import ParkourEnv
from legged_gym_ext.evaluation.rollout import Step, play, spread_levels
from legged_gym_ext.groups import DEPTH, NEW_FRAME
from legged_gym_ext.models.student import Student
from legged_gym_ext.robot import Robot

GOLDEN_STEPS = 200
GOLDEN_EPISODE = 80
"""Control steps of an episode of those: two more begin within them."""
RANGE_MARGIN = 0.25
"""Of the width of what was seen, on each side."""
RATE_MARGIN = 0.5
"""Of what was seen. The rollout has no disturbances; under all of them, these margins left the pretrained policy alone
in 588 of 589 episodes that reached the end (docs/RESULTS.md)."""


@dataclass(frozen=True)
class Golden:
    """A robot's steps, as its sensors would have told them, and what the student did."""

    depth: np.ndarray
    """Camera frames (frames, rows, columns), m."""
    frame: np.ndarray
    """The newest frame of each step, (steps,) int64."""
    reset: np.ndarray
    """Whether the episode begins with the step, (steps,) bool."""
    vectors: dict[str, np.ndarray]
    """Raw observations by name, (steps, size)."""
    actions: np.ndarray
    """Of the training code's student, before they are clipped, (steps, 10)."""

    def targets(self, action: Action) -> np.ndarray:
        """Return the joint targets that the training's environment makes of the actions, (steps, 10), rad."""
        return np.array(action.offset) + np.array(action.scale) * self.actions.clip(-action.clip, action.clip)


@dataclass(frozen=True)
class Seen:
    """What was seen in whole episodes; extremes of joints (10,)."""

    episodes: int
    finished: int
    """Those that reached the end of the course. Only these count, unless there is none."""
    target_low: np.ndarray
    target_high: np.ndarray
    target_rate: np.ndarray
    """Fastest change of a target, rad/s; of an episode's first one, from where the joint was."""
    commands: list[Interval]


def steps(env: ParkourEnv, student: Student, levels: int) -> Iterator[tuple[Tensor, Step]]:
    """Let the student act from fresh episodes, on all kinds of terrain at the first ``levels`` levels.

    Yields:
        Whose episode begins with a step, (num_envs,) bool, and the step.
    """
    kinds = env.library.assign_kinds(env.num_envs)
    env.place(kinds, spread_levels(kinds, levels))
    begins = torch.ones(env.num_envs, dtype=torch.bool, device=env.device)
    for step in play(env, student, next(student.parameters()).device):
        yield begins, step
        begins = step.dones


def raw_vectors(student: Student, observations: TensorDict, table: Sequence[Observation]) -> dict[str, Tensor]:
    """Return what robots would have measured where the environment gave these ``observations``, (num_envs, size)."""
    vectors = torch.cat([observations[group] for group in student.obs_groups], dim=-1).double()
    parts = vectors.split([row.size for row in table], dim=-1)
    return {
        row.name: (part / part.new_tensor(row.scale) - part.new_tensor(row.offset)).float()
        for row, part in zip(table, parts, strict=True)
    }


def record(env: ParkourEnv, student: Student, levels: int, table: Sequence[Observation], camera: Camera) -> Golden:
    """Return the first steps of one robot, the middle one."""
    robot, frames, rows = env.num_envs // 2, [], []
    for begins, step in steps(env, student, levels):
        seen = step.observations[robot]
        if not frames or seen[NEW_FRAME].item() > 0:
            image = seen[DEPTH].double().cpu().numpy().reshape(camera.rows, camera.columns)
            frames.append((camera.near + (image + 0.5) * (camera.far - camera.near)).astype(np.float32))
        vectors = {name: part[robot] for name, part in raw_vectors(student, step.observations, table).items()}
        rows.append((len(frames) - 1, begins[robot], vectors, step.actions[robot]))
        if len(rows) == GOLDEN_STEPS:
            break
    frame, begins, vectors, actions = zip(*rows, strict=True)
    return Golden(
        depth=np.stack(frames),
        frame=np.array(frame, dtype=np.int64),
        reset=np.array([bool(flag) for flag in begins]),
        vectors={row.name: np.stack([each[row.name].cpu().numpy() for each in vectors]) for row in table},
        actions=np.stack([each.cpu().numpy() for each in actions]),
    )


def watch(env: ParkourEnv, student: Student, levels: int, table: Sequence[Observation], action: Action) -> Seen:
    """Let every robot make one episode, and return what was seen in those that reached the end of the course."""
    scale, offset = (torch.tensor(numbers, device=env.device) for numbers in (action.scale, action.offset))
    outcome = torch.full((env.num_envs,), Outcome.RUNNING, device=env.device)
    low = high = rate = before = command_low = command_high = torch.zeros(())
    for count, (_, step) in enumerate(steps(env, student, levels)):
        vectors = raw_vectors(student, step.observations, table)
        target = offset + scale * step.actions.clamp(-action.clip, action.clip)
        command = vectors["commands"]
        if count == 0:
            before, low, high, rate = vectors["joint_pos"], target, target, torch.zeros_like(target)
            command_low = command_high = command
        running = (outcome == Outcome.RUNNING)[:, None]
        low, high = torch.where(running, low.minimum(target), low), torch.where(running, high.maximum(target), high)
        rate = torch.where(running, rate.maximum((target - before).abs() / env.dt), rate)
        command_low = torch.where(running, command_low.minimum(command), command_low)
        command_high = torch.where(running, command_high.maximum(command), command_high)
        before = target
        outcome = torch.where(step.dones & running[:, 0], step.extras["outcome"], outcome)
        if bool((outcome != Outcome.RUNNING).all()):
            break
    finished = outcome == Outcome.FINISHED
    counts = finished if bool(finished.any()) else torch.ones_like(finished)

    def extreme(values: Tensor, sign: int) -> np.ndarray:
        return sign * (sign * values[counts]).amax(dim=0).double().cpu().numpy()

    commands = zip(extreme(command_low, -1).tolist(), extreme(command_high, 1).tolist(), strict=True)
    return Seen(
        episodes=env.num_envs,
        finished=int(finished.sum()),
        target_low=extreme(low, -1),
        target_high=extreme(high, 1),
        target_rate=extreme(rate, 1),
        commands=list(commands),
    )


def including(seen: Seen, golden: Golden, action: Action, period: float) -> Seen:
    """Return what was seen with what the golden robot did, which a limiter must leave alone, too."""
    targets = golden.targets(action)
    before = np.where(golden.reset[:, None], golden.vectors["joint_pos"], np.roll(targets, 1, axis=0))
    return replace(
        seen,
        target_low=np.minimum(seen.target_low, targets.min(axis=0)),
        target_high=np.maximum(seen.target_high, targets.max(axis=0)),
        target_rate=np.maximum(seen.target_rate, np.abs(targets - before).max(axis=0) / period),
    )


def with_margin(seen: Seen, robot: Robot, action: Action) -> Safety:
    """Return ranges in which a limiter leaves alone what was seen, and what disturbances would add to it.

    What one leg did the other may do, too, where the robot is symmetric. No target can be farther from the default pose
    than clipped actions reach.
    """
    low, high, rate = seen.target_low, seen.target_high, seen.target_rate
    if robot.mirror is not None:
        partner, sign = robot.mirror
        other = np.sort(np.stack([sign * low[partner], sign * high[partner]]), axis=0)
        low, high, rate = np.minimum(low, other[0]), np.maximum(high, other[1]), np.maximum(rate, rate[partner])
    reach = np.array(action.scale) * action.clip
    margin = RANGE_MARGIN * (high - low)
    low = np.maximum(low - margin, np.array(action.offset) - reach)
    high = np.minimum(high + margin, np.array(action.offset) + reach)
    return Safety(list(zip(low.tolist(), high.tolist(), strict=True)), ((1 + RATE_MARGIN) * rate).tolist())

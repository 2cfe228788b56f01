"""Isaac Gym against MuJoCo and mechanics, on the same tiles: what is run first on a machine that has Isaac Gym.

Every check measures something on an engine, the same way on both; a few know the answer from mechanics. The two
solvers differ, so that what is allowed is far more than rounding, and far less than what a wrong convention does.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from legged_gym_ext.evaluation.document import Document, Entry, Section, Table
from legged_gym_ext.robot import NUM_JOINTS, Robot
from legged_gym_ext.rotations import quat_from_euler, quat_multiply
from legged_gym_ext.simulators.base import GRAVITY, DomainParameters, Simulator
from legged_gym_ext.terrain.library import TerrainLibrary

_DROP = 0.02
"""m above the ground from which robots are dropped."""
_HIGH = 20.0
"""m above a tile: nothing is touched there for as long as a check takes."""
_SETTLING, _STANDING = 10, 40
"""Control steps after which robots stand, and for which they do so without a controller: they sway and then topple."""
_LOAD, _LOADED = 5.0, 1
"""kg that the base of environment ``_LOADED`` has more: it is set before the first step, as Isaac Gym wants it."""
_TORQUE = 1.5
"""N m by which motors may differ from their law on average: one is told a physics step before the other."""
_FRICTION = (0.2, 0.4)
"""Coefficients for sliding, in turns over the environments."""
_SLIDING = 0.5
"""m/s from which a foot counts as sliding."""
_MOVE = 0.2
"""rad by which one joint after another is moved."""
_TIMED = 25
"""Steps that are timed."""


@dataclass(frozen=True)
class Finding:
    """One number of an engine, and what it should be."""

    what: str
    unit: str
    found: float
    wanted: float
    """MuJoCo's, or that of mechanics."""
    allowed: float
    """By how much the two may differ; infinite where there is nothing to compare."""
    by_mechanics: bool = False

    @property
    def agrees(self) -> bool:
        """Whether the difference is allowed; never where the number is not finite."""
        return math.isfinite(self.found) and abs(self.found - self.wanted) <= self.allowed


class Bench:
    """An engine with robots on the tiles of a library, one environment for each kind and each joint at least.

    Args:
        simulator: The engine, fresh. It has :func:`environments` environments or more.
        robot: Its robot.
        library: Its tiles.
        period: Time of a control step, s.
    """

    def __init__(self, simulator: Simulator, robot: Robot, library: TerrainLibrary, period: float) -> None:
        self.simulator, self.robot, self.period = simulator, robot, period
        n, device = simulator.num_envs, simulator.device
        self.every = torch.ones(n, dtype=torch.bool, device=device)
        self.kinds = library.kinds
        # Every environment is on a tile of the middle level; the kinds take turns.
        kind = torch.arange(n, device=device) % len(library.kinds)
        level = torch.full_like(kind, library.levels // 2)
        tile = library.tile_index(kind, level, torch.zeros_like(kind))
        self.stand = library.waypoints.to(device)[tile, library.waypoints.shape[1] // 2]
        """A place on each tile where there is ground, (n, 3), m."""
        self.pose = torch.tensor(robot.default_joint_pos, dtype=torch.float32, device=device).repeat(n, 1)
        self.parameters = DomainParameters.nominal(n, device)
        self.parameters.added_mass[_LOADED] = _LOAD
        simulator.randomize(self.every, self.parameters)
        simulator.set_tiles(self.every, tile)

    def zeros(self) -> Tensor:
        """Return a vector for each environment, (n, 3)."""
        return torch.zeros(self.simulator.num_envs, 3, device=self.simulator.device)

    def place(self, height: float, at: Tensor | None = None, **given: Tensor) -> None:
        """Put the robots, in their default pose and at rest but for what is ``given``, so high above where they stand.

        Args:
            height: Of the soles above the place, m.
            at: Where, (n, 3), m in the tile frame; the origin of the tile where it is not said.
            given: ``root_quat`` (n, 4), ``root_lin_vel`` and ``root_ang_vel`` (n, 3).
        """
        position = (self.zeros() if at is None else at).clone()
        position[:, 2] += self.robot.base_height + height
        upright = torch.zeros(len(position), 4, device=position.device)
        upright[:, 0] = 1.0
        still = {"root_quat": upright, "root_lin_vel": self.zeros(), "root_ang_vel": self.zeros()}
        joint_vel = torch.zeros_like(self.pose)
        self.simulator.reset(
            self.every, position, joint_pos=self.pose.clone(), joint_vel=joint_vel, **{**still, **given}
        )

    def drives(self) -> Tensor:
        """Return what the motors' law says of the state, with the default pose as the target, (n, joints), N m."""
        gains = torch.tensor(np.stack([self.robot.stiffness, self.robot.damping])).to(self.pose)
        state = self.simulator.state
        return gains[0] * (self.pose - state.joint_pos) - gains[1] * state.joint_vel

    def run(self, steps: int, targets: Tensor | None = None) -> None:
        """Take control steps with these joint targets; those of the default pose where none are given."""
        for _ in range(steps):
            self.simulator.step(self.pose if targets is None else targets)


def environments(library: TerrainLibrary) -> int:
    """Return how many environments a check needs."""
    return max(len(library.kinds), NUM_JOINTS)


def compare(engine: Bench, mujoco_bench: Bench) -> list[Finding]:
    """Measure everything on both engines and return the findings, in the order of ``CHECKS``."""
    return [finding for check in CHECKS for finding in check(engine, mujoco_bench)]


def at_rest(engine: Bench, reference: Bench) -> list[Finding]:
    """Return mean height, foot force and motor torques of robots that stand, on each kind's start."""
    heights, forces, errors = [], [], []
    for bench in (engine, reference):
        bench.place(_DROP)
        bench.run(_SETTLING)
        state = bench.simulator.state
        height, force, error = (torch.zeros_like(state.root_pos[:, 2]) for _ in range(3))
        for _ in range(_STANDING):
            bench.run(1)
            height += state.root_pos[:, 2] / _STANDING
            force += state.foot_force[:, :, 2].sum(dim=1) / _STANDING
            error += (state.joint_torque - bench.drives()).abs().mean(dim=1) / _STANDING
        heights.append(height.tolist())
        forces.append(force.tolist())
        errors.append(error.mean().item())
    findings = [
        Finding(f"height of standing, {kind}", "m", heights[0][i], heights[1][i], 0.01)
        for i, kind in enumerate(engine.kinds)
    ]
    for env, load in ((0, 0.0), (_LOADED, _LOAD)):
        weight = (engine.robot.mass + load) * GRAVITY
        what = f"foot force with {load:g} kg more" if load else "foot force"
        findings.append(Finding(f"{what} = weight", "N", forces[0][env], weight, 0.05 * weight, by_mechanics=True))
    findings.append(Finding("motor torques against their law", "N m", errors[0], 0.0, _TORQUE, by_mechanics=True))
    return findings


def on_obstacles(engine: Bench, reference: Bench) -> list[Finding]:
    """Return heights of robots a moment after they have landed in the middle of each kind's course."""
    heights = []
    for bench in (engine, reference):
        bench.place(_DROP, bench.stand)
        bench.run(10)
        heights.append(bench.simulator.state.root_pos[:, 2].tolist())
    return [
        Finding(f"height after landing, {kind}", "m", heights[0][i], heights[1][i], 0.03)
        for i, kind in enumerate(engine.kinds)
    ]


def joints(engine: Bench, reference: Bench) -> list[Finding]:
    """Return what each joint does if it alone is moved, in the air; and how the base turns against that."""
    moved, turned = [], []
    for bench in (engine, reference):
        bench.place(_HIGH)
        targets = bench.pose.clone()
        rows = torch.arange(NUM_JOINTS, device=targets.device)
        targets[rows, rows] += _MOVE
        bench.run(10, targets)
        state = bench.simulator.state
        moved.append((state.joint_pos - bench.pose)[:NUM_JOINTS].cpu())
        turned.append(state.root_quat[:NUM_JOINTS].cpu())
    own = [m.diagonal().tolist() for m in moved]
    others = (moved[0] - moved[1]).fill_diagonal_(0.0).abs().amax(dim=1).tolist()
    against = _angle(turned[0], turned[1]).tolist()
    findings = []
    for i, joint in enumerate(engine.robot.joints):
        findings += [
            Finding(f"{joint}: moves by", "rad", own[0][i], own[1][i], 0.03),
            Finding(f"{joint}: difference of the other joints", "rad", others[i], 0.0, 0.03),
            Finding(f"{joint}: difference of how the base turns", "rad", against[i], 0.0, 0.02),
        ]
    return findings


def free_fall(engine: Bench, reference: Bench) -> list[Finding]:
    """Return how far and how fast robots fall in half a second."""
    del reference
    engine.place(_HIGH)
    steps = round(0.5 / engine.period)
    state, start = engine.simulator.state, engine.simulator.state.root_pos[0, 2].item()
    engine.run(steps)
    seconds = steps * engine.period
    fallen, speed = GRAVITY * seconds**2 / 2, GRAVITY * seconds
    return [
        Finding("free fall", "m", start - state.root_pos[0, 2].item(), fallen, 0.03 * fallen, by_mechanics=True),
        Finding("speed of it", "m/s", -state.root_lin_vel[0, 2].item(), speed, 0.02 * speed, by_mechanics=True),
    ]


def frames(engine: Bench, reference: Bench) -> list[Finding]:
    """Return by how much velocities differ from how position and orientation change, in an oblique spin."""
    del reference
    roll, pitch, yaw = torch.tensor([0.3]), torch.tensor([0.5]), torch.tensor([1.0])
    device = engine.simulator.device
    quat = quat_from_euler(roll, pitch, yaw).to(device).expand(len(engine.every), -1).clone()
    linear = engine.zeros() + torch.tensor([1.0, -0.5, 0.2], device=device)
    angular = engine.zeros() + torch.tensor([0.5, -1.0, 2.0], device=device)
    engine.place(_HIGH, root_quat=quat, root_lin_vel=linear, root_ang_vel=angular)
    engine.run(1)
    state = engine.simulator.state
    before = {name: tensor[0].clone() for name, tensor in state.tensors().items()}
    engine.run(1)
    velocity = (state.root_pos[0] - before["root_pos"]) / engine.period
    told = (state.root_lin_vel[0] + before["root_lin_vel"]) / 2
    turn = _rotation_vector(before["root_quat"], state.root_quat[0]) / engine.period
    spin = (state.root_ang_vel[0] + before["root_ang_vel"]) / 2
    point = (state.foot_pos[0] - before["foot_pos"]) / engine.period - (state.foot_vel[0] + before["foot_vel"]) / 2
    return [
        Finding("root velocity against motion", "m/s", (velocity - told).norm().item(), 0.0, 0.05, by_mechanics=True),
        Finding("angular velocity against turn", "rad/s", (turn - spin).norm().item(), 0.0, 0.05, by_mechanics=True),
        Finding("foot velocity against motion", "m/s", point.norm(dim=1).max().item(), 0.0, 0.1, by_mechanics=True),
    ]


def friction(engine: Bench, reference: Bench) -> list[Finding]:
    """Return the share of its force that the ground has along itself, while robots slide over it."""
    results = []
    for bench in (engine, reference):
        n, parameters = bench.simulator.num_envs, bench.parameters
        parameters.friction.copy_(torch.tensor(_FRICTION).repeat(n)[:n])
        bench.simulator.randomize(bench.every, parameters)
        fast = bench.zeros()
        fast[:, 0] = 3.0
        bench.place(0.0, root_lin_vel=fast)
        along, normal = torch.zeros(n), torch.zeros(n)
        state = bench.simulator.state
        for _ in range(8):
            bench.run(1)
            slides = (state.foot_vel[..., :2].norm(dim=-1) > _SLIDING).cpu()
            force = state.foot_force.cpu() * slides[..., None]
            along += force[..., :2].norm(dim=-1).sum(dim=1)
            normal += force[..., 2].sum(dim=1)
        results.append((along / normal)[: len(_FRICTION)].tolist())
        parameters.friction.fill_(1.0)
        bench.simulator.randomize(bench.every, parameters)
    return [
        Finding(f"friction of {mu:g} by sliding", "1", results[0][i], mu, 0.15 * mu, by_mechanics=True)
        for i, mu in enumerate(_FRICTION)
    ]


def seconds(engine: Bench, reference: Bench) -> list[Finding]:
    """Return the time of a control step of robots that stand."""
    times = []
    for bench in (engine, reference):
        bench.place(_DROP)
        bench.run(2)
        start = time.perf_counter()
        bench.run(_TIMED)
        bench.simulator.state.root_pos.sum().item()  # which a GPU is waited for
        times.append((time.perf_counter() - start) / _TIMED * 1e3)
    return [Finding(f"control step, {engine.simulator.num_envs} robots", "ms", times[0], times[1], math.inf)]


CHECKS: tuple[Callable[[Bench, Bench], list[Finding]], ...] = (
    at_rest,
    on_obstacles,
    joints,
    free_fall,
    frames,
    friction,
    seconds,
)
"""All that is compared, each a function of the engine and of MuJoCo."""


def verdict(findings: Sequence[Finding]) -> str:
    """Return in one line how many findings agree, and which do not."""
    compared = [finding for finding in findings if finding.allowed < math.inf]
    wrong = [finding.what for finding in compared if not finding.agrees]
    if not wrong:
        return f"all {len(compared)} agree"
    return f"{len(wrong)} of {len(compared)} do not agree: {', '.join(wrong)}"


def table(findings: Sequence[Finding]) -> list[list[str]]:
    """Return the rows of the table, texts: what, the engine's number, what it should be, whose that is, verdict."""
    rows = []
    for finding in findings:
        compared = finding.allowed < math.inf
        rows.append(
            [
                f"{finding.what} ({finding.unit})",
                f"{finding.found:.4g}",
                f"{finding.wanted:.4g}",
                "mechanics" if finding.by_mechanics else "MuJoCo",
                ("yes" if finding.agrees else "NO") if compared else "",
            ]
        )
    return rows


COLUMNS = ("what", "Isaac Gym", "should be", "by", "agrees")
"""Heads of that table."""


def report(findings: Sequence[Finding], facts: Mapping[str, str]) -> Document:
    """Return the report, with ``facts`` about the machine by name."""
    rows = [[Entry(text) for text in row] for row in table(findings)]
    return Document(
        "Isaac Gym against MuJoCo",
        list(facts.items()),
        [verdict(findings) + "."],
        [Section("Findings", tables=[Table("What was measured on both engines, on the same tiles", COLUMNS, rows)])],
    )


def _angle(a: Tensor, b: Tensor) -> Tensor:
    """Return the angle (n,), rad, between orientations (n, 4)."""
    return 2 * torch.acos((a * b).sum(dim=1).abs().clamp(max=1.0))


def _rotation_vector(before: Tensor, after: Tensor) -> Tensor:
    """Return the rotation in the world frame, (3,), rad, that leads from one orientation (4,) to the other."""
    inverse = before * torch.tensor([1.0, -1.0, -1.0, -1.0], device=before.device)
    turn = quat_multiply(after[None], inverse[None])[0]
    turn = turn * torch.sign(turn[0])
    sine = turn[1:].norm()
    return turn[1:] / sine * 2 * torch.atan2(sine, turn[0])

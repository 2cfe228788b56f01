"""Which shape of foot is fastest at equal stability: two capsules (the URDF's), a box, or four spheres."""

from __future__ import annotations

import time

import mujoco
import numpy as np
from mujoco.batch import Batch

from benchmarks.case import Case
from legged_gym_ext.config.schema import RobotConfig, SimConfig, TerrainConfig
from legged_gym_ext.robot import Robot, load_robot
from legged_gym_ext.simulators.mujoco.model import make_spec
from legged_gym_ext.terrain.boxes import CENTER, HALF, MAX_BOXES, QUAT
from legged_gym_ext.terrain.tiles import make

HALF_LENGTH, HALF_WIDTH, HALF_THICKNESS = 0.1, 0.05, 0.02  # of the URDF's sole
STEPS = 75  # control steps: 1.5 s, by when a robot without a policy falls
STILL = slice(15, 40)  # of those: landed, and still upright


def run(case: Case) -> dict[str, float]:
    """Print and return steps per second of processor time, which other programs disturb least, of each shape.

    With it come unrest and depth on level ground and on steps. Unrest is the standard deviation over time of the force
    under both feet, as a share of its mean, of robots that hold their default pose; depth is how far the lowest point
    of a foot is below the ground at most.
    """
    robot, num_envs = load_robot(RobotConfig()), case.num_envs
    result = {}
    print(f"feet, {num_envs} environments (shape: steps per second of one core, unrest and depth):")
    for shape in ("capsules", "box", "spheres"):
        figures = []
        for kind, level in (("flat", 0), ("steps", 3)):
            figures.append(_measure(robot, shape, kind, level, num_envs))
        rate = sum(f[0] for f in figures) / len(figures)
        result[shape] = rate
        cells = "   ".join(
            f"{kind} {u:6.1%} {d * 1e3:5.1f} mm" for kind, (_, u, d) in zip(("level", "steps"), figures, strict=True)
        )
        print(f"  {shape:<9} {rate:9,.0f} steps/s ({rate / result['capsules']:.2f}x capsules)   {cells}")
    return result


def _measure(robot: Robot, shape: str, kind: str, level: int, num_envs: int) -> tuple[float, float, float]:
    config = SimConfig(engine="mujoco")
    spec = make_spec(robot, config.dt, config.options)
    _reshape(spec, robot, shape)
    rows = make(TerrainConfig(), kind, level, 0).boxes
    for index in range(MAX_BOXES):
        geom = spec.geom(f"box{index}")
        if index < len(rows):
            geom.pos, geom.quat, geom.size = rows[index][CENTER], rows[index][QUAT], rows[index][HALF]
        else:
            spec.delete(geom)
    model = spec.compile()
    batch = Batch(model, num_envs, 0)
    rng = np.random.default_rng(0)
    qpos, ctrl, sensors = (batch.bind(name) for name in ("qpos", "ctrl", "sensordata"))
    qpos[:, 0] = rng.uniform(0.0, 11.0, num_envs)
    qpos[:, 7:] = ctrl[:] = robot.default_joint_pos
    qpos[:, 2] = robot.base_height + np.array([_ground(model, x) for x in qpos[:, 0]]) + 0.01
    forces, seconds, deepest = [], 0.0, 0.0
    first = int(model.sensor(f"{robot.feet[0]}_force").adr[0])
    for _ in range(STEPS):
        start = time.process_time()
        batch.step(nstep=config.decimation)
        seconds += time.process_time() - start
        forces.append(sensors[:, [first + 2, first + 5]].sum(axis=1))
    data = mujoco.MjData(model)
    for index in range(0, num_envs, 8):
        batch.get_data(index, data)
        mujoco.mj_forward(model, data)
        deepest = max([deepest, *(-data.contact.dist)]) if data.ncon else deepest
    still = np.array(forces)[STILL]
    unrest = float(np.median(still.std(axis=0) / still.mean(axis=0).clip(min=1.0)))
    return STEPS * num_envs / seconds, unrest, deepest


def _ground(model: mujoco.MjModel, x: float) -> float:
    """Return the highest ground within a foot's length about ``x``, m."""
    data, hit = mujoco.MjData(model), np.zeros(1, np.int32)
    mujoco.mj_kinematics(model, data)
    heights = []
    for dx in (-0.15, 0.0, 0.15, 0.3):
        group = np.array([0, 0, 1, 0, 0, 0], np.uint8)
        distance = mujoco.mj_ray(
            model, data, np.array([x + dx, 0.0, 5.0]), np.array([0, 0, -1.0]), group, 1, -1, hit, None
        )
        heights.append(5.0 - distance if hit[0] >= 0 else -1.0)
    return max(heights)


def _reshape(spec: mujoco.MjSpec, robot: Robot, shape: str) -> None:
    """Replace the feet's collision shapes by ``shape``."""
    if shape == "capsules":
        return
    for foot, sole in zip(robot.feet, robot.sole, strict=True):
        body = spec.body(foot)
        old = [geom for geom in body.geoms if geom.contype]
        bits = {"contype": old[0].contype, "conaffinity": old[0].conaffinity, "priority": 1}
        for geom in old:
            spec.delete(geom)
        middle = sole + [0, 0, HALF_THICKNESS]
        if shape == "box":
            size = [HALF_LENGTH, HALF_WIDTH, HALF_THICKNESS]
            body.add_geom(type=mujoco.mjtGeom.mjGEOM_BOX, pos=middle, size=size, **bits)
        else:
            for x in (-1, 1):
                for y in (-1, 1):
                    reach = np.array([HALF_LENGTH - HALF_THICKNESS, HALF_WIDTH - HALF_THICKNESS])
                    corner = middle + [*(reach * [x, y]), 0]
                    body.add_geom(type=mujoco.mjtGeom.mjGEOM_SPHERE, pos=corner, size=[HALF_THICKNESS, 0, 0], **bits)

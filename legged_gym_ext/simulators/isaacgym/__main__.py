"""``python -m legged_gym_ext.simulators.isaacgym --check``: does the Isaac Gym of this machine do what MuJoCo does?"""

from __future__ import annotations

import platform
import sys
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import torch

import legged_gym_ext
from legged_gym_ext.config.cli import main_guard, make_parser, parse
from legged_gym_ext.config.files import load_config
from legged_gym_ext.config.schema import Config
from legged_gym_ext.errors import UserError
from legged_gym_ext.evaluation.document import write_files
from legged_gym_ext.paths import LOGS
from legged_gym_ext.robot import load_robot
from legged_gym_ext.runs.settle import settle, torch_device
from legged_gym_ext.simulators import make_simulator
from legged_gym_ext.simulators.isaacgym import check
from legged_gym_ext.simulators.isaacgym.engine import IsaacGymSimulator
from legged_gym_ext.tasks import DEFAULT_TASK
from legged_gym_ext.terrain.library import build_library


def main(argv: list[str]) -> None:
    """Compare, print a table, write a report; exit with 1 where something does not agree."""
    parser = make_parser("Compare Isaac Gym with MuJoCo and with mechanics, on the robot and the terrain of a task.")
    parser.add_argument("--check", action="store_true", help="do it")
    parser.add_argument("--output", type=Path, default=LOGS / "isaacgym_check", help="default: logs/isaacgym_check")
    args = parse(parser, argv)
    if not args.check:
        raise UserError("what is to be done? --check compares Isaac Gym with MuJoCo on this machine; see --help")
    config = settle(load_config(args.task or DEFAULT_TASK, ["sim.engine=isaacgym", *args.overrides]))
    if config.sim.engine != "isaacgym":
        raise UserError(f"sim.engine: --check is about isaacgym, got '{config.sim.engine}'")
    try:  # now, and not when all is measured
        args.output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"--output: cannot write '{args.output}': {error.strerror}") from None
    findings, facts = run(config, config.env.num_envs if args.num_envs else 0)
    for row in [check.COLUMNS, *check.table(findings)]:
        print(f"{row[0]:<58} {row[1]:>10} {row[2]:>10}  {row[3]:<10} {row[4]}")
    print(check.verdict(findings))
    write_files(args.output, check.report(findings, facts).files())
    print(f"report     {args.output / 'report.md'} (and report.html)")
    if not all(finding.agrees for finding in findings):
        sys.exit(1)


def run(config: Config, num_envs: int = 0) -> tuple[list[check.Finding], dict[str, str]]:
    """Measure on both engines.

    Args:
        config: A settled configuration with ``sim.engine: isaacgym``.
        num_envs: Robots; as many as the checks need where that is more.

    Returns:
        What was found, and facts about the machine by name.
    """
    robot = load_robot(config.robot)
    device, cpu = torch_device(config.sim.device), torch.device("cpu")
    library = build_library(config.terrain, device)
    num_envs = max(num_envs, check.environments(library))
    period = config.sim.dt * config.sim.decimation
    reference = replace(config.sim, engine="mujoco", device="cpu")
    with (
        closing(make_simulator(config.sim, robot, library, num_envs, device)) as simulator,
        closing(make_simulator(reference, robot, build_library(config.terrain, cpu), num_envs, cpu)) as other,
    ):
        assert isinstance(simulator, IsaacGymSimulator)
        findings = check.compare(
            check.Bench(simulator, robot, library, period),
            check.Bench(other, robot, build_library(config.terrain, cpu), period),
        )
        return findings, _facts(config, simulator)


def _facts(config: Config, simulator: IsaacGymSimulator) -> dict[str, str]:
    """Return what a reader of the report has to know, by name."""
    versions = simulator.worker.versions
    gpu = torch.cuda.get_device_name(config.sim.device) if config.sim.device.startswith("cuda") else "none"
    return {
        "Isaac Gym": ", ".join(f"{name} {version}" for name, version in versions.items()),
        "package": f"{legged_gym_ext.__version__}, Python {platform.python_version()}, torch {torch.__version__}",
        "machine": f"{platform.platform()}, GPU: {gpu}",
        "device": f"{config.sim.device}, pipeline {config.sim.options.pipeline}",
        "task": f"{config.task}, {simulator.num_envs} robots, dt {config.sim.dt:g} s",
    }


if __name__ == "__main__":
    main_guard(main)

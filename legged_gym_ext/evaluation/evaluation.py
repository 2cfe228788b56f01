"""One run's evaluation, from its checkpoint to its report."""

from __future__ import annotations

import argparse
import hashlib
import json
from contextlib import closing
from dataclasses import asdict
from functools import cached_property
from importlib.metadata import version
from pathlib import Path

from legged_gym_ext.config.schema import Config
from legged_gym_ext.errors import UserError
from legged_gym_ext.evaluation.benchmark import PARKOUR_V1, QUICK, SETTINGS, benchmark_config, commanded_speed
from legged_gym_ext.evaluation.episodes import NOMINAL, Episodes, Unit
from legged_gym_ext.evaluation.heading import Heading
from legged_gym_ext.evaluation.plan import Plan
from legged_gym_ext.evaluation.publish import publish
from legged_gym_ext.evaluation.report import write_report
from legged_gym_ext.evaluation.session import evaluate
from legged_gym_ext.evaluation.store import Store
from legged_gym_ext.evaluation.sweeps import SWEEPS, setting_name
from legged_gym_ext.groups import DEPTH
from legged_gym_ext.models.actor import ParkourActor
from legged_gym_ext.processes.join import from_rank_zero
from legged_gym_ext.processes.ranks import here
from legged_gym_ext.runs.checkpoint import load_checkpoint
from legged_gym_ext.runs.folder import results_folder
from legged_gym_ext.runs.origin import PACKAGES
from legged_gym_ext.runs.resume import dotted_values
from legged_gym_ext.runs.settle import seed_everything, settle, torch_device
from legged_gym_ext.tasks import get_factories
from legged_gym_ext.terrain.kinds import KINDS


class Evaluation:
    """A run's networks, what they are to do, and where the results go.

    Args:
        config: The run's configuration, with the command line's changes.
        checkpoint: The file.
        args: The command line, see commands/evaluate.py.
        several: Whether it is one of several, each of which has a folder in ``--output``.
    """

    def __init__(self, config: Config, checkpoint: Path, args: argparse.Namespace, several: bool) -> None:
        self.config, self.checkpoint = settle(config), checkpoint
        self.plan = make_plan(self.config, args)
        self.policies, self.training_steps = load_policies(self.config, checkpoint, self.plan, args.policy)
        sees = {name: policy.terrain_group == DEPTH for name, policy in self.policies.items()}
        self.units = self.plan.units(sees)
        names = "both" if len(self.policies) > 1 else next(iter(self.policies))
        where = [checkpoint.stem.removeprefix("model_"), names, self.config.sim.engine, *deviations(args)]
        own = Path(args.output).expanduser() if args.output else None
        own = own / self.name if own and several else own
        self.title = "_".join([PARKOUR_V1.name, *deviations(args)])
        """Of what is evaluated, among other evaluations of the run."""
        self.folder = own or results_folder(checkpoint) / "evaluation" / "_".join(where)

    @property
    def name(self) -> str:
        """Of the run."""
        return self.checkpoint.resolve().parent.name

    @cached_property
    def checkpoint_sha256(self) -> str:
        """Of the checkpoint's file, in hexadecimal."""
        return from_rank_zero(lambda: hashlib.sha256(self.checkpoint.read_bytes()).hexdigest())

    @cached_property
    def trained_engine(self) -> str:
        """Name of the engine that the checkpoint was trained with."""
        return from_rank_zero(lambda: load_checkpoint(self.checkpoint)["config"]["sim"]["engine"])

    @property
    def heading(self) -> Heading:
        """What stands on top of the report."""
        plan = self.plan
        settings = dict.fromkeys(unit.setting for unit in self.units)
        return Heading(
            benchmark=plan.benchmark.name,
            run=self.name,
            checkpoint=int(self.checkpoint.stem.removeprefix("model_")),
            checkpoint_sha256=self.checkpoint_sha256,
            policies=tuple(self.policies),
            engine=self.config.sim.engine,
            seed=plan.benchmark.tile_seed,
            episodes=plan.episodes,
            time_limit=plan.benchmark.time_limit,
            commanded_speed=plan.speed,
            course_length=self.plan.config(self.config, NOMINAL).terrain.length,
            kinds=plan.kinds,
            levels=plan.levels,
            settings={name: SETTINGS[name] for name in settings if name in SETTINGS},
            training_steps=self.training_steps,
            sweep_episodes=min(plan.episodes, plan.benchmark.robustness_episodes),
            sweeps={name: SWEEPS[name].title for name in plan.sweeps},
            versions={package: version(package) for package in PACKAGES},
            trained_engine=self.trained_engine,
        )

    def run(self, resume: bool) -> dict[Unit, Episodes]:
        """Run all that is asked for, and write the report; with ``resume``, keep what an earlier call has finished."""
        plan, device = self.plan, torch_device(self.config.runner.device)
        if here().rank == 0:
            size = f"{len(plan.kinds)} kinds x {len(plan.levels)} levels x {plan.episodes} episodes"
            print(f"checkpoint {self.checkpoint}")
            print(f"policies   {', '.join(self.policies)}")
            print(f"benchmark  {plan.benchmark.name}: {size}, commanded {plan.speed:g} m/s")
            print(f"folder     {self.folder}", flush=True)
        store = Store(self.folder, self.identity())
        make_env = get_factories(self.config.task).make_env
        results = evaluate(plan, self.config, make_env, self.policies, self.units, store, device, resume)
        heading = self.heading
        if here().rank == 0:
            cells = write_report(self.folder, heading, results)
            publish(self.config, self.checkpoint.parent, self.folder, heading.checkpoint, self.title, cells)
            print(f"report     {self.folder / 'report.html'}", flush=True)
        return results

    def identity(self) -> dict[str, object]:
        """Return all that the results of a unit depend on."""
        sweeps = [setting_name(name, value) for name in SWEEPS for value in SWEEPS[name].values]
        disturbed = [asdict(self.plan.config(self.config, setting)) for setting in (*SETTINGS, *sweeps)]
        disturbances = hashlib.sha256(json.dumps(disturbed, sort_keys=True).encode()).hexdigest()
        return {
            "checkpoint": self.checkpoint_sha256,
            "benchmark": self.plan.benchmark.name,
            "kinds": list(self.plan.kinds),
            "episodes": self.plan.episodes,
            "engine": self.config.sim.engine,
            "versions": self.heading.versions,
            "configuration": dict(dotted_values(asdict(self.plan.config(self.config, NOMINAL)))),
            "disturbances": disturbances,
        }


def make_plan(config: Config, args: argparse.Namespace) -> Plan:
    """Return what the command line asks for."""
    benchmark = QUICK if args.quick else PARKOUR_V1
    settings = tuple(args.setting or benchmark.settings)
    if args.robustness and NOMINAL not in settings:
        settings = (NOMINAL, *settings)
    if args.robustness and args.depth_use:
        raise UserError("--depth_use is this part alone; leave it out, or --robustness")
    return Plan(
        benchmark=benchmark,
        kinds=tuple(args.terrain or KINDS),
        levels=tuple(benchmark.levels if args.level is None else args.level),
        settings=settings,
        speed=args.speed or commanded_speed(config),
        episodes=args.episodes or benchmark.episodes,
        sweeps=tuple(args.robustness or ()),
        only_depth_use=args.depth_use,
    )


def deviations(args: argparse.Namespace) -> list[str]:
    """Return how the command line's evaluation differs from the whole benchmark, for the name of its folder."""
    found = ["quick"] if args.quick else []
    for flag in ("terrain", "level", "setting", "episodes", "speed"):
        value = getattr(args, flag)
        if value is not None:
            found.append(flag + "-" + "-".join(str(part) for part in (value if isinstance(value, list) else [value])))
    return [*found, "depth_use"] if args.depth_use else found


def load_policies(
    config: Config, checkpoint: Path, plan: Plan, asked: str | None
) -> tuple[dict[str, ParkourActor], int | None]:
    """Return a checkpoint's policies by name, and the environment steps that they were trained for.

    Who asks for a teacher that has not begun gets its guide, by that name.

    Args:
        config: The run's, settled.
        checkpoint: The file.
        plan: Says on which terrain.
        asked: ``student``, ``teacher``, ``both``; None = those that are trained.

    Raises:
        UserError: The checkpoint does not fit, or has no such policy.
    """
    seed_everything(config.seed)
    factories = get_factories(config.task)
    smallest = benchmark_config(config, plan.benchmark, plan.kinds, NOMINAL, plan.speed, tiles=1)
    device = torch_device(config.runner.device)
    with closing(factories.make_env(smallest, smallest.env.num_envs, torch_device(config.sim.device))) as env:
        runner = factories.make_runner(env, smallest, None, device)
        runner.load(str(checkpoint), resume=False)
        names = ["student", "teacher"] if asked in (None, "both") else [asked]
        if asked is None and not runner.is_trained("student"):
            names.remove("student")
        policies = {runner.policy_name(name): runner.get_inference_policy(name) for name in names}
    actors = {name: policy for name, policy in policies.items() if isinstance(policy, ParkourActor)}
    if strange := policies.keys() - actors.keys():
        raise UserError(f"the {strange.pop()} does not say what it sees of the terrain, as a ParkourActor does")
    return actors, runner.total_steps

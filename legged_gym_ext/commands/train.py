"""Train a task."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import NoReturn

from legged_gym_ext import paths
from legged_gym_ext.config.cli import main_guard, make_parser, parse
from legged_gym_ext.config.files import load_config
from legged_gym_ext.config.schema import Config
from legged_gym_ext.device import memory
from legged_gym_ext.errors import UserError
from legged_gym_ext.processes.join import from_rank_zero, joined
from legged_gym_ext.processes.ranks import here
from legged_gym_ext.runs.folder import find_checkpoint, find_saved, new_run_folder
from legged_gym_ext.runs.settle import rank_config, seed_everything, settle, torch_device
from legged_gym_ext.tasks import DEFAULT_TASK, get_factories


def command() -> NoReturn:
    """Run as ``legged-gym-train``."""
    main_guard(main)


def main(argv: list[str]) -> None:
    """Train for the iterations asked for: a new run, or with --resume from where another run was saved."""
    with joined():
        asked, checkpoint, networks = from_rank_zero(lambda: read(argv))
        config, ranks = settle(asked), here()
        seed_everything(ranks.seed(config.seed))
        factories = get_factories(config.task)
        num_envs = ranks.share(config.env.num_envs)
        with memory.guard(num_envs):
            env = factories.make_env(rank_config(config), num_envs, torch_device(config.sim.device))
        with closing(env), memory.guard(num_envs):
            with new_run_folder(asked) as folder:
                runner = factories.make_runner(env, config, folder, torch_device(config.runner.device))
                if checkpoint:
                    runner.load(str(checkpoint))
                elif networks:
                    runner.init_from(networks)

            if ranks.rank == 0:
                print(f"task       {config.task}, seed {config.seed}")
                print(f"engine     {config.sim.engine} on {config.sim.device}, {config.env.num_envs} environments")
                print(f"networks   on {config.runner.device}")
                if ranks.size > 1:
                    print(f"ranks      {ranks.size}, each with {num_envs} environments")
                if checkpoint:
                    print(f"resumed    {checkpoint}")
                elif networks:
                    print(f"begins as  {networks}")
                print(f"run folder {folder}", flush=True)
            runner.learn(config.runner.max_iterations)


def read(argv: list[str]) -> tuple[Config, Path | None, Path | None]:
    """Return the configuration that is asked for, the checkpoint to go on from, and the one to begin with, if any.

    Raises:
        UserError: What the command line asks for cannot be done.
    """
    args = parse(make_parser("Train a teacher and its student in one run."), argv)
    if args.resume:
        config, checkpoint = find_saved(args)
    elif args.load_run or args.pretrained or args.checkpoint != -1:
        raise UserError(
            "--load_run, --pretrained and --checkpoint choose what --resume goes on with; give --resume too"
        )
    else:
        config, checkpoint = load_config(args.task or DEFAULT_TASK, args.overrides), None
    config.env.num_envs = settle(config).env.num_envs  # "auto" may mean another number elsewhere
    here().share(config.env.num_envs)
    begin = config.runner.init_from
    return config, checkpoint, find_checkpoint(paths.resolve(begin)) if begin and not checkpoint else None

"""Train a task."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from legged_gym_ext import paths
from legged_gym_ext.config.cli import (
    NO_VIEWER,
    TRAINING_VIEWERS,
    add_viewer_flags,
    check_viewer_flags,
    main_guard,
    make_parser,
    parse,
)
from legged_gym_ext.config.files import load_config
from legged_gym_ext.config.schema import Config
from legged_gym_ext.device import memory
from legged_gym_ext.errors import UserError, unknown
from legged_gym_ext.processes.join import from_rank_zero, joined
from legged_gym_ext.processes.ranks import here
from legged_gym_ext.rendering.web.access import Door, open_door
from legged_gym_ext.runs.folder import find_checkpoint, find_saved, new_run_folder
from legged_gym_ext.runs.origin import write_origin
from legged_gym_ext.runs.running import marked_as_running
from legged_gym_ext.runs.settle import rank_config, seed_everything, settle, torch_device
from legged_gym_ext.tasks import DEFAULT_TASK, get_factories

if TYPE_CHECKING:
    from legged_gym_ext.envs.parkour_env import ParkourEnv
    from legged_gym_ext.learning.runner import ParkourRunner

TRAIN, FINETUNE = "train", "finetune"
PHASES = (TRAIN, FINETUNE)
INIT_FROM = "runner.init_from"


def command() -> NoReturn:
    """Run as ``legged-gym-train``."""
    main_guard(main)


def main(argv: list[str]) -> None:
    """Train for the iterations asked for: a new run, or with --resume from where another run was saved."""
    with joined():
        asked, checkpoint, networks = from_rank_zero(lambda: read(argv))
        config, ranks = settle(asked), here()
        door = open_door(parse_flags(argv)) if ranks.rank == 0 else None
        seed_everything(ranks.seed(config.seed))
        factories = get_factories(config.task)
        num_envs = ranks.share(config.env.num_envs)
        with memory.guard(num_envs):
            env = factories.make_env(rank_config(config), num_envs, torch_device(config.sim.device))
        with closing(env), memory.guard(num_envs):
            with new_run_folder(asked) as folder, memory.guard_networks(num_envs):
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
                write_origin(folder)
            with marked_as_running(folder), watched(door, env, runner):
                runner.learn(config.runner.max_iterations)


@contextmanager
def watched(door: Door | None, env: ParkourEnv, runner: ParkourRunner) -> Iterator[None]:
    """Let the training in this context be watched on a page, where there is a ``door`` for it."""
    if door is None:
        yield
        return
    from legged_gym_ext.rendering.web import show as web
    from legged_gym_ext.rendering.web.watcher import Watcher

    runner.watcher = Watcher(env, runner.policy_names)
    with web.watching(door, env, runner.watcher):
        yield


def read(argv: list[str]) -> tuple[Config, Path | None, Path | None]:
    """Return the configuration that is asked for, the checkpoint to go on from, and the one to begin with, if any.

    Raises:
        UserError: What the command line asks for cannot be done.
    """
    args = parse_flags(argv)
    checkpoint = networks = None
    if args.resume:
        config, checkpoint = find_saved(args)
        if args.phase and (args.phase == FINETUNE) != config.finetune.enabled:
            raise UserError(
                f"--phase {args.phase}: --resume goes on with a run in its own phase, which is another one; leave out "
                "--resume to begin a new run"
            )
    elif args.phase == FINETUNE:
        if any(override.startswith(f"{INIT_FROM}=") for override in args.overrides):
            raise UserError(f"{INIT_FROM}: --phase finetune begins with the networks of --load_run or --pretrained")
        args.overrides = ["finetune.enabled=true", "run_name=finetune", *args.overrides]
        config, networks = find_saved(args)
        config.runner.init_from = str(networks)
    elif args.load_run or args.wandb_run or args.pretrained or args.checkpoint != -1:
        raise UserError(
            "--load_run, --wandb_run, --pretrained and --checkpoint choose what --resume goes on with, or --phase "
            "finetune begins with; give one of these, too"
        )
    else:
        config = load_config(args.task or DEFAULT_TASK, args.overrides)
        begin = paths.resolve(config.runner.init_from) if config.runner.init_from else None
        if begin:
            networks = begin if begin.suffix == ".pt" else find_checkpoint(begin)
        elif config.finetune.enabled:
            raise UserError("finetune.enabled: fine-tuning begins with a student: --phase finetune --load_run RUN")
    config.env.num_envs = settle(config).env.num_envs  # "auto" may mean another number elsewhere
    here().share(config.env.num_envs)
    return config, checkpoint, networks


def parse_flags(argv: list[str]) -> argparse.Namespace:
    """Parse the command line.

    Raises:
        UserError: There is no such flag, or a value is not allowed.
    """
    parser = make_parser("Train a teacher and its student in one run, or fine-tune the student of a run.")
    phases = f"{{{','.join(PHASES)}}}"
    parser.add_argument("--phase", metavar=phases, help="finetune: a new run, PPO of the student of --load_run")
    add_viewer_flags(parser, TRAINING_VIEWERS, NO_VIEWER)
    args = parse(parser, argv)
    check_viewer_flags(args, TRAINING_VIEWERS)
    if args.phase and args.phase not in PHASES:
        raise unknown("phase", args.phase, PHASES)
    return args

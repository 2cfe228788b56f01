"""Train a task: python train.py --task=parkour_depth [--flag VALUE ...] [section.key=value ...]."""

from __future__ import annotations

from legged_gym_ext import memory
from legged_gym_ext.cli import main_guard, make_parser, parse
from legged_gym_ext.config_io import load_config
from legged_gym_ext.errors import UserError
from legged_gym_ext.run_folder import create_run_folder, find_saved
from legged_gym_ext.runtime import resolve_runtime, seed_everything
from legged_gym_ext.tasks import DEFAULT_TASK, get_factories


def main(argv: list[str]) -> None:
    """Train for the iterations asked for: a new run, or with --resume from where another run was saved."""
    args = parse(make_parser("Train a teacher and its student in one run."), argv)
    if args.resume:
        config, checkpoint = find_saved(args)
    elif args.load_run or args.checkpoint != -1:
        raise UserError("--load_run and --checkpoint choose what --resume goes on with; give --resume too")
    else:
        config, checkpoint = load_config(args.task or DEFAULT_TASK, args.overrides), None

    runtime = resolve_runtime(config)
    config.env.num_envs = runtime.num_envs  # in the saved configuration: "auto" may mean another number elsewhere
    seed_everything(config.seed)
    factories = get_factories(config.task)
    with memory.guard(runtime.num_envs):
        env = factories.make_env(config, runtime.num_envs, runtime.sim_device)
        folder = create_run_folder(config)
        runner = factories.make_runner(env, config, folder, runtime.rl_device)
    if checkpoint:
        runner.load(str(checkpoint))

    print(f"task       {config.task}, seed {config.seed}")
    print(f"engine     {runtime.engine} on {runtime.sim_device}, {runtime.num_envs} environments")
    print(f"networks   on {runtime.rl_device}")
    if checkpoint:
        print(f"resumed    {checkpoint}")
    print(f"run folder {folder}", flush=True)
    with memory.guard(runtime.num_envs):
        runner.learn(config.runner.max_iterations)


if __name__ == "__main__":
    main_guard(main)

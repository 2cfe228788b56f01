"""Measure, watch and film a trained run."""

from __future__ import annotations

import argparse
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from legged_gym_ext.config.cli import (
    NO_VIEWER,
    VIEWERS,
    WEB_VIEWER,
    add_viewer_flags,
    check_viewer_flags,
    main_guard,
    make_parser,
    parse,
)
from legged_gym_ext.errors import UserError, unknown
from legged_gym_ext.runs.folder import find_saved
from legged_gym_ext.runs.settle import seed_everything, settle, torch_device
from legged_gym_ext.tasks import get_factories
from legged_gym_ext.terrain.kinds import KINDS

if TYPE_CHECKING:
    from legged_gym_ext.envs.parkour_env import ParkourEnv
    from legged_gym_ext.learning.runner import ParkourRunner
    from legged_gym_ext.rendering.web.access import Door

POLICIES = ("student", "teacher")


def command() -> NoReturn:
    """Run as ``legged-gym-play``."""
    main_guard(main)


def main(argv: list[str]) -> None:
    """Play a run's policy: count how its episodes end, and show and film them where that is asked for."""
    args = parse_flags(argv)

    from legged_gym_ext.evaluation import outcomes, rollout  # import torch
    from legged_gym_ext.rendering.show import Show, prepare_video
    from legged_gym_ext.rendering.web.access import open_door

    given = args.overrides
    args.overrides = [*rollout.overrides(args.terrain, args.randomize), *given]
    asked, checkpoint = find_saved(args)
    config = settle(asked)
    rollout.hold_speed(config, given)
    rollout.check_level(args.level, config.terrain.levels)
    video = prepare_video(args.video, checkpoint, args.terrain, args.level)
    door = open_door(args)

    seed_everything(config.seed)
    factories = get_factories(config.task)
    num_envs = min(config.env.num_envs, args.episodes or config.env.num_envs)
    episodes = args.episodes or num_envs
    learning_device = torch_device(config.runner.device)
    with closing(factories.make_env(config, num_envs, torch_device(config.sim.device))) as env:
        runner = factories.make_runner(env, config, None, learning_device)
        runner.load(str(checkpoint), resume=False)
        if door is not None:
            print(f"checkpoint {checkpoint}")
            play_on_page(door, env, runner, checkpoint, args, video)
            return
        policy, name = rollout.choose_policy(runner, args.policy)
        kinds = rollout.place(env, args.level)
        print(f"checkpoint {checkpoint}")
        print(f"policy     {name}")
        level = "all levels" if args.level is None else f"level {args.level}"
        print(f"terrain    {args.terrain or 'all kinds'}, {level}")
        low, high = config.commands.forward_speed
        print(f"command    {low:g} m/s" if low == high else f"command    {low:g} to {high:g} m/s")
        print(f"episodes   {episodes}, randomization {'as in training' if args.randomize else 'off'}", flush=True)

        show = Show(env, rollout.examples(kinds), video, args.video_length, args.viewer)
        count = outcomes.EpisodeCount(kinds, outcomes.share_out(episodes, num_envs), env.dt)
        rollout.run(env, policy, learning_device, count, show)

    print(f"\n{outcomes.table(count, env.library.kinds)}", flush=True)
    if not count.complete:
        print("The viewer was closed before all episodes had ended: short ones, falls, have too large a share.")
    show.write_video()


def play_on_page(
    door: Door, env: ParkourEnv, runner: ParkourRunner, checkpoint: Path, args: argparse.Namespace, video: Path | None
) -> None:
    """Play what the page's visitors choose, until Ctrl-C. Whoever pushes robots about measures nothing: no table."""
    from legged_gym_ext.evaluation.benchmark import commanded_speed
    from legged_gym_ext.evaluation.rollout import examples
    from legged_gym_ext.rendering.show import Show
    from legged_gym_ext.rendering.web import show as web
    from legged_gym_ext.rendering.web.player import Player

    player = Player(env, runner, checkpoint, args.policy, args.level, commanded_speed(env.config))
    film = Show(env, examples(env.state.terrain_kind), video, args.video_length, NO_VIEWER)
    web.play(door, player, film.add)
    film.write_video()


def parse_flags(argv: list[str]) -> argparse.Namespace:
    """Parse the command line.

    Raises:
        UserError: There is no such flag, or a value is not allowed.
    """
    parser = make_parser("Measure, watch and film a trained run.")
    parser.add_argument("--policy", metavar=f"{{{','.join(POLICIES)}}}", help="default: the student, if there is one")
    parser.add_argument("--terrain", metavar="KIND", help=f"one of {', '.join(KINDS)} (default: the run's mix)")
    parser.add_argument("--level", metavar="N", type=int, help="of the terrain (default: spread over all levels)")
    parser.add_argument("--episodes", metavar="N", type=int, help="episodes that count (default: one per environment)")
    parser.add_argument("--randomize", action="store_true", help="noise, randomization and pushes as in training")
    parser.add_argument(
        "--video", metavar="PATH", nargs="?", const="", help="write an mp4 (default: in the run folder)"
    )
    parser.add_argument("--video_length", metavar="S", type=float, default=40.0, help="longest video, s (default: 40)")
    add_viewer_flags(parser, VIEWERS, "auto")
    args = parse(parser, argv)
    check_viewer_flags(args, VIEWERS)
    if args.headless and args.viewer != WEB_VIEWER:  # a page is no window
        args.viewer = NO_VIEWER
    for flag, choices in (("policy", POLICIES), ("terrain", KINDS)):
        value = getattr(args, flag)
        if value is not None and value not in choices:
            raise unknown(flag, value, choices)
    for flag in ("episodes", "video_length"):
        value = getattr(args, flag)
        if value is not None and not value > 0:
            raise UserError(f"--{flag} {value}; allowed: more than 0")
    return args

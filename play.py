"""Measure, watch and film a trained run: python play.py --load_run [RUN] [--terrain KIND] [--level N] [--video]."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from legged_gym_ext.config.cli import main_guard, make_parser, parse
from legged_gym_ext.errors import UserError, unknown
from legged_gym_ext.evaluation import outcomes
from legged_gym_ext.rendering import VIEWERS
from legged_gym_ext.rendering.opengl import choose_backend
from legged_gym_ext.runs.folder import find_saved
from legged_gym_ext.runs.settle import resolve_runtime, seed_everything
from legged_gym_ext.tasks import get_factories
from legged_gym_ext.terrain.kinds import KINDS, only

if TYPE_CHECKING:
    from rsl_rl.models import MLPModel

    from legged_gym_ext.envs.parkour_env import ParkourEnv
    from legged_gym_ext.learning.runner import ParkourRunner
    from legged_gym_ext.rendering.video import Recorder
    from legged_gym_ext.rendering.viewer import Live

NUM_ENVS = 64
POLICIES = ("student", "teacher")


def main(argv: list[str]) -> None:
    """Play a run's policy: count how its episodes end, and show and film them where that is asked for."""
    args = parse_flags(argv)
    config, checkpoint = find_saved(args)
    levels = config.terrain.levels
    if args.level is not None and not 0 <= args.level < levels:
        raise UserError(f"--level {args.level}: not a level of this run; allowed: 0 to {levels - 1} (terrain.levels)")
    video = prepare_video(args, checkpoint)

    seed_everything(config.seed)
    runtime = resolve_runtime(config)
    factories = get_factories(config.task)
    num_envs = min(runtime.num_envs, args.episodes or runtime.num_envs)
    episodes = args.episodes or num_envs
    env = factories.make_env(config, num_envs, runtime.sim_device)
    runner = factories.make_runner(env, config, None, runtime.rl_device)
    runner.load(str(checkpoint), resume=False)
    policy, name = choose_policy(runner, args.policy)

    kinds = env.library.assign_kinds(num_envs)
    level = outcomes.spread_levels(kinds, levels) if args.level is None else torch.full_like(kinds, args.level)
    env.place(kinds, level)
    print(f"checkpoint {checkpoint}")
    print(f"policy     {name}")
    print(f"terrain    {args.terrain or 'all kinds'}, {'all levels' if args.level is None else f'level {args.level}'}")
    print(f"episodes   {episodes}, randomization {'as in training' if args.randomize else 'off'}", flush=True)

    from legged_gym_ext.rendering.scene import RobotScene
    from legged_gym_ext.rendering.video import Recorder, write_video
    from legged_gym_ext.rendering.viewer import Live, open_viewer

    scene = RobotScene(env.robot, config.sim)
    shown = outcomes.examples(kinds)
    recorder = Recorder(env, shown, args.video_length / len(shown)) if video else None
    viewer = open_viewer("none" if args.headless else args.viewer, scene)
    live = Live(viewer, env, shown) if viewer else None
    count = outcomes.EpisodeCount(kinds, outcomes.share_out(episodes, num_envs), env.dt)
    run(env, policy, runtime.rl_device, count, recorder, live)

    print(f"\n{outcomes.table(count, env.library.kinds)}", flush=True)
    if not count.complete:
        print("The viewer was closed before all episodes had ended: short ones, falls, have too large a share.")
    if video and recorder:
        write_video(video, scene, recorder)
        print(f"\nvideo      {video}")


def run(
    env: ParkourEnv,
    policy: MLPModel,
    device: torch.device,
    count: outcomes.EpisodeCount,
    recorder: Recorder | None,
    live: Live | None,
) -> None:
    """Play until all episodes that count have ended; where somebody watches, until the viewer is closed or Ctrl-C."""
    try:
        for rewards, dones, extras in outcomes.play(env, policy, device):
            count.add(rewards, dones, extras)
            if recorder:
                recorder.add(dones)
            if live:
                live.add(dones)
            if not live.is_open() if live else count.complete:
                break
    except KeyboardInterrupt:
        if not live:
            raise
    finally:
        if live:
            live.close()


def parse_flags(argv: list[str]) -> argparse.Namespace:
    """Parse the command line; ``overrides`` begins with what playing changes in any run's configuration."""
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
    parser.add_argument("--viewer", metavar=f"{{{','.join(VIEWERS)}}}", default="auto", help="how to watch it live")
    args = parse(parser, argv)
    for flag, choices in (("policy", POLICIES), ("terrain", KINDS), ("viewer", VIEWERS)):
        value = getattr(args, flag)
        if value is not None and value not in choices:
            raise unknown(flag, value, choices)
    for flag in ("episodes", "video_length"):
        value = getattr(args, flag)
        if value is not None and not value > 0:
            raise UserError(f"--{flag} {value}; allowed: more than 0")
    args.overrides = [
        f"env.num_envs={NUM_ENVS}",
        *outcomes.HELD_LEVELS,
        *(() if args.randomize else outcomes.NOTHING_RANDOM),
        *(only([args.terrain]) if args.terrain else ()),
        *args.overrides,
    ]
    return args


def prepare_video(args: argparse.Namespace, checkpoint: Path) -> Path | None:
    """Return where the video goes; None where there is to be none, or, with a line, can be none.

    Comes before MuJoCo is imported, which chooses then how it draws.
    """
    if args.video is None:
        return None
    if not choose_backend():
        print("video      none: no OpenGL works here without a display (EGL and OSMesa were tried)")
        return None
    terrain = "" if args.terrain is None else f"_{args.terrain}"
    level = "" if args.level is None else f"_level{args.level}"
    path = Path(args.video or checkpoint.parent / "videos" / f"{checkpoint.stem}{terrain}{level}.mp4")
    if path.suffix != ".mp4":
        raise UserError(f"--video {path}: the name of the file must end in .mp4")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"--video {path}: cannot create its folder: {error.strerror}") from error
    return path


def choose_policy(runner: ParkourRunner, name: str | None) -> tuple[MLPModel, str]:
    """Return the policy of that name, and how to call it; without a name, the student where it is trained."""
    if name is None:
        try:
            return runner.get_inference_policy("student"), "student"
        except UserError:
            return runner.get_inference_policy("teacher"), "teacher (this run has no trained student yet)"
    return runner.get_inference_policy("teacher" if name == "teacher" else "student"), name


if __name__ == "__main__":
    main_guard(main)

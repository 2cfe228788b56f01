"""``python -m legged_gym_ext.deploy.sim2sim FOLDER``: walk the parkour course by an exported folder alone."""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from legged_gym_ext import __version__
from legged_gym_ext.config.cli import Parser, main_guard
from legged_gym_ext.deploy.sim2sim import course
from legged_gym_ext.device.cpu import available_cores
from legged_gym_ext.errors import UserError, unknown
from legged_gym_ext.terrain.kinds import KINDS

if TYPE_CHECKING:
    from legged_gym_ext.deploy.sim2sim.walk import Conditions, Episode

_EPISODES = 5
_RANGES = {
    "episodes": (1, 1000),
    "speed": (0, 10),
    "friction": (0, 10),
    "action_delay": (0, 1),
    "camera_fov": (1, 179),
    "camera_rate": (1, 1000),
    "camera_latency": (0, 1),
    "camera_jitter": (0, 0.1),
    "disparity_noise": (0, 100),
    "holes": (0, 1),
    "seed": (0, 2**63 - 1),
    "workers": (1, 1024),
}
"""What the numbers may be, from the one to the other."""
_PACKAGES = ("mujoco", "onnxruntime", "numpy")


def main(argv: list[str]) -> None:
    """Walk, and tell what came of it."""
    args = parse(argv)
    if args.video:
        from legged_gym_ext.rendering.opengl import choose_backend  # before MuJoCo, which chooses when it is imported

        if not choose_backend():
            raise UserError("--video: no OpenGL works here without a display (EGL and OSMesa were tried)")

    from legged_gym_ext.deploy.runtime import PolicyError, read_specification
    from legged_gym_ext.deploy.sim2sim import episodes, report
    from legged_gym_ext.deploy.sim2sim.walk import Walker

    evaluation = report.read_evaluation(args.compare) if args.compare else None
    try:
        specification = read_specification(args.folder)
        conditions = make_conditions(args, specification)
        facts = describe(args, conditions, specification, Walker(args.folder, conditions).robot.control_period)
    except PolicyError as error:
        raise UserError(str(error)) from None
    if args.out:
        try:
            args.out.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"--out {args.out}: {error.strerror}") from error
    for name, value in facts.items():
        print(f"{name:<16}{_text(value)}")
    print(flush=True)

    todo = episodes.places(args.terrain, args.level, args.episodes)
    if args.viewer or args.video:
        done = watched(args, conditions, todo)
    else:
        done = episodes.run(args.folder, conditions, todo, args.workers, lambda line: print(line, flush=True))
    if not done:
        raise KeyboardInterrupt
    facts["episodes"] = f"{len(done)} of {len(todo)}"
    spent, walked = sum(each.seconds for each in done), sum(each.time for each in done)
    facts["real-time factor"] = f"{walked / spent:.1f} of each of {args.workers} processes"
    print(f"\n{report.success_text(report.count_episodes(done), args.terrain, args.level)}\n")
    print("\n".join(report.summary(done)))
    print(f"Real-time factor: {facts['real-time factor']}.")
    against = []
    if evaluation:
        heading, cells = evaluation
        against = report.compare(report.count_episodes(done), cells)
        print(f"\n{report.comparison_text(against)}", flush=True)
        facts["compared with"] = (
            f"{heading['run']}, checkpoint {heading['checkpoint']}" if heading else str(args.compare)
        )
        for line in unlike(heading, conditions):
            print(line)
    if args.out:
        report.write(args.out, facts, done, against)
        print(f"\nreport          {args.out / 'sim2sim.md'}")
    if len(done) < len(todo):
        raise KeyboardInterrupt


def parse(argv: list[str]) -> argparse.Namespace:
    """Parse the command line; ``terrain`` and ``level`` of the result are lists.

    Raises:
        UserError: There is no such flag, or a value is not allowed.
    """
    parser = Parser(prog="python -m legged_gym_ext.deploy.sim2sim", description=__doc__, allow_abbrev=False)
    add = parser.add_argument
    add("folder", metavar="FOLDER", type=Path, help="that export.py has written")
    add("--terrain", metavar="KIND,...", help=f"of {', '.join(KINDS)} (default: all)")
    add("--level", metavar="N,...", help=f"{course.LEVELS[0]} to {course.LEVELS[-1]} (default: all)")
    add("--episodes", metavar="N", type=int, default=_EPISODES, help=f"of each kind and level (default: {_EPISODES})")
    add("--speed", metavar="M/S", type=float, help="commanded (default: the middle of policy.yaml's range)")
    add("--seed", metavar="N", type=int, default=0, help="of starts, noise and delays; tiles are the benchmark's")
    add("--workers", metavar="N", type=int, help="processes (default: one for each core)")
    add("--out", metavar="DIR", type=Path, help="write the report there, as JSON and Markdown")
    add("--compare", metavar="JSON", type=Path, help="report.json, or .csv, of evaluate.py, of the same policy")
    add("--viewer", metavar="{web,window}", help="watch it live, in one process")
    add("--video", metavar="PATH", type=Path, help="write an mp4, in one process")
    add("--noise", metavar="X", default="1", help="times policy.yaml's; or NAME=VALUE,... for single observations")
    add("--action_delay", metavar="S", type=float, help="until the drives have new targets (default: 0.005)")
    add("--friction", metavar="X", type=float, help="of the robot on the ground (default: 1)")
    add("--fading", action="store_true", help="motors drive the less the quicker joints turn, up to their speed limits")
    add("--camera", metavar="WxH", help="pixels (default: 106x60)")
    add("--camera_fov", metavar="DEG", type=float, help="horizontal (default: 87)")
    add("--camera_rate", metavar="HZ", type=float, help="(default: 30)")
    add("--camera_latency", metavar="S", type=float, help="(default: 0.03)")
    add("--camera_jitter", metavar="S", type=float, help="of its times, +- (default: 0.003)")
    add("--disparity_noise", metavar="PX", type=float, help="of a stereo camera of 848 columns (default: 0.1)")
    add("--holes", metavar="SHARE", type=float, help="of pixels without a value; 0: no patches, either (default: 0.01)")
    add("--see_robot", action="store_true", help="the legs are in the image (default: they are not)")
    args = parser.parse_args(argv)
    for flag, (low, high) in _RANGES.items():
        value = getattr(args, flag)
        if value is not None and not low <= value <= high:
            raise UserError(f"--{flag} {value}; allowed: {low:g} to {high:g}")
    if args.viewer is not None and args.viewer not in ("web", "window"):
        raise unknown("viewer", args.viewer, ("web", "window"))
    if args.video and args.video.suffix != ".mp4":
        raise UserError(f"--video {args.video}: the name of the file must end in .mp4")
    if args.viewer and args.video:
        raise UserError("--viewer and --video: one of them at a time")
    args.terrain = _choices("terrain", args.terrain, KINDS)
    levels = {str(level): level for level in course.LEVELS}
    for level in args.level.split(",") if args.level else ():
        if level not in levels:
            raise UserError(f"--level {level}; allowed: {course.LEVELS[0]} to {course.LEVELS[-1]}")
    args.level = sorted({levels[level] for level in args.level.split(",")}) if args.level else list(course.LEVELS)
    args.workers = 1 if args.viewer or args.video else args.workers or available_cores()
    return args


def make_conditions(args: argparse.Namespace, specification: Mapping[str, Any]) -> Conditions:
    """Return what the flags say, and policy.yaml where they say nothing.

    Raises:
        UserError: A value cannot be read.
    """
    from legged_gym_ext.deploy.sim2sim.camera import Eyes
    from legged_gym_ext.deploy.sim2sim.walk import Conditions

    low, high = specification["commands"]["ranges"][0]
    eyes = {
        "horizontal_fov": None if args.camera_fov is None else math.radians(args.camera_fov),
        "rate": args.camera_rate,
        "latency": args.camera_latency,
        "latency_jitter": 0.0 if args.camera_latency == 0 else None,
        "jitter": args.camera_jitter,
        "disparity_noise": args.disparity_noise,
        "holes": args.holes,
        "patches": 0.0 if args.holes == 0 else None,
    }
    if args.camera is not None:
        width, _, height = args.camera.partition("x")
        if not (width.isdecimal() and height.isdecimal() and 1 <= int(width) <= 4096 and 1 <= int(height) <= 4096):
            raise UserError(f"--camera {args.camera}; expected columns and rows, such as 106x60")
        eyes |= {"width": int(width), "height": int(height)}
    others = {"action_delay": args.action_delay, "friction": args.friction}
    return Conditions(
        speed=(low + high) / 2 if args.speed is None else args.speed,
        noise=_noise(args.noise, specification),
        eyes=replace(Eyes(see_robot=args.see_robot), **{name: v for name, v in eyes.items() if v is not None}),
        fading=args.fading,
        seed=args.seed,
        **{name: value for name, value in others.items() if value is not None},
    )


def _noise(text: str, specification: Mapping[str, Any]) -> dict[str, float]:
    """Return the noise of the sensors: a multiple of policy.yaml's, or that with single values in its place."""
    from legged_gym_ext.deploy.sim2sim.walk import NOISY

    trained = {term["name"]: float(term["noise"]) for term in specification["observations"]}
    noise = {name: trained[name] for name in NOISY}
    try:
        if "=" not in text:
            factor = float(text)
            changes = {name: factor * value for name, value in noise.items()}
        else:
            pairs = (part.partition("=") for part in text.split(","))
            changes = {name: float(value) for name, _, value in pairs}
    except ValueError:
        raise UserError(f"--noise {text}; expected a number, or NAME=VALUE,...") from None
    for name, value in changes.items():
        if name not in noise:
            raise unknown("observation in --noise", name, noise)
        if not 0 <= value < math.inf:
            raise UserError(f"--noise {text}; allowed: 0 or more")
    return noise | changes


def describe(
    args: argparse.Namespace, conditions: Conditions, specification: Mapping[str, Any], period: float
) -> dict[str, Any]:
    """Return what stands on top of a report."""
    from legged_gym_ext.deploy import runtime
    from legged_gym_ext.deploy.sim2sim import world

    trained = specification["trained"]
    copy = args.folder / "policy_runtime.py"
    same = copy.is_file() and copy.read_bytes() == Path(runtime.__file__).read_bytes()
    substeps = world.substeps(period)
    return {
        "policy": f"{trained['run']}, checkpoint {trained['checkpoint']}",
        "folder": str(args.folder),
        "runtime": "the folder's own, byte by byte" if same else f"this package's; the folder's {copy.name} differs",
        "benchmark": f"tiles of {course.BENCHMARK}",
        "terrain": args.terrain,
        "levels": args.level,
        "episodes": len(args.terrain) * len(args.level) * args.episodes,
        "speed": f"{conditions.speed:g} m/s",
        "physics": f"MuJoCo, {1000 * period / substeps:g} ms; friction {conditions.friction:g}",
        "motors": "torque that fades with speed" if conditions.fading else "torque at any speed",
        "control": f"{1000 * period:g} ms, drives {1000 * conditions.action_delay:g} ms late",
        "camera": asdict(conditions.eyes),
        "noise": dict(conditions.noise),
        "seed": conditions.seed,
        "versions": {"legged_gym_ext": __version__, **{package: version(package) for package in _PACKAGES}},
    }


def watched(args: argparse.Namespace, conditions: Conditions, todo: Sequence[tuple[str, int, int]]) -> list[Episode]:
    """Walk ``todo`` one by one where somebody watches, until the viewer is closed or Ctrl-C; return those."""
    from legged_gym_ext.deploy.sim2sim.walk import Walker, walk
    from legged_gym_ext.deploy.sim2sim.watch import Film, Viewer

    walker, done = Walker(args.folder, conditions), []
    with closing(Film(args.video) if args.video else Viewer(args.viewer)) as watch:
        try:
            for place in todo:
                episode = walk(walker, *place, watch)
                if episode is None:
                    break
                print(f"{episode.kind}, level {episode.level}, tile {episode.tile}: {episode.end}", flush=True)
                done.append(episode)
        except KeyboardInterrupt:
            print("interrupted", flush=True)
    return done


def unlike(heading: Mapping[str, Any], conditions: Conditions) -> Iterable[str]:
    """Yield a line for each thing that makes an evaluation no fair comparison."""
    for name, key, ours in (
        ("tiles", "seed", course.TILE_SEED),
        ("time limit", "time_limit", course.TIME_LIMIT),
        ("commanded speed", "commanded_speed", conditions.speed),
    ):
        if key in heading and heading[key] != ours:
            yield f"not alike: {name}: {heading[key]} there, {ours} here"


def _choices(flag: str, given: str | None, allowed: Iterable[str]) -> list[str]:
    """Return a comma-separated list's entries, in the order of ``allowed``; all of these where none is given."""
    allowed = list(allowed)
    entries = allowed if given is None else given.split(",")
    for entry in entries:
        if entry not in allowed:
            raise unknown(flag, entry, allowed)
    return [name for name in allowed if name in entries]


def _text(value: Any) -> str:
    """Return a fact in a line."""
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_text(item)}" for name, item in value.items())
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return f"{value:.4g}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    main_guard(main)

"""Damaged and malicious input: configurations, command lines, robots, checkpoints.

Whatever it is, the answer is a :class:`UserError` of one line, or it works. Cases run in a process of their own, with a
limit on memory, so that one that crashes or fills the memory is found, too.
"""

from __future__ import annotations

import copy
import os
import random
import resource
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import small_training
import torch

from legged_gym_ext import paths
from legged_gym_ext.commands import train
from legged_gym_ext.config.files import load_config
from legged_gym_ext.config.schema import RobotConfig
from legged_gym_ext.errors import UserError, exit_code_and_line
from legged_gym_ext.robot import load_robot
from legged_gym_ext.runs import checkpoint
from legged_gym_ext.runs.checkpoint import load_checkpoint, save_checkpoint
from legged_gym_ext.simulators.mujoco.model import build_model
from legged_gym_ext.simulators.mujoco.options import SolverOptions

MEMORY = 8 * 2**30
"""Bytes of address space that a case may take, on top of what the process has."""

_NUMBERS = ("nan", "inf", "-1", "0", "1e308", "1e-308", "99999999999999999999", "true", "null", "~")
_STRUCTURES = ("''", "[]", "{}", "[1,2,3]", "${oc.env:HOME}", "!!python/object:os.system", "&a *a")
_WORDS = (*_NUMBERS, *_STRUCTURES, "../../../etc/passwd", "/dev/zero", "\x00", "é", "a" * 3000)
_PLAIN = (None, True, -1, 0, 2**70, 1.5, float("nan"), "text", b"bytes", [], {}, [[]], {"a": {}})
_VALUES = (*_PLAIN, torch.zeros(0), torch.ones(3, 2))


def yaml_text(dice: random.Random) -> Callable[[Path], None]:
    """Change a task's YAML, bytes or values, and load it."""
    text = dice.choice(sorted(paths.CONFIGS.glob("*.yaml"))).read_bytes()

    def case(folder: Path) -> None:
        path = folder / "case.yaml"
        path.write_bytes(_changed(text, dice))
        load_config(str(path))

    return case


def command_line(dice: random.Random) -> Callable[[Path], None]:
    """Give a command line of flags, keys and values that are there, somewhat wrong."""
    keys = [
        "num_envs",
        "seed",
        "task",
        "load_run",
        "checkpoint",
        "resume",
        "sim",
        "phase",
        "max_iterations",
        "run_name",
    ]
    dotted = ["env.num_envs", "ppo.gamma", "teacher.hidden_dims", "robot.default_pose.knee", "rewards.weights.alive"]
    dotted += ["camera.resolution", "student.encoder.kind", "terrain.gaps", "sim.mujoco", "distill", "student.encoder"]

    def word() -> str:
        kind = dice.randrange(4)
        if kind == 0:
            return f"--{dice.choice(keys)}={dice.choice(_WORDS)}"
        if kind == 1:
            return f"{dice.choice(dotted)}={dice.choice(_WORDS)}"
        if kind == 2:
            return dice.choice(_WORDS)
        whole = f"--{dice.choice(keys + dotted)}={dice.choice(['4', '0.5', '[8]', 'light'])}".encode()
        return _changed(whole, dice).decode("utf-8", "replace").replace("\0", "")

    words = [word() for _ in range(dice.randint(1, 4))]

    def case(folder: Path) -> None:
        paths.LOGS = folder / "logs"
        train.read(words)

    return case


def robot(dice: random.Random) -> Callable[[Path], None]:
    """Change the robot's URDF, and build the physics' model of it."""
    text = paths.resolve(RobotConfig().urdf).read_bytes()

    def case(folder: Path) -> None:
        path = folder / "case.urdf"
        path.write_bytes(_changed(text, dice))
        build_model(load_robot(RobotConfig(urdf=str(path))), 0.005, SolverOptions())

    return case


def saved(content: dict[str, Any]) -> Callable[[random.Random], Callable[[Path], None]]:
    """Return the maker of cases that change a checkpoint's ``content``, anywhere, and go on with it."""
    torch.set_num_threads(1)  # others would not be there in forked processes
    runner = small_training.runner()

    def make(dice: random.Random) -> Callable[[Path], None]:
        changed = copy.deepcopy(content)
        for _ in range(dice.randint(1, 3)):
            _change_an_entry(changed, dice)

        def case(folder: Path) -> None:
            path = folder / "model_1.pt"
            save_checkpoint({name: value for name, value in changed.items() if name not in ("format", "version")}, path)
            runner.load(str(path), resume=dice.random() < 0.5)
            runner.learn(1)

        return case

    return make


def archive(content: bytes) -> Callable[[random.Random], Callable[[Path], None]]:
    """Return the maker of cases that change a checkpoint's bytes, and read it past the check sums."""

    def make(dice: random.Random) -> Callable[[Path], None]:
        def case(folder: Path) -> None:
            path = folder / "model_1.pt"
            path.write_bytes(_changed(content, dice))
            if dice.random() < 0.8:
                checkpoint.damage = lambda _: ""
            load_checkpoint(path)

        return case

    return make


def run(make: Callable[[random.Random], Callable[[Path], None]], seed: int, folder: Path) -> str:
    """Run a case in a process of its own; return ``accepted``, ``refused``, or what went wrong."""
    folder.mkdir(parents=True, exist_ok=True)
    reading, writing = os.pipe()
    number = os.fork()
    if number == 0:
        try:
            os.close(reading)
            result = _outcome(make, seed, folder)
            os.write(writing, result.encode("utf-8", "replace")[:4000])
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        told = pipe.read().decode("utf-8", "replace")
    _, status = os.waitpid(number, 0)
    return told or f"the process ended with status {status} and without a word"


def _outcome(make: Callable[[random.Random], Callable[[Path], None]], seed: int, folder: Path) -> str:
    size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (size + MEMORY, size + MEMORY))
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    os.dup2(1, 2)
    torch.set_num_threads(1)
    try:
        make(random.Random(seed))(folder)
    except UserError as error:
        code, line = exit_code_and_line(error)
        return "refused" if code == 2 and line.isprintable() else f"not one clear line: {line}"
    except SystemExit:
        return "refused"
    except BaseException:
        return traceback.format_exc()[-1500:]
    return "accepted"


def count(
    name: str, make: Callable[[random.Random], Callable[[Path], None]], cases: int, first_seed: int, folder: Path
) -> Counter[str]:
    """Run many cases; return how many were accepted and refused.

    Raises:
        AssertionError: One was neither.
    """
    counts: Counter[str] = Counter()
    for seed in range(first_seed, first_seed + cases):
        result = run(make, seed, folder / name)
        counts[result] += 1
        assert result in ("accepted", "refused"), f"{name}, case {seed}: {result}"
    return counts


def _changed(text: bytes, dice: random.Random) -> bytes:
    """Return bytes with a few changes: flips, cuts, repetitions, and words that are hard to read."""
    result = bytearray(text)
    for _ in range(dice.choice([1, 1, 2, 5, 20])):
        at = dice.randrange(len(result) + 1)
        end = min(at + dice.choice([1, 1, 2, 8, 100]), len(result))
        match dice.randrange(5):
            case 0 if result:
                result[min(at, len(result) - 1)] ^= 1 << dice.randrange(8)
            case 1:
                del result[at:end]
            case 2:
                result[at:at] = result[at:end] * dice.choice([1, 2, 50])
            case 3:
                result[at:end] = dice.choice(_WORDS).encode()
            case _:
                result[at:end] = dice.randbytes(end - at)
    return bytes(result)


def _change_an_entry(content: Any, dice: random.Random) -> None:
    """Replace, take away or move something in nested dictionaries and lists, in place."""
    places: list[tuple[Any, Any]] = []

    def collect(value: Any) -> None:
        for key in list(value) if isinstance(value, dict) else range(len(value)):
            places.append((value, key))
            if isinstance(value[key], dict | list):
                collect(value[key])

    collect(content)
    owner, key = dice.choice(places)
    match dice.randrange(4):
        case 0:
            del owner[key]
        case 1:
            owner[key] = copy.deepcopy(dice.choice(_VALUES))
        case 2:
            other, there = dice.choice(places)
            if there in (other if isinstance(other, dict) else range(len(other))):
                owner[key] = copy.deepcopy(other[there])
        case _:
            value = owner[key]
            if isinstance(value, torch.Tensor) and value.numel():
                flat, broken = value.flatten(), value * float("nan")
                owner[key] = dice.choice([flat[:0], flat, value.double(), value.to(torch.int8), broken])
            else:
                owner[key] = dice.choice(_VALUES)

"""The specification's table, teacher beside student, measured: sizes of the networks, and what a control step costs.

For one robot, on one thread, in float32: what a robot's own computer has to do. Times are of the processor, which other
programs disturb least; on a quiet machine they are those on the wall.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from benchmarks.case import Case
from benchmarks.ratios import table
from benchmarks.stopwatch import seconds_in_turns
from legged_gym_ext.errors import UserError
from legged_gym_ext.learning.phases.distillation import Distillation
from legged_gym_ext.learning.runner import ParkourRunner
from legged_gym_ext.models.actor import ParkourActor
from legged_gym_ext.models.student import Student
from legged_gym_ext.models.teacher import plain_mlp

TASKS = {"parkour_depth_spec": ("spec teacher", "spec student"), "parkour_depth": ("lean teacher", "light student")}
"""Tasks, and what their two networks are called here."""
SMALL = ("terrain.levels=1", "terrain.variants=1", "env.num_envs=1", "runner.precision=float32")
REFERENCE = "spec teacher"
TURNS = 300
TURN = 5e-3  # s; on a busy machine, some turns as short as this pass without another program


@dataclass(frozen=True)
class Network:
    """A policy, and what it costs as it is exported."""

    actor: ParkourActor
    image_interval: int
    """Control steps from one camera frame to the next."""

    @property
    def inputs(self) -> int:
        """Return how many numbers the actor's first layer reads."""
        return self.actor.obs_dim + self.actor.terrain_dim

    @property
    def first_layer(self) -> int:
        """Return the weights of the actor's first layer."""
        return plain_mlp(self.actor)[0].get_parameter("weight").numel()

    @property
    def parameters(self) -> int:
        """Return the parameters that make actions; those of PPO's noise do not."""
        return sum(parameter.numel() for parameter in self.actor.as_jit().parameters())

    def parts(self) -> dict[str, tuple[Callable[[], object], float]]:
        """Return what has to be called, and how often per control step, by name. It is TorchScript, frozen."""
        script = torch.jit.script(self.actor.as_jit().eval())
        if not isinstance(self.actor, Student):
            policy = torch.jit.freeze(script)
            return {"whole": (partial(policy, torch.rand(1, self.inputs) - 0.5), 1.0)}
        student = torch.jit.freeze(script, ["encode_image", "act"])
        rows, columns = self.actor.encoder.image_shape
        image, vectors = torch.rand(1, rows * columns) - 0.5, torch.rand(1, self.actor.obs_dim) - 0.5
        features: Tensor = student.encode_image(image)
        return {
            "image": (partial(student.encode_image, image), 1 / self.image_interval),
            "rest": (partial(student.act, vectors, features), 1.0),
        }


def run(case: Case) -> dict[str, float]:
    """Print the table, and return the seconds of a control step by network: processor time, medians of turns.

    A student encodes an image when the camera has a new one, and does the rest in every control step.

    Raises:
        UserError: The device is no CPU.
    """
    if not case.on_cpu:
        raise UserError("networks: measured on one thread of a CPU; --device cpu")
    torch.set_num_threads(1)
    torch.manual_seed(0)
    networks = make_networks(case)
    parts = {(name, part): what for name, network in networks.items() for part, what in network.parts().items()}
    functions = {f"{name}, {part}": function for (name, part), (function, _) in parts.items()}
    with torch.inference_mode():
        seconds = seconds_in_turns(
            functions, case.torch_device, 3 if case.quick else TURNS, TURN, clock=time.process_time
        )
    shares = {f"{name}, {part}": share for (name, part), (_, share) in parts.items()}
    medians = {name: _step(name, shares, seconds, statistics.median) for name in networks}
    fastest = {name: _step(name, shares, seconds, min) for name in networks}
    print("networks, one robot, one thread, float32, frozen TorchScript, processor time:")
    print(table([["", *networks], *_rows(networks, medians, fastest)]))
    for name, turns in seconds.items():
        times = f"median {statistics.median(turns) * 1e6:8.1f} us, fastest {min(turns) * 1e6:8.1f} us"
        print(f"  {name:<22} {times}, {shares[name]:.2g} times in a control step")
    return medians


def make_networks(case: Case) -> dict[str, Network]:
    """Make the teacher and the student of each task, untrained."""
    networks = {}
    for task, (teacher_name, student_name) in TASKS.items():
        config = case.config(*SMALL, task=task)
        runner = ParkourRunner(case.make_env(config), config, None, case.device)
        distillation, teacher = runner.phases["distillation"], runner.alg.get_policy()
        assert isinstance(distillation, Distillation) and isinstance(teacher, ParkourActor)
        interval = config.camera.update_interval
        networks[teacher_name] = Network(teacher, interval)
        networks[student_name] = Network(distillation.student, interval)
    return networks


def _step(
    name: str,
    shares: Mapping[str, float],
    seconds: Mapping[str, Sequence[float]],
    of_turns: Callable[[Sequence[float]], float],
) -> float:
    """Return the seconds of a control step of a network."""
    return sum(share * of_turns(seconds[part]) for part, share in shares.items() if part.startswith(f"{name}, "))


def _rows(
    networks: Mapping[str, Network], medians: Mapping[str, float], fastest: Mapping[str, float]
) -> list[list[str]]:
    """Return the specification's rows, and a few more."""
    columns = networks.values()
    return [
        ["inputs of the actor", *(f"{network.inputs:,}" for network in columns)],
        ["weights of its first layer", *(f"{network.first_layer:,}" for network in columns)],
        ["all parameters", *(f"{network.parameters:,}" for network in columns)],
        ["their memory, MB", *(f"{network.parameters * 4 / 1e6:.2f}" for network in columns)],
        ["time of a control step, us: median", *(f"{medians[name] * 1e6:.0f}" for name in networks)],
        ["time of a control step, us: fastest", *(f"{fastest[name] * 1e6:.0f}" for name in networks)],
        ["ratio of medians", *(f"{medians[name] / medians[REFERENCE]:.2f}x" for name in networks)],
        ["ratio of the fastest", *(f"{fastest[name] / fastest[REFERENCE]:.2f}x" for name in networks)],
    ]

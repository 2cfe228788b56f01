"""What the tests of several ranks have torchrun run, with a program's name and a folder for its results."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from dummy_env import NUM_ACTIONS, DummyEnv, small_config
from dummy_runner import collect, distillation, finetune
from tensordict import TensorDict
from torch import Tensor

from legged_gym_ext.config.schema import Config
from legged_gym_ext.learning.runner import ParkourRunner
from legged_gym_ext.processes.join import joined
from legged_gym_ext.processes.ranks import here
from legged_gym_ext.runs.checkpoint import load_checkpoint, map_tensors, save_checkpoint
from legged_gym_ext.runs.settle import rank_config, seed_everything

ENVS = 8
"""Environments of all ranks."""


def training_config() -> Config:
    config = small_config(precision="float32")
    config.teacher.normalize_observations = True
    config.distill.beta = 0.5
    return config


def guided_config() -> Config:
    config = training_config()
    config.teacher.depth_block = 2
    config.guide.enabled, config.guide.level, config.guide.iterations = True, 1e9, 2
    config.guide.rounds, config.guide.steps_per_env, config.guide.mini_batches = 2, 5, 2
    return config


def finetuning_config(warmup: int) -> Config:
    config = training_config()
    config.finetune.enabled, config.finetune.warmup = True, warmup
    config.finetune.num_steps_per_env, config.finetune.num_mini_batches = 6, 2
    return config


def make(log_dir: Path | None, seed: int = 1, config: Config | None = None) -> ParkourRunner:
    """Return a runner on this rank's part of the environments."""
    config = config or training_config()
    own = rank_config(config)
    seed_everything(here().seed(seed))
    return ParkourRunner(DummyEnv(own, here().share(ENVS), seed=own.seed), config, log_dir, "cpu")


def networks(runner: ParkourRunner) -> dict[str, Any]:
    """Return copies of all that must be the same on all ranks."""
    content = {
        "ppo": runner.alg.save(),
        "distillation": distillation(runner).state_dict(),
        "learning_rate": runner.alg.learning_rate,
        "group_rates": [group["lr"] for group in runner.alg.optimizer.param_groups],
    }
    for name in ("guide", "imitation", "finetune"):
        if name in runner.phases:
            content[name] = runner.phases[name].state_dict()
    return map_tensors(content, Tensor.clone)


def train(runner: ParkourRunner, iterations: int) -> list[dict[str, Any]]:
    """Train and return the networks after every iteration."""
    seen = []
    iterate = runner._iterate

    def spy() -> Any:
        result = iterate()
        seen.append(networks(runner))
        return result

    runner._iterate = spy  # type: ignore[method-assign]
    runner.learn(iterations)
    return seen


# A batch that is the same however it is split ------------------------------------------------------------------------


class Split(DummyEnv):
    """The ``rows`` of an environment whose future does not depend on the actions."""

    def __init__(self, config: Config, rows: slice) -> None:
        self.whole = DummyEnv(config, ENVS, seed=5)
        self.cfg, self.rows, self.num_actions, self.device = config, rows, NUM_ACTIONS, "cpu"
        self.num_envs = len(range(ENVS)[rows])
        self.max_episode_length = self.whole.max_episode_length

    def get_observations(self) -> TensorDict:
        return self.whole.get_observations()[self.rows]

    def step(self, actions: Tensor) -> tuple[TensorDict, Tensor, Tensor, dict]:
        target = self.whole.target[self.rows]
        obs, _, dones, extras = self.whole.step(torch.zeros(ENVS, NUM_ACTIONS))
        log = extras.pop("log")
        extras = {name: value[self.rows] for name, value in extras.items()}
        rewards = -(actions[:, :3] - target).square().mean(dim=1)
        return obs[self.rows], rewards, dones[self.rows], {**extras, "log": log}


def update_on(rows: slice) -> dict[str, Any]:
    """Return the gradients and networks of one PPO and one DAgger update on those rows of the batch.

    Mini-batches are the same parts of the batch however it is split: spans of steps for PPO, for DAgger the n-th part
    of each half of the environments.
    """
    config = training_config()
    config.distill.beta = 0.0
    config.distill.start = 0
    config.ppo.desired_kl = 1e-3  # so that the learning rate moves
    seed_everything(3)
    env = Split(config, rows)
    runner = ParkourRunner(env, config, None, "cpu")
    # Adam's first step is as large for a gradient that is rounding error as for any other.
    distillation(runner).optimizer = torch.optim.SGD(
        [{key: group[key] for key in ("params", "lr")} for group in distillation(runner).optimizer.param_groups]
    )
    give_noise(runner.alg.actor.distribution, config.runner.num_steps_per_env, rows)
    storage = runner.alg.storage
    storage._shuffled = lambda: torch.arange(env.num_envs * config.runner.num_steps_per_env)  # type: ignore
    runner._prepare_networks()
    result: dict[str, Any] = {"gradients": [], "advantages": None}

    watch(runner.alg.optimizer, result["gradients"])
    watch(distillation(runner).optimizer, result["gradients"])
    collect(runner)
    result["advantages"] = storage.advantages.clone()
    runner.alg.update()
    distillation(runner).collect(env, runner.lanes["student"].statistics)
    with parts_of_halves(env.num_envs):
        distillation(runner).update()
    return result | networks(runner)


def finetuning_update_on(rows: slice) -> dict[str, Any]:
    """Return the gradients and networks of one update of a fine-tuning on those rows of the batch."""
    config = finetuning_config(warmup=0)
    config.ppo.desired_kl = 1e-3
    seed_everything(3)
    env = Split(config, rows)
    runner = ParkourRunner(env, config, None, "cpu")
    phase = finetune(runner)
    give_noise(phase.actor.distribution, config.finetune.num_steps_per_env, rows)
    runner._prepare_networks()
    result: dict[str, Any] = {"gradients": []}
    watch(phase.alg.optimizer, result["gradients"])
    phase.collect(env, runner.lanes["student"].statistics)
    with parts_of_halves(env.num_envs):
        phase.update()
    return result | {"rate": phase.alg.learning_rate}


def give_noise(distribution: Any, steps: int, rows: slice) -> None:
    """Have a Gaussian drawn from by those rows of the same random numbers."""
    noise = iter(torch.randn(steps, ENVS, NUM_ACTIONS)[:, rows])
    distribution.sample = lambda: distribution.mean + distribution.std * next(noise, 0.0)  # the update samples too


def watch(optimizer: torch.optim.Optimizer, gradients: list[list[Tensor]]) -> None:
    """Record the gradients that each step of the optimizer takes."""
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    optimizer.register_step_pre_hook(lambda *_: gradients.append([p.grad.clone() for p in parameters]))


@contextmanager
def parts_of_halves(num_envs: int) -> Iterator[None]:
    """Make mini-batches of environments from the n-th parts of both halves, or of the one that this rank has."""
    halves = torch.arange(num_envs).view(-1, ENVS // 2)
    order = torch.cat([halves[:, : ENVS // 4].flatten(), halves[:, ENVS // 4 :].flatten()])
    permutation = torch.randperm
    torch.randperm = lambda *_, **__: order  # type: ignore
    yield
    torch.randperm = permutation


# Programs ------------------------------------------------------------------------------------------------------------


def together(folder: Path) -> None:
    """Train in one go and in parts, and do one update on a split batch; write what each rank has in the end."""
    rank = here().rank
    whole = make(folder / "whole")
    start = whole.env.snapshot()
    history = train(whole, 6)
    make(folder / "parts").learn(3)
    resumed = make(folder / "parts", seed=99)  # nothing of this process's random state may matter
    resumed.load(str(folder / "parts" / "model_3.pt"))
    resumed.learn(3)

    if rank == 0:
        content = load_checkpoint(folder / "parts" / "model_3.pt")
        content["ranks"][1] = None
        save_checkpoint(content, folder / "lacking" / "model_3.pt")
    lacking = make(None)
    lacking.load(str(folder / "lacking" / "model_3.pt"))
    went_on = lacking.lanes["student"].snapshot is not None
    lacking.learn(1)

    rows = slice(rank * ENVS // 2, (rank + 1) * ENVS // 2)
    guided = train(make(None, config=guided_config()), 5)
    result = {"start": start, "history": history, "guided": guided, "went_on": went_on, "update": update_on(rows)}
    torch.save(result, folder / f"rank{rank}.pt")


def finetuning(folder: Path) -> None:
    """Distil; then fine-tune in one go and in parts, and do one update on a split batch; write what each rank has."""
    make(folder / "first").learn(2)
    config = finetuning_config(warmup=1)
    whole = make(folder / "whole", config=config)
    whole.init_from(folder / "first" / "model_2.pt")
    history = train(whole, 4)
    parts = make(folder / "parts", config=config)
    parts.init_from(folder / "first" / "model_2.pt")
    parts.learn(2)
    resumed = make(folder / "parts", seed=99, config=config)
    resumed.load(str(folder / "parts" / "model_2.pt"))
    resumed.learn(2)
    rank = here().rank
    rows = slice(rank * ENVS // 2, (rank + 1) * ENVS // 2)
    torch.save({"history": history, "update": finetuning_update_on(rows)}, folder / f"rank{rank}.pt")


def fail(folder: Path, how: str) -> None:
    """Train until rank 1 (or 0, as ``how`` says) fails in the third iteration."""
    runner = make(folder / "run")
    step, steps = runner.env.step, 0
    failing = 0 if how == "kill_first" else 1

    def spy(actions: Tensor) -> Any:
        nonlocal steps
        steps += 1
        # Iterations have 6 teacher's steps; distillation of 6 steps follows all but the first.
        if steps == 6 + 12 + 3:
            if here().rank == failing:
                if how == "exception":
                    raise ValueError("the robot\nfell apart")
                os.kill(os.getpid(), signal.SIGKILL)
            if how == "kill":
                time.sleep(300)  # far from any collective
        return step(actions)

    runner.env.step = spy  # type: ignore[method-assign]
    runner.learn(50)


def endless(folder: Path) -> None:
    """Train until a signal comes."""
    (folder / f"pid{here().rank}").write_text(str(os.getpid()))
    make(folder / "run").learn(100_000)


if __name__ == "__main__":
    name, folder, *arguments = sys.argv[1:]
    with joined():
        programs = {"together": together, "finetuning": finetuning, "fail": fail, "endless": endless}
        programs[name](Path(folder), *arguments)

"""The training loop: PPO for the teacher and, in turns with it, DAgger for the student."""

from __future__ import annotations

import contextlib
import io
import time
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path
from typing import Any, Literal

import torch
from rsl_rl.env import VecEnv
from rsl_rl.models import MLPModel
from rsl_rl.runners import OnPolicyRunner
from tensordict import TensorDict
from torch import Tensor

from legged_gym_ext.config.schema import Config
from legged_gym_ext.device import memory
from legged_gym_ext.device.precision import use_bfloat16
from legged_gym_ext.errors import UserError, unknown
from legged_gym_ext.learning.build import rsl_rl_config
from legged_gym_ext.learning.journal import iteration_block
from legged_gym_ext.learning.nan_check import NanCheck
from legged_gym_ext.learning.phases.distillation import Dagger
from legged_gym_ext.learning.statistics import COUNTS, EpisodeStatistics, merge_logs, summarize
from legged_gym_ext.learning.storage import ParkourRolloutStorage
from legged_gym_ext.learning.symmetry import MirrorAugmentation
from legged_gym_ext.models.actor import DEPTH, ParkourActor
from legged_gym_ext.models.student import Student
from legged_gym_ext.processes import collectives, session
from legged_gym_ext.processes.launch import from_rank_zero
from legged_gym_ext.processes.ranks import here
from legged_gym_ext.processes.signals import StopRequest
from legged_gym_ext.runs.checkpoint import (
    checkpoint_name,
    load_checkpoint,
    map_tensors,
    prune_checkpoints,
    save_checkpoint,
)
from legged_gym_ext.runs.resume import keys_that_forbid_it, settled_engine


@dataclass(frozen=True)
class _Row:
    """What one rank tells the others of an iteration."""

    signal_name: str
    """Of the signal that asks to stop; empty if none does."""
    losses: dict[str, float]
    totals: dict[str, list[float]]
    """Of the episodes, by lane."""
    logs: dict[str, dict[str, float]]
    """The environment's, by lane."""


class ParkourRunner(OnPolicyRunner):
    """rsl_rl's runner with a student and two lanes.

    The teacher and the student take turns on one environment. Each has its lane, a snapshot of the environment that is
    restored when its turn comes, so that each has its own episodes and its own curriculum.

    ``iteration`` counts completed PPO iterations over all calls and resumed runs: ``model_<n>.pt`` and the log's step
    n are the state after n of them. Training for 3 iterations and then, resumed, for 3 more ends in ``model_6.pt``, as
    6 in one go do, and on a CPU with the same bits.

    Of several ranks (see session.py) each has its own environments, and all have the same networks: what follows
    is done by all of them, and the console, the log and the checkpoints are rank 0's.

    Args:
        env: The environment. It must return new observation tensors from every step, and besides rsl_rl's interface
            have ``snapshot()``, a dictionary with the state of its random ``generator``, and ``restore()``.
        config: The run's configuration.
        log_dir: Folder of the log and the checkpoints; None = neither.
        device: Of the networks.
    """

    def __init__(self, env: VecEnv, config: Config, log_dir: str | Path | None, device: str) -> None:
        self.config = config
        self.log_dir = Path(log_dir) if log_dir is not None else None
        bfloat16 = use_bfloat16(config.runner.precision, device)
        cfg = rsl_rl_config(config, bfloat16)
        with contextlib.redirect_stdout(io.StringIO()):  # rsl_rl prints the networks
            super().__init__(env, cfg, str(log_dir) if self.log_dir and cfg["logger"] else None, device)
        obs = env.get_observations().to(device)
        self._require_memory(obs, bfloat16)
        alg = self.alg
        if config.ppo.symmetry:
            alg.symmetry = MirrorAugmentation(env, device)  # type: ignore[arg-type]
        alg.optimizer = torch.optim.Adam(
            chain(alg.actor.parameters(), alg.critic.parameters()), lr=alg.learning_rate, fused=True
        )
        alg.storage = ParkourRolloutStorage(
            env.num_envs,
            config.runner.num_steps_per_env,
            obs,
            self.cfg["obs_groups"]["actor"] + self.cfg["obs_groups"]["critic"],
            env.num_actions,
            device,
            torch.bfloat16 if bfloat16 else None,
        )
        self.iteration = 0
        self.total_steps = 0
        """Environment steps of all ranks and both lanes, over all calls and resumed runs."""
        self.statistics = {"teacher": EpisodeStatistics(env.num_envs, device)}
        self.dagger: Dagger | None = None
        if config.distill.enabled:
            self.statistics["student"] = EpisodeStatistics(env.num_envs, device)
            self.dagger = self._make_dagger(obs, bfloat16)
        self.student_lane: dict[str, Any] | None = None
        """The environment as the student left it; None before the training starts."""
        self._begun = False
        self._complete: dict[str, Any] | None = None
        """Of several ranks, on the first: the checkpoint to write if one fails in the next iteration."""

    @property
    def teacher(self) -> ParkourActor:
        """Return the actor that PPO trains."""
        actor = self.alg.get_policy()
        assert isinstance(actor, ParkourActor)
        return actor

    def learn(self, num_learning_iterations: int, init_at_random_ep_len: bool | None = None) -> None:
        """Train for that many PPO iterations, and save at the end.

        SIGINT and SIGTERM end the training after the iteration that is under way, as if it had been the last one.

        Args:
            num_learning_iterations: Iterations of this call.
            init_at_random_ep_len: Start the first episodes at random ages; None = as configured.
        """
        if not self._begun:
            if init_at_random_ep_len is None:
                init_at_random_ep_len = self.config.runner.init_at_random_ep_len
            self._begin(init_at_random_ep_len)
        self._copy_networks_from_first()
        self.alg.train_mode()
        with contextlib.redirect_stdout(io.StringIO()):  # rsl_rl tells which git repositories it looked for
            self.logger.init_logging_writer()
        if self.log_dir is not None:
            session.on_failure(self._rescue)
        first, last = self.iteration, self.iteration + num_learning_iterations
        started = time.perf_counter()
        signal_name = ""
        with StopRequest() as stop:
            while self.iteration < last and not signal_name:
                times, losses = self._iterate()
                mean_time = (time.perf_counter() - started) / (self.iteration - first)
                rows = collectives.all_gather(self._row(losses, stop.signal_name))
                signal_name = next(filter(None, (row.signal_name for row in rows)), "")
                if here().rank == 0:
                    self._report(times, rows, last, mean_time)
                    self._remember()
                if self.iteration % self.config.runner.save_interval == 0 and self.iteration < last:
                    self._save_numbered()
            path = self._save_numbered()
        if signal_name and here().rank == 0:
            print(f"{signal_name}: stopped after iteration {self.iteration}; saved {path}", flush=True)
        if self.logger.writer is not None:
            self.logger.writer.close()  # type: ignore[attr-defined]  # both writers are TensorBoard's
            self.logger.stop_logging_writer()

    def save(self, path: str, infos: dict | None = None) -> None:
        """Write everything that decides how the training goes on."""
        states = collectives.gather(map_tensors(self._own_state(), Tensor.cpu))
        if states:
            save_checkpoint({**self._content(states), "infos": infos}, path)
            self.logger.save_model(path, self.iteration)
        collectives.barrier()

    def load(  # type: ignore[override]
        self, path: str, resume: bool = True
    ) -> dict[str, Any]:
        """Load a checkpoint; return its configuration, a plain dictionary.

        Where the environments cannot go on from their saved states, because this run has another number of ranks or
        another configuration of what those states stand for, they start new episodes, and a line says so.

        Args:
            path: The file; of several ranks, only the first reads it.
            resume: Load all that goes on with the training. False = the networks only, for any number of environments.

        Raises:
            UserError: Where the file is no checkpoint, or one of another architecture or number of environments.
        """
        states: list[dict[str, Any] | None] = []

        def read() -> tuple[dict[str, Any], int]:
            content = load_checkpoint(path)
            states.extend(content.pop("ranks"))
            return content, len(states)

        content, ranks = from_rank_zero(read)
        changed = self._keys_that_forbid_to_go_on(content)
        own = collectives.scatter(states) if resume and ranks == here().size and not changed else None
        try:
            self._load_networks(content)
            if own is not None:
                same_seed = content["config"]["seed"] == self.config.seed
                self._load_own_state(own if same_seed else self._with_new_generators(own))
        except (KeyError, TypeError, ValueError, RuntimeError, AttributeError, IndexError) as error:
            reason = " ".join(str(error).split())
            raise UserError(f"checkpoint '{path}' does not fit this configuration: {reason[:300]}") from error
        if resume and here().rank == 0:
            if ranks != here().size:
                print(f"environments start new episodes: '{path}' is by {ranks} ranks, this run has {here().size}")
            elif changed:
                print(f"environments start new episodes: '{path}' has other values of {', '.join(changed)}")
            elif missing := [str(rank) for rank, state in enumerate(states) if state is None]:
                print(f"environments of rank {', '.join(missing)} start new episodes: '{path}' lacks them")
        return content["config"]

    def get_inference_policy(  # type: ignore[override]
        self, policy: Literal["student", "teacher"] = "student"
    ) -> MLPModel:
        """Return a network, in evaluation mode, that turns observations into mean actions.

        It is a copy, as trained so far, with a memory of its own: to use it leaves the training as it is.

        Raises:
            UserError: Where the run has no trained student.
        """
        if policy not in ("student", "teacher"):
            raise unknown("policy", policy, ("student", "teacher"))
        if policy == "teacher":
            return deepcopy(self.teacher).eval()
        if self.dagger is None or self.dagger.rounds == 0:
            first = f"distill.start={self.config.distill.start}"
            raise UserError(f"this run has no trained student after {self.iteration} iterations ({first}); use teacher")
        student = deepcopy(self.dagger.student).eval()
        student.reset()
        return student

    def _require_memory(self, obs: TensorDict, bfloat16: bool) -> None:
        """Raise a UserError where the rollouts, as the storages keep them, are too large for the device."""
        config, bytes_per_env = self.config, 0.0
        for steps in (config.runner.num_steps_per_env, config.distill.steps_per_env * config.distill.enabled):
            for name, group in obs.items():
                kept = 1 + steps / config.camera.update_interval if name == DEPTH else steps
                dtype = torch.bfloat16 if name == DEPTH and bfloat16 else group.dtype
                assert dtype is not None
                bytes_per_env += kept * group.shape[-1] * dtype.itemsize
        memory.require("rollouts", int(bytes_per_env), self.env.num_envs, torch.device(self.device))

    def _make_dagger(self, obs: TensorDict, bfloat16: bool) -> Dagger:
        config = self.config
        student = Student(
            obs,
            self.cfg["obs_groups"],
            "student",
            self.env.num_actions,
            image_shape=config.camera.resolution,
            latent_dim=config.student.latent_dim,
            fusion_hidden=config.student.fusion_hidden,
            gru_hidden=config.student.gru_hidden,
            hidden_dims=list(config.teacher.hidden_dims),
            activation=config.teacher.activation,
            obs_normalization=config.teacher.normalize_observations,
        ).to(self.device)
        return Dagger(
            self.teacher, student, config.distill, self.env.num_envs, obs, self.env.num_actions, self.device, bfloat16
        )

    def _configure_multi_gpu(self) -> None:
        """Tell rsl_rl of the ranks. Its own way starts the process group, with NCCL only."""
        ranks = here()
        self.is_distributed = ranks.size > 1
        self.gpu_world_size, self.gpu_global_rank, self.gpu_local_rank = ranks.size, ranks.rank, ranks.local_rank
        multi_gpu = {"global_rank": ranks.rank, "local_rank": ranks.local_rank, "world_size": ranks.size}
        self.cfg["multi_gpu"] = multi_gpu if self.is_distributed else None

    def _copy_networks_from_first(self) -> None:
        """Give all ranks the networks of the first."""
        if self.is_distributed:
            self.alg.broadcast_parameters()
            if self.dagger is not None:
                collectives.broadcast_module(self.dagger.student)

    def _begin(self, random_ages: bool) -> None:
        """Start both lanes, in the same state."""
        self._begun = True
        if random_ages:
            self.env.episode_length_buf = torch.randint_like(
                self.env.episode_length_buf, high=int(self.env.max_episode_length)
            )
        if self.dagger is not None:
            self.student_lane = self.env.snapshot()  # type: ignore[attr-defined]

    def _iterate(self) -> tuple[dict[str, float], dict[str, float]]:
        """Do one iteration and return the seconds that its parts took, and its losses."""
        start = time.perf_counter()
        with torch.no_grad():
            self._collect()
        collectives.barrier()  # what runs for the first time is compiled, which takes one rank longer than another
        collected = time.perf_counter()
        losses = {f"Loss/{name}": float(value) for name, value in self.alg.update().items() if name != "symmetry"}
        losses |= {
            "Loss/learning_rate": self.alg.learning_rate,
            "Policy/mean_std": self.teacher.output_std.mean().item(),
        }
        learned = time.perf_counter()
        times = {"collection": collected - start, "learning": learned - collected}
        if self._distillation_due():
            losses |= {f"Distill/{name}": value for name, value in self._distill().items()}
            times["distill"] = time.perf_counter() - learned
        self.iteration += 1
        self.current_learning_iteration = self.iteration
        self.total_steps += self._steps("distill" in times)
        return times, losses

    def _steps(self, distilled: bool) -> int:
        """Return the environment steps of all ranks in an iteration with or without distillation."""
        own = self.config.runner.num_steps_per_env + distilled * self.config.distill.steps_per_env
        return own * self.env.num_envs * here().size

    def _collect(self) -> None:
        """Let the teacher act for a rollout."""
        obs = self.env.get_observations().to(self.device)
        nan_check = NanCheck(("proprio", "privileged"), self.device)
        for _ in range(self.config.runner.num_steps_per_env):
            actions = self.alg.act(obs)
            obs, rewards, dones, extras = self.env.step(actions.to(self.env.device))
            obs, rewards, dones = obs.to(self.device), rewards.to(self.device), dones.to(self.device)
            nan_check.add(obs, rewards, dones)
            self.alg.process_env_step(obs, rewards, dones, extras)
            self.statistics["teacher"].add(rewards, dones, extras)
        nan_check.report()
        self.alg.compute_returns(obs)

    def _distillation_due(self) -> bool:
        """Return whether distillation follows the PPO iteration under way."""
        since_start = self.iteration - self.config.distill.start
        return self.dagger is not None and since_start >= 0 and since_start % self.config.distill.interval == 0

    def _distill(self) -> dict[str, float]:
        """Take the student's turn: go to its lane, collect, update, come back."""
        assert self.dagger is not None and self.student_lane is not None
        if self.dagger.rounds == 0:
            self.dagger.student.init_from_teacher(self.teacher, self.config.student.init_from_teacher)
            collectives.broadcast_module(self.dagger.student)  # some of its weights are random
        teacher_lane = self.env.snapshot()  # type: ignore[attr-defined]
        self.env.restore(self.student_lane)  # type: ignore[attr-defined]
        self.dagger.collect(self.env, self.statistics["student"])
        self.student_lane = self.env.snapshot()  # type: ignore[attr-defined]
        self.env.restore(teacher_lane)  # type: ignore[attr-defined]
        collectives.barrier()
        return self.dagger.update()

    def _row(self, losses: dict[str, float], signal_name: str) -> _Row:
        """Return what this rank tells the others of the iteration."""
        return _Row(
            signal_name,
            losses,
            {lane: statistics.totals() for lane, statistics in self.statistics.items()},
            {lane: statistics.pop_log() for lane, statistics in self.statistics.items()},
        )

    def _report(self, times: dict[str, float], rows: Sequence[_Row], last: int, mean_time: float) -> None:
        """Write one iteration of all ranks to the log and the console."""
        lanes = {lane: summarize([row.totals[lane] for row in rows]) for lane in self.statistics}
        losses = {tag: sum(row.losses[tag] for row in rows) / len(rows) for tag in rows[0].losses}
        per_second = self._steps("distill" in times) / sum(times.values())
        scalars = dict(losses)
        scalars |= {f"Perf/{name}_time": seconds for name, seconds in times.items()}
        scalars["Perf/env_steps_per_second"] = per_second
        health: dict[str, dict[str, float]] = {}
        for lane, summary in lanes.items():
            scalars |= {f"{name.title().replace('_', '')}/{lane}": value for name, value in summary.items()}
            log = merge_logs([row.logs[lane] for row in rows])
            scalars |= {f"{key}/{lane}": value for key, value in log.items()}
            health[lane] = {key.removeprefix(COUNTS): log[key] for key in log if key.startswith(COUNTS)}
        if self.logger.writer is not None:
            for tag, value in scalars.items():
                self.logger.writer.add_scalar(tag, value, self.iteration)
        left = (last - self.iteration) * mean_time
        shown = {"PPO": {}, "distillation": {}}
        for tag, value in losses.items():
            section, name = tag.split("/")
            shown["distillation" if section == "Distill" else "PPO"][name] = value
        print(
            iteration_block(
                self.iteration,
                last,
                self.total_steps,
                per_second,
                left,
                times,
                {name: row for name, row in shown.items() if row},
                lanes,
                health,
            ),
            flush=True,
        )

    def _remember(self) -> None:
        """Of several ranks, keep what to write if one of them fails before the next iteration is complete."""
        if self.is_distributed and self.log_dir is not None:
            others = [None] * (here().size - 1)  # gathering theirs in every iteration would take too long
            self._complete = map_tensors(self._content([self._own_state(), *others]), Tensor.clone)

    def _rescue(self) -> str:
        """Write the last complete iteration's checkpoint because a rank failed; return what to tell of it."""
        assert self.log_dir is not None
        if self.logger.writer is not None:
            self.logger.writer.flush()  # type: ignore[attr-defined]  # both writers are TensorBoard's
        if self._complete is None:
            return "no iteration was complete, so there is nothing to save"
        path = self.log_dir / checkpoint_name(self._complete["iteration"])
        try:
            if not path.exists():
                save_checkpoint(self._complete, path)
        except UserError as error:
            return str(error)
        return f"saved {path}"

    def _save_numbered(self) -> Path | None:
        """Save the run's checkpoint of this iteration and delete those that need not be kept."""
        if self.log_dir is None:
            return None
        path = self.log_dir / checkpoint_name(self.iteration)
        self.save(str(path))
        if here().rank == 0:
            prune_checkpoints(self.log_dir, self.config.runner.keep_checkpoints)
        return path

    def _content(self, states: Sequence[dict[str, Any] | None]) -> dict[str, Any]:
        """Return what a checkpoint holds: what all ranks have in common, and the ``states`` of each."""
        return {
            "iteration": self.iteration,
            "total_steps": self.total_steps,
            "config": asdict(self.config),
            "engine": settled_engine(self.config, self.env.device),
            "infos": None,
            "ppo": self.alg.save(),
            "dagger": self.dagger.state_dict() if self.dagger else None,
            "ranks": list(states),
        }

    def _own_state(self) -> dict[str, Any]:
        """Return what only this rank has: its environments and random generators."""
        device = torch.device(self.device)
        return {
            "lanes": {"teacher": self.env.snapshot(), "student": self.student_lane},  # type: ignore[attr-defined]
            "student_memory": self.dagger.memory if self.dagger else None,
            "statistics": {lane: statistics.state_dict() for lane, statistics in self.statistics.items()},
            "random": {
                "cpu": torch.get_rng_state(),
                "cuda": torch.cuda.get_rng_state(device) if device.type == "cuda" else None,
            },
        }

    def _keys_that_forbid_to_go_on(self, content: dict[str, Any]) -> list[str]:
        """Return the configuration's keys whose new values the environments' states in a checkpoint do not fit."""
        engine = content.get("engine", settled_engine(self.config, self.env.device))  # older checkpoints lack it
        return keys_that_forbid_it(content["config"], engine, self.config, self.env.device)

    def _load_networks(self, content: dict[str, Any]) -> None:
        self.alg.load(content["ppo"], load_cfg=None, strict=True)
        ppo = self.config.ppo
        # An adaptive rate goes on from where it was, unless this run was given another one to start from.
        if ppo.schedule == "fixed" or ppo.learning_rate != content["config"]["ppo"]["learning_rate"]:
            self.alg.learning_rate = ppo.learning_rate
            for group in self.alg.optimizer.param_groups:
                group["lr"] = ppo.learning_rate
        if self.dagger is not None and content["dagger"] is not None:
            self.dagger.load_state_dict(content["dagger"])
        self.iteration = self.current_learning_iteration = content["iteration"]
        rounds = self.dagger.rounds if self.dagger is not None else 0
        as_now = self._steps(False) * (self.iteration - rounds) + self._steps(True) * rounds
        self.total_steps = content.get("total_steps", as_now)  # older checkpoints lack it

    def _with_new_generators(self, state: dict[str, Any]) -> dict[str, Any]:
        """Return a rank's state with the random generators as they are now, which this run's seed made them."""
        new = self._own_state()
        generator = new["lanes"]["teacher"]["generator"]
        lanes = {name: lane and {**lane, "generator": generator} for name, lane in state["lanes"].items()}
        return {**state, "lanes": lanes, "random": new["random"]}

    def _load_own_state(self, state: dict[str, Any]) -> None:
        trained = len(state["statistics"]["teacher"]["finished"]) * here().size
        if trained != self.env.num_envs * here().size:
            raise ValueError(f"it has num_envs={trained}, this run {self.env.num_envs * here().size}")
        for lane, statistics in self.statistics.items():
            statistics.load_state_dict(state["statistics"][lane])
        self.student_lane = state["lanes"]["student"]
        self.env.restore(state["lanes"]["teacher"])  # type: ignore[attr-defined]
        if self.dagger is not None:
            self.dagger.memory = state["student_memory"]
        torch.set_rng_state(state["random"]["cpu"])
        if torch.device(self.device).type == "cuda" and state["random"]["cuda"] is not None:
            torch.cuda.set_rng_state(state["random"]["cuda"], torch.device(self.device))
        self._begun = True

"""The training loop: PPO for the teacher and, in turns with it, DAgger for the student."""

from __future__ import annotations

import contextlib
import io
import time
from dataclasses import asdict
from itertools import chain
from pathlib import Path
from typing import Any, Literal

import torch
from rsl_rl.env import VecEnv
from rsl_rl.models import MLPModel
from rsl_rl.runners import OnPolicyRunner
from tensordict import TensorDict

from legged_gym_ext.config import Config
from legged_gym_ext.errors import UserError, unknown
from legged_gym_ext.learning.checkpoint import checkpoint_name, load_checkpoint, prune_checkpoints, save_checkpoint
from legged_gym_ext.learning.console import iteration_block
from legged_gym_ext.learning.dagger import Dagger
from legged_gym_ext.learning.interrupt import StopRequest
from legged_gym_ext.learning.nan_check import NanCheck
from legged_gym_ext.learning.precision import use_bfloat16
from legged_gym_ext.learning.rollout_storage import ParkourRolloutStorage
from legged_gym_ext.learning.rsl_rl_config import rsl_rl_config
from legged_gym_ext.learning.statistics import EpisodeStatistics
from legged_gym_ext.learning.symmetry import MirrorAugmentation
from legged_gym_ext.models.actor import ParkourActor
from legged_gym_ext.models.student import Student


class ParkourRunner(OnPolicyRunner):
    """rsl_rl's runner with a student and two lanes.

    The teacher and the student take turns on one environment. Each has its lane, a snapshot of the environment that is
    restored when its turn comes, so that each has its own episodes and its own curriculum.

    ``iteration`` counts completed PPO iterations over all calls and resumed runs: ``model_<n>.pt`` and the log's step
    n are the state after n of them. Training for 3 iterations and then, resumed, for 3 more ends in ``model_6.pt``, as
    6 in one go do, and on a CPU with the same bits.

    Args:
        env: The environment. It must return new observation tensors from every step, and besides rsl_rl's interface
            have ``snapshot()`` and ``restore()``.
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
        alg = self.alg
        if config.ppo.symmetry:
            alg.symmetry = MirrorAugmentation(env)  # type: ignore[arg-type]
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
        self.statistics = {"teacher": EpisodeStatistics(env.num_envs, device)}
        self.dagger: Dagger | None = None
        if config.distill.enabled:
            self.statistics["student"] = EpisodeStatistics(env.num_envs, device)
            self.dagger = self._make_dagger(obs, bfloat16)
        self.student_lane: dict[str, Any] | None = None
        """The environment as the student left it; None before the training starts."""

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
        if self.iteration == 0:
            if init_at_random_ep_len is None:
                init_at_random_ep_len = self.config.runner.init_at_random_ep_len
            self._begin(init_at_random_ep_len)
        self.alg.train_mode()
        with contextlib.redirect_stdout(io.StringIO()):  # rsl_rl tells which git repositories it looked for
            self.logger.init_logging_writer()
        first, last = self.iteration, self.iteration + num_learning_iterations
        started = time.perf_counter()
        with StopRequest() as stop:
            while self.iteration < last and not stop.signal_name:
                times, losses = self._iterate()
                self._report(times, losses, last, (time.perf_counter() - started) / (self.iteration - first))
                if self.iteration % self.config.runner.save_interval == 0 and self.iteration < last:
                    self._save_numbered()
            path = self._save_numbered()
        if stop.signal_name:
            print(f"{stop.signal_name}: stopped after iteration {self.iteration}; saved {path}", flush=True)
        if self.logger.writer is not None:
            self.logger.writer.close()  # type: ignore[attr-defined]  # both writers are TensorBoard's
            self.logger.stop_logging_writer()

    def save(self, path: str, infos: dict | None = None) -> None:
        """Write everything that decides how the training goes on."""
        content = {
            "iteration": self.iteration,
            "config": asdict(self.config),
            "infos": infos,
            "ppo": self.alg.save(),
            "dagger": self.dagger.state_dict() if self.dagger else None,
            "lanes": {"teacher": self.env.snapshot(), "student": self.student_lane},  # type: ignore[attr-defined]
            "statistics": {lane: statistics.state_dict() for lane, statistics in self.statistics.items()},
            "random": {
                "cpu": torch.get_rng_state(),
                "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
            },
        }
        save_checkpoint(content, path)
        self.logger.save_model(path, self.iteration)

    def load(  # type: ignore[override]
        self, path: str, resume: bool = True
    ) -> dict[str, Any]:
        """Load a checkpoint; return its configuration, a plain dictionary.

        Args:
            path: The file.
            resume: Load all that goes on with the training. False = the networks only, for any number of environments.

        Raises:
            UserError: Where the file is no checkpoint, or one of another architecture or number of environments.
        """
        content = load_checkpoint(path)
        try:
            self._load_networks(content)
            if resume:
                self._load_training(content)
        except (KeyError, TypeError, ValueError, RuntimeError, AttributeError, IndexError) as error:
            reason = " ".join(str(error).split())
            raise UserError(f"checkpoint '{path}' does not fit this configuration: {reason[:300]}") from error
        return content["config"]

    def get_inference_policy(  # type: ignore[override]
        self, policy: Literal["student", "teacher"] = "student"
    ) -> MLPModel:
        """Return a network, in evaluation mode, that turns observations into mean actions.

        Raises:
            UserError: Where the run has no trained student.
        """
        if policy not in ("student", "teacher"):
            raise unknown("policy", policy, ("student", "teacher"))
        if policy == "teacher":
            return self.teacher.eval()
        if self.dagger is None or self.dagger.rounds == 0:
            first = f"distill.start={self.config.distill.start}"
            raise UserError(f"this run has no trained student after {self.iteration} iterations ({first}); use teacher")
        self.dagger.student.reset()
        return self.dagger.student.eval()

    def _make_dagger(self, obs: TensorDict, bfloat16: bool) -> Dagger:
        config = self.config
        if not config.camera.enabled:
            raise UserError("distill.enabled=true needs camera.enabled=true")
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

    def _begin(self, random_ages: bool) -> None:
        """Start both lanes, in the same state."""
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
        return times, losses

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
        teacher_lane = self.env.snapshot()  # type: ignore[attr-defined]
        self.env.restore(self.student_lane)  # type: ignore[attr-defined]
        self.dagger.collect(self.env, self.statistics["student"])
        self.student_lane = self.env.snapshot()  # type: ignore[attr-defined]
        self.env.restore(teacher_lane)  # type: ignore[attr-defined]
        return self.dagger.update()

    def _report(self, times: dict[str, float], losses: dict[str, float], last: int, mean_time: float) -> None:
        """Write one iteration to the log and the console."""
        config = self.config
        lanes = {lane: statistics.summary() for lane, statistics in self.statistics.items()}
        steps = config.runner.num_steps_per_env + (config.distill.steps_per_env if "distill" in times else 0)
        per_second = steps * self.env.num_envs / sum(times.values())
        scalars = dict(losses)
        scalars |= {f"Perf/{name}_time": seconds for name, seconds in times.items()}
        scalars["Perf/env_steps_per_second"] = per_second
        for lane, summary in lanes.items():
            scalars |= {f"{name.title().replace('_', '')}/{lane}": value for name, value in summary.items()}
            scalars |= {f"{key}/{lane}": value for key, value in self.statistics[lane].pop_log().items()}
        if self.logger.writer is not None:
            for tag, value in scalars.items():
                self.logger.writer.add_scalar(tag, value, self.iteration)
        total_steps = self.iteration * config.runner.num_steps_per_env * self.env.num_envs
        left = (last - self.iteration) * mean_time
        shown = {"PPO": {}, "distillation": {}}
        for tag, value in losses.items():
            section, name = tag.split("/")
            shown["distillation" if section == "Distill" else "PPO"][name] = value
        print(
            iteration_block(
                self.iteration,
                last,
                total_steps,
                per_second,
                left,
                times,
                {name: row for name, row in shown.items() if row},
                lanes,
            ),
            flush=True,
        )

    def _save_numbered(self) -> Path | None:
        """Save the run's checkpoint of this iteration and delete those that need not be kept."""
        if self.log_dir is None:
            return None
        path = self.log_dir / checkpoint_name(self.iteration)
        self.save(str(path))
        prune_checkpoints(self.log_dir, self.config.runner.keep_checkpoints)
        return path

    def _load_networks(self, content: dict[str, Any]) -> None:
        self.alg.load(content["ppo"], load_cfg=None, strict=True)
        if self.dagger is not None and content["dagger"] is not None:
            self.dagger.load_state_dict(content["dagger"])
        self.iteration = self.current_learning_iteration = content["iteration"]

    def _load_training(self, content: dict[str, Any]) -> None:
        trained = len(content["statistics"]["teacher"]["finished"])
        if trained != self.env.num_envs:
            raise ValueError(f"it has num_envs={trained}, this run {self.env.num_envs}")
        for lane, statistics in self.statistics.items():
            statistics.load_state_dict(content["statistics"][lane])
        self.student_lane = content["lanes"]["student"]
        self.env.restore(content["lanes"]["teacher"])  # type: ignore[attr-defined]
        torch.set_rng_state(content["random"]["cpu"])
        if torch.cuda.is_available() and content["random"]["cuda"]:
            torch.cuda.set_rng_state_all(content["random"]["cuda"])

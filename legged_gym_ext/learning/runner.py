"""The training loop: the phases of learning, in turns."""

from __future__ import annotations

import contextlib
import io
import time
from collections.abc import Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from rsl_rl.models import MLPModel
from rsl_rl.runners import OnPolicyRunner

from legged_gym_ext.config.schema import Config
from legged_gym_ext.console import say
from legged_gym_ext.envs.base import Environment
from legged_gym_ext.errors import EngineFault, UserError, unknown
from legged_gym_ext.learning.build import require_layers, require_memory, rsl_rl_config
from legged_gym_ext.learning.journal import Journal, Progress, Row, Turn
from legged_gym_ext.learning.lanes import Lane
from legged_gym_ext.learning.phases import enabled_phases
from legged_gym_ext.learning.phases.base import Outcome, Phase, Setting
from legged_gym_ext.learning.saving import Saving
from legged_gym_ext.models.actor import ParkourActor
from legged_gym_ext.models.student import Student
from legged_gym_ext.processes import rank_failure
from legged_gym_ext.processes.collectives import all_gather, broadcast_module
from legged_gym_ext.processes.join import from_rank_zero
from legged_gym_ext.processes.ranks import here
from legged_gym_ext.processes.signals import StopRequest
from legged_gym_ext.recording.recording import Recording
from legged_gym_ext.runs.atomic import replacing
from legged_gym_ext.showing.showing import Showing

if TYPE_CHECKING:
    from legged_gym_ext.rendering.web.watcher import Watcher

SPOILED, MOST_RETURNS = 100, 3
"""Updates running that are left out until the training goes back to a checkpoint; and how often it does that."""

_LOG_PATIENCE = 20.0
"""Seconds for which a training that fails waits for its log to be written."""


class ParkourRunner(OnPolicyRunner):
    """rsl_rl's runner with several phases of learning, such as PPO of a teacher and distillation of a student.

    The phases take turns on one environment, each on its lane: episodes and a curriculum that are its own.

    ``iteration`` counts completed iterations over all calls and resumed runs: ``model_<n>.pt`` and the log's step n
    are the state after n of them. Training for 3 iterations and then, resumed, for 3 more ends in ``model_6.pt``, as
    6 in one go do, and on a CPU with the same bits.

    Of several ranks (see rank_failure.py) each has its own environments, and all have the same networks: what follows
    is done by all of them, and the console, the log and the checkpoints are rank 0's.

    Args:
        env: The environment.
        config: The run's configuration, settled (runs/settle.py).
        log_dir: Folder of the log and the checkpoints; None = neither.
        device: Of the networks.
    """

    env: Environment

    def __init__(self, env: Environment, config: Config, log_dir: str | Path | None, device: str) -> None:
        self.config = config
        self.log_dir = Path(log_dir) if log_dir is not None else None
        bfloat16 = config.runner.precision == "bfloat16"
        phases, obs = enabled_phases(config), env.get_observations().to(device)
        learning = [phase for phase in phases.values() if phase.learns(config)]
        rollouts = [(phase.steps(config), phase.stores(config)) for phase in learning]
        require_layers(config.teacher, device)
        require_memory(rollouts, obs, config.camera, env.num_envs, device, bfloat16)
        cfg = rsl_rl_config(config, bfloat16)
        with contextlib.redirect_stdout(io.StringIO()):  # rsl_rl prints which networks read what
            super().__init__(env, cfg, None, device)  # its log is not ours
        self.lanes = {name: Lane(env, device) for name in dict.fromkeys(phase.lane for phase in learning)}
        self.phases: dict[str, Phase] = {}
        setting = Setting(config, env, obs, self.cfg["obs_groups"], self.alg, device, bfloat16, self.lanes, self.phases)
        for name, phase in phases.items():
            self.phases[name] = phase.make(setting)
        self.total_steps = 0
        """Environment steps of all ranks and lanes, over all calls and resumed runs."""
        self._returns = 0
        self.begun = False
        """Whether the lanes have episodes of their own."""
        self.journal = Journal(Recording(config, self.log_dir if here().rank == 0 else None), self.log_dir)
        self.saving = Saving(self)
        self.showing = Showing(self)
        self.watcher: Watcher | None = None
        """Who watches the environments live, and is told whose turn it is."""

    @property
    def iteration(self) -> int:
        """Return the number of completed iterations."""
        return self.current_learning_iteration

    def learn(self, num_learning_iterations: int, init_at_random_ep_len: bool | None = None) -> None:
        """Train for that many iterations, and save at the end.

        SIGINT, SIGTERM and SIGHUP end the training after the iteration that is under way, as if it had been the last
        one. That the disk is full, or the run's folder gone, does not.

        Args:
            num_learning_iterations: Iterations of this call.
            init_at_random_ep_len: Start the first episodes at random ages; None = as configured.

        Raises:
            EngineFault: The physics engine, in a process of its own, has ended. What was learnt until the last complete
                iteration is saved.
        """
        try:
            self._learn(num_learning_iterations, init_at_random_ep_len)
        except EngineFault as fault:
            if here().size > 1:
                raise  # rank 0 saves, whichever rank it is: see rank_failure.py
            raise EngineFault(f"{fault}; {self._rescue()}") from fault
        finally:  # where all went well they are done by now
            self.showing.stop()
            self.journal.recording.close(_LOG_PATIENCE)

    def _learn(self, num_learning_iterations: int, init_at_random_ep_len: bool | None) -> None:
        self._check()
        self._begin(init_at_random_ep_len)
        self._prepare_networks()
        self.journal.recording.open()
        if self.log_dir is not None:
            rank_failure.on_failure(self._rescue)
        first, last = self.iteration, self.iteration + num_learning_iterations
        started = time.perf_counter()
        signal_name = ""
        with StopRequest() as stop, self.journal.on_console():
            while self.iteration < last and not signal_name:
                outcomes = self._iterate()
                mean_time = (time.perf_counter() - started) / (self.iteration - first)
                rows = all_gather(self._row(outcomes, stop.signal_name))
                signal_name = next(filter(None, (row.signal_name for row in rows)), "")
                if here().rank == 0:
                    self._report(outcomes, rows, last, mean_time)
                    self.saving.remember()
                if any(outcome.spoiled >= SPOILED for outcome in outcomes.values()):
                    self._go_back()
                self.showing.after_iteration()
                if self._every(self.config.runner.evaluate_every):
                    self._evaluate()
                if (self.saving.overdue or self._every(self.config.runner.save_interval)) and self.iteration < last:
                    self.saving.try_numbered()
            path = self.saving.insist_numbered()
        if signal_name and here().rank == 0:
            say(f"{signal_name}: stopped after iteration {self.iteration}; saved {path}")
        self.showing.finish(wait=not signal_name)
        self.journal.recording.close()

    def save(self, path: str, infos: dict | None = None) -> None:
        """Write everything that decides how the training goes on."""
        self.saving.save(path, infos)

    def load(  # type: ignore[override]  # rsl_rl's other arguments choose among networks, ours whether to go on
        self, path: str, resume: bool = True
    ) -> dict[str, Any]:
        """Load a checkpoint; return its configuration, a plain dictionary.

        Where the environments cannot go on from their saved states, because this run has another number of ranks or
        another configuration of what those states stand for, they start new episodes, and a line says so. A phase that
        the checkpoint lacks begins anew.

        Args:
            path: The file; of several ranks, only the first reads it.
            resume: Load all that goes on with the training. False = the phases only, for any number of environments.

        Raises:
            UserError: Where the file is no checkpoint, or one of another architecture or number of environments.
        """
        content = self.saving.load(path, resume)
        if resume:
            self.journal.recording.continues(Path(path).parent)
        return content

    def init_from(self, path: Path) -> None:
        """Begin with the networks of a checkpoint of another run, and with nothing else of it: all counts from 0.

        A guide and an imitation that were over there are not repeated.

        Raises:
            UserError: Where the file is no checkpoint, or one of another architecture, or lacks what a phase needs.
        """
        self.saving.load(path, resume=False)
        self._check()
        for phase in self.phases.values():
            phase.count_anew()
        self.current_learning_iteration = self.total_steps = 0

    def get_inference_policy(  # type: ignore[override]  # rsl_rl's argument is a device
        self, policy: str = "student"
    ) -> MLPModel:
        """Return a network, in evaluation mode, that turns observations into mean actions.

        It is a copy, as trained so far, with a memory of its own: to use it leaves the training as it is.

        Args:
            policy: ``student``, ``teacher``, or the lane of another phase, whether that learns or rests.

        Raises:
            UserError: Where the run has no trained policy of that name.
        """
        known = {"student", *(phase.lane for phase in self.phases.values())}
        if policy not in known:
            raise unknown("policy", policy, known)
        network = self._trained(policy)
        if network is None:
            start = f" (distill.start={self.config.distill.start})" if policy == "student" else ""
            if not all(phase.done for phase in self.phases.values()):
                guide = self.config.guide
                start = f" (before it come up to guide.iterations={guide.iterations} and guide.rounds={guide.rounds})"
            raise UserError(f"this run has no trained {policy} after {self.iteration} iterations{start}; use teacher")
        network = deepcopy(network).eval()
        network.reset()
        return network

    def student_to_export(self) -> Student:
        """Return a copy of the student, in evaluation mode and on the CPU.

        Raises:
            UserError: No student is trained.
        """
        if not self.is_trained("student"):
            raise UserError(
                f"no student is trained after {self.iteration} iterations, and only a student can be exported: it sees "
                "what a robot sees"
            )
        student = self.get_inference_policy("student").cpu()
        assert isinstance(student, Student)
        return student

    def export_policy_to_jit(self, path: str, filename: str = "policy.pt") -> None:
        """Write the student in TorchScript. It reads observations as the environment scales them, in one vector.

        What reads the sensors of a robot is written by export.py.

        Raises:
            UserError: No student is trained, or its encoder cannot be exported.
        """
        student = self.student_to_export()
        with student.encoder.exporting():
            script = torch.jit.script(student.as_jit())
        with replacing(Path(path) / filename) as file:
            torch.jit.save(script, file)

    def export_policy_to_onnx(self, path: str, filename: str = "policy.onnx", verbose: bool = False) -> None:
        """Write the student as ONNX, its memory as input and output; see :meth:`export_policy_to_jit`.

        Raises:
            UserError: No student is trained, or its encoder cannot be exported.
        """
        student = self.student_to_export()
        Path(path).mkdir(parents=True, exist_ok=True)
        with student.encoder.exporting():
            module = student.as_onnx(verbose)
            torch.onnx.export(
                module,
                module.get_dummy_inputs(),  # pyright: ignore[reportCallIssue]
                Path(path) / filename,
                verbose=verbose,
                input_names=module.input_names,  # pyright: ignore[reportArgumentType]
                output_names=module.output_names,  # pyright: ignore[reportArgumentType]
                opset_version=18,
                dynamo=False,
            )

    def is_trained(self, policy: str) -> bool:
        """Return whether there is a policy of that name for :meth:`get_inference_policy`."""
        return self._trained(policy) is not None

    def _trained(self, lane: str) -> MLPModel | None:
        """Return the lane's policy itself, None where no phase has trained one yet."""
        phase = self._acting(lane)
        return phase.policy() if phase else None

    def policy_name(self, lane: str) -> str:
        """Return what the policy of a lane is called: as the lane, or as the guide that acts there at first."""
        phase = self._acting(lane)
        return phase.policy_name if phase else lane

    @property
    def policy_names(self) -> dict[str, str]:
        """Return what people are told that each lane's policy is; in the log its numbers are the lane's."""
        return {lane: self.policy_name(lane) for lane in self.lanes}

    def _acting(self, lane: str) -> Phase | None:
        """Return the phase whose policy acts on a lane, None where none has trained one yet."""
        phases = (phase for phase in self.phases.values() if phase.lane == lane and phase.policy() is not None)
        return next(phases, None)

    def _check(self) -> None:
        """Raise a UserError where a phase cannot begin with what is loaded."""
        for phase in self.phases.values():
            phase.check()

    def _begin(self, random_ages: bool | None) -> None:
        """Where nothing has begun yet, start all lanes, in the same state; None = as configured."""
        if self.begun:
            return
        self.begun = True
        if self.config.runner.init_at_random_ep_len if random_ages is None else random_ages:
            self.env.episode_length_buf = torch.randint_like(
                self.env.episode_length_buf, high=int(self.env.max_episode_length)
            )
        _, *others = self.lanes.values()
        for lane in others:
            lane.begin()

    def _prepare_networks(self) -> None:
        """Give all ranks the networks of the first, in training mode."""
        for phase in self.phases.values():
            for module in phase.modules():
                module.train()
                broadcast_module(module)

    def _iterate(self) -> dict[str, Outcome]:
        """Run each phase that is due, and return what came of it, by phase."""
        outcomes = {}
        for name, phase in self.phases.items():
            if phase.learns(self.config) and phase.due(self.iteration):
                if self.watcher is not None:
                    self.watcher.begin(phase.lane, self.policy_names, self.iteration)
                outcome: object = phase.run(self.lanes[phase.lane])
                if not isinstance(outcome, Outcome):  # of a stranger's phase
                    raise UserError(f"phase '{name}': expected run to return an Outcome, got {type(outcome).__name__}")
                outcomes[name] = outcome
        self.current_learning_iteration += 1
        self.total_steps += self._steps(outcomes)
        return outcomes

    def _go_back(self) -> None:
        """Return to the newest checkpoint, and on from there with other random numbers: the networks learn no more.

        Raises:
            UserError: There is no checkpoint, or this happens again and again.
        """
        what = f"in {SPOILED} updates running, gradients were not finite: the networks no longer learn"
        self._returns += 1
        path = from_rank_zero(self.saving.newest)
        if path is None or self._returns > MOST_RETURNS:
            why = (
                f"{MOST_RETURNS} returns to checkpoints did not help" if path else "there is no checkpoint to return to"
            )
            raise UserError(f"{what}, and {why}; try a smaller ppo.learning_rate or ppo.max_grad_norm")
        if here().rank == 0:
            say(f"{what}; going back from iteration {self.iteration} to {path}")
        self.load(str(path))
        torch.manual_seed(here().seed(self.config.seed) + self._returns)

    def _every(self, interval: int) -> bool:
        """Return whether the last iteration was one of every ``interval``; 0 = none is."""
        return interval > 0 and self.iteration % interval == 0

    def _evaluate(self) -> None:
        """Log how the policies do in a small, fixed part of the benchmark."""
        from legged_gym_ext.evaluation.during_training import success_rates  # which imports this package

        started = time.perf_counter()
        policies = {name: self.get_inference_policy(name) for name in self.lanes if self.is_trained(name)}
        actors = {name: policy for name, policy in policies.items() if isinstance(policy, ParkourActor)}
        rates = success_rates(self.config, actors, torch.device(self.device))
        if here().rank == 0:
            self.journal.report_evaluation(self.iteration, rates, time.perf_counter() - started, self.policy_names)

    def _steps(self, outcomes: Mapping[str, Outcome]) -> int:
        """Return the environment steps of all ranks in an iteration in which these phases ran."""
        own = sum(self.phases[name].steps(self.config) for name in outcomes)
        return own * self.env.num_envs * here().size

    def _row(self, outcomes: Mapping[str, Outcome], signal_name: str) -> Row:
        """Return what this rank tells the others of an iteration."""
        return Row(
            signal_name,
            {self.phases[name].title: outcome.losses for name, outcome in outcomes.items()},
            {name: lane.statistics.totals() for name, lane in self.lanes.items()},
            {name: lane.statistics.pop_log() for name, lane in self.lanes.items()},
            {
                name: dict(zip(self.env.terrain_kinds, lane.statistics.by_kind(), strict=True))
                for name, lane in self.lanes.items()
                if self.env.terrain_kinds
            },
        )

    def _report(self, outcomes: Mapping[str, Outcome], rows: Sequence[Row], last: int, mean_time: float) -> None:
        """Write an iteration of all ranks to the log and the console."""
        left = (last - self.iteration) * mean_time
        progress = Progress(self.iteration, last, self._steps(outcomes), self.total_steps, left)
        seconds = {name: value for outcome in outcomes.values() for name, value in outcome.seconds.items()}
        turns = [Turn(phase.title, phase.lane, phase.over) for name, phase in self.phases.items() if name in outcomes]
        self.journal.report(progress, turns, seconds, rows, self.policy_names)

    def _rescue(self) -> str:
        """Save what can be saved because a rank, or the engine, failed; return what to tell of it."""
        return self.saving.rescue()

    def _configure_multi_gpu(self) -> None:
        """Tell rsl_rl of the ranks. Its own way starts the process group, with NCCL only."""
        ranks = here()
        self.is_distributed = ranks.size > 1
        self.gpu_world_size, self.gpu_global_rank, self.gpu_local_rank = ranks.size, ranks.rank, ranks.local_rank
        multi_gpu = {"global_rank": ranks.rank, "local_rank": ranks.local_rank, "world_size": ranks.size}
        self.cfg["multi_gpu"] = multi_gpu if self.is_distributed else None

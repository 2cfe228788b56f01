"""Fine-tuning: PPO's ratios over sequences, the critic's warm-up, what it leaves alone; that the student improves."""

from __future__ import annotations

import math
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch
from dummy_env import DummyEnv, small_config
from dummy_runner import assert_same, distillation, finetune, flat, make, teacher_ppo
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import Tensor
from two_layers import registered

from legged_gym_ext.config.rules import validate
from legged_gym_ext.config.schema import Config
from legged_gym_ext.errors import UserError
from legged_gym_ext.learning.runner import ParkourRunner
from legged_gym_ext.models import encoders
from legged_gym_ext.models.encoders.options import EncoderOptions
from legged_gym_ext.models.student import Student
from legged_gym_ext.runs.checkpoint import load_checkpoint, map_tensors, save_checkpoint
from legged_gym_ext.runs.slim import slim

ENVS = 6


@pytest.fixture(autouse=True)
def _two_layers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let there be an encoder without a memory."""
    registered(monkeypatch)


def config_of(encoder: str = "spec", teacher: str = "depth", **finetune: Any) -> Config:
    """Return a small configuration; with values for ``finetune`` one that fine-tunes."""
    config = small_config(precision="float32")
    config.teacher.kind = teacher
    config.teacher.normalize_observations = True
    if encoder != "spec":
        config.student.encoder = options_of(encoder)
    config.finetune.enabled = bool(finetune)
    config.finetune.num_steps_per_env = 8
    config.finetune.num_mini_batches = 2
    for name, value in finetune.items():
        setattr(config.finetune, name, value)
    return config


def options_of(encoder: str) -> EncoderOptions:
    options = encoders.ENCODERS[encoder].options()
    if hasattr(options, "gru_hidden"):
        options.gru_hidden = 16  # type: ignore[attr-defined]
    return options


def distilled(folder: Path, config: Config, iterations: int = 3) -> Path:
    """Train teacher and student, and return the checkpoint."""
    make(folder, config, num_envs=ENVS).learn(iterations)
    return folder / f"model_{iterations}.pt"


def begin(config: Config, path: Path, folder: Path | None = None) -> ParkourRunner:
    """Return a runner that has the networks of a checkpoint."""
    runner = make(folder, config, num_envs=ENVS)
    runner.init_from(path)
    return runner


def student_of(runner: ParkourRunner) -> Student:
    return distillation(runner).student


def state_of(module: torch.nn.Module) -> dict[str, Tensor]:
    return map_tensors(dict(module.state_dict()), Tensor.clone)


def differs(ours: Any, theirs: Any) -> bool:
    ours, theirs = flat(ours), flat(theirs)
    return any(not torch.equal(value, theirs[path]) for path, value in ours.items())


class Record:
    """What an environment showed and was told in its steps."""

    def __init__(self, env: Any) -> None:
        self.observations, self.actions, self.dones = [env.get_observations()], [], []
        step = env.step

        def spy(actions: Tensor) -> Any:
            result = step(actions)
            self.observations.append(result[0].clone())
            self.actions.append(actions.clone())
            self.dones.append(result[2].clone())
            return result

        env.step = spy


def collect(runner: ParkourRunner) -> Record:
    """Let the student collect a rollout; return what the environment saw of it."""
    step = runner.env.step
    record = Record(runner.env)
    finetune(runner).collect(runner.env, runner.lanes["student"].statistics)
    runner.env.step = step  # type: ignore[method-assign]
    return record


@torch.no_grad()
def means(student: Student, memory: Tensor | None, record: Record, images: torch.dtype) -> Tensor:
    """Return the student's actions, step by step, from all images, starting anew after each end of an episode."""
    student = deepcopy(student)
    student.reset(hidden_state=memory)
    actions = []
    for obs, dones in zip(record.observations, record.dones, strict=False):
        seen = obs.exclude("new_frame")
        seen["depth"] = obs["depth"].to(images)
        actions.append(student(seen))
        student.reset(dones)
    return torch.stack(actions)


def log_probability(actions: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """Return the logarithm of the Gaussian's density, from its definition."""
    z = (actions - mean) / std
    return -(0.5 * z**2 + std.log() + 0.5 * math.log(2 * math.pi)).sum(dim=-1)


def batches_of(runner: ParkourRunner) -> Iterator[Any]:
    alg = finetune(runner).alg
    yield from alg.storage.recurrent_mini_batch_generator(alg.num_mini_batches, 1)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("encoder", ["spec", "light", "two_layers"])
def test_before_an_update_all_ratios_are_one(encoder: str, precision: str, tmp_path: Path) -> None:
    """Over sequences in which episodes end, from the memory that they came with, with weights that have changed."""
    path = distilled(tmp_path, config_of(encoder))
    config = config_of(encoder, warmup=0, learning_rate=3e-3)
    config.runner.precision, config.ppo.schedule = precision, "fixed"
    runner = begin(config, path)
    runner._prepare_networks()
    phase, student = finetune(runner), student_of(runner)
    with torch.no_grad():
        for parameter in student.encoder.parameters():  # let images matter more than a beginner has them
            parameter.mul_(3.0)
    alg, images = phase.alg, torch.bfloat16 if precision == "bfloat16" else torch.float32
    for rollout in range(3):
        memory = student.get_hidden_state()
        record = collect(runner)
        dones = torch.stack(record.dones)
        assert dones[1:-1].any() and not dones.all(dim=1).any()
        if rollout > 0 and encoder != "two_layers":
            assert isinstance(memory, Tensor) and memory.abs().sum() > 0
        expected = means(student, memory, record, images)  # type: ignore[arg-type]
        std = phase.actor.noise.std_param.detach()
        stored = alg.storage.actions_log_prob.squeeze(-1)
        torch.testing.assert_close(
            stored, log_probability(torch.stack(record.actions), expected, std), rtol=0, atol=1e-3
        )
        alg.storage.values.copy_(torch.arange(8 * ENVS).view(8, ENVS, 1))  # names the samples
        names = []
        for batch in batches_of(runner):
            with torch.no_grad():
                phase.actor(batch.observations, None, batch.hidden_states[0], stochastic_output=True)
            rows = batch.values.flatten().long()
            names += rows.tolist()
            torch.testing.assert_close(phase.actor.output_mean, expected.flatten(0, 1)[rows], rtol=0, atol=1e-5)
            ratio = (phase.actor.get_output_log_prob(batch.actions) - batch.old_actions_log_prob.squeeze(-1)).exp()
            torch.testing.assert_close(ratio, torch.ones_like(ratio), rtol=0, atol=1e-4)
            seen = torch.stack(record.observations[:-1]).flatten(0, 1)[rows]
            torch.testing.assert_close(batch.observations["privileged"], seen["privileged"])
            assert len(batch.observations["frames"].images) < 0.8 * len(rows)
        assert sorted(names) == list(range(8 * ENVS))
        before = state_of(student)
        with torch.no_grad():
            alg.storage.values.copy_(torch.stack([alg.critic(obs) for obs in record.observations[:-1]]))
        phase.update()
        assert differs(state_of(student.encoder), {k.removeprefix("encoder."): v for k, v in before.items()})


def test_gradients_are_those_of_one_graph_over_the_whole_rollout(tmp_path: Path) -> None:
    """PPO's at ratio 1: of the mean of minus advantage times log-probability, through all steps of all environments."""
    config = config_of(warmup=0, num_learning_epochs=1, num_mini_batches=1)
    config.ppo.schedule, config.ppo.entropy_coef, config.ppo.max_grad_norm = "fixed", 0.0, 1e9
    runner = begin(config, distilled(tmp_path, config_of()))
    runner._prepare_networks()
    phase, student = finetune(runner), student_of(runner)
    collect(runner)
    memory = student.get_hidden_state()
    assert isinstance(memory, Tensor)
    memory = memory.clone()
    phase.alg.storage.clear()
    record = collect(runner)
    advantages = phase.alg.storage.advantages.squeeze(-1).clone()

    copy = deepcopy(student)
    copy.reset(hidden_state=memory)
    log_probs = []
    for obs, actions, dones in zip(record.observations, record.actions, record.dones, strict=False):
        log_probs.append(log_probability(actions, copy(obs.exclude("new_frame")), phase.actor.noise.std_param.detach()))
        copy.reset(dones)
    loss = -(advantages * torch.stack(log_probs)).mean()
    expected = torch.autograd.grad(loss, list(copy.parameters()))

    gradients: list[Tensor] = []
    phase.alg.optimizer.register_step_pre_hook(
        lambda *_: gradients.extend(p.grad.clone() for p in student.parameters() if p.grad is not None)
    )
    phase.update()
    assert len(gradients) == len(expected)
    for ours, theirs in zip(gradients, expected, strict=True):
        assert theirs.abs().max() > 0
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-4 * theirs.abs().max().item())


def test_while_the_critic_warms_up_the_student_stays_as_it_was_distilled(tmp_path: Path) -> None:
    path = distilled(tmp_path, config_of())
    config = config_of(warmup=2, learning_rate=3e-4)
    assert config.ppo.schedule == "adaptive" and config.ppo.learning_rate == 1e-3
    runner = begin(config, path)
    phase, student = finetune(runner), student_of(runner)
    saved = load_checkpoint(path)["phases"]
    teacher_critic = saved["ppo"]["critic_state_dict"]
    assert_same(state_of(student), saved["distillation"]["student"])
    rates, critics = [], [teacher_critic]
    update = phase.update

    def spy() -> dict[str, float]:
        if not rates:
            assert_same(state_of(phase.alg.critic), teacher_critic)
        result = update()
        rates.append(result["learning_rate"])
        return result

    phase.update = spy  # type: ignore[method-assign]
    for _ in range(2):
        runner.learn(1)
        assert_same(state_of(student), saved["distillation"]["student"])
        assert torch.equal(phase.actor.noise.std_param, torch.full((10,), config.finetune.init_noise_std))
        assert differs(state_of(phase.alg.critic), critics[-1])
        critics.append(state_of(phase.alg.critic))
    assert rates == [1e-3, 1e-3] and phase.alg.learning_rate == 3e-4
    config.ppo.schedule = "fixed"
    runner.learn(1)
    assert rates[-1] == 3e-4
    assert differs(state_of(student), saved["distillation"]["student"])
    assert differs(phase.actor.noise.std_param, torch.full((10,), config.finetune.init_noise_std))
    assert_same(state_of(teacher_ppo(runner).alg.critic), teacher_critic)


def test_a_critic_that_warms_up_may_move_as_far_as_it_has_to(tmp_path: Path) -> None:
    """Clipped, its values could move by ``ppo.clip_param`` in an update, however wrong they are."""
    config = config_of(warmup=1, num_learning_epochs=60, learning_rate=3e-3)
    config.ppo.learning_rate, config.ppo.schedule = 3e-3, "fixed"
    runner = begin(config, distilled(tmp_path, config_of()))
    phase, moved = finetune(runner), []
    phase.alg.critic.eval()  # its normalizer stays
    for _ in range(2):
        phase.alg.optimizer.state.clear()  # momentum would carry them on
        collect(runner)
        storage = phase.alg.storage
        obs, before = storage.observations.flatten(0, 1), storage.values.flatten(0, 1).clone()
        storage.returns += 50.0
        phase.update()
        with torch.no_grad():
            moved.append((phase.alg.critic(obs) - before).mean().item())
    assert config.ppo.use_clipped_value_loss
    assert moved[0] > 20.0 and abs(moved[1]) < 10.0


def test_the_policy_before_the_first_update_is_the_distilled_one(tmp_path: Path) -> None:
    path = distilled(tmp_path, config_of())
    before = make(None, config_of(), num_envs=ENVS)
    before.load(str(path), resume=False)
    runner = begin(config_of(warmup=1), path)
    runner.learn(1)
    env = DummyEnv(runner.config, 3)
    policies = [each.get_inference_policy("student") for each in (before, runner)]
    for _ in range(5):
        obs = env.get_observations()
        actions = [policy(obs) for policy in policies]
        assert torch.equal(*actions)
        env.step(actions[0])


def test_the_student_improves(tmp_path: Path) -> None:
    config = small_config(precision="float32")
    path = distilled(tmp_path, config, 2)
    config = small_config(precision="float32")
    config.finetune.enabled, config.finetune.warmup, config.finetune.num_steps_per_env = True, 3, 12
    config.finetune.num_learning_epochs, config.finetune.num_mini_batches = 4, 2
    config.finetune.learning_rate, config.ppo.schedule = 3e-3, "fixed"
    config.distill.enabled = True
    torch.manual_seed(1)
    runner = ParkourRunner(DummyEnv(config, 64), config, None, "cpu")
    runner.init_from(path)
    before = mean_reward(runner)
    runner.learn(3)
    assert mean_reward(runner) == before  # of the critic alone nothing comes yet
    runner.learn(40)
    assert mean_reward(runner) > 0.6 * before  # rewards are negative


@torch.no_grad()
def mean_reward(runner: ParkourRunner) -> float:
    env, policy = DummyEnv(runner.config, 200, seed=7), runner.get_inference_policy("student")
    obs, rewards = env.get_observations(), []
    for _ in range(30):
        obs, reward, dones, _ = env.step(policy(obs))
        policy.reset(dones)
        rewards.append(reward)
    return torch.stack(rewards).mean().item()


@pytest.mark.parametrize("saved_at", [1, 3])  # while the critic warms up, and later
@pytest.mark.parametrize("encoder", ["spec", "two_layers"])
def test_resumed_it_goes_on_bit_for_bit(saved_at: int, encoder: str, tmp_path: Path) -> None:
    path = distilled(tmp_path, config_of(encoder))
    config = config_of(encoder, warmup=2)
    begin(config, path, tmp_path / "whole").learn(5)
    begin(config, path, tmp_path / "parts").learn(saved_at)
    resumed = make(tmp_path / "parts", config, seed=99, num_envs=ENVS)  # nothing of its random state may matter
    resumed.load(str(tmp_path / "parts" / f"model_{saved_at}.pt"))
    resumed.learn(5 - saved_at)
    whole, parts = (load_checkpoint(tmp_path / run / "model_5.pt") for run in ("whole", "parts"))
    assert whole["iteration"] == 5 and whole["phases"]["finetune"]["rounds"] == 5
    assert_same(whole, parts)
    if encoder == "spec":
        assert whole["ranks"][0]["phases"]["distillation"].abs().sum() > 0  # the student's memory


def test_another_learning_rate_is_where_a_resumed_one_begins(tmp_path: Path) -> None:
    path = distilled(tmp_path / "first", config_of())
    begin(config_of(warmup=0), path, tmp_path).learn(2)
    saved = load_checkpoint(tmp_path / "model_2.pt")["phases"]["finetune"]["learning_rate"]
    for begins, schedule, expected in [(1e-4, "adaptive", saved), (2e-4, "adaptive", 2e-4), (1e-4, "fixed", 1e-4)]:
        config = config_of(warmup=0, learning_rate=begins)
        config.ppo.schedule = schedule
        runner = make(None, config, num_envs=ENVS)
        runner.load(str(tmp_path / "model_2.pt"))
        assert finetune(runner).alg.learning_rate == expected
    assert saved != 1e-4


def test_teacher_and_distillation_rest_and_are_kept(tmp_path: Path, capsys: Any) -> None:
    path = distilled(tmp_path / "first", config_of())
    config = config_of(warmup=1)
    config.runner.logger = "tensorboard"
    runner = begin(config, path, tmp_path)
    assert runner.alg.storage.rewards.numel() == distillation(runner).teacher_actions.numel() == 0  # no room for either
    assert list(runner.lanes) == ["student"]
    capsys.readouterr()
    runner.learn(2)
    before, after = load_checkpoint(path), load_checkpoint(tmp_path / "model_2.pt")
    assert_same(after["phases"]["ppo"], before["phases"]["ppo"])
    assert after["phases"]["distillation"]["rounds"] == before["phases"]["distillation"]["rounds"]
    assert_same(after["phases"]["distillation"]["optimizer"], before["phases"]["distillation"]["optimizer"])
    assert after["iteration"] == 2 and after["total_steps"] == 2 * 8 * ENVS
    assert list(after["ranks"][0]["lanes"]) == ["student"]

    printed = capsys.readouterr().out
    assert "  fine-tuning     value" in printed and "distillation" not in printed and "teacher" not in printed
    events = EventAccumulator(str(tmp_path)).Reload()
    tags = set(events.Tags()["scalars"])
    assert {"Finetune/value", "Finetune/surrogate", "Perf/finetune_collection_time", "TerrainLevel/student"} <= tags
    assert not [tag for tag in tags if "teacher" in tag or tag.startswith(("Loss/", "Distill/"))]
    assert [event.value for event in events.Scalars("Finetune/warmup_left")] == [0.0, 0.0]

    played = make(None, config, num_envs=2)  # as play.py and evaluate.py do
    played.load(str(tmp_path / "model_2.pt"), resume=False)
    obs = DummyEnv(config, 2).get_observations()
    assert torch.equal(played.get_inference_policy("teacher")(obs), runner.get_inference_policy("teacher")(obs))
    assert torch.equal(played.get_inference_policy("student")(obs), runner.get_inference_policy("student")(obs))


def test_distillation_can_go_on_from_a_fine_tuned_student(tmp_path: Path, capsys: Any) -> None:
    path = distilled(tmp_path / "first", config_of())
    tuned = begin(config_of(warmup=0), path, tmp_path)
    tuned.learn(2)
    runner = make(None, config_of(), num_envs=ENVS)
    capsys.readouterr()
    runner.load(str(tmp_path / "model_2.pt"))
    assert capsys.readouterr().out.endswith(" has other values of finetune.enabled\n")
    assert_same(state_of(student_of(runner)), state_of(student_of(tuned)))
    rounds = distillation(runner).rounds
    runner.learn(1)
    assert distillation(runner).rounds == rounds + 1 and runner.iteration == 3


def test_there_must_be_a_student_that_has_learned_something(tmp_path: Path) -> None:
    path = distilled(tmp_path, config_of(), 1)  # distillation starts at 1
    runner = make(None, config_of(warmup=1), num_envs=ENVS)
    with pytest.raises(UserError, match=r"finetune.enabled: there is no trained student to begin with; --phase"):
        runner.init_from(path)
    with pytest.raises(UserError, match=r"finetune.enabled: there is no trained student"):
        runner.learn(1)
    config = config_of(warmup=1)
    config.distill.enabled = False
    with pytest.raises(UserError, match=r"finetune.enabled: expected false with distill.enabled=false"):
        validate(config)


def test_more_mini_batches_than_environments_are_one_clear_line(tmp_path: Path) -> None:
    runner = begin(config_of(num_mini_batches=ENVS + 1), distilled(tmp_path, config_of()))
    with pytest.raises(UserError, match=r"finetune.num_mini_batches: expected at most 6, the number of env.*, got 7"):
        runner.learn(1)


def test_mini_batches_need_not_be_equally_large(tmp_path: Path) -> None:
    runner = begin(config_of(num_mini_batches=4), distilled(tmp_path, config_of()))
    runner._prepare_networks()
    collect(runner)
    assert [len(batch.actions) for batch in batches_of(runner)] == [16, 16, 8, 8]


def test_handed_on_without_optimizer_and_environments_it_still_is_a_fine_tuning(tmp_path: Path) -> None:
    begin(config_of(warmup=1), distilled(tmp_path / "first", config_of()), tmp_path).learn(2)
    saved = load_checkpoint(tmp_path / "model_2.pt")
    save_checkpoint(slim(saved), tmp_path / "slim.pt")
    runner = begin(config_of(warmup=1), tmp_path / "slim.pt")
    assert_same(state_of(finetune(runner).alg.critic), saved["phases"]["finetune"]["critic"])
    before = state_of(student_of(runner))
    runner.learn(1)
    assert finetune(runner).rounds == 3 and runner.iteration == 1  # the critic has had its warm-up
    assert differs(state_of(student_of(runner)), before)

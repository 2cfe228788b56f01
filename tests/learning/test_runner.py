"""The training loop: resuming, lanes, interruption, the log, and the policies that it gives out."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from dummy_env import DummyEnv, small_config
from dummy_runner import assert_same, collect, distillation, make
from no_sync import NoSync, outside
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import Tensor

from legged_gym_ext.device.host_number import HostNumber
from legged_gym_ext.errors import UserError
from legged_gym_ext.learning.nan_check import NanCheck
from legged_gym_ext.learning.runner import ParkourRunner
from legged_gym_ext.learning.storage import ParkourRolloutStorage
from legged_gym_ext.models.encoders import ENCODERS
from legged_gym_ext.runs.checkpoint import load_checkpoint
from legged_gym_ext.runs.folder import checkpoint_numbers


@pytest.mark.parametrize("kind", ["depth", "scandots"])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_three_iterations_and_three_resumed_are_six(tmp_path: Path, kind: str, precision: str) -> None:
    config = small_config(precision=precision)
    config.teacher.kind = kind
    config.teacher.normalize_observations = True
    config.distill.beta = 0.5
    make(tmp_path / "whole", config).learn(6)
    make(tmp_path / "parts", config).learn(3)
    resumed = make(tmp_path / "parts", config, seed=99)  # nothing of this process's random state may matter
    resumed.load(str(tmp_path / "parts" / "model_3.pt"))
    resumed.learn(3)
    assert checkpoint_numbers(tmp_path / "whole") == [6] and checkpoint_numbers(tmp_path / "parts") == [3, 6]
    whole, parts = (load_checkpoint(tmp_path / run / "model_6.pt") for run in ("whole", "parts"))
    assert whole["iteration"] == 6 and whole["phases"]["distillation"]["rounds"] == 5
    assert_same(whole, parts)
    before = load_checkpoint(tmp_path / "parts" / "model_3.pt")
    for name in ("ppo", "distillation"):
        with pytest.raises(AssertionError):
            assert_same(whole["phases"][name], before["phases"][name])


def test_lanes_do_not_touch_each_other(tmp_path: Path) -> None:
    """Distillation leaves the teacher's environment as it was, and takes the student's on from where it was."""
    runner = make(None)
    runner.learn(2)
    teacher, student = runner.env.snapshot(), runner.lanes["student"].snapshot
    with pytest.raises(AssertionError):
        assert_same(teacher, student)
    seen = []
    collect = distillation(runner).collect

    def spy(env: DummyEnv, statistics: Any) -> None:
        seen.append(env.snapshot())
        collect(env, statistics)
        seen.append(env.snapshot())

    distillation(runner).collect = spy  # type: ignore[method-assign]
    before = runner.lanes["teacher"].statistics.state_dict()
    distillation(runner).run(runner.lanes["student"])
    assert_same(runner.env.snapshot(), teacher)
    assert_same(runner.lanes["teacher"].statistics.state_dict(), before)
    assert_same(seen[0], student)
    assert_same(seen[1], runner.lanes["student"].snapshot)


def test_distillation_follows_the_schedule(tmp_path: Path) -> None:
    config = small_config()
    config.distill.start, config.distill.interval = 2, 3
    runner, rounds = make(None, config), []
    for _ in range(7):
        runner.learn(1)
        rounds.append(distillation(runner).rounds)
    assert rounds == [0, 0, 1, 1, 1, 2, 2]  # after the iterations with index 2 and 5


@pytest.mark.parametrize(
    ("start", "start_level", "expected"),
    [
        (99, 3.0, [0, 0, 0, 0, 0, 1, 1, 2]),  # it may begin with index 1, 3, 5, and at index 1 and 3 the level is 2
        (3, 3.0, [0, 0, 0, 1, 1, 2, 2, 3]),  # it waits no longer than that
        (99, 0.0, [0] * 8),
    ],
)
def test_distillation_waits_for_a_teacher_that_is_good_enough_and_never_stops_again(
    start: int, start_level: float, expected: list[int]
) -> None:
    config = small_config()
    config.distill.start, config.distill.interval, config.distill.start_level = start, 2, start_level
    runner, rounds = make(None, config), []
    for level in (9, 2, 2, 2, 3, 3, 0, 0):  # of all environments on average
        teacher = runner.lanes["teacher"].statistics

        def add(*step: Any, level: int = level, statistics: Any = teacher) -> None:
            type(statistics).add(statistics, *step)
            n = len(statistics.level)
            statistics.level[:] = torch.tensor([2.0 * level, 0.0]).repeat(n)[:n]

        teacher.add = add  # type: ignore[method-assign]
        runner.learn(1)
        rounds.append(distillation(runner).rounds)
    assert rounds == expected


@pytest.mark.parametrize("kind", ["depth", "scandots"])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_mini_batches_are_the_rollout_and_its_ratios_are_one(kind: str, precision: str) -> None:
    config = small_config(precision=precision)
    config.teacher.kind = kind
    runner = make(None, config, num_envs=6)
    seen: list[Tensor] = []
    step = runner.env.step

    def spy(actions: Tensor) -> Any:
        seen.append(runner.env.get_observations()["depth"])
        return step(actions)

    runner.env.step = spy  # type: ignore[method-assign]
    collect(runner)
    storage, total = runner.alg.storage, 6 * config.runner.num_steps_per_env
    storage.values.copy_(torch.arange(total).view(-1, 6, 1))  # names the samples
    batches = list(storage.mini_batch_generator(2, 1))
    samples = torch.cat([batch.values for batch in batches]).flatten().long()
    assert sorted(samples.tolist()) == list(range(total)) and samples.tolist() != sorted(samples.tolist())
    depth = torch.stack(seen).flatten(0, 1).to(torch.bfloat16 if precision == "bfloat16" else torch.float32)
    for batch in batches:
        rows = batch.values.flatten().long()
        assert batch.observations is not None
        torch.testing.assert_close(
            batch.observations["privileged"], storage.observations["privileged"].flatten(0, 1)[rows]
        )
        if kind == "depth":
            frames = batch.observations["frames"]
            assert torch.equal(frames.images[frames.index], depth[rows]) and len(frames.images) < 0.7 * len(rows)
        with torch.no_grad():
            runner.alg.actor(batch.observations, stochastic_output=True)
            log_prob = runner.alg.actor.get_output_log_prob(batch.actions)
        torch.testing.assert_close(log_prob, batch.old_actions_log_prob.flatten(), atol=2e-4, rtol=0)


@pytest.mark.parametrize("gain", [0.01, 1.0])
@pytest.mark.parametrize("block", [1, 2, 4])
@pytest.mark.parametrize("camera", ["float32", "float16"])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_ratios_are_one_for_noisy_images_however_they_are_rounded(
    precision: str, camera: str, block: int, gain: float
) -> None:
    config = small_config(precision=precision)
    config.camera.precision, config.teacher.depth_block, config.teacher.depth_gain = camera, block, gain
    runner = make(None, config, num_envs=24)
    assert isinstance(runner.env, DummyEnv)
    look = runner.env._look

    def look_at_noise(mask: Tensor) -> None:
        before = runner.env.depth
        look(mask)
        runner.env.depth = torch.where(mask[:, None], torch.rand_like(before) - 0.5, before)

    runner.env._look = look_at_noise  # type: ignore[method-assign]
    runner.env.reset()
    collect(runner)
    for batch in runner.alg.storage.mini_batch_generator(3, 1):
        with torch.no_grad():
            runner.alg.actor(batch.observations, stochastic_output=True)
            log_prob = runner.alg.actor.get_output_log_prob(batch.actions)
        ratio = (log_prob - batch.old_actions_log_prob.flatten()).exp()
        torch.testing.assert_close(ratio, torch.ones_like(ratio), atol=2e-5, rtol=0)


def test_more_mini_batches_than_samples_are_one_clear_line() -> None:
    config = small_config()
    config.ppo.num_mini_batches = 1 + 2 * config.runner.num_steps_per_env
    runner = make(None, config, num_envs=2)
    with pytest.raises(UserError, match=r"ppo.num_mini_batches: expected at most \d+ \(2 environments x \d+ steps\)"):
        runner.learn(1)


def test_log_holds_teacher_and_student_side_by_side(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make(tmp_path, small_config(logger="tensorboard", save_interval=2)).learn(4)
    assert checkpoint_numbers(tmp_path) == [2, 4]
    events = EventAccumulator(str(tmp_path)).Reload()
    tags = set(events.Tags()["scalars"])
    for measure in ("Return", "EpisodeLength", "SuccessRate", "TerrainLevel", "Progress", "Reward/target"):
        assert {f"{measure}/teacher", f"{measure}/student"} <= tags
    assert {"Distill/loss", "Distill/beta", "Loss/surrogate", "Perf/collection_time", "Perf/distill_time"} <= tags
    assert [event.step for event in events.Scalars("Loss/surrogate")] == [1, 2, 3, 4]
    assert [event.step for event in events.Scalars("Distill/loss")] == [2, 3, 4]
    printed = capsys.readouterr().out
    assert "iteration 4/4 (100.0%)" in printed and "steps/s" in printed and "time left" in printed
    assert "teacher     student" in printed


def test_steps_are_those_of_both_lanes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make(tmp_path).learn(3)  # 6 steps of 4 environments each, and as many in each of 2 distillations
    path = tmp_path / "model_3.pt"
    config = small_config(num_steps_per_env=12)
    resumed = make(None, config)
    resumed.load(str(path))
    resumed.learn(1)
    out = capsys.readouterr().out
    assert [line.split("   ")[1] for line in out.splitlines() if line.startswith("iteration")] == [
        "24 steps",
        "72 steps",
        "120 steps",
        "192 steps",
    ]
    assert load_checkpoint(path)["total_steps"] == 120


def test_what_goes_wrong_in_the_physics_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    runner = make(None)
    step, overflow = runner.env.step, torch.tensor(0.0)

    def spy(actions: Tensor) -> Any:
        *others, extras = step(actions)
        extras["log"] |= {"Health/diverged": torch.tensor(0.0), "Health/overflow": overflow.clone()}
        return *others, extras

    runner.env.step = spy  # type: ignore[method-assign]
    runner.learn(1)
    assert "health" not in capsys.readouterr().out
    overflow.fill_(3.0)
    runner.learn(1)
    line = "  health          teacher: overflow 3, student: overflow 3 (environments per step)\n"
    assert line in capsys.readouterr().out


def test_first_signal_stops_after_the_iteration_and_saves(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runner, steps = make(tmp_path), []
    step = runner.env.step

    def interrupt(actions: Tensor) -> Any:
        steps.append(0)
        if len(steps) == 2:  # in the middle of the first iteration
            os.kill(os.getpid(), signal.SIGTERM)
        return step(actions)

    runner.env.step = interrupt  # type: ignore[method-assign]
    previous = signal.getsignal(signal.SIGTERM)
    runner.learn(50)
    assert signal.getsignal(signal.SIGTERM) is previous
    assert runner.iteration == 1 and checkpoint_numbers(tmp_path) == [1]
    assert "SIGTERM: stopped after iteration 1; saved" in capsys.readouterr().out
    make(tmp_path / "other").learn(1)
    assert_same(load_checkpoint(tmp_path / "model_1.pt"), load_checkpoint(tmp_path / "other" / "model_1.pt"))


def test_second_signal_aborts(tmp_path: Path) -> None:
    runner = make(tmp_path)

    def interrupt(actions: Tensor) -> Any:
        signal.raise_signal(signal.SIGINT)  # to this thread: two that another one gets may become one
        signal.raise_signal(signal.SIGINT)

    runner.env.step = interrupt  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        runner.learn(50)
    assert checkpoint_numbers(tmp_path) == []


def test_learns_in_a_thread_that_cannot_take_signals(tmp_path: Path) -> None:
    runner = make(tmp_path)
    thread = threading.Thread(target=runner.learn, args=(1,))
    thread.start()
    thread.join()
    assert checkpoint_numbers(tmp_path) == [1]


def test_networks_load_for_any_number_of_environments_but_training_does_not(tmp_path: Path) -> None:
    make(tmp_path).learn(2)
    path = str(tmp_path / "model_2.pt")
    other = make(None, num_envs=2)
    with pytest.raises(UserError, match="it has num_envs=4, this run 2"):
        other.load(path)
    assert other.load(path, resume=False)["distill"]["start"] == 1
    content = load_checkpoint(path)
    student = other.get_inference_policy("student")
    assert_same(dict(student.state_dict()), content["phases"]["distillation"]["student"])
    assert student(other.env.get_observations()).shape == (2, 10)
    assert_same(dict(other.get_inference_policy("teacher").state_dict()), content["phases"]["ppo"]["actor_state_dict"])
    with pytest.raises(UserError, match="policy 'studnt'.*did you mean 'student'"):
        other.get_inference_policy("studnt")  # type: ignore[arg-type]


@pytest.mark.parametrize("schedule", ["fixed", "adaptive"])
def test_learning_rates_given_with_resume_hold(schedule: str, tmp_path: Path) -> None:
    config = small_config()
    config.ppo.schedule = schedule
    make(tmp_path, config).learn(2)
    path = str(tmp_path / "model_2.pt")
    saved = load_checkpoint(path)["phases"]["ppo"]["optimizer_state_dict"]["param_groups"][0]["lr"]
    assert (saved == config.ppo.learning_rate) == (schedule == "fixed")
    same = make(None, config)
    same.load(path)
    assert same.alg.learning_rate == saved
    config.ppo.learning_rate = 3e-4
    config.distill.encoder_learning_rate, config.distill.actor_learning_rate = 5e-4, 2e-4
    other = make(None, config)
    other.load(path)
    assert other.lanes["student"].snapshot is not None
    assert [other.alg.learning_rate, *(group["lr"] for group in other.alg.optimizer.param_groups)] == [3e-4, 3e-4]
    assert [group["lr"] for group in distillation(other).optimizer.param_groups] == [5e-4, 2e-4]
    config.ppo.schedule = "fixed"
    config.ppo.learning_rate = 1e-3  # as it was, but not as the adaptive schedule left it
    fixed = make(None, config)
    fixed.load(path)
    assert fixed.alg.learning_rate == 1e-3


def test_another_seed_given_with_resume_seeds_what_is_random(tmp_path: Path) -> None:
    make(tmp_path).learn(2)
    path = str(tmp_path / "model_2.pt")

    def resumed(seed: int, generators: int) -> ParkourRunner:
        config = small_config()
        config.seed = seed
        torch.manual_seed(generators)
        runner = ParkourRunner(DummyEnv(config, 4, seed=generators), config, None, "cpu")
        torch.manual_seed(generators)  # building the networks drew from it
        runner.load(path)
        return runner

    (own,) = load_checkpoint(path)["ranks"]
    assert_same(resumed(1, generators=5).saving.own_state(), own)
    first, second = (resumed(8, generators).saving.own_state() for generators in (8, 9))
    for name, lane in own["lanes"].items():
        differing = [key for key, value in lane.items() if not torch.equal(value, first["lanes"][name][key])]
        assert differing == ["generator"]
        assert not torch.equal(first["lanes"][name]["generator"], second["lanes"][name]["generator"])
    assert torch.equal(first["random"]["cpu"], torch.Generator().manual_seed(8).get_state())


@pytest.mark.parametrize("policy", ["student", "teacher"])
def test_a_training_goes_on_as_if_its_policies_had_not_been_used(policy: Any, tmp_path: Path) -> None:
    config = small_config()
    config.teacher.normalize_observations = True
    make(tmp_path / "whole", config).learn(5)
    runner = make(tmp_path / "parts", config)
    runner.learn(2)
    used = runner.get_inference_policy(policy)
    obs = runner.env.get_observations()
    with torch.no_grad():
        actions = used(obs)
    runner.learn(3)
    assert not used.training
    used.reset()
    with torch.no_grad():
        assert torch.equal(used(obs), actions)  # what was handed out does not change either
    assert_same(*(load_checkpoint(tmp_path / run / "model_5.pt") for run in ("whole", "parts")))


def test_a_student_that_never_learned_is_not_given_out() -> None:
    with pytest.raises(UserError, match="no trained student after 0 iterations"):
        make(None).get_inference_policy("student")


def test_another_architecture_is_told(tmp_path: Path) -> None:
    make(tmp_path).learn(1)
    config = small_config()
    config.teacher.hidden_dims = [24, 16]
    with pytest.raises(UserError, match=r"teacher.hidden_dims=\[32, 16\] there and \[24, 16\]") as error:
        make(None, config).load(str(tmp_path / "model_1.pt"))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("kind", ["depth", "scandots"])
def test_rollouts_do_not_wait_for_the_device(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    config = small_config()
    config.teacher.kind = kind
    env = DummyEnv(config, num_envs=6)
    torch.manual_seed(0)
    runner = ParkourRunner(env, config, None, "cpu")
    assert isinstance(runner.alg.storage, ParkourRolloutStorage)
    for pool in (distillation(runner).frames, runner.alg.storage.frames):
        if pool is not None:
            pool._lag = 2  # as on a GPU
    monkeypatch.setattr(env, "step", outside(env.step))
    monkeypatch.setattr(NanCheck, "report", outside(NanCheck.report))  # waits, once for each rollout
    monkeypatch.setattr(HostNumber, "get", outside(HostNumber.get))  # of some steps ago
    for _ in range(2):
        with NoSync():
            collect(runner)
            distillation(runner).collect(env, runner.lanes["student"].statistics)
        runner.alg.update()
        distillation(runner).update()
    with pytest.raises(AssertionError, match="reads a tensor's values"), NoSync():
        runner.lanes["teacher"].statistics.summary()


def test_images_in_half_precision_train_as_their_rounded_values_do(monkeypatch: pytest.MonkeyPatch) -> None:
    parameters = []
    for precision in ("float16", "float32"):
        config = small_config(precision="float32")
        config.camera.precision = precision
        torch.manual_seed(0)
        env = DummyEnv(config)
        look = env._look

        def look_and_round(mask: Tensor, env: DummyEnv = env, look: Callable = look) -> None:
            look(mask)
            env.depth = env.depth.half().float()

        monkeypatch.setattr(env, "_look", look_and_round)
        env.reset()
        runner = ParkourRunner(env, config, None, "cpu")
        assert isinstance(runner.alg.storage, ParkourRolloutStorage)
        for pool in (runner.alg.storage.frames, distillation(runner).frames):
            assert pool is not None and pool.images.dtype == getattr(torch, precision)
        runner.learn(3)
        parameters.append([*runner.alg.actor.parameters(), *distillation(runner).student.parameters()])
    assert distillation(runner).rounds == 2
    assert all(torch.equal(*pair) for pair in zip(*parameters, strict=True))


@pytest.mark.parametrize("what", ["observation group 'proprio'", "rewards"])
def test_what_is_not_a_number_ends_the_training_after_the_rollout(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    config = small_config()
    env = DummyEnv(config)
    runner = ParkourRunner(env, config, None, "cpu")
    step, steps = env.step, []

    def sometimes_nan(actions: torch.Tensor):
        obs, rewards, *others = step(actions)
        steps.append(rewards)
        if len(steps) == 2:
            (rewards if what == "rewards" else obs["proprio"])[1] = torch.nan
        return obs, rewards, *others

    monkeypatch.setattr(env, "step", sometimes_nan)
    with pytest.raises(ValueError, match=f"The {what} returned by the environment contain"):
        runner.learn(1)
    assert len(steps) == config.runner.num_steps_per_env


@pytest.mark.parametrize("kind", ["spec", "light"])
def test_rsl_rls_exports_are_the_student_or_one_clear_line(kind: str, tmp_path: Path) -> None:
    config = small_config()
    config.student.encoder = ENCODERS[kind].options()
    runner = make(None, config)
    for export in (runner.export_policy_to_jit, runner.export_policy_to_onnx):
        with pytest.raises(UserError, match="no student is trained after 0 iterations"):
            export(str(tmp_path / "exported"))
    assert not list(tmp_path.iterdir())

    runner.learn(2)
    student = runner.get_inference_policy("student")
    runner.export_policy_to_jit(str(tmp_path / "exported"))
    runner.export_policy_to_onnx(str(tmp_path / "exported"))
    script = torch.jit.load(tmp_path / "exported" / "policy.pt")
    session = onnxruntime.InferenceSession(tmp_path / "exported" / "policy.onnx", providers=["CPUExecutionProvider"])
    memory = np.zeros(session.get_inputs()[1].shape, np.float32)
    for _ in range(5):
        obs = runner.env.step(torch.randn(4, 10))[0][:1]
        flat = torch.cat([obs["proprio"], obs["depth"], obs["gait_phase"]], dim=1)
        with torch.no_grad():
            expected = student(obs.exclude("new_frame"))
            torch.testing.assert_close(script(flat), expected)
        actions, memory = session.run(["actions", "h_out"], {"obs": flat.numpy(), "h_in": memory})
        np.testing.assert_allclose(actions, expected.numpy(), atol=1e-5)

"""DAgger: what it stores, what gradient it follows, and that the student comes to act as the teacher does."""

from __future__ import annotations

import math
import time
from copy import deepcopy

import pytest
import torch
from dummy_env import NUM_PROPRIO
from small_dagger import IMAGE, Recorder, make
from tensordict import TensorDict
from torch import Tensor

from legged_gym_ext.config.rules import allowed
from legged_gym_ext.learning.lanes import Lane
from legged_gym_ext.learning.phases.distillation import LOSSES, Distillation
from legged_gym_ext.learning.statistics import EpisodeStatistics
from legged_gym_ext.models.actor import ParkourActor
from legged_gym_ext.models.teacher import plain_mlp


def specification_gradients(
    dagger: Distillation, record: Recorder, hidden: Tensor | None, weight: float
) -> list[Tensor]:
    """Return the gradients of the specification's loop: every step, every image, one graph over the whole rollout."""
    student, teacher = dagger.student, dagger.teacher
    student.reset(hidden_state=hidden)
    teacher_actions, student_actions, feature_losses = [], [], []
    for obs, dones in zip(record.observations, record.dones, strict=False):
        with torch.no_grad():
            teacher_actions.append(teacher(obs))
        latent = student.encoder(obs["depth"].view(-1, *IMAGE), obs["proprio"])
        student_actions.append(student.mlp(torch.cat([obs["proprio"], latent, obs["gait_phase"]], dim=1)))
        if weight > 0:
            with torch.no_grad():
                target = teacher.scan_latent(obs)
            feature_losses.append((target - latent).pow(2))
        student.encoder.reset(dones)
    difference = torch.stack(teacher_actions) - torch.stack(student_actions)
    loss = difference.pow(2).mean()
    if weight > 0:
        loss = loss + weight * torch.stack(feature_losses).mean()
    return list(torch.autograd.grad(loss, [*student.encoder.parameters(), *student.mlp.parameters()]))


@pytest.mark.parametrize("kind", ["depth", "scan"])
@pytest.mark.parametrize("chunks", [1, 2])
def test_gradients_are_those_of_the_specifications_loop(kind: str, chunks: int) -> None:
    """Mini-batches of environments, whose gradients must add up, with frames encoded once and resets in the middle."""
    env, dagger = make(kind, num_envs=6, steps_per_env=9, bptt_steps=9)
    for seed in range(2):  # the second rollout begins with a memory
        record = Recorder(env)
        hidden = dagger.student.get_hidden_state()
        torch.manual_seed(seed)
        dagger.collect(record, EpisodeStatistics(6, "cpu"))
    assert hidden is not None and hidden.abs().sum() > 0
    assert torch.stack(record.dones)[1:-2].any(), "no reset in the middle"
    assert dagger.frames.count < 0.7 * 6 * 9
    weight = dagger.config.feature_loss_weight if kind == "scan" else 0.0

    parameters = [*dagger.student.encoder.parameters(), *dagger.student.mlp.parameters()]
    dagger.optimizer.zero_grad()
    for envs in torch.randperm(6).chunk(chunks):
        action_loss, feature_loss, _ = dagger.losses(slice(0, 9), envs, dagger.first_memory[:, envs])
        ((action_loss + weight * feature_loss) / chunks).backward()
    ours = [parameter.grad.clone() for parameter in parameters]
    expected = specification_gradients(dagger, record, hidden, weight)
    for one, other in zip(ours, expected, strict=True):
        assert other.abs().max() > 0
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6 * other.abs().max().item() + 1e-9)


def test_chunks_go_on_from_the_memory_of_the_ones_before() -> None:
    env, dagger = make(num_envs=4, steps_per_env=9)
    dagger.collect(env, EpisodeStatistics(4, "cpu"))
    assert dagger.dones.any()
    envs = torch.tensor([2, 0, 3])
    with torch.no_grad():
        whole = dagger.losses(slice(0, 9), envs, dagger.first_memory[:, envs])
        first = dagger.losses(slice(0, 4), envs, dagger.first_memory[:, envs])
        second = dagger.losses(slice(4, 9), envs, first[2])
    torch.testing.assert_close((4 * first[0] + 5 * second[0]) / 9, whole[0])
    torch.testing.assert_close(second[2], whole[2])
    torch.testing.assert_close(dagger.student.get_hidden_state()[:, envs], whole[2])


@pytest.mark.parametrize("loss", ["l2", "l1", "huber"])
def test_losses_are_what_their_names_say(loss: str) -> None:
    env, dagger = make(loss=loss)
    dagger.collect(env, EpisodeStatistics(4, "cpu"))
    dagger.teacher_actions[::2] += 5.0  # beyond Huber's quadratic part
    envs = torch.arange(4)
    with torch.no_grad():
        value = dagger.losses(slice(0, 6), envs, dagger.first_memory)[0]
        index = dagger.frames.index
        actions = dagger.student.forward_sequence(
            dagger.observations, dagger.frames.images, index, dagger.first_memory, dagger.dones
        )[0]
    error = (actions - dagger.teacher_actions).abs()
    expected = {
        "l2": error**2,
        "l1": error,
        "huber": torch.where(error < 1, 0.5 * error**2, error - 0.5),
    }[loss]
    torch.testing.assert_close(value, expected.mean())


def test_each_loss_that_the_configuration_may_name_is_there() -> None:
    assert set(LOSSES) == set(allowed("distill.loss"))


@pytest.mark.parametrize("bfloat16", [False, True])
def test_student_learns_to_act_as_the_teacher(bfloat16: bool) -> None:
    env, dagger = make(
        num_envs=16,
        bfloat16=bfloat16,
        steps_per_env=10,
        bptt_steps=10,
        epochs=8,
        encoder_learning_rate=2e-3,
        actor_learning_rate=2e-3,
    )
    with torch.no_grad():
        dagger.teacher.mlp[0].weight[:, dagger.teacher.terrain_columns] *= 4.0
    dagger.student.init_from_teacher(dagger.teacher, "columns")
    statistics = EpisodeStatistics(16, "cpu")
    losses = []
    for _ in range(6):
        dagger.collect(env, statistics)
        losses.append(dagger.update())
    assert losses[-1]["loss"] < losses[0]["loss"] / 5
    assert losses[-1]["action_difference"] < losses[0]["action_difference"] / 2
    assert dagger.rounds == 6 and losses[0]["gradient_norm"] > 0


def test_the_student_begins_as_the_teacher_once() -> None:
    """With learning rates that change nothing: its actor is the first round's teacher's, whatever becomes of that."""
    still = {"encoder_learning_rate": 1e-30, "actor_learning_rate": 1e-30}
    env, dagger = make(**still)
    lane = Lane(env, "cpu")
    lane.begin()
    columns = [*range(NUM_PROPRIO), *range(-2, 0)]  # proprioception and the gait clock

    def weights(actor: ParkourActor) -> list[torch.Tensor]:
        first, *others = plain_mlp(actor).parameters()
        return [first[:, columns].clone(), *(weight.clone() for weight in others)]

    begins = weights(dagger.teacher)
    assert not torch.equal(weights(dagger.student)[0], begins[0])
    for _ in range(3):
        dagger.run(lane)
        for ours, theirs in zip(weights(dagger.student), begins, strict=True):
            assert torch.equal(ours, theirs)
        with torch.no_grad():
            for parameter in dagger.teacher.parameters():
                parameter += 0.1


def test_the_student_begins_where_the_teacher_is_once() -> None:
    """With what the teacher has before it, and so on its levels; from then on its episodes are its own."""
    env, dagger = make(steps_per_env=4)
    lane = Lane(env, "cpu")
    lane.begin()
    began = []

    def first_seen() -> torch.Tensor:
        dagger.run(lane)
        return dagger.observations["proprio"][0].clone()

    for _ in range(2):
        for _ in range(3):
            env.step(torch.randn(env.num_envs, env.num_actions))
        began.append(env.get_observations()["proprio"].clone())
        teachers, students = began[-1], first_seen()
        assert torch.equal(env.get_observations()["proprio"], teachers), "the teacher's episodes went on without it"
        assert torch.equal(students, teachers) == (len(began) == 1)
    with lane.turn():
        left = env.get_observations()["proprio"].clone()
    assert torch.equal(first_seen(), left)


def test_the_teacher_acts_in_its_share_of_environments_and_the_share_decays() -> None:
    env, dagger = make(num_envs=40, beta=0.5, beta_decay=0.5, steps_per_env=4)
    shares = []
    for _ in range(2):
        record = Recorder(env)
        dagger.collect(record, EpisodeStatistics(40, "cpu"))
        with torch.no_grad():
            labels = torch.stack([dagger.teacher(obs) for obs in record.observations[:-1]])
        torch.testing.assert_close(labels, dagger.teacher_actions)
        by_teacher = (torch.stack(record.actions) == labels).all(dim=2)
        assert (by_teacher == by_teacher[0]).all(), "the actor changed within a rollout"
        shares.append(by_teacher[0].float().mean().item())
        assert dagger.update()["beta"] == pytest.approx(0.5 if len(shares) == 1 else 0.25)
    assert 0.3 < shares[0] < 0.7 and 0.05 < shares[1] < 0.45


def test_it_is_due_as_scheduled_or_from_a_level_on_and_goes_on_then() -> None:
    _, dagger = make(start=5, interval=3, start_level=0.0)
    statistics, ready = dagger.teacher_statistics, [True]
    dagger.ready = lambda: ready[0]
    assert statistics is not None

    def due() -> list[int]:
        return [iteration for iteration in range(12) if dagger.due(iteration)]

    assert due() == [5, 8, 11]
    statistics.level += 2.0  # without a level in the schedule nobody asks for it
    assert due() == [5, 8, 11]
    dagger.config.start_level = 2.5
    assert due() == [5, 8, 11]
    dagger.config.start_level = 2.0  # as good as that is good enough
    assert due() == [2, 5, 8, 11]
    statistics.level -= 1.0
    dagger.config.start_level = 1.5
    assert due() == [5, 8, 11]
    dagger.rounds = 1  # begun early, and the teacher is now on a lower level
    assert due() == [2, 5, 8, 11]
    ready[0] = False
    assert due() == []


def test_a_run_tells_what_happened_and_how_long_it_took() -> None:
    env, dagger = make("scan", feature_loss_weight=0.5)
    lane = Lane(env, "cpu")
    lane.begin()
    assert dagger.policy() is None
    start = time.perf_counter()
    outcome = dagger.run(lane)
    names = ("loss", "gradient_norm", "action_difference", "beta", "feature_loss")
    assert set(outcome.losses) == {f"Distill/{name}" for name in names}
    assert list(outcome.seconds) == ["distill"] and 0 < outcome.seconds["distill"] <= time.perf_counter() - start
    assert outcome.spoiled == 0
    assert dagger.rounds == 1 and dagger.policy() is dagger.student
    dagger.run(lane)
    assert dagger.rounds == 2 and dagger.policy() is dagger.student


def test_updates_that_would_spoil_the_student_are_left_out_counted_and_told() -> None:
    env, dagger = make(epochs=2, mini_batches=1, steps_per_env=6, bptt_steps=3)
    lane, collect = Lane(env, "cpu"), dagger.collect
    lane.begin()
    dagger.run(lane)
    before = deepcopy(dagger.student.state_dict())

    def spoiled(*arguments) -> None:
        collect(*arguments)
        dagger.teacher_actions[0, 0, 0] = torch.nan  # of the first of two parts of the rollout

    dagger.collect = spoiled  # type: ignore[method-assign]
    outcome = dagger.run(lane)
    assert outcome.losses["Distill/updates_left_out"] == 2 and outcome.spoiled == 0  # the last one was sound
    assert all(value.isfinite().all() for value in dagger.student.state_dict().values())
    dagger.config.bptt_steps = 6
    before = deepcopy(dagger.student.state_dict())
    outcome = dagger.run(lane)
    assert outcome.losses["Distill/updates_left_out"] == 2 and outcome.spoiled == 2
    assert all(torch.equal(value, before[name]) for name, value in dagger.student.state_dict().items())


def test_how_far_the_student_is_from_the_teacher_is_told() -> None:
    env, dagger = make(beta=0.0)
    for _ in range(2):
        record = Recorder(env)
        dagger.collect(record, EpisodeStatistics(4, "cpu"))
        with torch.no_grad():
            labels = torch.stack([dagger.teacher(obs) for obs in record.observations[:-1]])
        expected = (labels - torch.stack(record.actions)).abs().mean().item()
        assert dagger.update()["action_difference"] == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(("kind", "weight"), [("depth", 0.7), ("scan", 0.0)])
def test_who_has_no_scan_to_follow_stores_none(kind: str, weight: float) -> None:
    env, dagger = make(kind, feature_loss_weight=weight)
    assert dagger.scan_latents.numel() == 0
    dagger.collect(env, EpisodeStatistics(4, "cpu"))
    assert "feature_loss" not in dagger.update()


@pytest.mark.parametrize("bfloat16", [False, True])
def test_bfloat16_is_for_images_and_layers_and_not_for_losses_or_memory(bfloat16: bool) -> None:
    env, dagger = make("scan", bfloat16=bfloat16, feature_loss_weight=0.5)
    assert dagger.frames.images.dtype == (torch.bfloat16 if bfloat16 else torch.float32)
    dagger.collect(env, EpisodeStatistics(4, "cpu"))
    for value in dagger.losses(slice(0, 6), torch.arange(4), dagger.first_memory):
        assert value.dtype == torch.float32


def test_what_is_saved_goes_on_as_before_but_with_the_new_learning_rates() -> None:
    def act(dagger: Distillation) -> Tensor:
        with torch.no_grad():
            return dagger.student(obs)

    env, dagger = make()
    assert dagger.own_state() is None
    dagger.collect(env, EpisodeStatistics(4, "cpu"))
    dagger.update()
    obs = env.get_observations()
    state, own = deepcopy(dagger.state_dict()), dagger.own_state()
    _, other = make(encoder_learning_rate=0.25, actor_learning_rate=0.125)
    other.load_state_dict(state)
    other.load_own_state(own)
    assert other.rounds == 1 and [group["lr"] for group in other.optimizer.param_groups] == [0.25, 0.125]
    moments = [
        [dagger.optimizer.state[p]["exp_avg"] for group in dagger.optimizer.param_groups for p in group["params"]]
        for dagger in (dagger, other)
    ]
    assert all(torch.equal(one, two) for one, two in zip(*moments, strict=True))
    first = act(dagger)
    assert own is not None and own.abs().sum() > 0
    kept = own.clone()
    assert torch.equal(act(other), first)
    act(dagger)
    assert torch.equal(own, kept)  # it is a copy, which does not go on with the student
    other.load_own_state(None)
    assert other.own_state() is None and not torch.equal(act(other), first)
    other.device = torch.device("meta")  # a memory that was saved elsewhere
    other.load_own_state(own)
    moved = other.own_state()
    assert moved is not None and moved.device.type == "meta"


class OnCpu(Recorder):
    """Passes everything on to an environment that needs its own default device."""

    def get_observations(self) -> TensorDict:
        with torch.device("cpu"):
            return super().get_observations()

    def step(self, actions: Tensor) -> tuple[TensorDict, Tensor, Tensor, dict]:
        with torch.device("cpu"):
            return super().step(actions)


@pytest.mark.parametrize("kind", ["depth", "scan"])
def test_it_needs_no_default_device(kind: str) -> None:
    env, model = make(kind, feature_loss_weight=0.5, epochs=2, mini_batches=2, steps_per_env=6, bptt_steps=4)
    obs, statistics = env.get_observations(), EpisodeStatistics(4, "cpu")
    state = deepcopy(model.state_dict())
    with torch.device("meta"):  # a tensor that is made without a device has no values
        arguments = (model.config, "columns", 4, obs, env.num_actions, "cpu", statistics)
        dagger = Distillation(model.teacher, model.student, *arguments)
        dagger.load_state_dict(state)
        for _ in range(2):
            dagger.collect(OnCpu(env), statistics)
            assert all(math.isfinite(value) for value in dagger.update().values())


def test_a_run_that_begins_with_anothers_student_counts_its_own_rounds_for_the_teachers_share() -> None:
    def shares(dagger: Distillation, rounds: int) -> list[float]:
        result = []
        for _ in range(rounds):
            dagger.collect(env, EpisodeStatistics(4, "cpu"))
            result.append(dagger.update()["beta"])
        return result

    env, dagger = make(beta=0.8, beta_decay=0.5)
    assert shares(dagger, 2) == pytest.approx([0.8, 0.4])
    dagger.count_anew()
    assert shares(dagger, 2) == pytest.approx([0.8, 0.4]) and dagger.rounds == 4
    state = deepcopy(dagger.state_dict())
    _, other = make(beta=0.8, beta_decay=0.5)
    other.load_state_dict(state)  # as a resumed training does
    assert other.beta == pytest.approx(0.2)
    del state["first_round"]  # as old checkpoints have it
    other.load_state_dict(state)
    assert other.beta == pytest.approx(0.05)

"""DAgger: what it stores, what gradient it follows, and that the student comes to act as the teacher does."""

from __future__ import annotations

import contextlib

import pytest
import torch
from dummy_env import NUM_ACTIONS, DummyEnv, small_config
from no_sync import NoSync, outside
from rsl_rl.env import VecEnv
from torch import Tensor

from legged_gym_ext.config.rules import allowed
from legged_gym_ext.device.host_number import HostNumber
from legged_gym_ext.learning import frames
from legged_gym_ext.learning.frames import FramePool
from legged_gym_ext.learning.phases.distillation import LOSSES, Distillation
from legged_gym_ext.learning.statistics import EpisodeStatistics
from legged_gym_ext.models.encoders.options import SpecOptions
from legged_gym_ext.models.student import Student
from legged_gym_ext.models.teacher import DepthTeacher, ScandotsTeacher

IMAGE = small_config().camera.resolution
GROUPS = {"depth": ["proprio", "depth", "gait_phase"], "scan": ["proprio", "scan", "gait_phase"]}


def make(kind: str = "depth", num_envs: int = 4, bfloat16: bool = False, **distill) -> tuple[DummyEnv, Distillation]:
    """Return an environment and a small DAgger on it."""
    config = small_config()
    for name, value in distill.items():
        setattr(config.distill, name, value)
    torch.manual_seed(0)
    env = DummyEnv(config, num_envs)
    obs = env.get_observations()
    arguments = {"hidden_dims": [32, 16], "activation": "elu"}
    gaussian = {"class_name": "GaussianDistribution"}
    teacher = (DepthTeacher if kind == "depth" else ScandotsTeacher)(
        obs, GROUPS, kind, NUM_ACTIONS, distribution_cfg=gaussian, **arguments
    )
    student = Student(obs, GROUPS, "depth", NUM_ACTIONS, IMAGE, 32, SpecOptions(gru_hidden=16), **arguments)
    return env, Distillation(teacher, student, config.distill, "columns", num_envs, obs, NUM_ACTIONS, "cpu", bfloat16)


class Recorder(VecEnv):
    """Passes everything on to an environment and keeps the observations, actions and dones."""

    def __init__(self, env: DummyEnv) -> None:
        self.env, self.device = env, env.device
        self.observations, self.actions, self.dones = [], [], []

    def get_observations(self):
        self.observations.append(self.env.get_observations())
        return self.observations[-1].clone()

    def step(self, actions: Tensor):
        result = self.env.step(actions)
        self.actions.append(actions.clone())
        self.observations.append(result[0].clone())
        self.dones.append(result[2].clone())
        return result


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


@pytest.mark.parametrize("lag", [0, 1, 3, 9])
@pytest.mark.parametrize("share", [0.0, 0.4, 1.0])
def test_frame_pool_gives_back_every_image_and_stores_each_once(
    lag: int, share: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(HostNumber, "get", outside(HostNumber.get))  # of some steps ago
    generator = torch.Generator().manual_seed(1)
    steps, envs, pixels = 7, 5, 3
    pool = FramePool(steps, envs, pixels, torch.float32, "cpu", lag)
    for rollout in range(3):  # the later ones reuse the memory
        shown, stored = [], envs
        for step in range(steps):
            new = torch.rand(envs, generator=generator) < (share if rollout < 2 else 1.0)
            fresh = torch.rand(envs, pixels, generator=generator)
            shown.append(fresh if step == 0 else torch.where(new[:, None], fresh, shown[-1]))
            with NoSync() if lag > 0 else contextlib.nullcontext():
                pool.add(step, shown[-1], new)
            stored += 0 if step == 0 else int(new.sum())
        assert torch.equal(pool.images[pool.index], torch.stack(shown))
        assert pool.count == stored
        assert torch.equal(pool.index.unique(), torch.arange(stored))


@pytest.mark.gpu
def test_a_pool_on_a_gpu_loses_nothing_and_does_not_wait() -> None:
    steps, envs, pixels = 30, 64, 256
    generator = torch.Generator("cuda").manual_seed(1)
    pool = FramePool(steps, envs, pixels, torch.float32, "cuda")
    for _ in range(2):
        shown: list[Tensor] = []
        torch.cuda.set_sync_debug_mode("error")
        try:
            for step in range(steps):
                new = torch.rand(envs, generator=generator, device="cuda") < 0.3
                fresh = torch.rand(envs, pixels, generator=generator, device="cuda")
                shown.append(fresh if step == 0 else torch.where(new[:, None], fresh, shown[-1]))
                pool.add(step, shown[-1], new)
        finally:
            torch.cuda.set_sync_debug_mode("default")
        assert torch.equal(pool.images[pool.index], torch.stack(shown))


def test_a_pool_that_lags_asks_for_old_numbers_and_needs_little_more_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    steps, envs, lag = 40, 50, 4
    numbers: list[HostNumber] = []

    class Late(HostNumber):
        def __init__(self, value: Tensor) -> None:
            super().__init__(value)
            numbers.append(self)

        def get(self) -> int:
            assert self not in numbers[1 - lag :]
            return super().get()

    monkeypatch.setattr(frames, "HostNumber", Late)
    pool = FramePool(steps, envs, 1, torch.float32, "cpu", lag)
    for step in range(steps):
        pool.add(step, torch.zeros(envs, 1), torch.arange(envs) % 5 == step % 5)
    monkeypatch.undo()
    numbers += [numbers[0]] * lag
    assert pool.count == envs + (steps - 1) * envs // 5
    assert len(pool._images) <= 1.25 * (pool.count + lag * envs)


def test_statistics_are_those_of_each_environments_last_episode() -> None:
    generator = torch.Generator().manual_seed(3)
    envs, steps = 6, 40
    statistics = EpisodeStatistics(envs, "cpu")
    assert "return" not in statistics.summary()
    last: dict[int, tuple[float, ...]] = {}
    running = [[0.0, 0] for _ in range(envs)]
    for _ in range(steps):
        rewards = torch.rand(envs, generator=generator)
        dones = torch.rand(envs, generator=generator) < 0.1
        extras = {
            "success": torch.rand(envs, generator=generator) < 0.5,
            "progress": torch.rand(envs, generator=generator),
            "terrain_level": torch.randint(0, 9, (envs,), generator=generator),
            "log": {"Reward/alive": rewards.mean()},
        }
        statistics.add(rewards, dones, extras)
        for env in range(envs):
            running[env] = [running[env][0] + rewards[env].item(), running[env][1] + 1]
            if dones[env]:
                last[env] = (*running[env], float(extras["success"][env]), extras["progress"][env].item())
                running[env] = [0.0, 0]
    summary = statistics.summary()
    means = torch.tensor(list(last.values())).mean(dim=0)
    names = ("return", "episode_length", "success_rate", "progress")
    torch.testing.assert_close(torch.tensor([summary[name] for name in names]), means)
    assert summary["terrain_level"] == pytest.approx(extras["terrain_level"].float().mean().item())
    assert statistics.pop_log().keys() == {"Reward/alive"} and statistics.pop_log() == {}

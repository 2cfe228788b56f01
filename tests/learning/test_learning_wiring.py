"""That the configuration's numbers reach the learners, and what a whole DAgger update does, by the specification."""

from __future__ import annotations

import io
from collections import Counter
from copy import deepcopy
from dataclasses import fields
from typing import Any

import numpy as np
import pytest
import torch
from dummy_env import NUM_ACTIONS, NUM_PRIVILEGED, NUM_PROPRIO, NUM_SCAN, DummyEnv, small_config
from dummy_runner import collect, distillation
from rich.console import Console
from small_dagger import GROUPS, IMAGE, Recorder, make
from torch import Tensor, nn

from legged_gym_ext.config.files import load_config
from legged_gym_ext.config.schema import Config, PPOConfig
from legged_gym_ext.envs.parkour_env import ParkourEnv
from legged_gym_ext.learning import runner as runner_module
from legged_gym_ext.learning.journal import Progress
from legged_gym_ext.learning.phases.base import Outcome
from legged_gym_ext.learning.phases.distillation import Distillation
from legged_gym_ext.learning.runner import ParkourRunner
from legged_gym_ext.learning.statistics import EpisodeStatistics
from legged_gym_ext.learning.status import Status
from legged_gym_ext.learning.wording import iteration_block, words
from legged_gym_ext.models.encoders.options import SpecOptions
from legged_gym_ext.models.student import Student
from legged_gym_ext.models.teacher import DepthTeacher, ImageLinear, ScandotsTeacher
from legged_gym_ext.processes.ranks import Ranks
from legged_gym_ext.runs.settle import settle

CPU = torch.device("cpu")

# ---------------------------------------------------------------------- DAgger


def specification_update(
    dagger: Distillation, record: Recorder, hidden: Tensor
) -> tuple[Student, list[float], list[float], list[float]]:
    """Return the student after the specification's loop with gradient descent; each update's losses and norm."""
    config, teacher, student = dagger.config, dagger.teacher, deepcopy(dagger.student)
    groups = [
        (list(student.encoder.parameters()), config.encoder_learning_rate),
        (list(student.mlp.parameters()), config.actor_learning_rate),
    ]
    losses, feature_losses, norms = [], [], []
    for _ in range(config.epochs):
        student.reset(hidden_state=hidden)
        for start in range(0, config.steps_per_env, config.bptt_steps):
            differences, features = [], []
            for step in range(start, min(start + config.bptt_steps, config.steps_per_env)):
                obs = record.observations[step]
                latent = student.encoder(obs["depth"].view(-1, *IMAGE), obs["proprio"])
                action = student.mlp(torch.cat([obs["proprio"], latent, obs["gait_phase"]], dim=1))
                with torch.no_grad():
                    differences.append(teacher(obs))
                    if isinstance(teacher, ScandotsTeacher):
                        features.append(teacher.scan_latent(obs))
                differences[-1] = differences[-1] - action
                if features:
                    features[-1] = features[-1] - latent
                student.encoder.reset(record.dones[step])
            losses.append(torch.stack(differences).square().mean())
            loss = losses[-1]
            if features:
                feature_losses.append(torch.stack(features).square().mean().item())
                loss = loss + config.feature_loss_weight * torch.stack(features).square().mean()
            gradients = torch.autograd.grad(loss, [p for parameters, _ in groups for p in parameters])
            norms.append(sum(g.double().square().sum().item() for g in gradients) ** 0.5)
            shrink = min(1.0, config.max_grad_norm / norms[-1])
            with torch.no_grad():
                rates = [rate for parameters, rate in groups for _ in parameters]
                for p, g, rate in zip(
                    [p for parameters, _ in groups for p in parameters], gradients, rates, strict=True
                ):
                    p -= rate * shrink * g
            student.encoder.detach_memory()
    return student, [loss.item() for loss in losses], feature_losses, norms


@pytest.mark.parametrize("kind", ["depth", "scan"])
@pytest.mark.parametrize("max_grad_norm", [0.02, 1e3])
def test_an_update_is_the_specifications_loop_cut_into_chunks(kind: str, max_grad_norm: float) -> None:
    """With gradient descent in the place of Adam, which hides how large a gradient is."""
    env, dagger = make(
        kind,
        num_envs=6,
        steps_per_env=9,
        bptt_steps=4,
        epochs=2,
        mini_batches=1,
        feature_loss_weight=0.7,
        encoder_learning_rate=0.5,
        actor_learning_rate=0.2,
        max_grad_norm=max_grad_norm,
    )
    assert isinstance(dagger.optimizer, torch.optim.Adam)
    groups = [{"params": group["params"], "lr": group["lr"]} for group in dagger.optimizer.param_groups]
    dagger.optimizer = torch.optim.SGD(groups)  # type: ignore[assignment]
    for _ in range(2):  # the second rollout begins with a memory
        record, hidden = Recorder(env), dagger.student.get_hidden_state()
        dagger.collect(record, EpisodeStatistics(6, "cpu"))
    assert isinstance(hidden, Tensor) and hidden.abs().sum() > 0
    before = deepcopy(dagger.student)
    expected, losses, feature_losses, norms = specification_update(dagger, record, hidden)
    assert len(losses) == 2 * 3
    assert all(norm > max_grad_norm for norm in norms) or all(norm < max_grad_norm for norm in norms)
    result = dagger.update()
    assert result["loss"] == pytest.approx(np.mean(losses), rel=1e-4)
    assert result["gradient_norm"] == pytest.approx(np.mean(norms), rel=1e-4)
    assert ("feature_loss" in result) == (kind == "scan")
    if kind == "scan":
        assert result["feature_loss"] == pytest.approx(np.mean(feature_losses), rel=1e-4)
    old = dict(before.named_parameters())
    for (name, ours), theirs in zip(dagger.student.named_parameters(), expected.parameters(), strict=True):
        change, wanted = ours - old[name], theirs - old[name]
        assert wanted.abs().max() > 0, name
        torch.testing.assert_close(change, wanted, rtol=1e-3, atol=2e-3 * wanted.abs().max().item() + 5e-8, msg=name)


def test_every_epoch_learns_from_every_environment_once() -> None:
    env, dagger = make(num_envs=6, steps_per_env=5, bptt_steps=3, epochs=4, mini_batches=3)
    dagger.collect(env, EpisodeStatistics(6, "cpu"))
    seen: list[tuple[slice, list[int]]] = []
    losses = dagger.losses

    def spy(steps: slice, envs: Tensor, hidden: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        seen.append((steps, envs.tolist()))
        return losses(steps, envs, hidden)

    dagger.losses = spy  # type: ignore[method-assign]
    dagger.update()
    assert [steps for steps, _ in seen] == [slice(0, 3), slice(3, 5)] * 12
    for first, second in zip(seen[::2], seen[1::2], strict=True):
        assert first[1] == second[1]
    epochs = np.array([envs for _, envs in seen[::2]]).reshape(4, 6)
    assert (np.sort(epochs, axis=1) == np.arange(6)).all()
    assert len(np.unique(epochs, axis=0)) > 1  # not always in the same order


def test_the_students_normalizer_has_seen_every_observation() -> None:
    config = small_config()
    env = DummyEnv(config, 5)
    obs = env.get_observations()
    arguments: dict[str, Any] = {"hidden_dims": [16], "activation": "elu", "obs_normalization": True}
    gaussian = {"class_name": "GaussianDistribution"}
    teacher = DepthTeacher(obs, GROUPS, "depth", NUM_ACTIONS, distribution_cfg=gaussian, **arguments)
    student = Student(obs, GROUPS, "depth", NUM_ACTIONS, IMAGE, 32, SpecOptions(gru_hidden=16), **arguments)
    dagger = Distillation(
        teacher, student, config.distill, "columns", 5, obs, NUM_ACTIONS, "cpu", EpisodeStatistics(5, "cpu")
    )
    seen = []
    for _ in range(2):
        record = Recorder(env)
        dagger.collect(record, EpisodeStatistics(5, "cpu"))
        for row in record.observations[:-1]:  # not what came after the last step
            seen.append(torch.cat([row["proprio"], row["gait_phase"]], dim=1).double().numpy())
        dagger.update()
        every = np.concatenate(seen)
        np.testing.assert_allclose(student.obs_normalizer.mean, every.mean(axis=0), atol=1e-5)
        np.testing.assert_allclose(student.obs_normalizer.std, every.std(axis=0), atol=1e-4)
    assert every.shape == (2 * 6 * 5, NUM_PROPRIO + 2) and (teacher.obs_normalizer.mean == 0).all()


# ---------------------------------------------------------------------- from the configuration to the networks


def sizes(mlp: nn.Module) -> list[tuple[int, int]]:
    """Return inputs and outputs of the linear layers."""
    return [
        (layer.in_features, layer.out_features)
        for layer in mlp.modules()
        if isinstance(layer, (nn.Linear, ImageLinear))
    ]


def activations(mlp: nn.Module) -> set[type]:
    return {type(layer) for layer in mlp.children() if not isinstance(layer, (nn.Linear, ImageLinear))}


def unusual_config(kind: str) -> Config:
    """Return a configuration of which no number that the learners are made from is the default."""
    config = small_config(precision="float32", num_steps_per_env=7)
    teacher, student = config.teacher, config.student
    teacher.kind = kind
    teacher.hidden_dims, teacher.critic_hidden_dims, teacher.activation = [24, 12], [20, 14, 6], "relu"
    teacher.normalize_observations, teacher.init_noise_std = True, 0.37
    teacher.depth_gain, teacher.depth_block = 0.05, 4
    teacher.scan_encoder_dims = [18, 9]
    student.latent_dim, student.encoder = 8, SpecOptions(fusion_hidden=11, gru_hidden=13)
    config.ppo = PPOConfig(
        num_learning_epochs=3,
        num_mini_batches=2,
        clip_param=0.13,
        gamma=0.97,
        lam=0.91,
        value_loss_coef=0.7,
        entropy_coef=0.003,
        learning_rate=3e-4,
        max_grad_norm=0.6,
        start_entropy_coef=0.004,
        full_at_level=2,
        use_clipped_value_loss=False,
        schedule="fixed",
        desired_kl=0.02,
    )
    return config


@pytest.mark.parametrize("kind", ["depth", "scandots"])
@pytest.mark.parametrize("scan", [True, False])
def test_the_networks_are_what_the_configuration_says(kind: str, scan: bool) -> None:
    config = unusual_config(kind)
    config.height_scan.enabled = scan
    runner = ParkourRunner(DummyEnv(config), config, None, "cpu")
    teacher, critic, dagger = runner.alg.actor, runner.alg.critic, distillation(runner)
    assert dagger is not None and dagger.teacher is teacher
    pixels = config.camera.resolution[0] * config.camera.resolution[1]
    hidden = [(24, 12), (12, NUM_ACTIONS)]
    others = 2  # the gait clock
    terrain = pixels if kind == "depth" else 8
    assert sizes(teacher.mlp) == [(NUM_PROPRIO + terrain + others, 24), *hidden]
    critic_input = NUM_PROPRIO + others + NUM_PRIVILEGED + NUM_SCAN * scan
    assert sizes(critic.mlp) == [(critic_input, 20), (20, 14), (14, 6), (6, 1)]
    assert sizes(dagger.student.mlp) == [(NUM_PROPRIO + 8 + others, 24), *hidden]
    assert sizes(dagger.student.encoder.fusion) == [(8 + NUM_PROPRIO, 11), (11, 8)]
    gru = dagger.student.encoder.gru
    assert (gru.input_size, gru.hidden_size) == (8, 13)
    assert dagger.student.encoder.image_shape == tuple(config.camera.resolution)
    for actor in (teacher, critic, dagger.student):
        assert activations(actor.mlp) == {nn.ReLU}
        assert list(dict(actor.obs_normalizer.named_buffers())), "no normalizer"
    if kind == "depth":
        assert isinstance(teacher, DepthTeacher)
        first = teacher.mlp[0]
        assert (first.image_gain, first.block, first.dtype) == (0.05, 4, torch.float32)
        assert first.image_shape == tuple(config.camera.resolution)
    else:
        assert isinstance(teacher, ScandotsTeacher)
        assert sizes(teacher.scan_encoder) == [(NUM_SCAN, 18), (18, 9), (9, 8)]
        assert activations(teacher.scan_encoder) == {nn.ReLU, nn.Tanh}
    with torch.no_grad():
        teacher(runner.env.get_observations(), stochastic_output=True)
    torch.testing.assert_close(teacher.output_std, torch.full((4, NUM_ACTIONS), 0.37))


def test_the_teacher_multiplies_images_in_the_configured_precision() -> None:
    for precision in ("bfloat16", "float32"):
        config = small_config(precision=precision)
        teacher = ParkourRunner(DummyEnv(config), config, None, "cpu").alg.actor
        assert teacher.mlp[0].dtype == getattr(torch, precision)


def test_every_number_of_ppo_reaches_it() -> None:
    config = unusual_config("depth")
    runner = ParkourRunner(DummyEnv(config), config, None, "cpu")
    for field in fields(PPOConfig):
        if field.name not in ("symmetry", "num_mini_batches"):
            assert getattr(config.ppo, field.name) != field.default, "a test with the default tells nothing"
        if field.name not in ("symmetry", "start_entropy_coef", "full_at_level"):  # those that rsl_rl knows
            assert getattr(runner.alg, field.name) == getattr(config.ppo, field.name), field.name
    (group,) = runner.alg.optimizer.param_groups
    assert group["lr"] == 3e-4
    networks = [*runner.alg.actor.parameters(), *runner.alg.critic.parameters()]
    assert [id(parameter) for parameter in group["params"]] == [id(parameter) for parameter in networks]
    assert runner.alg.storage.num_transitions_per_env == 7


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("finetune", [False, True])
def test_the_distillation_is_what_the_configuration_says(precision: str, finetune: bool) -> None:
    config = small_config(precision=precision)
    config.student.init_from_teacher = "none"
    config.distill.steps_per_env, config.finetune.enabled = 7, finetune
    runner = ParkourRunner(DummyEnv(config, 5), config, None, "cpu")
    dagger = distillation(runner)
    assert dagger.init_from_teacher == "none" and dagger.num_envs == 5 and dagger.device == CPU
    assert dagger.frames.images.dtype == getattr(torch, precision)
    stored = [*dagger.observations.values(), dagger.dones, dagger.teacher_actions]
    assert [bool(tensor.numel()) for tensor in stored] == [not finetune] * len(stored)  # one that rests needs no memory
    teacher = runner.lanes.get("teacher")
    assert (teacher is None) == finetune
    assert dagger.teacher_statistics is (teacher and teacher.statistics)
    assert dagger.ready()


def test_without_normalization_observations_go_in_as_they_are() -> None:
    config = small_config()
    runner = ParkourRunner(DummyEnv(config), config, None, "cpu")
    assert runner.alg.symmetry is None
    obs = runner.env.get_observations()
    for network in (runner.alg.actor, runner.alg.critic, distillation(runner).student):
        assert torch.equal(network.obs_normalizer(obs["proprio"]), obs["proprio"])


@pytest.mark.parametrize("symmetry", [False, True])
def test_mirror_images_are_learned_from_where_that_is_configured(symmetry: bool) -> None:
    config = small_config()
    config.ppo.symmetry = symmetry
    config.distill.enabled = False
    config.rewards.weights = {"alive": 1.0}
    config.terrain.levels = config.terrain.variants = 1
    runner = ParkourRunner(ParkourEnv(config, 4, CPU), config, None, "cpu")
    batches: list[Tensor] = []
    collect(runner)
    for network in (runner.alg.actor, runner.alg.critic):
        network.register_forward_pre_hook(lambda module, inputs: batches.append(inputs[0]["proprio"].clone()))
    runner.alg.update()
    size = 4 * config.runner.num_steps_per_env // config.ppo.num_mini_batches
    assert len(batches) == 2 * config.ppo.num_learning_epochs * config.ppo.num_mini_batches
    for batch in batches:
        assert len(batch) == size * (1 + symmetry)
        if symmetry:  # forward and vertical velocity stay, lateral velocity turns
            torch.testing.assert_close(batch[size:, :3], batch[:size, :3] * torch.tensor([1.0, -1.0, 1.0]))
            assert batch[:size, 1].abs().min() > 0


SPECIFIED = [(512, 256), (256, 128), (128, NUM_ACTIONS)]


@pytest.mark.parametrize(("others", "more"), [("[]", 0), ("[gait_phase]", 2)])
def test_the_specifications_networks_see_the_environment(others: str, more: int) -> None:
    overrides = ["terrain.levels=1", "terrain.variants=1", f"observations.others={others}"]
    config = settle(load_config("parkour_depth_spec", overrides))
    runner = ParkourRunner(ParkourEnv(config, 2, CPU), config, None, "cpu")
    teacher, student = runner.alg.actor, distillation(runner).student
    assert sizes(teacher.mlp) == [(4139 + more, 512), *SPECIFIED]
    assert sizes(student.mlp) == [(75 + more, 512), *SPECIFIED]
    assert sizes(student.encoder.cnn) == [(64 * 28 * 28, 128), (128, 32)]
    assert sizes(student.encoder.fusion) == [(75, 128), (128, 32)]
    assert sizes(student.encoder.output) == [(512, 32)]
    assert (student.encoder.gru.input_size, student.encoder.gru.hidden_size) == (32, 512)
    obs = runner.env.get_observations()
    seen = torch.cat([obs["proprio"], obs["depth"], *(obs[name] for name in config.observations.others)], dim=1)
    assert seen.shape == (2, 4139 + more)
    with torch.no_grad():
        for policy in (teacher, student):
            assert policy(obs).shape == (2, NUM_ACTIONS)
        torch.testing.assert_close(teacher.as_jit()(seen), teacher(obs), rtol=1e-2, atol=1e-2)  # of exactly these


# ---------------------------------------------------------------------- the training loop


@pytest.mark.parametrize("ranks", [1, 3])
def test_the_speed_counts_the_steps_of_all_environments(
    ranks: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    config = small_config(num_steps_per_env=5)
    config.distill.steps_per_env = 7
    runner = ParkourRunner(DummyEnv(config, 4), config, None, "cpu")
    runner.learn(1)
    logged: dict[str, float] = {}
    monkeypatch.setattr(runner.journal.recording, "add", lambda scalars, *_: logged.update(scalars))
    outcomes = {"ppo": Outcome({"Loss/value": 0.5}, {"collection": 1.5, "learning": 0.5})}
    row = runner._row(outcomes, "")
    monkeypatch.setattr(runner_module, "here", lambda: Ranks(0, ranks))
    runner._report(outcomes, [row] * ranks, 3, 2.0)
    assert logged["Perf/env_steps_per_second"] == pytest.approx(5 * 4 * ranks / 2.0)
    assert logged["Perf/collection_time"] == 1.5 and logged["Perf/learning_time"] == 0.5
    capsys.readouterr()
    outcomes["distillation"] = Outcome({"Distill/loss": 0.25}, {"distill": 2.0})
    runner._report(outcomes, [runner._row(outcomes, "")] * ranks, 3, 2.0)
    assert logged["Perf/env_steps_per_second"] == pytest.approx((5 + 7) * 4 * ranks / 4.0)
    assert f"{12 * ranks:,} steps/s" in capsys.readouterr().out


def test_a_terminal_and_a_file_are_told_the_same() -> None:
    """Every word of the lines stands on the board, too."""
    progress = Progress(12, 40, 700, 86_760, 37.4)
    lanes = {"guide": {"return": 13.664, "success_rate": 0.612}, "student": {"terrain_level": 4.7}}
    told = words(
        progress,
        3974.4,
        {"guide_collection": 0.884, "distill": 3.5},
        {"PPO": {"Loss/value": 0.3361, "Policy/mean_std": 12.0}, "nothing": {}},
        lanes,
        {"guide": {"diverged": 0.013, "overflow": 0.0}, "student": {"overflow": 2.0}},
    )
    console = Console(file=io.StringIO(), width=200)
    console.print(Status(None, progress, told, {}).drawn())
    board, block = console.file.getvalue().split(), iteration_block(told).split()  # type: ignore[attr-defined]
    assert Counter(block) - Counter(board) == Counter()
    assert (
        iteration_block(told).split("\n")[0]
        == "iteration 12/40 (30.0%)   86,760 steps   3,974 steps/s   time left 0:00:37"
    )
    for text in (
        "guide collection 0.88 s   distill 3.50 s",
        "value 0.336   mean std 12",
        "guide: diverged 0.013, student: overflow 2 (environments per step)",
    ):
        assert text in iteration_block(told)


@pytest.mark.parametrize(
    ("configured", "argument", "random"),
    [(True, None, True), (False, None, False), (True, False, False), (False, True, True)],
)
def test_first_episodes_begin_at_random_ages_where_that_is_asked(
    configured: bool, argument: bool | None, random: bool
) -> None:
    config = small_config(num_steps_per_env=1, init_at_random_ep_len=configured)
    config.distill.start = 1
    env = DummyEnv(config, 64)
    runner = ParkourRunner(env, config, None, "cpu")
    ages: list[Tensor] = []
    step = env.step

    def spy(actions: Tensor) -> Any:
        ages.append(env.episode_length_buf.clone())
        return step(actions)

    env.step = spy  # type: ignore[method-assign]
    runner.learn(1, argument)
    assert ages[0].unique().tolist() == (list(range(env.max_episode_length)) if random else [0])
    assert runner.lanes["student"].snapshot is not None
    assert torch.equal(runner.lanes["student"].snapshot["episode_length_buf"], ages[0])  # both lanes begin alike

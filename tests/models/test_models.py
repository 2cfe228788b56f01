"""The default encoder, teachers and student against the specification, plain rsl_rl models and loops over steps."""

from __future__ import annotations

import pytest
import torch
from dummy_env import DummyEnv
from dummy_runner import distillation
from rsl_rl.models import MLPModel
from rsl_rl.modules.distribution import GaussianDistribution
from rsl_rl.utils import split_and_pad_trajectories
from tensordict import TensorDict
from torch import Tensor, nn

from legged_gym_ext.config.schema import CameraConfig, Config, TeacherConfig
from legged_gym_ext.envs.observations import PROPRIO_DIM
from legged_gym_ext.learning.runner import ParkourRunner
from legged_gym_ext.models.distribution import ActionDistribution
from legged_gym_ext.models.encoders.options import SpecOptions
from legged_gym_ext.models.encoders.spec import SpecEncoder
from legged_gym_ext.models.student import Student, create_depth_actor_from_teacher
from legged_gym_ext.models.teacher import DepthTeacher, Frames, ImageLinear, ScandotsTeacher, plain_mlp

GROUPS = {"depth": ["proprio", "depth", "phase"], "scan": ["proprio", "scan", "phase"]}


class Specification(nn.Module):
    """The depth encoder as the specification writes it."""

    def __init__(self) -> None:
        super().__init__()
        self.cnn = nn.Sequential(
            nn.Conv2d(1, 32, kernel_size=5),
            nn.MaxPool2d(2, 2),
            nn.ELU(),
            nn.Conv2d(32, 64, kernel_size=3),
            nn.ELU(),
            nn.Flatten(),
            nn.Linear(64 * 28 * 28, 128),
            nn.ELU(),
            nn.Linear(128, 32),
        )
        self.fusion = nn.Sequential(nn.Linear(32 + 43, 128), nn.ELU(), nn.Linear(128, 32))
        self.gru = nn.GRU(32, 512, batch_first=True)
        self.output = nn.Sequential(nn.Linear(512, 32), nn.Tanh())
        self.hidden_state = None

    def forward(self, depth_image: Tensor, proprioception: Tensor) -> Tensor:
        depth_feat = self.cnn(depth_image.unsqueeze(1))
        fused = self.fusion(torch.cat([depth_feat, proprioception], dim=1))
        gru_out, hidden = self.gru(fused.unsqueeze(1), self.hidden_state)
        self.hidden_state = hidden
        return self.output(gru_out.squeeze(1))


def observations(batch: int, seed: int = 0, normalize_to: float = 1.0) -> TensorDict:
    """Return random observations with two "other" ones."""
    generator = torch.Generator().manual_seed(seed)
    sizes = {"proprio": 43, "scan": 12, "phase": 2}
    obs = {name: normalize_to * torch.randn(batch, size, generator=generator) for name, size in sizes.items()}
    return TensorDict({**obs, "depth": torch.rand(batch, 4096, generator=generator) - 0.5}, batch_size=[batch])


def mlp_arguments(**more) -> dict:
    """Return arguments of a small stochastic actor."""
    return {
        "hidden_dims": [16, 8],
        "activation": "elu",
        "distribution_cfg": {"class_name": "GaussianDistribution"},
        **more,
    }


def make_student(latent_dim: int = 32, normalize: bool = False) -> Student:
    return Student(
        observations(2),
        GROUPS,
        "depth",
        10,
        image_shape=(64, 64),
        latent_dim=latent_dim,
        encoder=SpecOptions(gru_hidden=16),
        hidden_dims=[16, 8],
        activation="elu",
        obs_normalization=normalize,
    )


def test_pixels_one_by_one_count_as_much_as_proprioception_by_default() -> None:
    """Adam moves each weight as fast, and there are a hundred times as many pixels."""
    teacher, (rows, columns) = TeacherConfig(), CameraConfig().resolution
    assert teacher.depth_block == 1
    assert teacher.depth_gain == pytest.approx(PROPRIO_DIM / (rows * columns), rel=0.1)


def test_encoder_is_the_specification_layer_for_layer() -> None:
    torch.manual_seed(0)
    encoder, spec = SpecEncoder(43, (64, 64), 32, SpecOptions()), Specification()
    encoder.load_state_dict(spec.state_dict())
    with torch.no_grad():
        for step in range(3):
            obs = observations(2, seed=step)
            images, proprio = obs["depth"].view(-1, 64, 64), obs["proprio"]
            latent = encoder(images, proprio)
            torch.testing.assert_close(latent, spec(images, proprio))
    assert latent.shape == (2, 32) and latent.abs().max() <= 1
    assert encoder.memory is not None and spec.hidden_state is not None
    torch.testing.assert_close(encoder.memory, spec.hidden_state)


@pytest.mark.parametrize(("normalize", "gain"), [(False, 1.0), (True, 1.0), (False, 0.1)])
def test_depth_teacher_is_a_plain_mlp_however_its_frames_come(normalize: bool, gain: float) -> None:
    torch.manual_seed(0)
    obs = observations(6)
    teacher = DepthTeacher(obs, GROUPS, "depth", 10, depth_gain=gain, **mlp_arguments(obs_normalization=normalize))
    plain = MLPModel(obs, GROUPS, "depth", 10, **mlp_arguments())
    plain.load_state_dict(teacher.state_dict(), strict=False)
    teacher.update_normalization(observations(50, seed=3, normalize_to=4.0))
    seen = torch.tensor([0, 0, 2, 2, 2, 5])
    obs["depth"] = obs["depth"][seen]
    normalized = obs.clone()
    normalized["depth"] *= gain
    if normalize:
        vectors = teacher.obs_normalizer(torch.cat([obs["proprio"], obs["phase"]], dim=1))
        normalized["proprio"], normalized["phase"] = vectors.split([43, 2], dim=1)
    expected = plain(normalized)
    torch.testing.assert_close(teacher(obs), expected)

    batch = obs.exclude("depth")
    batch.set_non_tensor("frames", Frames(obs["depth"][[0, 2, 5]], torch.tensor([0, 0, 1, 1, 1, 2])))
    torch.testing.assert_close(teacher(batch), expected)
    teacher(batch).square().sum().backward()
    plain(normalized).square().sum().backward()
    ours, theirs = teacher.mlp[0].weight.grad, plain.mlp[0].weight.grad
    torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize(("shape", "block"), [((64, 64), 4), ((64, 64), 32), ((32, 128), 8), ((16, 256), 2)])
def test_pixels_of_a_block_share_their_weights(shape: tuple[int, int], block: int) -> None:
    """It is a linear layer over all pixels, of which those of a block have the same weights."""
    torch.manual_seed(0)
    obs = observations(5)
    more = mlp_arguments(image_shape=shape, depth_gain=0.7, depth_block=block)
    teacher = DepthTeacher(obs, GROUPS, "depth", 10, **more)
    plain = plain_mlp(teacher)
    flat = torch.cat([obs[group] for group in GROUPS["depth"]], dim=1)
    torch.testing.assert_close(plain(flat), teacher(obs))

    assert plain[0].in_features == 43 + 4096 + 2
    weights = plain[0].weight[:, 43:-2].unflatten(1, shape)
    rows, columns = shape[0] // block, shape[1] // block
    for row in range(rows):
        for column in range(columns):
            of_block = weights[:, row * block : (row + 1) * block, column * block : (column + 1) * block].flatten(1)
            assert (of_block == of_block[:, :1]).all()
    assert len(weights[0].unique()) == rows * columns  # and no others
    assert teacher.mlp[0].weight.shape == (16, 43 + rows * columns + 2)

    frames = obs.exclude("depth")
    frames.set_non_tensor("frames", Frames(obs["depth"][[0, 3]], torch.tensor([0, 0, 1, 1, 0])))
    obs["depth"] = obs["depth"][[0, 0, 3, 3, 0]]
    torch.testing.assert_close(teacher(frames), teacher(obs))


def test_default_dimensions_are_the_specifications() -> None:
    runner = ParkourRunner(DummyEnv(Config(), 2), Config(), None, "cpu")
    for actor, sizes in (
        (runner.alg.actor, [4139, 512, 256, 128, 10]),
        (distillation(runner).student, [75, 512, 256, 128, 10]),
    ):
        layers = [layer for layer in actor.mlp if not isinstance(layer, nn.ELU)]
        assert [layer.in_features for layer in layers] + [layers[-1].out_features] == sizes
        assert len(actor.mlp) == 7
    assert sum(p.numel() for p in distillation(runner).student.encoder.parameters()) == sum(
        p.numel() for p in Specification().parameters()
    )
    assert runner.alg.critic.obs_dim == 43 + 5 + 12


def test_columns_keep_what_the_teacher_does_without_terrain() -> None:
    torch.manual_seed(0)
    obs = observations(4)
    teacher = DepthTeacher(obs, GROUPS, "depth", 10, **mlp_arguments())
    obs["depth"] = torch.zeros(4, 4096)
    actor = create_depth_actor_from_teacher(teacher, 32, "columns")
    blind = torch.cat([obs["proprio"], torch.zeros(4, 32), obs["phase"]], dim=1)
    torch.testing.assert_close(actor(blind), teacher(obs))
    seeing = torch.cat([obs["proprio"], torch.ones(4, 32), obs["phase"]], dim=1)
    assert (actor(seeing) - actor(blind)).abs().max() > 1e-3
    assert (teacher.mlp[0].weight[:, 43:75] - actor[0].weight[:, 43:75]).abs().min() > 0


def test_spec_copies_the_first_columns_and_none_copies_nothing() -> None:
    teacher = DepthTeacher(observations(2), GROUPS, "depth", 10, **mlp_arguments())
    weights = [layer.weight for layer in teacher.mlp if isinstance(layer, (nn.Linear, ImageLinear))]
    spec = create_depth_actor_from_teacher(teacher, 32, "spec")
    copied = [layer.weight for layer in spec if isinstance(layer, nn.Linear)]
    torch.testing.assert_close(copied[0], weights[0][:, :77])
    for ours, theirs in zip(copied[1:], weights[1:], strict=True):
        torch.testing.assert_close(ours, theirs)
    none = create_depth_actor_from_teacher(teacher, 32, "none")
    fresh = [layer.weight for layer in none if isinstance(layer, nn.Linear)]
    assert fresh[0].shape == copied[0].shape
    assert all((a - b).abs().max() > 1e-3 for a, b in zip(fresh, copied, strict=True))


def test_scandots_teacher_is_copied_whole() -> None:
    obs = observations(4, normalize_to=3.0)
    teacher = ScandotsTeacher(obs, GROUPS, "scan", 10, **mlp_arguments(obs_normalization=True))
    teacher.update_normalization(observations(50, seed=3, normalize_to=4.0))
    student = make_student(normalize=True)
    student.init_from_teacher(teacher, "columns")
    latent = teacher.scan_latent(obs)
    assert latent.shape == (4, 32) and latent.abs().max() <= 1
    torch.testing.assert_close(student.mlp(student.join(student.vectors(obs), latent)), teacher(obs))


def test_student_runs_rsl_rls_padded_trajectories_as_it_runs_steps() -> None:
    torch.manual_seed(0)
    student, steps, batch = make_student(), 6, 3
    sequence = torch.stack([observations(batch, seed=step) for step in range(steps)])
    dones = torch.zeros(steps, batch, 1, dtype=torch.uint8)
    dones[2, 1] = dones[3, 0] = 1
    with torch.no_grad():
        expected = []
        for step in range(steps):
            expected.append(student(sequence[step]))
            student.reset(dones[step, :, 0])
        padded, masks = split_and_pad_trajectories(sequence, dones)
        actions = student(padded, masks=masks, hidden_state=torch.zeros(1, masks.shape[1], 16))
    torch.testing.assert_close(actions, torch.stack(expected))


def test_exported_student_acts_as_the_student_does() -> None:
    torch.manual_seed(0)
    student = make_student(normalize=True)
    student.update_normalization(observations(50, normalize_to=4.0))
    student.eval()
    jit, onnx = torch.jit.script(student.as_jit()), student.as_onnx()
    obs_in, hidden = onnx.get_dummy_inputs()
    with torch.no_grad():
        for episode in range(2):
            student.reset()
            jit.reset()
            hidden = torch.zeros_like(hidden)
            for step in range(3):
                obs = observations(1, seed=10 * episode + step)
                expected = student(obs)
                flat = torch.cat([obs[group] for group in GROUPS["depth"]], dim=1)
                assert flat.shape == obs_in.shape
                torch.testing.assert_close(jit(flat), expected)
                actions, hidden = onnx(flat, hidden)
                torch.testing.assert_close(actions, expected)


def test_exported_student_acts_between_images_as_the_student_does() -> None:
    """In two parts and frozen, with a new image in every third step only, and after a reset."""
    torch.manual_seed(0)
    student = make_student(normalize=True)
    student.update_normalization(observations(50, normalize_to=4.0))
    student.eval()
    jit = torch.jit.freeze(torch.jit.script(student.as_jit().eval()), ["encode_image", "act", "reset"])
    with torch.no_grad():
        for episode in range(2):
            student.reset()
            jit.reset()
            for step in range(7):
                obs = observations(1, seed=10 * episode + step)
                if step % 3 == 0:
                    features = jit.encode_image(obs["depth"])
                new = torch.tensor([[float(step % 3 == 0)]])
                expected = student(TensorDict({**obs, "new_frame": new}, batch_size=[1]))
                vectors = torch.cat([obs["proprio"], obs["phase"]], dim=1)
                torch.testing.assert_close(jit.act(vectors, features), expected)


@pytest.mark.parametrize("kind", ["depth", "scan"])
def test_exported_teacher_acts_as_the_teacher_does(kind: str) -> None:
    obs = observations(3)
    more = {"image_shape": (64, 64), "depth_gain": 0.1, "depth_block": 2} if kind == "depth" else {}
    make = DepthTeacher if kind == "depth" else ScandotsTeacher
    teacher = make(obs, GROUPS, kind, 10, **mlp_arguments(obs_normalization=True, **more))
    teacher.update_normalization(observations(50, normalize_to=4.0))
    teacher.eval()
    flat = torch.cat([obs[group] for group in GROUPS[kind]], dim=1)
    torch.testing.assert_close(torch.jit.script(teacher.as_jit())(flat), teacher(obs))
    onnx = teacher.as_onnx()
    assert onnx.get_dummy_inputs()[0].shape[1] == flat.shape[1]
    torch.testing.assert_close(onnx(flat), teacher(obs))


def test_actions_are_drawn_as_rsl_rl_draws_them() -> None:
    ours, theirs = ActionDistribution(10, 0.7), GaussianDistribution(10, 0.7)
    samples = []
    for distribution in (ours, theirs):
        torch.manual_seed(3)
        distribution.update(torch.linspace(-1.0, 1.0, 60).view(6, 10))
        samples.append(distribution.sample())
    assert torch.equal(*samples)

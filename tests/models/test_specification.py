"""The preset ``parkour_depth_spec`` against the specification, whose layers and numbers are written down here again.

Layers are what a network runs through, in order; sizes are the document's. What it leaves open (PPO, the critic, how
many updates a distillation makes) is not tested.
"""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch
from dummy_env import DummyEnv
from dummy_runner import distillation
from tensordict import TensorDict
from torch import Tensor, nn

from legged_gym_ext.config.files import load_config
from legged_gym_ext.config.schema import Config
from legged_gym_ext.envs.observations import PROPRIO_TERMS
from legged_gym_ext.learning.runner import ParkourRunner
from legged_gym_ext.models.student import Student
from legged_gym_ext.models.teacher import DepthTeacher, ImageLinear


@dataclass(frozen=True)
class Layer:
    """A row of the document: what kind, from how many numbers (or channels) to how many, and for windows their size."""

    kind: str
    inputs: int = 0
    outputs: int = 0
    kernel: int = 0
    stride: int = 0

    @property
    def parameters(self) -> int:
        """Return weights and biases by the textbook."""
        match self.kind:
            case "linear":
                return self.inputs * self.outputs + self.outputs
            case "conv":
                return self.inputs * self.kernel**2 * self.outputs + self.outputs
            case "gru":  # reset gate, update gate and candidate, each from input and memory, with two biases
                return 3 * (self.inputs * self.outputs + self.outputs**2 + 2 * self.outputs)
        return 0


ELU, TANH, FLATTEN = Layer("elu"), Layer("tanh"), Layer("flatten")


def linear(inputs: int, outputs: int) -> Layer:
    return Layer("linear", inputs, outputs)


PROPRIO = (
    ("base_lin_vel", 3),
    ("base_ang_vel", 3),
    ("projected_gravity", 3),
    ("commands", 4),
    ("joint_pos", 10),
    ("joint_vel", 10),
    ("actions", 10),
)
TEACHER = (linear(4139, 512), ELU, linear(512, 256), ELU, linear(256, 128), ELU, linear(128, 10))
STUDENT = (linear(75, 512), ELU, linear(512, 256), ELU, linear(256, 128), ELU, linear(128, 10))
CNN = (
    Layer("conv", 1, 32, kernel=5, stride=1),
    Layer("max", kernel=2, stride=2),
    ELU,
    Layer("conv", 32, 64, kernel=3, stride=1),
    ELU,
    FLATTEN,
    linear(64 * 28 * 28, 128),
    ELU,
    linear(128, 32),
)
FUSION = (linear(32 + 43, 128), ELU, linear(128, 32))
GRU = (Layer("gru", 32, 512),)
OUTPUT = (linear(512, 32), TANH)
FIRST_LAYERS = {"teacher": 2_119_168, "student": 38_400}
"""Weights: 4139 x 512 ("about 2.1 M") and 75 x 512 ("about 38 K")."""


def layers_of(module: nn.Module) -> tuple[Layer, ...]:
    """Describe the layers of a network as it has them."""
    parts = list(module) if isinstance(module, nn.Sequential) else [module]
    return tuple(_layer(part) for part in parts)


def _layer(part: nn.Module) -> Layer:
    if isinstance(part, nn.Linear | ImageLinear):
        assert part.bias is not None
        return Layer("linear", part.in_features, part.out_features)
    if isinstance(part, nn.Conv2d):
        plain = {"padding": (0, 0), "dilation": (1, 1), "groups": 1, "padding_mode": "zeros"}
        assert {name: getattr(part, name) for name in plain} == plain and part.bias is not None
        (kernel, width), (stride, across) = part.kernel_size, part.stride
        assert (kernel, stride) == (width, across)
        return Layer("conv", part.in_channels, part.out_channels, int(kernel), int(stride))
    if isinstance(part, nn.MaxPool2d):
        assert (part.padding, part.dilation, part.ceil_mode) == (0, 1, False)
        return Layer("max", kernel=int(part.kernel_size), stride=int(part.stride))  # type: ignore[arg-type]
    if isinstance(part, nn.GRU):
        assert (part.num_layers, part.bidirectional, part.bias, part.dropout) == (1, False, True, 0.0)
        return Layer("gru", part.input_size, part.hidden_size)
    if isinstance(part, nn.ELU):
        assert part.alpha == 1.0
    names = {nn.ELU: ELU, nn.Tanh: TANH, nn.Flatten: FLATTEN}
    return names[type(part)]


def count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.fixture(scope="module")
def config() -> Config:
    small = ["runner.logger=none", "runner.precision=float32", "ppo.symmetry=false"]  # for the dummy environment
    return load_config("parkour_depth_spec", small)


@pytest.fixture
def runner(config: Config) -> ParkourRunner:
    torch.manual_seed(0)
    return ParkourRunner(DummyEnv(config, 2), config, None, "cpu")


def networks(runner: ParkourRunner) -> tuple[DepthTeacher, Student]:
    teacher, student = runner.alg.get_policy(), distillation(runner).student
    assert isinstance(teacher, DepthTeacher)
    return teacher, student


def random_observations(batch: int = 3) -> TensorDict:
    depth = torch.rand(batch, 64 * 64) - 0.5
    return TensorDict({"proprio": torch.randn(batch, 43), "depth": depth}, batch_size=[batch])


def test_every_layer_is_the_documents(runner: ParkourRunner) -> None:
    teacher, student = networks(runner)
    encoder = {"cnn": CNN, "fusion": FUSION, "gru": GRU, "output": OUTPUT}
    parts: list[tuple[nn.Module, tuple[Layer, ...]]] = [(teacher.get_submodule("mlp"), TEACHER)]
    parts += [(student.get_submodule("mlp"), STUDENT)]
    parts += [(student.encoder.get_submodule(name), layers) for name, layers in encoder.items()]
    for module, layers in parts:
        assert layers_of(module) == layers
        assert count(module) == sum(layer.parameters for layer in layers)
    assert count(student.encoder) == sum(layer.parameters for layers in encoder.values() for layer in layers)
    assert count(student) == count(student.encoder) + count(student.mlp), "and no other layers"
    assert count(student.encoder) == 7_315_040 and count(student.mlp) == 204_426 and count(teacher.mlp) == 2_285_194
    assert (
        layers_of(runner.alg.critic.get_submodule("mlp"))[1:-1] == TEACHER[1:-1]
    )  # as large as the actor, of which nothing is said


def test_sizes_are_the_documents(config: Config, runner: ParkourRunner) -> None:
    teacher, student = networks(runner)
    assert tuple((term.name, term.size) for term in PROPRIO_TERMS) == PROPRIO
    assert config.camera.resolution == [64, 64]
    assert teacher.obs_groups + [teacher.terrain_group] == ["proprio", "depth"], "and nothing else"
    assert student.obs_groups + [student.terrain_group] == ["proprio", "depth"]
    assert teacher.num_proprio == student.num_proprio == sum(size for _, size in PROPRIO) == 43
    assert teacher.terrain_dim == 4096 and 43 + teacher.terrain_dim == TEACHER[0].inputs == 4139
    assert student.terrain_dim == 32 and 43 + student.terrain_dim == STUDENT[0].inputs == 75
    for name, network in (("teacher", teacher), ("student", student)):
        first = network.mlp[0]
        assert isinstance(first, nn.Linear | ImageLinear)
        assert first.weight.numel() == FIRST_LAYERS[name]
    assert round(100 * (1 - STUDENT[0].inputs / TEACHER[0].inputs), 1) == 98.2


def test_the_teacher_reads_proprioception_then_the_image_as_it_is(runner: ParkourRunner) -> None:
    teacher, _ = networks(runner)
    assert isinstance(teacher.mlp[0], ImageLinear) and teacher.mlp[0].image_gain == 1
    plain = nn.Sequential(*(nn.Linear(layer.inputs, layer.outputs) if layer.inputs else nn.ELU() for layer in TEACHER))
    plain.load_state_dict(teacher.mlp.state_dict())
    obs = random_observations()
    flat = torch.cat([obs["proprio"], obs["depth"]], dim=1)
    assert flat.shape[1] == 4139
    torch.testing.assert_close(teacher(obs), plain(flat))
    torch.testing.assert_close(teacher.as_jit()(flat), plain(flat))


def test_the_students_data_go_the_documents_way(runner: ParkourRunner) -> None:
    """Image to 32; [features, proprioception] to 32; GRU to 512; to 32; [proprioception, latent] to actions."""
    _, student = networks(runner)
    encoder, hidden = student.encoder, None
    cnn, fusion, gru, output = (getattr(encoder, name) for name in ("cnn", "fusion", "gru", "output"))
    with torch.no_grad():
        for _ in range(3):
            obs = random_observations()
            features: Tensor = cnn(obs["depth"].view(-1, 64, 64).unsqueeze(1))
            fused = fusion(torch.cat([features, obs["proprio"]], dim=1))
            remembered, hidden = gru(fused.unsqueeze(1), hidden)
            latent = output(remembered.squeeze(1))
            sizes = [x.shape[-1] for x in (features, fused, remembered, latent)]
            assert sizes == [32, 32, 512, 32]
            expected = student.mlp(torch.cat([obs["proprio"], latent], dim=1))
            torch.testing.assert_close(student(obs), expected)


def test_the_student_begins_with_the_teachers_first_columns(config: Config, runner: ParkourRunner) -> None:
    teacher, student = networks(runner)
    distillation(runner).student.init_from_teacher(teacher, config.student.init_from_teacher)
    ours, theirs = student.mlp.state_dict(), teacher.mlp.state_dict()
    assert torch.equal(ours["0.weight"], theirs["0.weight"][:, :75])
    for name in ours.keys() - {"0.weight"}:
        assert torch.equal(ours[name], theirs[name]), name


def test_the_student_acts_and_learns_every_n_iterations_from_the_first(config: Config, runner: ParkourRunner) -> None:
    phase, interval = distillation(runner), config.distill.interval
    assert [it for it in range(3 * interval) if phase.due(it)] == [0, interval, 2 * interval]
    assert phase.beta == 0 and config.distill.loss == "l2"
    rates = {group["lr"] for group in phase.optimizer.param_groups}
    assert len(phase.optimizer.param_groups) == 2 and len(rates) == 1, "one update for encoder and actor"

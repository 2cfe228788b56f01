"""Every depth encoder there is, and one from outside of the package that remembers nothing, by the same properties."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
from dummy_env import NUM_ACTIONS, small_config
from dummy_runner import distillation, make
from rsl_rl.utils import split_and_pad_trajectories
from torch import Tensor
from two_layers import TwoLayers, TwoLayersOptions, registered

from legged_gym_ext.config.files import load_config, load_saved_config, save_config
from legged_gym_ext.config.rules import validate
from legged_gym_ext.config.schema import Config
from legged_gym_ext.errors import UserError
from legged_gym_ext.models import encoders
from legged_gym_ext.models.encoders import ENCODERS, EncoderOptions, make_encoder, register
from legged_gym_ext.models.encoders.base import Encoder
from legged_gym_ext.models.encoders.options import LightOptions, SpecOptions
from legged_gym_ext.models.student import Student

NUM_PROPRIO, IMAGE, LATENT = 43, (16, 20), 8


@pytest.fixture(autouse=True)
def two_layers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Register it for one test."""
    registered(monkeypatch)


def make_one(kind: str) -> Encoder:
    torch.manual_seed(0)
    return make_encoder(encoders.ENCODERS[kind].options(), NUM_PROPRIO, IMAGE, LATENT)


def frames_and_dones(steps: int, batch: int) -> tuple[Tensor, Tensor]:
    """Return whether each image is new, and whether episodes end, (steps, batch); images are new after a reset."""
    generator = torch.Generator().manual_seed(5)
    dones = torch.rand(steps, batch, generator=generator) < 0.2
    new = torch.rand(steps, batch, generator=generator) < 0.3
    new[1:] |= dones[:-1]
    new[0] = True
    assert dones[1:-1].any() and not new.all()
    return new, dones


every_kind = pytest.mark.parametrize("kind", [*ENCODERS, "two_layers"])


# Every encoder --------------------------------------------------------------------------------------------------------


@every_kind
def test_a_kind_is_what_it_is_named(kind: str) -> None:
    options = encoders.ENCODERS[kind].options()
    assert options.kind == kind and isinstance(options, EncoderOptions)


@every_kind
def test_sequence_with_new_frames_only_equals_steps_with_all_images(kind: str) -> None:
    encoder, steps, batch = make_one(kind), 12, 5
    new, dones = frames_and_dones(steps, batch)
    fresh = torch.rand(steps, batch, *IMAGE) - 0.5
    proprio = torch.randn(steps, batch, NUM_PROPRIO)
    images = [fresh[0]]
    for step in range(1, steps):
        images.append(torch.where(new[step, :, None, None], fresh[step], images[-1]))
    memory = torch.randn_like(encoder.initial_memory(batch))

    with torch.no_grad():
        results = []
        for only_new in (False, True):
            encoder.reset()
            encoder.memory = memory.clone()
            latents = []
            for step in range(steps):
                # an image that is not new must not be looked at: give a wrong one
                image = torch.where(new[step, :, None, None], images[step], 9.0) if only_new else images[step]
                latents.append(encoder(image, proprio[step], new[step] if only_new else None))
                encoder.reset(dones[step])
            assert encoder.memory is not None
            results.append((torch.stack(latents), encoder.memory))
        features = torch.stack([encoder.encode_image(image) for image in images])
        results.append(encoder.forward_sequence(features, proprio, memory, dones))
        half, middle = encoder.forward_sequence(features[:5], proprio[:5], memory, dones[:5])
        rest, end = encoder.forward_sequence(features[5:], proprio[5:], middle, dones[5:])
        results.append((torch.cat([half, rest]), end))
    assert results[0][0].shape == (steps, batch, LATENT)
    for result in results[1:]:
        torch.testing.assert_close(result[0], results[0][0])
        torch.testing.assert_close(result[1], results[0][1])


@every_kind
def test_flat_images_of_less_precision_are_images_too(kind: str) -> None:
    encoder, images = make_one(kind), (torch.rand(3, *IMAGE) - 0.5).half()
    torch.testing.assert_close(encoder.encode_image(images.flatten(1)), encoder.encode_image(images.float()))


@every_kind
def test_reset_detach_and_forget_act_on_the_memory(kind: str) -> None:
    encoder = make_one(kind)
    assert encoder.memory is None and not encoder.initial_memory(3).any()
    encoder(torch.rand(3, *IMAGE), torch.randn(3, NUM_PROPRIO))
    before = encoder.memory
    assert before is not None and before.shape == encoder.initial_memory(3).shape
    assert before.requires_grad == (encoder.memory_size > 0)
    encoder.reset(torch.tensor([False, True, False]))
    assert encoder.memory[:, 1].eq(0).all()
    torch.testing.assert_close(encoder.memory[:, ::2], before[:, ::2])
    encoder.detach_memory()
    assert not encoder.memory.requires_grad
    old, none_new = encoder.image_feature, torch.zeros(3, dtype=torch.bool)
    image = torch.rand(3, *IMAGE)
    encoder(image, torch.randn(3, NUM_PROPRIO), none_new)
    assert encoder.image_feature is old
    encoder.forget_images()
    encoder(image, torch.randn(3, NUM_PROPRIO), none_new)
    torch.testing.assert_close(encoder.image_feature, encoder.encode_image(image))
    encoder.reset()
    assert encoder.memory is None and encoder.image_feature is None


@every_kind
def test_the_exported_step_is_the_encoders_own(kind: str) -> None:
    encoder = make_one(kind).eval()
    step, memory = torch.jit.script(encoder.export()), encoder.initial_memory(2)
    with torch.no_grad():
        for _ in range(3):
            image, proprio = torch.rand(2, *IMAGE) - 0.5, torch.randn(2, NUM_PROPRIO)
            latent, memory = step(step.encode_image(image.flatten(1)), proprio, memory)
            torch.testing.assert_close(latent, encoder(image, proprio))
            torch.testing.assert_close(memory, encoder.memory)
        for parameter in encoder.parameters():
            parameter.zero_()
        features = step.encode_image(image.flatten(1))
        assert features.any() and step(features, proprio, memory)[0].any(), "the exported step is no copy"


# One from outside of the package --------------------------------------------------------------------------------------


def test_an_encoder_without_memory_trains_and_goes_on(tmp_path: Path) -> None:
    config = small_config()
    config.student.encoder = TwoLayersOptions(width=5)
    runner = make(tmp_path, config)
    student = distillation(runner).student
    assert isinstance(student.encoder, TwoLayers) and student.encoder.image.out_features == 5
    assert not student.is_recurrent
    before = deepcopy(student.encoder.state_dict())
    runner.learn(3)
    assert all((value != before[name]).any() for name, value in student.encoder.state_dict().items())
    assert student.get_hidden_state() is None
    resumed = make(None, config, seed=2)
    resumed.load(str(tmp_path / "model_3.pt"))
    for name, value in distillation(resumed).student.state_dict().items():
        assert torch.equal(value, student.state_dict()[name])
    resumed.learn(1)


def test_a_student_without_memory_is_exported_without_one() -> None:
    config = small_config()
    config.student.encoder = TwoLayersOptions()
    runner = make(None, config)
    student, obs = distillation(runner).student.eval(), runner.env.get_observations()
    flat = torch.cat([obs["proprio"], obs["depth"], obs["gait_phase"]], dim=1)
    jit, onnx = torch.jit.script(student.as_jit()), student.as_onnx()
    assert (onnx.input_names, onnx.output_names, onnx.is_recurrent) == (["obs"], ["actions"], False)
    assert [tensor.shape for tensor in onnx.get_dummy_inputs()] == [(1, flat.shape[1])]
    with torch.no_grad():
        for _ in range(2):  # nothing is remembered
            expected = student(obs)
            assert expected.shape == (4, NUM_ACTIONS)
            torch.testing.assert_close(jit(flat), expected)
            torch.testing.assert_close(onnx(flat), expected)
        jit.reset()


@every_kind
def test_what_is_exported_is_where_it_is_moved(kind: str) -> None:
    """As rsl_rl does, which moves a policy to the CPU and then asks for inputs to trace it with."""
    config = small_config()
    config.student.encoder = encoders.ENCODERS[kind].options()
    student = distillation(make(None, config)).student.to("meta")  # some other device
    for module in (student.as_jit(), student.as_onnx()):
        module.to_empty(device="cpu")
        own = [value for part in module.modules() for value in vars(part).values() if isinstance(value, Tensor)]
        tensors = [*module.parameters(), *module.buffers(), *own]
        assert {tensor.device.type for tensor in tensors} == {"cpu"}
    assert {tensor.device.type for tensor in student.as_onnx().get_dummy_inputs()} == {"cpu"}


@every_kind
def test_student_runs_rsl_rls_trajectories_as_it_runs_steps(kind: str) -> None:
    config = small_config()
    config.student.encoder = encoders.ENCODERS[kind].options()
    runner = make(None, config)
    student, steps, sequence, ends = distillation(runner).student, 6, [], []
    with torch.no_grad():
        expected = []
        for step in range(steps):
            obs, _, dones, _ = runner.env.step(torch.zeros(4, NUM_ACTIONS))
            dones[step % 4] |= step in (2, 3)
            expected.append(student(obs))
            student.reset(dones)
            sequence.append(obs.exclude("new_frame"))
            ends.append(dones.view(-1, 1))
        memory = student.get_hidden_state()
        padded, masks = split_and_pad_trajectories(torch.stack(sequence), torch.stack(ends).byte())
        begin = student.encoder.initial_memory(masks.shape[1]) if student.is_recurrent else None
        actions = student(padded, masks=masks, hidden_state=begin)
    torch.testing.assert_close(actions, torch.stack(expected))
    assert student.get_hidden_state() is memory and (memory is None) == (kind == "two_layers")


@every_kind
def test_onnx_takes_every_student(kind: str, tmp_path: Path) -> None:
    pytest.importorskip("onnx")
    config = small_config()
    config.student.encoder = encoders.ENCODERS[kind].options()
    student = distillation(make(None, config)).student.eval()
    assert isinstance(student, Student)
    onnx, path = student.as_onnx(), tmp_path / "student.onnx"
    torch.onnx.export(
        onnx,
        onnx.get_dummy_inputs(),
        str(path),
        input_names=onnx.input_names,
        output_names=onnx.output_names,
        dynamo=False,
    )
    graph = pytest.importorskip("onnx").load(str(path)).graph
    assert [value.name for value in graph.input] == onnx.input_names
    assert [value.name for value in graph.output] == onnx.output_names


def test_registration_is_refused_before_anything_changes() -> None:
    before = dict(encoders.ENCODERS)
    with pytest.raises(ValueError, match="'spec' already"):
        register("spec", SpecOptions, "a:B")
    with pytest.raises(ValueError, match="kind_name"):
        register("other", SpecOptions, "a:B")
    with pytest.raises(ValueError, match="kind_name"):
        register("other", Config, "a:B")  # type: ignore[arg-type]
    assert before == encoders.ENCODERS


# In the configuration -------------------------------------------------------------------------------------------------


def options_of(*overrides: str) -> EncoderOptions:
    return load_config("parkour_depth", overrides).student.encoder


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        ([], LightOptions()),
        (["student.encoder.gru_hidden=256"], LightOptions(gru_hidden=256)),
        (["student.encoder.gru_hidden=256", "student.encoder.kind=spec"], SpecOptions(gru_hidden=256)),
        (["student.encoder.kind=two_layers"], TwoLayersOptions()),
        (["student.encoder.kind=two_layers", "student.encoder.width=3"], TwoLayersOptions(width=3)),
        (["student.encoder.width=3", "student.encoder.kind=two_layers"], TwoLayersOptions(width=3)),
        (["student.encoder={width: 3, kind: two_layers}"], TwoLayersOptions(width=3)),
        (["student.encoder.kind=two_layers", "student.encoder.kind=spec"], SpecOptions()),
        (["student.encoder={kind: two_layers}", "student.encoder.kind=spec"], SpecOptions()),
        (["student.encoder.kind=spec", "student.encoder={kind: two_layers}"], TwoLayersOptions()),
    ],
)
def test_the_kind_chooses_the_options(overrides: list[str], expected: EncoderOptions, tmp_path: Path) -> None:
    config = load_config("parkour_depth", overrides)
    assert config.student.encoder == expected and type(config.student.encoder) is type(expected)
    assert asdict(config)["student"]["encoder"] == asdict(expected)
    save_config(config, tmp_path / "config.yaml")
    assert load_saved_config(tmp_path / "config.yaml") == config
    if isinstance(expected, TwoLayersOptions):
        assert load_saved_config(tmp_path / "config.yaml", ["student.encoder.width=2"]).student.encoder == (
            TwoLayersOptions(width=2)
        )
        assert load_saved_config(tmp_path / "config.yaml", ["student.encoder.kind=spec"]).student.encoder == (
            SpecOptions()
        )


def test_a_yaml_chooses_the_kind_of_one_that_it_starts_from(tmp_path: Path) -> None:
    (tmp_path / "parent.yaml").write_text("student: {encoder: {gru_hidden: 256}}\n", "utf-8")
    (tmp_path / "same.yaml").write_text("base: parent\nstudent: {encoder: {fusion_hidden: 9, kind: spec}}\n", "utf-8")
    (tmp_path / "other.yaml").write_text("base: parent\nstudent: {encoder: {width: 2, kind: two_layers}}\n", "utf-8")
    (tmp_path / "wrong.yaml").write_text("base: other\nstudent: {encoder: {gru_hidden: 3}}\n", "utf-8")
    assert load_config(str(tmp_path / "same.yaml")).student.encoder == SpecOptions(gru_hidden=256, fusion_hidden=9)
    assert load_config(str(tmp_path / "other.yaml")).student.encoder == TwoLayersOptions(width=2)
    with pytest.raises(UserError, match=r"wrong.yaml: unknown configuration key 'student.encoder.gru_hidden'"):
        load_config(str(tmp_path / "wrong.yaml"))


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (
            ["student.encoder.kind=two_layer"],
            "unknown student.encoder.kind 'two_layer' (did you mean 'two_layers'?); allowed: light, spec, two_layers",
        ),
        (["student.encoder.kind=[1]"], "unknown student.encoder.kind '[1]'; allowed: light, spec, two_layers"),
        (
            ["student.encoder.kind=two_layers", "student.encoder.gru_hidden=3"],
            "unknown configuration key 'student.encoder.gru_hidden'; allowed in student.encoder: kind, width",
        ),
        (
            ["student.encoder.kind=two_layers", "student.encoder.widht=3"],
            "unknown configuration key 'student.encoder.widht' (did you mean 'student.encoder.width'?); "
            "allowed in student.encoder: kind, width",
        ),
        (
            ["student.gru_hidden=3"],
            "unknown configuration key 'student.gru_hidden' (did you mean 'student.encoder.gru_hidden'?); "
            "allowed in student: encoder, init_from_teacher, latent_dim",
        ),
        (
            ["student.encoder=two_layers"],
            "student.encoder: expected a section with keys among: gru_hidden, image_features, kind; got 'two_layers'",
        ),
        (
            ["student.encoder.kind=two_layers", "student.encoder.width=0"],
            "student.encoder.width: expected a number >= 1, got 0",
        ),
        (
            ["student.encoder.kind=two_layers", "student.encoder.width=33"],
            "student.encoder.width: expected a number <= 32",
        ),
        (["student.encoder.gru_hidden=x"], "student.encoder.gru_hidden: expected a whole number, got 'x'"),
        (
            ["camera.resolution=[64,8]"],
            "camera.resolution[1]: expected a number >= 9 with student.encoder.kind=light, got 8",
        ),
        (["camera.resolution=[64,0]"], "camera.resolution[1]: expected a number >= 1, got 0"),
    ],
)
def test_wrong_kinds_and_keys_are_one_line(overrides: list[str], expected: str) -> None:
    with pytest.raises(UserError) as caught:
        options_of(*overrides)
    assert str(caught.value) == expected


def test_options_that_say_they_are_another_kind_are_refused() -> None:
    config = Config()
    config.student.encoder.kind = "two_layers"
    with pytest.raises(UserError, match="unknown student.encoder.kind 'two_layers'; allowed: spec"):
        validate(config)


@pytest.mark.parametrize(("kind", "smallest"), [("spec", 10), ("light", 9)])
def test_the_smallest_image_that_is_allowed_is_one_that_works(kind: str, smallest: int) -> None:
    chosen, small = f"student.encoder.kind={kind}", f"camera.resolution=[{smallest - 1},{smallest - 1}]"
    any_size = "teacher.depth_block=1"
    with pytest.raises(UserError, match=rf"camera.resolution\[0\]: expected a number >= {smallest} with {chosen}"):
        options_of(chosen, small, any_size)
    assert isinstance(options_of(chosen, small, any_size, "distill.enabled=false"), ENCODERS[kind].options)
    options = options_of(chosen, f"camera.resolution=[{smallest},{smallest}]", any_size)
    make_encoder(options, NUM_PROPRIO, (smallest, smallest), LATENT).encode_image(torch.zeros(1, smallest**2))


def test_the_light_encoder_is_a_quarter_of_a_million_parameters_at_most() -> None:
    encoder = make_encoder(LightOptions(), NUM_PROPRIO, (64, 64), 32)
    assert sum(parameter.numel() for parameter in encoder.parameters()) <= 250_000

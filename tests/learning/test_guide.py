"""The guide and its image: who learns when, what the teacher begins with, that imitation gets near, and resuming."""

from __future__ import annotations

import io
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from dummy_env import DummyEnv, small_config
from dummy_runner import assert_same, distillation, make, teacher_ppo
from rich.console import Console
from tensordict import TensorDict

from legged_gym_ext.config.rules import validate
from legged_gym_ext.config.schema import Config
from legged_gym_ext.device import memory
from legged_gym_ext.errors import UserError
from legged_gym_ext.evaluation import evaluation
from legged_gym_ext.evaluation.benchmark import QUICK
from legged_gym_ext.evaluation.rollout import choose_policy
from legged_gym_ext.learning.phases.guide import Guide, level_that_is_enough
from legged_gym_ext.learning.phases.imitation import Imitation
from legged_gym_ext.learning.runner import ParkourRunner
from legged_gym_ext.learning.storage import LabelStorage
from legged_gym_ext.models.teacher import FRAMES, DepthTeacher, ScandotsTeacher
from legged_gym_ext.runs.checkpoint import load_checkpoint
from legged_gym_ext.tasks import Factories

ENVS = 6
BLOCKS = 80
"""Of 2 x 2 of the dummy environment's 20 x 16 pixels."""


def config_of(**guide: Any) -> Config:
    config = small_config(precision="float32")
    config.teacher.depth_block, config.teacher.depth_gain = 2, 1.0
    config.guide.enabled = True
    values: dict[str, Any] = {"level": 1e9, "iterations": 2, "rounds": 3, "steps_per_env": 5, "mini_batches": 3}
    for name, value in (values | guide).items():
        setattr(config.guide, name, value)
    return config


def phases(runner: ParkourRunner) -> tuple[Guide, Imitation]:
    guide, imitation = runner.phases["guide"], runner.phases["imitation"]
    assert isinstance(guide, Guide) and isinstance(imitation, Imitation)
    return guide, imitation


def turns(runner: ParkourRunner, iterations: int) -> list[list[str]]:
    """Return which phases ran in each iteration."""
    ran: list[list[str]] = []
    report = runner._report

    def note(outcomes: Any, *rest: Any) -> None:
        ran.append(list(outcomes))
        report(outcomes, *rest)

    runner._report = note  # type: ignore[method-assign]
    runner.learn(iterations)
    return ran


def test_the_guide_learns_first_then_the_teacher_imitates_then_ppo_and_the_student_go_on() -> None:
    config = config_of()
    config.distill.start = 0
    assert turns(make(None, config, num_envs=ENVS), 6) == [
        ["guide"],
        ["guide", "imitation"],
        ["imitation"],
        ["imitation", "ppo", "distillation"],
        ["ppo", "distillation"],
        ["ppo", "distillation"],
    ]


def test_the_log_is_told_whose_turn_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    config = config_of()
    config.distill.start = 4
    runner = make(None, config, num_envs=ENVS)
    told: list[dict[str, list[str]]] = []
    monkeypatch.setattr(runner.journal.recording, "add", lambda _scalars, _step, turns: told.append(turns))
    runner.learn(5)
    teacher = [["guide"], ["guide", "imitation"], ["imitation"], ["imitation", "PPO"], ["PPO"]]
    assert [turns["teacher"] for turns in told] == teacher
    assert [turns["student"] for turns in told] == [[], [], [], [], ["distillation"]]


def test_the_seconds_of_phases_in_one_iteration_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a single round of imitation the guide, the teacher's PPO and the student learn in the same iteration."""
    config = config_of(iterations=1, rounds=1)
    config.distill.start = 0
    runner = make(None, config, num_envs=ENVS)
    logged: dict[str, float] = {}
    spent: list[float] = []
    report = runner._report

    def note(outcomes: Any, *rest: Any) -> None:
        spent.extend(value for outcome in outcomes.values() for value in outcome.seconds.values())
        report(outcomes, *rest)

    monkeypatch.setattr(runner, "_report", note)
    monkeypatch.setattr(runner.journal.recording, "add", lambda scalars, *_: logged.update(scalars))
    runner.learn(1)
    times = {tag: value for tag, value in logged.items() if tag.endswith("_time")}
    assert {"Guide/value", "Imitation/loss", "Loss/value", "Distill/loss"} <= logged.keys() and len(spent) == 6
    assert sum(times.values()) == pytest.approx(sum(spent))
    assert sorted(times.values()) == sorted(spent)


def test_the_terminal_shows_no_losses_of_who_learns_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    config = config_of()
    config.distill.start, config.distill.interval = 3, 2
    runner = make(None, config, num_envs=ENVS)
    boards: list[str] = []

    def show(make_board: Any, at_once: bool = False) -> bool:
        console = Console(file=io.StringIO(), width=200)
        console.print(make_board())
        boards.append(console.file.getvalue())  # type: ignore[attr-defined]
        return True

    monkeypatch.setattr(runner.journal._board, "show", show)
    runner.learn(6)
    titles = ("guide", "imitation", "PPO", "distillation")
    shown = [[title for title in titles if re.search(rf"^{title}   \w", board, re.MULTILINE)] for board in boards]
    after = [["PPO", "distillation"]] * 2  # though the student learns in every other iteration
    assert shown == [["guide"], ["guide", "imitation"], ["imitation"], ["imitation", "PPO", "distillation"], *after]


def test_a_level_ends_the_guides_learning() -> None:
    runner = make(None, config_of(level=2.0, iterations=1000), num_envs=ENVS)
    ran = turns(runner, 12)  # an environment's level counts its episodes, of which two are over after 22 steps
    last = max(i for i, names in enumerate(ran) if "guide" in names)
    assert 2 <= last <= 6 and all("guide" in names for names in ran[:last])
    assert runner.lanes["teacher"].statistics.level.mean() >= 2.0


def mean_of_the_mastered(levels: int) -> float:
    """Return the mean level of robots that fail nowhere: who passes the last level gets any of them."""
    follows = torch.eye(levels, dtype=torch.float64).roll(1, dims=1)
    follows[-1] = 1 / levels
    shares = torch.full((levels,), 1 / levels, dtype=torch.float64)
    for _ in range(2000):
        shares = shares @ (0.5 * follows + 0.5 * torch.eye(levels, dtype=torch.float64))
    return float(shares @ torch.arange(levels, dtype=torch.float64))


@pytest.mark.parametrize("levels", [2, 3, 5, 10, 20])
@pytest.mark.parametrize("level", [6.0, 1e9])
def test_no_guide_waits_for_a_level_that_is_not_reached(levels: int, level: float) -> None:
    config = config_of(level=level)
    config.terrain.levels = levels
    mastered = mean_of_the_mastered(levels)
    assert level_that_is_enough(config) == pytest.approx(min(level, mastered), abs=1e-6)


@pytest.mark.parametrize("how", ["no curriculum", "one level", "level 0"])
def test_where_no_level_can_tell_the_iterations_end_the_guides_learning(how: str) -> None:
    config = config_of(level=1.0, iterations=4)
    if how == "no curriculum":
        config.curriculum.enabled = False
    elif how == "one level":
        config.terrain.levels = 1
    else:
        config.guide.level = 0.0
    runner = make(None, config, num_envs=ENVS)
    assert isinstance(runner.env, DummyEnv)
    runner.env.level += 5  # as with a start_level
    assert [names[0] for names in turns(runner, 5)] == ["guide"] * 4 + ["imitation"]


@pytest.mark.parametrize("teacher", ["depth", "scandots"])
def test_without_a_guide_the_teacher_begins_at_once(teacher: str) -> None:
    config = config_of()
    if teacher == "scandots":
        config.teacher.kind = teacher  # whatever the configuration has of a guide
    else:
        config.guide.enabled = False
    runner = make(None, config, num_envs=ENVS)
    assert list(runner.phases) == ["ppo", "distillation"]
    assert turns(runner, 1) == [["ppo"]]


def test_the_lanes_policy_is_the_guide_and_then_the_teacher() -> None:
    runner = make(None, config_of(), num_envs=ENVS)
    kinds = []
    for _ in range(4):
        kinds.append(type(runner.get_inference_policy("teacher")))
        runner.learn(1)
    assert kinds == [ScandotsTeacher, ScandotsTeacher, DepthTeacher, DepthTeacher]


def test_as_long_as_the_guide_acts_people_are_told_of_a_guide(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """On the console, and by whoever plays or evaluates."""
    config = config_of(iterations=2)
    config.task = "parkour_depth"
    runner = make(tmp_path, config, num_envs=ENVS)
    runner.learn(1)
    told = capsys.readouterr().out
    assert re.search("^ +guide +student$", told, re.MULTILINE) and "teacher" not in told
    policy, name = choose_policy(runner, "teacher")
    assert isinstance(policy, ScandotsTeacher) and name == "guide"
    assert choose_policy(runner, None)[1] == "guide (this run has no trained student yet)"
    runner.learn(1)
    assert re.search("^ +teacher +student$", capsys.readouterr().out, re.MULTILINE)
    policy, name = choose_policy(runner, "teacher")
    assert isinstance(policy, DepthTeacher) and name == "teacher"
    runner.save(str(tmp_path / "model_2.pt"))

    env = DummyEnv(config, ENVS)
    env.close = lambda: None  # type: ignore[method-assign]
    factories = Factories(lambda *_: env, lambda env, config, folder, device: ParkourRunner(env, config, folder, "cpu"))  # type: ignore[arg-type, return-value]
    monkeypatch.setattr(evaluation, "get_factories", lambda _: factories)
    plan: Any = SimpleNamespace(benchmark=QUICK, kinds=("gaps",), speed=1.0)
    names = [list(evaluation.load_policies(config, tmp_path / f"model_{n}.pt", plan, None)[0]) for n in (1, 2)]
    assert names == [["guide"], ["teacher"]]


def test_an_evaluation_during_the_training_is_of_the_guide(capsys: pytest.CaptureFixture[str]) -> None:
    journal = make(None, config_of(), num_envs=ENVS).journal
    journal.report_evaluation(1, {"Evaluation/small/teacher": 0.5}, 2.0, {"teacher": "guide", "student": "student"})
    assert "guide" in (told := capsys.readouterr().out) and "teacher" not in told


def test_the_teacher_begins_as_the_guide_but_for_what_it_sees(monkeypatch: pytest.MonkeyPatch) -> None:
    config = config_of()
    config.teacher.normalize_observations = True
    runner = make(None, config, num_envs=ENVS)
    guide, imitation = phases(runner)
    runner.learn(1)
    torch.nn.init.normal_(guide.actor.distribution.std_param)  # type: ignore[union-attr, arg-type]
    teacher = imitation.teacher
    before = teacher.mlp[0].weight.clone()  # type: ignore[union-attr]
    teacher.begin_as(guide.actor)
    columns = slice(teacher.num_proprio, teacher.num_proprio + BLOCKS)
    assert not torch.equal(teacher.mlp[0].weight, before)  # type: ignore[arg-type]
    with torch.no_grad():  # neither sees anything
        teacher.mlp[0].weight[:, columns] = 0  # type: ignore[index]
        guide.actor.mlp[0].weight[:, guide.actor.terrain_columns] = 0  # type: ignore[index]
    obs = runner.env.get_observations()
    obs["proprio"] = torch.randn_like(obs["proprio"])
    assert torch.allclose(teacher(obs), guide.actor(obs), atol=1e-6)
    assert_same(teacher.distribution.state_dict(), guide.actor.distribution.state_dict())  # type: ignore[union-attr]


def test_what_reads_pixels_begins_anew() -> None:
    runner = make(None, config_of(), num_envs=ENVS)
    guide, imitation = phases(runner)
    imitation.teacher.begin_as(guide.actor)
    weight = imitation.teacher.mlp[0].weight[:, imitation.teacher.num_proprio :][:, :BLOCKS]  # type: ignore[index]
    bound = (imitation.teacher.obs_dim + BLOCKS) ** -0.5  # of torch's linear layers
    assert 0.8 * bound < weight.abs().max() <= bound


def test_ppo_goes_on_with_the_guides_critic_noise_and_learning_rate() -> None:
    config = config_of(iterations=3, rounds=1)
    runner = make(None, config, num_envs=ENVS)
    guide, imitation = phases(runner)
    runner.learn(2)
    assert not guide.done
    seen: dict[str, Any] = {}
    alg = teacher_ppo(runner).alg
    collect = alg.collect

    def look(*arguments: Any) -> None:
        seen["critic"] = {name: value.clone() for name, value in alg.critic.state_dict().items()}
        seen["noise"] = {name: value.clone() for name, value in alg.actor.distribution.state_dict().items()}
        seen["rate"] = alg.learning_rate
        collect(*arguments)

    alg.collect = look  # type: ignore[method-assign]
    runner.learn(1)
    assert imitation.done
    assert_same(seen["critic"], dict(guide.alg.critic.state_dict()))
    assert_same(seen["noise"], dict(guide.actor.distribution.state_dict()))  # type: ignore[union-attr]
    assert seen["rate"] == guide.alg.learning_rate != config.ppo.learning_rate


def test_imitation_comes_near_to_the_guide() -> None:
    """The guide's actions follow from the scan, which the camera shows: the teacher finds them in the image."""
    config = config_of(iterations=1, rounds=150, steps_per_env=12, learning_rate=3e-3)
    runner = make(None, config, num_envs=16)
    guide, imitation = phases(runner)
    with torch.no_grad():
        guide.actor.mlp[0].weight[:, guide.actor.terrain_columns] *= 8  # type: ignore[index]  # it looks well
    losses = []
    guide.done = True
    for _ in range(150):
        losses.append(imitation.run(runner.lanes["teacher"]).losses["Imitation/loss"])
    assert imitation.done
    assert sum(losses[-10:]) < 0.1 * sum(losses[:10])


def test_who_acts_follows_beta(monkeypatch: pytest.MonkeyPatch) -> None:
    config = config_of(beta=1.0, beta_decay=0.0)
    runner = make(None, config, num_envs=ENVS)
    guide, imitation = phases(runner)
    step, acted = runner.env.step, []

    def note(actions: torch.Tensor) -> Any:
        acted.append(actions.clone())
        return step(actions)

    monkeypatch.setattr(runner.env, "step", note)
    for policy in (guide.actor, imitation.teacher):
        obs = runner.env.get_observations()
        expected = policy(obs)
        imitation.collect(runner.env, runner.lanes["teacher"].statistics)  # type: ignore[arg-type]
        assert torch.equal(acted[0], expected)
        acted.clear()
        imitation.rounds += 1
    assert imitation.beta == 0.0


@pytest.mark.parametrize("with_images", [True, False])
def test_each_sample_comes_once_an_epoch_with_its_label_and_image(with_images: bool) -> None:
    steps, config = 7, config_of()
    env = DummyEnv(config, ENVS)
    groups = ["proprio", *(["depth"] if with_images else [])]
    storage = LabelStorage(env.num_envs, steps, env.get_observations(), groups, 10, "cpu")
    expected = {}
    for _epoch in range(2):  # a storage is used again and again
        storage.clear()
        expected.clear()
        for _ in range(steps):
            obs = env.get_observations()
            obs["proprio"] = torch.randn(ENVS, 43)
            labels = torch.randn(ENVS, 10)
            storage.add_label(obs, labels)
            for i in range(ENVS):
                expected[float(obs["proprio"][i, 0])] = (obs["proprio"][i], labels[i], obs["depth"][i])
            env.step(torch.randn(ENVS, 10))
    seen: list[float] = []
    for batch in storage.mini_batch_generator(3, 2):
        assert isinstance(batch.observations, TensorDict) and batch.actions is not None
        frames = batch.observations[FRAMES] if with_images else None
        for i, key in enumerate(batch.observations["proprio"][:, 0].tolist()):
            proprio, label, image = expected[key]
            assert torch.equal(batch.observations["proprio"][i], proprio) and torch.equal(batch.actions[i], label)
            if frames is not None:
                assert torch.equal(frames.images[frames.index[i]], image)
            seen.append(key)
    assert sorted(seen) == sorted([*expected] * 2)


def test_a_run_that_is_resumed_for_fewer_rounds_hands_over_all_the_same(tmp_path: Path) -> None:
    make(tmp_path, config_of(iterations=1, rounds=50), num_envs=ENVS).learn(4)
    runner = make(tmp_path, config_of(iterations=1, rounds=2), num_envs=ENVS)
    runner.load(str(tmp_path / "model_4.pt"))
    guide, imitation = phases(runner)
    assert not imitation.done
    assert turns(runner, 2) == [["imitation", "ppo", "distillation"], ["ppo", "distillation"]]
    assert imitation.done and torch.isfinite(torch.tensor(teacher_ppo(runner).alg.learning_rate))


@pytest.mark.parametrize("resume", [False, True])
def test_a_teacher_that_learned_without_a_guide_is_kept(resume: bool, tmp_path: Path) -> None:
    without = config_of()
    without.guide.enabled = False
    make(tmp_path, without, num_envs=ENVS).learn(2)
    runner = make(None, config_of(), seed=5, num_envs=ENVS)
    if resume:
        runner.load(str(tmp_path / "model_2.pt"))
    else:
        runner.init_from(tmp_path / "model_2.pt")
    saved = load_checkpoint(tmp_path / "model_2.pt")["phases"]["ppo"]["actor_state_dict"]
    assert_same(saved, dict(runner.alg.actor.state_dict()))
    assert isinstance(runner.get_inference_policy("teacher"), DepthTeacher)
    assert turns(runner, 2) == [["ppo", "distillation"]] * 2


def test_a_new_run_goes_on_with_another_ones_guide_and_counts_from_zero(tmp_path: Path) -> None:
    make(tmp_path, config_of(iterations=9), num_envs=ENVS).learn(3)
    runner = make(None, config_of(iterations=4, rounds=1), seed=5, num_envs=ENVS)
    runner.init_from(tmp_path / "model_3.pt")
    saved = load_checkpoint(tmp_path / "model_3.pt")["phases"]["guide"]["algorithm"]["actor_state_dict"]
    assert_same(saved, dict(phases(runner)[0].actor.state_dict()))
    assert turns(runner, 5) == [["guide"]] * 3 + [
        ["guide", "imitation", "ppo", "distillation"],
        ["ppo", "distillation"],
    ]


def test_a_new_run_begins_an_imitation_again_that_was_not_over(tmp_path: Path) -> None:
    make(tmp_path, config_of(iterations=1, rounds=9), num_envs=ENVS).learn(4)
    runner = make(None, config_of(rounds=3), seed=5, num_envs=ENVS)
    runner.init_from(tmp_path / "model_4.pt")
    _, imitation = phases(runner)
    assert imitation.beta == 1.0 and isinstance(runner.get_inference_policy("teacher"), ScandotsTeacher)
    assert turns(runner, 4) == [["imitation"]] * 2 + [["imitation", "ppo", "distillation"], ["ppo", "distillation"]]


def test_a_new_run_repeats_nothing_that_was_over(tmp_path: Path) -> None:
    config = config_of(iterations=1, rounds=2)
    config.distill.beta, config.distill.beta_decay = 0.5, 0.5
    make(tmp_path, config, num_envs=ENVS).learn(5)
    runner = make(None, config, seed=5, num_envs=ENVS)
    runner.load(str(tmp_path / "model_5.pt"))
    assert distillation(runner).beta < 0.2
    runner = make(None, config, seed=5, num_envs=ENVS)
    runner.init_from(tmp_path / "model_5.pt")
    assert (runner.iteration, runner.total_steps) == (0, 0) and distillation(runner).beta == 0.5
    saved = load_checkpoint(tmp_path / "model_5.pt")["phases"]
    for network in (runner.get_inference_policy("teacher"), runner.alg.actor):
        assert_same(saved["ppo"]["actor_state_dict"], dict(network.state_dict()))
    assert_same(saved["distillation"]["student"], dict(runner.get_inference_policy("student").state_dict()))
    assert turns(runner, 1) == [["ppo", "distillation"]]
    path = tmp_path / "second.pt"
    runner.save(str(path))
    again = make(None, config, num_envs=ENVS)
    again.load(str(path))
    assert again.iteration == 1 and distillation(again).beta == 0.25


def test_who_asks_for_the_student_too_early_is_told_what_comes_before() -> None:
    runner = make(None, config_of(), num_envs=ENVS)
    runner.learn(1)
    with pytest.raises(
        UserError, match=r"no trained student after 1 iterations \(before it come up to guide.iterations=2"
    ):
        runner.get_inference_policy("student")


@pytest.mark.parametrize("at", [1, 2, 3, 4])
def test_a_resumed_run_is_the_run_that_was_not_interrupted(at: int, tmp_path: Path) -> None:
    """In the guide's time, between both, amid imitation, and after it."""
    straight = make(tmp_path / "straight", config_of(), num_envs=ENVS)
    straight.learn(6)
    make(tmp_path / "first", config_of(), num_envs=ENVS).learn(at)
    second = make(tmp_path / "second", config_of(), seed=99, num_envs=ENVS)
    second.load(str(tmp_path / "first" / f"model_{at}.pt"))
    second.learn(6 - at)
    one, other = (load_checkpoint(tmp_path / name / "model_6.pt") for name in ("straight", "second"))
    assert_same(one["phases"], other["phases"])


def test_more_mini_batches_than_samples_is_one_clear_line() -> None:
    runner = make(None, config_of(mini_batches=31, steps_per_env=5), num_envs=ENVS)
    with pytest.raises(
        UserError, match=r"^guide.mini_batches: expected at most 30 \(6 environments x 5 steps\), got 31$"
    ):
        runner.learn(2)


def test_the_memory_that_is_asked_for_is_what_the_storages_keep(monkeypatch: pytest.MonkeyPatch) -> None:
    """The guide's has no images, that of imitation no scan."""
    asked: list[int] = []
    monkeypatch.setattr(memory, "require", lambda _what, bytes_per_env, *_: asked.append(bytes_per_env))
    config = config_of(steps_per_env=12)
    config.camera.update_interval = 3
    runner = make(None, config, num_envs=ENVS)
    guide, imitation = phases(runner)
    student = distillation(runner)
    stored: list[Any] = [storage.observations for storage in (guide.alg.storage, imitation.storage, runner.alg.storage)]
    tensors = [tensor for groups in [*stored, student.observations] for tensor in groups.values()]
    vectors = sum(tensor.numel() * tensor.element_size() for tensor in tensors) // ENVS
    steps = [config.guide.steps_per_env, config.runner.num_steps_per_env, config.distill.steps_per_env]
    assert guide.alg.storage.frames is None and imitation.storage.frames is not None  # type: ignore[union-attr]
    images = sum((1 + number // 3) * 20 * 16 * 4 for number in steps)
    assert asked == [vectors + images]


@pytest.mark.parametrize(
    ("section", "name", "value", "told"),
    [
        ("height_scan", "enabled", False, "height_scan.enabled: expected true with guide.enabled=true"),
        ("guide", "rounds", 0, "guide.rounds: expected"),
    ],
)
def test_what_does_not_go_together_is_one_clear_line(section: str, name: str, value: Any, told: str) -> None:
    config = config_of()
    validate(config)
    setattr(getattr(config, section), name, value)
    with pytest.raises(UserError, match=f"^{told}"):
        validate(config)

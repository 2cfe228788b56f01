"""The layout follows from the configuration. That trainings log what it shows: see recording/test_wandb_offline.py."""

from __future__ import annotations

import re

import pytest
import wandb
from wandb.errors import CommError, UsageError

from legged_gym_ext.config.files import load_config
from legged_gym_ext.dashboard import __main__ as command
from legged_gym_ext.dashboard.custom_scalars import custom_scalars
from legged_gym_ext.dashboard.layout import (
    Shows,
    lanes_of,
    layout,
    panels,
    without_data,
    without_panel,
)
from legged_gym_ext.dashboard.workspace import workspace
from legged_gym_ext.errors import UserError

TASKS = ("parkour_depth", "parkour_depth_spec", "parkour_scandots", "walk_flat")


def tags_of(*overrides: str, task: str = "parkour_depth") -> set[str]:
    return {tag for _, panel in panels(layout(load_config(task, overrides))) for tag in panel.tags}


@pytest.mark.parametrize("task", TASKS)
def test_every_task_has_a_layout_in_which_each_tag_is_shown_once(task: str) -> None:
    config = load_config(task)
    sections = layout(config)
    tags = [tag for _, panel in panels(sections) for tag in panel.tags]
    assert len(tags) == len(set(tags)) and all(section.panels for section in sections)
    assert not without_data(sections, tags) and not without_panel(sections, tags)
    for lane in lanes_of(config):
        assert {f"SuccessRate/{lane}", f"TerrainLevel/{lane}", f"Return/{lane}"} <= set(tags)
        for name, weight in config.rewards.weights.items():
            assert (f"Reward/{name}/{lane}" in tags) == (weight != 0)


def test_what_is_not_trained_has_no_panel() -> None:
    assert not any("student" in tag or "Distill" in tag for tag in tags_of("distill.enabled=false"))
    tuned = tags_of("finetune.enabled=true")
    assert not any("teacher" in tag or tag.startswith(("Distill", "Loss/")) for tag in tuned)
    assert {"Finetune/value", "SuccessRate/student", "Perf/finetune_learning_time"} <= tuned
    assert "TerrainLevel/gaps/teacher" in tags_of()
    assert "TerrainLevel/gaps/teacher" not in tags_of("terrain.gaps.proportion=0")
    assert "Distill/feature_loss" in tags_of(task="parkour_scandots")
    assert "Distill/feature_loss" not in tags_of()
    assert any(tag.startswith("Evaluation/") for tag in tags_of("runner.evaluate_every=5"))
    assert not any(tag.startswith("Evaluation/") for tag in tags_of())


def test_reward_terms_that_only_begin_with_a_weight_are_shown() -> None:
    begin = ("rewards.start_weights={alive: 0.5}", "rewards.weights={alive: 0, termination: -1}")
    assert "Reward/alive/teacher" in tags_of(*begin, "rewards.full_at_level=3")
    assert "Reward/alive/teacher" not in tags_of(*begin, "rewards.full_at_level=0")


def test_what_is_missing_is_named() -> None:
    sections = layout(load_config("parkour_depth"))
    tags = {tag for _, panel in panels(sections) for tag in panel.tags}
    (line,) = without_data(sections, tags - {"Distill/loss"})
    assert line == "Distillation: loss: no Distill/loss"
    assert without_panel(sections, tags | {"Time/hours", "New/curve"}) == ["New/curve"]


def test_tensorboard_has_a_chart_for_every_panel_of_curves() -> None:
    sections = layout(load_config("parkour_depth"))
    charts = custom_scalars(sections)
    for section, panel in panels(sections):
        if panel.shows is Shows.CURVES:
            kind, patterns = charts[section.title][panel.title]
            assert kind == "Multiline" and isinstance(patterns, list) and len(patterns) == len(panel.tags)
            for tag, pattern in zip(panel.tags, patterns, strict=True):
                assert re.search(pattern, tag) and not re.search(pattern, f"{tag}s")


@pytest.mark.parametrize("task", TASKS)
def test_wandb_gets_every_panel(task: str) -> None:
    pytest.importorskip("wandb_workspaces")
    sections = layout(load_config(task))
    made = workspace(sections, "bipeds", "team")
    spec = made._to_model().model_dump_json()
    assert (made.project, made.entity) == ("bipeds", "team")
    assert [section.name for section in made.sections] == [section.title for section in sections]
    assert [len(section.panels) for section in made.sections] == [len(section.panels) for section in sections]
    assert all(tag in spec for _, panel in panels(sections) for tag in panel.tags)


def test_a_workspace_that_cannot_be_made_is_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    class Refused:
        def save(self) -> None:
            raise CommError("permission\ndenied")

    monkeypatch.setattr("legged_gym_ext.dashboard.workspace.workspace", lambda *_: Refused())
    with pytest.raises(UserError, match="cannot make the workspace in project 'bipeds': permission denied"):
        command.main(["--project=bipeds", "--entity=team"])
    monkeypatch.setattr(wandb, "Api", lambda **_: (_ for _ in ()).throw(UsageError("No API key")))
    with pytest.raises(UserError, match="Weights & Biases: No API key"):
        command.main(["--project=bipeds"])
    with pytest.raises(UserError, match="--check: of which run"):
        command.main(["--check"])


def test_the_address_of_the_workspace_is_printed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    given = []

    class Made:
        url = "https://wandb.ai/team/bipeds?nw=x"

        def save(self) -> Made:
            return self

    monkeypatch.setattr("legged_gym_ext.dashboard.workspace.workspace", lambda *what: given.append(what) or Made())
    command.main(["--project=bipeds", "--entity=team", "--task=walk_flat"])
    assert capsys.readouterr().out == "workspace  https://wandb.ai/team/bipeds?nw=x\n"
    assert given == [(layout(load_config("walk_flat")), "bipeds", "team")]

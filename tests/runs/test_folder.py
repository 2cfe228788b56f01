"""Run folders: how they are made, found again, and pruned."""

from __future__ import annotations

import errno
import os
from datetime import datetime
from pathlib import Path

import pytest
from command_line import arguments, config_of, make_run
from dummy_env import small_config
from dummy_runner import make

from legged_gym_ext.config.files import load_saved_config
from legged_gym_ext.config.schema import Config
from legged_gym_ext.errors import UserError
from legged_gym_ext.runs.checkpoint import save_checkpoint
from legged_gym_ext.runs.folder import (
    checkpoint_numbers,
    create_run_folder,
    find_checkpoint,
    find_run,
    find_run_folder,
    find_saved,
)


def test_run_folder_holds_the_whole_configuration(logs: Path) -> None:
    config = config_of("--task=walk_flat --run_name=first --seed=7")
    folder = create_run_folder(config, datetime(2026, 11, 22, 13, 5, 59))
    assert folder == logs / "walk_flat" / "2026-11-22_13-05-59_first"
    assert load_saved_config(folder / "config.yaml") == config
    assert create_run_folder(config_of("--experiment_name=mine")).parent == logs / "mine"


def test_runs_that_start_in_the_same_second_sort_in_their_order(logs: Path) -> None:
    now = datetime(2026, 12, 31, 23, 59, 58)
    names = ["b", "a", "", "b"]
    folders = [create_run_folder(config_of(f"--run_name={name}"), now) for name in names]
    assert len(set(folders)) == len(folders)
    assert sorted(folders) == folders


def test_a_run_folder_that_cannot_be_made_is_one_line(logs: Path) -> None:
    logs.write_text("a file where the folder should be", "utf-8")
    with pytest.raises(UserError, match="cannot create a run folder"):
        create_run_folder(Config())


def test_load_run_finds_runs_by_name_path_and_time(logs: Path) -> None:
    old = make_run(config_of("--task=walk_flat"), 2, 10, now=datetime(2026, 1, 1))
    last = make_run(config_of("--seed=8"), 5, now=datetime(2026, 1, 2))
    empty = make_run(config_of(""), now=datetime(2026, 1, 3))
    (logs / "README.md").write_text("as in a clone", "utf-8")

    assert find_saved(arguments("--load_run"))[1] == last / "model_5.pt"
    assert find_saved(arguments("--task=walk_flat"))[1] == old / "model_10.pt"
    assert find_saved(arguments(f"--load_run={old.name} --checkpoint=2"))[1] == old / "model_2.pt"
    assert find_saved(arguments(f"--load_run={old}"))[1] == old / "model_10.pt"
    with pytest.raises(UserError, match=empty.name):
        find_saved(arguments(f"--load_run={empty.name}"))
    with pytest.raises(UserError, match=r"no checkpoint 3 .*nearest: 2"):
        find_saved(arguments(f"--load_run={old.name} --checkpoint=3"))
    with pytest.raises(UserError, match=f"did you mean '{old.name}'"):
        find_saved(arguments(f"--load_run={old.name}x"))


def test_a_loaded_run_has_its_own_configuration_with_the_command_lines_changes(logs: Path) -> None:
    make_run(config_of("--task=walk_flat --seed=8 --num_envs=6 ppo.gamma=0.5"), 1)
    config, _ = find_saved(arguments("--load_run --num_envs=3"))
    assert (config.task, config.seed, config.env.num_envs, config.ppo.gamma) == ("walk_flat", 8, 3, 0.5)


def test_finding_runs_and_checkpoints(tmp_path: Path) -> None:
    for run, numbers in (("2026-01-02_10-00-00_b", (2, 10, 9)), ("2026-01-01_10-00-00_a", (1,)), ("2026-03-01", ())):
        (tmp_path / run).mkdir()
        for number in numbers:
            save_checkpoint({}, tmp_path / run / f"model_{number}.pt")
            os.utime(tmp_path / run / f"model_{number}.pt", (number, number))
    newest = tmp_path / "2026-01-02_10-00-00_b"
    assert find_run(tmp_path) == find_run(tmp_path, -1) == find_run(tmp_path, "-1") == newest
    assert find_run(tmp_path, "2026-01-01_10-00-00_a").name == "2026-01-01_10-00-00_a"
    assert find_checkpoint(newest).name == find_checkpoint(newest, 10).name == "model_10.pt"
    with pytest.raises(UserError, match="did you mean '2026-01-01_10-00-00_a'"):
        find_run(tmp_path, "2026-01-01_10-00-00_c")
    with pytest.raises(UserError, match=r"no checkpoint 7 .*nearest: 9\); there are: 2, 9, 10"):
        find_checkpoint(newest, 7)
    with pytest.raises(UserError, match="no checkpoint"):
        find_checkpoint(tmp_path / "2026-03-01")
    with pytest.raises(UserError, match="no run with a checkpoint"):
        find_run(tmp_path / "nowhere")


def test_the_last_run_is_the_one_that_saved_last_whatever_its_name(logs: Path) -> None:
    named = make_run(config_of("--task=walk_flat"), 4, now=datetime(2026, 1, 1)).rename(logs / "walk_flat" / "best")
    newer = make_run(config_of("--task=walk_flat"), 2, now=datetime(2026, 1, 2))
    os.utime(named / "model_4.pt", (1000, 1000))
    for line in ("--load_run", "--load_run=-1 --task=walk_flat"):
        assert find_saved(arguments(line))[1].parent == newer
    os.utime(newer / "model_2.pt", (999, 999))
    for line in ("--load_run", "--load_run=-1 --task=walk_flat"):
        assert find_saved(arguments(line))[1].parent == named


def test_a_folder_whose_configuration_cannot_be_written_is_taken_away(
    logs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UserError, match="cannot write .*No space left"):
        create_run_folder(config_of("--task=walk_flat"))
    assert not (logs / "walk_flat").exists()


def test_pruning_keeps_the_newest(tmp_path: Path) -> None:
    make(tmp_path, small_config(save_interval=1, keep_checkpoints=2)).learn(4)
    assert checkpoint_numbers(tmp_path) == [3, 4]


def test_where_there_is_no_run_a_name_is_told_to_be_of_none(logs: Path) -> None:
    with pytest.raises(UserError, match=r"^unknown run 'walk'; there is none$"):
        find_run_folder("walk")
    make_run(config_of("--run_name=walk"))
    name = next(logs.glob("*/*")).name
    with pytest.raises(UserError, match=rf"^unknown run '{name}s' \(did you mean '{name}'\?\); allowed: {name}$"):
        find_run_folder(f"{name}s")

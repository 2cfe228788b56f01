"""Training by two ranks that torchrun starts: the same as by one, and ending together."""

from __future__ import annotations

import os
import re
import shutil
import signal
import time
from pathlib import Path
from typing import Any

import pytest
import rank_program
import torch
from dummy_env import DummyEnv
from dummy_runner import assert_same
from torchrun import finish, torchrun

from legged_gym_ext.config.schema import Config
from legged_gym_ext.errors import UserError
from legged_gym_ext.learning.runner import ParkourRunner
from legged_gym_ext.learning.statistics import EpisodeStatistics, merge_logs, summarize
from legged_gym_ext.paths import ROOT
from legged_gym_ext.processes import collectives, ranks
from legged_gym_ext.processes.ranks import Ranks
from legged_gym_ext.runs import settle as settle_module
from legged_gym_ext.runs.checkpoint import load_checkpoint
from legged_gym_ext.runs.folder import checkpoint_numbers
from legged_gym_ext.runs.settle import default_num_envs, rank_config, settle

PROGRAM = Path(rank_program.__file__)


def test_averaged_gradients_lie_in_memory_as_their_parameters_do(monkeypatch: pytest.MonkeyPatch) -> None:
    """A fused optimizer walks through both side by side: it does what one that looks every element up does."""
    monkeypatch.setattr(collectives, "here", lambda: Ranks(0, 2, 0))
    monkeypatch.setattr(collectives, "reduce_gradients_in_buckets", lambda *arguments: None)
    networks = [torch.nn.Conv2d(3, 4, 3).to(memory_format=torch.channels_last) for _ in range(2)]
    networks[1].load_state_dict(networks[0].state_dict())
    images = torch.randn(5, 3, 8, 8).contiguous(memory_format=torch.channels_last)
    for network, fused in zip(networks, (True, False), strict=True):
        network(images).square().sum().backward()
        if fused:
            collectives.average_gradients(network.parameters())
        torch.optim.Adam(network.parameters(), lr=0.1, fused=fused).step()
    for first, second in zip(networks[0].parameters(), networks[1].parameters(), strict=True):
        torch.testing.assert_close(first, second)


@pytest.fixture(scope="module")
def together(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What rank_program's ``together`` leaves: results by rank, the folder, and what was printed."""
    folder = tmp_path_factory.mktemp("together")
    code, out, err = finish(torchrun(PROGRAM, "together", folder), 120)
    assert code == 0, err
    results = [torch.load(folder / f"rank{rank}.pt", weights_only=True) for rank in (0, 1)]
    return {"ranks": results, "folder": folder, "out": out}


def test_networks_normalizers_and_learning_rate_are_the_same_on_all_ranks_after_every_update(together: Any) -> None:
    first, second = (result["history"] for result in together["ranks"])
    assert len(first) == 6
    for ours, theirs in zip(first, second, strict=True):
        assert_same(ours, theirs)
    for before, after in zip(first, first[1:], strict=False):
        with pytest.raises(AssertionError):
            assert_same(before["ppo"]["actor_state_dict"], after["ppo"]["actor_state_dict"])
    assert len({networks["learning_rate"] for networks in first}) > 1
    samples = 6 * rank_program.ENVS * (1 + torch.arange(6))
    for model, networks in ((model, n) for model in ("actor", "critic") for n in (first,)):
        counts = [state["ppo"][f"{model}_state_dict"]["obs_normalizer.count"] for state in networks]
        assert torch.equal(torch.stack(counts), samples)


def test_guide_and_teacher_are_the_same_on_all_ranks_while_one_learns_and_the_other_imitates(together: Any) -> None:
    first, second = (result["guided"] for result in together["ranks"])
    assert [state["imitation"]["rounds"] for state in first] == [0, 1, 2, 2, 2]
    for ours, theirs in zip(first, second, strict=True):
        assert_same(ours, theirs)


def test_ranks_have_different_environments(together: Any) -> None:
    first, second = (result["start"] for result in together["ranks"])
    assert not torch.equal(first["target"], second["target"])
    assert not torch.equal(first["generator"], second["generator"])


def test_a_split_batch_gives_the_update_of_one_process(together: Any) -> None:
    expected = rank_program.update_on(slice(0, rank_program.ENVS))
    assert len(expected["gradients"]) == 2 * 2 + 2 * 2  # PPO's epochs x mini-batches; DAgger's mini-batches x chunks
    halves = [result["update"] for result in together["ranks"]]
    torch.testing.assert_close(torch.cat([half["advantages"] for half in halves], dim=1), expected["advantages"])
    for ours in halves:
        for one, other in zip(ours["gradients"], expected["gradients"], strict=True):
            for gradient, same in zip(one, other, strict=True):
                torch.testing.assert_close(gradient, same, rtol=1e-3, atol=1e-5 * same.abs().max().item() + 1e-7)
        assert ours["learning_rate"] == pytest.approx(expected["learning_rate"])
        for model in ("actor_state_dict", "critic_state_dict"):
            torch.testing.assert_close(ours["ppo"][model], expected["ppo"][model], rtol=1e-3, atol=1e-5)
        torch.testing.assert_close(
            ours["distillation"]["student"], expected["distillation"]["student"], rtol=1e-3, atol=1e-5
        )


def test_three_iterations_and_three_resumed_are_six(together: Any) -> None:
    whole, parts = (load_checkpoint(together["folder"] / run / "model_6.pt") for run in ("whole", "parts"))
    assert whole["iteration"] == 6 and len(whole["ranks"]) == 2
    assert_same(whole, parts)
    with pytest.raises(AssertionError):
        assert_same(whole["ranks"][0], whole["ranks"][1])


def test_a_rank_whose_environments_a_checkpoint_lacks_starts_new_episodes(together: Any) -> None:
    assert [result["went_on"] for result in together["ranks"]] == [True, False]
    assert len(re.findall(r"environments of rank 1 start new episodes: .*model_3.pt' lacks them", together["out"])) == 1


def test_the_first_rank_alone_prints_and_counts_for_all(together: Any) -> None:
    steps = (6 + 5) * 6 * rank_program.ENVS  # five distillations
    assert len(re.findall(rf"iteration 6/6 \(100.0%\)   {steps} steps", together["out"])) == 2  # whole and parts


def test_another_number_of_ranks_goes_on_with_new_episodes(together: Any, capsys: pytest.CaptureFixture[str]) -> None:
    path = together["folder"] / "whole" / "model_6.pt"
    config = rank_program.training_config()
    runner = ParkourRunner(DummyEnv(config, rank_program.ENVS), config, None, "cpu")
    runner.load(str(path))
    assert runner.lanes["student"].snapshot is None
    assert_same(rank_program.networks(runner)["ppo"], load_checkpoint(path)["phases"]["ppo"])
    runner.learn(1)
    assert runner.iteration == 7
    out = capsys.readouterr().out
    assert len(re.findall("environments start new episodes: .* is by 2 ranks, this run has 1\n", out)) == 1
    assert runner.load(str(path), resume=False)["distill"]["beta"] == 0.5
    assert capsys.readouterr().out == ""


def test_fine_tuning_by_two_ranks_is_that_by_one(tmp_path: Path) -> None:
    code, _, err = finish(torchrun(PROGRAM, "finetuning", tmp_path), 180)
    assert code == 0, err
    ranks = [torch.load(tmp_path / f"rank{rank}.pt", weights_only=True) for rank in (0, 1)]
    for ours, theirs in zip(*(result["history"] for result in ranks), strict=True):
        assert_same(ours, theirs)
    first, second, *_ = (networks["distillation"]["student"] for networks in ranks[0]["history"])
    with pytest.raises(AssertionError):  # which warm-up left alone
        assert_same(first, second)
    whole, parts = (load_checkpoint(tmp_path / run / "model_4.pt") for run in ("whole", "parts"))
    assert_same(whole, parts)

    expected = rank_program.finetuning_update_on(slice(0, rank_program.ENVS))
    assert len(expected["gradients"]) == 2 * 2  # epochs x mini-batches
    for result in ranks:
        assert result["update"]["rate"] == pytest.approx(expected["rate"])
        for gradient, same in zip(result["update"]["gradients"][0], expected["gradients"][0], strict=True):
            torch.testing.assert_close(gradient, same, rtol=1e-3, atol=1e-5 * same.abs().max().item() + 1e-7)


@pytest.mark.parametrize("how", ["exception", "kill", pytest.param("kill_first", marks=pytest.mark.slow)])
def test_one_ranks_failure_ends_all_with_a_line_and_a_checkpoint(how: str, together: Any, tmp_path: Path) -> None:
    started = time.monotonic()
    code, _, err = finish(torchrun(PROGRAM, "fail", tmp_path, how))
    assert code != 0 and time.monotonic() - started < 45
    lines = [line for line in err.splitlines() if line.startswith("error:")]
    saved = f"; saved {tmp_path / 'run' / 'model_2.pt'}"
    gone = "error: rank {} is gone without a word: killed, perhaps for want of memory"
    if how == "kill_first":  # which alone could have saved
        assert lines == [gone.format(0)]
        return
    assert lines == [(gone.format(1) if how == "kill" else "error: rank 1: ValueError: the robot fell apart") + saved]
    content = load_checkpoint(tmp_path / "run" / "model_2.pt")
    second = together["ranks"][0]["history"][1]  # of a run that did not fail
    assert content["iteration"] == 2
    assert_same(content["phases"], {name: second[name] for name in ("ppo", "distillation")})
    assert content["ranks"][0]["lanes"]["student"] is not None and content["ranks"][1] is None


@pytest.mark.parametrize("to", ["one rank", "all"])
def test_a_signal_stops_all_after_the_iteration(to: str, tmp_path: Path) -> None:
    process = torchrun(PROGRAM, "endless", tmp_path)
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("iteration 2/"):
            break
    pids = [int((tmp_path / f"pid{rank}").read_text()) for rank in (0, 1)]
    # A batch system may signal every process, and torchrun then passes its own signal on to the ranks.
    for pid in [*pids, process.pid] if to == "all" else pids[1:]:
        os.kill(pid, signal.SIGINT if to == "all" else signal.SIGTERM)
    code, out, err = finish(process)
    assert code == 0 or to == "all", err  # torchrun itself fails when it is told to stop, its ranks do not
    assert "error:" not in err and "interrupted" not in err and "exitcode" not in err
    (number,) = checkpoint_numbers(tmp_path / "run")
    name = "SIGINT" if to == "all" else "SIGTERM"
    assert len(re.findall(f"{name}: stopped after iteration {number}; saved", out)) == 1
    assert all(state is not None for state in load_checkpoint(tmp_path / "run" / f"model_{number}.pt")["ranks"])


@pytest.mark.slow
def test_the_real_task_leaves_one_run_folder() -> None:
    name = f"_test_ranks_{os.getpid()}"
    command = ["train.py", "--task=parkour_depth", "--num_envs=16", "--max_iterations=3", "--headless"]
    try:
        code, out, err = finish(torchrun(*command, f"--experiment_name={name}"), 300)
        assert code == 0, err
        assert "16 environments" in out and "2, each with 8 environments" in out
        (folder,) = (ROOT / "logs" / name).iterdir()
        names = [path.name for path in folder.iterdir()]
        assert {"config.yaml", "model_3.pt"} <= set(names)
        assert len([name for name in names if name.startswith("events.")]) == 1
        content = load_checkpoint(folder / "model_3.pt")
        assert content["config"]["env"]["num_envs"] == 16
        places = [state["lanes"]["teacher"]["simulator"]["root_pos"] for state in content["ranks"]]
        assert places[0].shape == (8, 3) and not torch.equal(*places)
    finally:
        shutil.rmtree(ROOT / "logs" / name, ignore_errors=True)


@pytest.mark.slow
def test_environments_that_cannot_be_split_are_one_line() -> None:
    code, _, err = finish(torchrun("train.py", "--num_envs=15"))
    lines = [line for line in err.splitlines() if line.startswith("error:")]
    assert code != 0 and len(lines) == 1 and "env.num_envs=15" in lines[0] and "14 or 16 would do" in lines[0]


# Without torchrun ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("envs", "size", "fitting"), [(15, 2, "14 or 16"), (3, 4, "4"), (10, 4, "8 or 12")])
def test_environments_are_split_evenly_or_not_at_all(envs: int, size: int, fitting: str) -> None:
    with pytest.raises(UserError, match=f"env.num_envs={envs} .* all {size} ranks.*: {fitting} would do"):
        Ranks(0, size, 0, size).share(envs)
    assert Ranks(1, size, 1, size).share(size * envs) == envs


def test_each_rank_has_seeds_and_threads_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    config = settle(Config())
    config.seed, config.terrain.seed = 4, 7
    monkeypatch.setattr(settle_module, "available_cores", lambda: 10)
    own = []
    for rank in range(8):
        monkeypatch.setattr(ranks, "_here", Ranks(rank, 8, rank % 4, 4))
        own.append(rank_config(config))
    assert (own[0].seed, own[0].terrain.seed) == (4, 7)
    assert len({c.seed for c in own}) == len({c.terrain.seed for c in own}) == 8
    assert not {Ranks(1, 2, 1, 2).seed(seed) for seed in range(100)} & set(range(200))
    assert {c.sim.mujoco.threads for c in own} == {2} and config.sim.mujoco.threads == 0
    assert Ranks(1, 8, 1, 4).threads(cores=2) == 1
    monkeypatch.setattr(ranks, "_here", Ranks())
    assert rank_config(config) is config


def test_auto_counts_all_ranks_and_each_has_the_gpu_of_its_local_rank(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranks, "_here", Ranks(3, 4, 1, 2))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: True)
    config = Config()
    settled = settle(config)
    assert (settled.sim.engine, settled.sim.device, settled.runner.device) == ("mujoco_warp", "cuda:1", "cuda:1")
    assert settled.env.num_envs == 4 * default_num_envs("cuda")
    config.sim.engine, config.runner.device = "mujoco", "cuda"
    settled = settle(config)
    assert settled.env.num_envs == 4 * default_num_envs("cpu")
    assert settled.runner.device == "cuda:1"
    config.runner.device = "cuda:1"
    with pytest.raises(UserError, match="runner.device: of several ranks each has the GPU of its local rank"):
        settle(config)
    config.runner.device = "cuda"
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(UserError, match="runner.device: this machine has no 'cuda:1'; it has: cpu, cuda:0"):
        settle(config)


def test_summaries_of_parts_are_those_of_the_whole() -> None:
    generator = torch.Generator().manual_seed(2)
    whole, first, second = (EpisodeStatistics(count, "cpu") for count in (6, 4, 2))
    parts = {first: slice(0, 4), second: slice(4, 6)}
    for _ in range(12):
        rewards, progress, level = torch.rand(3, 6, generator=generator)
        dones, success = torch.rand(2, 6, generator=generator) < 0.1
        for statistics, rows in {whole: slice(0, 6), **parts}.items():
            extras = {"success": success[rows], "progress": progress[rows], "terrain_level": level[rows]}
            extras["log"] = {"Reward/alive": rewards[rows].mean(), "Health/lost": dones[rows].sum()}
            statistics.add(rewards[rows], dones[rows], extras)
    assert whole.finished.any() and not whole.finished.all()
    assert summarize([part.totals() for part in parts]) == pytest.approx(whole.summary())
    equal = EpisodeStatistics(6, "cpu")
    equal._log = dict(whole._log)
    log = whole.pop_log()
    assert merge_logs([log, equal.pop_log()]) == {
        "Reward/alive": pytest.approx(log["Reward/alive"]),
        "Health/lost": pytest.approx(2 * log["Health/lost"]),
    }

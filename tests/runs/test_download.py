"""Runs of Weights & Biases, from an API that is a double: no upload or download was tried with the real one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from command_line import arguments

from legged_gym_ext import paths
from legged_gym_ext.config.files import load_config, save_config
from legged_gym_ext.errors import UserError
from legged_gym_ext.recording import memory
from legged_gym_ext.runs import download as module
from legged_gym_ext.runs.checkpoint import save_checkpoint
from legged_gym_ext.runs.download import Name, download, parse_name
from legged_gym_ext.runs.folder import find_saved, results_folder


@dataclass
class Entry:
    content: bytes
    size: int

    name: str = ""
    elsewhere: Path | None = None

    def download(self, root: str, skip_cache: bool) -> str:
        path = self.elsewhere or Path(root) / self.name
        path.write_bytes(self.content)
        return str(path)


class Artifact:
    def __init__(self, version: str, files: dict[str, bytes]) -> None:
        self.version = version
        self.entries = {name: Entry(content, len(content), name) for name, content in files.items()}
        self.manifest = self
        self.fetched = 0

    def get_entry(self, name: str) -> Entry:
        self.fetched += 1
        return self.entries[name]


@dataclass
class Run:
    id: str
    name: str
    group: str = "bipeds"


@dataclass
class Api:
    artifacts: dict[str, Artifact]
    known: list[Run] = field(default_factory=lambda: [Run("abcd1234", "2026-11-30_first")])

    def run(self, path: str) -> Run:
        for run in self.known:
            if path == f"team/bipeds/{run.id}":
                return run
        raise ValueError(f"Could not find run {path}")

    def runs(self, path: str, filters: dict[str, str] | None = None) -> Iterator[Run]:
        assert path == "team/bipeds"
        wanted = (filters or {}).get("display_name")
        return iter([run for run in self.known if wanted in (None, run.name)])

    def artifact(self, path: str, type: str) -> Artifact:
        assert type == "model"
        if path not in self.artifacts:
            raise ValueError(f"artifact membership '{path}' not found")
        return self.artifacts[path]


@pytest.fixture
def files(tmp_path: Path) -> dict[str, bytes]:
    save_checkpoint({"iteration": 7}, tmp_path / "model_7.pt")
    save_config(load_config("parkour_depth", ["seed=77"]), tmp_path / "config.yaml")
    return {name: (tmp_path / name).read_bytes() for name in ("model_7.pt", "config.yaml")}


@pytest.fixture
def api(files: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Api:
    monkeypatch.setattr(paths, "DOWNLOADS", tmp_path / "cache")
    artifact = Artifact("v3", files)
    names = (f"team/bipeds/model-abcd1234:{version}" for version in ("latest", "v3"))
    api = Api(dict.fromkeys(names, artifact))
    monkeypatch.setattr(module, "_connect", lambda: api)
    return api


@pytest.mark.parametrize("text", ["team/bipeds/abcd1234", "team/bipeds/abcd1234:v3", "team/bipeds/2026-11-30_first"])
def test_a_run_is_found_by_its_id_and_by_its_name_and_loads_as_any_other(text: str, api: Api, logs: Path) -> None:
    config, checkpoint = find_saved(arguments(f"--wandb_run={text} --num_envs=5"))
    assert checkpoint == paths.DOWNLOADS / "team" / "bipeds" / "abcd1234" / "v3" / "model_7.pt"
    assert config.seed == 77 and config.env.num_envs == 5
    assert results_folder(checkpoint) == logs / "abcd1234_v3"
    assert {path.name for path in checkpoint.parent.iterdir()} == {"model_7.pt", "config.yaml", memory.FILE}
    assert [path.name for path in checkpoint.parent.parent.iterdir()] == ["v3"]  # nothing is left of the download
    remembered = memory.load(checkpoint.parent)
    assert (remembered.run_id, remembered.entity, remembered.group) == ("abcd1234", "team", "bipeds")


def test_a_version_is_downloaded_once_and_again_where_it_is_damaged(api: Api) -> None:
    folder = download("team/bipeds/abcd1234")
    assert download("team/bipeds/abcd1234:v3") == folder
    artifact = api.artifacts["team/bipeds/model-abcd1234:v3"]
    assert artifact.fetched == 2
    content = (folder / "model_7.pt").read_bytes()
    (folder / "model_7.pt").write_bytes(content[: len(content) // 2])
    assert (download("team/bipeds/abcd1234") / "model_7.pt").read_bytes() == content and artifact.fetched == 4


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("abcd1234", "expected ENTITY/PROJECT/RUN"),
        ("team/bipeds", "expected ENTITY/PROJECT/RUN"),
        ("team/../abcd1234", "expected ENTITY/PROJECT/RUN"),
        ("team/bipeds/abcd1234:", "expected ENTITY/PROJECT/RUN"),
        ("team/bipeds/2026-11-30_fist", "did you mean '2026-11-30_first'"),
        ("team/bipeds/abcd1234:v9", "the run has no checkpoint 'v9'"),
        ("team/bipeds/twice", "several runs have that name; give an id: a1, a2"),
    ],
)
def test_what_is_not_there_is_a_line(text: str, told: str, api: Api) -> None:
    api.known += [Run("a1", "twice"), Run("a2", "twice")]
    with pytest.raises(UserError, match=told) as error:
        download(text)
    assert "\n" not in str(error.value)


def test_no_network_and_no_login_are_a_line(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    def away() -> Any:
        raise ConnectionError("Failed to resolve 'api.wandb.ai'\n  try later")

    with pytest.raises(UserError, match="--wandb_run team/bipeds/x: Failed to resolve 'api.wandb.ai' try later"):
        download("team/bipeds/x", away)


def test_a_strangers_artifact_writes_nowhere_else(
    api: Api, files: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def given(artifact: Artifact) -> None:
        api.artifacts["team/bipeds/model-abcd1234:latest"] = artifact

    before = set(tmp_path.iterdir())
    config = files["config.yaml"]
    for names in ({"../model_7.pt": b"", "config.yaml": config}, {"model_7.pt": b"", "config.yml": config}, {}):
        given(Artifact("v4", names))
        with pytest.raises(UserError, match=r"expected model_<iteration>.pt and config.yaml"):
            download("team/bipeds/abcd1234")
    artifact = Artifact("v4", files)
    artifact.entries["config.yaml"].elsewhere = tmp_path / "config.yaml"
    given(artifact)
    with pytest.raises(UserError, match="was downloaded to somewhere else"):
        download("team/bipeds/abcd1234")
    given(Artifact("../../v4", files))
    with pytest.raises(UserError, match="cannot name a folder"):
        download("team/bipeds/abcd1234")
    given(Artifact("v4", {**files, "model_7.pt": b"no checkpoint"}))
    with pytest.raises(UserError, match=r"model_7.pt cannot be read"):
        download("team/bipeds/abcd1234")
    monkeypatch.setattr(module, "MOST", 10)
    given(Artifact("v4", files))
    with pytest.raises(UserError, match="bytes, more than 10"):
        download("team/bipeds/abcd1234")
    assert set(tmp_path.iterdir()) - before <= {tmp_path / "cache"}
    assert not list((tmp_path / "cache").rglob("*.pt"))


def test_more_than_it_is_made_for_is_taken_from_no_artifact(api: Api, files: dict[str, bytes]) -> None:
    api.artifacts["team/bipeds/model-abcd1234:latest"] = Artifact("v5", {**files, "run_me.py": b"print()"})
    assert {path.name for path in download("team/bipeds/abcd1234").iterdir()} == {*files, memory.FILE}


def test_two_that_say_what_to_load_are_refused(api: Api) -> None:
    with pytest.raises(UserError, match="--load_run and --wandb_run both say what to load"):
        find_saved(arguments("--load_run=x --wandb_run=team/bipeds/abcd1234"))


def test_names_have_a_default_version() -> None:
    assert parse_name("a/b/c") == Name("a", "b", "c", "latest") and parse_name("a/b/c:best").version == "best"

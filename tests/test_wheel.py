"""The package where it is installed: a wheel has all that is needed, and its commands work in any folder."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

from legged_gym_ext.paths import CONFIGS, ROOT, resolve

pytestmark = pytest.mark.slow

SOURCES = ("legged_gym_ext", "configs", "resources", "setup.py", "pyproject.toml", "constraints.txt", "MANIFEST.in")
SOURCES += ("README.md", "CHANGELOG.md", "LICENSE", "train.py", "play.py", "evaluate.py", "export.py")
TINY = ("--num_envs=2", "--headless", "env.episode_length_s=0.2", "terrain.levels=2", "terrain.variants=1")


def run(*command: str | Path, cwd: Path) -> str:
    """Run a command without what this process's environment says of Python; return what it printed."""
    variables = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "PIP_"))}
    done = subprocess.run(command, cwd=cwd, env=variables, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def build_wheel(source: Path, out: Path) -> Path:
    """Build a wheel with the setuptools that is here."""
    options = ("--no-deps", "--no-build-isolation", "--no-index", "--no-cache-dir", "--wheel-dir", out)
    run(sys.executable, "-m", "pip", "wheel", *options, source, cwd=source)
    (wheel,) = out.glob("*.whl")
    return wheel


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the repository, so that a build leaves nothing in the real one and finds nothing of an older one."""
    folder = tmp_path_factory.mktemp("source")
    for name in SOURCES:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, folder)
    return folder


@pytest.fixture(scope="module")
def wheel(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_wheel(source, tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def bin_folder(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The commands of a new environment with the wheel, and, of the environment that runs the tests, what it needs.

    A folder that a .pth file names is searched for modules, but the .pth files in it, such as the one of an editable
    install, are not read.
    """
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, symlinks=os.name != "nt")
    binaries = folder / ("Scripts" if os.name == "nt" else "bin")
    pip = (sys.executable, "-m", "pip", "--python", binaries / "python")
    run(*pip, "install", "--no-deps", "--no-index", wheel, cwd=folder)
    needed = [entry for entry in sys.path if Path(entry).name in ("site-packages", "dist-packages")]
    own = run(binaries / "python", "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=folder)
    (Path(own.strip()) / "needed.pth").write_text("\n".join(needed) + "\n", "utf-8")
    return binaries


def test_a_wheel_has_all_modules_templates_configurations_and_robots(wheel: Path) -> None:
    def inside(folder: str, *patterns: str) -> set[str]:
        files = {path for pattern in patterns for path in (ROOT / folder).rglob(pattern) if path.is_file()}
        return {path.relative_to(ROOT).as_posix() for path in files}

    packaged = {f"legged_gym_ext/{name}" for name in inside("configs", "*") | inside("resources", "*")}
    names = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert names == inside("legged_gym_ext", "*.py", "*.j2", "deploy/cpp/*", "deploy/templates/*") | packaged


def test_a_source_distribution_makes_the_same_wheel(source: Path, wheel: Path, tmp_path: Path) -> None:
    code = f"from setuptools import build_meta; build_meta.build_sdist({str(tmp_path)!r})"
    run(sys.executable, "-c", code, cwd=source)
    (archive,) = tmp_path.glob("*.tar.gz")
    shutil.unpack_archive(archive, tmp_path, filter="data")
    again = build_wheel(tmp_path / archive.name.removesuffix(".tar.gz"), tmp_path / "wheel")

    def contents(path: Path) -> dict[str, bytes]:
        with zipfile.ZipFile(path) as file:
            return {name: file.read(name) for name in file.namelist()}

    assert contents(again) == contents(wheel)


def test_the_installed_package_finds_its_own_files(bin_folder: Path, tmp_path: Path) -> None:
    """Even where the current folder has others of these names."""
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "walk_flat.yaml").write_text("no: task", "utf-8")
    code = (
        "from legged_gym_ext import paths, tasks; from legged_gym_ext.config.files import load_config\n"
        "robot = paths.resolve(load_config('walk_flat', []).robot.urdf)\n"
        "print(paths.__file__, robot, paths.LOGS, *tasks.task_names(), sep='\\n')"
    )
    module, robot, logs, *tasks = run(bin_folder / "python", "-c", code, cwd=tmp_path).splitlines()
    assert Path(module).is_relative_to(bin_folder.parent)
    assert robot.startswith(str(Path(module).parent))
    assert Path(robot).read_bytes() == resolve("resources/robots/biped10/biped10.urdf").read_bytes()
    assert Path(logs) == Path("logs")  # of the current folder
    assert tasks == sorted(path.stem for path in CONFIGS.glob("*.yaml"))


def test_the_installed_package_has_what_goes_into_an_exported_folder(bin_folder: Path, tmp_path: Path) -> None:
    code = (
        "from legged_gym_ext.deploy import document, folder\n"
        "print(folder.RUNTIME.is_file(), (folder.CPP / 'main.cpp').is_file(), document.TEMPLATES.is_dir())\n"
        "print(folder.licence(), end='')"
    )
    there, licence = run(bin_folder / "python", "-c", code, cwd=tmp_path).split("\n", 1)
    assert there == "True True True"
    assert licence == (ROOT / "LICENSE").read_text("utf-8")
    assert run(bin_folder / "legged-gym-export", "--help", cwd=tmp_path).startswith("usage: legged-gym-export ")
    assert run(bin_folder / "legged-gym-runs", cwd=tmp_path) == "no run in 'logs'\n"


def test_the_installed_commands_train_and_play_in_the_current_folder(bin_folder: Path, tmp_path: Path) -> None:
    train, play = bin_folder / "legged-gym-train", bin_folder / "legged-gym-play"
    size = ("runner.num_steps_per_env=4", "teacher.hidden_dims=[16]")
    trained = run(train, "--task=walk_flat", "--max_iterations=1", "--logger=none", *TINY, *size, cwd=tmp_path)
    (folder,) = (tmp_path / "logs" / "walk_flat").iterdir()
    assert str(folder.relative_to(tmp_path)) in trained
    assert {"config.yaml", "model_1.pt"} <= {path.name for path in folder.iterdir()}

    played = run(play, "--load_run", "--episodes=2", *TINY, cwd=tmp_path)
    assert str(folder.relative_to(tmp_path) / "model_1.pt") in played
    assert any(line.split()[:2] == ["flat", "2"] for line in played.splitlines())
    assert run(play, "--help", cwd=tmp_path).startswith("usage: legged-gym-play ")


def test_an_editable_installation_uses_the_checkouts_files(source: Path, tmp_path: Path) -> None:
    venv.create(tmp_path / "environment", symlinks=os.name != "nt")
    python = tmp_path / "environment" / ("Scripts" if os.name == "nt" else "bin") / "python"
    own = run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=tmp_path)
    needed = [entry for entry in sys.path if Path(entry).name in ("site-packages", "dist-packages")]
    (Path(own.strip()) / "needed.pth").write_text("\n".join(needed) + "\n", "utf-8")
    pip = (sys.executable, "-m", "pip", "--python", python, "install", "--ignore-installed", "--no-deps", "--no-index")
    run(*pip, "--no-build-isolation", "--editable", source, cwd=tmp_path)
    code = "from legged_gym_ext import paths, tasks; print(paths.ROOT, paths.LOGS, *tasks.task_names())"
    root, logs, *tasks = run(python, "-c", code, cwd=tmp_path).split()
    assert (Path(root), Path(logs)) == (source, source / "logs")
    assert tasks == sorted(path.stem for path in CONFIGS.glob("*.yaml"))

"""Set-up: what is pinned, what the Makefile does again and what it does not, and what a wrong Python gets."""

from __future__ import annotations

import json
import os
import re
import runpy
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from legged_gym_ext import __version__
from legged_gym_ext.paths import ROOT

FAKE_PYTHON = """#!/bin/bash
# A stand-in for Python: notes each call; `-m venv --clear FOLDER` copies it to FOLDER.
echo "$*" >> {log}
case "$*" in
    "-m venv --clear "*) mkdir -p "${{@: -1}}/bin" && cp "$0" "${{@: -1}}/bin/python" ;;
    -c*) exit {check} ;;
    --version) echo "Python {version}" ;;
esac
"""


def run(*command: str, cwd: Path) -> subprocess.CompletedProcess:
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """The files that set-up needs, without an environment."""
    if shutil.which("make") is None:
        pytest.skip("no make on this machine")
    for name in ("Makefile", "setup.py", "pyproject.toml", "constraints.txt", "train.py"):
        shutil.copy(ROOT / name, tmp_path)
    shutil.copytree(ROOT / ".ci", tmp_path / ".ci")
    return tmp_path


def fake_python(folder: Path, name: str = "python", check: int = 0, version: str = "3.12.1") -> Path:
    path = folder / name
    path.write_text(FAKE_PYTHON.format(log=folder / "calls", check=check, version=version), "utf-8")
    path.chmod(0o755)
    return path


def calls(checkout: Path) -> list[str]:
    """Return what the stand-in did since last asked, its checks left out."""
    log = checkout / "calls"
    lines = log.read_text("utf-8").splitlines() if log.exists() else []
    log.unlink(missing_ok=True)
    return [line for line in lines if not line.startswith(("-c", "--version"))]


def kinds(lines: list[str]) -> list[str]:
    return [" ".join(line.split()[:2]) for line in lines]


def test_make_train_sets_up_once_and_passes_the_arguments(checkout: Path) -> None:
    python = fake_python(checkout)
    assert run("make", "train", f"PYTHON={python}", "ARGS=--num_envs=2 distill.start=1", cwd=checkout).returncode == 0
    first = calls(checkout)
    assert kinds(first) == ["-m venv", "-m pip", "train.py --task=parkour_depth"]
    assert "-c constraints.txt" in first[1]
    assert first[2] == "train.py --task=parkour_depth --num_envs=2 distill.start=1"

    assert run("make", "train", cwd=checkout).returncode == 0
    assert kinds(calls(checkout)) == ["train.py --task=parkour_depth"]


def test_make_installs_again_when_the_requirements_change(checkout: Path) -> None:
    python = fake_python(checkout)
    run("make", "train", f"PYTHON={python}", cwd=checkout)
    calls(checkout)
    stamp = checkout / ".venv" / ".installed"
    newer = stamp.stat().st_mtime + 10
    os.utime(checkout / "constraints.txt", (newer, newer))
    run("make", "train", cwd=checkout)
    assert kinds(calls(checkout)) == ["-m pip", "train.py --task=parkour_depth"]


def test_test_tools_are_added_to_the_same_environment(checkout: Path) -> None:
    python = fake_python(checkout)
    run("make", "train", f"PYTHON={python}", cwd=checkout)
    calls(checkout)
    assert run("make", "test", "ARGS=-m 'not slow'", cwd=checkout).returncode == 0
    lines = calls(checkout)
    assert kinds(lines) == ["-m pip", "-m pytest"]
    assert ".[test]" in lines[0]
    run("make", "train", cwd=checkout)
    assert kinds(calls(checkout)) == ["train.py --task=parkour_depth"]


def test_a_training_that_fails_makes_make_fail(checkout: Path) -> None:
    python = fake_python(checkout)
    python.write_text(python.read_text("utf-8") + '[ "$1" != train.py ]\n', "utf-8")
    assert run("make", "train", f"PYTHON={python}", cwd=checkout).returncode != 0


@pytest.mark.parametrize(("version", "found"), [("3.8.10", "Python 3.8.10"), (None, "none")])
def test_old_or_missing_python_is_one_clear_line(version: str | None, found: str, checkout: Path) -> None:
    python = checkout / "nothing"
    if version:
        python = fake_python(checkout, "old", check=1, version=version)
    done = run(".ci/venv", ".venv", str(python), cwd=checkout)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("error: need Python >= 3.11")
    assert f"found: {found};" in done.stderr
    assert "PYTHON=" in done.stderr
    assert not (checkout / ".venv").exists()


def test_a_python_that_works_is_looked_for(checkout: Path) -> None:
    """An old python3 and a stub of python3.13 (pyenv's) are passed over; python3.12 is taken."""
    fake_python(checkout, "python3", check=1, version="3.9.2")
    fake_python(checkout, "python3.13", check=127)
    fake_python(checkout, "python3.12")
    done = run("env", f"PATH={checkout}:/usr/bin:/bin", ".ci/venv", ".venv", cwd=checkout)
    assert (done.returncode, done.stderr) == (0, "")
    assert kinds(calls(checkout)) == ["-m venv"]
    assert (checkout / ".venv/bin/python").read_text("utf-8") == (checkout / "python3.12").read_text("utf-8")


def test_the_surroundings_of_isaac_gym_are_set_up_where_there_is_a_python_38(checkout: Path) -> None:
    (checkout / "tests" / "doubles").mkdir(parents=True)
    shutil.copy(ROOT / "tests/doubles/requirements.txt", checkout / "tests/doubles")
    python = fake_python(checkout, "python3.8", version="3.8.18")
    python.write_text(python.read_text("utf-8").replace("-c*) exit", '-c*) echo "$0"; exit'), "utf-8")
    path = f"PATH={checkout}:/usr/bin:/bin"
    assert run("env", path, "make", "gym", cwd=checkout).returncode == 0
    lines = calls(checkout)
    assert "-m venv --clear .venv38" in lines
    assert lines[-1].endswith("--no-deps -r tests/doubles/requirements.txt")
    assert run("env", path, "make", "gym", cwd=checkout).returncode == 0
    assert not [line for line in calls(checkout) if line.startswith("-m")]


def test_without_a_python_38_that_is_said_and_nothing_fails(checkout: Path) -> None:
    fake_python(checkout, "python3.8", check=1, version="3.8.18")  # pyenv's stub of one that is switched off
    # Make may be what runs the tests, and would then name the folder that another of it is in.
    clean = ("-u", "MAKEFLAGS", "-u", "MAKELEVEL", f"PATH={checkout}:/usr/bin:/bin")
    done = run("env", *clean, "make", "gym", cwd=checkout)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("no Python 3.8 here") and not (checkout / ".venv38").exists()


FAKE_UV = """#!/bin/bash
# A stand-in for uv: notes each call; `venv ... FOLDER` puts the stand-in for Python there.
echo "uv $*" >> {log}
case "$*" in
    "venv "*) mkdir -p "${{@: -1}}/bin" && cp {python} "${{@: -1}}/bin/python" ;;
esac
"""


def fake_uv(checkout: Path) -> str:
    """Set up the tools, with stand-ins for uv and for some versions of Python; return the PATH where those are."""
    for version in ("3.11", "3.12"):
        python = fake_python(checkout, f"python{version}")
        python.write_text(python.read_text("utf-8").replace("-c*) exit", '-c*) echo "$0"; exit'), "utf-8")
    tools = checkout / ".venv-tools"
    (tools / "bin").mkdir(parents=True)
    uv = tools / "bin" / "uv"
    uv.write_text(FAKE_UV.format(log=checkout / "calls", python=checkout / "python3.12"), "utf-8")
    uv.chmod(0o755)
    (tools / ".installed").touch()
    return f"PATH={checkout}:/usr/bin:/bin"


@pytest.mark.parametrize(("which", "resolution"), [("oldest", "lowest-direct"), ("newest", "highest")])
def test_the_ends_of_the_ranges_are_tested_in_environments_of_their_own(
    which: str, resolution: str, checkout: Path
) -> None:
    path, python = fake_uv(checkout), checkout / "python3.12"
    command = ("env", path, "make", f"test-{which}", "PYTHON=3.12", "ARGS=-k 'one or two'")
    assert run(*command, cwd=checkout).returncode == 0
    lines = calls(checkout)
    folder = f".venv-{which}-3.12"
    assert kinds(lines) == ["uv venv", "uv pip", "uv pip", "uv pip", "-m pytest"]
    assert lines[0].endswith(f"--python {python} {folder}")
    assert f"--resolution {resolution} --extra test setup.py" in lines[1]
    assert all(f"--python {folder} " in line for line in lines[1:4])
    assert lines[2].startswith("uv pip sync") and lines[2].endswith(f"{folder}/requirements.txt")
    assert lines[4] == "-m pytest --numprocesses=2 -k one or two"

    (checkout / ".venv-tools/bin/uv").write_text("#!/bin/bash\nexit 1\n", "utf-8")
    assert run(*command, cwd=checkout).returncode != 0
    assert calls(checkout) == []  # nothing is tested with versions that could not be had


def requirements_of_setup(monkeypatch: pytest.MonkeyPatch) -> dict:
    captured: dict = {}
    monkeypatch.setattr("setuptools.setup", lambda **arguments: captured.update(arguments))
    source = (ROOT / "setup.py").read_text("utf-8")
    exec(compile(source, "setup.py", "exec"), {"__file__": str(ROOT / "setup.py")})
    return captured


def pins(name: str) -> dict[str, str]:
    """Return the versions that a file of requirements pins, by canonical name."""
    found = re.findall(r"^([\w.-]+)==([^\s;]+)", (ROOT / name).read_text("utf-8"), re.MULTILINE)
    assert len(found) == len(dict(found)) > 10
    return {canonicalize_name(name): version for name, version in found}


def all_required(monkeypatch: pytest.MonkeyPatch) -> list[Requirement]:
    arguments = requirements_of_setup(monkeypatch)
    required = [Requirement(text) for text in arguments["install_requires"]]
    return required + [Requirement(text) for extra in arguments["extras_require"].values() for text in extra]


@pytest.mark.parametrize("name", ["constraints.txt", "requirements.lock"])
def test_everything_required_is_pinned_to_a_version_in_range(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pinned, required = pins(name), all_required(monkeypatch)
    assert len(required) > 10
    for requirement in required:
        version = pinned[canonicalize_name(requirement.name)]
        assert requirement.specifier, f"{requirement.name} has no range"
        assert requirement.specifier.contains(version), f"{requirement} leaves out {version}"


def test_the_lock_has_what_constraints_pin_and_besides_it_what_torch_needs_on_gpus() -> None:
    """And of every version the hashes of its files, but not where they are to be had. Mend it with: make lock."""
    locked, pinned = pins("requirements.lock"), pins("constraints.txt")
    assert {name: locked.get(name) for name in pinned} == pinned
    more = set(locked) - set(pinned)
    assert all(name == "triton" or name.startswith(("nvidia-", "cuda-")) for name in more), sorted(more)
    entries = re.split(r"^(?=\w)", (ROOT / "requirements.lock").read_text("utf-8"), flags=re.MULTILINE)[1:]
    assert len(entries) == len(locked)
    for entry in entries:
        first, *hashes = entry.split(" \\\n")
        assert re.fullmatch(r"[\w.-]+==\S+", first), first
        assert hashes and all(re.fullmatch(r"    --hash=sha256:[0-9a-f]{64}\n?", line) for line in hashes), first


def test_make_locked_installs_only_what_has_the_hashes_of_the_lock(checkout: Path) -> None:
    path = fake_uv(checkout)
    assert run("env", path, "make", "locked", cwd=checkout).returncode == 0
    create, sync, ours = calls(checkout)
    assert create.startswith("uv venv") and create.endswith(" .venv-locked")
    assert sync.startswith("uv pip sync") and sync.endswith("--require-hashes requirements.lock")
    assert "--no-deps --no-build-isolation" in ours  # nothing is loaded besides

    (checkout / ".venv-tools/bin/uv").write_text('#!/bin/bash\n[ "$2" != sync ]\n', "utf-8")
    assert run("env", path, "make", "locked", cwd=checkout).returncode != 0


def test_the_package_is_described_in_one_place(monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = requirements_of_setup(monkeypatch)
    assert arguments["version"] == __version__
    packages = {
        str(path.parent.relative_to(ROOT)).replace("/", ".") for path in ROOT.glob("legged_gym_ext/**/__init__.py")
    }
    assert set(arguments["packages"]) == packages | set(arguments["package_dir"])
    assert arguments["package_dir"] == {"legged_gym_ext.configs": "configs", "legged_gym_ext.resources": "resources"}
    assert "project" not in tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))


def test_every_folder_of_modules_is_a_package() -> None:
    folders = {path.parent for path in ROOT.glob("legged_gym_ext/**/*.py")}
    assert all((folder / "__init__.py").is_file() for folder in folders)


def test_no_file_of_the_set_up_names_a_registry() -> None:
    scripts = [f".ci/{path.name}" for path in (ROOT / ".ci").iterdir()]
    for name in (
        "setup.py",
        "pyproject.toml",
        "constraints.txt",
        "requirements.lock",
        "MANIFEST.in",
        "Makefile",
        *scripts,
    ):
        assert not re.search(r"https?://|index-url", (ROOT / name).read_text("utf-8")), name


def test_what_says_where_runs_go_comes_with_a_clone_and_is_no_run() -> None:
    assert (ROOT / "logs" / "README.md").is_file()
    if not (ROOT / ".git").exists() or shutil.which("git") is None:
        pytest.skip("no git checkout")
    files = ("logs/README.md", "logs/walk_flat/2026-01-01_00-00-00/model_1.pt", "logs/terrain.png")
    done = subprocess.run(["git", "check-ignore", *files], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stdout.splitlines() == list(files[1:])


def onnxruntime(checkout: Path, library: Path | str, **variables: str) -> tuple[int, str]:
    """Run .ci/onnxruntime with a Python whose package has this library; return its exit code and what it printed."""
    python = checkout / "python_with_package"
    python.write_text(f"#!/bin/bash\necho {library}\n", "utf-8")
    python.chmod(0o755)
    command = (checkout / ".ci" / "onnxruntime", checkout / "out", python)
    done = subprocess.run(command, env=os.environ | variables, capture_output=True, text=True, check=False)
    assert done.stderr == ""
    return done.returncode, done.stdout


def test_onnx_runtime_for_cpp_links_the_package_of_today(checkout: Path) -> None:
    """Headers that are there are not loaded again."""
    (checkout / "out" / "include").mkdir(parents=True)
    (checkout / "out" / "include" / "onnxruntime_cxx_api.h").touch()
    for version in ("1.30.0", "1.31.0"):
        library = checkout / f"libonnxruntime.so.{version}"
        library.write_text(version, "utf-8")
        assert onnxruntime(checkout, library, PATH=no_npm(checkout)) == (0, "")
        for name in ("libonnxruntime.so", "libonnxruntime.so.1"):
            assert (checkout / "out" / "lib" / name).read_text("utf-8") == version


def no_npm(checkout: Path, npm: str = "") -> str:
    """Return a PATH without npm, or with another one."""
    folder = checkout / "tools"
    folder.mkdir(exist_ok=True)
    for tool in ("bash", "env", "mkdir", "ln", "mktemp", "rm", "mv", "cp", "tar", "gzip", "timeout", "sha512sum"):
        path = shutil.which(tool)
        assert path, tool
        (folder / tool).unlink(missing_ok=True)
        (folder / tool).symlink_to(path)
    if npm:
        (folder / "npm").write_text(f"#!/bin/bash\n{npm}\n", "utf-8")
        (folder / "npm").chmod(0o755)
    return str(folder)


@pytest.mark.parametrize(
    ("npm", "problem"),
    [
        ("", "its headers come with npm, which is not here"),
        ("echo registry out of order >&2; exit 1", "npm could not load @qvac/onnx@"),
        ("echo another package > package.tgz", r"@qvac/onnx@\S+ is not what it was"),
    ],
)
def test_without_onnx_runtime_for_cpp_one_line_says_why(checkout: Path, npm: str, problem: str) -> None:
    library = checkout / "libonnxruntime.so.1.30.0"
    library.touch()
    code, printed = onnxruntime(checkout, library, PATH=no_npm(checkout, npm))
    assert code == 1
    assert re.match(f"no ONNX Runtime for C\\+\\+: {problem}", printed)
    assert printed.count("\n") == 1
    assert not (checkout / "out").exists()


def test_make_cpp_goes_on_without_onnx_runtime(checkout: Path) -> None:
    done = run("make", "--no-print-directory", "cpp", f"PYTHON={fake_python(checkout)}", cwd=checkout)
    assert done.returncode == 0
    assert done.stdout.splitlines()[-1] == (
        "no ONNX Runtime for C++: this system's package onnxruntime has no library for C++; "
        "the test of the C++ example is skipped"
    )


def dependencies_script() -> dict:
    return runpy.run_path(str(ROOT / ".ci" / "dependencies.py"))


def test_documented_dependencies_are_those_of_the_lock() -> None:
    """Mend it with: make sbom."""
    script = dependencies_script()
    document = json.loads((ROOT / "docs" / "sbom.cdx.json").read_text("utf-8"))
    assert document["bomFormat"] == "CycloneDX"
    components = {canonicalize_name(component["name"]): component for component in document["components"]}
    assert {name: component["version"] for name, component in components.items()} == pins("requirements.lock")
    assert len(components) == len(document["components"])
    for component in components.values():
        assert component["purl"] == f"pkg:pypi/{canonicalize_name(component['name'])}@{component['version']}"
        assert len(component["licenses"]) == 1
    assert (ROOT / "docs" / "dependencies.md").read_text("utf-8") == script["table"](document)


def test_licences_are_told_as_the_packages_state_them() -> None:
    licence = dependencies_script()["licence"]
    assert licence({"license_expression": "MIT OR Apache-2.0", "license": "MIT"}) == "MIT OR Apache-2.0"
    assert (
        licence({"license": "BSD-3-Clause", "classifier": ["License :: OSI Approved :: BSD License"]}) == "BSD-3-Clause"
    )
    long = {"license": "Permission is hereby granted, " * 9, "classifier": ["License :: OSI Approved :: MIT License"]}
    assert licence(long) == "MIT License"
    assert licence({"license": "UNKNOWN"}) == licence({}) == "not stated"


@pytest.mark.parametrize(
    ("text", "wants"),
    [
        ("GPL-3.0-or-later", True),
        ("LGPLv2+", True),
        ("MPL-2.0", True),
        ("CC-BY-NC-4.0", True),
        ("LicenseRef-NVIDIA-Proprietary", True),
        ("Other/Proprietary License", True),
        ("not stated", True),
        ("MIT", False),
        ("Apache-2.0 AND CNRI-Python", False),
        ("BSD-3-Clause", False),
    ],
)
def test_licences_that_want_attention_are_pointed_out(text: str, wants: bool) -> None:
    component = {"bom-ref": "a", "name": "a", "version": "1", "licenses": [{"license": {"name": text}}]}
    page = dependencies_script()["table"]({"components": [component], "dependencies": []})
    assert page.count(f"| a | {text} |") == wants
    assert page.count(f"| a | 1 | {text} |") == 1

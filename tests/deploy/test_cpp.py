"""The C++ example (legged_gym_ext/deploy/cpp): it plays golden steps, tells what differs, and survives bad files."""

from __future__ import annotations

import io
import os
import random
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import random_export
from small_folder import SmallPolicy, write_small_folder

from legged_gym_ext.paths import ROOT

SOURCES = ROOT / "legged_gym_ext" / "deploy" / "cpp"
ONNXRUNTIME = Path(os.environ.get("ONNXRUNTIME_ROOT") or Path(sys.prefix) / "onnxruntime")
"""ONNX Runtime for C++, with its headers; here that of ``make cpp``."""
ROUNDS = 5

needs_onnxruntime = pytest.mark.skipif(
    not (ONNXRUNTIME / "include" / "onnxruntime_cxx_api.h").is_file() or not shutil.which("cmake"),
    reason=f"needs cmake and ONNX Runtime for C++ in {ONNXRUNTIME} (make cpp), or in ONNXRUNTIME_ROOT",
)
needs_compiler = pytest.mark.skipif(not shutil.which("c++"), reason="needs a C++ compiler")


def run(*command: str | Path) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name not in ("CXXFLAGS", "ONNXRUNTIME_ROOT")}
    return subprocess.run(
        command, env=environment, capture_output=True, encoding="utf-8", errors="replace", timeout=300
    )


def build(*command: str | Path) -> None:
    done = run(*command)
    assert done.returncode == 0, done.stdout + done.stderr


# The whole program


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a student with random weights."""
    folder = tmp_path_factory.mktemp("exported") / "out"
    random_export.write(folder, random_export.small_student_config("gait_phase"), steps=30)
    return folder


@pytest.fixture(scope="module")
def program(exported: Path) -> Path:
    """The example, built in an exported folder as its README says, but warnings are errors."""
    source, folder = exported / "cpp", exported / "cpp" / "build"
    build("cmake", "-S", source, "-B", folder, f"-DONNXRUNTIME_ROOT={ONNXRUNTIME}", "-DCMAKE_CXX_FLAGS=-Werror")
    build("cmake", "--build", folder)
    return folder / "play_golden"


@needs_onnxruntime
def test_it_plays_what_was_exported(program: Path, exported: Path) -> None:
    done = run(program, exported)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout


@needs_onnxruntime
def test_onnxruntime_tells_nobody_what_it_runs(
    program: Path, exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would leave an identifier and what it has to tell in the user's cache."""
    for name in ("CI", "ORT_DISABLE_TELEMETRY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert run(program, exported).returncode == 0
    assert not list(tmp_path.rglob("*"))


class Folder:
    """A folder with a random policy, and ways to spoil it."""

    def __init__(self, path: Path, policy: SmallPolicy) -> None:
        self.path, self.policy = path, policy

    def golden(self) -> dict[str, np.ndarray]:
        with np.load(self.path / "golden.npz") as file:
            return dict(file)

    def write_golden(self, **changes: Any) -> None:
        """Replace arrays of the golden steps; None = leave it out."""
        arrays = {name: array for name, array in {**self.golden(), **changes}.items() if array is not None}
        np.savez(self.path / "golden.npz", **arrays)  # pyright: ignore[reportArgumentType]

    def change_model(self, name: str, change: Callable[[onnx.ModelProto], object]) -> None:
        model = onnx.load(self.path / f"{name}.onnx")
        change(model)
        onnx.save(model, self.path / f"{name}.onnx")


def make_folder(path: Path, **options: Any) -> Folder:
    folder = Folder(path, write_small_folder(path, **options))
    names = ",".join(folder.policy.specification["robot"]["joint_names"])
    for part in ("depth_encoder", "student_actor"):
        folder.change_model(part, lambda model: onnx.helper.set_model_props(model, {"joint_names": names}))
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return make_folder(tmp_path / "policy", seed=3)


@needs_onnxruntime
@pytest.mark.parametrize("memory", [True, False])
def test_it_plays_golden_steps(program: Path, tmp_path: Path, memory: bool) -> None:
    folder = make_folder(tmp_path / "policy", memory=memory, gait=memory, rows=9, columns=7, steps=47)
    done = run(program, folder.path)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    golden = folder.golden()
    assert "47 steps" in done.stdout
    assert "the same as in training" in done.stdout
    for name in ("joint_targets", "next_actions", *["h_out"] * memory):
        (worst,) = re.findall(rf"^  {name} +(\S+) at step", done.stdout, re.M)
        assert float(worst) < 1e-5
    assert ("gait_phase (2)" in done.stdout) == ("h_out" in done.stdout) == memory
    # Steps with a new frame are the only ones that run the encoder.
    counts = re.findall(r"^  (with .*?|all) {2,}(\d+)(?: +(\d+\.\d+)){3}$", done.stdout, re.M)
    assert [int(count) for _, count, _ in counts] == [
        ROUNDS * len(golden["depth"]),
        ROUNDS * (47 - len(golden["depth"])),
        ROUNDS * 47,
    ]


def changed(array: np.ndarray, place: tuple[int, ...], by: float) -> np.ndarray:
    copy = array.copy()
    copy[place] += np.float32(by)
    return copy


@needs_onnxruntime
@pytest.mark.parametrize(
    ("name", "by", "told"),
    [
        ("joint_targets", 3e-4, r"joint_targets +3\.00e-04 at step 31, {joint} .* DIFFERS"),
        ("joint_targets", np.nan, r"joint_targets +inf at step 31, {joint} .* DIFFERS"),
        ("joint_targets", 5e-5, ""),
        ("next_actions", -3e-3, r"next_actions +3\.00e-03 at step 31, {joint} .* DIFFERS"),
        ("h_out", 3e-3, r"h_out +3\.00e-03 at step 31, number 4 .* DIFFERS"),
    ],
)
def test_one_changed_number_is_told(program: Path, folder: Folder, name: str, by: float, told: str) -> None:
    array = folder.golden()[name]
    place = (31, *[0] * (array.ndim - 2), 4)
    folder.write_golden(**{name: changed(array, place, by)})
    done = run(program, folder.path)
    assert done.returncode == bool(told)
    assert done.stdout.count("DIFFERS") == bool(told)
    assert re.search(told.format(joint=folder.policy.specification["robot"]["joint_names"][4]), done.stdout)
    assert done.stderr == ""


@needs_onnxruntime
@pytest.mark.parametrize("name", ["depth", "frame", "reset", "base_ang_vel", "joint_pos", "actions"])
def test_every_input_counts(program: Path, folder: Folder, name: str) -> None:
    """Were an input, a held frame or a reset not used, a change of it would not be noticed."""
    array = folder.golden()[name]
    if name == "frame":
        array[-3:] -= 1
    elif name == "reset":
        array[20] = True
    else:
        array[len(array) // 2] += 0.5
    folder.write_golden(**{name: array})
    assert run(program, folder.path).returncode == 1


def unfix(model: onnx.ModelProto) -> None:
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_param = "batch"


Spoil = Callable[[Folder], object]
SPOILT: dict[str, tuple[Spoil, str]] = {
    "no folder": (lambda folder: shutil.rmtree(folder.path), r"golden\.npz: no such file"),
    "no golden steps": (lambda folder: (folder.path / "golden.npz").unlink(), r"golden\.npz: no such file"),
    "a model missing": (
        lambda folder: (folder.path / "student_actor.onnx").unlink(),
        r"student_actor\.onnx: no such file",
    ),
    "no ONNX": (lambda folder: (folder.path / "depth_encoder.onnx").write_text("model"), r"depth_encoder\.onnx.*"),
    "golden steps cut off": (
        lambda folder: os.truncate(folder.path / "golden.npz", 20000),
        r"golden\.npz: not a \.npz file, or cut off \(no zip directory\)",
    ),
    "an array missing": (lambda folder: folder.write_golden(joint_vel=None), r"golden\.npz: has no array 'joint_vel'"),
    "an array too small": (
        lambda folder: folder.write_golden(joint_vel=folder.golden()["joint_vel"][:, 1:]),
        r"golden\.npz: 'joint_vel' is 60 x 9, but the model's 'joint_vel' takes 60 x 10 numbers",
    ),
    "too few resets": (
        lambda folder: folder.write_golden(reset=folder.golden()["reset"][1:]),
        r"golden\.npz: 'frame' and 'reset' must have one entry for each step",
    ),
    "no steps": (
        lambda folder: folder.write_golden(reset=np.zeros(0, bool), frame=np.zeros(0, np.int64)),
        r"golden\.npz: 'frame' and 'reset' must have one entry for each step",
    ),
    "a frame that is not there": (
        lambda folder: folder.write_golden(frame=folder.golden()["frame"] + 1),
        r"golden\.npz: 'frame' has 13, but 'depth' has 13 frames",
    ),
    "a negative frame": (
        lambda folder: folder.write_golden(frame=folder.golden()["frame"] - 1),
        r"golden\.npz: 'frame' has -1, but 'depth' has 13 frames",
    ),
    "a batch of any size": (
        lambda folder: folder.change_model("depth_encoder", unfix),
        r"depth_encoder\.onnx: input 'depth' has no fixed shape; export for a batch of 1",
    ),
    "no metadata": (
        lambda folder: folder.change_model("student_actor", lambda model: model.ClearField("metadata_props")),
        r"student_actor\.onnx: its metadata has no 'joint_names'; not a policy that legged_gym_ext exported\?",
    ),
    "a joint's name missing": (
        lambda folder: folder.change_model(
            "student_actor", lambda model: onnx.helper.set_model_props(model, {"joint_names": "hip,knee"})
        ),
        r"student_actor\.onnx: 2 joint names for 10 joint targets",
    ),
    "another model": (
        lambda folder: shutil.copy(folder.path / "policy.onnx", folder.path / "depth_encoder.onnx"),
        r"depth_encoder\.onnx: nothing called 'features' among: joint_targets, next_actions, h_out",
    ),
}


@needs_onnxruntime
@pytest.mark.parametrize("what", SPOILT)
def test_bad_folders_are_one_clear_line(program: Path, folder: Folder, what: str) -> None:
    spoil, told = SPOILT[what]
    spoil(folder)
    done = run(program, folder.path)
    assert (done.returncode, done.stdout) == (2, "")
    assert re.fullmatch(f"error: .*{told}\n", done.stderr), done.stderr


@needs_onnxruntime
def test_without_a_folder_it_says_what_it_needs(program: Path) -> None:
    for arguments in ((), ("one", "two")):
        done = run(program, *arguments)
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.startswith("usage: play_golden FOLDER ")


@pytest.mark.skipif(not shutil.which("cmake"), reason="needs cmake")
def test_a_build_without_onnx_runtime_says_so(tmp_path: Path) -> None:
    nothing = [f"-DCMAKE_FIND_ROOT_PATH={tmp_path}", "-DCMAKE_FIND_ROOT_PATH_MODE_INCLUDE=ONLY"]
    done = run("cmake", "-S", SOURCES, "-B", tmp_path / "build", *nothing)
    assert done.returncode != 0
    assert "ONNX Runtime for C++ not found: give -DONNXRUNTIME_ROOT=..." in " ".join(done.stderr.split())


# Its reader of .npz files alone, which needs no ONNX Runtime, with the compiler's checks of memory and arithmetic


Reader = Callable[..., list[str]]


@pytest.fixture(scope="module")
def read(tmp_path_factory: pytest.TempPathFactory) -> Reader:
    """A function of arrays ("f:depth,i:frame") and files: for each file, lines of its arrays, or one: its failure."""
    program = tmp_path_factory.mktemp("reader") / "read_npz"
    checks = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all")
    files = (Path(__file__).with_name("read_npz.cpp"), SOURCES / "npz.cpp")
    build("c++", "-std=c++17", "-g", "-Wall", "-Wextra", "-Werror", *checks, f"-I{SOURCES}", *files, "-o", program)

    def read(arrays: str, *files: Path) -> list[str]:
        done = run(program, arrays, *files)
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout.splitlines()

    return read


def random_arrays(rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Arrays of all types and of 0 to 4 axes, none among them empty."""
    arrays: dict[str, np.ndarray] = {}
    for i in range(8):
        shape = tuple(rng.integers(0 if i == 7 else 1, 5, size=i % 5))
        arrays[f"f{i}"] = np.asarray(rng.normal(size=shape), np.float32)
        arrays[f"i{i}"] = rng.integers(-(2**62), 2**62, size=shape)
        arrays[f"b{i}"] = np.asarray(rng.random(shape) < 0.5)
    return arrays


def wanted(arrays: dict[str, np.ndarray]) -> str:
    return ",".join(f"{'f' if array.dtype == np.float32 else 'i'}:{name}" for name, array in arrays.items())


def assert_same(lines: list[str], arrays: dict[str, np.ndarray]) -> None:
    assert len(lines) == len(arrays), lines
    for line, array in zip(lines, arrays.values(), strict=True):
        shape, values = line.split(":")
        assert tuple(map(int, shape.split())) == array.shape
        read = np.array(values.split(), np.float32 if array.dtype == np.float32 else np.int64)
        np.testing.assert_array_equal(read, array.reshape(-1).astype(read.dtype))


@needs_compiler
def test_it_reads_what_numpy_writes(read: Reader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(1)
    arrays = random_arrays(rng)
    np.savez(tmp_path / "plain.npz", **arrays)  # pyright: ignore[reportArgumentType]
    assert_same(read(wanted(arrays), tmp_path / "plain.npz"), arrays)

    # What Python writes of files beyond 4 GiB: sizes and offsets in zip64's fields. And: other versions of .npy, a
    # field and comments that nobody knows, a file that is no array.
    monkeypatch.setattr(zipfile, "ZIP64_LIMIT", 200)
    with zipfile.ZipFile(tmp_path / "large.npz", "w") as file:
        for i, (name, array) in enumerate(arrays.items()):
            buffer = io.BytesIO()
            np.lib.format.write_array(buffer, array, version=((1, 0), (2, 0), (3, 0))[i % 3])
            info = zipfile.ZipInfo(f"{name}.npy")
            info.extra, info.comment = b"\x99\x99\x03\x00abc" * (i % 2), b"PK\x05\x06"
            file.writestr(info, buffer.getvalue())
        file.writestr("readme.txt", "no array")
        file.comment = bytes(range(256)) * 100
    assert_same(read(wanted(arrays), tmp_path / "large.npz"), arrays)


LOCAL, DIRECTORY, END, ARRAY = b"PK\x03\x04", b"PK\x01\x02", b"PK\x05\x06", b"\x93NUMPY"
"""Where parts of a .npz file begin."""


def damaged(mark: bytes, offset: int, value: bytes, extra: bytes = b"") -> Callable[[Path], object]:
    """A function that writes a file with a value that is wrong, at an offset from a mark, and with an extra field."""

    def write(path: Path) -> None:
        array = io.BytesIO()
        np.save(array, np.zeros(99, np.float32))
        info = zipfile.ZipInfo("a.npy")
        info.extra = extra
        with zipfile.ZipFile(path, "w") as file:
            file.writestr(info, array.getvalue())
        content = bytearray(path.read_bytes())
        start = content.index(mark) + offset
        content[start : start + len(value)] = value
        path.write_bytes(content)

    return write


def with_npy(content: bytes) -> Callable[[Path], object]:
    return lambda path: zipfile.ZipFile(path, "w").writestr("a.npy", content)


def with_shape(shape: str) -> Callable[[Path], object]:
    header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}".encode()
    return with_npy(ARRAY + b"\x01\x00" + len(header).to_bytes(2, "little") + header)


BAD: dict[str, tuple[Callable[[Path], object], str]] = {
    "compressed": (
        lambda path: np.savez_compressed(path, a=np.zeros(99, np.float32)),
        "compressed: this reader takes what numpy.savez writes",
    ),
    "doubles": (
        lambda path: np.savez(path, a=np.zeros(3)),
        "'a' has numbers of type '<f8'; this reader knows <f4, <i8 and |b1",
    ),
    "whole numbers": (lambda path: np.savez(path, a=np.arange(3)), "'a' has numbers of type '<i8', not <f4"),
    "columns": (lambda path: np.savez(path, a=np.zeros((3, 2), np.float32).T), "'a' is not in C's order"),
    "fields": (
        lambda path: np.savez(path, a=np.zeros(3, [("x", "<f4")])),
        "'a' has a header that this reader does not know",
    ),
    "other": (lambda path: np.savez(path, b=np.zeros(3, np.float32)), "has no array 'a'"),
    "text": (with_npy(b"no array at all"), "'a' is not in the .npy format"),
    "npy": (
        lambda path: np.save(path.open("wb"), np.zeros(9, np.float32)),
        "not a .npz file, or cut off (no zip directory)",
    ),
    "value": (damaged(ARRAY, 200, b"x"), "damaged: wrong checksum of 'a.npy'"),
    "local header": (damaged(LOCAL, 3, b"x"), "damaged: wrong header of 'a.npy'"),
    "directory": (damaged(DIRECTORY, 3, b"x"), "damaged: wrong entry in its zip directory"),
    "sizes": (damaged(DIRECTORY, 20, b"x"), "damaged: two sizes of 'a.npy'"),
    "end": (damaged(END, 16, b"\x99\x99"), "damaged: a part of it lies beyond its end"),
    "huge": (damaged(END, 16, b"\xff" * 4), "larger than this reader takes (4 GiB)"),
    "encrypted": (damaged(DIRECTORY, 8, b"\x01"), "'a.npy' is encrypted"),
    "zip64 cut off": (
        damaged(DIRECTORY, 20, b"\xff" * 8, extra=b"\x01\x00\x08\x00" + bytes(8)),
        "damaged: wrong extra field of 'a.npy'",
    ),
    "zip64 too long": (
        damaged(DIRECTORY, 20, b"\xff" * 8, extra=b"\x01\x00\x11\x00" + bytes(16)),
        "damaged: wrong extra field of 'a.npy'",
    ),
    "half a field": (
        damaged(DIRECTORY, 20, b"\xff" * 8, extra=b"\x01\x00"),
        "damaged: a part of it lies beyond its end",
    ),
    "magic alone": (with_npy(ARRAY), "'a' is not in the .npy format"),
    "overflow": (
        with_shape("(4294967296, 4294967296)"),
        "'a' is not of the size that its shape 4294967296 x 4294967296 says",
    ),
    "digits": (with_shape("(99999999999999999999,)"), "'a' has a header that this reader does not know"),
    "no tuple": (with_shape("(3, x)"), "'a' has a header that this reader does not know"),
    "open tuple": (with_shape("(3, "), "'a' has a header that this reader does not know"),
    "empty": (lambda path: path.write_bytes(b""), "not a .npz file (too short)"),
    "folder": (lambda path: path.mkdir(), "no such file"),
}


@needs_compiler
def test_it_tells_what_it_cannot_read(read: Reader, tmp_path: Path) -> None:
    files = {name: tmp_path / f"{name}.npz" for name in BAD}
    for name, (write, _) in BAD.items():
        write(files[name])
    lines = read("f:a", *files.values())
    assert lines == [f"failure: {files[name]}: {told}" for name, (_, told) in BAD.items()]


def mutated(content: bytes, rng: random.Random) -> bytes:
    """Cut it off, or change bytes, most often those that say what is where."""
    if rng.random() < 0.15:
        return content[: rng.randrange(len(content))]
    changed = bytearray(content)
    structure = [match.start() for match in re.finditer(b"|".join((LOCAL, DIRECTORY, END, ARRAY)), content)]
    for _ in range(rng.choice((1, 1, 2, 5))):
        place = min(rng.choice(structure) + rng.randrange(100), len(content) - 1) if rng.random() < 0.8 else 0
        width = rng.choice((1, 1, 2, 4, 8))
        value = rng.choice((0, 1, 255, rng.randrange(256)))
        changed[place : place + width] = bytes([value]) * width
    return bytes(changed)


def with_checksums(content: bytes) -> bytes:
    """Write an archive anew, so that changes within its files pass the check of checksums."""
    rewritten = io.BytesIO()
    with zipfile.ZipFile(rewritten, "w") as file:
        file.writestr("a.npy", content)
    return rewritten.getvalue()


@needs_compiler
def test_mutated_files_are_read_or_refused(read: Reader, tmp_path: Path) -> None:
    """Never beyond their end: the program ends at once where it does so."""
    rng = random.Random(5)
    array = io.BytesIO()
    np.save(array, np.arange(12, dtype=np.float32).reshape(3, 4))
    whole = io.BytesIO()
    np.savez(whole, a=np.arange(12, dtype=np.float32).reshape(3, 4), b=np.zeros((2, 0), bool))
    files = []
    for i in range(600):
        content = with_checksums(mutated(array.getvalue(), rng)) if i % 2 else mutated(whole.getvalue(), rng)
        files.append(tmp_path / f"{i}.npz")
        files[-1].write_bytes(content)
    lines = read("f:a", *files)
    assert len(lines) == len(files)
    failures = [line for line in lines if line.startswith("failure: ")]
    assert 200 < len(failures) < 600
    told = {re.sub(r"'.*?'|\d+", "", line.split(".npz: ")[1]) for line in failures}
    assert len(told) > 8, told  # mutations that reach all checks, not only the first

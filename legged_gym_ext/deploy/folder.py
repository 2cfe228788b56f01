"""The folder of an exported policy: written whole or not at all."""

from __future__ import annotations

import hashlib
import io
import math
import os
import shutil
import tempfile
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.metadata import distribution
from pathlib import Path, PurePosixPath

import numpy as np
import torch
import yaml

from legged_gym_ext import paths
from legged_gym_ext.deploy import parity
from legged_gym_ext.deploy.document import readme
from legged_gym_ext.deploy.golden import RANGE_MARGIN, RATE_MARGIN, Golden, Seen
from legged_gym_ext.deploy.graphs import Graph, make_graphs, metadata, to_onnx, to_torchscript
from legged_gym_ext.deploy.plain import plain_networks, plain_policy
from legged_gym_ext.deploy.runtime import FORMAT, VERSION
from legged_gym_ext.deploy.specification import URDF, Specification, to_yaml
from legged_gym_ext.errors import UserError
from legged_gym_ext.models.student import Student

POLICY_FILE = "policy.yaml"
"""With the checksums of all others."""
CARD = "MODEL_CARD.md"
GOLDEN_FILE = "golden.npz"
RUNTIME, RUNTIME_FILE = Path(__file__).parent / "runtime.py", "policy_runtime.py"
CPP = Path(__file__).parent / "cpp"


@dataclass(frozen=True)
class Export:
    """What goes into a folder."""

    student: Student
    specification: Specification
    golden: Golden
    seen: Seen
    urdf: Path
    card: Path
    """The run's model card, which need not exist."""


def write(export: Export, folder: Path) -> None:
    """Write the folder, once everything in it has done what the student did.

    Raises:
        UserError: ``folder`` is in use or cannot be written; or the student's encoder cannot be exported; or something
            exported does not do what the student did.
    """
    encoder = export.student.encoder
    with encoder.exporting():
        graphs = make_graphs(export.student, export.specification)
    with replacing_folder(folder) as new:
        with encoder.exporting():
            _write_networks(export, graphs, new)
        _write_specification(export, new, {})  # which plain torch reads
        outputs = _verify(export, graphs, new)
        arrays = {"depth": export.golden.depth, "frame": export.golden.frame, "reset": export.golden.reset}
        (new / GOLDEN_FILE).write_bytes(_npz({**arrays, **export.golden.vectors, **outputs}))
        shutil.copyfile(RUNTIME, new / RUNTIME_FILE)
        shutil.copytree(CPP, new / "cpp", ignore=shutil.ignore_patterns("__pycache__", "build"))
        _copy_robot(export.urdf, new)
        (new / "LICENSE").write_text(licence(), "utf-8")
        if export.card.is_file():
            shutil.copyfile(export.card, new / CARD)
        (new / "README.md").write_text(_readme(export, graphs), "utf-8")
        _write_specification(export, new, checksums(new))


def is_exported(folder: Path) -> bool:
    """Return whether there is an exported policy."""
    try:
        content = yaml.safe_load((folder / POLICY_FILE).read_text("utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        return False
    return isinstance(content, dict) and content.get("format") == FORMAT


def require_free(folder: Path) -> None:
    """Raise a UserError where an export to ``folder`` would destroy anything but an exported policy, or must fail."""
    if folder.is_dir():
        if any(folder.iterdir()) and not is_exported(folder):
            raise UserError(f"--out {folder}: there is something in it that is no exported policy; give a new folder")
    elif folder.exists() or folder.is_symlink():
        raise UserError(f"--out {folder}: it is no folder")
    place = next(parent for parent in folder.absolute().parents if parent.exists())
    if not place.is_dir():
        raise UserError(f"--out {folder}: '{place}' is no folder")
    if not os.access(place, os.W_OK | os.X_OK):
        raise UserError(f"--out {folder}: nothing can be written in '{place}'")


@contextmanager
def replacing_folder(folder: Path) -> Iterator[Path]:
    """Give an empty folder to fill, which takes the place of ``folder`` once the context ends.

    Where it fails, ``folder`` is as it was, and nothing is left behind.

    Raises:
        UserError: ``folder`` holds something else than an exported policy, or cannot be written.
    """
    require_free(folder)
    folder = folder.resolve()
    parents: list[Path] = []
    temporary = None
    try:
        for parent in reversed([folder.parent, *folder.parent.parents]):
            if not parent.exists():
                parent.mkdir()
                parents.append(parent)
        temporary = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
        new, old = temporary / "new", temporary / "old"
        new.mkdir()
        yield new
        try:
            if folder.exists():
                os.replace(folder, old)
            os.replace(new, folder)
        except BaseException:
            if old.exists() and not folder.exists():
                os.replace(old, folder)
            raise
    except OSError as error:
        raise UserError(f"cannot write '{folder}': {error.strerror or error}") from error
    finally:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)
        for parent in reversed(parents):
            with suppress(OSError):  # there is something in it, such as what was written
                parent.rmdir()


def checksums(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of every file in a folder but its ``policy.yaml``, by its path in the folder."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != POLICY_FILE)
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def licence() -> str:
    """Return the text of the licence: a checkout's file, or what a wheel was installed with."""
    file = paths.ROOT / "LICENSE"
    if file.is_file():
        return file.read_text("utf-8")
    text = distribution("legged_gym_ext").read_text("licenses/LICENSE")
    assert text is not None
    return text


def _npz(arrays: dict[str, np.ndarray]) -> bytes:
    """Return an uncompressed .npz file."""
    file = io.BytesIO()
    np.savez(file, allow_pickle=False, **arrays)
    return file.getvalue()


def _copy_robot(urdf: Path, folder: Path) -> None:
    """Copy a URDF and the meshes that it names, which are beside it or below."""
    shutil.copyfile(urdf, folder / URDF)
    names = {PurePosixPath(mesh.get("filename", "")).name for mesh in ET.parse(urdf).getroot().iter("mesh")}
    for path in (path for name in names for path in urdf.parent.rglob(name)):
        copy = folder / path.relative_to(urdf.parent)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copy)


def _write_networks(export: Export, graphs: Mapping[str, Graph], folder: Path) -> None:
    """Write the student in each format."""
    facts = metadata(export.specification)
    for name, graph in graphs.items():
        to_onnx(graph, facts, folder / f"{name}.onnx")
        (folder / f"{name}.pt").write_bytes(to_torchscript(graph))
    for name, network in plain_networks(export.student).items():
        file = io.BytesIO()
        torch.save(dict(network.state), file)
        (folder / f"{name}.pth").write_bytes(file.getvalue())


def _write_specification(export: Export, folder: Path, files: Mapping[str, str]) -> None:
    (folder / POLICY_FILE).write_text(to_yaml(export.specification, files), "utf-8")


def _verify(export: Export, graphs: Mapping[str, Graph], folder: Path) -> dict[str, np.ndarray]:
    """Play the golden steps with each written format, and return the outputs of the whole policy by name.

    Raises:
        UserError: One of them does not do what the student did.
    """
    onnx = {name: parity.onnx_run((folder / f"{name}.onnx").read_bytes()) for name in graphs}
    script = {name: parity.torch_run(graph, torch.jit.load(folder / f"{name}.pt")) for name, graph in graphs.items()}
    runs = {"policy.pt": script["policy"], "policy.onnx": onnx["policy"]}
    for suffix, parts in ((".pt", script), (".onnx", onnx)):
        name = f"depth_encoder{suffix} and student_actor{suffix}"
        runs[name] = parity.in_two_parts(parts["depth_encoder"], parts["student_actor"])
    if python := plain_policy(export.student):
        runs["depth_encoder.pth and student_actor.pth"] = parity.plain_run(python, folder)
    outputs = {}
    for name, run in runs.items():
        outputs[name] = parity.replay(export.golden, export.specification.memory, run)
        parity.require(name, outputs[name], export.golden, export.specification.action)
    return outputs["policy.pt"]


def _readme(export: Export, graphs: Mapping[str, Graph]) -> str:
    seen = export.seen
    episodes = f"{seen.finished} episodes that reached the end of their course"
    counted = episodes if seen.finished else f"{seen.episodes} episodes, none of which reached the end of its course"
    encoder, turned = type(export.student.encoder), export.specification.camera.quat
    return readme(
        {
            "specification": export.specification,
            "card": CARD if export.card.is_file() else "",
            "steps": len(export.golden.reset),
            "resets": int(export.golden.reset.sum()),
            "tolerance": parity.TOLERANCE,
            "pitch": math.degrees(2 * math.atan2(turned[2], turned[0])),
            "counted": counted,
            "range_margin": RANGE_MARGIN,
            "rate_margin": RATE_MARGIN,
            "version": VERSION,
            "graphs": {name: _signature(graph) for name, graph in graphs.items()},
            "networks": plain_networks(export.student),
            "plain": plain_policy(export.student),
            "encoder": f"{encoder.__module__}.{encoder.__qualname__}",
        }
    )


def _signature(graph: Graph) -> str:
    """Return inputs with their shapes, and outputs."""
    inputs = ", ".join(f"`{name}` {'x'.join(map(str, shape))}" for name, shape in graph.inputs.items())
    return f"{inputs} to {', '.join(f'`{name}`' for name in graph.outputs)}"

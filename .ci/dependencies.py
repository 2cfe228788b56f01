"""Write docs/sbom.cdx.json and docs/dependencies.md: what requirements.lock has, and under which licences (make sbom).

Licences are what the packages say of themselves; pip is asked for that without loading the packages.
"""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

TOP = Path(__file__).resolve().parents[1]
LOCK, SBOM, TABLE = TOP / "requirements.lock", TOP / "docs" / "sbom.cdx.json", TOP / "docs" / "dependencies.md"

PURPOSES = {
    "torch": "networks, and all that is computed for many environments at once",
    "numpy": "terrain, exported policies, evaluations",
    "rsl-rl-lib": "PPO and its storage",
    "tensordict": "observations by group",
    "mujoco": "physics on the CPU, rendering",
    "mujoco-warp": "physics on the GPU",
    "warp-lang": "ray casting, and what mujoco-warp is written in",
    "numba": "ray casting on the CPU",
    "omegaconf": "configurations",
    "pyyaml": "configurations",
    "tensorboard": "logs",
    "wandb": "logs, where asked for",
    "matplotlib": "drawings of terrain, figures of evaluations",
    "imageio-ffmpeg": "videos",
    "pillow": "images",
    "jinja2": "reports, files of exported policies",
    "onnx": "exported policies",
    "onnxruntime": "exported policies",
    "rich": "a training's state on a terminal",
    "viser": "the live viewer in a browser",
    "websockets": "the live viewer's token",
    "trimesh": "shapes for the live viewer",
    "wandb-workspaces": "laid-out dashboards at W&B, where asked for",
    "zensical": "the documentation as a site",
    "mkdocstrings": "the site's API pages",
    "mkdocstrings-python": "the site's API pages",
    "playwright": "tests of the live viewer in a browser",
    "pyte": "a terminal that tests look at",
    "pytest": "tests",
    "pytest-xdist": "tests in several processes",
    "hypothesis": "random input of tests",
    "ruff": "formatting, lint",
    "pyright": "types",
    "setuptools": "wheels of this package",
    "scipy": "what intervals are checked against",
    "isaacgym-stubs": "what the double of Isaac Gym is checked against",
}
"""What each requirement in setup.py is for."""

WANTS_ATTENTION = re.compile(
    r"GPL|MPL|EPL|EUPL|CC-BY-NC|non-?commercial|proprietary|nvidia|other|not stated", re.IGNORECASE
)
INSIDE = {
    "imageio-ffmpeg": "its wheel holds the program ffmpeg, which is under the GPL; it is run, not linked",
    "mujoco-core": "its notices name Eigen: MPL-2.0, some of its files LGPL-2.1",
    "numpy": "its wheel holds GCC's libgfortran and libquadmath: GPL with an exception for what is linked, LGPL",
    "scipy": "its wheel holds GCC's libgfortran and libquadmath: GPL with an exception for what is linked, LGPL",
    "setuptools": "it holds autocommand, LGPL-3.0",
    "warp-lang": "its libraries hold NVIDIA's CUDA runtime, nvrtc and libmathdx, under NVIDIA's own terms",
}
"""What packages bring under another licence than their own."""


def canonical(name: str) -> str:
    """Return the name as registries compare names."""
    return re.sub(r"[-_.]+", "-", name).lower()


def locked() -> dict[str, str]:
    """Return the versions in the lock by name."""
    return dict(re.findall(r"^([\w.-]+)==(\S+)", LOCK.read_text("utf-8"), re.MULTILINE))


def required() -> dict[str, str]:
    """Return what setup.py names, and for what: ``""`` for the package, or the extra's name."""
    return {_name(text): extra for text, extra in reversed(_requirements().items())}


def licence(metadata: dict[str, Any]) -> str:
    """Return what a package's metadata says: an SPDX expression, or a name."""
    if expression := metadata.get("license_expression"):
        return expression
    text = (metadata.get("license") or "").strip()
    if text and len(text) <= 60 and "\n" not in text and text != "UNKNOWN":
        return text
    kinds = [line.split(" :: ")[-1] for line in metadata.get("classifier", ()) if line.startswith("License :: ")]
    return " AND ".join(sorted(kinds)) or "not stated"


def sbom(metadata: dict[str, dict[str, Any]], tool: dict[str, Any]) -> dict[str, Any]:
    """Return the lock as CycloneDX.

    Args:
        metadata: Of every package in the lock, by canonical name, as pip reports it.
        tool: What cyclonedx-py makes of the lock alone.
    """
    direct, versions = required(), locked()
    if missing := set(direct) - set(PURPOSES):
        raise ValueError(f"PURPOSES in {Path(__file__).name} does not say what these are for: {sorted(missing)}")
    for component in tool["components"]:
        told = metadata[canonical(component["name"])]
        text = licence(told)
        component.pop("externalReferences", None)  # where the files were had from
        component["bom-ref"] = component["purl"]
        component["description"] = " ".join((told.get("summary") or "").split())
        component["licenses"] = [
            {"expression": text} if told.get("license_expression") else {"license": {"name": text}}
        ]
    for maker in tool["metadata"]["tools"]["components"]:
        maker.pop("externalReferences", None)
    tool["components"].sort(key=lambda component: component["purl"])
    refs = {canonical(component["name"]): component["bom-ref"] for component in tool["components"]}
    needs = {"legged_gym_ext": [refs[name] for name in direct]}
    texts = {canonical(name): list(metadata[canonical(name)].get("requires_dist", ())) for name in versions}
    extras = _extras([*_requirements(), *(text for several in texts.values() for text in several)])
    for name, several in texts.items():
        wanted = {_name(text) for text in several if _extra(text) in {None, *extras.get(name, ())}}
        needs[refs[name]] = [refs[other] for other in wanted if other in refs]
    tool["dependencies"] = [{"ref": ref, "dependsOn": sorted(others)} for ref, others in sorted(needs.items())]
    us = {"type": "application", "bom-ref": "legged_gym_ext", "name": "legged_gym_ext"}
    tool["metadata"]["component"] = us | {"licenses": [{"license": {"id": "BSD-3-Clause"}}]}
    return tool


def table(document: dict[str, Any]) -> str:
    """Return docs/dependencies.md for an SBOM."""
    direct = required()
    names = {component["bom-ref"]: component["name"] for component in document["components"]}
    users: dict[str, list[str]] = {ref: [] for ref in names}
    for entry in document["dependencies"]:
        if entry["ref"] in names:
            for ref in entry["dependsOn"]:
                users[ref].append(names[entry["ref"]])
    rows: dict[str, list[str]] = {"package": [], "extras": [], "others": []}
    attention = []
    for component in document["components"]:
        name, (stated,) = canonical(component["name"]), component["licenses"]
        text = stated["expression"] if "expression" in stated else stated["license"]["name"]
        extra = direct.get(name)
        kind = "others" if extra is None else "extras" if extra else "package"
        use = (
            PURPOSES[name]
            if extra is not None
            else "for " + (", ".join(sorted(users[component["bom-ref"]])) or "an extra")
        )
        rows[kind].append(f"| {component['name']} | {component['version']} | {text} | {use} |")
        if WANTS_ATTENTION.search(text) or name in INSIDE:
            attention.append(f"| {component['name']} | {text} | {INSIDE.get(name, _remark(text))} |")
    head = ["| name | version | licence | what for |", "| --- | --- | --- | --- |"]
    return "\n".join(
        [
            "# Dependencies",
            "",
            "Written by `make sbom` from `requirements.lock`; `sbom.cdx.json` beside it is the same for machines.",
            "Licences are what the packages say of themselves, not a lawyer's opinion. This project's own is",
            "BSD-3-Clause; none of these packages is part of it or of its wheel.",
            "",
            "## Licences that want attention",
            "",
            "By whoever passes on an image, or a machine, on which these packages are installed.",
            "",
            "| name | licence | why |",
            "| --- | --- | --- |",
            *attention,
            "",
            "## What the package imports",
            "",
            *head,
            *rows["package"],
            "",
            "## What its extras add",
            "",
            *head,
            *rows["extras"],
            "",
            "## What those need",
            "",
            *head,
            *rows["others"],
            "",
        ]
    )


def main() -> None:
    """Ask pip for metadata, cyclonedx-py for the SBOM, and write both files."""
    with tempfile.TemporaryDirectory() as folder:
        names, report, document = (Path(folder) / name for name in ("names", "report", "document"))
        # With hashes, pip would load the files themselves; with ==, it would take a 2.13.0+cpu that lies about.
        names.write_text("".join(f"{name}==={version}\n" for name, version in locked().items()), "utf-8")
        pip = ["pip", "install", "--quiet", "--dry-run", "--ignore-installed", "--no-deps", "--only-binary", ":all:"]
        _run(*pip, "--report", str(report), "--requirement", str(names))
        _run("cyclonedx_py", "requirements", "--output-reproducible", "--output-file", str(document), str(LOCK))
        told = [item["metadata"] for item in json.loads(report.read_text("utf-8"))["install"]]
        made = sbom(
            {canonical(metadata["name"]): metadata for metadata in told}, json.loads(document.read_text("utf-8"))
        )
    text = json.dumps(made, indent=1) + "\n"
    _check(text)
    SBOM.write_text(text, "utf-8")
    TABLE.write_text(table(made), "utf-8")


def _requirements() -> dict[str, str]:
    """Return setup.py's requirements as they are written, and for which extra; "" for none."""
    tree = ast.parse((TOP / "setup.py").read_text("utf-8"))
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    call = next(call for call in calls if isinstance(call.func, ast.Name) and call.func.id == "setup")
    values = {keyword.arg: keyword.value for keyword in call.keywords}
    groups = {"": ast.literal_eval(values["install_requires"]), **ast.literal_eval(values["extras_require"])}
    return {text: extra for extra, texts in groups.items() for text in texts}


def _extras(requirements: list[str]) -> dict[str, set[str]]:
    """Return which extras are asked for, by the name of the package that has them."""
    asked: dict[str, set[str]] = {}
    for text in requirements:
        if match := re.match(r"[\w.-]+\s*\[([^]]*)\]", text):
            asked.setdefault(_name(text), set()).update(canonical(extra.strip()) for extra in match[1].split(","))
    return asked


def _extra(requirement: str) -> str | None:
    """Return the extra that a package's requirement belongs to."""
    match = re.search(r"""extra == ['"]([^'"]+)['"]""", requirement)
    return canonical(match[1]) if match else None


def _name(requirement: str) -> str:
    match = re.match(r"[\w.-]+", requirement)
    assert match, requirement
    return canonical(match[0])


def _remark(text: str) -> str:
    if re.search("nvidia|proprietary", text, re.IGNORECASE):
        return (
            "NVIDIA's own terms, not open source: only torch's builds for GPUs need it; read them before passing it on"
        )
    if re.search("MPL", text):
        return "changes of its files must be published under the same licence; using it asks for nothing"
    if "GPL" in text:
        return "copyleft: read it before passing on a program that is linked with it"
    return "no licence in its metadata: see its home page"


def _run(module: str, *arguments: str) -> None:
    subprocess.run([sys.executable, "-m", module, *arguments], check=True)


def _check(text: str) -> None:
    """Raise ValueError where the text is no CycloneDX."""
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

    version = SchemaVersion.from_version(json.loads(text)["specVersion"])
    if problem := JsonStrictValidator(version).validate_str(text):
        raise ValueError(f"not CycloneDX: {problem}")


if __name__ == "__main__":
    main()

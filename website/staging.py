"""All pages of the site side by side in one folder, as the program that builds it wants them.

A page is where it is in the repository: ``docs/deploy.md`` becomes ``deploy.md``, ``README.md`` the first page. A file
that is no page but is linked to becomes one that shows it, below ``files/``, so that the site needs no repository
beside it.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path, PurePosixPath

import yaml

from legged_gym_ext.errors import UserError
from legged_gym_ext.paths import ROOT
from website import configuration, flags, markdown, reference

CONFIG = "mkdocs.yml"
SETTINGS = Path(__file__).with_name(CONFIG)
STYLE = Path(__file__).with_name("site.css")
GENERATED: dict[str, Callable[[], str]] = {
    "docs/configuration.md": configuration.page,
    "docs/flags.md": flags.page,
    **reference.pages(),
}
"""Pages that are written from the code: where each would be if somebody had written it, and what writes it."""

_HOME = "README.md"
_TOP_PAGES = ("CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md")
_LANGUAGES = {".py": "python", ".yaml": "yaml", ".urdf": "xml", ".cpp": "cpp", ".hpp": "cpp", ".sh": "sh"}
_ELSEWHERE = ("http://", "https://", "mailto:")


def stage(folder: Path, site: str) -> int:
    """Write all pages to ``folder``, and beside it the settings of a site in a folder ``site``; return how many pages.

    Raises:
        UserError: A page links to a file that the repository does not have.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    handwritten = sorted((ROOT / "docs").rglob("*.md"))
    waiting = [_HOME, *_TOP_PAGES, *(_name(path) for path in handwritten), *GENERATED]
    staged: set[str] = set()
    while waiting:
        name = waiting.pop()
        if name not in staged:
            staged.add(name)
            waiting += _stage_one(name, folder)
    shutil.copy(STYLE, folder)
    settings = yaml.safe_load(SETTINGS.read_text("utf-8"))
    settings["nav"] = present(settings["nav"], folder)
    settings |= {"docs_dir": folder.name, "site_dir": site}
    settings["plugins"][-1]["mkdocstrings"]["handlers"]["python"]["paths"] = [str(ROOT)]
    (folder.parent / CONFIG).write_text(yaml.safe_dump(settings, sort_keys=False), "utf-8")
    return sum(1 for _ in folder.rglob("*.md"))


def present(nav: list[dict[str, str | list]], folder: Path) -> list[dict[str, str | list]]:
    """Return the navigation without the pages that are not there; a part without any is left out."""
    result: list[dict[str, str | list]] = []
    for entry in nav:
        ((title, what),) = entry.items()
        if isinstance(what, list):
            what = present(what, folder)
        elif not (folder / what).is_file():
            continue
        if what:
            result.append({title: what})
    return result


def place(name: str) -> str:
    """Return where in the site a file or folder of the repository is, by its path there."""
    if name == _HOME:
        return "index.md"
    if name in _TOP_PAGES:
        return name
    if name.startswith("docs/"):
        return name.removeprefix("docs/")
    path = ROOT / name
    if path.is_dir():
        return f"files/{name}/index.md"
    return f"files/{name}" if path.suffix == ".md" or is_binary(path) else f"files/{name}.md"


def is_binary(path: Path) -> bool:
    """Return whether a file is no text."""
    with path.open("rb") as file:
        return b"\0" in file.read(4096)


def page_of(name: str, text: str) -> tuple[str, list[str]]:
    """Return the page at ``name`` of the repository as it is in the site, and the names of what it links to."""
    linked: list[str] = []

    def moved(link: markdown.Link) -> str:
        target, hash_sign, anchor = link.target.partition("#")
        if link.target.startswith(_ELSEWHERE) or not target:
            return link.target
        aim = os.path.normpath(PurePosixPath(name).parent / target)
        if aim.startswith("..") or not (aim in GENERATED or (ROOT / aim).exists()):
            raise UserError(f"{name}:{link.line}: the link '{link.target}' leads to no file of the repository")
        linked.append(aim)
        return os.path.relpath(place(aim), PurePosixPath(place(name)).parent) + hash_sign + anchor

    return markdown.for_python(markdown.with_links(text, moved)), linked


def _stage_one(name: str, folder: Path) -> list[str]:
    """Write one file of the repository to its place; return what it links to."""
    path, to = ROOT / name, folder / place(name)
    to.parent.mkdir(parents=True, exist_ok=True)
    if name in GENERATED:
        text, linked = page_of(name, GENERATED[name]())
    elif path.is_dir():
        text, linked = _list_of(name, path)
    elif path.suffix == ".md":
        text, linked = page_of(name, path.read_text("utf-8"))
    elif is_binary(path):
        shutil.copyfile(path, to)
        return []
    else:
        text, linked = _listing(name, path.read_text("utf-8")), []
    to.write_text(text, "utf-8")
    return linked


def _list_of(name: str, path: Path) -> tuple[str, list[str]]:
    inside = sorted(item for item in path.iterdir() if item.name[0] not in "_." and not item.name.endswith(".pyc"))
    names = [_name(item) for item in inside]
    lines = [f"- [{item.name}]({os.path.relpath(place(_name(item)), f'files/{name}')})" for item in inside]
    return f"# {name}/\n\n" + "\n".join(lines) + "\n", names


def _listing(name: str, text: str) -> str:
    fence = "`" * 8
    return f"# {name}\n\n{fence}{_LANGUAGES.get(Path(name).suffix, 'text')}\n{text.rstrip()}\n{fence}\n"


def _name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()

"""Whether what a site links to is there, in its HTML, as a browser would see it."""

from __future__ import annotations

from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

_ELSEWHERE = ("http", "https")
_LOADED = {"script": "src", "img": "src", "video": "src", "source": "src", "iframe": "src"}
_LOADED_RELATIONS = {"stylesheet", "preload", "icon", "modulepreload"}


@dataclass
class Links:
    """What :func:`check` found."""

    internal: int = 0
    """Links within the site that lead somewhere."""
    broken: list[str] = field(default_factory=list)
    """One for each that does not, and for each thing that would be loaded from elsewhere: page, link, what is wrong."""
    external: list[str] = field(default_factory=list)
    """Links to other sites, each once, sorted; nobody visits them here."""


class _Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.anchors: set[str] = set()
        self.targets: list[tuple[str, bool]] = []
        """Each with whether a browser loads it with the page."""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value for name, value in attrs if value is not None}
        self.anchors |= {given[name] for name in ("id", "name") if name in given}
        if tag in _LOADED and _LOADED[tag] in given:
            self.targets.append((given[_LOADED[tag]], True))
        elif tag == "link" and "href" in given:
            loaded = bool(_LOADED_RELATIONS & set(given.get("rel", "").split()))
            self.targets.append((given["href"], loaded))
        elif tag == "a" and "href" in given:
            self.targets.append((given["href"], False))


def check(site: Path) -> Links:
    """Follow every link of every page in the folder ``site``; those that leave it are only collected."""
    site = site.resolve()
    pages = {path: _read(path) for path in sorted(site.rglob("*.html"))}
    found, external = Links(), set()
    for path, page in pages.items():
        for target, loaded in page.targets:
            parts = urlsplit(target)
            name = path.relative_to(site)
            if parts.scheme in _ELSEWHERE or parts.netloc:
                if loaded:
                    found.broken.append(f"{name}: {target} would be loaded from elsewhere")
                external.add(target)
            elif not parts.scheme:
                wrong = _wrong(site, path, unquote(parts.path), unquote(parts.fragment), pages)
                if wrong:
                    found.broken.append(f"{name}: {target}: {wrong}")
                else:
                    found.internal += 1
    found.external = sorted(external)
    return found


def _read(path: Path) -> _Page:
    page = _Page()
    page.feed(path.read_text("utf-8"))
    return page


def _wrong(site: Path, page: Path, target: str, anchor: str, pages: dict[Path, _Page]) -> str:
    """Return why a link leads nowhere, or nothing."""
    start = site if target.startswith("/") else page.parent
    aim = (start / target.lstrip("/")).resolve() if target else page
    if aim.is_dir():
        aim /= "index.html"
    if not aim.is_relative_to(site):
        return "out of the site"
    if not aim.is_file():
        return "no such page"
    if anchor and aim in pages and anchor not in pages[aim].anchors and not anchor.startswith("__"):
        return "no such place in the page"
    return ""

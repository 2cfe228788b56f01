"""A report as plain data, and as a web page and Markdown."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

from legged_gym_ext.runs.atomic import write_file

PICTURES = ("success_", "curves_", "outcomes_", "differences_", "depth_use", "robustness")
"""Beginnings of the names of a report's pictures."""
TEMPLATES = Path(__file__).parent / "templates"


@dataclass(frozen=True)
class Entry:
    """Of a table."""

    text: str
    hint: str = ""
    """Shown where the pointer rests on it."""
    share: float | None = None
    """0 .. 1, shades the entry; None = no shade."""


@dataclass(frozen=True)
class Table:
    """The first column names the rows."""

    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Entry]]


@dataclass(frozen=True)
class Picture:
    """A figure, drawn."""

    file: str
    """Name of its file."""
    caption: str
    png: bytes
    dark: bytes | None = None
    """The same for dark pages; None = the one figure, on white, for both."""


@dataclass(frozen=True)
class Film:
    """A video."""

    file: str
    """Name of its file."""
    caption: str
    mp4: bytes


@dataclass(frozen=True)
class Section:
    """Of a report."""

    title: str
    paragraphs: Sequence[str] = ()
    tables: Sequence[Table] = ()
    pictures: Sequence[Picture] = ()
    terms: Sequence[tuple[str, str]] = ()
    """Words and what they mean."""
    films: Sequence[Film] = ()
    commands: Sequence[str] = ()
    """For a shell."""

    @property
    def empty(self) -> bool:
        """Whether there is nothing but the title."""
        return not any(getattr(self, part.name) for part in fields(self) if part.name != "title")


@dataclass(frozen=True)
class Document:
    """A whole report; sections that are empty are left out."""

    title: str
    facts: Sequence[tuple[str, str]]
    """What was evaluated: name and value."""
    summary: Sequence[str]
    """Sentences."""
    sections: Sequence[Section]

    def files(self) -> dict[str, bytes]:
        """Return ``report.html``, ``report.md`` and the pictures as they are to be written."""
        pictures = {picture.file: picture.png for section in self.filled for picture in section.pictures}
        return {name: self.render(name) for name in ("report.html", "report.md")} | pictures

    def render(self, name: str) -> bytes:
        """Return ``report.html``, which has all in it, or ``report.md``, which refers to the files of its pictures."""
        return _environment().get_template(f"{name}.j2").render(document=self, sections=self.filled).encode()

    @property
    def filled(self) -> list[Section]:
        """The sections that are not empty."""
        return [section for section in self.sections if not section.empty]


def write_files(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write the files of a report, each whole or as it was before; pictures of an earlier report go.

    Raises:
        UserError: A file cannot be written, as on a full disk.
    """
    for name, content in files.items():
        write_file(folder / name, content)
    for path in folder.glob("*.png"):
        if path.name not in files and path.name.startswith(PICTURES):
            path.unlink(missing_ok=True)


def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=select_autoescape(["html.j2"], default=False),
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        undefined=StrictUndefined,
    )
    environment.filters["markdown"] = _markdown
    environment.filters["base64"] = lambda content: base64.b64encode(content).decode("ascii")
    return environment


def _markdown(text: str) -> str:
    """Return the text with what Markdown would take for markup escaped, in one line."""
    text = " ".join(text.split())
    return "".join(f"\\{letter}" if letter in "\\`*[]<>|" else letter for letter in text)

"""A report as plain data, and as a web page and Markdown."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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

    @property
    def base64(self) -> str:
        """The PNG as text."""
        return base64.b64encode(self.png).decode("ascii")


@dataclass(frozen=True)
class Section:
    """Of a report."""

    title: str
    paragraphs: Sequence[str] = ()
    tables: Sequence[Table] = ()
    pictures: Sequence[Picture] = ()
    terms: Sequence[tuple[str, str]] = ()
    """Words and what they mean."""

    @property
    def empty(self) -> bool:
        """Whether there is nothing but the title."""
        return not (self.paragraphs or self.tables or self.pictures or self.terms)


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
        sections = [section for section in self.sections if not section.empty]
        pictures = {picture.file: picture.png for section in sections for picture in section.pictures}
        pages = {
            name: _environment().get_template(f"{name}.j2").render(document=self, sections=sections).encode()
            for name in ("report.html", "report.md")
        }
        return pages | pictures


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
    return environment


def _markdown(text: str) -> str:
    """Return the text with what Markdown would take for markup escaped, in one line."""
    text = " ".join(text.split())
    return "".join(f"\\{letter}" if letter in "\\`*[]<>|" else letter for letter in text)

"""Markdown as it is written for readers of the repository, made ready for Python's Markdown."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

_FENCE = re.compile(r"^( *)(`{3,}|~{3,})")
_SPAN = re.compile(r"(`+)(?!`)(.+?)(?<!`)\1(?!`)", re.DOTALL)
_LINK = re.compile(r"!?\[[^\[\]]*\]\((?P<target>[^()\s]+)(?:\s+\"[^\"]*\")?\)")
_ITEM = re.compile(r"^(?:[-*]|\d+\.) ")
_LIST_INDENT = 3  # of what belongs to an item with a number; Python's Markdown wants 4


@dataclass(frozen=True)
class Link:
    """A link in a page: its target as it is written, where that stands in the text, and in which line."""

    target: str
    start: int
    end: int
    line: int


def links(text: str) -> Iterator[Link]:
    """Yield the links and pictures of a page in order, those in code left out."""
    for match in _LINK.finditer(without_code(text)):
        start, end = match.span("target")
        yield Link(text[start:end], start, end, text.count("\n", 0, match.start()) + 1)


def with_links(text: str, change: Callable[[Link], str]) -> str:
    """Return the page with each link's target as ``change`` says."""
    parts, done = [], 0
    for link in links(text):
        parts += [text[done : link.start], change(link)]
        done = link.end
    return "".join([*parts, text[done:]])


def without_code(text: str) -> str:
    """Return the text with code blanked out, sign by sign, so that every place in it is where it was."""
    lines, fence = [], ""
    for line in text.split("\n"):
        found = _FENCE.match(line)
        if fence:
            lines.append(" " * len(line))
            if found and found[2].startswith(fence) and not line.strip().strip(fence[0]):
                fence = ""
        elif found:
            fence = found[2]
            lines.append(" " * len(line))
        else:
            lines.append(line)
    return _SPAN.sub(lambda span: re.sub(r"[^\n]", " ", span[0]), "\n".join(lines))


def for_python(text: str) -> str:
    """Return a page of GitHub's Markdown as Python's reads it in the same way.

    That has a blank line before a list, and what belongs to an item of a list is four columns in.
    """
    lines, bare = text.split("\n"), without_code(text).split("\n")
    result: list[str] = []
    numbered, before = False, ""
    for line, plain in zip(lines, bare, strict=True):
        is_item = bool(_ITEM.match(plain))
        if is_item and before.strip() and not before.startswith(" ") and not _ITEM.match(before):
            result.append("")
        if line.strip() and not line.startswith(" "):
            numbered = plain[:1].isdigit() and is_item
        if numbered and line.startswith(" " * _LIST_INDENT):
            line = f" {line}"
        result.append(line)
        if plain.strip() or not line.strip():
            before = plain
    return "\n".join(result)


def cell(text: str) -> str:
    """Return ``text`` for a cell of a table."""
    return " ".join(text.split()).replace("|", "\\|")


def code(text: str) -> str:
    """Return ``text`` as code in a cell of a table."""
    return f"`{cell(text)}`" if text.strip() else ""


def table(head: list[str], rows: list[list[str]]) -> str:
    """Return a table, without a line end at its end."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)

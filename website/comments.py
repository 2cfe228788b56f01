"""What the source says of a dataclass's fields: comments above and beside them, which is where their meaning stands."""

from __future__ import annotations

import ast
import inspect
import io
import textwrap
import tokenize


def field_comments(section: type) -> dict[str, str]:
    """Return what is written to each field of a dataclass, those of its bases too; empty where nothing is.

    First comes a comment in lines of its own right above the field, then those in the field's own lines, then a string
    below it.
    """
    result: dict[str, str] = {}
    for owner in reversed(section.__mro__):
        if owner.__module__ != "builtins":
            result |= comments_in(textwrap.dedent(inspect.getsource(owner)))
    return result


def comments_in(source: str) -> dict[str, str]:
    """Return what the ``source`` of one class says of its annotated names."""
    comments, alone = {}, set()
    lines = source.splitlines()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            row, column = token.start
            comments[row] = token.string.lstrip("#").strip()
            if not lines[row - 1][:column].strip():
                alone.add(row)
    (owner,) = [node for node in ast.parse(source).body if isinstance(node, ast.ClassDef)]
    result = {}
    for node, below in zip(owner.body, [*owner.body[1:], None], strict=True):
        if not isinstance(node, ast.AnnAssign) or not isinstance(node.target, ast.Name):
            continue
        rows = list(range(node.lineno, (node.end_lineno or node.lineno) + 1))
        above = node.lineno - 1
        while above in alone:
            rows.insert(0, above)
            above -= 1
        words = [comments[row] for row in rows if row in comments]
        if isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant) and isinstance(below.value.value, str):
            words.append(" ".join(below.value.value.split()))
        result[node.target.id] = " ".join(words)
    return result

"""Errors that are one clear line and no traceback: the user's to mend (exit code 2), or an engine's end (3)."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

_LONGEST = 2000  # characters of a line


class UserError(Exception):
    """Bad input. The message is one line that names the input, what is allowed and the nearest match, if any."""


class EngineFault(Exception):
    """A physics engine in a process of its own has ended or hangs. The message is one line with the likely cause."""


def unknown(what: str, name: object, allowed: Iterable[str]) -> UserError:
    """Return the error for a ``name`` that is not among the ``allowed`` ones of its kind ``what``."""
    choices = sorted(allowed)
    close = difflib.get_close_matches(str(name), choices, n=1)
    hint = f" (did you mean '{close[0]}'?)" if close else ""
    listed = f"allowed: {', '.join(choices)}" if choices else "there is none"
    return UserError(f"unknown {what} '{printable(str(name))}'{hint}; {listed}")


def reason_of(error: BaseException) -> str:
    """Return why something failed, as part of a line: what the system or the error says, else its kind."""
    text = (error.strerror if isinstance(error, OSError) else None) or " ".join(str(error).split())
    return text[:300] or type(error).__name__


def printable(text: str) -> str:
    """Return ``text`` with what would control a terminal written out, and cut where it is endless."""
    shown = "".join(sign if sign.isprintable() else ascii(sign)[1:-1] for sign in text)
    return shown if len(shown) <= _LONGEST else f"{shown[:_LONGEST]} ..."


def exit_code_and_line(error: BaseException, where: str = "") -> tuple[int, str]:
    """Return the exit code for an ``error``, and the line that tells it; ``where`` it happened is part of the line."""
    text = printable(" ".join(str(error).split()))  # one line, whatever the input held
    match error:
        case UserError():
            return 2, f"error: {where}{text}"
        case EngineFault():
            return 3, f"error: {where}{text}"
        case KeyboardInterrupt():
            return 130, "interrupted"
        case SystemExit():
            return int(error.code or 0), ""
    return 1, f"error: {where}{type(error).__name__}: {text}"

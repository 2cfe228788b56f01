"""Numbers as text, the same way everywhere in a report."""

from __future__ import annotations

from collections.abc import Sequence

from legged_gym_ext.evaluation.intervals import Difference

MISSING = "–"


def percent(share: float, digits: int = 0) -> str:
    """Return 0.5 as ``50``; what is almost nothing or almost all is not rounded to it."""
    text = f"{100 * share:.{digits}f}"
    smallest = 10.0**-digits
    if share > 0 and float(text) == 0:
        return f"<{smallest:.{digits}f}"
    if share < 1 and float(text) == 100:
        return f">{100 - smallest:.{digits}f}"
    return text


def interval(low: float, high: float, digits: int = 0) -> str:
    """Return an interval of shares as ``40 to 60 %``."""
    return f"{100 * low:.{digits}f} to {100 * high:.{digits}f} %"


def decimal(value: float | None, digits: int = 2) -> str:
    """Return a number with so many digits after the point."""
    return MISSING if value is None else f"{value:.{digits}f}"


def count(value: int, what: str = "") -> str:
    """Return 12345 as ``12,345``, and with ``what`` it counts as ``12,345 episodes``."""
    return f"{value:,} {what}{'' if value == 1 else 's'}" if what else f"{value:,}"


def signed(difference: Difference) -> str:
    """Return ``-3.0 (-5.1 to -0.8)``, in points."""
    return f"{_sign(difference.points)} ({_sign(difference.low)} to {_sign(difference.high)})"


def p_value(value: float) -> str:
    """Return a p value."""
    return "<0.001" if value < 0.001 else f"{value:.3f}"


def listing(items: Sequence[str]) -> str:
    """Return ``a, b and c``."""
    return " and ".join([", ".join(items[:-1]), items[-1]]) if len(items) > 1 else "".join(items)


def levels(found: Sequence[int]) -> str:
    """Return ``level 3``, ``levels 0 to 9`` or ``levels 0, 2 and 4``."""
    if not found:
        return "no levels"
    if len(found) == 1:
        return f"level {found[0]}"
    if len(found) > 2 and list(found) == list(range(found[0], found[-1] + 1)):
        return f"levels {found[0]} to {found[-1]}"
    return f"levels {listing([str(level) for level in found])}"


def _sign(value: float) -> str:
    text = f"{value:+.1f}"
    return "0.0" if float(text) == 0 else text

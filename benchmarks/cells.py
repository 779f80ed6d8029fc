"""Cells of the tables: the middle of several runs, and their spread."""

from collections.abc import Callable, Sequence
from statistics import median

__all__ = ["NONE", "cell"]

NONE = "–"


def cell(values: Sequence[float], *, middle: Callable[[Sequence[float]], float] = median, bold: bool = False) -> str:
    """Write the middle of some values, and of several the smallest and the largest in brackets."""
    if not values:
        return NONE
    text = f"{middle(values):.3f}"
    text = f"**{text}**" if bold else text
    return text + (f" ({min(values):.3f}–{max(values):.3f})" if len(values) > 1 else "")

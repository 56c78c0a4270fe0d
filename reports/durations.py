"""Durations, as people read them; light, for commands that need no table."""

from __future__ import annotations


def duration(seconds: float, beside: float | None = None) -> str:
    """Show a time; in the unit of another one, where it stands beside that."""
    scale = seconds if beside is None else beside
    if scale < 0.095:
        return f"{1000 * seconds:.0f} ms"
    if scale < 120:
        return f"{seconds:.{int(seconds < 9.95)}f} s"
    if scale < 7200:
        minutes = seconds / 60
        return f"{minutes:.{int(beside is not None and minutes < 9.95)}f} min"
    return f"{seconds / 3600:,.1f} h"

"""Durations, as people read them; light, for commands that need no table."""

from __future__ import annotations


def duration(seconds: float, beside: float | None = None) -> str:
    """Show a time; in the unit of another one, where it stands beside that and is not nothing."""
    if beside is not None:
        told = _in_unit_of(beside, seconds, digits=1)
        if any(digit in told for digit in "123456789"):
            return told
    return _in_unit_of(seconds, seconds, digits=0)


def _in_unit_of(scale: float, seconds: float, digits: int) -> str:
    """Return a time, its minutes with so many digits where they are few."""
    if scale < 0.095:
        return f"{1000 * seconds:.0f} ms"
    if scale < 120:
        return f"{seconds:.{int(seconds < 9.95)}f} s"
    if scale < 7200:
        minutes = seconds / 60
        return f"{minutes:.{digits * (minutes < 9.95)}f} min"
    return f"{seconds / 3600:,.1f} h"

"""Asking methods before they run: what one from outside raises is told in a line."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from bench.errors import BenchError, UsageError

if TYPE_CHECKING:
    from bench.contract import Method


@contextmanager
def telling(method: Method, what: str) -> Iterator[None]:
    """Raise a UsageError for what a method raises while it is asked; a BenchError stays."""
    try:
        yield
    except BenchError:
        raise
    except Exception as error:  # a method from outside may raise anything
        reason = (str(error).strip() or "no reason given").splitlines()[0]
        raise UsageError(
            f"{method.spec}: {what} failed ({type(error).__name__}: {reason}); it is asked before "
            f"images are loaded. Try: bench check {method.name}"
        ) from error

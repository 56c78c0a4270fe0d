"""Asking methods before they run: what one from outside raises is told in a line."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
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


def refuse_unready(method: Method, keys: Callable[[], Sequence[str]], classes: int) -> None:
    """Raise what speaks against running a method on a training split, before any work.

    Parameters
    ----------
    keys : callable
        Returns the keys of the training images, in any order.
    classes : int
        How many classes there are.
    """
    with telling(method, "refuse_unready()"):
        needed = method.needed_classes
        if needed is not None and needed != classes:
            raise UsageError(
                f"{method.spec} is for {needed} classes, and there are {classes}. Give it other "
                "parameters, or name another method"
            )
        method.refuse_unready(keys)

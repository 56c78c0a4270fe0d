"""Being ended from outside: by Ctrl-C, or by the SIGTERM of a scheduler or a shutdown."""

from __future__ import annotations

import functools
import signal
import time
from collections.abc import Callable
from types import FrameType
from typing import ParamSpec, TypeVar

import click

from bench.cli.codes import INTERRUPTED, TERMINATED

P = ParamSpec("P")
T = TypeVar("T")
_AGAIN_S = 1.0
"""A SIGTERM that comes sooner after the first is the same one: sent to the group, and to each."""
_GOES_ON = "the same command goes on from what is complete"


class Terminated(KeyboardInterrupt):
    """SIGTERM came; a run ends by it as it does by Ctrl-C."""


def listen() -> None:
    """Have SIGTERM raise :class:`Terminated` in this process, as Ctrl-C raises its own error.

    So does a second one, where the first is taking long; a third one ends the process by itself.
    """
    if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, _stop)


def resumes(command: Callable[P, T]) -> Callable[P, T]:
    """Have a command that is ended tell that the same one goes on; it keeps what is complete."""

    @functools.wraps(command)
    def marked(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return command(*args, **kwargs)
        except KeyboardInterrupt as stop:
            stop.add_note(_GOES_ON)
            raise

    return marked


def told(stop: BaseException, kept: str = "") -> int:
    """Tell what ended the command, what is kept and how to go on; return the exit code.

    Parameters
    ----------
    kept : str
        By default what :func:`resumes` says, of commands that it marks.
    """
    is_terminated = isinstance(stop, Terminated) or isinstance(stop.__cause__, Terminated)
    what = "ended by SIGTERM" if is_terminated else "interrupted"
    notes = [*getattr(stop, "__notes__", ()), *getattr(stop.__cause__, "__notes__", ())]
    click.echo(": ".join(filter(None, (what, kept or "".join(notes[:1])))), err=True)
    return TERMINATED if is_terminated else INTERRUPTED


def cells_kept(done: int, total: int) -> str:
    """Return what is told of cells."""
    return f"{done} of {total} cells are complete and kept. The same command goes on from here."


def _stop(number: int, frame: FrameType | None) -> None:
    first = time.monotonic()

    def again(number: int, frame: FrameType | None) -> None:
        if time.monotonic() - first > _AGAIN_S:
            signal.signal(number, signal.SIG_DFL)
            raise Terminated

    signal.signal(number, again)
    raise Terminated

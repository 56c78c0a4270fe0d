"""Being ended from outside: by Ctrl-C, or by the SIGTERM of a scheduler or a shutdown."""

from __future__ import annotations

import signal
from types import FrameType

import click

from bench.cli.codes import INTERRUPTED, TERMINATED


class Terminated(KeyboardInterrupt):
    """SIGTERM came; a run ends by it as it does by Ctrl-C."""


def listen() -> None:
    """Have SIGTERM raise :class:`Terminated` in this process, once; further ones are ignored."""
    if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, _stop)


def told(stop: BaseException, kept: str) -> int:
    """Tell what ended the command, what is kept and how to go on; return the exit code."""
    is_terminated = isinstance(stop, Terminated) or isinstance(stop.__cause__, Terminated)
    what = "ended by SIGTERM" if is_terminated else "interrupted"
    click.echo(f"{what}: {kept}", err=True)
    return TERMINATED if is_terminated else INTERRUPTED


def cells_kept(done: int, total: int) -> str:
    """Return what is told of cells."""
    return f"{done} of {total} cells are complete and kept. The same command goes on from here."


def _stop(number: int, frame: FrameType | None) -> None:
    signal.signal(number, signal.SIG_IGN)
    raise Terminated

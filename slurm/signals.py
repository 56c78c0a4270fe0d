"""Signals: what Slurm sends before it ends a job becomes an exception where work can stop."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

WARNING = signal.SIGUSR2
"""Sent before the time limit, and on some clusters before a preemption."""
END = signal.SIGTERM
"""Sent by scancel and preemption; Slurm itself runs a preempted job again."""


class Stopped(BaseException):
    """The job is to end; what is complete and every checkpoint is on disk already."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


@contextmanager
def stopping() -> Iterator[None]:
    """Raise :class:`Stopped` within the block at the first signal; ignore those after it."""

    def stop(number: int, frame: FrameType | None) -> None:
        for other in (WARNING, END):
            signal.signal(other, signal.SIG_IGN)
        raise Stopped(number)

    before = {number: signal.signal(number, stop) for number in (WARNING, END)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)

"""Signals: what Slurm sends before it ends a job becomes an exception where work can stop."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from bench.shielding import END, WARNING

_LONGEST_WARNING_S = 120
_LATE_S = 90
"""Slurm's clock of signals is a minute coarse (sbatch's manual), and a job's script begins late."""


def warning_s(minutes: int) -> int:
    """Return how many seconds before its time limit a job is to be warned."""
    return min(_LONGEST_WARNING_S, minutes * 60 // 6)


def is_of_the_limit(passed_s: float, minutes: int) -> bool:
    """Return whether a warning after so many seconds can be that of the time limit.

    An earlier one is of a preemption: partitions with a time of grace send it, and clusters with
    ``SlurmctldParameters=preempt_send_user_signal``.
    """
    return passed_s >= 60 * minutes - warning_s(minutes) - _LATE_S


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

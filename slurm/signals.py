"""Signals: what Slurm sends before it ends a job becomes an exception where work can stop."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from bench.shielding import END, WARNING

_LONGEST_WARNING_S = 120
_LATE_S = 90
"""Slurm's clock of signals is a minute coarse (sbatch's manual), and a job's script begins late."""


def warning_s(minutes: int) -> int:
    """Return how many seconds before its time limit a job is to be warned."""
    return min(_LONGEST_WARNING_S, minutes * 60 // 6)


def end_of(began: float, minutes: int) -> float:
    """Return when a job's time is over, in seconds since 1970.

    Slurm counts from the allocation, and ``--time-min`` may have it give less than was asked. It
    tells when that ends (not in version 22.05); else a job has its time from its script's start.
    """
    told = os.environ.get("SLURM_JOB_END_TIME", "")
    return float(told) if told.isdigit() else began + 60 * minutes


def is_of_the_limit(now: float, end: float, minutes: int) -> bool:
    """Return whether a warning that comes now can be that of the time limit.

    An earlier one is of a preemption: partitions with a time of grace send it, and clusters with
    ``SlurmctldParameters=preempt_send_user_signal``.
    """
    return now >= end - warning_s(minutes) - _LATE_S


class Stopped(BaseException):
    """The job is to end; what is complete and every checkpoint is on disk already."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


@contextmanager
def stopping(is_end: Callable[[int], bool]) -> Iterator[None]:
    """Raise :class:`Stopped` within the block at the first signal that is its end.

    Signals after that one are ignored. ``is_end`` is asked where work is interrupted, which goes
    on as if nothing had been when it says no.
    """

    def stop(number: int, frame: FrameType | None) -> None:
        signal.signal(number, signal.SIG_IGN)
        if not is_end(number):
            signal.signal(number, stop)
            return
        for other in (WARNING, END):
            signal.signal(other, signal.SIG_IGN)
        raise Stopped(number)

    before = {number: signal.signal(number, stop) for number in (WARNING, END)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)

"""Shielding: a cluster's signals are for the process that answers them, not for those it starts."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType

WARNING = signal.SIGUSR2
"""What a cluster is asked to send before it ends a job; it ends a process that expects none."""
END = signal.SIGTERM
"""What ends a job; also how we end processes that we started."""


@contextlib.contextmanager
def shielded(*deaf_to: signal.Signals) -> Iterator[None]:
    """Have processes that are started within the block never hear the warning.

    A blocked signal stays blocked in what is started, from its first instruction on. This process
    hears what comes meanwhile at the block's end, so that nothing is started and then forgotten.

    Parameters
    ----------
    *deaf_to : signal.Signals
        What else is not to reach those processes.
    """
    with _put_off():
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {WARNING, *deaf_to})
        try:
            yield
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextlib.contextmanager
def _put_off() -> Iterator[None]:
    """Call this process's own handlers at the block's end.

    Blocking does not do that: the system gives a signal to any other thread, torch's too, and
    Python then calls the handler in the main one.
    """
    came: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        came.append(number)

    own = {}
    if threading.current_thread() is threading.main_thread():  # no other runs handlers
        own = {one: signal.getsignal(one) for one in (WARNING, END)}
    handlers = {one: handler for one, handler in own.items() if callable(handler)}
    for one in handlers:
        signal.signal(one, note)
    try:
        yield
    finally:
        for one, handler in handlers.items():
            signal.signal(one, handler)
        for number in came:
            signal.raise_signal(number)

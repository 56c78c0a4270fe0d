"""Shielding: a cluster's warning is for the process that answers it, not for those it starts."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator

WARNING = signal.SIGUSR2
"""What a cluster is asked to send before it ends a job; it ends a process that expects none."""


@contextlib.contextmanager
def shielded() -> Iterator[None]:
    """Have processes that are started within the block never hear the warning.

    A blocked signal stays blocked in what is started, from its first instruction on; this process
    hears one that comes meanwhile at the block's end.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {WARNING})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)

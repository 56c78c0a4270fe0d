"""Turns: one command at a time submits into a results folder, cancels or cleans it."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING

from bench.errors import UsageError
from bench.leases import HEARTBEAT_S, PATIENCE_S

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench.results import Results

_LEASE = "submitting"
_POLL_S = 1.0
PATIENT_S = PATIENCE_S + 2 * HEARTBEAT_S
"""After so long a lease of another machine, or of one before its reboot, is known to be dead."""


@contextlib.contextmanager
def alone(results: Results) -> Iterator[None]:
    """Keep other commands off the jobs of a results folder within the block.

    Raises
    ------
    UsageError
        While another process is at it.
    """
    give_up = time.monotonic() + PATIENT_S
    while (lease := results.leases.try_take(_LEASE)) is None:
        if time.monotonic() > give_up:
            raise UsageError(
                f"{results.leases.owner(_LEASE)} is submitting into {results.folder} just now. "
                "Wait for it, then see: bench status"
            )
        time.sleep(_POLL_S)
    try:
        yield
    finally:
        lease.release()

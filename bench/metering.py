"""Metering: seconds by stage, and the process's peak memory."""

from __future__ import annotations

import resource
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass
class Stage:
    """One timed stage; its own seconds, without those of stages within it."""

    name: str
    seconds: float = 0.0
    within: float = 0.0


class Meter:
    """Times stages on one device; they may nest, and no second counts twice."""

    def __init__(self) -> None:
        self._open: list[Stage] = []

    @contextmanager
    def stage(self, name: str) -> Iterator[Stage]:
        """Time the block as a stage."""
        stage = Stage(name)
        self._open.append(stage)
        start = time.perf_counter()
        try:
            yield stage
        finally:
            passed = time.perf_counter() - start
            self._open.pop()
            stage.seconds = passed - stage.within
            if self._open:
                self._open[-1].within += passed


def peak_memory_bytes() -> int:
    """Return the most memory that this process ever held at once, in bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024

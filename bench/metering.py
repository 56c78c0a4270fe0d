"""Metering: seconds by stage, and the process's peak memory."""

from __future__ import annotations

import ctypes
import resource
import sys
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    import torch


@dataclass
class Stage:
    """One timed stage; its own seconds, without those of stages within it."""

    name: str
    seconds: float = 0.0
    seconds_before: float = 0.0
    """Seconds of an earlier, interrupted attempt that was gone on from."""
    seconds_elsewhere: float = 0.0
    """Seconds of those that other Slurm jobs spent."""
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


class ProcessorShare:
    """The share of the time since it was made that the calling thread was on a processor.

    About 1 where nothing else runs: the thread computes too, or spins, while it has others compute
    for it. Other programs lower it, and so does what it waits for, a disk or a stop by a signal.
    Threads of other cells do not count.
    """

    def __init__(self) -> None:
        self._start, self._own = time.perf_counter(), time.thread_time()

    def read(self) -> float:
        """Return the share, in 0 ... 1."""
        passed = time.perf_counter() - self._start
        return min(1.0, (time.thread_time() - self._own) / passed) if passed else 1.0


class DeviceTimer:
    """Seconds of work on a device, from its own clock where it has one.

    Starting and reading a CUDA event does not wait for the work before it; reading the seconds
    does.
    """

    def __init__(self, device: torch.device) -> None:
        self._is_cuda = device.type == "cuda"
        self._last = self._now()

    def lap(self) -> float:
        """Return the seconds since the timer was made or last read."""
        before, self._last = self._last, self._now()
        if not self._is_cuda:
            return float(self._last - before)
        self._last.synchronize()
        return float(before.elapsed_time(self._last)) / 1000

    def _now(self) -> Any:
        if not self._is_cuda:
            return time.perf_counter()
        import torch

        event = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
        event.record()
        return event


def keep_freed_memory() -> None:
    """Have glibc keep freed memory for the next step instead of giving it back every time.

    A training step frees and takes some hundred MB; without their page faults a step of ResNet-8
    is about 8 % faster. Other C libraries are left as they are.
    """
    trim_threshold, mmap_threshold = -1, -3  # M_TRIM_THRESHOLD and M_MMAP_THRESHOLD of malloc.h
    with suppress(OSError, AttributeError):
        library = ctypes.CDLL(None)
        library.mallopt(trim_threshold, 2**31 - 1)
        library.mallopt(mmap_threshold, 2**25)


def told_bytes(value: float) -> str:
    """Show a number of bytes."""
    for unit in ("B", "kB", "MB", "GB"):
        if value < 999.5:  # what is shown in three digits as 1000 is 1 of the next unit
            return f"{value:.3g} {unit}"
        value /= 1000
    return f"{value:.3g} TB"


def peak_memory_bytes() -> int:
    """Return the most memory that this process ever held at once, in bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024

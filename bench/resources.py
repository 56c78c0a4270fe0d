"""What this machine, or the job that it is lent to, has for a process: cores and memory."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

_OWN_GROUPS = Path("/proc/self/cgroup")
_GROUPS = Path("/sys/fs/cgroup")
_LIMIT = ("memory.max", "memory.limit_in_bytes")
_USED = ("memory.current", "memory.usage_in_bytes")
_CACHE = ("active_file", "inactive_file", "total_active_file", "total_inactive_file")
"""Lines of ``memory.stat``: files in memory, which the kernel drops where memory is short."""


def cores() -> int:
    """Return the number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def crowding(threads: int, then: str = "Give fewer with --threads") -> str:
    """Return what is told where more threads compute than there are cores; else nothing.

    Parameters
    ----------
    threads : int
        Those that compute at a time, of all processes.
    then : str
        What to do about it.
    """
    if threads <= cores():
        return ""
    return (
        f"{threads} threads are more than the cores that this process may use ({cores()}), and "
        f"slower, for they wait for each other. {then}"
    )


def available_memory() -> int:
    """Return the bytes of memory that are free here.

    That is MemAvailable, else the physical memory; or what is left of the limit of a control
    group, as jobs of a cluster and containers have: beyond it processes are killed.
    """
    return max(0, min([_free_memory(), *(limit - used for limit, used in _limits())]))


def physical_memory() -> int:
    """Return the bytes of memory that the machine has, or a control group's limit."""
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return min([pages, *(limit for limit, _ in _limits())])


def _free_memory() -> int:
    try:
        lines = Path("/proc/meminfo").read_text(encoding="utf-8").splitlines()
        return next(int(s.split()[1]) * 1024 for s in lines if s.startswith("MemAvailable:"))
    except (OSError, StopIteration):
        return physical_memory()


def _limits() -> Iterator[tuple[int, int]]:
    """Yield the limit and the used bytes of each control group of this process that has one."""
    for folder in _groups():
        limit, used = _number(folder, _LIMIT), _number(folder, _USED)
        if limit is not None and used is not None:
            yield limit, max(0, used - _cached(folder))


def _groups() -> Iterator[Path]:
    """Yield the folders of this process's control groups of memory, and of those around them."""
    try:
        lines = _OWN_GROUPS.read_text(encoding="utf-8").splitlines()
    except OSError:
        return
    for line in lines:
        _, kinds, path = line.split(":", 2)
        if kinds and "memory" not in kinds.split(","):
            continue
        root = _GROUPS / "memory" if kinds else _GROUPS  # version 1, or 2 with one tree for all
        inner = Path(path.lstrip("/"))
        names = () if ".." in inner.parts else inner.parts  # another namespace: its root is known
        for depth in range(len(names) + 1):
            yield root.joinpath(*names[:depth])


def _number(folder: Path, names: tuple[str, ...]) -> int | None:
    for name in names:
        try:
            return int((folder / name).read_text(encoding="utf-8"))
        except (OSError, ValueError):  # no such file, or the word max
            continue
    return None


def _cached(folder: Path) -> int:
    try:
        lines = (folder / "memory.stat").read_text(encoding="utf-8").splitlines()
    except OSError:
        return 0
    told = {name: int(value) for name, _, value in (line.partition(" ") for line in lines)}
    # of version 1 the totals count, which include the groups within
    names = [name for name in _CACHE if f"total_{name}" not in told]
    return sum(told.get(name, 0) for name in names)

"""The accounts: all runs of jobs that Slurm has written down."""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass

from slurm.commands import ClusterError, ask

_DAY_S = 86400.0
"""More than clocks of a cluster differ by."""
_DISABLED = "accounting storage is disabled"
_SEPARATOR = "|"
_TASKS = re.compile("([0-9]+)(?:-([0-9]+)(?::([0-9]+))?)?")
_ACCOUNT = (
    "JobID", "JobName", "State", "ElapsedRaw", "AllocTRES", "ReqTRES", "TimelimitRaw", "NodeList",
)  # fmt: skip


@dataclass(frozen=True)
class Accounted:
    """One run of a job as Slurm's accounting knows it; a requeued job has several."""

    job: str
    task: int
    name: str
    state: str
    seconds: int
    gpus: int
    cpus: int
    asked_gpus: int
    minutes: int
    node: str


def accounts(jobs: list[str], names: list[str], since: float) -> list[Accounted] | None:
    """Return all runs of jobs that have begun or ended; None on a cluster without accounting.

    Parameters
    ----------
    jobs, names : list of str
        The jobs' numbers, and the names of others.
    since : float
        When the first of them was submitted, in seconds since 1970. Some versions of sacct look
        no further back than midnight unless told to.

    Raises
    ------
    ClusterError
        When there is accounting and it does not answer.
    """
    asked = {"jobs": jobs, "name": names}
    if not jobs and not names:
        return []
    if shutil.which("sacct") is None:
        return None
    start = time.strftime("%Y-%m-%d", time.localtime(max(0.0, since - _DAY_S)))
    lines = []
    try:
        for option, values in asked.items():
            if values:
                lines += ask(
                    "sacct", "--allocations", "--duplicates", "--noheader", "--parsable2",
                    f"--format={','.join(_ACCOUNT)}", f"--starttime={start}",
                    f"--{option}={','.join(values)}",
                ).splitlines()  # fmt: skip
    except ClusterError as error:
        if _DISABLED in str(error):
            return None
        raise
    runs = (line.split(_SEPARATOR) for line in lines if line)
    return [one for run in runs for one in _accounted(run)]


def _accounted(fields: list[str]) -> Iterator[Accounted]:
    """Yield the runs of a line: one, or those that never began and were cancelled together."""
    identifier, name, state, elapsed, allocated, requested, minutes, node = fields
    job, _, tasks = identifier.partition("_")
    state = state.partition(" ")[0]
    if state == "PENDING":
        return
    given, wanted = _resources(allocated), _resources(requested)
    for task in _numbers(tasks):
        yield Accounted(
            job=job,
            task=task,
            name=name,
            state=state,
            seconds=int(elapsed or 0),
            gpus=given.get("gres/gpu", 0),
            cpus=given.get("cpu", 0),
            asked_gpus=wanted.get("gres/gpu", 0),
            minutes=int(minutes) if minutes.isdigit() else 0,
            node=node,
        )


def _numbers(tasks: str) -> Iterator[int]:
    """Yield the tasks of ``3`` or ``[0-2,4-8:2,9%4]``; 0 for a job of its own.

    Where the list is cut, its last part is left out.
    """
    if not tasks:
        yield 0
    for part in tasks.strip("[]").partition("%")[0].split(","):
        if match := _TASKS.fullmatch(part):
            first, last, step = match.groups()
            yield from range(int(first), int(last or first) + 1, int(step or 1))


def _resources(text: str) -> dict[str, int]:
    pairs = (part.partition("=") for part in text.split(",") if part)
    return {name: int(value) for name, _, value in pairs if value.isdigit()}

"""Retrying: what is missing or failed, with more of what an attempt had too little of."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from bench.recording import KILLED, OUT_OF_MEMORY
from slurm import commands
from slurm.requests import Ask
from slurm.submissions import Places
from slurm.watch import last_states
from slurm.worker import STALE_CODE, TIME_OUT

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from bench.results import Results
    from slurm.submissions import Submission, SubmittedArray

MOST_ATTEMPTS = 3
_FACTOR = 2
_MEMORY_STATES = frozenset({"OUT_OF_MEMORY"})
_TIME_STATES = frozenset({"TIMEOUT", "DEADLINE"})
_NO_ATTEMPT = frozenset({"BOOT_FAIL", "CANCELLED", "NODE_FAIL", "PREEMPTED", "REVOKED", STALE_CODE})
"""Ends of jobs that tell nothing of their cells."""


@dataclass(frozen=True)
class Lessons:
    """What earlier submissions teach of cells that have no record.

    Parameters
    ----------
    asks : mapping
        What the next job of a cell has to ask for at least.
    exhausted : frozenset of str
        Cells that have had all of their attempts.
    """

    asks: dict[str, Ask] = field(default_factory=dict)
    exhausted: frozenset[str] = frozenset()


def lessons(
    cells: Iterable[str],
    results: Results,
    submitted: Sequence[Submission],
    most_attempts: int = MOST_ATTEMPTS,
) -> Lessons:
    """Return what to ask for when these cells are submitted again.

    Memory is doubled after a job ran out of it, time after one reached its limit; whatever
    an attempt had is never asked for less again. Without accounting, only what the job itself
    could still write down is known.
    """
    states = _last_states(submitted)
    asks: dict[str, Ask] = {}
    exhausted = set()
    for cell in cells:
        before = [(one, one.by_cell[cell]) for one in submitted if cell in one.accepted]
        if not before:
            continue
        ends = [states.get((one.id, cell), "") for one, _ in before]
        ends[-1] = _end(_cause(cell, results, before[-1][0]), ends[-1])
        if sum(end not in _NO_ATTEMPT for end in ends) >= most_attempts:
            exhausted.add(cell)
        ask = Ask()
        for number, ((_, array), end) in enumerate(zip(before, ends, strict=True)):
            if number:  # why a retry asked for more, nothing tells any longer
                ask = ask.joined(Ask(array.memory_gb, array.minutes))
            ask = ask.joined(_ask_of(array, end))
        asks[cell] = ask
    return Lessons(asks, frozenset(exhausted))


def _end(cause: str, state: str) -> str:
    """Return how a job ended: by what it wrote down, or by Slurm where that knows more."""
    is_told_by_slurm = state in _MEMORY_STATES | _TIME_STATES
    return state if not cause or (cause == KILLED and is_told_by_slurm) else cause


def _ask_of(array: SubmittedArray, cause: str) -> Ask:
    if cause == OUT_OF_MEMORY or cause in _MEMORY_STATES:
        return Ask(memory_gb=_FACTOR * array.memory_gb)
    if cause == TIME_OUT or cause in _TIME_STATES:
        return Ask(minutes=_FACTOR * array.minutes)
    return Ask()


def _cause(cell: str, results: Results, newest: Submission) -> str:
    """Return how a cell failed in its last job; empty where it wrote nothing down."""
    failure = results.failure(cell)
    if failure is None or failure["attempt"] <= newest.attempts.get(cell, 0):
        return ""
    return str(failure["type"])


def _last_states(submitted: Sequence[Submission]) -> dict[tuple[str, str], str]:
    """Return the last state of each cell's job by submission, as far as Slurm remembers it."""
    jobs = [job for submission in submitted for job in submission.jobs]
    try:
        runs = commands.accounts(jobs) or []
    except commands.ClusterError:  # as on a cluster without accounting
        runs = []
    return last_states(Places(submitted), runs)

"""Retrying: what is missing or failed, with more of what an attempt had too little of."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from bench.recording import KILLED, OUT_OF_MEMORY
from slurm import commands
from slurm.accounting import runs_of
from slurm.requests import BLOCKED, Ask, Taught
from slurm.submissions import Places, numbered
from slurm.watch import last_states
from slurm.worker import STALE_CODE, TIME_OUT

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from bench.results import Results
    from slurm.sacct import Accounted
    from slurm.submissions import Submission, SubmittedArray

    Attempt = list[tuple[SubmittedArray, str]]
    """The arrays that were to do one thing for a cell, each with how its job ended."""

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
    taught : mapping
        What the next jobs of a cell have to ask for at least.
    exhausted : frozenset of str
        Cells that have had all of their attempts.
    """

    taught: dict[str, Taught] = field(default_factory=dict)
    exhausted: frozenset[str] = frozenset()

    def most(self) -> Taught:
        """Return the most that any job has to ask for, of either kind."""
        cell = making = Ask()
        for taught in self.taught.values():
            cell, making = cell.joined(taught.cell), making.joined(taught.making)
        return Taught(cell, making)


def lessons(
    cells: Iterable[str],
    results: Results,
    submitted: Sequence[Submission],
    most_attempts: int = MOST_ATTEMPTS,
) -> Lessons:
    """Return what to ask for when these cells are submitted again.

    Memory is doubled after a job ran out of it, time after one reached its limit; whatever
    an attempt had is never asked for less again. What an artefact's job had too little of, the
    cell's own job need not have more of. Without accounting, only what the job itself could still
    write down is known.
    """
    runs = _runs(submitted)
    submitted = numbered(submitted, runs)
    states = last_states(Places(submitted), runs)
    taught: dict[str, Taught] = {}
    exhausted = set()
    for cell in cells:
        before = [one for one in submitted if cell in one.accepted]
        if not before:
            continue
        told = _told(cell, results, before[-1])
        cause = "" if told is None else str(told["type"])
        is_blocked = told is not None and told["phase"] == BLOCKED
        is_lesson = is_blocked and cause not in _NO_ATTEMPT  # for the jobs before, not for its own
        own = [[one.by_cell[cell]] for one in before]
        making = [one.making(cell) for one in before]
        computing = _attempts(cell, own, states, "" if is_lesson else cause)
        ends = [end for attempt in computing for _, end in attempt]
        if sum(end not in _NO_ATTEMPT for end in ends) >= most_attempts:
            exhausted.add(cell)
        made = _attempts(cell, making, states, cause if is_lesson else "")
        taught[cell] = Taught(_ask(computing), _ask(made))
    return Lessons(taught, frozenset(exhausted))


def _attempts(
    cell: str,
    arrays: Sequence[Sequence[SubmittedArray]],
    states: Mapping[tuple[str, str], str],
    cause: str,
) -> list[Attempt]:
    """Return how each attempt's jobs ended; the last one's cause is what it wrote down."""
    found = [[(array, states.get((array.name, cell), "")) for array in made] for made in arrays]
    found[-1] = [(array, _end(cause, state)) for array, state in found[-1]]
    return found


def _ask(attempts: Sequence[Attempt]) -> Ask:
    """Return what attempts teach, the oldest first."""
    ask = Ask()
    for number, attempt in enumerate(attempts):
        for array, end in attempt:
            if number:  # why a retry asked for more, nothing tells any longer
                ask = ask.joined(Ask(array.memory_gb, array.minutes))
            ask = ask.joined(_ask_of(array, end))
    return ask


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


def _told(cell: str, results: Results, newest: Submission) -> dict[str, Any] | None:
    """Return how a cell failed in its last job; None where that wrote nothing down."""
    failure = results.failure(cell)
    if failure is None or failure["attempt"] <= newest.attempts.get(cell, 0):
        return None
    return failure


def _runs(submitted: Sequence[Submission]) -> list[Accounted]:
    """Return the runs of the submissions' jobs, as far as Slurm remembers them."""
    try:
        return runs_of(submitted) or []
    except commands.ClusterError:  # as on a cluster without accounting
        return []

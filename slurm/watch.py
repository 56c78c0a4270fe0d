"""Watching: the state of every cell, from names of files and one question to Slurm."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench import planfiles
from bench.errors import DamagedFileError
from bench.results import Results
from slurm import commands, squeue, submissions
from slurm.remaining import left
from slurm.requests import BLOCKED
from slurm.states import Seen, State
from slurm.submissions import Places

if TYPE_CHECKING:
    from slurm.sacct import Accounted
    from slurm.squeue import Queued
    from slurm.submissions import Submission

_AWAITED = "job ended, record awaited"


@dataclass(frozen=True)
class Status:
    """What there is to tell of a results folder.

    Parameters
    ----------
    cells : mapping
        Each cell's state by id.
    left_s : float or None
        Expected seconds of what is left; None when a cell's are unknown.
    queue_error : str
        Why Slurm could not be asked; empty where it could, or where nothing was submitted.
    unread : tuple of str
        Why plans could not be read; their cells are told only where they were submitted.
    """

    cells: dict[str, Seen]
    live: list[Queued] = field(default_factory=list)
    left_s: float | None = None
    left_gpu_s: float | None = None
    queue_error: str = ""
    unread: tuple[str, ...] = ()

    def counts(self) -> dict[str, int]:
        """Return the number of cells of each state that there is."""
        counted = Counter(seen.state for seen in self.cells.values())
        return {state.value: counted[state] for state in State if counted[state]}

    def reasons(self) -> dict[str, dict[str, int]]:
        """Return how many cells of a state are where, or why, the most frequent first."""
        told: dict[State, Counter[str]] = defaultdict(Counter)
        for seen in self.cells.values():
            if seen.told:
                told[seen.state][seen.told] += 1
        return {state.value: dict(told[state].most_common()) for state in State if told[state]}

    def to_json(self) -> dict[str, Any]:
        """Return the status as JSON values."""
        return {
            "cells": self.counts(),
            "reasons": self.reasons(),
            "jobs": [vars(job) for job in self.live],
            "left_s": self.left_s,
            "left_gpu_s": self.left_gpu_s,
            "queue_error": self.queue_error,
            "unread": self.unread,
        }


def live_jobs(submitted: Iterable[Submission]) -> list[Queued]:
    """Return the jobs of these submissions that Slurm still has.

    Raises
    ------
    ClusterError
        When Slurm cannot be asked.
    """
    places = Places(list(submitted))
    return [job for job in squeue.queue() if places.of(job) is not None]


def live_cells(folder: Path) -> frozenset[str]:
    """Return the cells of a results folder that a job of Slurm has; raise a ClusterError."""
    submitted = submissions.read_all(folder)
    if not submitted:
        return frozenset()
    places = Places(submitted)
    found = (places.of(job) for job in squeue.queue())
    return frozenset(
        cell
        for place in found
        if place is not None and place.array.stage == "cells"
        for cell in place.task.cells
    )


def status(folder: Path, runs: Sequence[Accounted] = ()) -> Status:
    """Return the state of all cells of the plans of a results folder.

    Parameters
    ----------
    runs : sequence of Accounted
        What accounting knows of the jobs: why lost cells are lost, and how long the others took.
    """
    submitted = submissions.read_all(folder)
    live: list[Queued] = []
    error = ""
    if submitted:
        try:
            live = live_jobs(submitted)
        except commands.ClusterError as told:
            error = str(told)
    gone = State.UNKNOWN if error else State.LOST
    submitted = submissions.numbered(submitted, [*runs, *live])
    planned, unread = _planned(folder)
    cells = _Cells(folder, submitted, live, runs, gone).seen(planned)
    seconds, gpu_seconds = left(cells, submitted, runs)
    going = [job for job in live if not job.is_over]
    return Status(cells, going, seconds, gpu_seconds, error, tuple(unread))


class _Cells:
    """Tells cells' states; the names of records suffice, failures alone are read."""

    def __init__(
        self,
        folder: Path,
        submitted: list[Submission],
        live: list[Queued],
        runs: Iterable[Accounted],
        gone: State,
    ) -> None:
        self._folder = folder
        self._gone = gone
        self._results = Results(folder)
        self._done = _stems(folder / "records", ".json")
        self._failed = _stems(folder / "failures", ".json")
        self._leased = _stems(folder / "leases", ".lease")
        self._newest = {cell: one for one in submitted for cell in one.accepted}
        self._jobs: dict[str, Queued] = {}
        places = Places(submitted)
        self._ends = last_states(places, runs)
        for job in sorted(live, key=lambda job: not job.is_over):
            place = places.of(job)
            if place is not None and place.array.stage == "cells":
                self._jobs |= dict.fromkeys(place.task.cells, job)

    def seen(self, planned: Iterable[str]) -> dict[str, Seen]:
        found = dict.fromkeys(planned) | dict.fromkeys(self._newest)
        return {cell: self._state(cell) for cell in found}

    def _state(self, cell: str) -> Seen:
        if cell in self._done:
            return Seen(State.DONE)
        job = self._jobs.get(cell)
        failure = self._results.failure(cell) if cell in self._failed else None
        if failure is not None and (job is None or self._is_new(cell, failure)):
            is_blocked = failure["phase"] == BLOCKED
            return Seen(State.BLOCKED if is_blocked else State.FAILED, failure["type"])
        if job is not None and job.state == "RUNNING":
            if cell in self._leased:
                return Seen(State.RUNNING, job.node)
            return Seen(State.PENDING, "in a running job")
        if job is not None:
            return Seen(State.PENDING, _AWAITED if job.is_over else _reason(job))
        if cell in self._leased and self._results.leases.is_held(cell):
            return Seen(State.RUNNING, self._results.leases.owner(cell))
        if cell not in self._newest:
            return Seen(State.OPEN)
        array = self._newest[cell].by_cell[cell]
        return Seen(self._gone, self._ends.get((array.name, cell), ""))

    def _is_new(self, cell: str, failure: dict[str, Any]) -> bool:
        """Return whether a cell failed after it was submitted last."""
        before = self._newest[cell].attempts.get(cell, 0) if cell in self._newest else 0
        return bool(failure["attempt"] > before)


def last_states(places: Places, runs: Iterable[Accounted]) -> dict[tuple[str, str], str]:
    """Return the last state of each job by its array's name and its cells, as accounting tells."""
    states: dict[tuple[str, str], str] = {}
    for run in runs:
        place = places.of(run)
        if place is not None:
            states |= {(place.array.name, cell): run.state for cell in place.task.cells}
    return states


def _reason(job: Queued) -> str:
    return job.reason if job.reason not in ("", "None") else job.state.lower()


def _stems(folder: Path, suffix: str) -> set[str]:
    return {path.name.removesuffix(suffix) for path in folder.glob(f"cell-*{suffix}")}


def _planned(folder: Path) -> tuple[list[str], list[str]]:
    """Return the ids of the cells of all plans of a results folder, and why some were not read."""
    found: dict[str, None] = {}
    unread = []
    for path in sorted((folder / "plans").glob("*.json")):
        try:
            found |= dict.fromkeys(planfiles.read(path))
        except (DamagedFileError, OSError) as error:
            unread.append(str(error))
    return list(found), unread

"""Submissions: what was asked of Slurm, kept in the results folder, one file each."""

from __future__ import annotations

import shutil
import time
import uuid
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.errors import DamagedFileError
from bench.storage import read_json, write_json
from slurm.commands import NAME

if TYPE_CHECKING:
    from bench.datasets import Source
    from slurm.sacct import Accounted
    from slurm.squeue import Queued

SCHEMA = 1


@dataclass(frozen=True)
class SubmittedTask:
    """The cells of one job and the seconds that they were expected to take."""

    cells: tuple[str, ...]
    seconds: float | None


@dataclass(frozen=True)
class SubmittedArray:
    """One call of sbatch.

    ``job`` is Slurm's number, or None while it is being submitted; the name tells it too.
    """

    name: str
    stage: str
    tasks: tuple[SubmittedTask, ...]
    minutes: int
    memory_gb: float
    gpus: int
    cpus: int
    job: str | None = None


@dataclass(frozen=True)
class Submission:
    """What one command submitted.

    Parameters
    ----------
    id : str
        The submission's id, part of its jobs' names.
    plan, code : str
        The plan's id and the digest of the code that submitted.
    profile : mapping
        The profile's values.
    data : str or None
        The path that ``--data`` named.
    stream, workers
        What ``--stream`` and ``--workers`` said.
    attempts : mapping
        How often cells had failed before, by id; those that never had are left out.
    expected : mapping
        Expected seconds of training and testing by cell, where known.
    asked : float
        When, in seconds since 1970.
    """

    id: str
    plan: str
    code: str
    profile: dict[str, Any]
    arrays: tuple[SubmittedArray, ...]
    data: str | None = None
    download: bool = False
    stream: str = "auto"
    workers: int | None = None
    device: str = "auto"
    attempts: dict[str, int] = field(default_factory=dict)
    expected: dict[str, float] = field(default_factory=dict)
    asked: float = 0.0

    @property
    def source(self) -> Source:
        """Where the data set's files are, and how images are to reach the networks."""
        from bench.datasets import Source

        return Source.of(self.data, self.download, self.stream, self.workers)

    @cached_property
    def by_cell(self) -> dict[str, SubmittedArray]:
        """The array that computes each cell."""
        return {
            cell: array for array in self.arrays if array.stage == "cells"
            for task in array.tasks for cell in task.cells
        }  # fmt: skip

    def making(self, cell: str) -> list[SubmittedArray]:
        """Return the arrays that make a cell's artefacts before it."""
        return self._making_by_cell.get(cell, [])

    @cached_property
    def _making_by_cell(self) -> dict[str, list[SubmittedArray]]:
        found: dict[str, list[SubmittedArray]] = defaultdict(list)
        for array in self.arrays:
            if array.stage != "cells":
                for cell in {cell for task in array.tasks for cell in task.cells}:
                    found[cell].append(array)
        return found

    @cached_property
    def cells(self) -> frozenset[str]:
        """The ids of all cells that its jobs compute."""
        return frozenset(self.by_cell)

    @cached_property
    def accepted(self) -> frozenset[str]:
        """The cells of arrays that Slurm is known to have taken."""
        return frozenset(c for c, array in self.by_cell.items() if array.job is not None)

    @property
    def jobs(self) -> list[str]:
        """Slurm's numbers of its arrays."""
        return [array.job for array in self.arrays if array.job is not None]

    def with_jobs(self, jobs: Sequence[str | None]) -> Submission:
        """Return the submission with Slurm's numbers for its first arrays."""
        numbers = [*jobs, *[None] * (len(self.arrays) - len(jobs))]
        pairs = zip(self.arrays, numbers, strict=True)
        return replace(self, arrays=tuple(replace(array, job=job) for array, job in pairs))

    def save(self, results: Path) -> None:
        """Write the submission's file."""
        write_json(path_of(results, self.id), {"schema": SCHEMA, **asdict(self)}, indent=None)


def new_id() -> str:
    """Return an id that tells the time and that nobody else has."""
    return f"{time.strftime('%Y%m%d-%H%M%S')}-{uuid.uuid4().hex[:6]}"


def job_name(submission: str, array: int) -> str:
    """Return the name of an array's jobs; jobs are recognised by it."""
    return f"{NAME}-{submission}-{array}"


def path_of(results: Path, submission: str) -> Path:
    """Return the place of a submission's file."""
    return results / "submissions" / f"{submission}.json"


def logs_of(results: Path, submission: str) -> Path:
    """Return the folder of a submission's logs and pickles."""
    return results / "slurm" / submission


def forget(results: Path, submission: str) -> None:
    """Remove a submission of which Slurm has no job, and what would have been its logs' folder."""
    path_of(results, submission).unlink(missing_ok=True)
    shutil.rmtree(logs_of(results, submission), ignore_errors=True)


def read_all(results: Path) -> list[Submission]:
    """Return the submissions of a results folder, the oldest first; unreadable ones left out."""
    found = []
    for path in (results / "submissions").glob("*.json"):
        try:
            found.append(_from_json(read_json(path)))
        except (DamagedFileError, OSError, KeyError, TypeError):
            continue
    return sorted(found, key=lambda submission: submission.asked)


def numbered(
    submitted: Sequence[Submission], jobs: Iterable[Queued | Accounted]
) -> list[Submission]:
    """Return submissions with the numbers of arrays that only the names of their jobs tell.

    A launcher that was killed may have had no time to write them down.
    """
    numbers = {job.name: job.job for job in jobs}
    return [
        one.with_jobs([array.job or numbers.get(array.name) for array in one.arrays])
        for one in submitted
    ]


def _from_json(content: dict[str, Any]) -> Submission:
    arrays = []
    for array in content.pop("arrays"):
        tasks = (SubmittedTask(tuple(t["cells"]), t["seconds"]) for t in array.pop("tasks"))
        arrays.append(SubmittedArray(tasks=tuple(tasks), **array))
    content.pop("schema")
    return Submission(arrays=tuple(arrays), **content)


@dataclass(frozen=True)
class Place:
    """Where a job of Slurm belongs: a task of an array of a submission."""

    submission: Submission
    array: SubmittedArray
    task: SubmittedTask


class Places:
    """Finds the task of a job by its name, which is known as soon as Slurm has it."""

    def __init__(self, submissions: Sequence[Submission]) -> None:
        self._arrays = {
            array.name: (submission, array)
            for submission in submissions
            for array in submission.arrays
        }

    def of(self, job: Queued | Accounted) -> Place | None:
        """Return the task of a job, or None for another results folder's."""
        submission, array = self._arrays.get(job.name, (None, None))
        if submission is None or array is None or job.task >= len(array.tasks):
            return None
        return Place(submission, array, array.tasks[job.task])

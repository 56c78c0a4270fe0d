"""Dispatch: tasks become submitit's arrays; the command may end as soon as they are submitted."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import shlex
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import submitit
from submitit.core.utils import FailedJobError, FailedSubmissionError
from submitit.helpers import clean_env

from bench.errors import StorageError, UsageError
from bench.storage import told_as_storage_error
from slurm import commands, limits, submissions
from slurm.codes import code_digest
from slurm.needs import needs
from slurm.options import parameters
from slurm.requests import Taught
from slurm.submissions import Submission, SubmittedArray, SubmittedTask, job_name
from slurm.tasks import JobArray, arrays
from slurm.worker import Work

if TYPE_CHECKING:
    from bench.cells import Plan
    from bench.datasets import Source
    from bench.planning import Forecast
    from bench.results import Results
    from slurm.profiles import Profile

_UNSAFE = "%\\\n\r"
"""Slurm fills in or takes apart these in the names of log files, quoted or not."""
_KEPT = ("SLURM_CLUSTERS", "SLURM_CONF", "SLURM_CONF_SERVER", "SLURM_JWT")
"""Which cluster is asked, and how; squeue and sacct read them too."""
_BINDING = ("GOMP_CPU_AFFINITY", "KMP_AFFINITY", "OMP_PLACES", "OMP_PROC_BIND")


class _Executor(submitit.SlurmExecutor):
    """submitit's executor; it also writes its texts where there is no Slurm."""

    @classmethod
    def affinity(cls) -> int:
        """Return that it can be used."""
        return 2

    def text(self, tasks: int) -> str:
        """Return what sbatch would be given for an array of this many tasks."""
        if tasks > 1:
            self.parameters["map_count"] = tasks
        try:
            return self._make_submission_file_text(self._submitit_command_str, "")
        finally:
            self.parameters.pop("map_count", None)


@dataclass(frozen=True)
class Prepared:
    """What would be submitted: all of it known before Slurm is asked for anything."""

    submission: Submission
    expected: Forecast
    arrays: Sequence[JobArray]
    profile: Profile
    results: Path
    plan: Plan
    umask: int
    """The user's: logs and pickles are private, records are as if written by hand."""

    def texts(self) -> list[str]:
        """Return the texts that sbatch is given, in order; job numbers are still unknown."""
        made: list[str] = []
        for number, array in enumerate(self.arrays):
            before = [f"JOB{i}" for i in self._before(number)]
            executor = _executor(self, number, before)
            made.append(executor.text(len(array.tasks)))
        return made

    def with_submission(self, submission: Submission) -> Prepared:
        """Return the same with Slurm's job numbers."""
        return replace(self, submission=submission)

    def _before(self, number: int) -> list[int]:
        mine = self.arrays[number]
        if not mine.waits:
            return []
        return [i for i, array in enumerate(self.arrays[:number]) if array.stage != mine.stage]


def prepare(
    plan: Plan,
    results: Results,
    source: Source,
    profile: Profile,
    *,
    device: str = "auto",
    left: frozenset[str] = frozenset(),
    taught: Mapping[str, Taught] | None = None,
) -> Prepared:
    """Return what is to be submitted for a plan's cells that have no record.

    Parameters
    ----------
    left : frozenset of str
        Cells to leave out: a job has them already.
    taught : mapping, optional
        What earlier attempts at a cell taught, by id.

    Raises
    ------
    UsageError
        For a folder that Slurm cannot write logs in, or what :func:`bench.planning.forecast` says.
    """
    folder = results.folder.resolve()
    if any(sign in str(folder) for sign in _UNSAFE):
        raise UsageError(
            f"results folder {folder} has a '%', a backslash or a line break in its path, which "
            "Slurm does not take as they are. Name another folder with --results"
        )
    expected, wanted = needs(plan, results, source, taught or {})
    wanted = [need for need in wanted if need.cell not in left]
    made = arrays(wanted, _bounded(profile, taught or {}), limits.array_size(profile))
    identifier = submissions.new_id()
    seconds = {known.cell.id: known.seconds for known in expected.pending}
    submission = Submission(
        id=identifier,
        plan=plan.id,
        code=code_digest({type(cell.method) for cell in plan.cells}),
        profile=json.loads(json.dumps(asdict(profile))),
        arrays=tuple(
            _submitted(identifier, i, array, profile.of(array.stage))
            for i, array in enumerate(made)
        ),
        data=None if source.path is None else str(source.path.resolve()),
        download=source.download,
        stream=source.feed.stream.value,
        workers=source.feed.workers,
        device=device,
        attempts=_attempts(results, [need.cell for need in wanted]),
        expected={need.cell: known for need in wanted if (known := seconds[need.cell]) is not None},
        asked=time.time(),
    )
    return Prepared(submission, expected, made, profile, folder, plan, _umask())


def _bounded(profile: Profile, taught: Mapping[str, Taught]) -> Profile:
    """Return the profile with the most memory that its jobs may get, where more is to be asked."""
    if not any(one.cell.memory_gb or one.making.memory_gb for one in taught.values()):
        return profile
    most = limits.most_memory_gb(profile)
    bounded = replace(profile, max_memory_gb=most)
    if profile.artefacts is None:
        return bounded
    of_artefacts = limits.most_memory_gb(profile.artefacts)
    return replace(bounded, artefacts=replace(profile.artefacts, max_memory_gb=of_artefacts))


def submit(prepared: Prepared, results: Results) -> Submission:
    """Submit the arrays; return the submission with Slurm's job numbers.

    The submission's file is written before the first job is asked for, so that nothing is lost
    track of should this process end at any point. It is removed where Slurm refuses that one.

    Raises
    ------
    NotSubmittedError
        When Slurm refuses the first array.
    ClusterError
        When Slurm refuses a later one; those before it stay submitted.
    """
    commands.require()
    results.save_plan(prepared.plan)
    prepared.submission.save(prepared.results)
    jobs: list[str] = []
    with _clean_environment():
        logs = submissions.logs_of(prepared.results, prepared.submission.id)
        with _private_files(), told_as_storage_error(logs):
            logs.mkdir(parents=True)
        for number, array in enumerate(prepared.arrays):
            before = [jobs[i] for i in prepared._before(number)]
            executor = _executor(prepared, number, before)
            work = [_work(prepared, array, task.cells) for task in array.tasks]
            try:
                with _private_files():
                    jobs.append(_sent(executor, work, logs, number, len(prepared.arrays)))
            except commands.NotSubmittedError:
                submissions.forget(prepared.results, prepared.submission.id)
                raise
            prepared.submission.with_jobs(jobs).save(prepared.results)
    return prepared.submission.with_jobs(jobs)


def _sent(executor: _Executor, work: list[Work], logs: Path, number: int, of: int) -> str:
    """Return Slurm's number of an array; raise an error where it has none, and leave nothing."""
    try:
        # submitit prints what sbatch says besides raising it.
        with told_as_storage_error(logs), contextlib.redirect_stderr(io.StringIO()):
            sent = executor.submit_array(work)
    except StorageError:
        # Slurm may have it already, and its jobs would not find what they are to do.
        commands.cancel_named(executor.parameters["job_name"])
        _remove_unsent(logs)
        raise
    except (FailedJobError, FailedSubmissionError) as error:
        commands.cancel_named(executor.parameters["job_name"])  # sbatch may have heard no answer
        _remove_unsent(logs)
        kind: type[commands.ClusterError] = commands.ClusterError
        then = "What was submitted before stays; the same command submits the rest"
        if number == 0:
            kind = commands.NotSubmittedError
            then = "Nothing was submitted; the same command tries again"
        raise kind(
            f"sbatch refused array {number + 1} of {of}: {_said(str(error))}.\n{then}. "
            "Whether the cluster has what is asked for: bench doctor --slurm PROFILE"
        ) from None
    for link in logs.glob(".submission_file_*"):
        link.unlink()
    return str(sent[0].job_id).partition("_")[0]


def _said(text: str) -> str:
    """Return what sbatch said in one line, without its name at the beginning of each."""
    lines = [re.sub(r"^sbatch: (error: |fatal: )?", "", line.strip()) for line in text.splitlines()]
    return "; ".join(line.rstrip(".") for line in lines if line) or "it did not say why"


def _remove_unsent(logs: Path) -> None:
    """Remove what no job will read: the pickles of jobs that Slurm has are named by its numbers."""
    for left in (*logs.glob("*.pkl"), *logs.glob(".submission_file_*")):
        if left.name.startswith(".") or "_" not in left.name:
            left.unlink()


def _work(prepared: Prepared, array: JobArray, cells: tuple[str, ...]) -> Work:
    submission = prepared.submission
    return Work(
        results=str(prepared.results),
        plan=submission.plan,
        cells=cells,
        submission=submission.id,
        stage=array.stage,
        code=submission.code,
        minutes=array.minutes,
        gpus=prepared.profile.of(array.stage).gpus,
        pack=prepared.profile.pack,
        gpus_per_cell=prepared.profile.gpus_per_cell,
        attempts={cell: submission.attempts[cell] for cell in cells if cell in submission.attempts},
        data=submission.data,
        download=submission.download,
        stream=submission.stream,
        workers=submission.workers,
        device=submission.device,
        umask=prepared.umask,
    )


def _executor(prepared: Prepared, number: int, before: Sequence[str]) -> _Executor:
    """Return the executor of an array, which waits for the jobs before it to end in any way."""
    array = prepared.arrays[number]
    profile = prepared.profile.of(array.stage)
    python = profile.python or shlex.quote(sys.executable)
    logs = submissions.logs_of(prepared.results, prepared.submission.id)
    # Without srun the batch script itself gets the warning: Python has to be in its place.
    executor = _Executor(logs, python=python if profile.use_srun else f"exec {python}")
    name = job_name(prepared.submission.id, number)
    executor.update_parameters(**parameters(profile, array, name, before))
    return executor


def _submitted(identifier: str, number: int, array: JobArray, profile: Profile) -> SubmittedArray:
    return SubmittedArray(
        name=job_name(identifier, number),
        stage=array.stage,
        tasks=tuple(SubmittedTask(task.cells, task.seconds) for task in array.tasks),
        minutes=array.minutes,
        memory_gb=array.memory_gb,
        gpus=profile.gpus,
        cpus=profile.cpus,
    )


def _attempts(results: Results, cells: Sequence[str]) -> dict[str, int]:
    folder = results.folder / "failures"
    failed = {path.stem for path in folder.glob("cell-*.json")} & set(cells)
    found = {cell: results.failure(cell) for cell in failed}
    return {cell: failure["attempt"] for cell, failure in found.items() if failure is not None}


@contextlib.contextmanager
def _clean_environment() -> Iterator[None]:
    """Hide what a surrounding job has set; the cluster's configuration stays."""
    kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
    with clean_env(extra_names=_BINDING):
        os.environ.update(kept)
        yield


def _umask() -> int:
    current = os.umask(0o077)
    os.umask(current)
    return current


@contextlib.contextmanager
def _private_files() -> Iterator[None]:
    before = os.umask(0o077)
    try:
        yield
    finally:
        os.umask(before)

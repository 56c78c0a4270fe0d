"""Cleaning: logs of what is complete and pickles of jobs that are gone; failed cells' logs stay."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from bench.results import Results
from slurm import submissions, watch
from slurm.turns import alone

if TYPE_CHECKING:
    from slurm.submissions import Submission

_TASK = re.compile(
    r"(?P<job>[0-9]+)(_(?P<task>[0-9]+))?_(?P<kind>0_log\.(out|err)|submitted\.pkl|0_result\.pkl)"
)


def clean(folder: Path) -> int:
    """Remove the logs of tasks whose cells are complete, and the pickles of jobs that are gone.

    Returns
    -------
    int
        How many files were removed.

    Raises
    ------
    ClusterError
        When Slurm does not tell which jobs there are: theirs have to stay.
    """
    if not submissions.read_all(folder):
        return 0
    with alone(Results(folder)):  # pickles of jobs that Slurm is just told of look like dead ones
        submitted = submissions.read_all(folder)
        queued = watch.live_jobs(submitted)
        submitted = submissions.numbered(submitted, queued)
        live = {job.job for job in queued if not job.is_over}
        done = {path.stem for path in (folder / "records").glob("cell-*.json")}
        return sum(_cleaned(folder, one, live, done) for one in submitted)


def _cleaned(folder: Path, submission: Submission, live: set[str], done: set[str]) -> int:
    logs = submissions.logs_of(folder, submission.id)
    files = [path for path in logs.glob("*") if path.is_file()]
    if submission.cells <= done and not live & set(submission.jobs):
        shutil.rmtree(logs, ignore_errors=True)
        return len(files)
    finished = [path for path in files if _is_finished(path, submission, live, done)]
    for path in finished:
        path.unlink(missing_ok=True)
    return len(finished)


def _is_finished(path: Path, submission: Submission, live: set[str], done: set[str]) -> bool:
    match = _TASK.fullmatch(path.name)
    if match is None or match["job"] in live:
        return False
    if match["kind"].endswith(".pkl"):
        return True  # what a job that is gone would have read, or has told nobody
    task = int(match["task"] or 0)
    array = next((a for a in submission.arrays if a.job == match["job"]), None)
    return array is not None and task < len(array.tasks) and done >= set(array.tasks[task].cells)

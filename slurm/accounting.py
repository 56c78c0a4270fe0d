"""Accounting: what was asked, what Slurm gave, and what the cells used of it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from bench.allocation import accounted_job
from bench.results import ACCOUNTS
from bench.storage import write_json
from slurm import sacct

if TYPE_CHECKING:
    from bench.results import Results
    from slurm.sacct import Accounted
    from slurm.submissions import Submission


@dataclass(frozen=True)
class Account:
    """The seconds of one array's jobs, all runs of requeued ones counted.

    Parameters
    ----------
    asked_s : float
        Time limits of its tasks, times its devices.
    allocated_s : float
        Elapsed time times devices, as sacct tells it.
    used_s : float
        Selection, training and testing that records of these jobs have measured.
    device : str
        ``gpu`` or, for jobs without one, ``job``: seconds of a job count once, however many
        cores it had.
    """

    job: str
    name: str
    device: str
    runs: int
    asked_s: float
    allocated_s: float
    used_s: float
    cpu_s: float

    @property
    def wasted_s(self) -> float:
        """Seconds that were allocated and that no record used."""
        return max(0.0, self.allocated_s - self.used_s)

    def to_json(self) -> dict[str, Any]:
        """Return the account as JSON values."""
        return {**asdict(self), "wasted_s": self.wasted_s}


def runs_of(submitted: Sequence[Submission]) -> list[Accounted] | None:
    """Return all runs of the jobs of submissions; None on a cluster without accounting.

    Where the cluster does not count GPUs (``AccountingStorageTRES``), a run had those that its
    submission asked for.

    Raises
    ------
    ClusterError
        When there is accounting and it does not answer.
    """
    arrays = {array.name: array for one in submitted for array in one.arrays}
    jobs = [array.job for array in arrays.values() if array.job is not None]
    names = [name for name, array in arrays.items() if array.job is None]
    since = min((one.asked for one in submitted), default=0.0)
    runs = sacct.accounts(jobs, names, since)
    if runs is None:
        return None
    return [_with_gpus(run, arrays[run.name].gpus) for run in runs if run.name in arrays]


def _with_gpus(run: Accounted, asked: int) -> Accounted:
    return replace(run, gpus=run.gpus or asked, asked_gpus=run.asked_gpus or asked)


def keep_accounts(
    results: Results, submitted: Sequence[Submission], runs: Iterable[Accounted]
) -> list[Account]:
    """Return the accounts of all arrays, and keep them in the results folder.

    Parameters
    ----------
    runs : iterable of Accounted
        What Slurm's accounting knows of the arrays' jobs.
    """
    by_job: dict[str, list[Accounted]] = defaultdict(list)
    for run in runs:
        if run.cpus or run.seconds:  # what was cancelled before it began asked for nothing
            by_job[run.job].append(run)
    used = used_seconds(results.records())
    minutes = {array.name: array.minutes for one in submitted for array in one.arrays}
    found = [_account(members, used, minutes[members[0].name]) for members in by_job.values()]
    for account in found:
        path = results.folder / ACCOUNTS / f"{account.job}.json"
        write_json(path, {"schema": 1, **account.to_json()})
    return found


def _account(runs: Sequence[Accounted], used: dict[str, float], minutes: int) -> Account:
    job = runs[0].job
    gpus = max((run.gpus for run in runs), default=0)
    asked = max((run.asked_gpus for run in runs), default=0)
    tasks = {run.task for run in runs}
    return Account(
        job=job,
        name=runs[0].name,
        device="gpu" if gpus else "job",
        runs=len(runs),
        asked_s=60.0 * minutes * len(tasks) * (asked or 1),
        allocated_s=float(sum(run.seconds * (run.gpus if gpus else 1) for run in runs)),
        used_s=used.get(job, 0.0),
        cpu_s=float(sum(run.seconds * run.cpus for run in runs)),
    )


def used_seconds(records: Iterable[dict[str, Any]]) -> dict[str, float]:
    """Return the device-seconds that records measured, by the Slurm job that spent them.

    An artefact counts once, for the job that made it. What other jobs had spent on what this one
    went on from counts for none.
    """
    used: dict[str, float] = defaultdict(float)
    counted: set[str] = set()
    for record in records:
        cost = record["cost"]
        devices = record.get("allocation", {}).get("training_devices", 1)
        trained = (cost["training_s"] + cost["testing_s"]) * devices
        spent = [(record["provenance"], trained, _elsewhere_s(cost) * devices)]
        for name, artefact in cost["artefacts"].items():
            if name not in counted:
                counted.add(name)
                spent.append((artefact, artefact["seconds"], _elsewhere_s(artefact)))
        for facts, seconds, elsewhere_s in spent:
            job = accounted_job(facts)
            if job is not None:
                used[job] += seconds - elsewhere_s
    return dict(used)


def _elsewhere_s(cost: Mapping[str, Any]) -> float:
    """Return the seconds that other jobs spent; older records tell what was before alone."""
    return float(cost.get("elsewhere_s", cost.get("before_s", 0.0)))
